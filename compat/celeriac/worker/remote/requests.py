"""A request as `inspect` shows it. Spec: control-and-events#1.9."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from celeriac.worker.delivery import Request
from celeriac.worker.loop import Loop
from celeriac.worker.remote.state import ControlState
from celeriac.worker.request import Phase
from celeriac_protocol import task as wire
from celeriac_protocol.errors import EncodeError, RemoteProtocolError
from celeriac_protocol.serializers import dumps

__all__ = ["RESERVED", "in_phase", "request_info", "request_infos"]

RESERVED: Final = (Phase.READY, Phase.SUBMITTED)
_LIMITS: Final = wire.Limits(decompressed_bytes=1024 * 1024)
"""A bigger body is not opened in the worker's loop; its arguments are shown as the producer described them."""


def in_phase(loop: Loop, *phases: Phase) -> list[Request]:
    """Return the requests in these phases, oldest first."""
    return [request for request in loop.requests.values() if request.state.phase in phases]


def request_infos(
    state: ControlState, requests: Iterable[Request], *, safe: bool
) -> list[dict[str, Any]]:
    """Return the info of each request; with `safe` arguments as text."""
    return [request_info(state, request, safe=safe) for request in requests]


def request_info(state: ControlState, request: Request, *, safe: bool = False) -> dict[str, Any]:
    """Return what is shown of one request.

    Args:
        state: The worker's.
        request: Which.
        safe: Show arguments as the text their producer made of them, and do not open the body.
    """
    args, kwargs = _described(request) if safe else _arguments(state, request)
    info = request.delivery_info
    return {
        "id": request.id,
        "name": request.name,
        "args": args,
        "kwargs": kwargs,
        "type": request.task_name,
        "hostname": state.hostname,
        "time_start": request.accepted_at,
        "acknowledged": request.state.settled,
        "delivery_info": {**info, "priority": info["priority"] or 0},
        "worker_pid": request.worker_pid,
    }


def _described(request: Request) -> Iterator[str | None]:
    return iter((request.headers.argsrepr, request.headers.kwargsrepr))


def _arguments(state: ControlState, request: Request) -> Iterator[Any]:
    message, accept = request.message, state.loop.accept
    try:
        headers = wire.read_headers(message)
        call = (
            wire.read_body(message, headers, accept=accept, limits=_LIMITS)
            if headers is not None
            else wire.decode(message, accept=accept, limits=_LIMITS)
        )
        args, kwargs = list(call.args), dict(call.kwargs)
        dumps([args, kwargs])
    except (RemoteProtocolError, EncodeError):
        # One task with odd arguments must not hide all the others.
        return _described(request)
    return iter((args, kwargs))
