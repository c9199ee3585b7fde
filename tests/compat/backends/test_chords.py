"""Native chords: every part counts once, the body is sent once."""

from __future__ import annotations

import threading
from typing import Any
from uuid import uuid4

import pytest

from celeriac.backends import ChordPart, ChordState, ResultBackend
from celeriac.backends.chords import chord_values
from celeriac.exceptions import TimeoutError as WaitTimeoutError
from celeriac_protocol.result import ResultMeta
from tests.compat.backends.conftest import NATIVE
from tests.compat.backends.subjects import Subject

pytestmark = pytest.mark.parametrize("subject", NATIVE, indirect=True)

FAILURE = {"exc_type": "ValueError", "exc_message": ["boom"], "exc_module": "builtins"}


def part(number: int, result: object = None, state: str = "SUCCESS") -> ChordPart:
    return ChordPart(f"t{number}", state, number if result is None else result, number)


def values(backend: ResultBackend, state: ChordState | None) -> list[Any]:
    assert state is not None
    return chord_values(backend, state, timeout_s=5).values


@pytest.fixture
def group_id() -> str:
    return str(uuid4())


def test_the_last_part_completes_the_chord_in_header_order(subject: Subject, group_id: str) -> None:
    backend = subject.make()
    backend.start_chord(group_id, 3)
    assert backend.add_chord_part(group_id, part(2)) is None
    assert backend.add_chord_part(group_id, part(0)) is None
    state = backend.add_chord_part(group_id, part(1))
    assert values(backend, state) == [0, 1, 2]
    assert state is not None
    assert [each.group_index for each in state.parts] == [0, 1, 2]


def test_a_part_delivered_twice_counts_once(subject: Subject, group_id: str) -> None:
    backend = subject.make()
    backend.start_chord(group_id, 2)
    assert backend.add_chord_part(group_id, part(0, "first")) is None
    assert backend.add_chord_part(group_id, part(0, "again")) is None
    assert values(backend, backend.add_chord_part(group_id, part(1))) == ["first", 1]


def test_only_one_caller_gets_the_chord(subject: Subject, group_id: str) -> None:
    backend = subject.make()
    backend.start_chord(group_id, 1)
    state = backend.add_chord_part(group_id, part(0))
    assert state is not None
    assert backend.add_chord_part(group_id, part(0)) is None
    assert backend.renew_chord(group_id, state.token) is True
    backend.finish_chord(group_id, ok=True, token=state.token)
    assert backend.add_chord_part(group_id, part(0)) is None


