"""DBOS: all of it, nowhere else.

DBOS gives a body of code a fixed id and runs it until it has ended, on whichever worker is alive. Our bodies keep their
state in our own tables, in the same database; each state change is one transaction with its ledger record. They are
level-triggered: a body that is run again reads what has been done and goes on from there. So the only DBOS operation
inside a body is to wait for a wake-up, which may come too often and never too seldom: it is sent in the transaction
that changed what the body waits for.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig

from interlock.errors import StoreError
from interlock.store.database import Database

APPLICATION_VERSION = "interlock-1"
"""Fixed: by default DBOS hashes the code and then never resumes what an older version began. Raised by hand when
the order of waits in a body changes."""

_QUEUE_POLL_S = 0.05
_NOTIFY_POLL_S = 0.05
_WAKE = "wake"
_FEW = 50
_LIVE = ("PENDING", "ENQUEUED", "DELAYED")

SHARED = "shared"
"""The queue of runs that any ``interlock worker`` may take, wherever it is."""

Body = Callable[[str], Awaitable[None]]


class Bodies:
    """The two bodies of the process's worker. DBOS registers functions once per process and is one per process."""

    run: Body | None = None
    attempt: Body | None = None


@DBOS.workflow(name="run")
async def _run(run_id: str) -> None:
    if Bodies.run is not None:
        await Bodies.run(run_id)


@DBOS.workflow(name="attempt")
async def _attempt(attempt_id: str) -> None:
    if Bodies.attempt is not None:
        await Bodies.attempt(attempt_id)


