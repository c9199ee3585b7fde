"""Does the scenarios with one version of Celery on one broker, and gathers what crossed the wire."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from celeriac_conformance.cases import version_tuple
from celeriac_conformance.drivers import typed_values
from celeriac_conformance.exchange import Deployment, Producer
from celeriac_conformance.matrix import Carrier, Cell, Implementation
from celeriac_conformance.recorder.scenarios import SCENARIOS, Scenario
from celeriac_conformance.recorder.traffic import kind_of, message_in, wire_form
from celeriac_conformance.runtimes.base import Runtime, WorkerOptions
from celeriac_conformance.wires import Frame, Wire

__all__ = ["capture", "scenarios_for"]

_SETTLE_S = 0.3
"""What follows from a result comes a little after it."""
_PATIENCE_S = 20.0
_REPLY_S = 0.7
"""How long replies are waited for; a client waits so long even when it has them all."""


def scenarios_for(implementation: Implementation, broker: str) -> list[Scenario]:
    """Return what is recorded of a version on a broker."""
    version = version_tuple(implementation.version or "")
    return [
        scenario
        for scenario in SCENARIOS
        if broker in scenario.brokers and version >= version_tuple(scenario.since)
    ]


def capture(
    runtime: Runtime,
    implementation: Implementation,
    carrier: Carrier,
    scenarios: Iterable[Scenario],
    progress: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Record scenarios, one document each.

    Args:
        runtime: Where programs run.
        implementation: A pinned Celery, producer and worker at once.
        carrier: Broker and result backend.
        scenarios: What to do.
        progress: Told a line for each scenario.

    Raises:
        CannotSetUpError: A program or server does not start.
        AssertionError: A call does not end.
    """
    cell = Cell(
        producer=implementation,
        worker=implementation,
        carrier=carrier,
        reference=implementation.name,
    )
    options = WorkerOptions(queues=("celery", "other"), extra=("-E",), concurrency=1)
    deployment = Deployment(
        cell, runtime, options=options, name=f"record-{implementation.name}-{carrier.name}"
    )
    tap = deployment.ground.broker
    wires: list[Wire] = [tap.watch()]
    if deployment.ground.results is not None and tap.kind != "redis":
        wires.append(deployment.ground.results.watch())
    try:
        node = _start(deployment)
        recorder = _Recorder(deployment, wires, carrier.broker, node)
        done = []
        for scenario in scenarios:
            progress(f"{implementation.name}, {carrier.broker}: {scenario.name}")
            done.append(recorder.record(scenario))
        return done
    finally:
        for wire in wires:
            wire.close()
        deployment.stop()


def _start(deployment: Deployment) -> str:
    """Start the worker and return its node name."""
    assert deployment.worker.status is None
    return next(iter(deployment.producer().inspect("ping")))


class _Recorder:
    def __init__(self, deployment: Deployment, wires: list[Wire], broker: str, node: str) -> None:
        self._deployment = deployment
        self._wires = wires
        self._broker = broker
        self._node = node
        self._versions: dict[str, str] = {}

    def record(self, scenario: Scenario) -> dict[str, Any]:
        producer = self._deployment.producer(**scenario.settings)
        self._versions = self._versions or producer.versions
        if "event" in scenario.kinds:
            producer.events()
        marks = [wire.mark() for wire in self._wires]
        answer = self._perform(scenario, producer)
        frames = self._frames_since(marks)
        messages = list(self._messages(scenario, frames))
        if not messages:
            raise AssertionError(f"{scenario.name}: nothing crossed the wire")
        return {
            "case": scenario.name,
            "producer": {"implementation": "celery", **self._versions},
            "broker": self._broker,
            "call": _described(scenario),
            "answer": answer,
            "messages": messages,
        }

    def _frames_since(self, marks: list[int]) -> list[Frame]:
        """Return what came since, once nothing new comes: a result is there before what follows from it."""
        frames: list[Frame] = []
        while True:
            time.sleep(_SETTLE_S)
            before = len(frames)
            frames = [
                frame
                for wire, mark in zip(self._wires, marks, strict=True)
                for frame in wire.since(mark)
                if kind_of(frame) is not None
            ]
            if len(frames) == before:
                return frames

    def _perform(self, scenario: Scenario, producer: Producer) -> Any:
        """Do it, and return what the producer was told in the end, as typed values."""
        if scenario.command is not None:
            fields = {**scenario.command, "destination": [self._node], "timeout": _REPLY_S}
            command = fields.pop("cmd")
            return typed_values.encode(producer.client.request(command, **fields))
        sent = producer.client.request(
            "send",
            task=scenario.task,
            args=tuple(scenario.args),
            kwargs=dict(scenario.kwargs),
            by_name=scenario.by_name,
            form=scenario.form,
            options={**scenario.options, "queue": scenario.queue},
        )
        if not scenario.waits:
            return None
        found = producer.client.request("wait", id=sent["id"], timeout=_PATIENCE_S)
        if found["timed_out"]:
            raise AssertionError(f"{scenario.name}: did not end within {_PATIENCE_S} s")
        document = found.get("document") or {}
        kept = {name: document.get(name) for name in ("state", "result")}
        return typed_values.encode({"id": sent["id"], **kept})

    def _messages(self, scenario: Scenario, frames: list[Frame]) -> Iterable[dict[str, Any]]:
        runs = {
            (entry.task, entry.id, entry.request.get("retries")): entry.request
            for entry in self._deployment.journal.entries(event="run")
        }
        seen: set[str] = set()
        for frame in frames:
            kind = kind_of(frame)
            if kind is None or kind not in scenario.kinds:
                continue
            wire = wire_form(frame)
            if kind == "event" and not _is_wanted(wire, seen):
                continue
            message: dict[str, Any] = {"kind": kind, "wire": wire}
            if kind == "task":
                headers, _, body = message_in(wire)
                key = _run_key(headers, body)
                if key in runs:
                    message["request"] = typed_values.encode(runs[key])
            yield message


def _is_wanted(wire: Mapping[str, Any], seen: set[str]) -> bool:
    """Keep one event of each type, and of heartbeats those that were asked for: when others come is chance."""
    _, _, body = message_in(wire)
    value = json.loads(body)
    events = value if isinstance(value, list) else [value]
    types = {event["type"] for event in events if not _is_regular(event)}
    fresh = not types <= seen
    seen |= types
    return fresh


def _is_regular(event: Mapping[str, Any]) -> bool:
    # The heartbeat that a command asks for says nothing of the worker's load.
    return event["type"] == "worker-heartbeat" and "active" in event


def _run_key(headers: Mapping[str, Any], body: bytes) -> tuple[Any, Any, Any]:
    if "id" in headers:
        return headers["task"], headers["id"], headers.get("retries")
    try:
        call = json.loads(body)
    except ValueError:
        # Protocol 1 in another serializer than JSON: nothing of that kind is run here.
        return None, None, None
    return call.get("task"), call.get("id"), call.get("retries")


def _described(scenario: Scenario) -> dict[str, Any] | None:
    """Return the request that was made, so that it can be made again by somebody else."""
    if scenario.command is not None:
        described: dict[str, Any] = typed_values.encode(dict(scenario.command))
        return described
    made: dict[str, Any] = typed_values.encode(
        {
            "task": scenario.task,
            "args": tuple(scenario.args),
            "kwargs": dict(scenario.kwargs),
            "by_name": scenario.by_name,
            "form": scenario.form,
            "options": {**scenario.options, "queue": scenario.queue},
            "settings": dict(scenario.settings),
        }
    )
    return made
