"""A TCP proxy between a test and a server: it can cut connections, refuse new ones, and keep what passed."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import Any
from urllib.parse import urlsplit, urlunsplit


class Proxy:
    """Forwards to the server of a URL; `url` leads through it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        credentials = parts.netloc.rpartition("@")[0]
        netloc = (
            f"{credentials}@127.0.0.1:{self._port}" if credentials else f"127.0.0.1:{self._port}"
        )
        self.url = urlunsplit(parts._replace(netloc=netloc))
        self.sent = bytearray()
        """Everything clients sent so far."""
        self.is_frozen = False
        """True: bytes are swallowed in both directions, connections stay open."""
        self.refuses = False
        """True: new connections are closed at once."""
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> int:
        """Close all connections; return how many there were."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
            for pair in pairs:
                self._drop(pair)
            return len(pairs)

    def close(self) -> None:
        """End."""
        self._ended = True
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
            pass
        self._thread.join()
        self.cut()
        self._listener.close()
        self._selector.close()

    def _drop(self, pair: tuple[socket.socket, socket.socket]) -> None:
        for sock in pair:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(sock)
            # A reset, as a dying server sends it.
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            sock.close()

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select(0.5):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    with self._lock:
                        self._forward(key.data)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self.refuses or self._ended:
            client.close()
            return
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        with self._lock:
            pair = (client, server)
            self._pairs.append(pair)
            self._selector.register(client, selectors.EVENT_READ, (pair, 0))
            self._selector.register(server, selectors.EVENT_READ, (pair, 1))

    def _forward(self, data: Any) -> None:
        pair, side = data
        if pair not in self._pairs:
            return
        try:
            received = pair[side].recv(65536)
            if received and not self.is_frozen:
                if side == 0:
                    self.sent += received
                pair[1 - side].sendall(received)
        except OSError:
            received = b""
        if not received:
            self._pairs.remove(pair)
            self._drop(pair)
