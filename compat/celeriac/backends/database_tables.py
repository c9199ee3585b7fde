"""The two result tables: their columns, making them under races, and adding what older tables lack.

Spec: results-and-workflows#2.3
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    String,
    Table,
    Text,
    inspect,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import text

__all__ = ["ResultTables"]

logger = logging.getLogger(__name__)

_CREATE_ATTEMPTS = 5
_ADDED_LATER = ("children", "name", "args", "kwargs", "worker", "retries", "queue", "stamps")
"""Nullable columns that tables made by older versions may lack."""


def _id_column(sequence: str) -> Column[int]:
    return Column(
        "id",
        Integer().with_variant(BigInteger(), "mssql"),
        Sequence(sequence),
        primary_key=True,
        autoincrement=True,
    )


@dataclass(slots=True)
class ResultTables:
    """The tables of one database."""

    task: Table
    group: Table
    task_columns: frozenset[str] | None = None
    """Columns the task table really has; `None` until `prepare`."""

    @classmethod
    def named(
        cls, names: Mapping[str, str] | None = None, schemas: Mapping[str, str] | None = None
    ) -> ResultTables:
        """Describe the tables.

        Args:
            names: Table names under ``task`` and ``group`` (`database_table_names`).
            schemas: Schemas under the same keys (`database_table_schemas`).
        """
        names, schemas = names or {}, schemas or {}
        metadata = MetaData()
        task = Table(
            names.get("task") or "celery_taskmeta",
            metadata,
            _id_column("task_id_sequence"),
            Column("task_id", String(155), unique=True),
            Column("status", String(50), default="PENDING"),
            Column("result", LargeBinary, nullable=True),
            Column("date_done", DateTime, nullable=True, index=True),
            Column("traceback", Text, nullable=True),
            Column("children", LargeBinary, nullable=True),
            Column("name", String(155), nullable=True),
            Column("args", LargeBinary, nullable=True),
            Column("kwargs", LargeBinary, nullable=True),
            Column("worker", String(155), nullable=True),
            Column("retries", Integer, nullable=True),
            Column("queue", String(155), nullable=True),
            Column("stamps", LargeBinary, nullable=True),
            schema=schemas.get("task"),
            sqlite_autoincrement=True,
        )
        group = Table(
            names.get("group") or "celery_tasksetmeta",
            metadata,
            _id_column("taskset_id_sequence"),
            Column("taskset_id", String(155), unique=True),
            Column("result", LargeBinary, nullable=True),
            Column("date_done", DateTime, nullable=True, index=True),
            schema=schemas.get("group"),
            sqlite_autoincrement=True,
        )
        return cls(task, group)

    def prepare(
        self, engine: Engine, *, adds_columns: bool, sleep: Callable[[float], None]
    ) -> None:
        """Create what is missing, and note which columns there are.

        Args:
            engine: Connected to the database.
            adds_columns: Whether to add columns that an older version's table lacks.
            sleep: Pauses between attempts: several workers may create the tables at the same time.
        """
        for attempt in range(1, _CREATE_ATTEMPTS + 1):
            try:
                self.task.metadata.create_all(engine)
                break
            except DBAPIError:
                if attempt == _CREATE_ATTEMPTS:
                    raise
                sleep(0.05 * attempt)
        present = self._present(engine)
        missing = [name for name in _ADDED_LATER if name not in present]
        if missing and adds_columns:
            for name in missing:
                self._add_column(engine, name)
            present = self._present(engine)
        self.task_columns = present

    def _present(self, engine: Engine) -> frozenset[str]:
        columns = inspect(engine).get_columns(self.task.name, schema=self.task.schema)
        return frozenset(column["name"] for column in columns)

    def _add_column(self, engine: Engine, name: str) -> None:
        column = self.task.columns[name]
        preparer = engine.dialect.identifier_preparer
        table = preparer.format_table(self.task)
        kind = column.type.compile(dialect=engine.dialect)
        statement = f"ALTER TABLE {table} ADD {preparer.format_column(column)} {kind}"
        try:
            with engine.begin() as connection:
                connection.execute(text(statement))
        except DBAPIError as exc:
            # Another worker may have been faster, or altering is not allowed: both are fine without it.
            logger.info("Result table %s goes without column %s: %s", table, name, exc.orig)
