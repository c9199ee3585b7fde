"""Chains: one task after another."""

from __future__ import annotations

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange
from celeriac_conformance.forms import call, chain, group, pipe


@case("chains/three-steps", spec="task-message#8.4 results-and-workflows#6.1")
def test_each_step_gets_the_result_of_the_one_before(exchange: Exchange) -> None:
    sent = exchange.producer.run(chain(call("add", 1, 1), call("add", 2), call("mul", 10)))
    assert exchange.producer.result(sent) == 40
    second, first = sent.parents
    assert exchange.producer.result(second) == 4
    assert exchange.producer.result(first) == 2


@case("chains/ids", spec="task-message#7.3 results-and-workflows#6.8")
def test_steps_share_a_root_and_each_has_the_one_before_as_parent(exchange: Exchange) -> None:
    sent = exchange.producer.run(chain(call("add", 1, 1), call("add", 2), call("add", 3)))
    exchange.producer.result(sent)
    second, first = sent.parents
    requests = [exchange.journal.runs(task_id)[0].request for task_id in (first, second, sent.id)]
    assert [request["root_id"] for request in requests] == [first] * 3
    assert [request["parent_id"] for request in requests] == [None, first, second]


@case("chains/children", spec="results-and-workflows#6.8")
def test_the_next_step_is_a_child_of_a_step(exchange: Exchange) -> None:
    sent = exchange.producer.run(chain(call("add", 1, 1), call("add", 2)))
    exchange.producer.result(sent)
    assert [child.id for child in exchange.producer.wait(sent.parents[0]).children] == [sent.id]


@case("chains/immutable-step", spec="task-message#8.1")
def test_an_immutable_step_ignores_the_result_before(exchange: Exchange) -> None:
    sent = exchange.producer.run(chain(call("add", 1, 1), call("add", 5, 5, immutable=True)))
    assert exchange.producer.result(sent) == 10


@case("chains/step-keywords", spec="task-message#8.1")
def test_a_step_keeps_its_keyword_arguments(exchange: Exchange) -> None:
    sent = exchange.producer.run(pipe(call("add", 1, 1), call("add_later_value", extra=40)))
    assert exchange.producer.result(sent) == 42


@case("chains/long", spec="task-message#8.4")
def test_a_long_chain_runs_to_its_end(exchange: Exchange) -> None:
    sent = exchange.producer.run(chain(call("add", 0, 1), *[call("add", 1) for _ in range(29)]))
    assert exchange.producer.result(sent) == 30


@case("chains/failing-step", spec="results-and-workflows#6.6", since="5.2")
def test_when_a_step_fails_the_later_ones_fail_with_it_and_never_run(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        chain(
            call("add", 1, 1),
            call("fail", "ValueError", "stop", immutable=True),
            call("add", 1),
            call("add", 2),
        )
    )
    answer = exchange.producer.wait(sent)
    assert answer.raised is not None
    assert (answer.state, answer.raised.type, answer.raised.args) == (
        "FAILURE",
        "ValueError",
        ["stop"],
    )
    middle = exchange.producer.wait(sent.parents[0])
    assert (middle.state, middle.raised and middle.raised.type) == ("FAILURE", "ValueError")
    assert exchange.journal.runs(sent.id) == []


@case("chains/get-raises-what-a-parent-raised", spec="results-and-workflows#3")
def test_get_raises_what_an_earlier_step_raised(exchange: Exchange) -> None:
    sent = exchange.producer.run(chain(call("fail", "ValueError", "stop"), call("add", 1)))
    raised = exchange.producer.wait(sent, propagate=True).raised
    assert raised is not None
    assert (raised.type, raised.args) == ("ValueError", ["stop"])


@case("chains/errback-of-a-step", spec="task-message#8.4", since="5.2")
def test_an_errback_of_the_chain_runs_for_the_step_that_failed(exchange: Exchange) -> None:
    steps = chain(call("add", 1, 1), call("fail", "ValueError", immutable=True), call("add", 1))
    sent = exchange.producer.run(steps.link_error(call("errback_new")))
    assert exchange.producer.wait(sent).state == "FAILURE"
    entries = exchange.journal.wait(event="errback", id=sent.parents[0])
    assert len(entries) == 1


@case("chains/callback", spec="task-message#8.4")
def test_a_callback_of_a_chain_follows_its_last_step(exchange: Exchange) -> None:
    sent = exchange.producer.run(chain(call("add", 1, 1), call("add", 2)).link(call("collect")))
    answer = exchange.producer.wait(sent)
    (child,) = answer.children
    assert exchange.wait_run(child)[0].extra["args"] == [4]


@case("chains/retried-step", spec="task-message#7.2")
def test_a_step_that_is_retried_goes_on_with_the_chain(exchange: Exchange) -> None:
    sent = exchange.producer.run(chain(call("retry_n", 2), call("add", 40)))
    assert exchange.producer.result(sent) == 42


@case("chains/ending-in-a-group", spec="results-and-workflows#6.1 task-message#8.4")
def test_a_group_at_the_end_gets_the_result_in_every_member(exchange: Exchange) -> None:
    sent = exchange.producer.run(pipe(call("add", 1, 1), group(call("add", 10), call("add", 20))))
    assert sent.kind == "group"
    assert [exchange.producer.result(member) for member in sent.members] == [12, 22]
    requests = [exchange.journal.runs(member.id)[0].request for member in sent.members]
    assert [request["group"] for request in requests] == [sent.id] * 2
    assert {request["parent_id"] for request in requests} == set(sent.parents[:1])


@case(
    "chains/through-{serializer}",
    spec="task-message#6.1",
    each={"serializer": ("pickle", "msgpack")},
)
def test_a_chain_travels_in_other_serializers(exchange: Exchange, serializer: str) -> None:
    steps = chain(
        call("add", 1, 1).with_options(serializer=serializer),
        call("add", 2).with_options(serializer=serializer),
    )
    assert exchange.producer.result(exchange.producer.run(steps)) == 4


@case("chains/to-another-queue", spec="task-message#8.2")
def test_a_step_goes_to_the_queue_its_options_name(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        chain(call("add", 1, 1), call("add", 2).with_options(queue="other"))
    )
    assert exchange.producer.result(sent) == 4
    assert exchange.journal.runs(sent.id)[0].request["delivery_info"]["routing_key"] == "other"


@case("chains/countdown-of-a-step", spec="task-message#8.2")
def test_a_step_waits_the_countdown_its_options_name(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        chain(call("add", 1, 1), call("add", 2).with_options(countdown=1.5))
    )
    assert exchange.producer.result(sent) == 4
    first = exchange.journal.runs(sent.parents[0])[0].time
    assert exchange.journal.runs(sent.id)[0].time - first >= 1.5


@case("chains/stamped-steps", spec="task-message#9", since="5.3")
def test_the_stamps_of_a_chain_are_on_every_step(exchange: Exchange) -> None:
    sent = exchange.producer.run(chain(call("add", 1, 1), call("add", 2)).stamped(trace="abc"))
    assert exchange.producer.result(sent) == 4
    for task_id in (sent.id, sent.parents[0]):
        assert exchange.journal.runs(task_id)[0].request["stamps"] == {"trace": "abc"}
