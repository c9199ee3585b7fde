"""Tasks that replace themselves: the first id gets the result of what came instead.

A replacement is sent by the worker and carries the worker's reply queue: over rpc its result never reaches the caller.
"""

from __future__ import annotations

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange
from celeriac_conformance.forms import call, chain, chord


@case(
    "replace/by-a-task", spec="results-and-workflows#6.7 task-message#7.4", needs=["stored-results"]
)
def test_a_replaced_task_has_the_result_of_its_replacement(exchange: Exchange) -> None:
    sent = exchange.producer.send("replace_with_add", [20, 22])
    assert exchange.producer.result(sent) == 42
    first, second = exchange.journal.runs(sent.id)
    assert (first.task, second.task) == ("replace_with_add", "add")
    assert second.request["parent_id"] == sent.id


@case("replace/counts-nesting", spec="task-message#7.4", since="5.3", needs=["stored-results"])
def test_a_replacement_counts_how_deep_it_is_nested(exchange: Exchange) -> None:
    sent = exchange.producer.send("replace_with_add", [20, 22])
    exchange.producer.result(sent)
    nesting = [run.request["replaced_task_nesting"] for run in exchange.journal.runs(sent.id)]
    assert nesting == [0, 1]


@case("replace/by-a-chain", spec="task-message#7.4", needs=["stored-results"])
def test_a_task_replaced_by_a_chain_has_the_result_of_its_last_step(exchange: Exchange) -> None:
    assert exchange.producer.result(exchange.producer.send("replace_with_chain", [1, 2, 3])) == 6


@case("replace/by-a-group", spec="results-and-workflows#6.7", needs=["chords"])
def test_a_task_replaced_by_a_group_has_the_list_of_results(exchange: Exchange) -> None:
    assert exchange.producer.result(exchange.producer.send("replace_with_group", [[1, 2, 3]])) == [
        1,
        2,
        3,
    ]


@case("replace/in-a-chain", spec="results-and-workflows#6.8")
def test_a_chain_goes_on_after_a_replaced_step(exchange: Exchange) -> None:
    sent = exchange.producer.run(chain(call("replace_with_add", 1, 2), call("mul", 10)))
    assert exchange.producer.result(sent) == 30


@case(
    "replace/keeps-callbacks",
    spec="results-and-workflows#6.7",
    since="5.2",
    needs=["stored-results"],
)
def test_a_callback_follows_the_replacement(exchange: Exchange) -> None:
    marker = exchange.marker().name
    sent = exchange.producer.send("replace_with_add", [1, 2], link=[call("collect", marker)])
    assert exchange.producer.result(sent) == 3

    def collected() -> list[list[object]]:
        runs = exchange.journal.entries(event="run", task="collect")
        return [run.extra["args"] for run in runs if marker in run.extra["args"]]

    exchange.eventually(
        lambda: collected() == [[3, marker]],
        "the callback runs once, with the replacement's result",
    )


@case("replace/in-a-chord", spec="results-and-workflows#6.7", since="5.0", needs=["chords"])
def test_a_replaced_header_task_counts_with_its_replacement(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        chord([call("replace_with_add", 1, 2), call("add", 1, 1)], call("xsum"))
    )
    assert exchange.producer.result(sent) == 5
