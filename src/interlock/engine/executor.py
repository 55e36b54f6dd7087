"""DBOS itself: loaded by :mod:`interlock.engine.durable` when bodies are handed in or executed, and by nobody else.

It takes a third of a second to import. Whoever only reads the store, or only judges, does without it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig, Queue, error
from dbos._migration import get_migration_versions, get_sqlite_migration_versions
from dbos._queue import queue_worker_thread

from interlock.store.database import Database

APPLICATION_VERSION = "interlock-1"
"""Fixed: by default DBOS hashes the code and then never resumes what an older version began. Raised by hand when
the order of waits in a body changes."""

_QUEUE_POLL_S = 1.0
_MADE_S = 20.0
"""Seconds to wait for another process that makes DBOS's tables."""


class Bodies:
    """The two bodies of the process's worker. DBOS registers functions once per process and is one per process."""

    run: Callable[[str], Awaitable[None]] | None = None
    attempt: Callable[[str], Awaitable[None]] | None = None


@DBOS.workflow(name="run")
async def _run(run_id: str) -> None:
    if Bodies.run is not None:
        await Bodies.run(run_id)


@DBOS.workflow(name="attempt")
async def _attempt(attempt_id: str) -> None:
    if Bodies.attempt is not None:
        await Bodies.attempt(attempt_id)


class Executor:
    """DBOS on our own database. Without :meth:`launch` it is the client side only."""

    errors = error.DBOSException

    def __init__(self, database: Database) -> None:
        logging.getLogger("dbos").setLevel(logging.ERROR)  # it tells the console about every start and stop
        self._database = database
        self._launched = False
        self.client = DBOSClient(system_database_engine=database.engine, application_name="interlock", lazy=True)

    def register(self, names: Sequence[str]) -> list[Queue]:
        """The queues of those names, made where they are new."""
        return [self.client.register_queue(name, polling_interval_sec=_QUEUE_POLL_S) for name in names]

    def launch(
        self,
        executor_id: str,
        *,
        run: Callable[[str], Awaitable[None]],
        attempt: Callable[[str], Awaitable[None]],
    ) -> Callable[[threading.Event, Queue], None]:
        """Execute bodies in this process from now on; returns what serves a queue until the event is set."""
        Bodies.run, Bodies.attempt = run, attempt
        dbos = DBOS(config=self._config(executor_id))
        self._launched = True
        DBOS.listen_queues([])
        DBOS.launch()
        return lambda ending, queue: queue_worker_thread(ending, dbos, queue)

    def _config(self, executor_id: str) -> DBOSConfig:
        return {
            "name": "interlock",
            "system_database_engine": self._database.engine,
            "executor_id": executor_id,
            "application_version": APPLICATION_VERSION,
            "notification_listener_polling_interval_sec": _QUEUE_POLL_S,  # nobody waits for DBOS's own notifications
            "use_listen_notify": False,
            "log_level": "ERROR",
            "console_log_level": "ERROR",
        }

    def destroy(self) -> None:
        """Execute nothing more, and let go of the database."""
        if self._launched:
            DBOS.destroy()
            Bodies.run = Bodies.attempt = None
        self.client.destroy()

    def prepare(self) -> None:
        """Make DBOS's own tables where no worker has been yet."""
        if self.is_ready():
            return
        url = self._database.engine.url.render_as_string(hide_password=False)
        try:
            DBOS.migrate(url)
        except Exception:
            until = time.monotonic() + _MADE_S
            while not self.is_ready():  # another process may be making them at this moment
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def is_ready(self) -> bool:
        """Whether DBOS's own tables are all there and of this version: the first process makes them, one after the other."""
        if self._database.is_sqlite:
            found, known = get_sqlite_migration_versions(self._database.engine)
        else:
            found, known = get_migration_versions(self._database.engine, "dbos", use_listen_notify=False)
        return found >= known

    def enqueue(self, conn: sa.Connection, name: str, workflow_id: str, queue: str) -> None:
        """Have the body executed once the caller's transaction is committed."""
        self.client.enqueue_in_transaction(
            conn,
            {
                "workflow_name": name,
                "queue_name": queue,
                "workflow_id": workflow_id,
                "app_version": APPLICATION_VERSION,
            },
            workflow_id,
        )
