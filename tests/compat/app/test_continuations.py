from __future__ import annotations

from typing import Any

from celeriac.app.continuations import after_failure, after_success, pending_steps
from celeriac_protocol.signature import chain_dict, chord_dict, group_dict, signature_dict


def sig(name: str, task_id: str | None = None, **options: Any) -> dict[str, Any]:
    if task_id is not None:
        options["task_id"] = task_id
    return dict(signature_dict(name, options=options))


def success(**fields: Any) -> list[Any]:
    return after_success(
        **{"callbacks": None, "chain": None, "retval": 7, "task_id": "t", "root_id": "r", **fields}
    )


def test_nothing_follows_a_task_without_links() -> None:
    assert success() == []
    assert success(callbacks=[], chain=[]) == []


def test_one_callback_is_applied_as_it_is_with_the_value_and_the_family() -> None:
    (item,) = success(callbacks=[sig("cb")])
    assert (item.signature, item.args, item.options) == (
        sig("cb"),
        (7,),
        {"parent_id": "t", "root_id": "r"},
    )


def test_several_plain_callbacks_become_one_group_and_groups_stay_on_their_own() -> None:
    inner = dict(group_dict([sig("x")]))
    first, second = success(callbacks=[sig("a"), inner, sig("b")])
    assert first.signature == inner
    assert second.signature["subtask_type"] == "group"
    assert [task["task"] for task in second.signature["kwargs"]["tasks"]] == ["a", "b"]


def test_the_next_chain_step_is_the_last_element_and_takes_the_rest_along() -> None:
    steps = [sig("c", "3"), sig("b", "2")]
    (item,) = success(chain=steps)
    assert item.signature == steps[1]
    assert item.options["chain"] == [steps[0]]


def test_callbacks_come_before_the_chain() -> None:
    assert [
        item.signature["task"] for item in success(callbacks=[sig("cb")], chain=[sig("step")])
    ] == ["cb", "step"]


def test_a_task_without_root_is_the_root_of_what_follows() -> None:
    (item,) = success(callbacks=[sig("cb")], root_id=None)
    assert item.options["root_id"] == "t"


def test_priority_is_passed_on_only_when_given() -> None:
    assert "priority" not in success(callbacks=[sig("cb")])[0].options
    assert success(callbacks=[sig("cb")], priority=4)[0].options["priority"] == 4


def test_errbacks_are_split_by_style_and_the_old_ones_sent_as_one_group() -> None:
    plan = after_failure(
        errbacks=[sig("new"), sig("old1"), sig("old2")],
        task_id="t",
        root_id=None,
        takes_context=lambda signature: signature["task"] == "new",
    )
    assert [signature["task"] for signature in plan.called] == ["new"]
    assert plan.sent is not None
    assert plan.sent.args == ("t",)
    assert [task["task"] for task in plan.sent.signature["kwargs"]["tasks"]] == ["old1", "old2"]
    assert plan.sent.options == {"parent_id": "t", "root_id": "t"}


def test_no_errbacks_means_nothing_to_do() -> None:
    plan = after_failure(
        errbacks=None, task_id="t", root_id=None, takes_context=lambda signature: True
    )
    assert plan.called == ()
    assert plan.sent is None


def test_the_pending_steps_of_a_chain_are_told_nearest_first_with_chord_bodies_and_groups() -> None:
    chord = chord_dict([sig("h", "header")], sig("body", "body", chain=[sig("after", "after")]))
    group = group_dict([sig("g1", "g1"), sig("g2", "g2")])
    steps = [group, chord, sig("b", "b", group_id="G", group_index=1, chord=sig("outer", "outer"))]
    found = list(pending_steps(steps))
    assert [step.task_id for step in found] == ["b", "body", "after", "g1", "g2"]
    assert (found[0].group, found[0].group_index) == ("G", 1)
    assert found[0].chord is not None


def test_the_steps_of_a_chain_signature_are_found_too() -> None:
    inner = chain_dict([sig("x", "x"), sig("y", "y")])
    assert [step.task_id for step in pending_steps([inner])] == ["x", "y"]


def test_a_step_without_id_cannot_be_told() -> None:
    assert list(pending_steps([sig("nameless")])) == []
