"""Workers of two implementations on one broker: the worker under test beside one of the producer's own kind."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from celeriac_conformance import forms
from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange
from celeriac_conformance.journal import Entry
from celeriac_conformance.matrix import Implementation
from celeriac_conformance.own_workers import OwnWorker, own_worker

SIDES = ("tested-first", "peer-first")


@contextmanager
def one_by_one(exchange: Exchange, order: str) -> Iterator[tuple[OwnWorker, OwnWorker]]:
    """Run two workers of different implementations, the second started when the first one serves."""
    peer = exchange.cell.producer
    first, second = (None, peer) if order == "tested-first" else (peer, None)
    with (
        own_worker(exchange, implementation=first, mingles=True) as one,
        own_worker(exchange, implementation=second, mingles=True) as other,
    ):
        yield one, other


def clock_of(worker: OwnWorker) -> int:
    answer = worker.control("clock")
    assert isinstance(answer, dict)
    value: int = answer["clock"]
    return value


@case("cluster/mingle-revoked-{order}", spec="control-and-events#3.2", each={"order": SIDES})
def test_a_worker_learns_at_its_start_what_its_neighbours_revoked(
    exchange: Exchange, order: str
) -> None:
    ids = [str(uuid.uuid4()) for _ in range(3)]
    peer = exchange.cell.producer
    first, second = (None, peer) if order == "tested-first" else (peer, None)
    with own_worker(exchange, implementation=first) as one:
        one.control("revoke", task_id=ids)
        with own_worker(exchange, implementation=second, mingles=True) as other:

            def has_learnt() -> bool:
                known = other.inspect("revoked")
                assert isinstance(known, list)
                return set(ids) <= set(known)

            exchange.eventually(has_learnt, "it knows the ids")
            call = other.send("echo", "never", task_id=ids[0])
            assert exchange.producer.result(other.send("echo", "after")) == "after"
            assert exchange.journal.runs(call.id) == []


@case("cluster/mingle-tells-{order}", spec="control-and-events#3.2", each={"order": SIDES})
def test_a_worker_tells_its_neighbours_what_it_knows(exchange: Exchange, order: str) -> None:
    # The cell's own worker hears no command that names another one: only the hello can tell it.
    with one_by_one(exchange, order) as (one, other):
        task_id = str(uuid.uuid4())
        answer = other.control("hello", from_node="stranger@nowhere", revoked=[task_id])
        assert isinstance(answer, dict)
        assert task_id in answer["revoked"]
        assert isinstance(answer["clock"], int)
        known = one.inspect("revoked")
        assert isinstance(known, list)
        assert task_id not in known
        assert one.control("hello", from_node=one.node, revoked=[]) is None


@case(
    "cluster/clock-{order}",
    spec="control-and-events#3.1 control-and-events#3.3",
    each={"order": SIDES},
)
def test_clocks_follow_each_other(exchange: Exchange, order: str) -> None:
    with one_by_one(exchange, order) as (one, other):
        for ahead, behind in ((one, other), (other, one)):
            # Every worker counts every request; an answered hello counts once more, in the one that answers.
            for _ in range(20):
                ahead.control("hello", from_node="stranger@nowhere", revoked=[])

            def has_caught_up(ahead: OwnWorker = ahead, behind: OwnWorker = behind) -> bool:
                reached = clock_of(ahead)
                return clock_of(behind) > reached

            exchange.eventually(has_caught_up, "a heartbeat has told it the other's clock")


@case("cluster/seen-by-monitors", spec="control-and-events#2.3 control-and-events#8.2")
def test_a_monitor_sees_both_kinds_alike(exchange: Exchange) -> None:
    exchange.producer.events()
    with one_by_one(exchange, "peer-first") as (one, other):
        nodes = {one.node, other.node}
        keys: dict[str, set[str]] = {}

        def have_beaten() -> bool:
            for event in exchange.producer.events().events:
                # One that was asked for by command has fewer fields.
                if event["type"] == "worker-heartbeat" and "active" in event:
                    keys[event["hostname"]] = set(event)
            return nodes <= set(keys)

        exchange.eventually(have_beaten, "both have sent heartbeats", 20)
        assert nodes <= set(exchange.producer.events().alive)
        assert keys[one.node] == keys[other.node]


def elect(exchange: Exchange, candidates: list[OwnWorker], electors: list[OwnWorker]) -> None:
    """Let candidates stand; wait until all electors have acknowledged and check that one winner ran the task."""
    election = str(uuid.uuid4())
    arguments = {
        "id": election,
        "topic": "task",
        "action": {
            "task": "echo",
            "args": [election],
            "kwargs": {},
            "options": {"queue": candidates[0].queue},
            "subtask_type": None,
            "immutable": False,
        },
    }
    answers = exchange.producer.client.request(
        "control",
        method="election",
        arguments=arguments,
        destination=[worker.node for worker in candidates],
        timeout=1.0,
    )
    assert answers == {worker.node: None for worker in candidates}

    def acknowledged() -> bool:
        acks = [
            event["hostname"]
            for event in exchange.producer.events().events
            if event["type"] == "worker-elect-ack" and event["id"] == election
        ]
        return all(acks.count(worker.node) == len(candidates) for worker in electors)

    def ran() -> list[Entry]:
        entries = exchange.journal.entries(event="run", task="echo")
        return [entry for entry in entries if entry.request["args"] == [election]]

    exchange.eventually(acknowledged, "all have acknowledged every candidate", 20)
    exchange.eventually(lambda: bool(ran()), "a winner has run the task", 20)
    for worker in candidates:
        assert exchange.producer.result(worker.send("echo", "after")) == "after"
    assert len(ran()) == 1


def await_seen(exchange: Exchange, *workers: OwnWorker) -> None:
    """Wait until monitors, and so the workers themselves, know of these workers."""
    nodes = {worker.node for worker in workers}
    exchange.eventually(lambda: nodes <= set(exchange.producer.events().alive), "all are alive", 20)


# Real workers end with IndexError when acknowledgements overtake candidates, and always when there is but one: they
# take part here as electors.
@case(
    "cluster/election-alone-{order}",
    spec="control-and-events#3.4",
    control=False,
    each={"order": SIDES},
)
def test_a_candidate_without_rivals_wins_once(exchange: Exchange, order: str) -> None:
    exchange.producer.events()
    with one_by_one(exchange, order) as (one, other):
        await_seen(exchange, one, other)
        elect(exchange, [one if order == "tested-first" else other], [one, other])


@case("cluster/election-rivals", spec="control-and-events#3.4", control=False)
def test_of_two_candidates_one_wins(exchange: Exchange) -> None:
    exchange.producer.events()
    with one_by_one(exchange, "tested-first") as (one, elector), own_worker(exchange) as two:
        await_seen(exchange, one, two, elector)
        for _ in range(3):
            elect(exchange, [one, two], [one, two, elector])


@case("cluster/control-everybody", spec="control-and-events#1.3")
def test_a_broadcast_reaches_both_kinds(exchange: Exchange) -> None:
    with one_by_one(exchange, "peer-first") as (one, other):
        nodes = {one.node, other.node}
        answers = exchange.producer.control("ping")
        assert {node: answers.get(node) for node in nodes} == {
            node: {"ok": "pong"} for node in nodes
        }
        task_id = str(uuid.uuid4())
        exchange.producer.control("revoke", task_id=[task_id])
        for worker in (one, other):
            known = worker.inspect("revoked")
            assert isinstance(known, list)
            assert task_id in known


@case(
    "cluster/rolling-upgrade-{order}",
    spec="control-and-events#5",
    each={"order": SIDES},
    control=False,
)
def test_workers_are_exchanged_under_load_and_back(exchange: Exchange, order: str) -> None:
    """Nothing is lost, and nothing that we ran runs again, while one kind of worker takes over and hands back.

    Celery itself sometimes gives back a call that it has just run when it is stopped under load on RabbitMQ: that is
    why a call whose first run was Celery's may have a second one, and why Celery is no control here.
    """
    peer = exchange.cell.producer
    kinds = (None, peer, None) if order == "tested-first" else (peer, None, peer)
    queue = f"rolling{uuid.uuid4().hex[:8]}"
    sent = []
    ours: list[str] = []
    statuses: list[tuple[Implementation | None, int]] = []

    def load(count: int) -> None:
        for number in range(count):
            sent.append(exchange.producer.send("sleep", [0.02 * (number % 4)], queue=queue))

    def note(worker: OwnWorker, kind: Implementation | None) -> None:
        if kind is None:
            ours.append(worker.node)

    with own_worker(exchange, implementation=kinds[0], queue=queue) as first:
        note(first, kinds[0])
        load(30)
        with own_worker(exchange, implementation=kinds[1], queue=queue) as second:
            note(second, kinds[1])
            load(60)
            statuses.append((kinds[0], first.process.stop(60.0)))
            load(30)
            with own_worker(exchange, implementation=kinds[2], queue=queue) as third:
                note(third, kinds[2])
                load(60)
                statuses.append((kinds[1], second.process.stop(60.0)))
                load(20)
                for call in sent:
                    exchange.producer.wait(call, timeout_s=60)
    runs = [[run.request["hostname"] for run in exchange.journal.runs(call.id)] for call in sent]
    assert [nodes for nodes in runs if not nodes] == []
    assert [nodes for nodes in runs if nodes[0] in ours and len(nodes) > 1] == []
    assert len({nodes[0] for nodes in runs}) == 3
    assert [status for kind, status in statuses if kind is None] == [0] * sum(
        kind is None for kind, _ in statuses
    )


@case("cluster/chord-across", spec="results-and-workflows#6.5", since="5.1", needs=["chords"])
def test_a_chord_is_completed_by_workers_of_both_kinds(exchange: Exchange) -> None:
    with one_by_one(exchange, "peer-first") as (one, other):
        header = [
            forms.call("add", number, 0).with_options(queue=(one, other)[number % 2].queue)
            for number in range(6)
        ]
        for body_of in (one, other):
            call = exchange.producer.run(
                forms.chord(header, forms.call("xsum").with_options(queue=body_of.queue))
            )
            assert exchange.producer.result(call) == 15


@case("cluster/chain-across", spec="results-and-workflows#6.1")
def test_a_chain_goes_through_workers_of_both_kinds(exchange: Exchange) -> None:
    with one_by_one(exchange, "peer-first") as (one, other):
        steps = [
            forms.call("add", 1).with_options(queue=(one, other)[number % 2].queue)
            for number in range(4)
        ]
        first = forms.call("add", 0, 0).with_options(queue=other.queue)
        assert exchange.producer.result(exchange.producer.run(forms.chain(first, *steps))) == 4


@case("cluster/retry-across", spec="task-message#7.2")
def test_a_retry_may_run_in_a_worker_of_the_other_kind(exchange: Exchange) -> None:
    queue = f"shared{uuid.uuid4().hex[:8]}"
    peer = exchange.cell.producer
    with (
        own_worker(exchange, implementation=peer, queue=queue, concurrency=1),
        own_worker(exchange, queue=queue, concurrency=1),
    ):
        calls = [exchange.producer.send("retry_n", [3], queue=queue) for _ in range(10)]
        assert [exchange.producer.result(call) for call in calls] == [3] * 10
        runs = [run for call in calls for run in exchange.journal.runs(call.id)]
        assert len(runs) == 40
