"""The guide for drivers is true: its own example is judged by the suite, and ends as the guide says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from celeriac_conformance.drivers import typed_values
from celeriac_conformance.forms import Form, call, chain, chord, chunks, group, mapped, starmapped
from celeriac_conformance.journal import Entry
from celeriac_conformance.matrix import Implementation, read_matrix
from tests.conformance.helpers import CHECKOUT, run_suite

GUIDE = (CHECKOUT / "docs/guides/write-a-driver.md").read_text("utf-8")
FILES = dict(re.findall(r"^```\w+\n# ([a-z]+\.(?:py|toml))\n(.*?)^```", GUIDE, flags=re.M | re.S))
CASES = [
    "test_a_call_with_positional_arguments_returns_its_value",
    "test_positional_and_keyword_arguments_do_not_mix",
    "test_messages_of_every_priority_are_served",
    "test_a_ping_is_answered",
]


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
def test_the_example_of_the_guide_is_judged_as_producer_and_as_worker(tmp_path: Path) -> None:
    assert set(FILES) == {"driver.py", "worker.py", "matrix.toml"}
    for name in ("driver.py", "worker.py"):
        (tmp_path / name).write_text(FILES[name])
    run = run_suite(tmp_path, FILES["matrix.toml"], CASES)
    assert run.status == 0, run.output
    producer = run.of("toy.to.celeriac-redis")
    assert producer["calls/positional-arguments"] == "passed"
    assert producer["calls/every-priority"] == "unsupported"
    worker = run.of("celeriac.to.toy-redis")
    assert worker["calls/positional-arguments"] == "passed"
    assert worker["calls/every-priority"] == "unsupported"
    assert worker["calls/mixed-arguments"] == "unsupported"
    assert worker["control/ping"] == "unsupported"


def test_the_guide_explains_every_key_of_a_row(tmp_path: Path) -> None:
    row = GUIDE[GUIDE.index("## The row") : GUIDE.index("## Environment")]
    explained = set(re.findall(r"`([a-z_]+)`", row)) | {"python"}
    assert set(Implementation.__dataclass_fields__) - {"requires_python"} <= explained
    (tmp_path / "matrix.toml").write_text(FILES["matrix.toml"])
    toy = read_matrix(tmp_path / "matrix.toml").implementations["toy"]
    assert toy.lacking("control/ping") == "it has no remote control"
    assert toy.lacking("chains/ids") == "its documentation offers no chains"
    assert toy.lacking("calls/many") is None


def test_the_guide_names_every_command_of_the_driver_of_celery() -> None:
    source = (CHECKOUT / "conformance/celeriac_conformance/drivers/celery_driver.py").read_text()
    table = source[source.index("COMMANDS = {") :]
    commands = re.findall(r'^    "(\w+)":', table[: table.index("}")], flags=re.M)
    assert {"start", "send", "wait"} <= set(commands)
    assert [name for name in commands if f"| `{name}` |" not in GUIDE] == []


def test_the_guide_names_every_typed_value_and_every_form() -> None:
    source = Path(typed_values.__file__).read_text()
    kinds = set(re.findall(r'"__type": "(\w+)"', source)) | set(typed_values._READERS)
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in GUIDE] == []
    one = call("add", 1, 2)
    forms: list[Form] = [one, chain(one), group(one), chord([one], one)]
    forms += [mapped("xsum", [[1]]), starmapped("add", [[1, 2]]), chunks("add", [[1, 2]], 1)]
    fields = {name for form in forms for name in form.to_form()}
    assert [
        name for name in sorted(fields) if f"`{name}`" not in GUIDE and f'"{name}"' not in GUIDE
    ] == []


def test_a_journal_line_of_the_guide_has_every_field() -> None:
    line = re.findall(r"^```json\n(.*?)^```", GUIDE, flags=re.M | re.S)[0]
    assert set(re.findall(r'"(\w+)":', line)) >= set(Entry.__dataclass_fields__)
