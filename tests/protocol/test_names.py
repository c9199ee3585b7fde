"""Names on brokers and in result stores, against those seen on real ones."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol import names

OID = "7ef8716b-4605-3157-8b07-616e753da785"


def test_control_names_hang_off_the_namespace() -> None:
    assert names.control_exchange() == "celery.pidbox"
    assert names.control_queue("w1@vm") == "w1@vm.celery.pidbox"
    assert names.control_reply_exchange() == "reply.celery.pidbox"
    assert names.control_reply_queue(OID) == f"{OID}.reply.celery.pidbox"
    assert names.control_exchange("ns") == "ns.pidbox"
    assert names.control_queue("w1@vm", "ns") == "w1@vm.ns.pidbox"
    assert names.control_reply_exchange("ns") == "reply.ns.pidbox"
    assert names.control_reply_queue(OID, "ns") == f"{OID}.reply.ns.pidbox"


@pytest.mark.parametrize(
    ("event_type", "key"),
    [
        ("worker-heartbeat", "worker.heartbeat"),
        ("task-sent", "task.sent"),
        ("worker-elect-ack", "worker.elect.ack"),
    ],
)
def test_an_events_routing_key_has_dots_for_dashes(event_type: str, key: str) -> None:
    assert names.event_routing_key(event_type) == key


def test_queues_of_receivers_workers_and_broadcasts() -> None:
    assert names.event_queue("U") == "celeryev.U"
    assert names.event_queue("U", "ev") == "ev.U"
    assert names.WORKER_DIRECT_EXCHANGE == "C.dq2"
    assert names.worker_direct_queue("w1@h") == "w1@h.dq2"
    assert names.broadcast_queue("U") == "bcast.U"
    assert names.EVENT_BATCH_KEY == "task.multi"


def test_a_process_that_is_no_worker_is_called_by_pid_and_host() -> None:
    assert names.origin(26167, "vm") == "gen26167@vm"


def test_a_reply_address_is_the_uuid_of_machine_process_thread_and_object() -> None:
    # The version 3 UUID of the text 1f-a-0-ff in the namespace of object identifiers.
    assert names.reply_address(31, 10, 0, 255) == "01a6a50d-7315-3339-8baa-0d4c6f417516"
    assert names.reply_address(31, 10, 1, 255) != names.reply_address(31, 10, 0, 255)


@pytest.mark.parametrize(
    ("priority", "step"),
    [
        (0, 0),
        (1, 0),
        (2, 0),
        (3, 3),
        (5, 3),
        (6, 6),
        (7, 6),
        (8, 6),
        (9, 9),
        (255, 9),
        (-1, 0),
        (None, 0),
        ("x", 0),
        ("7", 6),
        ([], 0),
        (float("inf"), 0),
        (float("nan"), 0),
        (4.9, 3),
    ],
)
def test_a_priority_belongs_to_the_largest_step_not_above_it(priority: object, step: int) -> None:
    assert names.priority_step(priority) == step


def test_other_priority_steps_are_possible() -> None:
    assert [names.priority_step(n, [0, 5]) for n in (0, 4, 5, 9)] == [0, 0, 5, 5]


def test_each_priority_step_has_its_own_list() -> None:
    lists = [names.priority_list("celery", step) for step in names.PRIORITY_STEPS]
    assert lists == ["celery", "celery\x06\x163", "celery\x06\x166", "celery\x06\x169"]
    assert {names.queue_of_priority_list(key) for key in lists} == {"celery"}
    assert names.priority_list("q", 3, ":") == "q:3"


def test_bindings_are_members_of_a_set_per_exchange() -> None:
    assert names.binding_key("celery") == "_kombu.binding.celery"
    assert names.permanent_binding_key("celery") == "_kombu.binding_permanent.celery"
    assert names.binding_member("celery", "", "celery") == "celery\x06\x16\x06\x16celery"
    control = names.binding_member("", "", "w1@h.celery.pidbox")
    assert control == "\x06\x16\x06\x16w1@h.celery.pidbox"
    assert names.split_binding_member(control) == ("", "", "w1@h.celery.pidbox")
    assert names.split_binding_member("celery") is None


@pytest.mark.parametrize(
    ("key", "pattern"),
    [
        ("worker.#", r"^worker\..*?$"),
        ("#", r"^.*?$"),
        ("*.a.b-c", r"^[^\.]+\.a\.b\-c$"),
        ("a*b", r"^a*b$"),
        ("a.#.b", r"^a\..*?\.b$"),
        ("", "^$"),
        ("a b(c)_d", r"^a\ b\(c\)\_d$"),
        ("\0", "^\\000$"),
    ],
)
def test_a_topic_binding_keeps_kombus_regular_expression(key: str, pattern: str) -> None:
    assert names.topic_pattern(key) == pattern


@given(st.text(alphabet=st.characters(exclude_characters=".*#")))
def test_a_topic_pattern_without_wildcards_matches_its_own_key(key: str) -> None:
    assert re.match(names.topic_pattern(key), key)


def test_fanout_messages_travel_on_channels() -> None:
    assert names.fanout_channel("celery.pidbox") == "/0.celery.pidbox"
    assert names.fanout_channel("celeryev", "worker.heartbeat") == "/0.celeryev/worker.heartbeat"
    assert names.fanout_channel("celeryev", "task.sent", patterns=False) == "/0.celeryev"
    assert names.fanout_channel("celeryev", prefix="") == "celeryev"
    assert names.fanout_pattern("celeryev", "#", prefix="/3.") == "/3.celeryev/*"
    assert names.fanout_pattern("celeryev", "worker.#") == "/0.celeryev/worker.*"
    assert names.fanout_pattern("celery.pidbox", "") == "/0.celery.pidbox"


def test_the_filesystem_transport_names_files_after_queues_and_exchanges() -> None:
    unique = "21dc0ec3-d5a8-43e0-8eb7-e60b978b281c"
    name = names.message_file(2738082, unique, "celery")
    assert name == f"2738082_{unique}.celery.msg"
    assert names.queue_of_message_file(name) == "celery"
    assert (
        names.queue_of_message_file(f"1_{unique}.w1@vm.celery.pidbox.msg") == "w1@vm.celery.pidbox"
    )
    for other in ("", "x", "x.msg", ".msg", "1_2.celery.tmp"):
        assert names.queue_of_message_file(other) is None
    assert names.exchange_file("celery.pidbox") == "celery.pidbox.exchange"


def test_result_keys() -> None:
    assert names.task_meta_key("ID") == "celery-task-meta-ID"
    assert names.group_meta_key("G") == "celery-taskset-meta-G"
    assert [
        key("G").removeprefix(names.group_meta_key("G"))
        for key in (
            names.chord_parts_key,
            names.chord_extra_key,
            names.chord_size_key,
            names.chord_counted_key,
            names.chord_claim_key,
        )
    ] == [".j", ".t", ".s", ".d", ".c"]
    assert names.chord_unlock_counter_key("G") == "chord-unlock-G"


@pytest.mark.parametrize(
    ("given", "prefix"),
    [("", ""), ("myapp", "myapp_"), ("a:", "a:"), ("a_", "a_"), ("a-", "a-"), ("a.", "a.")],
)
def test_a_global_prefix_gets_an_underscore_unless_it_has_an_end(given: str, prefix: str) -> None:
    assert names.result_key_prefix(given) == prefix
