"""What a result backend stores under a task id, and the tuple form in which results name each other.

Writers follow Celery 5.7 to the key; readers take what any version and any foreign worker writes.

Spec: results-and-workflows#1, results-and-workflows#8
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

from celeriac_protocol.compression import compress, decompress
from celeriac_protocol.errors import RemoteProtocolError, UndecodableBodyError, abbreviate
from celeriac_protocol.failure import (
    ExceptionForm,
    UnsafeExceptionError,
    build_exception,
    encode_exception,
    read_exception,
    unwrap_unpickleable,
    wrap_unpickleable,
)
from celeriac_protocol.times import parse_iso8601

__all__ = [
    "EXCEPTION_STATES",
    "PROPAGATE_STATES",
    "READY_STATES",
    "UNREADY_STATES",
    "ExceptionForm",
    "ResultMeta",
    "ResultNode",
    "State",
    "UnsafeExceptionError",
    "build_exception",
    "encode_exception",
    "precedence",
    "read_exception",
    "read_result_tuple",
    "result_tuple",
    "unwrap_compressed",
    "unwrap_unpickleable",
    "wrap_compressed",
    "wrap_unpickleable",
]


class State:
    """Names of the states; any other text is a state of the user's own. Spec: results-and-workflows#1.2."""

    PENDING: Final = "PENDING"
    """Never stored; stands for "no document"."""
    RECEIVED: Final = "RECEIVED"
    """In events only."""
    STARTED: Final = "STARTED"
    SUCCESS: Final = "SUCCESS"
    """Final: key/value backends drop any later write."""
    FAILURE: Final = "FAILURE"
    RETRY: Final = "RETRY"
    REVOKED: Final = "REVOKED"
    REJECTED: Final = "REJECTED"
    """Never stored; the name of an outcome."""
    IGNORED: Final = "IGNORED"
    """Never stored; the name of an outcome."""


READY_STATES: Final = frozenset({State.SUCCESS, State.FAILURE, State.REVOKED})
"""Nothing more is to come."""
UNREADY_STATES: Final = frozenset(
    {State.PENDING, State.RECEIVED, State.STARTED, State.REJECTED, State.RETRY}
)
EXCEPTION_STATES: Final = frozenset({State.RETRY, State.FAILURE, State.REVOKED})
"""`result` holds an exception."""
PROPAGATE_STATES: Final = frozenset({State.FAILURE, State.REVOKED})
"""A client's `get` raises that exception."""

_CUSTOM: Final = 2
_PRECEDENCE: Final = {
    State.SUCCESS: 0,
    State.FAILURE: 1,
    # States of the user's own rank here.
    State.REVOKED: 3,
    State.STARTED: 4,
    State.RECEIVED: 5,
    State.REJECTED: 6,
    State.RETRY: 7,
    State.PENDING: 8,
}


def precedence(state: str | None) -> int:
    """Return the rank of a state: 0 is the most final one; `None` and all states of the user's own share one."""
    return _PRECEDENCE.get(state or "", _CUSTOM)


