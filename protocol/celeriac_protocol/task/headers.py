"""Headers of protocol 2, read and written. Spec: task-message#2, task-message#3.5.

Reading happens once per delivery in the worker's main process, so the table is read in one pass with a type test per
field; everything unusual goes to the small functions below the table. Their rules, for what the specification leaves
to the reader:

* `id`: text as it is; a finite number counts as its text; all else is refused, since no result could be stored.
* names of other tasks (`group`, `root_id`, `parent_id`) and `shadow`: a number counts as its text, but 0 is no
  `shadow`; other types are refused.
* `eta`, `expires`: ISO 8601 text, or the timestamp type of AMQP; an empty text is refused like any other garbage.
* `timelimit`: nothing or two limits, each a finite number, its text, or nothing (null, 0, an empty text).
* counters (`retries`, `group_index`, `replaced_task_nesting`): an integer where one can be made, else the default.
* texts for display: whatever is there, as text.

The same table serves hybrid messages and protocol 1, where fields come from the body with the headers laid over them;
`overlay` then tells which of the two an error has to name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from celeriac_protocol.errors import (
    InvalidTaskError,
    TooLargeError,
    UndecodableBodyError,
    abbreviate,
)
from celeriac_protocol.signature import ABSENT
from celeriac_protocol.task.model import Limits, TaskHeaders, TimeLimit
from celeriac_protocol.times import parse_iso8601

__all__ = [
    "STANDARD_HEADERS",
    "header_table",
    "instant_text",
    "read_compression",
    "read_table",
]

STANDARD_HEADERS: Final = (
    "lang",
    "task",
    "id",
    "shadow",
    "eta",
    "expires",
    "group",
    "group_index",
    "retries",
    "timelimit",
    "root_id",
    "parent_id",
    "argsrepr",
    "kwargsrepr",
    "origin",
    "ignore_result",
    "replaced_task_nesting",
    "stamped_headers",
    "stamps",
)
"""In the wire order of Celery 5.3.5 and later; `compression`, when there, follows the custom headers."""

_KNOWN: Final = frozenset({*STANDARD_HEADERS, "compression"})
_OWN_LIMITS: Final = TimeLimit()
# Compared one by one with `==`: the first entry is what nearly every message has.
_NO_LIMITS: Final[tuple[object, ...]] = ([None, None], None, [], [0, 0])
_NEVER: Final = (None, None)


def read_table(
    table: Mapping[str, object], limits: Limits, overlay: Mapping[str, object] | None = None
) -> TaskHeaders:
    """Read the fields of a call from a table that has a `task` key.

    Args:
        table: The headers; for bodies that carry header fields, those with the real headers laid over.
        limits: Size caps.
        overlay: The real headers, when `table` is more than that.

    Raises:
        InvalidTaskError: A field has a shape that no rule of this module covers.
        TooLargeError: The id is longer than `limits.id_length`.
        UndecodableBodyError: `compression` is no text, so the body cannot be read.
    """
    get = table.get
    task = get("task")
    if type(task) is not str or not task:
        task = _name(task, "task", overlay)
    task_id = get("id")
    if type(task_id) is not str or not task_id or len(task_id) > limits.id_length:
        task_id = _id(get("id", ABSENT), limits, overlay)
    read: Any = _Draft()
    read.task = task
    read.id = task_id
    value = get("lang")
    read.lang = value if type(value) is str else _display(value)
    value = get("shadow")
    read.shadow = value if value is None or type(value) is str else _shadow(value, overlay)
    value = get("eta")
    read.eta, read.eta_at = _NEVER if value is None else _instant(value, "eta", overlay)
    value = get("expires")
    read.expires, read.expires_at = _NEVER if value is None else _instant(value, "expires", overlay)
    value = get("group")
    read.group = value if value is None or type(value) is str else _ref(value, "group", overlay)
    value = get("group_index")
    read.group_index = value if value is None or type(value) is int else _integer(value)
    value = get("retries")
    read.retries = value if type(value) is int else _integer(value) or 0
    value = get("timelimit")
    read.timelimit = _OWN_LIMITS if value in _NO_LIMITS else _timelimit(value, overlay)
    value = get("root_id")
    read.root_id = value if value is None or type(value) is str else _ref(value, "root_id", overlay)
    value = get("parent_id")
    read.parent_id = (
        value if value is None or type(value) is str else _ref(value, "parent_id", overlay)
    )
    value = get("argsrepr")
    read.argsrepr = value if type(value) is str else _display(value)
    value = get("kwargsrepr")
    read.kwargsrepr = value if type(value) is str else _display(value)
    value = get("origin")
    read.origin = value if type(value) is str else _display(value)
    value = get("ignore_result")
    read.ignore_result = value if value is None or type(value) is bool else bool(value)
    value = get("replaced_task_nesting")
    read.replaced_task_nesting = value if type(value) is int else _integer(value) or 0
    value = get("stamped_headers")
    read.stamped_headers = None if value is None else _stamped_headers(value, overlay)
    value = get("stamps")
    read.stamps = value if type(value) is dict else _stamps(value, overlay)
    source = table if overlay is None else overlay
    read.compression = None if get("compression") is None else read_compression(source)
    read.custom = (
        {}
        if source.keys() <= _KNOWN
        else {key: value for key, value in source.items() if key not in _KNOWN}
    )
    read.__class__ = TaskHeaders
    headers: TaskHeaders = read
    return headers


class _Draft:
    """`TaskHeaders` while its fields are being set.

    The constructor of a frozen dataclass costs more than all the reading, once per delivery. An object of a plain
    class with the same slots is filled instead, and then made a `TaskHeaders` by giving it that class.
    """

    __slots__ = tuple(each.name for each in fields(TaskHeaders))


def read_compression(headers: Mapping[str, object]) -> str | None:
    """Return the `compression` header, `None` when falsy.

    Raises:
        UndecodableBodyError: It is no text: nobody can know how to decompress the body.

    Spec: task-message#6.4
    """
    compression = headers.get("compression")
    if not compression:
        return None
    if not isinstance(compression, str):
        raise UndecodableBodyError(
            "headers['compression']", "the content type of a compression method", compression
        )
    return compression


def _where(key: str, overlay: Mapping[str, object] | None) -> str:
    return f"headers[{key!r}]" if overlay is None or key in overlay else f"body[{key!r}]"


def _name(value: object, key: str, overlay: Mapping[str, object] | None) -> str:
    if isinstance(value, str) and value:
        return str(value)
    raise InvalidTaskError(_where(key, overlay), "a non-empty text", value)


def _id(value: object, limits: Limits, overlay: Mapping[str, object] | None) -> str:
    text = value if isinstance(value, str) else _number_text(value)
    if not text:
        raise InvalidTaskError(_where("id", overlay), "a non-empty text", value)
    if len(text) > limits.id_length:
        raise TooLargeError(
            _where("id", overlay), f"at most {limits.id_length} characters", f"{len(text)} of them"
        )
    return str(text)


def _ref(value: object, key: str, overlay: Mapping[str, object] | None) -> str:
    text = value if isinstance(value, str) else _number_text(value)
    if text is None:
        raise InvalidTaskError(_where(key, overlay), "a text or null", value)
    return str(text)


def _shadow(value: object, overlay: Mapping[str, object] | None) -> str | None:
    text = _ref(value, "shadow", overlay)
    return text if value else None  # 0 is no name: the task's own is shown


def _number_text(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        return str(value) if math.isfinite(value) else None
    except (OverflowError, ValueError):  # an integer too long for a float, or for text
        return None


def _display(value: object) -> str | None:
    return None if value is None else str(value) if isinstance(value, str) else abbreviate(value)


def _integer(value: object) -> int | None:
    if not isinstance(value, int | float | str | Decimal):
        return None
    try:
        return int(value)
    except (OverflowError, ValueError, ArithmeticError):
        return None


def _instant(value: object, key: str, overlay: Mapping[str, object] | None) -> tuple[str, datetime]:
    try:
        if isinstance(value, str):
            return str(value), parse_iso8601(value)
        if isinstance(value, datetime):
            moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
            return moment.isoformat(), moment.astimezone(UTC)
        if isinstance(value, date):
            return value.isoformat(), datetime(value.year, value.month, value.day, tzinfo=UTC)
    except (ValueError, OverflowError):
        # Same refusal as for other types; `found` says all there is to say.
        raise InvalidTaskError(_where(key, overlay), "an ISO 8601 time", value) from None
    raise InvalidTaskError(_where(key, overlay), "an ISO 8601 time", value)


def _timelimit(value: object, overlay: Mapping[str, object] | None) -> TimeLimit:
    if not value:
        return _OWN_LIMITS
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise InvalidTaskError(_where("timelimit", overlay), "[hard, soft]", value)
    return TimeLimit(_limit(value[0], value, overlay), _limit(value[1], value, overlay))


def _limit(value: object, whole: object, overlay: Mapping[str, object] | None) -> float | None:
    if type(value) is int and -_MOST_SECONDS < value < _MOST_SECONDS:
        return value or None
    try:
        if isinstance(value, str | float | Decimal) and (not value or math.isfinite(float(value))):
            number = float(value or 0)
            if abs(number) < _MOST_SECONDS:
                return number or None
    except (ValueError, OverflowError):
        raise InvalidTaskError(
            _where("timelimit", overlay), "two limits in seconds, or null", whole
        ) from None
    if value is None or value is False:
        return None
    raise InvalidTaskError(_where("timelimit", overlay), "two limits in seconds, or null", whole)


# Thirty thousand years: beyond it, adding a limit to a clock loses its meaning, and timers overflow.
_MOST_SECONDS: Final = 10**12


def _stamped_headers(value: object, overlay: Mapping[str, object] | None) -> tuple[str, ...] | None:
    if isinstance(value, str):
        return (str(value),) if value else ()
    if isinstance(value, list | tuple | set | frozenset):
        names = tuple(value)
        if all(type(name) is str for name in names):
            return names
    raise InvalidTaskError(_where("stamped_headers", overlay), "a list of names, or null", value)


def _stamps(value: object, overlay: Mapping[str, object] | None) -> Mapping[str, object]:
    # An empty list is what languages without a separate type for maps write for an empty one.
    if value is None or value == []:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidTaskError(_where("stamps", overlay), "a mapping of name to value", value)
    return value


def header_table(task: TaskHeaders, compression: str | None) -> dict[str, object]:
    """Build the headers of a protocol 2 message exactly as Celery 5.7 orders them.

    Args:
        task: The call. `eta_at` and `expires_at` count only where `eta` and `expires` are not given as text.
        compression: Content type of the compression, `None` for none.

    Returns:
        The standard headers, then `task.custom` laid over and after them, then `compression`.

    Spec: task-message#2
    """
    table: dict[str, object] = {
        "lang": task.lang,
        "task": task.task,
        "id": task.id,
        "shadow": task.shadow,
        "eta": instant_text(task.eta, task.eta_at),
        "expires": instant_text(task.expires, task.expires_at),
        "group": task.group,
        "group_index": task.group_index,
        "retries": task.retries,
        "timelimit": list(task.timelimit),
        "root_id": task.root_id,
        "parent_id": task.parent_id,
        "argsrepr": task.argsrepr,
        "kwargsrepr": task.kwargsrepr,
        "origin": task.origin,
        "ignore_result": task.ignore_result,
        "replaced_task_nesting": task.replaced_task_nesting,
        "stamped_headers": (None if task.stamped_headers is None else list(task.stamped_headers)),
        "stamps": dict(task.stamps),
    }
    table.update(task.custom)
    if compression is not None:
        table["compression"] = compression
    return table


def instant_text(text: str | None, moment: datetime | None) -> str | None:
    """Return the wire text of a time: what was given, else the moment with its own offset."""
    return text if text is not None or moment is None else moment.isoformat()
