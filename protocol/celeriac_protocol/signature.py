"""The dict form of a task call: what it holds, how it is built, and what is wrong with a bad one.

A signature travels inside other messages (callbacks, errbacks, chain steps, chord bodies) and inside options of other
signatures. `check_signature` walks all of that without recursion: nesting is as deep as a producer likes, and YAML or
pickle can hand us shared or even cyclic structures, so every mapping is looked at once.

Behaviour (applying, freezing, cloning) belongs to the application layer; this module knows only the form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from celeriac_protocol.errors import InvalidTaskError

__all__ = [
    "ABSENT",
    "SIGNATURE_KEYS",
    "SUBTASK_TYPES",
    "Absent",
    "chain_dict",
    "check_signature",
    "check_signatures",
    "chord_dict",
    "chunks_dict",
    "group_dict",
    "map_dict",
    "normalize",
    "signature_dict",
    "starmap_dict",
]

SIGNATURE_KEYS: Final = ("task", "args", "kwargs", "options", "subtask_type", "immutable")
"""Keys of a new signature, in wire order."""

SUBTASK_TYPES: Final = frozenset({"chain", "group", "chord", "xmap", "xstarmap", "chunks"})
"""Registered type names; the last three never appear on the wire."""


class Absent:
    """Marks a key that is not written at all, which differs from one written as null."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "nothing"


ABSENT: Final = Absent()

# A path is linked backwards (parent, segment) and turned into text only for an error: chains can be thousands long.
_Path: TypeAlias = tuple["_Path | None", str]


def check_signature(value: object, where: str) -> Mapping[str, object]:
    """Check one signature and everything that is nested in it.

    Args:
        value: What was found.
        where: Path of `value` for the error, e.g. ``body[2]['chord']``.

    Returns:
        `value` itself.

    Raises:
        InvalidTaskError: It or a nested signature breaks the layout; `field` is the full path.

    Spec: task-message#8.1, task-message#8.3
    """
    _check_all([(value, (None, where))])
    assert isinstance(value, Mapping)
    return value


def check_signatures(value: object, where: str) -> Sequence[Mapping[str, object]]:
    """Check a list of signatures, such as `callbacks`.

    Args:
        value: What was found.
        where: Path of `value` for the error.

    Returns:
        `value` itself.

    Raises:
        InvalidTaskError: Not a list, or an element is not a signature.

    Spec: task-message#3.1
    """
    if not isinstance(value, list | tuple):
        raise InvalidTaskError(where, "a list of signatures", value)
    _check_all(_list(value, (None, where))[::-1])
    return value


def _check_all(pending: list[tuple[object, _Path]]) -> None:
    seen: set[int] = set()
    while pending:
        value, path = pending.pop()
        if not isinstance(value, Mapping):
            raise InvalidTaskError(
                _text(path), "a signature (a mapping with 'task' and 'options')", value
            )
        if id(value) in seen:
            continue
        seen.add(id(value))
        # The nested ones go on a stack; pushed in reverse, the first fault in reading order is the one reported.
        pending.extend(reversed(_check_one(value, path)))


def _check_one(value: Mapping[str, object], path: _Path) -> list[tuple[object, _Path]]:
    task = value.get("task")
    if not isinstance(task, str) or not task:
        raise InvalidTaskError(_text((path, "['task']")), "a task name", value.get("task", ABSENT))
    args = value.get("args")
    if args is not None and not isinstance(args, list | tuple):
        raise InvalidTaskError(_text((path, "['args']")), "a list", args)
    kwargs = _mapping(value.get("kwargs") or {}, path, "['kwargs']")
    options = _mapping(value.get("options", ABSENT), path, "['options']")
    subtask_type = value.get("subtask_type")
    if subtask_type is not None and not (
        isinstance(subtask_type, str) and subtask_type in SUBTASK_TYPES
    ):
        raise InvalidTaskError(
            _text((path, "['subtask_type']")),
            f"null or one of {', '.join(sorted(SUBTASK_TYPES))}",
            subtask_type,
        )
    nested: list[tuple[object, _Path]] = []
    if subtask_type in ("chain", "group"):
        nested += _list(kwargs.get("tasks", ABSENT), ((path, "['kwargs']"), "['tasks']"))
    elif subtask_type == "chord":
        header_path = ((path, "['kwargs']"), "['header']")
        header = kwargs.get("header", ABSENT)
        nested += (
            [(header, header_path)] if isinstance(header, Mapping) else _list(header, header_path)
        )
        nested.append((kwargs.get("body", ABSENT), ((path, "['kwargs']"), "['body']")))
    for key in ("link", "link_error", "chain", "chord"):
        if (linked := options.get(key)) is None:
            continue
        linked_path = ((path, "['options']"), f"[{key!r}]")
        # `.set(link=…)` leaves a bare signature where `.link()` makes a list; a chord is always a single one.
        if key == "chord" or (key != "chain" and isinstance(linked, Mapping)):
            nested.append((linked, linked_path))
        else:
            nested += _list(linked, linked_path)
    return nested


def _list(value: object, path: _Path) -> list[tuple[object, _Path]]:
    if not isinstance(value, list | tuple):
        raise InvalidTaskError(_text(path), "a list of signatures", value)
    return [(item, (path, f"[{index}]")) for index, item in enumerate(value)]


