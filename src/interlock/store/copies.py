"""A backup: one SQLite file with what a store holds, from one look at it, whichever database the store is in.

Copied are our own tables. Left out are tokens (one that was revoked meanwhile would live again), workers and leases
(they name processes), and what DBOS keeps, which follows from our tables.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import sqlalchemy as sa
from sqlalchemy import event

from interlock.errors import StoreError, UsageError
from interlock.model.canon import canonical
from interlock.store import schema as t
from interlock.store.database import Database

_FORMAT = 1
_BATCH = 1000
_COPIED = [
    table for table in t.metadata.sorted_tables if table not in {t.version, t.tokens, t.workers, t.leases, t.requests}
]
_ABOUT = sa.Table("il_backup", sa.MetaData(), sa.Column("about", sa.Text, nullable=False))


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """What a backup says of itself. ``digest`` covers all of it, and each row through ``tables``."""

    made_at: int
    """Microseconds since 1970."""
    store: str
    """``sqlite`` or ``postgresql``: what it was taken of."""
    version: int
    """The store's."""
    records: int
    """Of the ledger."""
    tables: Mapping[str, tuple[int, str]]
    """How many rows each has, and their SHA-256."""

    @property
    def digest(self) -> str:
        """SHA-256 over this description, and so over every row."""
        return hashlib.sha256(canonical(self._plain())).hexdigest()

    @property
    def text(self) -> str:
        """As it stands in the file."""
        return canonical(self._plain()).decode()

    def _plain(self) -> dict[str, Any]:
        return {
            "format": _FORMAT, "made_at": self.made_at, "store": self.store,
            "version": self.version, "records": self.records,
            "tables": {name: list(facts) for name, facts in self.tables.items()},
        }  # fmt: skip


def write(source: Database, file: Path, *, made_at: int) -> None:
    """Copy the store to a new file, as it is in one moment; others go on reading and writing meanwhile.

    The file appears under its name when it is complete and on the disk; until then it is called ``….part``.

    Raises:
        UsageError: when there is something of that name, or another backup is being written to it.
        StoreError: when the store cannot be read or the file cannot be written; there is no file then.
    """
    if file.exists():
        raise UsageError(f"{file} exists: a backup never overwrites anything; choose another name")
    part = file.with_name(f"{file.name}.part")
    try:
        with _only_writer(part), source.read() as conn:
            try:
                _begin_snapshot(conn, sqlite=source.is_sqlite)
                _fill_file(conn, part, made_at=made_at)
                _flush(part)
                os.link(part, file)  # fails where a rename would overwrite
                _flush(file.parent)
            finally:
                part.unlink(missing_ok=True)
    except FileExistsError as problem:
        raise UsageError(f"{file} exists: a backup never overwrites anything; choose another name") from problem
    except OSError as problem:
        raise StoreError(f"the backup could not be written to {file}: {problem.strerror or problem}") from problem


@contextlib.contextmanager
def _only_writer(part: Path) -> Iterator[None]:
    """Hold the unfinished file, empty; what a killed backup has left is taken over."""
    handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(handle, 0)
        yield
    except BlockingIOError as problem:
        raise UsageError(f"another backup is being written to {part}: wait for it, or choose another name") from problem
    finally:
        os.close(handle)


def _begin_snapshot(conn: sa.Connection, *, sqlite: bool) -> None:
    if sqlite:
        conn.exec_driver_sql("BEGIN")  # the driver would begin a new look with every query
        return
    conn.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    conn.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")  # the disk may be slow; no lock is held


def _fill_file(source: sa.Connection, part: Path, *, made_at: int) -> None:
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(part)), poolclass=sa.NullPool)
    event.listen(engine, "connect", _tune_new)
    try:
        with engine.begin() as target:
            t.metadata.create_all(target, tables=[t.version, *_COPIED])
            _ABOUT.create(target)
            tables = {table.name: _copy(source, target, table) for table in _COPIED}
            about = About(
                made_at=made_at, store=source.dialect.name, tables=tables,
                version=source.execute(sa.select(t.version.c.version)).scalar_one(), records=tables[t.ledger.name][0],
            )  # fmt: skip
            target.execute(t.version.insert().values(version=about.version))
            target.execute(_ABOUT.insert().values(about=about.text))
    except sa.exc.DBAPIError as problem:
        said = str(problem.orig).partition("\n")[0]
        raise StoreError(f"the backup could not be written: {said}") from problem
    finally:
        engine.dispose()


