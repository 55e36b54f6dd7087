"""News: what the ledger has to say, as soon as it is committed, to whoever waits in this process.

Every change of state is one transaction with its record, so the ledger's end is the one thing to watch. Commits of other
processes are noticed by Postgres' NOTIFY, and with SQLite by a glance at ``PRAGMA data_version``. Nothing can be missed:
whatever woke the reader, or whatever failed to, it goes on from the last record that it has told.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from interlock.errors import StoreError
from interlock.store import rows
from interlock.store.database import CHANNEL, Database

_log = logging.getLogger(__name__)

_NEW = sa.text("SELECT seq, run_id, kind FROM il_ledger WHERE seq > :seen ORDER BY seq LIMIT 1000")

_GLANCE_S = 0.025
"""Seconds between two looks at SQLite's ``data_version``: some 10 µs each, and no lock."""
_ANYHOW_S = 1.0
"""Seconds after which the end of the ledger is read whatever was heard."""
_BACK_S = 0.5
"""Seconds before a store that went away is tried again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A record that was just committed."""

    run_id: str
    kind: str


class News:
    """The ledger's end, as one process follows it."""

    def __init__(self, database: Database, tell: Callable[[Item], None]) -> None:
        self._database = database
        self._tell = tell
        self._seen = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="interlock-news", daemon=True)
        self._away = (StoreError, sa.exc.SQLAlchemyError, database.engine.dialect.loaded_dbapi.Error)

    def start(self) -> None:
        """Tell of every record that is committed from now on.

        Raises:
            StoreError: when the store cannot be read.
        """
        self._seen = self._database.look(rows.last_record)
        self._thread.start()

    def stop(self) -> None:
        """Tell no more."""
        self._stopping.set()
        self._database.committed.set()
        if self._thread.is_alive():
            self._thread.join()

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._connection() as conn:
                    wait = self._glances(conn) if self._database.is_sqlite else self._notifications(conn)
                    while not self._stopping.is_set():
                        self._read(conn)
                        next(wait)
            except self._away as problem:
                _log.debug("news: %s", problem)
            except Exception:  # noqa: BLE001 - without this thread everything would wait for its next look
                _log.exception("news are read again")
            self._stopping.wait(_BACK_S)

    def _read(self, conn: sa.Connection) -> None:
        for seq, run_id, kind in conn.execute(_NEW, {"seen": self._seen}):
            self._tell(Item(run_id=run_id, kind=kind))
            self._seen = seq

    def _glances(self, conn: sa.Connection) -> Iterator[None]:
        """Each step ends after a commit of anybody's, or after a while."""
        cursor = conn.connection.cursor()
        known: Any = None
        while True:
            for _ in range(int(_ANYHOW_S / _GLANCE_S)):
                self._database.committed.wait(_GLANCE_S)
                self._database.committed.clear()
                cursor.execute("PRAGMA data_version")
                version = cursor.fetchone()
                if version != known or self._stopping.is_set():
                    known = version
                    break
            yield

    def _notifications(self, conn: sa.Connection) -> Iterator[None]:
        """The same, by listening."""
        conn.execute(sa.text(f"LISTEN {CHANNEL}"))
        driver: Any = conn.connection.dbapi_connection
        while True:
            for _ in driver.notifies(timeout=_ANYHOW_S, stop_after=1):
                break
            yield

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sa.Connection]:
        """A connection that nobody else uses, in no transaction."""
        with self._database.engine.connect() as conn:
            alone = conn.execution_options(isolation_level="AUTOCOMMIT")
            alone.detach()
            yield alone
