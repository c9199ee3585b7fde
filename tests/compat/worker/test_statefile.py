"""What a worker knows outlives it, in a file that Celery reads and writes as well."""

from __future__ import annotations

import dbm
import io
import os
import pickle
import zlib
from pathlib import Path

import pytest

from celeriac.worker.revoked import RevokedIds
from celeriac.worker.statefile import StateFile, StateFileError, dump_revoked, load_revoked
from celeriac_protocol.lamport import LamportClock

OF_CELERY_5_7 = zlib.compress(
    b"\x80\x04\x95\x2f\x00\x00\x00\x00\x00\x00\x00\x8c\x18celery.utils.collections\x94\x8c\nLimitedSet\x94\x93\x94"
    b"(MP\xc3G@\xc5\x18\x00\x00\x00\x00\x00}\x94\x8c\x02q1\x94G@\xc7\xcd\x9b^\x8fUQsK\x00t\x94R\x94."
)
"""As Celery 5.7.0 wrote it, frame length aside."""


def state(path: Path, now: float = 1000.0, **options: int) -> StateFile:
    def monotonic() -> float:
        return now

    return StateFile(
        str(path), RevokedIds(monotonic=monotonic, **options), LamportClock(), monotonic=monotonic
    )


def test_ids_and_clock_come_back_in_order(tmp_path: Path) -> None:
    first = state(tmp_path / "state")
    first.load()
    first.revoked.add(["b", "a", "c"])
    first.clock.value = 41
    first.save()
    second = state(tmp_path / "state", 1001.0)
    second.load()
    assert list(second.revoked) == ["b", "a", "c"]
    assert second.clock.value == 43


def test_what_celery_wrote_is_read() -> None:
    found = load_revoked(zlib.compress(zlib.decompress(OF_CELERY_5_7)))
    assert list(found) == ["q1"]
    assert found["q1"] == pytest.approx(12187.213823239)


def test_what_we_write_names_celerys_class_with_its_arguments() -> None:
    seen = []

    class Reader(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            return lambda *args: seen.append((module, name, args))

    Reader(io.BytesIO(zlib.decompress(dump_revoked({"a": 1.5, "b": 2.5}, 50000, 10800.0)))).load()
    assert seen == [
        ("celery.utils.collections", "LimitedSet", (50000, 10800.0, {"a": 1.5, "b": 2.5}, 0))
    ]


def test_a_time_of_the_future_counts_as_now(tmp_path: Path) -> None:
    before = state(tmp_path / "state", 500_000.0)
    before.revoked.add(["x"])
    before.save()
    after_reboot = state(tmp_path / "state", 20.0)
    after_reboot.load()
    assert after_reboot.revoked == {"x": 20.0}


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch evil",)


@pytest.mark.parametrize(
    "raw", [b"", b"no zlib", zlib.compress(b"no pickle"), zlib.compress(pickle.dumps(Evil()))]
)
def test_anything_else_is_refused(raw: bytes) -> None:
    with pytest.raises(StateFileError):
        load_revoked(raw)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_text("something else, and long enough to have a magic number")
    with pytest.raises(StateFileError):
        state(path).load()


def test_the_layout_is_that_of_the_shelf(tmp_path: Path) -> None:
    subject = state(tmp_path / "state")
    subject.revoked.add(["a"])
    subject.save()
    with dbm.open(str(tmp_path / "state"), "r") as shelf:
        found = {key: pickle.loads(shelf[key]) for key in list(shelf.keys())}
    assert found[b"__proto__"] == 3
    assert found[b"zrevoked"].startswith(b"\x78\x9c")


def test_it_is_saved_while_the_worker_runs_and_at_its_end(tmp_path: Path) -> None:
    subject = state(tmp_path / "state")
    subject.load()
    subject.serve(set(), 1000.0)
    subject.revoked.add(["a"])
    subject.serve(set(), 1010.0)
    again = state(tmp_path / "state")
    again.load()
    assert list(again.revoked) == ["a"]
    subject.revoked.add(["b"])
    subject.close()
    again = state(tmp_path / "state")
    again.load()
    assert list(again.revoked) == ["a", "b"]
