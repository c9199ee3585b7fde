"""What settings of the worker and the producer make of a result."""

from __future__ import annotations

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange
from celeriac_conformance.own_workers import serving

SERIALIZERS = ("pickle", "msgpack", "yaml")


@case("results/extended", spec="results-and-workflows#1.1 results-and-workflows#1.6", since="5.3")
def test_extended_results_tell_of_the_call(exchange: Exchange) -> None:
    with serving(exchange, settings={"result_extended": True}) as queue:
        sent = exchange.producer.send("echo_all", [1, "x"], {"key": 2}, queue=queue)
        document = exchange.producer.wait(sent).document
        assert document["name"] == "echo_all"
        assert (list(document["args"]), document["kwargs"]) == ([1, "x"], {"key": 2})
        assert document["worker"] == exchange.journal.runs(sent.id)[0].request["hostname"]
        assert (document["retries"], document["queue"]) == (0, queue)

        failed = exchange.producer.send("retry_exhausted", [1, "bad"], queue=queue)
        document = exchange.producer.wait(failed).document
        assert (document["state"], document["name"]) == ("FAILURE", "retry_exhausted")
        assert document["retries"] == 1


@case(
    "results/lifetime-{seconds}",
    spec="results-and-workflows#1.6 results-and-workflows#2.2",
    needs=["redis-results"],
    each={"seconds": (0, 100)},
)
def test_the_worker_says_how_long_a_document_lives(exchange: Exchange, seconds: int) -> None:
    with serving(exchange, settings={"result_expires": seconds}) as queue:
        sent = exchange.producer.send("add", [1, 2], queue=queue)
        assert exchange.producer.result(sent) == 3
        left = exchange.stored_in_redis().seconds_to_live(sent.id)
        assert left == -1 if seconds == 0 else 50 < left <= 100


@case(
    "results/lifetime-of-failures",
    spec="results-and-workflows#1.6",
    since="5.7",
    needs=["redis-results"],
)
def test_failures_can_live_for_another_time(exchange: Exchange) -> None:
    with serving(exchange, settings={"result_failure_expires": 100}) as queue:
        good = exchange.producer.send("add", [1, 2], queue=queue)
        bad = exchange.producer.send("fail", ["ValueError", "bad"], queue=queue)
        for sent in (good, bad):
            exchange.producer.wait(sent)
        assert exchange.stored_in_redis().seconds_to_live(good.id) > 80000
        assert 50 < exchange.stored_in_redis().seconds_to_live(bad.id) <= 100


@case("results/key-prefix", spec="results-and-workflows#2.2", since="5.3", needs=["redis-results"])
def test_keys_can_have_a_prefix(exchange: Exchange) -> None:
    settings = {"result_backend_transport_options": {"global_keyprefix": "team"}}
    with serving(exchange, settings=settings) as queue:
        producer = exchange.producer_with(**settings)
        sent = producer.send("add", [1, 2], queue=queue)
        assert producer.result(sent) == 3
        tap = exchange.stored_in_redis()
        assert tap.client.exists(f"team_{tap.prefix}{sent.id}") == 1
        assert tap.document(sent.id) is None


@case("results/compressed", spec="results-and-workflows#1.7", since="5.7", needs=["redis-results"])
def test_a_compressed_document_is_marked_and_read_without_being_told(exchange: Exchange) -> None:
    with serving(exchange, settings={"result_compression": "gzip"}) as queue:
        sent = exchange.producer.send("make_text", [5000], queue=queue)
        assert exchange.producer.result(sent) == "x" * 5000
        tap = exchange.stored_in_redis()
        raw = tap.client.get(tap.prefix + sent.id)
        assert raw.startswith(b"\0celery-compressed\0application/x-gzip\0\x78\x9c")
        assert len(raw) < 1000


