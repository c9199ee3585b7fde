"""Canvases inside canvases, empty ones, and what each part is told of the stamps it was given."""

from __future__ import annotations

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange
from celeriac_conformance.forms import call, chain, chord, group, mapped, pipe, starmapped


@case("chains/empty", spec="results-and-workflows#6.1")
def test_an_empty_chain_sends_nothing(exchange: Exchange) -> None:
    assert exchange.producer.client.request("send", form=chain(), options={}) is None


@case("chains/of-chains", spec="results-and-workflows#6.1")
def test_chains_in_a_chain_are_spliced(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        chain(
            chain(call("add", 1, 1), call("mul", 3)),
            chain(call("add", 4), chain(call("mul", 2), call("add", 1))),
        )
    )
    assert exchange.producer.result(sent) == 21
    assert len(sent.parents) == 4


@case("chains/single-member-group", spec="results-and-workflows#6.1")
def test_a_group_of_one_in_a_chain_is_just_a_step(exchange: Exchange) -> None:
    sent = exchange.producer.run(pipe(call("add", 1, 1), group(call("add", 2)), call("add", 3)))
    assert exchange.producer.result(sent) == 7


@case("chains/mapped-step", spec="results-and-workflows#6.4 task-message#8.3")
def test_a_mapped_step_takes_its_own_items_and_hands_its_list_on(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        chain(call("add", 1, 1), starmapped("add", [[1, 2], [3, 4]]), call("xsum"))
    )
    assert exchange.producer.result(sent) == 10


@case("chains/unstamped-children", spec="task-message#9", since="5.3")
def test_what_a_stamped_task_calls_is_not_stamped(exchange: Exchange) -> None:
    sent = exchange.producer.run(call("spawn", 1).stamped(trace="abc"))
    (child,) = exchange.producer.result(sent)
    assert exchange.journal.runs(sent.id)[0].request["stamps"] == {"trace": "abc"}
    assert not exchange.wait_run(child)[0].request["stamps"]


@case("links/stamped", spec="task-message#9", since="5.3")
def test_a_callback_present_at_stamping_is_stamped_too(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        call("add", 1, 1).link(call("collect")).stamped(trace="abc", level=[1, 2])
    )
    (child,) = exchange.producer.wait(sent).children
    for task_id in (sent.id, child.id):
        request = exchange.wait_run(task_id)[0].request
        assert request["stamps"] == {"trace": "abc", "level": [1, 2]}
        assert sorted(request["stamped_headers"]) == ["level", "trace"]


@case("links/mapped", spec="results-and-workflows#6.4", since="5.7")
def test_a_callback_of_map_gets_the_list(exchange: Exchange) -> None:
    sent = exchange.producer.run(mapped("xsum", [[1, 2], [3, 4]]).link(call("xsum")))
    (child,) = exchange.producer.wait(sent).children
    assert exchange.wait_run(child)[0].extra["numbers"] == [3, 7]


@case("groups/empty", spec="results-and-workflows#6.2")
def test_an_empty_group_has_an_empty_list_of_results(exchange: Exchange) -> None:
    sent = exchange.producer.run(group())
    assert (sent.kind, sent.members) == ("group", ())
    assert exchange.producer.result(sent) == []


@case("groups/of-groups", spec="results-and-workflows#6.2")
def test_a_group_in_a_group_is_flattened(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        group(group(call("add", 1, 1), call("add", 2, 2)), call("add", 3, 3))
    )
    assert sorted(exchange.producer.result(sent)) == [2, 4, 6]
    assert len(sent.members) == 3
    for member in sent.members:
        assert exchange.journal.runs(member.id)[0].request["group"] == sent.id


@case("groups/single-member", spec="results-and-workflows#6.8")
def test_a_group_of_one_is_still_a_group(exchange: Exchange) -> None:
    sent = exchange.producer.run(group(call("add", 1, 1)))
    assert exchange.producer.result(sent) == [2]
    assert exchange.journal.runs(sent.members[0].id)[0].request["group"] == sent.id


@case("groups/stamped", spec="task-message#9", since="5.3")
def test_every_member_carries_the_stamps_of_its_group(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        group(call("add", 1, 1), chain(call("add", 2, 2), call("add", 1))).stamped(trace="abc")
    )
    assert exchange.producer.result(sent) == [2, 5]
    ids = [sent.members[0].id, sent.members[1].id, *sent.members[1].parents]
    assert len(ids) == 3
    for task_id in ids:
        assert exchange.journal.runs(task_id)[0].request["stamps"] == {"trace": "abc"}


