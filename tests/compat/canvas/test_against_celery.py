"""What our canvas publishes, next to what Celery 5.7.0 published for the same expressions (with redis)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from celeriac.app.app import Celery
from celeriac.canvas import chain, chord, group
from tests.compat.canvas.expressions import expressions, forms
from tests.compat.doubles import RecordingPublisher
from tests.compat.recorded import as_record, load, normalized, undeclared

RECORDED = load("canvas_messages")
FORMS = load("canvas_forms")

REVERSED = "the members of a group inside a chord's header keep their order; Celery reverses them"
PARENT = "an explicit parent_id reaches the first step of a chain; Celery drops it"
ROOT = "pending steps know the root when the caller named it"
DEVIATIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "chord-header-group": (REVERSED, ("/body/0/", "/headers/argsrepr")),
    "chord-header-one-group": (REVERSED, ("/body/0/", "/headers/argsrepr")),
    "chain-ids": (PARENT, ("/headers/parent_id",)),
    "w-chain": (PARENT, ("/headers/parent_id",)),
    "w-chord-chainheader": (PARENT, ("/headers/parent_id",)),
    "c-chain-in-group": (PARENT, ("/headers/parent_id",)),
    "c-group-of-chain-group": (f"{PARENT}; {ROOT}", ("/headers/parent_id", "/options/root_id")),
}
"""Name → reason, and the parts of paths that may differ. A deviation that is gone fails, too."""


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_an_expression_publishes_what_celery_publishes(
    name: str, app: Celery, tasks: dict[str, Any], publisher: RecordingPublisher
) -> None:
    apply = expressions(app, tasks, publisher.take)[name]
    expected = RECORDED[name]
    if "error" in expected:
        with pytest.raises(TypeError) as caught:
            apply()
        assert repr(caught.value) == expected["error"]
        return
    result = apply()
    messages = sorted((as_record(sent) for sent in publisher.take()), key=lambda m: m["queue"])
    ours = normalized(
        {"messages": messages, "result": result.as_tuple(), "type": type(result).__name__}
    )
    found = undeclared(expected, ours)
    _, allowed = DEVIATIONS.get(name, ("", ()))
    assert [path for path in found if not any(part in path for part in allowed)] == []
    assert bool(found) == bool(allowed)


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (lambda add: [add.s(1, 1), add.s(2, 2)], 2),
        (lambda add: [add.s(1, 1), group(add.s(2, 2), add.s(3, 3))], 3),
        (lambda add: [chain(add.s(1, 1), add.s(1)), add.s(2, 2)], 2),
    ],
    ids=["tasks", "group-inside", "chain-inside"],
)
def test_the_body_of_a_chord_says_how_many_parts_it_waits_for(
    header: Callable[[Any], list[Any]],
    size: int,
    app: Celery,
    tasks: dict[str, Any],
    publisher: RecordingPublisher,
) -> None:
    chord(header(tasks["add"]), app=app)(tasks["tsum"].s())
    embeds = [as_record(sent)["body"][2] for sent in publisher.take()]
    steps = [step["options"] for embed in embeds for step in embed.get("chain") or ()]
    bodies = [found["chord"] for found in (*embeds, *steps) if found.get("chord")]
    assert {body["chord_size"] for body in bodies} == {size}


@pytest.mark.parametrize("name", sorted(FORMS))
def test_a_signature_has_celerys_dict_form_and_text(name: str, tasks: dict[str, Any]) -> None:
    made = forms(tasks)[name]
    assert normalized(made) == normalized(FORMS[name]["dict"])
    assert repr(made) == FORMS[name]["repr"]