@case(
    "results/through-{serializer}",
    spec="results-and-workflows#1.6",
    each={"serializer": SERIALIZERS},
)
def test_results_travel_in_other_serializers(exchange: Exchange, serializer: str) -> None:
    settings = {"result_serializer": serializer, "result_accept_content": [serializer]}
    value = {"text": "Grüße", "numbers": [1, -2.5], "nothing": None}
    with serving(exchange, settings=settings) as queue:
        producer = exchange.producer_with(**settings)
        assert producer.result(producer.send("echo", [value], queue=queue)) == value
        raised = producer.wait(producer.send("fail", ["ValueError", "bad"], queue=queue)).raised
        assert raised is not None
        assert (raised.type, raised.args) == ("ValueError", ["bad"])


@case(
    "results/ignored-errors-kept",
    spec="results-and-workflows#1.6",
    since="5.6.3",
    needs=["redis-results"],
)
def test_failures_can_be_kept_although_results_are_ignored(exchange: Exchange) -> None:
    settings = {"task_store_errors_even_if_ignored": True}
    with serving(exchange, concurrency=1, settings=settings) as queue:
        good = exchange.producer.send("ignored", [1], queue=queue)
        bad = exchange.producer.send("fail", ["ValueError"], queue=queue, ignore_result=True)
        assert exchange.stored().wait(bad.id)["status"] == "FAILURE"
        exchange.wait_run(good)
        assert exchange.stored().document(good.id) is None


@case(
    "results/ignored-by-the-producer",
    spec="results-and-workflows#1.6 task-message#2",
    since="5.6.3",
    needs=["stored-results"],
)
def test_a_producer_can_ignore_results_unless_a_call_wants_one(exchange: Exchange) -> None:
    producer = exchange.producer_with(task_ignore_result=True)
    without = producer.send("add", [1, 2])
    wanted = producer.send("add", [3, 4], ignore_result=False)
    assert exchange.stored().wait(wanted.id)["status"] == "SUCCESS"
    exchange.wait_run(without)
    exchange.producer.result(exchange.producer.send("add", [1, 1]))
    assert exchange.stored().document(without.id) is None


@case(
    "results/tracked-by-setting",
    spec="results-and-workflows#1.6 results-and-workflows#1.2",
    needs=["stored-results"],
)
def test_a_worker_can_track_the_start_of_every_task(exchange: Exchange) -> None:
    gate = exchange.gate()
    with serving(exchange, settings={"task_track_started": True}) as queue:
        sent = exchange.producer.send("gate", [str(gate.path)], queue=queue)
        exchange.wait_run(sent)
        exchange.eventually(
            lambda: exchange.producer.meta(sent)["state"] == "STARTED", "its start is told"
        )
        gate.open()
        assert exchange.producer.result(sent) == "through"


@case(
    "results/own-state-while-running",
    spec="results-and-workflows#1.2",
    needs=["stored-results"],
)
def test_a_state_that_a_task_reports_can_be_read_while_it_runs(exchange: Exchange) -> None:
    gate = exchange.gate()
    sent = exchange.producer.send("announce", [str(gate.path)])
    exchange.wait_run(sent)
    found: dict[str, object] = {}

    def is_halfway() -> bool:
        found.update(exchange.producer.meta(sent))
        return found["state"] == "HALFWAY"

    exchange.eventually(is_halfway, "the state is told")
    assert found["result"] == {"percent": 50}
    gate.open()
    assert exchange.producer.result(sent) == "through"


@case(
    "results/eager",
    spec="results-and-workflows#1.6 app-and-cli#5.7",
    since="5.1",
    needs=["stored-results"],
)
def test_results_of_eager_calls_are_stored_only_on_request(exchange: Exchange) -> None:
    silent = exchange.producer_with(task_always_eager=True)
    storing = exchange.producer_with(task_always_eager=True, task_store_eager_result=True)
    kept, lost = storing.send("add", [1, 2]), silent.send("add", [1, 2])
    assert exchange.stored().wait(kept.id)["status"] == "SUCCESS"
    assert exchange.stored().document(lost.id) is None
    request = exchange.journal.runs(kept.id)[0].request
    assert (request["is_eager"], request["called_directly"]) == (True, False)