@case("groups/callback", spec="results-and-workflows#6.2", since="5.3")
def test_a_callback_of_a_group_hangs_on_its_first_member_and_takes_no_result(
    exchange: Exchange,
) -> None:
    marker = exchange.marker().name
    sent = exchange.producer.run(
        group(call("add", 1, 1), call("add", 2, 2)).link(call("collect", marker))
    )
    assert exchange.producer.result(sent) == [2, 4]
    first, second = (exchange.producer.wait(member) for member in sent.members)
    (child,) = first.children
    assert exchange.wait_run(child)[0].extra["args"] == [marker]
    assert second.children == []


@case("chords/immutable-body", spec="task-message#8.1", needs=["chords"])
def test_an_immutable_body_takes_no_results(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        chord([call("add", 1, 1), call("add", 2, 2)], call("add", 40, 2, immutable=True))
    )
    assert exchange.producer.result(sent) == 42


@case("chords/group-in-header", spec="results-and-workflows#6.3", since="5.0", needs=["chords"])
def test_a_group_in_a_header_is_flattened(exchange: Exchange) -> None:
    """Only the values are asked for: real Celery sends the inner members in reverse, and we keep their order."""
    sent = exchange.producer.run(
        chord([group(call("add", 1, 0), call("add", 2, 0)), call("add", 3, 0)], call("collect"))
    )
    ((values,),) = [exchange.producer.result(sent)]
    assert sorted(values) == [1, 2, 3]


@case("chords/three-levels", spec="results-and-workflows#6.8", since="5.3", needs=["chords"])
def test_chords_in_chords_in_chords_complete(exchange: Exchange) -> None:
    innermost = chord([call("add", 1, 0), call("add", 2, 0)], call("xsum"))
    inner = chord([innermost, call("add", 3, 0)], call("xsum"))
    sent = exchange.producer.run(chord([inner, call("add", 4, 0)], call("xsum")))
    assert exchange.producer.result(sent) == 10


@case("chords/deeply-mixed", spec="results-and-workflows#6.8", since="5.6", needs=["chords"])
def test_a_chain_in_a_group_in_a_chord_in_a_chain_completes(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        chain(
            call("add", 1, 0),
            group(chain(call("add", 1), call("mul", 10)), call("add", 5)),
            call("xsum"),
            group(call("add", 100), chain(call("add", 200), call("mul", 2))),
            call("xsum"),
            call("add", 1),
        )
    )
    # 1 → [20, 6] → 26 → [126, 452] → 578 → 579
    assert exchange.producer.result(sent) == 579


@case(
    "chords/chord-in-a-chain-in-a-header",
    spec="results-and-workflows#6.8",
    since="5.6",
    needs=["chords"],
)
def test_a_chain_with_a_chord_inside_counts_as_one_header_task(exchange: Exchange) -> None:
    part = chain(call("add", 1, 1), group(call("add", 1), call("add", 2)), call("xsum"))
    sent = exchange.producer.run(chord([part, call("add", 100, 0)], call("xsum")))
    assert exchange.producer.result(sent) == 107


@case("chords/many-header-tasks", spec="results-and-workflows#6.5", since="5.0", needs=["chords"])
def test_a_header_of_many_keeps_its_order(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        chord([call("add", number, 0) for number in range(40)], call("collect"))
    )
    assert exchange.producer.result(sent) == [list(range(40))]


@case("chords/what-get-raises", spec="results-and-workflows#6.6", since="5.0", needs=["chords"])
def test_get_raises_what_the_header_task_raised(exchange: Exchange) -> None:
    sent = exchange.producer.run(chord([call("fail", "ValueError", "bad")], call("xsum")))
    exchange.producer.wait(sent)
    raised = exchange.producer.wait(sent, propagate=True).raised
    assert raised is not None
    assert (raised.type, raised.args) == ("ValueError", ["bad"])


@case(
    "chords/steps-after-a-failure", spec="results-and-workflows#6.6", since="5.7", needs=["chords"]
)
def test_steps_after_a_failed_chord_fail_as_well(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        chain(
            group(call("fail", "ValueError", "bad"), call("add", 1, 1)),
            call("xsum"),
            call("add", 1),
        )
    )
    answer = exchange.producer.wait(sent)
    assert answer.state == "FAILURE"
    assert exchange.journal.runs(sent.id) == []


