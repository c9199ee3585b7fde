"""`EagerResult`: the outcome of a task that ran in the caller's process. Spec: app-and-cli#6."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celeriac.result.async_result import AsyncResult
from celeriac.result.blocking import assert_will_not_block
from celeriac_protocol.result import PROPAGATE_STATES, ResultMeta

__all__ = ["EagerResult"]


class EagerResult(AsyncResult):
    """A result that is there already.

    Args:
        id: Task id.
        ret_value: Return value, or the exception.
        state: Final state, or RETRY.
        traceback: Text of the traceback.
        name: Task name.
    """

    def __init__(
        self,
        id: str | None,
        ret_value: Any,
        state: str,
        traceback: str | None = None,
        name: str | None = None,
    ) -> None:
        # No call of the base: there is no app, no backend and nothing to read. Some libraries make one without id.
        self.id = id  # type: ignore[assignment]
        self._app = self._backend = None
        self.parent = None
        self.task_name = name
        self.ignored = False
        self._children = None
        self._callbacks = []
        self._value = ret_value
        self._meta = ResultMeta(
            task_id=id or "", status=state, result=ret_value, traceback=traceback, name=name
        )

    def ready(self) -> bool:
        """Always true."""
        return True

    def get(  # type: ignore[override]
        self,
        timeout: float | None = None,
        propagate: bool = True,
        disable_sync_subtasks: bool = True,
        **_unused: Any,
    ) -> Any:
        """Return the value, or raise the exception."""
        if disable_sync_subtasks:
            assert_will_not_block()
        if self.successful():
            return self._value
        if self.state not in PROPAGATE_STATES:
            # The exception behind a retry is not a value, and not to be raised either.
            return None
        if propagate:
            raise (
                self._value if isinstance(self._value, BaseException) else Exception(self._value)
            )
        return self._value

    wait = get  # type: ignore[assignment]

    def forget(self) -> None:
        """Nothing is stored."""

    def then(
        self,
        callback: Callable[..., Any],
        on_error: Callable[..., Any] | None = None,
        weak: bool = False,
    ) -> EagerResult:
        """Call back at once."""
        self._notify(callback, on_error)
        return self

    @property
    def supports_native_join(self) -> bool:
        """There is nothing to wait for."""
        return False

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"

    def __copy__(self) -> EagerResult:
        return type(self)(self.id, self._value, self.state, self.traceback, self.task_name)

    def __reduce_args__(self) -> tuple[Any, ...]:
        return (self.id, self._value, self.state, self.traceback, self.task_name)
