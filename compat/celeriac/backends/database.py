"""Results in a relational database through SQLAlchemy: ``db+<SQLAlchemy URL>``.

Rows are written as Celery 5.7 does, values encoded with `result_serializer`. Transport option ``layout="<=5.6"`` writes
pickles of plain values instead, for a fleet whose readers are older. Both are read, pickles by an unpickler that makes
nothing but plain data.

Engines are shared by the threads of a process and dropped, unclosed, in a forked child.

Spec: results-and-workflows#2.3
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, TypeVar

from sqlalchemy import Engine, Row, create_engine, delete, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.pool import NullPool, StaticPool

from celeriac.backends.base import BackendOptions
from celeriac.backends.codec import Codec
from celeriac.backends.database_tables import ResultTables
from celeriac.backends.keyvalue import MetaCache, check_task_id
from celeriac.backends.polling import PollingBackend
from celeriac.backends.restricted_pickle import PICKLE_START, load_group, load_value
from celeriac.backends.retries import RetryPolicy, call_with_retries
from celeriac.exceptions import BackendGetMetaError, BackendStoreError, ImproperlyConfigured
from celeriac_protocol.errors import EncodeError, RemoteProtocolError
from celeriac_protocol.result import READY_STATES, ResultMeta
from celeriac_protocol.times import parse_iso8601

__all__ = ["DatabaseBackend"]

T = TypeVar("T")

_LAYOUTS = (">=5.7", "<=5.6")
_PICKLE_PROTOCOL = 4
"""Readable by every Python that Celery 4.4 runs on."""
_MANY = 500
"""Ids in one SELECT."""
_STORE_ATTEMPTS = 3
_DEFAULT_ENGINE_OPTIONS = {"pool_pre_ping": True, "pool_recycle": 3600}


@dataclass(slots=True)
class _Shared:
    engine: Engine
    users: set[int] = field(default_factory=set)


_engines: dict[str, _Shared] = {}
"""Engine of each database and set of options, with the backends using it."""
_engines_lock = threading.Lock()


def _after_fork_in_child() -> None:
    """Connections belong to the parent: forget them without a word to the server."""
    global _engines_lock
    _engines_lock = threading.Lock()
    for shared in _engines.values():
        shared.engine.dispose(close=False)


os.register_at_fork(after_in_child=_after_fork_in_child)


class DatabaseBackend(PollingBackend):
    """The relational store."""

    chords: ClassVar[Literal["native", "unlock", "refused"]] = "unlock"
    thread_safe = True

    def __init__(self, url: str, options: BackendOptions) -> None:
        super().__init__(url, options)
        self._database = url or options.setting("database_url", "")
        if "://" not in self._database:
            raise ImproperlyConfigured(
                "Missing connection string! Do you have the database_url setting set to a real value?"
            )
        self._layout = str(options.transport("layout", _LAYOUTS[0]))
        if self._layout not in _LAYOUTS:
            raise ImproperlyConfigured(
                f"result_backend_transport_options['layout']: expected one of {_LAYOUTS}, "
                f"got {self._layout!r}"
            )
        self.codec = Codec(options, compresses=False)
        self.cache = MetaCache.from_options(options)
        self._retry = RetryPolicy.from_options(options, enabled=True, max_retries=3)
        self._tables = ResultTables.named(
            options.setting("database_table_names"), options.setting("database_table_schemas")
        )
        self._prepare_lock = threading.Lock()
        self._engine_options = dict(
            options.setting("database_engine_options", _DEFAULT_ENGINE_OPTIONS)
        )
        short_lived = options.setting("database_short_lived_sessions", False)
        self._engine_key = repr((self._database, self._engine_options, bool(short_lived)))
        if options.setting("database_create_tables_at_setup", True):
            self._run(lambda engine: None)

    # Documents

    def store(
        self, meta: ResultMeta, *, reply_to: str | None = None, correlation_id: str | None = None
    ) -> None:
        check_task_id(meta.task_id)
        values = self._to_row(meta)
        try:
            self._run(lambda engine: self._upsert(engine, meta.task_id, values))
        except DBAPIError as exc:
            raise BackendStoreError(
                f"failed to store result on the backend: {exc.orig!r}",
                state=meta.status,
                task_id=meta.task_id,
            ) from exc

    def _upsert(self, engine: Engine, task_id: str, values: dict[str, Any]) -> None:
        task = self._tables.task
        present = set(self._tables.task_columns or ())
        values = {name: value for name, value in values.items() if name in present}
        for attempt in range(1, _STORE_ATTEMPTS + 1):
            try:
                with engine.begin() as connection:
                    found = connection.execute(
                        select(task.c.status).where(task.c.task_id == task_id)
                    ).first()
                    if found is None:
                        connection.execute(insert(task).values(task_id=task_id, **values))
                    elif found.status != "SUCCESS":
                        # Asked again in the statement: another worker may have stored SUCCESS in between.
                        connection.execute(
                            update(task)
                            .where(
                                task.c.task_id == task_id, task.c.status.is_distinct_from("SUCCESS")
                            )
                            .values(**values)
                        )
                return
            except IntegrityError:
                # Another worker inserted the row in between; the next look finds it.
                if attempt == _STORE_ATTEMPTS:
                    raise

    def _to_row(self, meta: ResultMeta) -> dict[str, Any]:
        row: dict[str, Any] = {
            "status": meta.status,
            "result": self._encode_result(meta.result, meta.status),
            "traceback": meta.traceback,
            "date_done": self._wall_time(meta) if meta.status in READY_STATES else None,
            "children": self.codec.encode(list(meta.children)) if meta.children else None,
        }
        if meta.extended:
            row.update(
                name=meta.name,
                args=self.codec.encode(meta.args),
                kwargs=self.codec.encode(meta.kwargs),
                worker=meta.worker,
                retries=meta.retries,
                queue=meta.queue,
            )
            if meta.stamped_headers is not None:
                row["stamps"] = self.codec.encode(
                    {"stamped_headers": list(meta.stamped_headers), "stamps": dict(meta.stamps)}
                )
        return row

    def _encode_result(self, value: object, status: str) -> bytes | None:
        if self._layout == ">=5.7":
            return self.codec.encode(value)
        # What JSON can carry is plain data; checking it keeps classes of ours out of the pickle.
        self.codec.encode(value)
        if value is None:
            return None
        if isinstance(value, Mapping) and "exc_message" in value and status != "SUCCESS":
            message = value["exc_message"]
            value = {
                **value,
                "exc_message": tuple(message) if isinstance(message, list) else message,
            }
        try:
            return pickle.dumps(value, protocol=_PICKLE_PROTOCOL)
        except Exception as exc:
            raise EncodeError(repr(exc)) from exc

    def _wall_time(self, meta: ResultMeta) -> datetime:
        """Return `date_done` as the column holds it: wall time of the app's timezone, offset lost."""
        done = meta.date_done
        if isinstance(done, str):
            done = parse_iso8601(done)
        return (done or self._now()).replace(tzinfo=None)

    def _now(self) -> datetime:
        now = self.options.timezone_now
        found: datetime = self.options.clock.now() if now is None else now()
        return found

    def fetch(self, task_id: str) -> ResultMeta:
        return self.fetch_many([check_task_id(task_id)])[task_id]

    def fetch_many(self, task_ids: Sequence[str]) -> dict[str, ResultMeta]:
        found = {i: self.cache.get(i) or ResultMeta(task_id=i, status="PENDING") for i in task_ids}
        missing = [task_id for task_id, meta in found.items() if meta.status != "SUCCESS"]
        for start in range(0, len(missing), _MANY):
            for row in self._select(missing[start : start + _MANY]):
                meta = self._to_meta(row)
                self.cache.add(meta)
                found[meta.task_id] = meta
        return found

    def _select(self, task_ids: list[str]) -> Sequence[Row[Any]]:
        task = self._tables.task

        def read(engine: Engine) -> Sequence[Row[Any]]:
            present = self._tables.task_columns or frozenset()
            columns = [column for column in task.columns if column.name in present]
            with engine.connect() as connection:
                return connection.execute(
                    select(*columns).where(task.c.task_id.in_(task_ids))
                ).all()

        return self._reading(read, task_ids[0])

    def _to_meta(self, row: Row[Any]) -> ResultMeta:
        fields = row._mapping
        children = self._decode(fields.get("children"))
        stamps = self._decode(fields.get("stamps"))
        stamps = stamps if isinstance(stamps, Mapping) else {}
        document: dict[str, object] = {
            **(stamps.get("stamps") or {}),
            "stamped_headers": stamps.get("stamped_headers"),
            "task_id": fields["task_id"],
            "status": fields["status"],
            "result": self._decode(fields["result"]),
            "traceback": fields["traceback"],
            "children": children if children is not None else [],
        }
        if any(fields.get(name) is not None for name in ("name", "args", "worker", "queue")):
            for name in ("name", "worker", "retries", "queue"):
                document[name] = fields.get(name)
            document["args"] = self._decode(fields.get("args"))
            document["kwargs"] = self._decode(fields.get("kwargs"))
        # Not through the document: a naive time there means UTC, here it is the app's wall time.
        return replace(ResultMeta.from_dict(document), date_done=fields["date_done"])

    def _decode(self, blob: bytes | None) -> object:
        if blob is None:
            return None
        blob = bytes(blob)
        try:
            return self.codec.decode(blob)
        except RemoteProtocolError:
            if blob.startswith(PICKLE_START):
                return load_value(blob)
            raise

    def forget(self, task_id: str) -> None:
        self.cache.drop(task_id)
        task = self._tables.task
        self._execute(delete(task).where(task.c.task_id == check_task_id(task_id)))

    # Groups

    def store_group(self, group_id: str, form: Any) -> None:
        group = self._tables.group
        values = {
            "taskset_id": group_id,
            "result": self.codec.encode(form),
            "date_done": self._now().replace(tzinfo=None),
        }

        def write(engine: Engine) -> None:
            with engine.begin() as connection:
                connection.execute(delete(group).where(group.c.taskset_id == group_id))
                connection.execute(insert(group).values(**values))

        self._run(write)

    def fetch_group(self, group_id: str) -> Any | None:
        group = self._tables.group

        def read(engine: Engine) -> Any:
            with engine.connect() as connection:
                return connection.execute(
                    select(group.c.result).where(group.c.taskset_id == group_id)
                ).scalar()

        blob = self._reading(read, group_id)
        if blob is None:
            return None
        try:
            return self.codec.decode(bytes(blob))
        except RemoteProtocolError:
            if bytes(blob).startswith(PICKLE_START):
                return load_group(bytes(blob))
            raise

    def forget_group(self, group_id: str) -> None:
        group = self._tables.group
        self._execute(delete(group).where(group.c.taskset_id == group_id))

    def cleanup(self) -> int:
        """Delete rows and groups done longer ago than `result_expires`; return how many."""
        if not self.options.expires_s:
            return 0
        oldest = self._now().replace(tzinfo=None) - timedelta(seconds=self.options.expires_s)
        return sum(
            self._execute(delete(table).where(table.c.date_done < oldest))
            for table in (self._tables.task, self._tables.group)
        )

    # Connections

    @property
    def engine(self) -> Engine:
        """The process's engine for this database."""
        with _engines_lock:
            shared = _engines.get(self._engine_key)
            if shared is None:
                shared = _engines[self._engine_key] = _Shared(self._make_engine())
            shared.users.add(id(self))
            return shared.engine

    def _make_engine(self) -> Engine:
        settings = self._engine_options
        if self._database in ("sqlite://", "sqlite:///:memory:"):
            # One connection, or every thread would have a database of its own.
            settings = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
        elif self.options.setting("database_short_lived_sessions", False):
            settings = {"poolclass": NullPool}
        engine = create_engine(self._database, **settings)
        callback = self.options.setting("database_engine_callback")
        if callback is not None:
            callback(engine)
        return engine

    def _run(self, action: Callable[[Engine], T]) -> T:
        """Run `action` with the tables made, again after operational errors as the settings say."""

        def attempt() -> T:
            engine = self.engine
            if self._tables.task_columns is None:
                self._prepare(engine)
            return action(engine)

        return call_with_retries(
            attempt,
            policy=self._retry,
            is_recoverable=_is_recoverable,
            sleep=self.options.clock.sleep,
            on_retry=self._forget_tables,
        )

    def _prepare(self, engine: Engine) -> None:
        with self._prepare_lock:
            if self._tables.task_columns is None:
                self._tables.prepare(
                    engine,
                    adds_columns=self._layout == ">=5.7",
                    sleep=self.options.clock.sleep,
                )

    def _forget_tables(self) -> None:
        # They may have been dropped; looking again is cheap next to a failed operation.
        self._tables.task_columns = None

    def _reading(self, read: Callable[[Engine], T], task_id: str) -> T:
        try:
            return self._run(read)
        except DBAPIError as exc:
            raise BackendGetMetaError(
                f"failed to get meta from the backend: {exc.orig!r}", task_id=task_id
            ) from exc

    def _execute(self, statement: Any) -> int:
        def write(engine: Engine) -> int:
            with engine.begin() as connection:
                return max(0, connection.execute(statement).rowcount)

        return self._run(write)

    def close(self) -> None:
        with _engines_lock:
            shared = _engines.get(self._engine_key)
            if shared is None:
                return
            shared.users.discard(id(self))
            if not shared.users:
                del _engines[self._engine_key]
                shared.engine.dispose()

    def after_fork(self) -> None:
        """Nothing to do: the engines were dropped when the process forked."""


def _is_recoverable(exc: Exception) -> bool:
    return isinstance(exc, OperationalError | InterfaceError) or (
        isinstance(exc, DBAPIError) and exc.connection_invalidated
    )
