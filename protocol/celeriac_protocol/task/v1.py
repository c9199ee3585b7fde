"""Protocol 1 and the hybrid form: header fields inside a body that is a mapping. Spec: task-message#3.2-3.4.

A worker reads protocol 1 as "hybrid": the fields come from the body, real message headers are laid over them and win.
Two fields are kept here that Celery drops on the way, because dropping them costs a chord its order (`group_index`)
or its completion (`taskset`, the only name of the group in messages of Celery 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from celeriac_protocol.errors import Hint, LocalProtocolError
from celeriac_protocol.message import Message
from celeriac_protocol.task.embed import read_args, read_embed, read_kwargs
from celeriac_protocol.task.headers import instant_text, read_table
from celeriac_protocol.task.model import Embed, Limits, TaskMessage

__all__ = ["BODY_KEYS", "body_dict", "read_mapping"]

BODY_KEYS: Final = (
    "task",
    "id",
    "args",
    "kwargs",
    "group",
    "group_index",
    "retries",
    "eta",
    "expires",
    "utc",
    "callbacks",
    "errbacks",
    "timelimit",
    "taskset",
    "chord",
)
"""In wire order."""

_HEADER_FIELDS: Final = (
    "lang",
    "task",
    "id",
    "root_id",
    "parent_id",
    "group",
    "group_index",
    "meth",
    "shadow",
    "eta",
    "expires",
    "retries",
    "timelimit",
    "argsrepr",
    "kwargsrepr",
    "origin",
)
_EMBED_FIELDS: Final = ("callbacks", "errbacks", "chord")
_CONSUMED: Final = frozenset({*BODY_KEYS, *_HEADER_FIELDS})


def read_mapping(
    payload: Mapping[str, object], message: Message, limits: Limits, *, version: int
) -> TaskMessage:
    """Read a body that is a mapping.

    Args:
        payload: The decoded body. Without `args` it is the oldest form: what is missing is empty, and unknown keys
            become attributes of the request.
        message: Where it came in.
        limits: Size caps.
        version: 2 when the message has a `task` header, else 1.

    Raises:
        InvalidTaskError: A field breaks the layout; `field` tells whether it is the header's or the body's.
        TooLargeError: The id is too long.

    Spec: task-message#3.4
    """
    table = {key: payload[key] for key in _HEADER_FIELDS if key in payload}
    if table.get("group") is None and "taskset" in payload:
        table["group"] = payload["taskset"]
    table.update(message.headers)
    headers = read_table(table, limits, message.headers)
    embed = read_embed({key: payload.get(key) for key in _EMBED_FIELDS}, "body", headers)
    if "args" not in payload:
        extra = {key: value for key, value in payload.items() if key not in _CONSUMED}
        read_kwargs(extra, "body", Hint.REJECT)
        embed = Embed(
            callbacks=embed.callbacks, errbacks=embed.errbacks, chord=embed.chord, extra=extra
        )
    return TaskMessage(
        headers=headers,
        args=read_args(payload.get("args", ()), "body['args']"),
        kwargs=read_kwargs(payload.get("kwargs", {}), "body['kwargs']", Hint.REJECT),
        embed=embed,
        version=version,
        utc=bool(payload.get("utc", True)),
        properties=message.properties,
    )


def body_dict(task: TaskMessage) -> dict[str, object]:
    """Build a protocol 1 body, keys in wire order.

    Fields that protocol 1 has no place for (`root_id`, `shadow`, stamps…) are left out, as Celery does.

    Raises:
        LocalProtocolError: The call has remaining chain steps; in protocol 1 they travel as nested links.

    Spec: task-message#3.2
    """
    headers, embed = task.headers, task.embed
    if embed.chain:
        raise LocalProtocolError(
            "embed.chain: protocol 1 carries no chain; nest the remaining steps as links"
        )
    return {
        "task": headers.task,
        "id": headers.id,
        "args": task.args,
        "kwargs": dict(task.kwargs),
        "group": headers.group,
        "group_index": headers.group_index,
        "retries": headers.retries,
        "eta": instant_text(headers.eta, headers.eta_at),
        "expires": instant_text(headers.expires, headers.expires_at),
        "utc": task.utc,
        "callbacks": None if embed.callbacks is None else list(embed.callbacks),
        "errbacks": None if embed.errbacks is None else list(embed.errbacks),
        "timelimit": tuple(headers.timelimit),
        "taskset": headers.group,
        "chord": embed.chord,
    }
