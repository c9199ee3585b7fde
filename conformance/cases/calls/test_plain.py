"""Plain calls: what goes in comes out."""

from __future__ import annotations

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange


@case("calls/positional-arguments", spec="task-message#3.1 results-and-workflows#1.3")
def test_a_call_with_positional_arguments_returns_its_value(exchange: Exchange) -> None:
    assert exchange.producer.result(exchange.producer.send("add", [2, 3])) == 5
