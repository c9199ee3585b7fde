"""Chords: a body that waits for its header."""

from __future__ import annotations

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Call, Exchange
from celeriac_conformance.forms import Form, call, chain, chord, group, pipe


def run(exchange: Exchange, form: Form) -> Call:
    """Send a chord (a carrier without one is unsupported)."""
    return exchange.producer.run(form)


@case("chords/sum", spec="results-and-workflows#6.3", since="5.0", needs=["chords"])
def test_the_body_gets_the_results_of_the_header_in_order(exchange: Exchange) -> None:
    sent = run(exchange, chord([call("add", number, 0) for number in range(10)], call("xsum")))
    assert exchange.producer.result(sent) == 45
    assert exchange.journal.runs(sent.id)[0].extra["numbers"] == list(range(10))


@case("chords/body-ids", spec="task-message#7.3", since="5.6", needs=["chords"])
def test_the_body_has_the_last_header_task_as_parent_and_the_group_of_the_header(
    exchange: Exchange,
) -> None:
    sent = run(exchange, chord([call("add", 1, 0), call("add", 2, 0)], call("xsum")))
    exchange.producer.result(sent)
    body = exchange.journal.runs(sent.id)[0].request
    headers = exchange.journal.entries(event="run", task="add")
    group_id = sent.parents[0]
    ids = {entry.id for entry in headers if entry.request["group"] == group_id}
    assert len(ids) == 2
    assert body["parent_id"] in ids
    assert body["root_id"] == body["parent_id"]
    assert body["group"] == group_id


@case("chords/single-header-task", spec="results-and-workflows#6.3", needs=["chords"])
def test_a_header_of_one_is_still_a_chord(exchange: Exchange) -> None:
    assert exchange.producer.result(run(exchange, chord([call("add", 1, 1)], call("xsum")))) == 2


@case("chords/empty-header", spec="results-and-workflows#6.3", needs=["chords"])
def test_a_chord_without_header_calls_its_body_with_an_empty_list(exchange: Exchange) -> None:
    assert exchange.producer.result(run(exchange, chord([], call("xsum")))) == 0


@case("chords/piped-group", spec="results-and-workflows#6.1", needs=["chords"])
def test_a_group_piped_into_a_task_is_a_chord(exchange: Exchange) -> None:
    sent = run(
        exchange, pipe(group(call("add", 1, 1), call("add", 2, 2)), call("xsum"), call("mul", 10))
    )
    assert exchange.producer.result(sent) == 60


@case("chords/in-a-chain", spec="task-message#8.4", needs=["chords"])
def test_a_group_in_the_middle_of_a_chain_is_a_chord(exchange: Exchange) -> None:
    sent = run(
        exchange,
        chain(
            call("add", 1, 1),
            group(call("add", 10), call("add", 20)),
            call("xsum"),
            call("add", 100),
        ),
    )
    assert exchange.producer.result(sent) == 134


@case("chords/chain-in-header", spec="results-and-workflows#6.8", needs=["chords"])
def test_a_chain_counts_as_one_header_task(exchange: Exchange) -> None:
    sent = run(
        exchange,
        chord([chain(call("add", 1, 1), call("mul", 10)), call("add", 1, 0)], call("xsum")),
    )
    assert exchange.producer.result(sent) == 21


@case("chords/group-body", spec="results-and-workflows#6.8", since="5.0", needs=["chords"])
def test_a_body_can_be_a_group(exchange: Exchange) -> None:
    sent = run(
        exchange,
        pipe(group(call("add", 1, 1), call("add", 2, 2)), group(call("xsum"), call("collect"))),
    )
    assert [exchange.producer.result(member) for member in sent.members] == [6, [[2, 4]]]


@case("chords/chain-body", spec="results-and-workflows#6.3", needs=["chords"])
def test_a_body_can_be_a_chain(exchange: Exchange) -> None:
    sent = run(
        exchange, chord([call("add", 1, 1), call("add", 2, 2)], chain(call("xsum"), call("mul", 2)))
    )
    assert exchange.producer.result(sent) == 12


@case("chords/nested", spec="results-and-workflows#6.8", needs=["chords"])
def test_a_chord_can_be_a_header_task(exchange: Exchange) -> None:
    inner = chord([call("add", 1, 1), call("add", 2, 2)], call("xsum"))
    sent = run(exchange, chord([inner, call("add", 100, 0)], call("xsum")))
    assert exchange.producer.result(sent) == 106


@case("chords/two-in-a-row", spec="task-message#8.4", needs=["chords"])
def test_one_chord_can_follow_another(exchange: Exchange) -> None:
    sent = run(
        exchange,
        chain(
            group(call("add", 1, 1), call("add", 2, 2)),
            call("xsum"),
            group(call("add", 10), call("add", 20)),
            call("xsum"),
        ),
    )
    assert exchange.producer.result(sent) == 42


