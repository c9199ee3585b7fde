"""Commands that change the pool, those that look at memory, and those of an application's own."""

from __future__ import annotations

from typing import Any

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange
from celeriac_conformance.own_workers import OwnWorker, own_worker, the_worker


def stats(worker: OwnWorker) -> dict[str, Any]:
    found = worker.inspect("stats")
    assert isinstance(found, dict)
    return found


@case("control/autoscale", spec="control-and-events#4.5 control-and-events#1.8")
def test_the_pool_grows_and_shrinks_with_the_load(exchange: Exchange) -> None:
    with own_worker(
        exchange, extra=("--autoscale", "3,1"), environment={"AUTOSCALE_KEEPALIVE": "1"}
    ) as worker:
        assert len(stats(worker)["pool"]["processes"]) == 1
        gate = exchange.gate()
        calls = [worker.send("gate", str(gate.path)) for _ in range(3)]
        for call in calls:
            exchange.wait_run(call)
        found = stats(worker)["autoscaler"]
        assert (found["max"], found["min"], found["current"]) == (3, 1, 3)
        gate.open()
        for call in calls:
            assert exchange.producer.result(call) == "through"
        exchange.eventually(
            lambda: len(stats(worker)["pool"]["processes"]) == 1, "it has shrunk", 40
        )
        assert exchange.producer.result(worker.send("add", 1, 2)) == 3


@case("control/autoscale-range", spec="control-and-events#1.8")
def test_the_range_is_changed_by_command(exchange: Exchange) -> None:
    with own_worker(exchange, extra=("--autoscale", "3,1")) as worker:
        assert worker.control("autoscale", max=4, min=2) == {"ok": "autoscale now max=4 min=2"}
        exchange.eventually(
            lambda: len(stats(worker)["pool"]["processes"]) == 2, "the pool has its least size"
        )
        for name in ("pool_grow", "pool_shrink"):
            assert worker.control(name) == {
                "error": f"{name} is not supported with autoscale. Adjust autoscale range instead."
            }


@case("control/autoscale-off", spec="control-and-events#1.8")
def test_a_fixed_pool_is_not_scaled(exchange: Exchange) -> None:
    answer = the_worker(exchange).control("autoscale", max=4, min=2)
    assert answer == {"error": "ValueError('Autoscale not enabled')"}


@case("control/pool-restart", spec="control-and-events#1.8")
def test_a_pool_is_restarted_if_the_settings_allow_it(exchange: Exchange) -> None:
    with own_worker(exchange, settings={"worker_pool_restarts": True}) as worker:
        before = set(stats(worker)["pool"]["processes"])
        assert worker.control("pool_restart") == {"ok": "reload started"}

        def is_new() -> bool:
            # Children are replaced one by one, some only after a task.
            assert exchange.producer.result(worker.send("add", 1, 2)) == 3
            processes = set(stats(worker)["pool"]["processes"])
            return len(processes) == 2 and not processes & before

        exchange.eventually(is_new, "both children are new", 30)


@case("control/pool-restart-off", spec="control-and-events#1.8")
def test_a_pool_is_not_restarted_unasked(exchange: Exchange) -> None:
    answer = the_worker(exchange).control("pool_restart")
    assert answer == {"error": "ValueError('Pool restarts not enabled')"}


@case("control/memory", spec="control-and-events#1.7")
def test_memory_is_shown_or_its_absence_said(exchange: Exchange) -> None:
    worker = the_worker(exchange)
    sample = worker.control("memsample")
    assert sample is None or str(sample).endswith("MB")
    dump = worker.control("memdump")
    assert isinstance(dump, str)
    assert dump.startswith("- rss")
    assert (sample is None) == ("not installed" in dump)
    graph = worker.control("objgraph", num=1, max_depth=1)
    assert isinstance(graph, dict)
    assert "filename" in graph or "Requires the objgraph library" in graph["error"]


@case("control/own-commands", spec="control-and-events#1.3")
def test_an_application_adds_commands(exchange: Exchange) -> None:
    with own_worker(exchange, environment={"CONFORMANCE_COMMANDS": "1"}) as worker:
        answer = worker.control("conformance_look", n=5)
        assert answer == {"main": "conformance", "hostname": worker.node, "n": 5}
        assert worker.control("conformance_look") == {**answer, "n": 1}
        assert worker.control("conformance_fail") == {"error": "ValueError('on purpose')"}
