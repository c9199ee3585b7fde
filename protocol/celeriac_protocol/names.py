"""Every exchange, queue, routing key, channel and storage key, each from one small function.

Whatever is random or taken from the machine (ids, host, pid) comes in as an argument.

Spec: transports#1.2, transports#2.1, transports#3.1, control-and-events#1.1, results-and-workflows#2
"""

from __future__ import annotations

import uuid
from bisect import bisect
from collections.abc import Sequence

__all__ = [
    "BINDING_DEADLINES",
    "EVENT_BATCH_KEY",
    "PRIORITY_SEPARATOR",
    "PRIORITY_STEPS",
    "UNACKED",
    "UNACKED_INDEX",
    "UNACKED_MUTEX",
    "WORKER_DIRECT_EXCHANGE",
    "binding_key",
    "binding_member",
    "broadcast_queue",
    "chord_claim_key",
    "chord_counted_key",
    "chord_extra_key",
    "chord_parts_key",
    "chord_size_key",
    "chord_unlock_counter_key",
    "control_exchange",
    "control_queue",
    "control_reply_exchange",
    "control_reply_queue",
    "event_queue",
    "event_routing_key",
    "exchange_file",
    "fanout_channel",
    "fanout_pattern",
    "group_meta_key",
    "message_file",
    "origin",
    "permanent_binding_key",
    "priority_list",
    "priority_step",
    "queue_of_message_file",
    "queue_of_priority_list",
    "reply_address",
    "result_key_prefix",
    "split_binding_member",
    "task_meta_key",
    "topic_pattern",
    "worker_direct_queue",
]

# -- control and events: the same names on every broker -----------------------------------------------------------


def control_exchange(namespace: str = "celery") -> str:
    """Return the fanout exchange that remote control requests go to."""
    return f"{namespace}.pidbox"


def control_queue(node: str, namespace: str = "celery") -> str:
    """Return the queue of one worker's control requests."""
    return f"{node}.{namespace}.pidbox"


def control_reply_exchange(namespace: str = "celery") -> str:
    """Return the direct exchange that replies go to."""
    return f"reply.{namespace}.pidbox"


def control_reply_queue(address: str, namespace: str = "celery") -> str:
    """Return the queue of one client's replies; its routing key is `address` itself."""
    return f"{address}.reply.{namespace}.pidbox"


EVENT_BATCH_KEY = "task.multi"
"""Routing key of a message whose body is a list of task events."""


def event_routing_key(event_type: str) -> str:
    """Return the routing key of an event: ``worker-elect-ack`` → ``worker.elect.ack``."""
    return event_type.replace("-", ".")


def event_queue(unique: str, prefix: str = "celeryev") -> str:
    """Return the queue of one event receiver."""
    return f"{prefix}.{unique}"


# -- tasks --------------------------------------------------------------------------------------------------------

WORKER_DIRECT_EXCHANGE = "C.dq2"


def worker_direct_queue(node: str) -> str:
    """Return the queue only this worker consumes; its routing key is `node` itself."""
    return f"{node}.dq2"


def broadcast_queue(unique: str) -> str:
    """Return one worker's queue of a broadcast exchange."""
    return f"bcast.{unique}"


def origin(pid: int, host: str) -> str:
    """Return what a process that is no worker calls itself: the `origin` header, the hostname of its events."""
    return f"gen{pid}@{host}"


def reply_address(node_id: int, pid: int, thread_id: int, object_id: int) -> str:
    """Return the address under which one thread of one process receives rpc results and control replies.

    Args:
        node_id: Any number that tells machines apart, e.g. `uuid.getnode()` or a random one.
        pid: Process id.
        thread_id: `threading.get_ident()`, or 0 for an address of the whole process.
        object_id: Tells several apps of one process apart.
    """
    return str(uuid.uuid3(uuid.NAMESPACE_OID, f"{node_id:x}-{pid:x}-{thread_id:x}-{object_id:x}"))


# -- redis: queues and bookkeeping --------------------------------------------------------------------------------

PRIORITY_SEPARATOR = "\x06\x16"
PRIORITY_STEPS = (0, 3, 6, 9)

UNACKED = "unacked"
"""Hash: delivery tag → JSON ``[envelope, exchange, routing key]`` of a held delivery."""
UNACKED_INDEX = "unacked_index"
"""Sorted set: delivery tag, scored by the time of delivery."""
UNACKED_MUTEX = "unacked_mutex"
"""Lock of whoever puts overdue deliveries back."""
BINDING_DEADLINES = "_kombu.binding_deadlines"
"""Sorted set: exchange, scored by the time in ms when its bindings of expiring queues may go. Kombu 5.7."""


_TOPIC_WILDCARDS = {"*": r"[^\.]+", "#": r".*?"}


def priority_step(priority: object, steps: Sequence[int] = PRIORITY_STEPS) -> int:
    """Return the step a message's priority belongs to: the largest not above it; 0 is served first.

    Args:
        priority: As it arrived; what is no number counts as 0, and numbers are held within 0 to 9.
        steps: Ascending, beginning with 0.
    """
    try:
        number = max(0, min(9, int(priority)))  # type: ignore[call-overload]  # what cannot raises
    except (TypeError, ValueError, OverflowError):
        number = 0
    return steps[bisect(steps, number) - 1]


