"""Where memory goes is shown with the packages that know it, and said plainly without them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.compat.worker.remote.bench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    subject = Bench()
    yield subject
    subject.close()


def without(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError):
        importlib.import_module(name)


def test_without_psutil_there_is_nothing_to_say(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "psutil")
    assert bench.run("memsample") is None
    assert bench.run("memdump") == "- rss: (psutil not installed).\n"


def test_with_psutil_samples_are_collected(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter([52.078 * 1024**2, 60.5 * 1024**2, 2048.0])
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=next(sizes)))
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(Process=lambda: process))
    assert bench.run("memsample") == "52.078MB"
    assert bench.run("memsample") == "60.5MB"
    assert bench.run("memdump") == (
        "- rss (sample):\n-    > 52.078MB,\n-    > 60.5MB,\n- rss (end): 2KB.\n"
    )


def test_without_objgraph_the_answer_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "objgraph")
    assert bench.run("objgraph") == {"error": "ImportError('Requires the objgraph library')"}


def test_with_objgraph_a_picture_is_drawn(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Any] = {}

    def show_backrefs(objects: list[Any], **options: Any) -> None:
        drawn.update(options, objects=objects)

    library = SimpleNamespace(by_type=lambda name: [name] * 5, show_backrefs=show_backrefs)
    monkeypatch.setitem(sys.modules, "objgraph", library)
    answer = bench.run("objgraph", type="Request", num=2, max_depth=3)
    assert (drawn["objects"], drawn["max_depth"]) == (["Request", "Request"], 3)
    path = Path(answer["filename"])
    assert path.exists()
    path.unlink()
