"""What a RabbitMQ node tells and does over HTTP, where its management plugin is on."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, unquote, urlsplit

__all__ = ["Management", "ManagementError"]

_TIMEOUT_S = 10.0


class ManagementError(RuntimeError):
    """The node cannot be reached, or refuses."""


class Management:
    """The management interface of one node.

    Args:
        url: ``http://user:password@host:15672``.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        host = parts.hostname or "localhost"
        self._base = f"{parts.scheme}://{host}:{parts.port or 15672}{parts.path.rstrip('/')}/api"
        self.user = unquote(parts.username or "guest")
        secret = f"{self.user}:{unquote(parts.password or 'guest')}"
        self._authorization = "Basic " + base64.b64encode(secret.encode()).decode()

    def check(self) -> None:
        """Raise `ManagementError` unless it answers."""
        self._call("GET", "/overview")

    def add_vhost(self, vhost: str, user: str) -> None:
        """Create a virtual host that a user may use."""
        self._call("PUT", f"/vhosts/{quote(vhost, safe='')}", {})
        for name in {user, self.user}:
            everything = {"configure": ".*", "write": ".*", "read": ".*"}
            self._call(
                "PUT", f"/permissions/{quote(vhost, safe='')}/{quote(name, safe='')}", everything
            )

    def delete_vhost(self, vhost: str) -> None:
        """Remove a virtual host and all that is in it."""
        self._call("DELETE", f"/vhosts/{quote(vhost, safe='')}")

    def trace(self, vhost: str) -> None:
        """Switch the tracing of a virtual host on."""
        self._call("PUT", f"/vhosts/{quote(vhost, safe='')}", {"tracing": True})

    def unacked(self, vhost: str, queue: str) -> int:
        """Count messages of a queue that are delivered and not acknowledged; a few seconds old at most."""
        found = self._call("GET", f"/queues/{quote(vhost, safe='')}/{quote(queue, safe='')}")
        return int(found.get("messages_unacknowledged", 0))

    def _call(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the URL is the one the caller was told to use
            self._base + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": self._authorization, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                content = answer.read()
        except (urllib.error.URLError, OSError) as error:
            raise ManagementError(f"{method} {self._base}{path}: {error}") from error
        return json.loads(content) if content else None