def priority_list(queue: str, step: int, separator: str = PRIORITY_SEPARATOR) -> str:
    """Return the list that holds a queue's messages of one priority step."""
    return f"{queue}{separator}{step}" if step else queue


def queue_of_priority_list(key: str, separator: str = PRIORITY_SEPARATOR) -> str:
    """Return the queue a list belongs to."""
    return key.partition(separator)[0]


def binding_key(exchange: str) -> str:
    """Return the set of an exchange's bindings."""
    return f"_kombu.binding.{exchange}"


def permanent_binding_key(exchange: str) -> str:
    """Return the set of those bindings whose queue never expires. Kombu 5.7."""
    return f"_kombu.binding_permanent.{exchange}"


def binding_member(routing_key: str, pattern: str, queue: str) -> str:
    """Return one binding as a member of those sets; `pattern` is empty unless the exchange is a topic."""
    return PRIORITY_SEPARATOR.join((routing_key, pattern, queue))


def split_binding_member(member: str) -> tuple[str, str, str] | None:
    """Return routing key, pattern and queue of a binding, or `None` for a member of another shape."""
    parts = member.split(PRIORITY_SEPARATOR)
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else None


def topic_pattern(routing_key: str) -> str:
    r"""Return the regular expression kombu keeps for a topic binding: ``worker.#`` → ``^worker\..*?$``."""
    words = (_TOPIC_WILDCARDS.get(word, _escaped(word)) for word in routing_key.split("."))
    return "^" + r"\.".join(words) + "$"


def _escaped(word: str) -> str:
    # Not `re.escape`: these texts are members of a shared set, so they have to equal kombu's, which leaves a star
    # or hash inside a word as it is.
    return "".join(
        char if char.isalnum() or char in "*#" else r"\000" if char == "\0" else f"\\{char}"
        for char in word
    )


def fanout_channel(
    exchange: str, routing_key: str = "", *, prefix: str = "/0.", patterns: bool = True
) -> str:
    """Return the pub/sub channel a message to a fanout exchange is published on.

    Args:
        exchange: Name of the exchange.
        routing_key: Becomes a suffix, unless empty or `patterns` is off.
        prefix: ``/<db>.`` by default settings; empty, or any text, by the transport option `fanout_prefix`.
        patterns: The transport option `fanout_patterns`.
    """
    suffix = f"/{routing_key}" if routing_key and patterns else ""
    return f"{prefix}{exchange}{suffix}"


def fanout_pattern(
    exchange: str, routing_key: str = "", *, prefix: str = "/0.", patterns: bool = True
) -> str:
    """Return the pattern to PSUBSCRIBE to for a binding: as `fanout_channel`, with ``#`` turned into ``*``."""
    return fanout_channel(exchange, routing_key.replace("#", "*"), prefix=prefix, patterns=patterns)


# -- files: the filesystem transport ------------------------------------------------------------------------------


def message_file(milliseconds: int, unique: str, queue: str) -> str:
    """Return the file of one message; `milliseconds` is a monotonic reading, which the order goes by."""
    return f"{milliseconds}_{unique}.{queue}.msg"


def queue_of_message_file(name: str) -> str | None:
    """Return the queue a message file belongs to, or `None` for another file."""
    _, dot, rest = name.partition(".")
    return rest.removesuffix(".msg") if dot and rest.endswith(".msg") and rest != ".msg" else None


def exchange_file(exchange: str) -> str:
    """Return the file in the control folder that lists an exchange's bindings."""
    return f"{exchange}.exchange"


# -- results: keys of the key-value backends ----------------------------------------------------------------------


def result_key_prefix(global_prefix: str) -> str:
    """Return what stands in front of every result key: `global_prefix`, with ``_`` unless it ends in ``: _ - .``."""
    if global_prefix and global_prefix[-1] not in ":_-.":
        return f"{global_prefix}_"
    return global_prefix


def task_meta_key(task_id: str) -> str:
    """Return the key of a task's result document; on redis also the channel it is announced on."""
    return f"celery-task-meta-{task_id}"


def group_meta_key(group_id: str) -> str:
    """Return the key of a saved group."""
    return f"celery-taskset-meta-{group_id}"


def chord_parts_key(group_id: str) -> str:
    """Return the redis key of the results a chord's header has brought so far."""
    return f"{group_meta_key(group_id)}.j"


def chord_extra_key(group_id: str) -> str:
    """Return the redis key of the number of parts added while the chord was running."""
    return f"{group_meta_key(group_id)}.t"


def chord_size_key(group_id: str) -> str:
    """Return the redis key of the number of parts a chord's header has. Celery 5.1 and later."""
    return f"{group_meta_key(group_id)}.s"


def chord_counted_key(group_id: str) -> str:
    """Return the redis key of the parts counted already. Celery 5.7."""
    return f"{group_meta_key(group_id)}.d"


def chord_claim_key(group_id: str) -> str:
    """Return the redis key of whoever sends the chord's body. Celery 5.7."""
    return f"{group_meta_key(group_id)}.c"


def chord_unlock_counter_key(group_id: str) -> str:
    """Return the key of the parts counted by the other counting backends."""
    return f"chord-unlock-{group_id}"
