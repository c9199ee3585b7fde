"""Results: what callers hold, and when waiting for them is refused."""

from __future__ import annotations

from celeriac.result.async_result import (
    AsyncResult,
    ResultBase,
    result_from_tuple,
    result_tuple_of,
)
from celeriac.result.blocking import (
    allow_join_result,
    assert_will_not_block,
    denied_join_result,
    set_join_will_block,
    task_join_will_block,
)
from celeriac.result.eager import EagerResult
from celeriac.result.group_result import GroupResult, ResultSet

__all__ = [
    "AsyncResult",
    "EagerResult",
    "GroupResult",
    "ResultBase",
    "ResultSet",
    "allow_join_result",
    "assert_will_not_block",
    "denied_join_result",
    "result_from_tuple",
    "result_tuple_of",
    "set_join_will_block",
    "task_join_will_block",
]
