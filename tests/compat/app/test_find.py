"""What ``-A NAME`` means, in the layouts that were tried with Celery."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.compat.programs import run

APP = "from celeriac import Celery\n"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def find(folder: Path, name: str) -> dict[str, str]:
    """Return `main` of the app found, or the text of the error."""
    program = (
        "import json, sys\n"
        "from celeriac.app.find import load_app\n"
        "try:\n"
        "    found = load_app(sys.argv[1])\n"
        "    print(json.dumps({'main': getattr(found, 'main', repr(found))}))\n"
        "except ValueError as exc:\n"
        "    print(json.dumps({'error': str(exc)}))\n"
    )
    done = run(["-c", program, name], folder)
    assert done.returncode == 0, done.stderr
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(
    ("files", "name", "main"),
    [
        ({"mod.py": APP + "app = Celery('a')\ncelery = Celery('c')"}, "mod", "a"),
        ({"mod.py": APP + "celery = Celery('c')"}, "mod", "c"),
        ({"mod.py": APP + "other = 1\nmine = Celery('m')"}, "mod", "m"),
        ({"mod.py": APP + "mine = Celery('m')"}, "mod:mine", "m"),
        ({"mod.py": APP + "mine = Celery('m')"}, "mod.mine", "m"),
        ({"p/__init__.py": "", "p/celery.py": APP + "app = Celery('sub')"}, "p", "sub"),
        ({"p/__init__.py": "", "p/celery.py": APP + "app = Celery('sub')"}, "p.celery", "sub"),
        ({"p/__init__.py": "", "p/celery.py": APP + "app = Celery('sub')"}, "p.celery:app", "sub"),
        (
            {
                "p/__init__.py": APP + "my = Celery('own')",
                "p/celery.py": APP + "app = Celery('sub')",
            },
            "p",
            "sub",
        ),
        ({"p/__init__.py": APP + "my = Celery('own')"}, "p", "own"),
        ({"p/__init__.py": APP + "app = Celery('own')", "p/celery.py": "1/0"}, "p", "own"),
        ({"p/__init__.py": "", "p/app.py": "", "p/celery.py": APP + "app = Celery('s')"}, "p", "s"),
        ({"mod.py": "app = 'text'"}, "mod", "'text'"),
        ({"mod.py": "value = 3"}, "mod:value", "3"),
    ],
)
def test_a_name_means_an_app(files: dict[str, str], name: str, main: str, tmp_path: Path) -> None:
    write(tmp_path, files)
    assert find(tmp_path, name) == {"main": main}


@pytest.mark.parametrize(
    ("files", "name", "error"),
    [
        ({}, "nosuchmod", "The module nosuchmod was not found."),
        ({"mod.py": ""}, "mod:missing", "The module mod:missing was not found."),
        ({"noapp.py": "x = 1"}, "noapp", "Module 'noapp' has no attribute 'celery'"),
        (
            {"p/__init__.py": APP + "my = Celery('own')", "p/celery.py": "x = 1"},
            "p",
            "Module 'p.celery' has no attribute 'celery'",
        ),
    ],
)
def test_what_is_missing_is_said(
    files: dict[str, str], name: str, error: str, tmp_path: Path
) -> None:
    write(tmp_path, files)
    assert find(tmp_path, name) == {"error": f"\nUnable to load celery application.\n{error}"}


def test_a_module_that_fails_shows_its_traceback(tmp_path: Path) -> None:
    write(tmp_path, {"bad.py": "import no_such_dependency_at_all"})
    text = find(tmp_path, "bad")["error"]
    assert text.startswith(
        "\nUnable to load celery application.\n"
        "While trying to load the module bad the following error occurred:\nTraceback"
    )
    assert "no_such_dependency_at_all" in text