class Durable:
    """The door to DBOS for one process. Without :meth:`launch` it can enqueue and wake, not execute."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._client: DBOSClient | None = None
        self._worker_id = ""
        self.queue = ""
        self.place_queue = ""

    def launch(self, worker_id: str, *, run: Body, attempt: Body, place: str = "") -> None:
        """Execute bodies in this process from now on: those of its own queue; with ``place``, shared ones, too.

        A run that came from the shared queue stays at the place that took it, where its workspace is: its attempts go
        to the place's queue, which all workers of that place serve.
        """
        self.prepare()
        Bodies.run, Bodies.attempt = run, attempt
        self._worker_id = worker_id
        own, shared = own_queue(worker_id), place_queue(place) if place else ""
        queues = [own, *([SHARED, shared] if place else [])]
        # DBOS looks for new queues once a second: one that is there before the launch is served at once
        for name in queues:
            self.client.register_queue(name, polling_interval_sec=_QUEUE_POLL_S)
        DBOS(config=self._config(worker_id))
        DBOS.listen_queues(queues)
        DBOS.launch()
        self.queue, self.place_queue = own, shared

    def _config(self, executor_id: str) -> DBOSConfig:
        return {
            "name": "interlock",
            "system_database_engine": self._database.engine,
            "executor_id": executor_id,
            "application_version": APPLICATION_VERSION,
            "notification_listener_polling_interval_sec": _NOTIFY_POLL_S,
            "use_listen_notify": not self._database.is_sqlite,
            "log_level": "ERROR",
            "console_log_level": "ERROR",
        }

    def shut_down(self) -> None:
        """Stop executing. What was under way is resumed by another worker; nothing is lost."""
        if self.queue:
            DBOS.destroy()
            Bodies.run = Bodies.attempt = None
            self.queue = self.place_queue = ""
        if self._client is not None:
            self._client.destroy()
            self._client = None

    @property
    def client(self) -> DBOSClient:
        """The client side of DBOS on our own engine."""
        if self._client is None:
            _quiet()
            self._client = DBOSClient(
                system_database_engine=self._database.engine, application_name="interlock", lazy=True
            )
        return self._client

    def prepare(self) -> None:
        """Make DBOS's own tables where no worker has been yet: work may be put into a store before anybody executes.

        Not in a transaction of ours: DBOS makes them on a connection of its own.
        """
        if self.queue or self.is_ready():
            return
        _quiet()
        url = self._database.engine.url.render_as_string(hide_password=False)
        try:
            DBOS.migrate(url)
        except Exception:
            if not self.is_ready():  # another process may have made them at the same moment
                raise

    def start_run(self, conn: sa.Connection, run_id: str, queue: str) -> None:
        """Have the run's body executed once the caller's transaction is committed."""
        self._enqueue(conn, "run", run_id, queue)

    def start_attempt(self, conn: sa.Connection, attempt_id: str, queue: str) -> None:
        """Have the attempt's body executed once the caller's transaction is committed."""
        self._enqueue(conn, "attempt", attempt_id, queue)

    def _enqueue(self, conn: sa.Connection, name: str, workflow_id: str, queue: str) -> None:
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

    def wake(self, conn: sa.Connection, run_id: str) -> None:
        """Wake the run's body once the caller's transaction is committed. A run that has ended takes no notice."""
        status = self._table("workflow_status")
        known = conn.execute(sa.select(status.c.status).where(status.c.workflow_uuid == run_id)).scalar()
        if known in _LIVE:
            self.client.send_in_transaction(conn, run_id, "", topic=_WAKE)

    async def wait(self, at_most: timedelta) -> None:
        """Inside a run's body: wait for a wake-up, or until the time is over.

        Raises:
            StoreError: when the store went away meanwhile; DBOS would count it as the body's own failure.
        """
        try:
            await DBOS.recv_async(_WAKE, timeout_seconds=max(at_most.total_seconds(), 0.0))
        except sa.exc.DBAPIError as error:
            raise StoreError(f"the store could not be read: {error.orig}", passing=True) from error

    @property
    def heir_queue(self) -> str:
        """Where this process puts what it takes over: to all workers of its place, where it serves them."""
        return self.place_queue or self.queue

    def attempts_queue(self, conn: sa.Connection, run_id: str) -> str:
        """Where the attempts of a run go whose body this process executes."""
        status = self._table("workflow_status")
        query = sa.select(status.c.queue_name).where(status.c.workflow_uuid == run_id)
        return self.queue if conn.execute(query).scalar() == self.queue else self.heir_queue

    def left_by(self, conn: sa.Connection, worker_id: str) -> list[str]:
        """What a dead worker was executing or had in its own queue."""
        status = self._table("workflow_status")
        query = sa.select(status.c.workflow_uuid).where(
            status.c.status.in_(_LIVE),
            sa.or_(
                sa.and_(status.c.executor_id == worker_id, status.c.status == "PENDING"),
                status.c.queue_name == own_queue(worker_id),
            ),
        )
        return list(conn.execute(query).scalars())

    def resume(self, ids: Sequence[str], queue: str = "") -> None:
        """Have these bodies executed again; what has ended meanwhile stays as it is."""
        if ids:
            self.client.resume_workflows(list(ids), queue_name=queue or self.heir_queue)

    def broken(self, conn: sa.Connection, ids: Sequence[str]) -> list[str]:
        """Which of these bodies DBOS has given up, though our tables say that they have not ended."""
        status = self._table("workflow_status")
        query = sa.select(status.c.workflow_uuid).where(
            status.c.workflow_uuid.in_(ids), status.c.status.not_in([*_LIVE, "SUCCESS"])
        )
        return list(conn.execute(query).scalars()) if ids else []

    def begin_again(self, ids: Sequence[str]) -> None:
        """Have these bodies executed once more from their beginning."""
        for workflow_id in ids:
            self.client.rewind_workflow(workflow_id, queue_name=self.heir_queue)

    def forget(self, worker_id: str) -> None:
        """Remove a dead worker's own queue."""
        self.client.delete_queue(own_queue(worker_id))

    def forget_bodies(self, ids: Sequence[str]) -> None:
        """Remove what DBOS keeps of runs that have ended, and of their attempts."""
        status = self._table("workflow_status")
        query = sa.select(status.c.workflow_uuid).where(status.c.status.not_in(_LIVE))
        for start in range(0, len(ids), _FEW):
            few = list(ids[start : start + _FEW])
            mine = sa.or_(
                status.c.workflow_uuid.in_(few),
                *(status.c.workflow_uuid.startswith(f"{run_id}-", autoescape=True) for run_id in few),
            )
            with self._database.read() as conn:
                found = list(conn.execute(query.where(mine)).scalars())
            self.client.delete_workflows(found)

    def forget_all(self, conn: sa.Connection) -> None:
        """Remove every body, of a store whose rows are being replaced."""
        conn.execute(sa.delete(self._table("workflow_status")))

    def is_mine(self, conn: sa.Connection, workflow_id: str) -> bool:
        """Whether the body is this process's to execute, as far as DBOS knows."""
        status = self._table("workflow_status")
        query = sa.select(status.c.executor_id).where(
            status.c.workflow_uuid == workflow_id, status.c.status == "PENDING"
        )
        return conn.execute(query).scalar() == self._worker_id

    def waits_for_anybody(self, conn: sa.Connection, run_id: str) -> bool:
        """Whether the run is in the shared queue and nobody has taken it yet."""
        status = self._table("workflow_status")
        query = sa.select(status.c.queue_name).where(status.c.workflow_uuid == run_id, status.c.status == "ENQUEUED")
        return conn.execute(query).scalar() == SHARED

    def is_live(self, conn: sa.Connection, workflow_id: str) -> bool:
        """Whether DBOS still has the body to execute or to finish."""
        status = self._table("workflow_status")
        query = sa.select(status.c.status).where(status.c.workflow_uuid == workflow_id)
        return conn.execute(query).scalar() in _LIVE

    def is_ready(self) -> bool:
        """Whether DBOS's own tables exist: they are made by the first worker."""
        schema = None if self._database.is_sqlite else "dbos"
        return sa.inspect(self._database.engine).has_table("workflow_status", schema=schema)

    def _table(self, name: str) -> Any:
        columns: list[Any] = [sa.column(word) for word in ("workflow_uuid", "status", "executor_id", "queue_name")]
        return sa.table(name, *columns, schema=None if self._database.is_sqlite else "dbos")


def own_queue(worker_id: str) -> str:
    """The queue that only this worker serves."""
    return f"worker-{worker_id}"


def place_queue(place: str) -> str:
    """The queue that all workers of a place serve which serve others at all."""
    return f"place-{place}"


def _quiet() -> None:
    """DBOS speaks to the console about every start and stop; only its errors matter to our users."""
    logging.getLogger("dbos").setLevel(logging.ERROR)
