"""What a task knows about its own call."""

from __future__ import annotations

from celeriac.app.context import Context

# [seen 5.7]: vars of the class.
DEFAULTS: dict[str, object] = {
    "args": None, "callbacks": None, "called_directly": True, "chain": None, "children": [], "chord": None,
    "correlation_id": None, "delivery_info": None, "errbacks": None, "eta": None, "expires": None, "group": None,
    "group_index": None, "headers": None, "hostname": None, "id": None, "ignore_result": False, "is_eager": False,
    "kwargs": None, "logfile": None, "loglevel": None, "origin": None, "parent_id": None, "properties": None,
    "replaced_task_nesting": 0, "reply_to": None, "retries": 0, "root_id": None, "shadow": None,
    "soft_time_limit": None, "stamped_headers": None, "stamps": None, "taskset": None, "time_limit": None,
    "timelimit": None, "utc": None,
}  # fmt: skip


def test_every_field_has_celerys_default() -> None:
    context = Context()
    assert {name: getattr(context, name) for name in DEFAULTS} == DEFAULTS


def test_fields_that_only_messages_have_are_missing_without_one() -> None:
    assert [hasattr(Context(), name) for name in ("task", "argsrepr", "kwargsrepr", "lang")] == [False] * 4  # fmt: skip


def test_limits_are_split_out_of_the_pair() -> None:
    context = Context(timelimit=[5, 2])
    assert (context.time_limit, context.soft_time_limit) == (5, 2)


def test_any_name_becomes_an_attribute() -> None:
    context = Context({"a": 1}, b=2)
    assert (context.get("a"), context.get("b"), context.get("c", 3)) == (1, 2, 3)


def test_clearing_brings_the_defaults_back() -> None:
    context = Context(id="x", retries=3)
    context.clear()
    assert (context.id, context.retries, vars(context)) == (None, 0, {})


def test_children_are_kept_and_made_when_first_used() -> None:
    assert Context(children=[1]).children == [1]
    context = Context(children=None)
    context.children.append("r")
    assert context.children == ["r"]


def test_execution_options_repeat_a_run() -> None:
    context = Context(
        id="x", root_id="r", group="g", group_index=2, shadow="s", chord="c", chain=[1], callbacks=[1],
        expires="later", timelimit=[5, 2], headers={"a": 1}, retries=3, reply_to="rt", replaced_task_nesting=1,
        origin="o", stamped_headers=["z"], stamps={"z": 1}, ignore_result=True,
    )  # fmt: skip
    assert context.as_execution_options() == {
        "task_id": "x", "root_id": "r", "parent_id": None, "group_id": "g", "group_index": 2, "shadow": "s",
        "chord": "c", "chain": [1], "link": [1], "link_error": None, "expires": "later", "soft_time_limit": 2,
        "time_limit": 5, "headers": {"a": 1}, "retries": 3, "reply_to": "rt", "replaced_task_nesting": 1,
        "origin": "o", "stamped_headers": ["z"], "z": 1,
    }  # fmt: skip


def test_headers_that_brokers_add_are_not_sent_on() -> None:
    added = {
        "x-death": [1], "x-first-death-queue": "q", "x-last-death-reason": "expired", "x-delivery-count": 3,
    }  # fmt: skip
    options = Context(headers={**added, "x-own": 1}).as_execution_options()
    assert options["headers"] == {"x-own": 1}
