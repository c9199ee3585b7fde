"""Messages of protocol 1, and of no protocol at all."""

from __future__ import annotations

from collections.abc import Iterator

from celeriac_conformance.malformed.entry import (
    FAILED,
    FREE,
    ID,
    REFUSED,
    RUN,
    Malformed,
    v1,
)

__all__ = ["protocol_1"]


def protocol_1() -> Iterator[Malformed]:
    """Yield broken messages of protocol 1, and messages of neither."""
    yield v1("v1-without-id", FREE, drop=("id",))
    yield v1("v1-id-null", FREE, id=None)
    yield v1("v1-id-list", FREE, id=["x"])
    yield v1("v1-task-unknown", FAILED, task="no.such.task")
    yield v1("v1-task-null", REFUSED, task=None)
    yield v1("v1-task-list", REFUSED, task=["collect"])
    yield v1("v1-task-number", REFUSED, task=7)
    yield v1("v1-without-task", REFUSED, drop=("task",))
    yield v1("v1-without-args", RUN, drop=("args",))
    yield v1("v1-without-kwargs", RUN, drop=("kwargs",))
    yield v1("v1-args-number", REFUSED, args=7)
    yield v1("v1-args-null", FREE, args=None)
    yield v1("v1-kwargs-list", REFUSED, kwargs=[1])
    yield v1("v1-kwargs-null", FREE, kwargs=None)
    yield v1("v1-eta-word", REFUSED, eta="tomorrow")
    yield v1("v1-expires-list", REFUSED, expires=[1])
    yield v1("v1-timelimit-text", FREE, timelimit="abc")
    yield v1("v1-callbacks-number", FREE, callbacks=5)
    yield v1("v1-chord-text", FREE, chord="abc", group=f"g-{ID}")
    yield v1("v1-taskset-list", FREE, taskset=[1])
    yield v1("v1-utc-text", FREE, utc="sometimes")
    for name, text in (
        ("list", b"[1, 2]"),
        ("text", b'"hello"'),
        ("null", b"null"),
        ("number", b"7"),
    ):
        yield Malformed(name=f"no-protocol-{name}", allowed=REFUSED, headers={}, body=text)
    yield Malformed(name="no-protocol-empty", allowed=REFUSED, headers={}, body=b"")
    yield Malformed(name="no-protocol-binary", allowed=REFUSED, headers={}, body=bytes(range(256)))
    yield Malformed(
        name="no-protocol-pickle",
        allowed=REFUSED,
        headers={},
        body=b"\x80\x04N.",
        properties={"content_type": "application/x-python-serialize", "content_encoding": "binary"},
    )