def test_parts_from_many_workers_at_once_complete_the_chord_once(
    subject: Subject, group_id: str
) -> None:
    size = 20
    subject.make().start_chord(group_id, size)
    completed: list[ChordState] = []
    start = threading.Barrier(4)

    def work(first: int) -> None:
        backend = subject.make()
        start.wait()
        for number in range(first, size, 2):  # two workers report each part
            state = backend.add_chord_part(group_id, part(number))
            if state is not None:
                completed.append(state)

    workers = [threading.Thread(target=work, args=(first % 2,)) for first in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(completed) == 1
    assert values(subject.make(), completed[0]) == list(range(size))


def test_parts_added_from_inside_are_waited_for(subject: Subject, group_id: str) -> None:
    backend = subject.make()
    backend.start_chord(group_id, 1)
    backend.extend_chord(group_id)
    assert backend.add_chord_part(group_id, part(0)) is None
    assert values(backend, backend.add_chord_part(group_id, part(1))) == [0, 1]


def test_without_a_size_the_parts_wait(subject: Subject, group_id: str) -> None:
    assert subject.make().add_chord_part(group_id, part(0)) is None


def test_the_size_in_the_body_of_old_senders_serves(subject: Subject, group_id: str) -> None:
    backend = subject.make()
    assert backend.add_chord_part(group_id, part(0), size_hint=2) is None
    assert values(backend, backend.add_chord_part(group_id, part(1), size_hint=2)) == [0, 1]


def test_a_part_without_an_index_comes_last(subject: Subject, group_id: str) -> None:
    backend = subject.make()
    backend.start_chord(group_id, 2)
    assert backend.add_chord_part(group_id, ChordPart("x", "SUCCESS", "x", None)) is None
    state = backend.add_chord_part(group_id, part(0))
    assert values(backend, state) == [0, "x"]


def test_a_failed_part_is_named_as_the_culprit(subject: Subject, group_id: str) -> None:
    backend = subject.make()
    backend.start_chord(group_id, 3)
    backend.add_chord_part(group_id, part(2, FAILURE, "FAILURE"))
    backend.add_chord_part(group_id, part(1, FAILURE, "REVOKED"))
    state = backend.add_chord_part(group_id, part(0))
    assert state is not None
    culprit = chord_values(backend, state, timeout_s=5).culprit
    assert culprit is not None
    assert (culprit.task_id, culprit.state, culprit.result) == ("t1", "REVOKED", FAILURE)


def test_a_failed_chord_does_not_complete_again(subject: Subject, group_id: str) -> None:
    backend = subject.make()
    backend.start_chord(group_id, 1)
    state = backend.add_chord_part(group_id, part(0, FAILURE, "FAILURE"))
    assert state is not None
    backend.finish_chord(group_id, ok=False, token=state.token)
    assert backend.add_chord_part(group_id, part(0)) is None


def test_a_group_id_can_be_used_again(subject: Subject, group_id: str) -> None:
    backend = subject.make()
    for round_number in range(2):
        backend.start_chord(group_id, 1)
        state = backend.add_chord_part(group_id, part(0, f"round {round_number}"))
        assert values(backend, state) == [f"round {round_number}"]
        assert state is not None
        backend.finish_chord(group_id, ok=True, token=state.token)


def test_nested_groups_keep_their_shape(subject: Subject, group_id: str) -> None:
    backend = subject.make()
    form = [
        [group_id, None],
        [[["inner", None], [[["t0", None], None], [["t1", None], None]]], [["t2", None], None]],
    ]
    backend.store_group(group_id, form)
    backend.start_chord(group_id, 3)
    state = None
    for number, index in ((0, 0), (1, 1), (2, 1)):
        backend.store(ResultMeta(task_id=f"t{number}", status="SUCCESS", result=number))
        one = ChordPart(f"t{number}", "SUCCESS", number, index)
        state = backend.add_chord_part(group_id, one)
    assert values(backend, state) == [[0, 1], 2]


def test_a_nested_group_whose_document_is_missing_times_out(
    subject: Subject, group_id: str
) -> None:
    backend = subject.make()
    backend.store_group(group_id, [[group_id, None], [[["gone", None], None]]])
    backend.start_chord(group_id, 1)
    state = backend.add_chord_part(group_id, part(0))
    assert state is not None
    with pytest.raises(WaitTimeoutError):
        chord_values(backend, state, timeout_s=0.05)


def test_a_failure_in_a_nested_group_is_the_culprit(subject: Subject, group_id: str) -> None:
    backend = subject.make()
    backend.store_group(group_id, [[group_id, None], [[["i", None], [[["t0", None], None]]]]])
    backend.store(ResultMeta(task_id="t0", status="FAILURE", result=FAILURE))
    backend.start_chord(group_id, 1)
    state = backend.add_chord_part(group_id, part(0, FAILURE, "FAILURE"))
    assert state is not None
    culprit = chord_values(backend, state, timeout_s=5).culprit
    assert culprit is not None
    assert culprit.task_id == "t0"


def test_compressed_parts_are_read(subject: Subject, group_id: str) -> None:
    backend = subject.make(compression="gzip")
    backend.start_chord(group_id, 1)
    state = backend.add_chord_part(group_id, part(0, "x" * 3000))
    assert values(backend, state) == ["x" * 3000]
