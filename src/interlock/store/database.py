"""One database for everything: opened, migrated, read from, and written to by one writer at a time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event

from interlock.errors import StoreError
from interlock.store import schema

_WRITER = 778001
"""The advisory lock that makes Postgres have one writer of our tables, as SQLite has."""

CHANNEL = "interlock"
"""Where Postgres tells of every write transaction, once it is committed."""

AT_WORK: ContextVar[bool] = ContextVar("at_work", default=False)
"""Whether the caller holds a permit, or keeps a lease."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TURN_S = 30.0
_CHANGES = frozenset({"BEGIN ", "INSERT", "UPDATE", "DELETE"})
_BEGIN = sa.text("SELECT pg_advisory_xact_lock(:key), pg_notify(:channel, '')")
"""The notification goes out with the commit, or not at all."""
_POSTGRES = "-c lock_timeout=30000 -c idle_in_transaction_session_timeout=5000 -c statement_timeout=60000 -c jit=off"
"""Milliseconds. A paused process that holds the writer's lock loses its session after 5 s, so that nobody waits for it
for ever; a wait for the lock is given up after 30 s, as on SQLite."""

_POSTGRES_NETWORK = {
    "connect_timeout": 5, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 15000,
}  # fmt: skip
"""Seconds (the last one: milliseconds): a host that has gone silent is noticed long before a lease of 30 s is over."""

_PATIENCE_S = 20.0
"""How long :meth:`Database.transact` tries a store that is busy or restarting; less than a lease."""

T = TypeVar("T")


