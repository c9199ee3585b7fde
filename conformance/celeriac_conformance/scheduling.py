"""Which tests pytest-xdist may run side by side: a cell and its control stay together in one process.

Cells share long-lived programs, and a verdict needs the control's: a case stays with its control. The files of cases
are dealt into a few parts, and all cells of a carrier with one control are one unit of work per part, each with
programs of its own. Anything else collected in the same run goes by file, which keeps module fixtures whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

__all__ = ["PARTS", "CellScheduling", "unit_of"]

PARTS = 3
"""Units of a carrier: few, since each starts the programs of every cell, and enough to keep processes busy."""


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
    if found is None:
        return path
    # Not `hash`: it differs between the processes that have to agree.
    return f"{cells[found]}/{zlib.crc32(path.encode()) % PARTS}"


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
