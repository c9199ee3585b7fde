"""Groups: several at once, and the mapped forms."""

from __future__ import annotations

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange
from celeriac_conformance.forms import call, chain, chunks, group, mapped, starmapped


@case("groups/results-in-order", spec="results-and-workflows#6.2")
def test_the_results_of_a_group_are_in_the_order_of_its_members(exchange: Exchange) -> None:
    sent = exchange.producer.run(group(*[call("add", number, number) for number in range(8)]))
    assert exchange.producer.result(sent) == [number * 2 for number in range(8)]


@case("groups/headers", spec="task-message#2 results-and-workflows#6.8", since="5.3.4")
def test_members_carry_the_group_id_and_their_place(exchange: Exchange) -> None:
    sent = exchange.producer.run(group(call("add", 0, 0), call("add", 1, 1), call("add", 2, 2)))
    exchange.producer.result(sent)
    requests = [exchange.journal.runs(member.id)[0].request for member in sent.members]
    assert [(request["group"], request["group_index"]) for request in requests] == [
        (sent.id, number) for number in range(3)
    ]
    assert [request["root_id"] for request in requests] == [member.id for member in sent.members]


@case("groups/document", spec="results-and-workflows#1.1", needs=["redis-results"])
def test_the_document_of_a_member_names_its_group(exchange: Exchange) -> None:
    sent = exchange.producer.run(group(call("add", 0, 0), call("add", 1, 1)))
    exchange.producer.result(sent)
    for member in sent.members:
        document = exchange.stored().document(member.id)
        assert document is not None
        assert document["group_id"] == sent.id


@case("groups/failing-member", spec="results-and-workflows#6.2")
def test_a_failing_member_leaves_the_others_alone(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        group(call("add", 1, 1), call("fail", "ValueError", "bad"), call("add", 2, 2))
    )
    answers = [exchange.producer.wait(member) for member in sent.members]
    assert [answer.state for answer in answers] == ["SUCCESS", "FAILURE", "SUCCESS"]
    assert [answer.value for answer in (answers[0], answers[2])] == [2, 4]


@case("groups/of-chains", spec="results-and-workflows#6.2")
def test_chains_can_be_members(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        group(chain(call("add", 1, 1), call("mul", 10)), chain(call("add", 2, 2), call("mul", 10)))
    )
    assert exchange.producer.result(sent) == [20, 40]


@case("groups/errback", spec="results-and-workflows#6.2", since="5.2")
def test_an_errback_of_a_group_runs_for_the_member_that_failed(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        group(call("add", 1, 1), call("fail", "ValueError")).link_error(call("errback_old"))
    )
    failed = sent.members[1].id
    assert exchange.producer.wait(failed).state == "FAILURE"
    exchange.journal.wait(task="errback_old", extra={"task_id": failed})


@case("groups/map", spec="task-message#8.5")
def test_map_runs_the_task_for_each_item_in_one_call(exchange: Exchange) -> None:
    assert exchange.producer.result(exchange.producer.run(mapped("xsum", [[1, 2], [3, 4]]))) == [
        3,
        7,
    ]


@case("groups/starmap", spec="task-message#8.5")
def test_starmap_unpacks_each_item(exchange: Exchange) -> None:
    assert exchange.producer.result(exchange.producer.run(starmapped("add", [[1, 2], [3, 4]]))) == [
        3,
        7,
    ]


@case("groups/chunks", spec="task-message#8.3")
def test_chunks_are_a_group_of_starmaps(exchange: Exchange) -> None:
    items = [[number, number] for number in range(5)]
    sent = exchange.producer.run(chunks("add", items, 2))
    assert exchange.producer.result(sent) == [[0, 2], [4, 6], [8]]