@case("chords/retried-header-task", spec="results-and-workflows#4.2", needs=["chords"])
def test_a_header_task_that_is_retried_counts_once(exchange: Exchange) -> None:
    sent = run(exchange, chord([call("retry_n", 2), call("add", 1, 1)], call("xsum")))
    assert exchange.producer.result(sent) == 4
    assert len(exchange.journal.runs(sent.id)) == 1


@case("chords/callback-of-the-body", spec="results-and-workflows#6.3", needs=["chords"])
def test_a_callback_of_a_chord_follows_its_body(exchange: Exchange) -> None:
    sent = run(exchange, chord([call("add", 1, 1)], call("xsum")).link(call("collect")))
    (child,) = exchange.producer.wait(sent).children
    assert exchange.producer.result(child) == [2]


@case("chords/failing-header-task", spec="results-and-workflows#6.6", since="5.0", needs=["chords"])
def test_when_a_header_task_fails_the_body_fails_and_never_runs(exchange: Exchange) -> None:
    sent = run(
        exchange, chord([call("add", 1, 1), call("fail", "ValueError", "bad")], call("xsum"))
    )
    answer = exchange.producer.wait(sent)
    assert answer.raised is not None
    assert (answer.state, answer.raised.type) == ("FAILURE", "ChordError")
    assert answer.raised.module == "celery.exceptions"
    failed = next(
        entry.id
        for entry in exchange.journal.entries(event="run", task="fail")
        if entry.request["group"] == sent.parents[0]
    )
    assert answer.raised.args == [f"Dependency {failed} raised ValueError('bad')"]
    assert exchange.journal.runs(sent.id) == []


@case(
    "chords/errback-of-the-body",
    spec="results-and-workflows#6.6 task-message#8.6",
    since="5.2",
    needs=["chords"],
)
def test_when_a_header_task_fails_the_errback_of_the_body_gets_its_id(exchange: Exchange) -> None:
    body = call("xsum").link_error(call("errback_old"))
    sent = run(exchange, chord([call("add", 1, 1), call("fail", "ValueError")], body))
    assert exchange.producer.wait(sent).state == "FAILURE"
    (entry,) = exchange.journal.wait(task="errback_old", extra={"task_id": sent.id})
    assert (entry.request["parent_id"], entry.request["root_id"]) == (sent.id, sent.id)


@case(
    "chords/new-errback-of-the-body",
    spec="results-and-workflows#6.6",
    since="5.2",
    needs=["chords"],
)
def test_an_errback_called_in_place_sees_the_body_and_a_chord_error(exchange: Exchange) -> None:
    body = call("xsum").link_error(call("errback_new"))
    sent = run(exchange, chord([call("fail", "ValueError", "bad"), call("add", 1, 1)], body))
    assert exchange.producer.wait(sent).state == "FAILURE"
    (entry,) = exchange.journal.wait(event="errback", id=sent.id)
    assert entry.extra["error"]["value"]["type"] == "ChordError"


@case(
    "chords/keys-afterwards",
    spec="results-and-workflows#6.5",
    since="5.7",
    needs=["chords", "redis-results"],
)
def test_a_finished_chord_leaves_only_its_mark_behind(exchange: Exchange) -> None:
    sent = run(exchange, chord([call("add", 1, 1), call("add", 2, 2)], call("xsum")))
    assert exchange.producer.result(sent) == 6
    client = exchange.stored_in_redis().client
    base = f"celery-taskset-meta-{sent.parents[0]}"
    exchange.eventually(
        lambda: client.exists(f"{base}.j", f"{base}.t", f"{base}.s", f"{base}.d") == 0, "cleaned up"
    )
    assert client.get(f"{base}.c") == b"done"


@case("chords/enlarged", spec="results-and-workflows#6.7", needs=["chords", "redis-results"])
def test_a_header_task_can_add_another(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        chord([call("enlarge_chord", 100, 5), call("add", 1, 1)], call("xsum"))
    )
    assert exchange.producer.result(sent) == 107


@case("chords/stamped", spec="task-message#9", since="5.3", needs=["chords"])
def test_header_tasks_carry_the_stamps_of_the_chord(exchange: Exchange) -> None:
    form = chord([call("add", 1, 1), call("add", 2, 2)], call("xsum")).stamped(trace="abc")
    sent = exchange.producer.run(form)
    assert exchange.producer.result(sent) == 6
    headers = [
        entry
        for entry in exchange.journal.entries(event="run", task="add")
        if entry.request["group"] == sent.parents[0]
    ]
    assert [entry.request["stamps"] for entry in headers] == [{"trace": "abc"}] * 2
