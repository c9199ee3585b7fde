from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from celeriac.worker.intake import Discard, Hold, Run, Unknown, decide
from celeriac_protocol.task import TaskHeaders

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SOON = NOW + timedelta(seconds=5)
GONE = NOW - timedelta(seconds=5)


def headers(**fields: object) -> TaskHeaders:
    return TaskHeaders(**{"task": "proj.add", "id": "i1", **fields})  # type: ignore[arg-type]


def decision(call: TaskHeaders, revoked: frozenset[str] = frozenset()) -> object:
    return decide(call, known={"proj.add"}, revoked=revoked, now=NOW)


def test_a_plain_call_runs() -> None:
    assert decision(headers()) == Run()


def test_an_eta_in_the_future_is_held_until_then() -> None:
    assert decision(headers(eta_at=SOON)) == Hold(SOON)


def test_an_eta_in_the_past_runs_at_once() -> None:
    assert decision(headers(eta_at=GONE)) == Run()


def test_an_expired_call_is_discarded_even_before_its_eta() -> None:
    assert decision(headers(expires_at=GONE, eta_at=SOON)) == Discard("expired")


def test_a_call_that_expires_right_now_still_runs() -> None:
    assert decision(headers(expires_at=NOW)) == Run()


def test_a_revoked_id_is_discarded_as_revoked_rather_than_expired() -> None:
    assert decision(headers(expires_at=GONE), frozenset({"i1"})) == Discard("revoked")


def test_an_unknown_name_comes_before_everything_else() -> None:
    assert decision(headers(task="nope", expires_at=GONE), frozenset({"i1"})) == Unknown()


moments = st.none() | st.datetimes(timezones=st.just(UTC))


@given(
    eta=moments, expires=moments, name=st.sampled_from(["proj.add", "nope"]), revoked=st.booleans()
)
def test_every_message_gets_exactly_one_decision_and_only_a_due_unexpired_known_one_runs(
    eta: datetime | None, expires: datetime | None, name: str, revoked: bool
) -> None:
    call = headers(task=name, eta_at=eta, expires_at=expires)
    answer = decision(call, frozenset({"i1"}) if revoked else frozenset())
    may_run = (
        name == "proj.add"
        and not revoked
        and (expires is None or expires >= NOW)
        and (eta is None or eta <= NOW)
    )
    assert (answer == Run()) is may_run
    if isinstance(answer, Hold):
        assert answer.until > NOW
