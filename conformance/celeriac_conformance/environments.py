"""Cached virtual environments, one per pinned implementation."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from celeriac_conformance.cases import version_tuple
from celeriac_conformance.matrix import Implementation
from celeriac_conformance.runtimes.base import CannotSetUpError, NotOfferedError

__all__ = ["REAL_CELERY_PYTHON", "Environments", "MissingPythonError", "cache_folder"]

REAL_CELERY_PYTHON = "CELERIAC_REAL_CELERY_PYTHON"
"""Environment variable that may name a ready interpreter: it serves the Celery of the version it has installed."""

_PROBE_TIMEOUT_S = 60
_BUILD_TIMEOUT_S = 900
_CHECKOUT = Path(__file__).resolve().parents[2]


class MissingPythonError(NotOfferedError):
    """This machine has no interpreter that an implementation needs (of its version): it is *unsupported* here."""


def cache_folder() -> Path:
    """Return where environments are kept: ``$CELERIAC_CACHE``, or ``.cache`` at the root of the checkout."""
    return Path(os.environ.get("CELERIAC_CACHE") or _CHECKOUT / ".cache").absolute()


class Environments:
    """Builds environments on first use and finds them afterwards.

    Args:
        folder: Cache folder.
        progress: Told one line whenever something slow starts or ends.
    """

    def __init__(self, folder: Path, progress: Callable[[str], None]) -> None:
        self._folder = folder / "venvs"
        self._progress = progress
        self._ready: dict[str, Path] = {}

    def python(self, implementation: Implementation) -> Path:
        """Return the interpreter that has an implementation installed.

        Raises:
            CannotSetUpError: It cannot be built, or the interpreter given holds another version.
        """
        if implementation.name not in self._ready:
            self._ready[implementation.name] = self._find(implementation)
        return self._ready[implementation.name]

    def variables(self, implementation: Implementation) -> dict[str, str]:
        """Return what a program needs in its environment to find an implementation."""
        if implementation.ecosystem != "npm":
            return {}
        self.python(implementation)
        return {"NODE_PATH": str(self._project_place(implementation) / "node_modules")}

    def _find(self, implementation: Implementation) -> Path:
        if implementation.ecosystem == "npm":
            return self._install_project(implementation)
        if not implementation.requirements:
            return Path(sys.executable)
        given = os.environ.get(REAL_CELERY_PYTHON)
        if (
            given
            and implementation.is_reference
            and self._installed_version(Path(given), implementation) == implementation.version
        ):
            return Path(given)
        return self._build(implementation)

    def _installed_version(self, python: Path, implementation: Implementation) -> str:
        # Its metadata: not every library has a `__version__`.
        script = f"import importlib.metadata as m; print(m.version({implementation.library!r}))"
        return self._run([str(python), "-c", script]).strip()

    def _build(self, implementation: Implementation) -> Path:
        base = _interpreter(implementation)
        # One line, whatever the interpreter prints at start-up.
        described = self._run(
            [base, "-c", "import sys; print(sys.version.split()[0], sys.base_prefix)"]
        ).strip()
        tag = "py" + ".".join(described.split(".")[:2])
        text = "\n".join([described, *sorted(implementation.requirements)])
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        # What an environment holds is part of its name: one that another run may be using is never rebuilt.
        place = self._folder / f"{implementation.name}-{tag}-{digest}"
        python = place / "bin" / "python"
        stamp = place / "complete"
        with self._locked(place):
            if stamp.exists():
                return python
            self._progress(f"building an environment for {implementation.name} in {place}")
            shutil.rmtree(place, ignore_errors=True)
            self._run([base, "-m", "venv", str(place)])
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            self._run([*pip, *implementation.requirements])
            found = self._installed_version(python, implementation)
            if found != implementation.version:
                raise CannotSetUpError(
                    f"{place}: expected {implementation.library} {implementation.version}, found {found!r}"
                )
            stamp.touch()
            self._progress(f"built the environment for {implementation.name}")
        return python

    def _install_project(self, implementation: Implementation) -> Path:
        """Install the locked packages of an npm project; return the Node that runs them."""
        node, npm = shutil.which("node"), shutil.which("npm")
        if node is None or npm is None:
            raise MissingPythonError(
                f"{implementation.name} needs Node.js and npm: scripts/install_system.sh node"
            )
        place = self._project_place(implementation)
        stamp = place / "complete"
        with self._locked(place):
            if stamp.exists():
                return Path(node)
            self._progress(f"installing {implementation.name} into {place}")
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            for name, text in _project_files(implementation).items():
                (place / name).write_text(text, "utf-8")
            # Nothing but what the lock names, and no package's own scripts.
            quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            self._run([npm, "ci", *quiet, "--prefix", str(place)])
            manifest = place / "node_modules" / implementation.library / "package.json"
            found = json.loads(manifest.read_text("utf-8"))["version"]
            if found != implementation.version:
                raise CannotSetUpError(
                    f"{place}: expected {implementation.library} {implementation.version}, found {found!r}"
                )
            stamp.touch()
        return Path(node)

    def _project_place(self, implementation: Implementation) -> Path:
        text = "\n".join(_project_files(implementation).values())
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return self._folder / f"{implementation.name}-npm-{digest}"

    @contextmanager
    def _locked(self, place: Path) -> Iterator[None]:
        """Let one process at a time build a place."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with place.with_name(place.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _run(self, command: list[str]) -> str:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=_BUILD_TIMEOUT_S
            )
        except subprocess.CalledProcessError as error:
            raise CannotSetUpError(
                f"{' '.join(command)} failed:\n{error.stdout}{error.stderr}"
            ) from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotSetUpError(f"{' '.join(command)}: {error}") from error
        return done.stdout


def _interpreter(implementation: Implementation) -> str:
    """Find the Python that an implementation is pinned to: on PATH, or among pyenv's versions."""
    wanted = implementation.python
    if wanted is None:
        minimum = implementation.requires_python.removeprefix(">=")
        if sys.version_info[:2] < version_tuple(minimum):
            raise MissingPythonError(
                f"{implementation.name} needs Python {implementation.requires_python}"
            )
        return sys.executable
    found = next((python for python in _candidates(wanted) if _runs(python, wanted)), None)
    if found is None:
        raise MissingPythonError(
            f"{implementation.name} needs Python {wanted}: neither PATH nor pyenv has it"
        )
    return found


def _candidates(wanted: str) -> Iterator[str]:
    if sys.version_info[:2] == version_tuple(wanted):
        yield sys.executable
    on_path = shutil.which(f"python{wanted}")
    if on_path is not None:
        yield on_path
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    installed = root.glob(f"versions/{wanted}.*/bin/python")
    yield from (str(python) for python in sorted(installed, reverse=True))


def _runs(python: str, wanted: str) -> bool:
    """Say whether it is the version its name says: pyenv's shims also stand for versions that are not installed."""
    script = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run(
        [python, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=_PROBE_TIMEOUT_S,
    )
    return done.returncode == 0 and done.stdout.strip() == wanted


def _project_files(implementation: Implementation) -> dict[str, str]:
    """Read what pins an npm project."""
    if implementation.project is None:
        raise CannotSetUpError(f"{implementation.name}: an npm implementation needs a project")
    try:
        return {
            name: (implementation.project / name).read_text("utf-8")
            for name in ("package.json", "package-lock.json")
        }
    except OSError as error:
        raise CannotSetUpError(f"{implementation.name}: {error}") from error
