"""The two sides of every comparison, and the account of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac_conformance.environments import REAL_CELERY_PYTHON
from celeriac_conformance.runtimes.base import CannotSetUpError
from tests.differential.account import Account
from tests.differential.peer import Peer, peer_python
from tests.differential.sides import Ours

_ACCOUNT: pytest.StashKey[Account] = pytest.StashKey()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # One real worker, one account: all of it in one process, however many share the run.
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("differential"))


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    try:
        python = peer_python()
    except CannotSetUpError as error:
        pytest.skip(f"missing: the real Celery ({REAL_CELERY_PYTHON}): {error}")
    started = Peer(python, tmp_path_factory.mktemp("differential") / "worker.log")
    yield started
    started.stop()


@pytest.fixture(scope="session")
def account(peer: Peer, request: pytest.FixtureRequest) -> Account:
    kept = request.config.stash[_ACCOUNT] = Account(Ours(), peer, started_at=time.monotonic())
    return kept


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how much was compared, and what was excused."""
    kept = config.stash.get(_ACCOUNT, None)
    if kept is not None:
        terminalreporter.section("differential")
        for line in kept.report(time.monotonic()):
            terminalreporter.write_line(line)
