"""What was compared so far, and how it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from celeriac_protocol.message import Message
from tests.differential.justified import Comparison, justify, unused
from tests.differential.peer import Peer
from tests.differential.sides import UNTOLD, Difference, Ours, differences, theirs

__all__ = ["Account"]


class Account:
    """Gives messages to both sides, and keeps the count.

    Args:
        ours: Our side.
        peer: The other side.
        started_at: Monotonic seconds.
    """

    def __init__(self, ours: Ours, peer: Peer, *, started_at: float) -> None:
        self.ours = ours
        self.peer = peer
        self.started_at = started_at
        self.fates: Counter[tuple[str, str]] = Counter()
        self.excused: Counter[str] = Counter()

    def compare(self, message: Message) -> tuple[Comparison, list[Difference]]:
        """Return what became of a message, and the disagreements that nothing excuses."""
        ours = self.ours.deliver(message)
        if ours.fate == UNTOLD:
            return Comparison(message, ours, ours), []
        seen = Comparison(message, ours, theirs(self.peer.deliver(message)))
        self.fates[seen.ours.fate, seen.theirs.fate] += 1
        return seen, justify(seen, differences(seen.ours, seen.theirs), self.excused)

    def agree(self, message: Message) -> None:
        """Fail unless both sides make the same of a message."""
        seen, left = self.compare(message)
        assert not left, "\n".join(
            [
                *map(str, left),
                f"headers: {message.headers!r}",
                f"properties: {message.properties!r}",
                f"body: {message.body!r}",
                f"ours: {seen.ours.fate} {seen.ours.why}",
                f"theirs: {seen.theirs.fate} {seen.theirs.why}",
            ]
        )

    def report(self, now: float) -> Iterator[str]:
        """Say it in lines."""
        compared, spent_s = self.fates.total(), now - self.started_at
        yield f"{compared} messages compared in {spent_s:.0f} s, {compared / spent_s:.0f} a second"
        yield "became (ours/theirs): " + ", ".join(
            f"{ours}/{theirs} {count}" for (ours, theirs), count in self.fates.most_common()
        )
        yield "justified disagreements: " + ", ".join(
            f"{label} {count}" for label, count in self.excused.most_common()
        )
        yield "never needed: " + (", ".join(unused(self.excused)) or "none")
