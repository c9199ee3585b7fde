"""Protocol 2: the call in the headers, ``[args, kwargs, embed]`` in the body. Spec: task-message#3.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from celeriac_protocol.errors import InvalidTaskError
from celeriac_protocol.message import Message
from celeriac_protocol.task import v1
from celeriac_protocol.task.embed import embed_dict, read_args, read_embed, read_kwargs
from celeriac_protocol.task.model import Limits, TaskHeaders, TaskMessage

__all__ = ["body_list", "read_payload"]

_BODY_LENGTH: Final = 3


def read_payload(
    payload: object, message: Message, headers: TaskHeaders, limits: Limits
) -> TaskMessage:
    """Read the decoded body of a message with a `task` header.

    Args:
        payload: A list or tuple of three; or a mapping with `args` (hybrid), whose own header fields fill in for
            headers that the message lacks.
        message: Where it came in.
        headers: Its headers, as `read_table` returned them.
        limits: Size caps.

    Raises:
        InvalidTaskError: Another shape, or a broken part.

    Spec: task-message#3.1, task-message#3.3
    """
    if isinstance(payload, list | tuple) and len(payload) == _BODY_LENGTH:
        args, kwargs, embed = payload
        return TaskMessage(
            headers=headers,
            args=read_args(args, "body[0]"),
            kwargs=read_kwargs(kwargs, "body[1]"),
            embed=read_embed(embed, "body[2]", headers),
            properties=message.properties,
        )
    if isinstance(payload, Mapping) and "args" in payload:
        return v1.read_mapping(payload, message, limits, version=2)
    raise InvalidTaskError("body", "[args, kwargs, embed]", payload)


def body_list(task: TaskMessage) -> tuple[object, object, dict[str, object]]:
    """Build a protocol 2 body: a tuple, which pickle keeps and every other serializer writes as a list."""
    return (task.args, dict(task.kwargs), embed_dict(task.embed))