@case(
    "chords/failure-inside-a-header",
    spec="results-and-workflows#6.6 results-and-workflows#8",
    needs=["chords"],
    control=False,
)
def test_a_failed_chord_in_a_header_fails_the_outer_chord(exchange: Exchange) -> None:
    """Between real Celerys the outer chord stays pending for ever; we hand the failure on, as of any header task."""
    inner = chord([call("fail", "ValueError", "bad"), call("add", 1, 1)], call("xsum"))
    sent = exchange.producer.run(chord([inner, call("add", 2, 2)], call("xsum")))
    answer = exchange.producer.wait(sent, timeout_s=8)
    assert answer.raised is not None
    assert (answer.state, answer.raised.type) == ("FAILURE", "ChordError")


@case("chords/stamped-body", spec="task-message#9", since="5.3", needs=["chords"])
def test_a_body_carries_the_stamps_it_was_given_itself(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        chord([call("add", 1, 1).stamped(part="header")], call("xsum").stamped(part="body"))
    )
    assert exchange.producer.result(sent) == 2
    assert exchange.journal.runs(sent.id)[0].request["stamps"] == {"part": "body"}
    (header,) = [
        run
        for run in exchange.journal.entries(event="run", task="add")
        if run.request["group"] == sent.parents[0]
    ]
    assert header.request["stamps"] == {"part": "header"}


@case("chords/enlarged-twice", spec="results-and-workflows#6.7", needs=["chords", "redis-results"])
def test_two_header_tasks_can_each_add_another(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        chord(
            [call("enlarge_chord", 100, 5), call("enlarge_chord", 10, 1), call("add", 1, 1)],
            call("xsum"),
        )
    )
    assert exchange.producer.result(sent) == 118


@case(
    "replace/in-a-header-by-a-chain",
    spec="results-and-workflows#6.7",
    since="5.3",
    needs=["chords"],
)
def test_a_header_task_replaced_by_a_chain_counts_with_its_end(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        chord([call("replace_with_chain", 1, 2, 3), call("add", 1, 1)], call("xsum"))
    )
    assert exchange.producer.result(sent) == 8


@case(
    "replace/in-a-header-by-a-group",
    spec="results-and-workflows#6.7",
    since="5.6",
    needs=["chords"],
)
def test_a_header_task_replaced_by_a_group_counts_with_its_list(exchange: Exchange) -> None:
    sent = exchange.producer.run(
        chord([call("replace_with_group", [1, 2, 3]), call("add", 1, 1)], call("collect"))
    )
    assert exchange.producer.result(sent) == [[[1, 2, 3], 2]]


@case("replace/by-a-chord", spec="results-and-workflows#6.7", since="5.3", needs=["chords"])
def test_a_task_replaced_by_a_chord_has_the_result_of_its_body(exchange: Exchange) -> None:
    sent = exchange.producer.send("replace_with_chord", [[1, 2, 3]])
    assert exchange.producer.result(sent) == 6
    assert exchange.journal.runs(sent.id)[-1].task == "xsum"


@case("replace/twice", spec="task-message#7.4", since="5.3", needs=["stored-results"])
def test_a_replacement_can_be_replaced(exchange: Exchange) -> None:
    sent = exchange.producer.send("replace_twice", [20, 22])
    assert exchange.producer.result(sent) == 42
    runs = exchange.journal.runs(sent.id)
    assert [run.task for run in runs] == ["replace_twice", "replace_with_add", "add"]
    assert [run.request["replaced_task_nesting"] for run in runs] == [0, 1, 2]


@case("replace/errbacks", spec="results-and-workflows#6.7", since="5.2", needs=["stored-results"])
def test_an_errback_follows_the_replacement(exchange: Exchange) -> None:
    sent = exchange.producer.send("replace_with_fail", ["bad"], link_error=[call("errback_new")])
    assert exchange.producer.wait(sent).state == "FAILURE"
    (entry,) = exchange.journal.wait(event="errback", id=sent.id)
    assert entry.extra["error"]["value"]["args"] == ["bad"]


@case("replace/unstamped", spec="task-message#9", since="5.3", needs=["stored-results"])
def test_a_replacement_does_not_inherit_stamps(exchange: Exchange) -> None:
    sent = exchange.producer.run(call("replace_with_add", 20, 22).stamped(trace="abc"))
    assert exchange.producer.result(sent) == 42
    first, second = exchange.journal.runs(sent.id)
    assert first.request["stamps"] == {"trace": "abc"}
    assert not second.request["stamps"]
