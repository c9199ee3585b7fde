"""Exceptions of builtins: class and arguments, over every kind of result backend."""

from __future__ import annotations

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange

_RAISED: dict[str, list[object]] = {
    "KeyError": ["key"],
    "ZeroDivisionError": ["division by zero"],
    "NotImplementedError": [],
    "StopIteration": ["a value"],
    "TimeoutError": [110, "took too long"],
}


@case(
    "failures/builtin-{kind}",
    spec="results-and-workflows#1.4",
    each={"kind": list(_RAISED)},
)
def test_builtin_exceptions_keep_class_and_arguments(exchange: Exchange, kind: str) -> None:
    wanted = _RAISED[kind]
    raised = exchange.producer.wait(exchange.producer.send("fail", [kind, *wanted])).raised
    assert raised is not None
    assert (raised.type, raised.args) == (kind, wanted)
    assert raised.module == "builtins"
