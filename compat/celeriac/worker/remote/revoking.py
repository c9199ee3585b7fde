"""Revoking and terminating tasks. Spec: control-and-events#1.8, control-and-events#4.8."""

from __future__ import annotations

import logging
import os
import signal as signals
from collections import defaultdict
from typing import Any

from celeriac.worker.remote.registry import control_command
from celeriac.worker.remote.requests import RESERVED
from celeriac.worker.remote.state import ControlState
from celeriac.worker.request import Phase
from celeriac.worker.stamps import RevokedStamps, read_stamps
from celeriac_protocol.control import ok

__all__ = [
    "revoke",
    "revoke_by_stamped_headers",
    "signal_number",
    "terminate",
]

logger = logging.getLogger("celery.worker.control")


def signal_number(name: Any) -> int:
    """Return the number of a signal given by number or upper-case name, with or without ``SIG``.

    Raises:
        TypeError: Neither a number nor an upper-case name.
        ValueError: No such signal.
    """
    if isinstance(name, int) and not isinstance(name, bool):
        return int(signals.Signals(name))
    if isinstance(name, str) and name.isdigit():
        return int(signals.Signals(int(name)))
    if not isinstance(name, str) or not name.isupper():
        raise TypeError("signal name must be uppercase string.")
    full = name if name.startswith("SIG") else f"SIG{name}"
    try:
        return int(signals.Signals[full])
    except KeyError:
        raise ValueError(f"no signal {name!r}") from None


def _default_signal() -> str:
    remapped = os.environ.get("REMAP_SIGTERM", "").upper() in ("SIGQUIT", "QUIT")
    return "QUIT" if remapped else "TERM"


def _ids(task_id: Any) -> list[str]:
    ids = [task_id] if isinstance(task_id, str) else list(task_id)
    if not all(isinstance(each, str) and each for each in ids):
        raise TypeError(f"task ids are texts, got {task_id!r}")
    return list(dict.fromkeys(ids))


@control_command(variadic="task_id", signature="[id1 [id2 [... [idN]]]]")
def revoke(
    state: ControlState, task_id: Any, terminate: bool = False, signal: Any = None, **kwargs: Any
) -> dict[str, object]:
    """Revoke task by task id (or list of ids)."""
    ids = _ids(task_id)
    if terminate:
        signum = signal_number(signal or _default_signal())
        state.revoked.add(ids)
        return ok(_terminate(state, ids, signum))
    state.revoked.add(ids)
    loop = state.loop
    begun = (Phase.SUBMITTED, Phase.RUNNING)
    running = {r.id for r in loop.requests.values() if r.state.phase in begun}
    waiting = tuple(each for each in ids if each not in running)
    if waiting:
        loop.mark_revoked(waiting)
    loop.discard_revoked(frozenset(ids))
    logger.info("Tasks flagged as revoked: %s", ", ".join(ids))
    return ok(f"tasks {set(ids)!r} flagged as revoked")


@control_command(variadic="headers", signature="[key1=value1 [key2=value2 [... [keyN=valueN]]]]")
def revoke_by_stamped_headers(
    state: ControlState, headers: Any, terminate: bool = False, signal: Any = None, **kwargs: Any
) -> dict[str, object]:
    """Revoke task by header (or list of headers)."""
    stamps = read_stamps(headers)
    signum = signal_number(signal or _default_signal())
    loop = state.loop
    loop.revoked_stamps.add(stamps)
    logger.info("Headers flagged as revoked: %s", stamps)
    loop.discard_revoked(frozenset())
    if not terminate:
        return ok(f"headers {stamps!r} flagged as revoked, but not terminated")
    found: defaultdict[str, set[Any]] = defaultdict(set)
    running: list[str] = []
    # Only by what this command names: others may have been revoked without an end to what runs.
    wanted = RevokedStamps()
    wanted.add(stamps)
    for request in list(loop.requests.values()):
        if request.state.phase not in (Phase.RUNNING, Phase.SUBMITTED):
            continue
        if hits := wanted.match(request.headers):
            running.append(request.id)
            for name, values in hits.items():
                found[name].update(values)
    if not running:
        return ok(f"headers {stamps!r} were not terminated")
    state.revoked.add(running)
    _terminate(state, running, signum)
    return ok(f"headers {found!r} revoked")


def _terminate(state: ControlState, ids: list[str], signum: int) -> str:
    loop, wanted = state.loop, frozenset(ids)
    phases = (Phase.RUNNING, Phase.HELD, *RESERVED)
    found = [r for r in loop.requests.values() if r.id in wanted and r.state.phase in phases]
    if not found:
        return "terminate: tasks unknown"
    started = [r for r in found if r.state.phase in (Phase.RUNNING, Phase.SUBMITTED)]
    if started and not loop.pool.supports_terminate:
        raise NotImplementedError(f"{type(loop.pool)} does not implement kill_job")
    for request in found:
        logger.info("Terminating %s (%s)", request.id, signum)
    for request in started:
        loop.terminate(request, signum)
    loop.discard_revoked(wanted)
    return f"terminate: {', '.join(dict.fromkeys(r.id for r in found))}"


@control_command(
    variadic="task_id",
    args=[("signal", str)],
    signature="<signal> [id1 [id2 [... [idN]]]]",
)
def terminate(state: ControlState, signal: Any, task_id: Any, **kwargs: Any) -> dict[str, object]:
    """Terminate task by task id (or list of ids)."""
    return revoke(state, task_id, terminate=True, signal=signal)