def _mapping(value: object, path: _Path, segment: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise InvalidTaskError(_text((path, segment)), "a mapping", value)
    for key in value:
        if not isinstance(key, str):
            raise InvalidTaskError(_text((path, segment)), "text keys only", key)
    return value


def _text(path: _Path) -> str:
    parts: list[str] = []
    step: _Path | None = path
    while step is not None:
        step, segment = step
        parts.append(segment)
    return "".join(reversed(parts))


def signature_dict(
    task: str,
    args: Sequence[object] = (),
    kwargs: Mapping[str, object] | None = None,
    options: Mapping[str, object] | None = None,
    subtask_type: str | None = None,
    immutable: bool = False,
    chord_size: object = ABSENT,
) -> dict[str, object]:
    """Build the dict form of a call, keys in wire order.

    Args:
        task: Registered name.
        args: Positional arguments.
        kwargs: Keyword arguments.
        options: Everything `apply_async` takes.
        subtask_type: `None` or one of `SUBTASK_TYPES`.
        immutable: True: results of earlier tasks are not prepended.
        chord_size: Written, before `immutable`, only when given: Celery 4.0–5.0 peers look for it in chord bodies.

    Returns:
        A new dict; the containers in it are new too, their values are not copied.

    Spec: task-message#8.1
    """
    form: dict[str, object] = {
        "task": task,
        "args": list(args),
        "kwargs": dict(kwargs or {}),
        "options": dict(options or {}),
        "subtask_type": subtask_type,
    }
    if chord_size is not ABSENT:
        form["chord_size"] = chord_size
    form["immutable"] = immutable
    return form


def chain_dict(
    tasks: Iterable[Mapping[str, object]],
    options: Mapping[str, object] | None = None,
    *,
    immutable: bool = False,
) -> dict[str, object]:
    """Build a chain; `tasks` in running order. Spec: task-message#8.3."""
    return signature_dict(
        "celery.chain", (), {"tasks": list(tasks)}, options, "chain", immutable=immutable
    )


def group_dict(
    tasks: Iterable[Mapping[str, object]],
    options: Mapping[str, object] | None = None,
    *,
    immutable: bool = False,
) -> dict[str, object]:
    """Build a group; a frozen one has the *group id* as `options['task_id']`. Spec: task-message#8.3."""
    return signature_dict(
        "celery.group", (), {"tasks": list(tasks)}, options, "group", immutable=immutable
    )


def chord_dict(
    header: Mapping[str, object] | Iterable[Mapping[str, object]],
    body: Mapping[str, object],
    kwargs: Mapping[str, object] | None = None,
    options: Mapping[str, object] | None = None,
    *,
    args: Sequence[object] = (),
    immutable: bool = False,
) -> dict[str, object]:
    """Build a chord.

    Args:
        header: A group's dict form, or the signatures themselves.
        body: Signature called with the list of results.
        kwargs: Keyword arguments for every header task.
        options: Options of the chord; `task_id` is the header's group id.
        args: Positional arguments for every header task.
        immutable: As for any signature.

    Spec: task-message#8.3
    """
    parts = {
        "kwargs": dict(kwargs or {}),
        "header": header if isinstance(header, Mapping) else list(header),
        "body": body,
    }
    return signature_dict("celery.chord", args, parts, options, "chord", immutable=immutable)


def map_dict(
    task: Mapping[str, object],
    it: Iterable[object],
    options: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Build `celery.map`: ``[task(x) for x in it]`` in one process. Spec: task-message#8.3."""
    return signature_dict("celery.map", (), {"task": task, "it": list(it)}, options, immutable=True)


def starmap_dict(
    task: Mapping[str, object],
    it: Iterable[object],
    options: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Build `celery.starmap`: ``[task(*x) for x in it]`` in one process. Spec: task-message#8.3."""
    return signature_dict(
        "celery.starmap", (), {"task": task, "it": list(it)}, options, immutable=True
    )


def chunks_dict(
    task: Mapping[str, object],
    it: Iterable[object],
    n: int,
    options: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Build `celery.chunks`: a group of starmaps of at most `n` items each. Spec: task-message#8.3."""
    return signature_dict(
        "celery.chunks", (), {"task": task, "it": list(it), "n": n}, options, immutable=True
    )


def normalize(value: Mapping[str, object], where: str = "signature") -> dict[str, object]:
    """Return one signature with every key that a tolerant reader may fill in.

    Missing or null `args`, `kwargs`, `subtask_type` and `immutable` get their defaults, and the inner `kwargs` of a
    chord, which Celery 4.x and 5.0 wrap once more at each clone, are unwrapped. Unknown keys stay. Nested signatures
    are left alone: whoever unfolds them normalizes them then.

    Args:
        value: A signature as received.
        where: Path of `value` for the error.

    Raises:
        InvalidTaskError: `task` or `options` is missing, or a part has the wrong type.

    Spec: task-message#8.1, task-message#8.3
    """
    _check_one(value, (None, where))
    form = signature_dict(
        str(value["task"]),
        list(_sequence(value.get("args"))),
        _plain(value.get("kwargs")),
        _plain(value["options"]),
        None if value.get("subtask_type") is None else str(value["subtask_type"]),
        immutable=bool(value.get("immutable")),
    )
    form.update({key: item for key, item in value.items() if key not in form})
    if form["subtask_type"] == "chord":
        kwargs = _plain(form["kwargs"])
        kwargs["kwargs"] = _unwrapped(kwargs.get("kwargs"))
        form["kwargs"] = kwargs
    return form


def _unwrapped(kwargs: object) -> object:
    inner = kwargs or {}
    seen = 0
    while isinstance(inner, Mapping) and set(inner) == {"kwargs"}:
        nested = inner["kwargs"] or {}
        # A header task may itself take an argument named `kwargs` that is no mapping; that one is meant.
        if not isinstance(nested, Mapping) or seen > _MOST_CLONES:
            break
        inner, seen = nested, seen + 1
    return inner


# Only a cyclic structure nests deeper than a chord can have been cloned.
_MOST_CLONES = 10_000


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _plain(value: object) -> dict[str, object]:
    return dict(value) if isinstance(value, Mapping) else {}
