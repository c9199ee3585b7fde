"""Which tests pytest-xdist may run side by side: a cell and its control stay together in one process.

Cells share long-lived programs, and a verdict needs the control's, so every case of a producer and carrier is one unit
of work. Anything else collected in the same run goes by file, which keeps module fixtures whole.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

__all__ = ["CellScheduling", "unit_of"]


def unit_of(nodeid: str, cells: Mapping[str, str]) -> str:
    """Return the unit of work a test belongs to.

    Args:
        nodeid: pytest's id; that of a case names its cell first in the brackets.
        cells: Unit of each cell, by cell id.
    """
    path, _, rest = nodeid.partition("::")
    _, _, parameters = rest.partition("[")
    # Ids may begin alike (`…-rabbitmq`, `…-rabbitmq-redis`): the longest that fits is meant.
    found = max((cell for cell in cells if parameters.startswith(cell)), key=len, default=None)
    return path if found is None else cells[found]


class CellScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Gives whole cells to processes.

    Args:
        config: pytest's configuration.
        log: Where xdist logs to.
        cells: Unit of each cell, by cell id.
    """

    def __init__(self, config: pytest.Config, log: Producer, cells: Mapping[str, str]) -> None:
        super().__init__(config, log)
        self._cells = cells

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid, self._cells)
