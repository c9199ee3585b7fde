"""Which interpreter an implementation gets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from celeriac_conformance import environments
from celeriac_conformance.environments import Environments, MissingPythonError
from celeriac_conformance.matrix import Implementation


def pinned(python: str) -> Implementation:
    """An implementation that wants a Python."""
    return Implementation(
        name="old", library="celery", version="1", driver="d", python=python, requirements=("x==1",)
    )


def test_a_python_that_is_nowhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.delenv(environments.REAL_CELERY_PYTHON, raising=False)
    with pytest.raises(MissingPythonError, match=r"old needs Python 2\.6"):
        Environments(tmp_path, print).python(pinned("2.6"))


def test_a_program_of_the_right_name_that_is_another_version_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / "python2.6"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.delenv(environments.REAL_CELERY_PYTHON, raising=False)
    with pytest.raises(MissingPythonError, match=r"neither PATH nor pyenv has it"):
        Environments(tmp_path, print).python(pinned("2.6"))
