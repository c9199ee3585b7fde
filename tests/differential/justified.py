"""Where our worker disagrees with the real one on purpose: the only table of such disagreements.

Each entry names the differences it excuses and why they are meant. A difference that no entry excuses fails the test
that met it; an entry that a long run never needed is reported, since it then hides what is not there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from celeriac_protocol.message import Message
from tests.differential.sides import Difference, Seen

__all__ = ["JUSTIFIED", "Comparison", "Justification", "justify", "unused"]


@dataclass(frozen=True)
class Comparison:
    """One message, and what became of it on both sides."""

    message: Message
    ours: Seen
    theirs: Seen

    @property
    def is_protocol_1(self) -> bool:
        """Whether the call is in the body."""
        return "task" not in (self.message.headers or {})

    @property
    def embed(self) -> dict[str, Any]:
        """Third element of a protocol 2 body, empty where there is none."""
        try:
            body = json.loads(self.message.body)
        except ValueError:  # compressed, or none at all
            return {}
        is_v2 = isinstance(body, list) and len(body) == 3 and isinstance(body[2], dict)
        return body[2] if is_v2 else {}

    def complains(self, pattern: str) -> bool:
        """Say whether we refuse because of a field whose path ends so."""
        return self.ours.fate == "refused" and re.search(pattern, self.ours.field) is not None


@dataclass(frozen=True)
class Justification:
    """One kind of disagreement that is meant."""

    label: str
    holds: Callable[[Comparison, Difference], bool]
    """Whether it excuses this difference."""
    reason: str
    reference: str
    """Section of the protocol, or of the notes about it, that says so."""


def _refused_because_of(pattern: str) -> Callable[[Comparison, Difference], bool]:
    """We refuse because of a field, they do not refuse."""
    return lambda seen, difference: (
        difference.point == "fate" and difference.theirs != "unknown" and seen.complains(pattern)
    )


def _is_text_of(seen: Comparison, difference: Difference) -> bool:
    text = difference.point in ("id", "group", "root_id", "parent_id", "shadow", "shown as")
    return text and difference.ours == str(difference.theirs)


def _are_numbers_of(seen: Comparison, difference: Difference) -> bool:
    if difference.point != "timelimit":
        return False
    return [limit if limit is None else float(limit) for limit in difference.theirs] == [
        limit if limit is None else float(limit) for limit in difference.ours
    ]


LINKS = frozenset({"callbacks", "errbacks", "chain", "chord"})
_EARLY = r"^(headers|body)\['(%s)'\]$"

JUSTIFIED: tuple[Justification, ...] = (
    Justification(
        "their-worker-ends",
        lambda seen, difference: difference.point == "settled" and difference.theirs == "crash",
        "nothing that arrives may end the process",
        "task-message#3.5, pains A",
    ),
    Justification(
        "links-checked-first",
        _refused_because_of(r"\['(callbacks|errbacks|chain|chord)'\]"),
        "a task that cannot be continued does not start; Celery finds the fault after the run",
        "task-message#3.5, pains A",
    ),
    Justification(
        "embed-checked-first",
        _refused_because_of(r"^body\[2\]$"),
        "the same, when the embed is no mapping at all",
        "task-message#3.5, pains A",
    ),
    Justification(
        "unusable-id",
        _refused_because_of(_EARLY % "id"),
        "no result could be stored under it, and every key, event and log line repeats it",
        "task-message#3.5, pains A",
    ),
    Justification(
        "relatives-are-text",
        _refused_because_of(_EARLY % "group|root_id|parent_id|shadow"),
        "names of other tasks that are structures lead nowhere",
        "task-message#3.5, spec-notes",
    ),
    Justification(
        "stamps-are-a-mapping",
        _refused_because_of(_EARLY % "stamps|stamped_headers"),
        "Celery runs the function and then loses its result",
        "task-message#3.5",
    ),
    Justification(
        "limits-are-two-numbers",
        _refused_because_of(_EARLY % "timelimit"),
        "Celery runs the function and then ends",
        "task-message#3.5, pains A",
    ),
    Justification(
        "keywords-read-when-due",
        lambda seen, difference: (
            difference.point == "fate"
            and difference.theirs == "held"
            and seen.complains(r"^body\[1\]$")
        ),
        "Celery holds it like ours and, when it is due, acknowledges it without running it",
        "task-message#3.5",
    ),
    Justification(
        "times-are-digits",
        lambda seen, difference: (
            difference.point == "fate"
            and difference.theirs in ("ran", "held", "expired")
            and seen.complains(_EARLY % "eta|expires")
            and any(character.isdigit() for character in seen.ours.why.rpartition(", got ")[2])
        ),
        "Celery reads a sign, a blank or an underscore for a digit, and a last digit too few; which time was meant is "
        "a guess",
        "task-message#5.2, spec-notes",
    ),
    Justification(
        "ordinal-day-before-a-blank",
        lambda seen, difference: (
            difference.point == "fate"
            and difference.theirs == "refused"
            and re.search(r"value '\d{7}\s", seen.theirs.why) is not None
        ),
        "for the same reason Celery takes the blank for a digit of the day, and then stumbles over the time",
        "task-message#5.2, spec-notes",
    ),
    Justification(
        "arguments-are-a-list",
        _refused_because_of(r"^body(\[0\]|\['args'\])$"),
        "a text or a mapping is iterated by Celery; nobody means that",
        "task-message#3.5",
    ),
    Justification(
        "protocol-1-read-as-a-whole",
        lambda seen, difference: (
            difference.point == "fate" and difference.theirs == "unknown" and seen.is_protocol_1
        ),
        "a broken body is refused before its task name is looked up; neither side runs it",
        "task-message#3.3",
    ),
    Justification(
        "headers-before-the-name",
        lambda seen, difference: (
            difference.point == "fate"
            and difference.theirs == "unknown"
            and seen.complains(r"^headers\[")
        ),
        "broken headers are refused before the task name is looked up; neither side runs it",
        "task-message#3.3",
    ),
    Justification(
        "expired-whatever-the-body",
        lambda seen, difference: (
            difference.point == "fate"
            and (difference.ours, difference.theirs) == ("expired", "refused")
        ),
        "the headers say that nobody wants it any more; its body is not looked at, and neither side runs it",
        "task-message#3.5, results-and-workflows#4.1",
    ),
    Justification(
        "headers-before-the-body",
        lambda seen, difference: (
            difference.point == "settled"
            and (difference.ours, difference.theirs) == ("reject", "ack")
            and seen.complains(r"^(headers|body)\['")
        ),
        "Celery acknowledges what it cannot decode before it looks at the headers, or after it ran nothing; we reject, "
        "so that a dead-letter exchange gets the message",
        "task-message#3.5",
    ),
    Justification(
        "protocol-1-group-index",
        lambda seen, difference: difference.point == "group_index" and seen.is_protocol_1,
        "Celery drops it, and a chord loses its order",
        "task-message#3.4, spec-notes",
    ),
    Justification(
        "protocol-1-taskset",
        lambda seen, difference: (
            difference.point == "group" and difference.theirs is None and seen.is_protocol_1
        ),
        "the only name of a group in messages of Celery 3.1; dropped by Celery, which never completes it",
        "task-message#3.4, spec-notes",
    ),
    Justification(
        "protocol-1-meth",
        lambda seen, difference: (
            difference.point == "headers"
            and isinstance(difference.theirs, dict)
            and difference.theirs == {**difference.ours, "meth": None}
        ),
        "a reserved field that is listed as a header of its own without having been sent",
        "task-message#3.4",
    ),
    Justification(
        "embed-does-not-rename",
        lambda seen, difference: difference.point in seen.embed and difference.point not in LINKS,
        "a field that decides about the call stays what the headers say: the task must not see another one",
        "task-message#3.1, spec-notes",
    ),
    Justification(
        "chord-without-group",
        lambda seen, difference: difference.point == "chord" and difference.ours is None,
        "nobody looks at it without a group, so it may be anything, and is not kept",
        "task-message#3.5",
    ),
    Justification(
        "numbers-as-text",
        _is_text_of,
        "the id of a task is a text wherever it goes",
        "task-message#3.5, spec-notes",
    ),
    Justification(
        "limits-as-numbers",
        _are_numbers_of,
        "a limit that came as text is a number afterwards",
        "task-message#3.5, spec-notes",
    ),
    Justification(
        "display-as-text",
        lambda seen, difference: (
            difference.point in ("lang", "origin", "argsrepr", "kwargsrepr")
            and not isinstance(difference.theirs, str)
            and isinstance(difference.ours, str)
        ),
        "what is there to be shown is shown, as text",
        "task-message#2, spec-notes",
    ),
    Justification(
        "counters-are-integers",
        lambda seen, difference: (
            difference.point in ("retries", "group_index", "replaced_task_nesting")
            and type(difference.theirs) is not int
        ),
        "a counter is an integer where one can be made, else its default; Celery counts on with what came",
        "task-message#3.5, spec-notes",
    ),
    Justification(
        "ignore-result-resolved",
        lambda seen, difference: (
            difference.point == "ignore_result"
            and type(difference.theirs) is not bool
            and difference.ours is bool(difference.theirs)
        ),
        "null means the task's own setting, and anything else what it counts as; the request shows what holds",
        "task-message#2",
    ),
    Justification(
        "utc-filled-in",
        lambda seen, difference: difference.point == "utc" and difference.theirs is None,
        "documented as part of the request; Celery leaves it empty",
        "task-message#3.2",
    ),
)


def justify(seen: Comparison, found: Iterable[Difference], used: Counter[str]) -> list[Difference]:
    """Return the differences that nothing excuses; count the others under their labels."""
    left = []
    for difference in found:
        for each in JUSTIFIED:
            if each.holds(seen, difference):
                used[each.label] += 1
                break
        else:
            left.append(difference)
    return left


def unused(used: Counter[str]) -> list[str]:
    """Return the labels that were never needed."""
    return [each.label for each in JUSTIFIED if not used[each.label]]
