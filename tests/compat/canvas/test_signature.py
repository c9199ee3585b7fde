"""Signatures as values, and what the comparison with Celery's messages does not show."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from celeriac.app.app import Celery
from celeriac.canvas import Signature, chain, chord, group, maybe_signature, signature
from celeriac.exceptions import NotRegistered
from celeriac_protocol.errors import InvalidTaskError
from tests.compat.doubles import RecordingPublisher

Tasks = dict[str, Any]


def test_partial_arguments_go_first_and_keywords_over(tasks: Tasks) -> None:
    sig = tasks["add"].signature((2,), {"y": 1}, queue="q", priority=3)
    made = sig.clone((1,), {"y": 5}, priority=4)
    assert (made.args, made.kwargs, made.options) == (
        (1, 2),
        {"y": 5},
        {"queue": "q", "priority": 4},
    )
    assert sig == tasks["add"].signature((2,), {"y": 1}, queue="q", priority=3)


def test_a_chain_unwraps_a_group_of_one_at_its_start_an_operator_does_not(tasks: Tasks) -> None:
    add = tasks["add"]
    one, pair = group([add.s(1, 1)]), group([add.s(2), add.s(3)])
    assert repr(chain(one, add.s(2))) == "proj.add(1, 1) | add(2)"
    assert repr(chain([one, pair])) == "proj.add(1, 1) | group([add(2), add(3)])"
    assert chain(group([]), add.s(2)).tasks == [add.s(2)]
    assert isinstance(one | add.s(2), chord)
    assert isinstance(chain(pair, add.s(2)), chord)


def test_groups_and_stamps_keep_their_own_value(tasks: Tasks) -> None:
    sig = tasks["add"].s().set(group_id="g", stamped_headers=["z"], z=1)
    options = sig.clone(group_id="other", stamped_headers=["y"], z=2, y=3).options
    assert options == {"group_id": "g", "stamped_headers": ["z"], "z": 1, "y": 3}


def test_an_immutable_signature_takes_options_only(tasks: Tasks) -> None:
    made = tasks["add"].si(1, 2).clone((9,), {"k": 1}, queue="q")
    assert (made.args, made.kwargs, made.options) == ((1, 2), {}, {"queue": "q"})


def test_freezing_fixes_the_id_once(app: Celery, tasks: Tasks) -> None:
    sig = tasks["add"].s(1)
    body = tasks["tsum"].s()
    sig.freeze("ID", group_id="G", chord=body, root_id="R", parent_id="P", group_index=3)
    result = sig.freeze("ID2", group_id="G2", root_id="R2", group_index=4)
    assert result.id == sig.id == "ID"
    assert sig.options == {
        "task_id": "ID", "root_id": "R2", "parent_id": "P", "reply_to": app.thread_oid, "group_id": "G",
        "chord": body, "group_index": 4,
    }  # fmt: skip


def test_the_same_signature_may_be_a_member_twice(
    tasks: Tasks, publisher: RecordingPublisher
) -> None:
    same = tasks["add"].s(1, 1)
    frozen = group([same, same])
    assert len({result.id for result in frozen.freeze().results}) == 2
    group([same, same])()
    chain(same, same.set(immutable=True)).freeze()
    assert len({sent.headers["id"] for sent in publisher.take()}) == 2


def test_a_link_is_added_once_and_to_a_list(tasks: Tasks) -> None:
    sig, callback = tasks["add"].s(1), tasks["cb"].s()
    assert sig.link(callback) is callback
    sig.link(tasks["cb"].s())
    assert sig.options["link"] == [callback]
    bare = tasks["add"].s(1).set(link=callback)
    bare.link(tasks["cb"].s(1))
    assert bare.options["link"] == [callback, tasks["cb"].s(1)]
    assert bare.flatten_links() == [bare, callback, tasks["cb"].s(1)]
    assert sig.on_error(tasks["err"].s()) is sig


def test_composing_changes_neither_side(tasks: Tasks) -> None:
    add = tasks["add"]
    left, right = add.s(1) | add.s(2), add.s(3) | add.s(4)
    before = copy.deepcopy((left, right))
    combined = left | right
    combined.tasks[0].options["queue"] = "q"
    assert (left, right) == before
    assert len(combined.tasks) == 4


def test_links_of_a_chain_move_to_its_steps_when_it_grows(tasks: Tasks) -> None:
    add = tasks["add"]
    first = add.s(1) | add.s(2)
    first.link(tasks["cb"].s())
    first.link_error(tasks["err"].s())
    grown = first | add.s(3)
    assert [step.options for step in grown.tasks] == [
        {"link_error": [tasks["err"].s()]},
        {"link_error": [tasks["err"].s()], "link": [tasks["cb"].s()]},
        {},
    ]


@pytest.mark.parametrize("other", [3, None, "x", []])
def test_only_signatures_can_follow(other: Any, tasks: Tasks) -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        tasks["add"].s(1) | other


def test_a_group_has_no_links_of_its_own(tasks: Tasks) -> None:
    members = group(tasks["add"].s(1, 1))
    with pytest.raises(TypeError, match="Cannot add link to group: use a chord"):
        members.apply_async(link=tasks["cb"].s())


def test_immutability_reaches_the_members(tasks: Tasks) -> None:
    members = group(tasks["add"].s(1), tasks["add"].s(2))
    members.set_immutable(True)
    assert [member.immutable for member in members.tasks] == [True, True]
    made = chord([tasks["add"].s(1)], tasks["tsum"].s())
    made.set_immutable(True)
    assert (made.tasks[0].immutable, made.body.immutable) == (True, False)


def test_dict_forms_become_the_right_kind(app: Celery, tasks: Tasks) -> None:
    add, tsum = tasks["add"], tasks["tsum"]
    made = add.s(1) | chord([add.s(1), group(add.s(2))], tsum.s())
    plain = pickle.loads(pickle.dumps(dict(made)))
    read = maybe_signature(plain, app=app)
    assert (type(read), type(read.tasks[1]), type(read.tasks[1].body)) == (chain, chord, Signature)
    assert read.app is app
    assert maybe_signature(None) is None
    assert maybe_signature(read) is read
    assert maybe_signature(read, clone=True) is not read


def test_forms_of_old_versions_are_read(
    app: Celery, tasks: Tasks, publisher: RecordingPublisher
) -> None:
    """4.x: `chord_size`, a copy of the body in each header task, keyword arguments wrapped at each clone."""

    def form(task: str, args: list[Any], options: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {
            "task": task, "args": args, "kwargs": {}, "options": options, "subtask_type": None,
            "chord_size": None, "immutable": False, **more,
        }  # fmt: skip

    body = form("proj.tsum", [], {"task_id": "B", "reply_to": "RT"}, chord_size=1)
    copy_of_body = form("proj.cb", [], {"task_id": "OLD"})
    member = form("proj.add", [2], {"task_id": "M", "reply_to": "RT", "chord": copy_of_body})
    header = form(
        "celery.group", [], {"task_id": "GG", "chord": None}, subtask_type="group", kwargs={"tasks": [member]}
    )  # fmt: skip
    old = form(
        "celery.chord", [], {"task_id": "GG"}, subtask_type="chord",
        kwargs={"kwargs": {"kwargs": {"kwargs": {}}}, "header": header, "body": body},
    )  # fmt: skip
    result = maybe_signature(old, app=app).apply_async((5,), chain=[], root_id="R", parent_id="P")
    (sent,) = publisher.take()
    assert (result.id, result.parent.id) == ("B", "GG")
    assert (sent.body[0], sent.body[1]) == ([5, 2], {})
    headers = sent.headers
    assert (headers["id"], headers["group"], headers["root_id"], headers["parent_id"]) == (
        "M",
        "GG",
        "R",
        "P",
    )
    assert sent.embed["chord"]["options"]["task_id"] == "B"
    assert sent.embed["chord"]["chord_size"] == 1


@pytest.mark.parametrize(
    "bad", [{}, {"task": "x"}, {"task": "x", "options": {}, "subtask_type": "bogus"}]
)
def test_broken_forms_are_refused(bad: dict[str, Any], app: Celery) -> None:
    with pytest.raises(InvalidTaskError):
        signature(bad, app=app)


def test_a_signature_pickles_and_copies(tasks: Tasks) -> None:
    made = tasks["add"].s(1) | group([tasks["add"].s(2), tasks["add"].s(3)])
    loaded = pickle.loads(pickle.dumps(made))
    assert (type(loaded), type(loaded.tasks[1]), repr(loaded)) == (chain, group, repr(made))
    assert copy.deepcopy(made) == made


def test_the_task_behind_a_name_must_be_registered_to_run_here(app: Celery) -> None:
    with pytest.raises(NotRegistered):
        signature("un.known", app=app)()


def test_signatures_can_be_called_like_functions(tasks: Tasks) -> None:
    assert tasks["add"].s(2)(1) == 3
    assert tasks["add"].si(2, 2)(1) == 4


def test_an_app_is_found_in_the_parts(app: Celery, tasks: Tasks) -> None:
    made = chord([tasks["add"].s(1)], tasks["tsum"].s()) | group(
        tasks["add"].s(1), tasks["add"].s(2)
    )
    Celery("other", broker="memory://")
    assert made.app is app


@pytest.mark.parametrize("backend", ["rpc://", "disabled://"])
def test_chords_are_refused_where_the_backend_cannot_do_them(
    backend: str, publisher: RecordingPublisher
) -> None:
    app = Celery("proj", broker="memory://", backend=backend)
    app.publisher = publisher
    add = app.task(lambda x: x, name="proj.one", shared=False, lazy=False, typing=False)
    with pytest.raises(NotImplementedError, match="a group chained with a task is also upgraded"):
        chord([add.s(1)])(add.s())
    with pytest.raises(NotImplementedError):
        (add.s(1) | group(add.s(1), add.s(2)) | add.s()).freeze()
    assert publisher.sent == []


def test_a_chord_needs_a_body(tasks: Tasks) -> None:
    with pytest.raises(TypeError, match="a chord needs a body"):
        chord([tasks["add"].s(1)])()


def test_the_size_of_a_chord_is_known_before_its_last_part_is_sent(
    app: Celery, tasks: Tasks, publisher: RecordingPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []
    monkeypatch.setattr(
        type(app.backend), "start_chord",
        lambda self, group_id, size: sizes.append((size, len(publisher.sent))),
    )  # fmt: skip
    add, cb = tasks["add"], tasks["cb"]
    chord([add.s(1, 1) | group(add.s(1), add.s(2)), group(add.s(2, 2)), add.s(3, 3)])(cb.s())
    assert sizes == [(4, 2)]


def test_eager_workflows_give_what_workers_would(app: Celery, tasks: Tasks) -> None:
    app.conf.task_always_eager = True
    add, tsum, cb = tasks["add"], tasks["tsum"], tasks["cb"]
    assert (add.s(1, 2) | add.s(3)).apply_async().get() == 6
    assert group(add.s(1, 1), add.s(2, 2))().get() == [2, 4]
    assert chord([add.s(1, 1), add.s(2, 2)])(tsum.s()).get() == 6
    result = (add.s(1, 1) | group(add.s(1), add.s(2)) | tsum.s() | add.s(4))()
    assert (result.get(), result.parent.get()) == (11, 7)
    assert (group(add.s(1, 1), add.s(2, 2)) | group(cb.s(7), cb.s(8)))().get() == [
        ([2, 4], 7),
        ([2, 4], 8),
    ]
    assert ~add.s(1, 2) == 3
    assert add.map([]).apply_async().get() == []


def test_an_empty_chain_applies_to_nothing(tasks: Tasks) -> None:
    assert chain()() is None
    assert chain().apply_async() is None
    assert (chain() | tasks["add"].s(1)).tasks == [tasks["add"].s(1)]


def test_errbacks_on_the_header_are_optional(app: Celery, tasks: Tasks) -> None:
    app.conf.task_allow_error_cb_on_chord_header = True
    made = chord([tasks["add"].s(1, 1)], tasks["tsum"].s())
    made.link_error(tasks["err"].s())
    (errback,) = made.tasks[0].options["link_error"]
    assert (errback.immutable, errback.options) == (False, {"immutable": True})
    assert made.body.options["link_error"] == [tasks["err"].s()]
