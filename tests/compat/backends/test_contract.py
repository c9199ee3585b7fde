"""The contract of `ResultBackend`, run on every backend."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from celeriac.backends import ResultBackend
from celeriac.exceptions import TimeoutError as WaitTimeoutError
from celeriac_protocol.errors import EncodeError, RefusedContentError
from celeriac_protocol.result import ResultMeta
from tests.compat.backends.conftest import NAMES
from tests.compat.backends.subjects import Subject, wait_for

pytestmark = pytest.mark.parametrize("subject", NAMES, indirect=True)

FAILURE = {"exc_type": "ValueError", "exc_message": ["boom"], "exc_module": "builtins"}


def meta(task_id: str, status: str = "SUCCESS", result: object = 3, **fields: Any) -> ResultMeta:
    return ResultMeta(task_id=task_id, status=status, result=result, **fields)


def as_lists(value: object) -> object:
    """Return an encoded exception with its arguments in a list, as JSON gives them."""
    assert isinstance(value, dict)
    return {**value, "exc_message": list(value["exc_message"])}


def new_id() -> str:
    return str(uuid4())


def soon(action: Any) -> threading.Thread:
    """Run `action` in another thread, at once: the waiter may be early or late, both must work."""
    thread = threading.Thread(target=action)
    thread.start()
    return thread


class StopError(Exception):
    """Raised by a callback."""


def test_an_unknown_task_is_pending(subject: Subject) -> None:
    found = subject.reader().fetch("nobody")
    assert (found.task_id, found.status, found.result) == ("nobody", "PENDING", None)
    assert subject.reader().exists("nobody") is False


def test_a_stored_document_comes_back(subject: Subject) -> None:
    task_id = new_id()
    children = [[["c", None], None], [["g", None], [[["a", None], None], [["b", None], None]]]]
    subject.store(
        meta(task_id, result={"a": [1, None, "é"]}, children=children, date_done=datetime.now(UTC))
    )
    found = subject.reader().fetch(task_id)
    assert (found.task_id, found.status) == (task_id, "SUCCESS")
    assert found.result == {"a": [1, None, "é"]}
    assert list(found.children or ()) == children
    assert found.date_done is not None
    assert subject.reader().exists(task_id) is True


def test_a_failure_comes_back_in_encoded_form_with_its_traceback(subject: Subject) -> None:
    task_id = new_id()
    subject.store(meta(task_id, "FAILURE", FAILURE, traceback="Traceback…\nValueError: boom\n"))
    found = subject.reader().fetch(task_id)
    assert found.status == "FAILURE"
    assert as_lists(found.result) == FAILURE
    assert found.traceback == "Traceback…\nValueError: boom\n"


def test_the_latest_state_is_the_one_read(subject: Subject) -> None:
    task_id, writer = new_id(), subject.make()
    for status, result in (("STARTED", {"pid": 1}), ("PROGRESS", 50), ("RETRY", None)):
        subject.store(meta(task_id, status, result), writer)
        found = subject.reader().fetch(task_id)
        assert (found.status, found.result) == (status, result)


def test_a_failure_gives_way_to_a_later_success(subject: Subject) -> None:
    task_id, writer = new_id(), subject.make()
    subject.store(meta(task_id, "FAILURE", FAILURE), writer)
    subject.store(meta(task_id, "SUCCESS", 7), writer)
    assert subject.reader().fetch(task_id).result == 7


@pytest.mark.parametrize("later", ["RETRY", "FAILURE", "REVOKED", "SUCCESS", "STARTED"])
def test_success_is_final(subject: Subject, later: str) -> None:
    if not subject.keeps_success:
        pytest.skip("a message that was sent cannot be taken back")
    task_id = new_id()
    subject.store(meta(task_id, "SUCCESS", 1))
    subject.store(meta(task_id, later, None if later != "SUCCESS" else 2))
    found = subject.reader().fetch(task_id)
    assert (found.status, found.result) == ("SUCCESS", 1)


def test_a_document_that_only_mentions_success_is_not_final(subject: Subject) -> None:
    task_id = new_id()
    subject.store(meta(task_id, "PROGRESS", {"note": "SUCCESS"}))
    subject.store(meta(task_id, "SUCCESS", 2))
    assert subject.reader().fetch(task_id).result == 2


def test_a_forgotten_task_is_pending_again(subject: Subject) -> None:
    task_id, backend = new_id(), subject.make()
    subject.store(meta(task_id))
    assert backend.fetch(task_id).status == "SUCCESS"
    backend.forget(task_id)
    backend.forget("nobody")
    assert backend.fetch(task_id).status == "PENDING"


def test_many_are_fetched_at_once(subject: Subject) -> None:
    ids = [new_id() for _ in range(3)]
    subject.store(meta(ids[0], result=0))
    subject.store(meta(ids[1], "STARTED", None))
    found = subject.reader().fetch_many(ids)
    assert {task_id: each.status for task_id, each in found.items()} == {
        ids[0]: "SUCCESS",
        ids[1]: "STARTED",
        ids[2]: "PENDING",
    }
    assert subject.reader().fetch_many([]) == {}


def test_a_value_that_cannot_be_encoded_is_refused_and_nothing_is_written(subject: Subject) -> None:
    task_id = new_id()
    with pytest.raises(EncodeError, match="not JSON serializable"):
        subject.store(meta(task_id, result=object()))
    assert subject.reader().fetch(task_id).status == "PENDING"


@pytest.mark.parametrize("task_id", ["x", "../../etc/passwd", "a b\n€", "%41", "x" * 150])
def test_any_text_serves_as_an_id(subject: Subject, task_id: str) -> None:
    subject.store(meta(task_id, result="here"))
    assert subject.reader().fetch(task_id).result == "here"


def test_a_content_type_that_is_not_accepted_is_refused(subject: Subject) -> None:
    task_id = new_id()
    if not subject.checks_content_type:
        pytest.skip("values are pickles of plain data, which are always read")
    subject.store(meta(task_id))
    with pytest.raises(RefusedContentError):
        subject.make(accept=frozenset({"application/x-yaml"})).fetch(task_id)


def test_compressed_documents_are_read_by_everyone(subject: Subject) -> None:
    task_id = new_id()
    subject.store(meta(task_id, result="x" * 5000), subject.make(compression="gzip"))
    assert subject.reader().fetch(task_id).result == "x" * 5000


def test_compressed_success_is_final_too(subject: Subject) -> None:
    if not subject.keeps_success:
        pytest.skip("a message that was sent cannot be taken back")
    task_id = new_id()
    subject.store(meta(task_id, result=1), subject.make(compression="gzip"))
    subject.store(meta(task_id, "FAILURE", FAILURE))
    assert subject.reader().fetch(task_id).result == 1


def test_extended_fields_come_back(subject: Subject) -> None:
    task_id = new_id()
    subject.store(
        meta(
            task_id,
            name="proj.add",
            args=[1, 2],
            kwargs={"a": None},
            worker="w1@host",
            retries=2,
            queue="celery",
            stamped_headers=("who",),
            stamps={"who": "me"},
            extended=True,
        ),
        subject.make(extended=True),
    )
    found = subject.reader().fetch(task_id)
    assert (found.name, found.args, found.kwargs) == ("proj.add", [1, 2], {"a": None})
    assert (found.worker, found.retries, found.queue) == ("w1@host", 2, "celery")
    assert (found.stamped_headers, dict(found.stamps)) == (("who",), {"who": "me"})


def test_waiting_for_a_result_that_is_there_returns_at_once(subject: Subject) -> None:
    task_id, backend = new_id(), subject.make()
    backend.expect(task_id)
    subject.store(meta(task_id, result="done"))
    assert wait_for(backend, task_id)[task_id].result == "done"


def test_a_waiter_is_woken_by_a_later_result(subject: Subject) -> None:
    task_id, backend = new_id(), subject.make()
    backend.expect(task_id)
    rounds: list[None] = []

    def on_interval() -> None:
        # The first call proves that the waiter is waiting; only then the worker finishes.
        if not rounds:
            subject.store(meta(task_id, "STARTED", None))
            subject.store(meta(task_id, result="late"))
        rounds.append(None)

    assert wait_for(backend, task_id, on_interval=on_interval)[task_id].result == "late"
    assert rounds


def test_a_wait_for_many_hands_over_each_once(subject: Subject) -> None:
    backend = subject.make()
    ids = [new_id() for _ in range(12)]
    for task_id in ids:
        backend.expect(task_id)

    def work() -> None:
        writer = subject.make()
        for number, task_id in enumerate(ids):
            subject.store(meta(task_id, "STARTED", None), writer)
            subject.store(meta(task_id, result=number), writer)

    worker = soon(work)
    found = wait_for(backend, *ids, *ids[:3])
    worker.join()
    assert {task_id: each.result for task_id, each in found.items()} == {
        task_id: number for number, task_id in enumerate(ids)
    }


def test_waiting_for_nothing_returns(subject: Subject) -> None:
    assert wait_for(subject.make()) == {}


@pytest.mark.parametrize("timeout_s", [0, 0.05])
def test_a_wait_that_takes_too_long_says_so(subject: Subject, timeout_s: float) -> None:
    task_id, backend = new_id(), subject.make()
    backend.expect(task_id)
    subject.store(meta(task_id, "STARTED", None))
    with pytest.raises(WaitTimeoutError, match=r"^The operation timed out\.$"):
        wait_for(backend, task_id, timeout_s=timeout_s)
    subject.store(meta(task_id, result=5))
    assert wait_for(backend, task_id)[task_id].result == 5


def test_what_came_before_a_timeout_was_handed_over(subject: Subject) -> None:
    ids, backend = [new_id(), new_id()], subject.make()
    for task_id in ids:
        backend.expect(task_id)
    subject.store(meta(ids[0]))
    found: list[str] = []
    with pytest.raises(WaitTimeoutError):
        backend.wait(
            ids, timeout_s=0.2, interval_s=0.05, on_meta=lambda each: found.append(each.task_id)
        )
    assert found == [ids[0]]


def test_an_error_of_a_callback_ends_the_wait_and_the_backend_goes_on(subject: Subject) -> None:
    task_id, backend = new_id(), subject.make()
    backend.expect(task_id)

    def stop(*_: object) -> None:
        raise StopError

    with pytest.raises(StopError):
        backend.wait([task_id], timeout_s=20, interval_s=0.01, on_meta=stop, on_interval=stop)
    subject.store(meta(task_id, result=1))
    with pytest.raises(StopError):
        backend.wait([task_id], timeout_s=20, on_meta=stop)
    other = new_id()
    backend.expect(other)
    subject.store(meta(other, result=2))
    assert wait_for(backend, other)[other].result == 2


def test_a_callback_may_wait_for_something_else(subject: Subject) -> None:
    first, second = new_id(), new_id()
    backend = subject.make()
    for task_id in (first, second):
        backend.expect(task_id)
    found: list[object] = []

    def then_the_second(each: ResultMeta) -> None:
        subject.store(meta(second, result="second"))
        found.extend([each.result, wait_for(backend, second)[second].result])

    worker = soon(lambda: subject.store(meta(first, result="first")))
    backend.wait([first], timeout_s=20, interval_s=0.05, on_meta=then_the_second)
    worker.join()
    assert found == ["first", "second"]


def test_groups_are_saved_and_restored(subject: Subject) -> None:
    backend, group_id = subject.make(), new_id()
    form = [[group_id, None], [[["a", None], None], [["b", None], None]]]
    if not subject.saves_groups:
        with pytest.raises(NotImplementedError, match="save_group"):
            backend.store_group(group_id, form)
        with pytest.raises(NotImplementedError, match="restore_group"):
            backend.fetch_group(group_id)
        with pytest.raises(NotImplementedError, match="delete_group"):
            backend.forget_group(group_id)
        return
    assert backend.fetch_group(group_id) is None
    backend.store_group(group_id, form)
    assert subject.reader().fetch_group(group_id) == form
    backend.forget_group(group_id)
    assert subject.reader().fetch_group(group_id) is None


def test_a_closed_backend_opens_again(subject: Subject) -> None:
    backend, task_id = subject.make(), new_id()
    backend.expect(task_id)
    subject.store(meta(task_id), backend)
    backend.close()
    backend.close()
    other = new_id()
    backend.expect(other)
    subject.store(meta(other, result=2), backend)
    assert wait_for(backend, other)[other].result == 2


def test_a_forked_child_uses_connections_of_its_own(subject: Subject) -> None:
    task_id, backend = new_id(), subject.make()
    backend.expect(task_id)
    subject.store(meta(new_id()), backend)
    assert backend.fetch("nobody").status == "PENDING"  # connected before the fork
    code = _in_child(backend, lambda: subject.store(meta(task_id, result="child"), backend))
    assert code == 0
    subject.store(meta(new_id()), backend)
    if subject.name != "memory":
        assert wait_for(backend, task_id)[task_id].result == "child"


def _in_child(backend: ResultBackend, action: Any) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            backend.after_fork()
            action()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_the_end_of_a_task_leaves_the_backend_usable(subject: Subject) -> None:
    backend, task_id = subject.make(), new_id()
    subject.store(meta(task_id), backend)
    backend.process_cleanup()
    other = new_id()
    subject.store(meta(other, result=4), backend)
    assert subject.reader().fetch(other).result == 4