class Turns:
    """Whose turn it is to write, of this process's threads: first come, first served, with one connection in use for all.

    SQLite has no queue: who finds it locked sleeps up to 0.1 s and asks again. Postgres has one, but each who waits in it holds
    a connection, and a hundred runs have more threads than a server has connections. Who holds a permit goes first, so that
    a place is not kept by waiting; there are never more of those than places.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now: threading.Event | None = None
        self._first: deque[threading.Event] = deque()
        self._rest: deque[threading.Event] = deque()

    @contextlib.contextmanager
    def mine(self, at_most: float) -> Iterator[None]:
        """One's turn, from here to the end of the block."""
        me = self.take(at_most)
        try:
            yield
        finally:
            self.give_back(me)

    def take(self, at_most: float) -> threading.Event:
        """Wait for one's turn, in seconds at most; then go anyway, and be told by the database what is the matter."""
        me = threading.Event()
        with self._lock:
            (self._first if AT_WORK.get() else self._rest).append(me)
            self._go_on()
        me.wait(at_most)
        return me

    def give_back(self, me: threading.Event) -> None:
        """Let the next one write."""
        with self._lock:
            if self._now is me:
                self._now = None
            for line in (self._first, self._rest):
                if me in line:
                    line.remove(me)
            self._go_on()

    def join(self, engine: sa.Engine) -> None:
        """Have everybody take turns who writes to SQLite through this engine, DBOS too: from its first change to its end."""

        def before(conn: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
            if statement.lstrip()[:6].upper() in _CHANGES and "turn" not in conn.info:
                conn.info["turn"] = self.take(_TURN_S)

        def after(_connection: Any, record: Any) -> None:
            turn = record.info.pop("turn", None)
            if turn is not None:
                self.give_back(turn)

        event.listen(engine, "before_cursor_execute", before)
        event.listen(engine, "checkin", after)

    def _go_on(self) -> None:
        line = self._first or self._rest
        if self._now is None and line:
            self._now = line.popleft()
            self._now.set()


class Database:
    """The store behind one URL: ``sqlite:///path`` or ``postgresql+psycopg://…``.

    SQLite runs in WAL mode with ``synchronous=FULL``: what is committed survives a power cut (1.2 ms more per commit
    than NORMAL, measured), and several processes on one host may share the file. Never on a network file system.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self.committed = threading.Event()
        """Set after each write transaction of this process; its one reader clears it."""
        self._turns = Turns()
        if self.is_sqlite:
            self._turns.join(self.engine)

    def migrate(self) -> None:
        """Create what is missing.

        Tables, columns and indexes are only ever added, with defaults: an older program that runs meanwhile does not notice.

        Raises:
            StoreError: when the store was written by a newer Interlock, or cannot be opened.
        """
        with self.read() as conn:
            if not _missing(conn) and conn.execute(sa.select(schema.version.c.version)).scalar() == schema.VERSION:
                return
        with self.write() as conn:
            schema.metadata.create_all(conn)
            for part in _missing(conn):
                conn.execute(part)
            found = conn.execute(sa.select(schema.version.c.version)).scalar()
            if found is None:
                conn.execute(schema.version.insert().values(version=schema.VERSION))
            elif found > schema.VERSION:
                message = f"the store has version {found}, this Interlock knows {schema.VERSION}: upgrade Interlock"
                raise StoreError(message)

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction of the only writer: all of it is committed at the end, or nothing.

        Raises:
            StoreError: when the store is full, locked for more than 30 s, or unreachable. Nothing was changed, unless the
                connection broke during the commit itself: then nobody knows (``unsure``).
        """
        committing = False
        try:
            with contextlib.nullcontext() if self.is_sqlite else self._turns.mine(_TURN_S), self.engine.begin() as conn:
                if self.is_sqlite:
                    conn.exec_driver_sql("BEGIN IMMEDIATE")  # takes its turn as every change does
                else:
                    conn.execute(_BEGIN, {"key": _WRITER, "channel": CHANNEL})
                yield conn
                committing = True
            self.committed.set()
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            unsure = committing and not self.is_sqlite
            what = "nobody knows whether the last change was made" if unsure else "nothing was changed"
            message = f"the store could not be written, {what}: {_first_line(error)}"
            raise StoreError(message, passing=_passes(error), unsure=unsure) from error

    @contextlib.contextmanager
    def aside(self) -> Iterator[sa.Connection]:
        """A transaction beside the writer's, for a row that nobody else writes: it waits for nobody, where the database can.

        Raises:
            StoreError: as :meth:`write`.
        """
        if self.is_sqlite:
            with self.write() as conn:
                yield conn
            return
        try:
            with self.engine.begin() as conn:
                yield conn
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            raise StoreError(f"the store could not be written: {_first_line(error)}", passing=_passes(error)) from error

    def transact(self, work: Callable[[sa.Connection], T]) -> T:
        """Do ``work`` in one transaction, again while the store is restarting or busy.

        Raises:
            StoreError: after 20 s, or at once when waiting cannot help or nobody knows whether it was done.
        """
        return _patiently(self.write, work)

    def look(self, work: Callable[[sa.Connection], T]) -> T:
        """Read with ``work``, again while the store is restarting.

        Raises:
            StoreError: as :meth:`transact`.
        """
        return _patiently(self.read, work)

    def time(self, conn: sa.Connection, here: datetime) -> datetime:
        """The one time that all workers share: the server's; with SQLite they are on one host, and ``here`` is it."""
        if self.is_sqlite:
            return here
        found: datetime = conn.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return found.astimezone(UTC)

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection for reading.

        Raises:
            StoreError: when the store cannot be read.
        """
        try:
            with self.engine.connect() as conn:
                yield conn
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            message = f"the store could not be read: {_first_line(error)}"
            raise StoreError(message, passing=_passes(error)) from error

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def _patiently(
    connect: Callable[[], contextlib.AbstractContextManager[sa.Connection]], work: Callable[[sa.Connection], T]
) -> T:
    until = time.monotonic() + _PATIENCE_S
    pause = 0.05
    while True:
        try:
            with connect() as conn:
                return work(conn)
        except StoreError as problem:
            if not problem.passing or problem.unsure or time.monotonic() > until:
                raise
        time.sleep(pause)
        pause = min(pause * 2, 1.0)


def micros(at: datetime) -> int:
    """Microseconds since 1970 in UTC."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def moment(value: int) -> datetime:
    """The time that :func:`micros` made a number of."""
    return _EPOCH + timedelta(microseconds=value)


def _engine(url: str) -> sa.Engine:
    parsed = sa.make_url(url)
    if parsed.drivername in {"postgres", "postgresql"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() != "sqlite":
        options = {"options": _POSTGRES, **_POSTGRES_NETWORK}
        return sa.create_engine(parsed, pool_size=5, max_overflow=10, pool_pre_ping=True, connect_args=options)
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(parsed, pool_size=10, max_overflow=20)
    event.listen(engine, "connect", _tune_sqlite)
    return engine


def _missing(conn: sa.Connection) -> list[sa.Executable]:
    """What an older version of the store lacks."""
    inspector = sa.inspect(conn)
    there = set(inspector.get_table_names())
    lacks: list[sa.Executable] = []
    for table in schema.metadata.sorted_tables:
        if table.name not in there:
            lacks.append(sa.schema.CreateTable(table))
            continue
        columns = {column["name"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name not in columns:
                what = sa.schema.CreateColumn(column).compile(dialect=conn.dialect)
                lacks.append(sa.text(f"ALTER TABLE {table.name} ADD COLUMN {what}"))
        indexes = {index["name"] for index in inspector.get_indexes(table.name)}
        lacks += [sa.schema.CreateIndex(index) for index in table.indexes if index.name not in indexes]
    return lacks


def _first_line(error: sa.exc.SQLAlchemyError) -> str:
    said = str(getattr(error, "orig", error)).partition("\n")[0]
    return f"{said}: make room, then everything goes on by itself" if _is_full(said) else said


def _is_full(said: str) -> bool:
    return "disk is full" in said or "No space left" in said


def _passes(error: sa.exc.SQLAlchemyError) -> bool:
    """Whether waiting may help: the server restarts, the file is locked, all connections are in use. A full disk needs a person."""
    if not isinstance(error, sa.exc.DBAPIError):
        return True
    if _is_full(str(error.orig)):
        return False
    return isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError)) or error.connection_invalidated


def _tune_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = "IMMEDIATE"
    for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