def _tune_new(connection: Any, _record: Any) -> None:
    """Nobody reads the file before it is complete and flushed: no journal, no flushing meanwhile."""
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=OFF"):
        connection.execute(f"PRAGMA {pragma}")


def _copy(source: sa.Connection, target: sa.Connection, table: sa.Table) -> tuple[int, str]:
    """Copy a table; returns how many rows it has, and their digest."""
    number, running = 0, hashlib.sha256()
    rows = source.execution_options(yield_per=_BATCH).execute(sa.select(table).order_by(*table.primary_key))
    for batch in rows.partitions():
        for row in batch:
            running.update(_row_bytes(row))
        number += len(batch)
        target.execute(table.insert(), [dict(row._mapping) for row in batch])  # noqa: SLF001 - SQLAlchemy's public name
    return number, running.hexdigest()


def _row_bytes(row: Sequence[Any]) -> bytes:
    return orjson.dumps([value.hex() if isinstance(value, bytes) else value for value in row]) + b"\n"


def _flush(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Backup:
    """A backup file, open for reading; its rows are those that it says it has."""

    def __init__(self, conn: sa.Connection, about: About) -> None:
        self.conn = conn
        self.about = about

    def pour(self, target: sa.Connection) -> None:
        """Copy every row into a store that has none, in the caller's transaction."""
        for table in _COPIED:
            for batch in _read(self.conn, table):
                target.execute(table.insert(), [dict(row._mapping) for row in batch])  # noqa: SLF001 - as above


@contextlib.contextmanager
def read(file: Path) -> Iterator[Backup]:
    """Open a backup.

    Raises:
        UsageError: when it is no backup, or was made by a newer Interlock.
        StoreError: when it is damaged: not every row is the one that was written.
    """
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    place = f"file:{quote(str(file.resolve()))}?mode=ro&immutable=1"
    engine = sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(place, uri=True), poolclass=sa.NullPool)
    try:
        with engine.connect() as conn:
            about = _about(conn, file)
            if about.version > t.VERSION or set(about.tables) - {table.name for table in _COPIED}:
                raise UsageError(f"{file} was made by a newer Interlock: upgrade this one first")
            _check_rows(conn, about, file)
            yield Backup(conn, about)
    except sa.exc.DBAPIError as problem:
        said = str(problem.orig).partition("\n")[0]
        raise StoreError(f"{file} cannot be read as a backup: {said}") from problem
    finally:
        engine.dispose()


def _about(conn: sa.Connection, file: Path) -> About:
    message = f"{file} is no backup: `interlock store backup FILE` makes one"
    try:
        found = orjson.loads(conn.execute(sa.select(_ABOUT.c.about)).scalar_one())
        if found.pop("format") != _FORMAT:
            raise UsageError(f"{file} was made by a newer Interlock: upgrade this one first")
        found["tables"] = {name: (int(number), str(digest)) for name, (number, digest) in found["tables"].items()}
        return About(**found)
    except (sa.exc.SQLAlchemyError, ValueError, TypeError, KeyError, AttributeError) as problem:
        raise UsageError(message) from problem


def _check_rows(conn: sa.Connection, about: About, file: Path) -> None:
    for table in _COPIED:
        number, running = 0, hashlib.sha256()
        for batch in _read(conn, table):
            for row in batch:
                running.update(_row_bytes(row))
            number += len(batch)
        if about.tables.get(table.name, (0, hashlib.sha256().hexdigest())) != (number, running.hexdigest()):
            raise StoreError(
                f"{file} is damaged or was changed: its table {table.name} is not the one that was written"
            )


def _read(conn: sa.Connection, table: sa.Table) -> Iterator[Sequence[sa.Row[Any]]]:
    """The rows in the order in which they were written, with the columns that the backup's version had."""
    inspector = sa.inspect(conn)
    if not inspector.has_table(table.name):
        return
    there = [column["name"] for column in inspector.get_columns(table.name)]
    unknown = set(there) - set(table.columns.keys())
    if unknown:
        raise UsageError(f"the backup knows {table.name}.{min(unknown)}, this Interlock does not: upgrade it first")
    query = sa.select(*(table.c[name] for name in there)).order_by(sa.literal_column("rowid"))
    yield from conn.execution_options(yield_per=_BATCH).execute(query).partitions()


def empty(conn: sa.Connection) -> bool:
    """Whether the store has neither a record nor a run."""
    return not any(conn.execute(sa.select(table).limit(1)).first() for table in (t.ledger, t.runs))


def clear(conn: sa.Connection) -> None:
    """Remove every row that a backup would hold."""
    for table in (t.workers, t.leases, *reversed(_COPIED)):
        conn.execute(table.delete())
