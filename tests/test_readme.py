"""What the README tells people to type is there, and what it shows runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    return [body for found, body in FENCE.findall(text) if found == language]


def commands(path: Path) -> list[list[str]]:
    lines = "\n".join(blocks(path.read_text(encoding="utf-8"), "console")).splitlines()
    return [shlex.split(line[2:], comments=True) for line in lines if line.startswith("$ ")]


COMMANDS = [
    pytest.param(words, id=f"{path.relative_to(ROOT)}: {' '.join(words)}")
    for path in GUIDES
    for words in commands(path)
]


def helps(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "celeriac", *arguments, "--help"],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_that_people_are_told_to_type_exists(words: list[str]) -> None:
    program, *arguments = words
    if program == "make":
        targets = {word for word in arguments if "=" not in word}
        assert targets
        assert targets <= TARGETS
    elif program == "celeriac":
        done = helps("worker")
        assert done.returncode == 0
        options = {word for word in arguments if re.fullmatch(r"-\w|--[\w-]+", word)} - {"-A"}
        assert all(re.search(rf"(^|\W){option}\b", done.stdout) for option in options)
        assert "worker" in arguments
    elif program.startswith("scripts/"):
        assert (ROOT / program).stat().st_mode & 0o111
    elif program == "pytest":
        sources = (ROOT / "conformance/celeriac_conformance").rglob("*.py")
        known = "".join(source.read_text() for source in sources)
        options = {word for word in arguments if word.startswith("--")} - {"--junitxml"}
        assert [option for option in options if f'"{option}"' not in known] == []
    elif program == "python":
        assert arguments[:2] == ["-m", "celeriac_conformance"]
        done = subprocess.run(
            [sys.executable, *arguments[:3], "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        options = {word for word in arguments if word.startswith("--")}
        assert [option for option in options if option not in done.stdout] == []
    else:
        assert program in {"pip", "tox"}


def test_the_program_helps_itself() -> None:
    done = helps()
    assert done.returncode == 0
    assert "worker" in done.stdout


def test_every_target_in_the_readme_says_what_it_does() -> None:
    described = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, flags=re.MULTILINE))
    assert {"demo", "test", "lint", "type", "docs", "bench", "dist", "clean", "help"} <= described


def test_the_python_in_the_readme_runs() -> None:
    for number, body in enumerate(blocks(README, "python")):
        namespace: dict[str, object] = {}
        exec(compile(body, f"README.md block {number}", "exec"), namespace)
        for name, value in namespace.items():
            if name.startswith("test_") and callable(value):
                value()


def test_every_folder_in_the_layout_table_is_there() -> None:
    table = README.partition("## Layout")[2].partition("\n## ")[0]
    folders = re.findall(r"^\| `([^`]+)`", table, flags=re.MULTILINE)
    assert folders
    assert [folder for folder in folders if not (ROOT / folder).exists()] == []


def test_relative_links_lead_somewhere() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in GUIDES
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
        if not (path.parent / target).exists()
    ]
    assert broken == []
