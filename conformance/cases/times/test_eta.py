"""Calls for later."""

from __future__ import annotations

import datetime
import time

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import ACKS_QUEUE, Exchange

UTC = datetime.UTC


def now() -> datetime.datetime:
    """Return the wall time."""
    return datetime.datetime.now(UTC)


@case("eta/countdown", spec="task-message#5")
def test_a_countdown_holds_the_call_back(exchange: Exchange) -> None:
    before = time.time()
    call = exchange.producer.send("add", [1, 2], countdown=1.5)
    assert exchange.producer.result(call) == 3
    assert exchange.journal.runs(call.id)[0].time - before >= 1.5


@case("eta/past", spec="task-message#5.2")
def test_an_eta_in_the_past_means_now(exchange: Exchange) -> None:
    call = exchange.producer.send("add", [1, 2], eta=now() - datetime.timedelta(days=400))
    assert exchange.producer.result(call) == 3


@case("eta/naive-is-utc", spec="task-message#5.2")
def test_an_eta_without_offset_is_utc(exchange: Exchange) -> None:
    due = now() + datetime.timedelta(seconds=1.5)
    call = exchange.producer.send("add", [1, 2], eta=due.replace(tzinfo=None))
    assert exchange.producer.result(call) == 3
    assert exchange.journal.runs(call.id)[0].time >= due.timestamp()


@case("eta/with-offset", spec="task-message#5.2")
def test_the_offset_of_an_eta_counts(exchange: Exchange) -> None:
    due = now() + datetime.timedelta(seconds=1.5)
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    call = exchange.producer.send("add", [1, 2], eta=due.astimezone(zone))
    assert exchange.producer.result(call) == 3
    assert exchange.journal.runs(call.id)[0].time >= due.timestamp()


@case("eta/order-of-due-times", spec="task-message#5.2")
def test_calls_run_when_they_are_due_not_in_the_order_sent(exchange: Exchange) -> None:
    late = exchange.producer.send("add", [1, 0], countdown=2.5)
    early = exchange.producer.send("add", [2, 0], countdown=1)
    assert (exchange.producer.result(late), exchange.producer.result(early)) == (1, 2)
    assert exchange.journal.runs(early.id)[0].time < exchange.journal.runs(late.id)[0].time


@case("eta/others-go-first", spec="task-message#5.2")
def test_waiting_calls_do_not_hold_up_others(exchange: Exchange) -> None:
    waiting = [exchange.producer.send("add", [number, 0], countdown=3) for number in range(20)]
    ready = exchange.producer.send("add", [5, 5])
    assert exchange.producer.result(ready) == 10
    ran = exchange.journal.runs(ready.id)[0].time
    assert [exchange.producer.result(call) for call in waiting] == list(range(20))
    assert all(exchange.journal.runs(call.id)[0].time > ran for call in waiting)


@case("eta/in-request", spec="task-message#5.1")
def test_the_request_shows_the_eta(exchange: Exchange) -> None:
    call = exchange.producer.send("request_dump", countdown=0.2)
    shown = exchange.producer.result(call)["eta"]
    assert datetime.datetime.fromisoformat(shown) <= now()


@case("eta/held-unacknowledged", spec="results-and-workflows#4.1")
def test_a_waiting_call_stays_unacknowledged(exchange: Exchange) -> None:
    call = exchange.producer.send("add", [1, 2], countdown=8, queue=ACKS_QUEUE)
    assert exchange.broker.wait_unacked(ACKS_QUEUE, 1) == 1
    assert exchange.journal.runs(call.id) == []
    assert exchange.producer.result(call) == 3
    assert exchange.broker.wait_unacked(ACKS_QUEUE, 0) == 0
