"""Nothing that arrives may end the worker: one process takes the whole corpus, with a canary after each message."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest

from celeriac_conformance.broker_taps import RedisTap
from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Deployment, Producer
from celeriac_conformance.malformed import CORPUS, HELD, Malformed
from celeriac_conformance.runtimes.base import Program, WorkerOptions

QUEUE = "malformed"
SETTLE_S = 6.0
FINAL = {"FAILURE", "REVOKED"}


class Victim:
    """The one worker that takes everything, and what was sent to it."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.broker = deployment.ground.broker
        self.producer: Producer = deployment.producer()
        self.sent: list[tuple[Malformed, str, str]] = []
        self.processes: list[Program] = []
        self.start()

    def start(self) -> None:
        """Start the worker; only a second start means that it died."""
        options = WorkerOptions(
            queues=(QUEUE,), name="victim", settings={"accept_content": ["json"]}
        )
        process = self.deployment.runtime.start_worker(
            self.deployment.cell.worker, self.deployment.ground, options
        )
        self.processes.append(process)
        self.deployment.await_ready(process, QUEUE)

    def send(self, entry: Malformed) -> tuple[str, str]:
        """Put one malformed message into the queue."""
        task_id, marker = str(uuid.uuid4()), uuid.uuid4().hex
        self.sent.append((entry, task_id, marker))
        raw = entry.raw_envelope(task_id, marker)
        if raw is not None:
            assert isinstance(self.broker, RedisTap)
            self.broker.push_envelope(QUEUE, raw)
        else:
            self.broker.push(QUEUE, entry.message(task_id, marker))
        return task_id, marker

    def serves_a_canary(self) -> None:
        """Check that the worker still does its work."""
        canary = self.producer.send("echo", ["canary"], queue=QUEUE)
        try:
            assert self.producer.result(canary) == "canary"
        except AssertionError:
            # It hangs: the next message gets a new process, and the last case tells that there was more than one.
            self.processes[-1].stop()
            raise

    def outcome(self, entry: Malformed, task_id: str, marker: str) -> str:
        """Say how a message ended so far."""
        results = self.deployment.ground.results
        assert results is not None
        document = results.document(task_id)
        if document is not None and document["status"] in FINAL:
            return "failed"
        for run in self.deployment.journal.entries(event="run"):
            if run.id == task_id or marker in (run.extra.get("args") or []):
                return "run"
        return "held" if entry.allowed == HELD else "refused"

    def stop(self) -> None:
        """Stop every process that was started."""
        for process in self.processes:
            process.stop()


@pytest.fixture(scope="session")
def victim(deployment: Deployment) -> Iterator[Victim]:
    """The worker under attack, one per cell."""
    made = Victim(deployment)
    yield made
    made.stop()


SPEC = "task-message#3.5"


@case(
    "robustness/{name}",
    spec=SPEC,
    needs=["stored-results"],
    control=False,
    each={"name": tuple(CORPUS)},
)
def test_the_worker_survives_the_message_and_serves_a_canary(victim: Victim, name: str) -> None:
    """Real Celery dies of many of these, so there is no control."""
    entry = CORPUS[name]
    if victim.broker.kind not in entry.kinds:
        pytest.skip(f"{victim.broker.kind} cannot carry it")
    if victim.processes[-1].status is not None:
        victim.start()
    task_id, marker = victim.send(entry)
    victim.serves_a_canary()
    deadline = time.monotonic() + SETTLE_S
    while (outcome := victim.outcome(entry, task_id, marker)) not in entry.allowed:
        assert time.monotonic() < deadline, (
            f"{name}: allowed {sorted(entry.allowed)}, found {outcome}"
        )
        time.sleep(0.05)
    victim.processes[-1].check()


@case(
    "robustness/one-process-survived-everything", spec=SPEC, needs=["stored-results"], control=False
)
def test_the_process_that_took_the_first_message_took_the_last(victim: Victim) -> None:
    """Runs last in its cell: nothing died, nothing refused ran after all, and nothing is left in the queue."""
    assert len(victim.sent) >= 100
    assert len(victim.processes) == 1
    victim.serves_a_canary()
    for entry, task_id, marker in victim.sent:
        outcome = victim.outcome(entry, task_id, marker)
        assert outcome in entry.allowed, (
            f"{entry.name}: allowed {sorted(entry.allowed)}, found {outcome}"
        )
    held = sum(1 for entry, _, _ in victim.sent if entry.allowed == HELD)
    assert victim.broker.ready(QUEUE) == 0
    assert victim.broker.unacked(QUEUE) <= held
