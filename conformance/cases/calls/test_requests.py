"""What a task sees of the message that called it."""

from __future__ import annotations

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange


@case("calls/request-identity", spec="task-message#2 task-message#7.1")
def test_a_call_from_outside_is_its_own_root_without_parent(exchange: Exchange) -> None:
    call = exchange.producer.send("request_dump")
    request = exchange.producer.result(call)
    assert request["id"] == request["root_id"] == request["correlation_id"] == call.id
    assert request["parent_id"] is None
    assert request["group"] is None
    assert request["retries"] == 0
    assert request["task"] == "request_dump"


@case("calls/request-flags", spec="app-and-cli#5.7")
def test_a_worker_run_is_neither_eager_nor_called_directly(exchange: Exchange) -> None:
    request = exchange.producer.result(exchange.producer.send("request_dump"))
    assert (request["is_eager"], request["called_directly"]) == (False, False)


@case("calls/request-delivery-info", spec="task-message#1")
def test_delivery_info_names_exchange_and_routing_key(exchange: Exchange) -> None:
    info = exchange.producer.result(exchange.producer.send("request_dump"))["delivery_info"]
    assert (info["exchange"], info["routing_key"]) == ("", "celery")
    assert not info["redelivered"]


@case("calls/priority", spec="task-message#1.2 task-message#1.3")
def test_a_message_with_a_priority_is_served_and_shows_it(exchange: Exchange) -> None:
    request = exchange.producer.result(exchange.producer.send("request_dump", priority=5))
    assert request["delivery_info"]["priority"] == 5


@case("calls/every-priority", spec="task-message#1.2")
def test_messages_of_every_priority_are_served(exchange: Exchange) -> None:
    calls = [exchange.producer.send("add", [number, 0], priority=number) for number in range(10)]
    assert [exchange.producer.result(call) for call in calls] == list(range(10))


@case("calls/user-headers", spec="task-message#2", since="5.3")
def test_headers_of_the_caller_reach_the_request(exchange: Exchange) -> None:
    request = exchange.producer.result(
        exchange.producer.send("request_dump", headers={"tenant": "acme", "depth": 3})
    )
    assert request["headers"] == {"tenant": "acme", "depth": 3}


@case("calls/shadow-name", spec="task-message#2", since="4.2")
def test_a_shadow_name_is_for_display_only(exchange: Exchange) -> None:
    call = exchange.producer.send("request_dump", shadow="shown instead")
    request = exchange.producer.result(call)
    assert request["shadow"] == "shown instead"
    assert exchange.journal.runs(call.id)[0].task == "request_dump"


@case("calls/own-correlation-id", spec="task-message#1.3", needs=["stored-results"])
def test_the_id_header_counts_not_the_correlation_id(exchange: Exchange) -> None:
    call = exchange.producer.send("request_dump", correlation_id="something else")
    request = exchange.producer.result(call)
    assert (request["id"], request["correlation_id"]) == (call.id, "something else")


@case("calls/argument-texts", spec="task-message#4")
def test_argsrepr_and_kwargsrepr_describe_the_arguments(exchange: Exchange) -> None:
    call = exchange.producer.send("echo_all", [1, "x"], {"key": [2]})
    exchange.producer.result(call)
    request = exchange.journal.runs(call.id)[0].request
    assert (request["argsrepr"], request["kwargsrepr"]) == ("(1, 'x')", "{'key': [2]}")


@case("calls/time-limits-in-request", spec="task-message#2")
def test_time_limits_of_a_call_reach_the_request_hard_first(exchange: Exchange) -> None:
    call = exchange.producer.send("request_dump", time_limit=60, soft_time_limit=30)
    assert exchange.producer.result(call)["timelimit"] == [60, 30]


@case("calls/stamps", spec="task-message#9", since="5.3")
def test_stamps_of_a_call_reach_the_request(exchange: Exchange) -> None:
    call = exchange.producer.send("request_dump", stamped_headers=["trace"], trace="abc")
    request = exchange.producer.result(call)
    assert request["stamped_headers"] == ["trace"]
    assert request["stamps"] == {"trace": "abc"}


@case("calls/child-of-a-task", spec="task-message#7.1 results-and-workflows#1.5")
def test_a_call_from_a_task_has_that_task_as_root_and_parent(exchange: Exchange) -> None:
    call = exchange.producer.send("spawn", [2])
    answer = exchange.producer.wait(call)
    assert [child.id for child in answer.children] == answer.value
    for child in answer.value:
        request = exchange.wait_run(child)[0].request
        assert (request["root_id"], request["parent_id"]) == (call.id, call.id)


@case("calls/group-child-of-a-task", spec="results-and-workflows#1.5")
def test_a_group_sent_by_a_task_is_one_child(exchange: Exchange) -> None:
    answer = exchange.producer.wait(exchange.producer.send("spawn_group", [3]))
    assert [(child.kind, child.id, len(child.members)) for child in answer.children] == [
        ("group", answer.value, 3)
    ]
    for member in answer.children[0].members:
        assert exchange.wait_run(member)[0].request["group"] == answer.value