_EXTENDED_KEYS: Final = ("name", "args", "kwargs", "worker", "retries", "queue")
_DOCUMENT_KEYS: Final = frozenset(
    {
        *("status", "result", "traceback", "children", "date_done", "task_id"),
        *("group_id", "parent_id", "stamped_headers"),
        *_EXTENDED_KEYS,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultMeta:
    """One result document. Spec: results-and-workflows#1.1."""

    task_id: str
    status: str
    """A name of `State`, or the user's own."""
    result: object = None
    """Return value, encoded exception, or the meta of a custom state."""
    traceback: str | None = None
    children: Sequence[object] | None = ()
    """Tuple forms of the results of tasks sent while this one ran; `None`: stored without a request."""
    date_done: datetime | str | None = None
    """When a ready state was stored; read as an aware datetime where the text can be read."""
    group_id: str | None = None
    parent_id: str | None = None
    name: str | None = None
    args: object = None
    kwargs: object = None
    worker: str | None = None
    """Node name."""
    retries: int | None = None
    queue: str | None = None
    """Routing key of the delivery."""
    stamped_headers: tuple[str, ...] | None = None
    stamps: Mapping[str, object] = field(default_factory=dict)
    extended: bool = False
    """The document has `name` … `queue` and the stamps (setting `result_extended`)."""

    def __post_init__(self) -> None:
        if self.children is not None and type(self.children) is not tuple:
            object.__setattr__(self, "children", tuple(self.children))

    def to_dict(self) -> dict[str, object]:
        """Return the document, keys in the order of Celery 5.7. Spec: results-and-workflows#9."""
        done = self.date_done
        document: dict[str, object] = {
            "status": self.status,
            "result": self.result,
            "traceback": self.traceback,
            "children": None if self.children is None else list(self.children),
            "date_done": done.isoformat() if isinstance(done, datetime) else done,
        }
        if self.group_id:
            document["group_id"] = self.group_id
        if self.parent_id:
            document["parent_id"] = self.parent_id
        if self.extended:
            document.update((key, getattr(self, key)) for key in _EXTENDED_KEYS)
            if self.stamped_headers is not None:
                document["stamped_headers"] = list(self.stamped_headers)
                # Stamps lie flat among the keys of the document; one named like such a key must not replace it.
                document.update(
                    (name, self.stamps[name])
                    for name in self.stamped_headers
                    if name in self.stamps and name not in _DOCUMENT_KEYS
                )
        document["task_id"] = self.task_id
        return document

    @classmethod
    def from_dict(cls, value: object, *, task_id: str | None = None) -> ResultMeta:
        """Read a document; unknown keys are ignored.

        Args:
            value: What was stored. Only `status` is indispensable.
            task_id: Used when the document names none.

        Raises:
            RemoteProtocolError: No mapping, no state, no id, or children or stamps of an impossible shape.

        Spec: results-and-workflows#1.1, results-and-workflows#8
        """
        if not isinstance(value, Mapping):
            raise RemoteProtocolError("result document", "a mapping", value)
        status, found_id = value.get("status"), value.get("task_id", task_id)
        if not isinstance(status, str) or not status:
            raise RemoteProtocolError("result['status']", "the name of a state", status)
        if not isinstance(found_id, str) or not found_id:
            if task_id is None:
                raise RemoteProtocolError("result['task_id']", "a non-empty text", found_id)
            found_id = task_id
        children = value.get("children", ())
        if children is not None and not isinstance(children, list | tuple):
            raise RemoteProtocolError("result['children']", "a list, or null", children)
        extended = any(key in value for key in _EXTENDED_KEYS)
        stamped_headers = _names(value.get("stamped_headers"))
        return cls(
            task_id=found_id,
            status=status,
            result=value.get("result"),
            traceback=_text(value.get("traceback")),
            children=children,
            date_done=_read_date(value.get("date_done")),
            group_id=_text(value.get("group_id")) or None,
            parent_id=_text(value.get("parent_id")) or None,
            name=_text(value.get("name")),
            args=value.get("args"),
            kwargs=value.get("kwargs"),
            worker=_text(value.get("worker")),
            retries=_integer(value.get("retries")),
            queue=_text(value.get("queue")),
            stamped_headers=stamped_headers,
            stamps={
                name: value[name]
                for name in stamped_headers or ()
                if name in value and name not in _DOCUMENT_KEYS
            },
            extended=extended,
        )


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else abbreviate(value)


def _integer(value: object) -> int | None:
    if isinstance(value, int):
        return int(value)
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else None


def _names(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise RemoteProtocolError("result['stamped_headers']", "a list of names, or null", value)
    return tuple(value)


def _read_date(value: object) -> datetime | str | None:
    if value is None:
        return None
    if isinstance(value, str | datetime):
        try:
            return parse_iso8601(value)
        except ValueError:
            # Shown to people, decided upon by nobody: the text serves as well.
            return str(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return abbreviate(value)


class ResultNode(NamedTuple):
    """One result in tuple form, unfolded. Spec: results-and-workflows#1.5."""

    id: str
    """Task id, or group id."""
    parent: ResultNode | None = None
    """The result before it in a chain."""
    children: tuple[ResultNode, ...] | None = None
    """Members of a group; `None` for a single result."""

    def to_list(self) -> list[object]:
        """Return the tuple form."""
        form: list[object] | None = None
        line: list[ResultNode] = []
        node: ResultNode | None = self
        while node is not None:
            line.append(node)
            node = node.parent
        for node in reversed(line):
            children = node.children
            form = result_tuple(
                node.id, form, None if children is None else [child.to_list() for child in children]
            )
        assert form is not None
        return form


def result_tuple(
    id: str,
    parent: Sequence[object] | None = None,
    children: Iterable[object] | None = None,
) -> list[object]:
    """Build the tuple form of a result.

    Args:
        id: Task id, or group id.
        parent: Tuple form of the parent.
        children: Tuple forms of a group's members; `None` for a single result.

    Spec: results-and-workflows#1.5
    """
    pair: list[object] = [id, parent]
    return [pair, None if children is None else list(children)]


def read_result_tuple(value: object) -> ResultNode:
    """Read a tuple form: ``[[id, parent], children]``, ``[id, children]``, or a bare id.

    Args:
        value: As found in `children`, in a saved group, or in the arguments of `celery.chord_unlock`.

    Raises:
        RemoteProtocolError: No such form, or nested too deep to be one.

    Spec: results-and-workflows#1.5, results-and-workflows#8
    """
    try:
        return _read_node(value)
    except RecursionError:
        raise RemoteProtocolError("result tuple", "a sane depth", "one too deep") from None


def _read_node(value: object) -> ResultNode:
    # A chain of a thousand steps is a line of a thousand parents: walked, not recursed into.
    line: list[tuple[str, tuple[ResultNode, ...] | None]] = []
    seen: set[int] = set()
    while value is not None:
        if id(value) in seen:
            raise RemoteProtocolError("result tuple", "no cycle", "its own parent")
        seen.add(id(value))
        if isinstance(value, str):
            first: object = value
            children: object = None
        elif isinstance(value, list | tuple) and len(value) == 2:
            first, children = value
        else:
            raise RemoteProtocolError("result tuple", "[[id, parent], children]", value)
        parent: object = None
        if isinstance(first, list | tuple) and len(first) == 2:
            first, parent = first
        if not isinstance(first, str) or not first:
            raise RemoteProtocolError("result tuple", "an id", first)
        if children is not None and not isinstance(children, list | tuple):
            raise RemoteProtocolError("result tuple", "a list of members, or null", children)
        line.append(
            (first, None if children is None else tuple(_read_node(child) for child in children))
        )
        value = parent
    if not line:
        raise RemoteProtocolError("result tuple", "[[id, parent], children]", None)
    node: ResultNode | None = None
    for name, members in reversed(line):
        node = ResultNode(name, node, members)
    assert node is not None
    return node


_MARKER: Final = b"\x00celery-compressed\x00"
_CONTENT_TYPE_LIMIT: Final = 128
_DECOMPRESSED_LIMIT: Final = 512 * 1024 * 1024
"""What redis holds in one value."""


def wrap_compressed(data: bytes, method: str) -> bytes:
    """Compress an encoded document and mark it, as Celery 5.7 does under `result_compression`.

    Args:
        data: The encoded document.
        method: Alias or content type of the compression.

    Raises:
        LocalProtocolError: Unknown method.

    Spec: results-and-workflows#1.7
    """
    content_type, compressed = compress(data, method)
    return b"".join((_MARKER, content_type.encode(), b"\x00", compressed))


def unwrap_compressed(data: bytes, *, cap: int = _DECOMPRESSED_LIMIT) -> bytes:
    """Return the encoded document, whether it was stored compressed or not.

    Args:
        data: The stored value; the marker is recognised by content.
        cap: Most bytes to return.

    Raises:
        UndecodableBodyError: The marker is there, but what follows cannot be decompressed.
        TooLargeError: The document grows past `cap`.

    Spec: results-and-workflows#1.7
    """
    if not data.startswith(_MARKER):
        return data
    start = len(_MARKER)
    end = data.find(b"\x00", start, start + _CONTENT_TYPE_LIMIT)
    if end in (-1, start):
        raise UndecodableBodyError("stored result", "a content type after the marker", data)
    try:
        content_type = data[start:end].decode("ascii")
    except UnicodeDecodeError:
        raise UndecodableBodyError(
            "stored result", "a content type after the marker", data[start:end]
        ) from None
    return decompress(data[end + 1 :], content_type, cap=cap)
