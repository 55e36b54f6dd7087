"""The door to DBOS. The library itself is behind it, in :mod:`interlock.engine.executor`, and nowhere else.

DBOS gives a body of code a fixed id and runs it until it has ended, on whichever worker is alive. Our bodies keep their
state in our own tables, in the same database; each state change is one transaction with its ledger record. They are
level-triggered: a body that is run again reads what has been done and goes on from there. So there is no DBOS operation
inside a body, and what it waits for it hears from the ledger (:mod:`interlock.engine.news`): a wake-up may come too often
and never too seldom. A run that waits for a person or for a place has no body at all: it is *parked*, and what ends the
wait puts a body into the queue in its own transaction. DBOS's queues are asked for work when the ledger says that there is some, and once a second anyhow.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from interlock.engine.news import Item, News
from interlock.engine.seats import Seats
from interlock.store.database import AT_WORK, Database
from interlock.store.queue import home_of, unpark

if TYPE_CHECKING:
    from dbos import DBOSClient

    from interlock.engine.executor import Executor

_WORK = frozenset({
    "task.submitted", "attempt.admitted", "attempt.succeeded", "attempt.failed", "approval.approved", "approval.denied",
    "approval.expired", "run.cancel_requested",
})  # fmt: skip
"""Records that come with something in a queue."""
_TURNS = frozenset({"attempt.succeeded", "attempt.failed", "run.cancel_requested"})
"""Records that a run's body may wait for."""
_FEW = 50
_LIVE = ("PENDING", "ENQUEUED", "DELAYED")

SHARED = "shared"
"""The queue of runs that any ``interlock worker`` may take, wherever it is."""

Body = Callable[[str], Awaitable[None]]


class Lost(BaseException):
    """Raised inside a body when this worker may not go on with it: it has lost its lease or is shutting down."""


@dataclass(kw_only=True, slots=True)
class _Turn:
    """A run's body under way here, and whether something has happened to the run meanwhile."""

    loop: asyncio.AbstractEventLoop
    come: asyncio.Event = field(default_factory=asyncio.Event)
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    bodies: int = 0


class Bell(threading.Event):
    """What a queue's thread waits on instead of a poll's time. Set, as DBOS sees it, once it is to end."""

    def __init__(self) -> None:
        super().__init__()
        self._rung = threading.Event()

    def ring(self) -> None:
        """End the wait: there is work."""
        self._rung.set()

    def set(self) -> None:
        """End the thread."""
        super().set()
        self._rung.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Until it is rung, or the time is over; True when the thread is to end."""
        self._rung.wait(timeout)
        if not self.is_set():
            self._rung.clear()
        return self.is_set()


class Durable:
    """The door to DBOS for one process. Without :meth:`launch` it can enqueue and wake, not execute."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loaded: Executor | None = None
        self._worker_id = ""
        self._bells: dict[threading.Thread, Bell] = {}
        self._news: News | None = None
        self._turns: dict[str, _Turn] = {}
        self._seats = Seats()
        self.queue = ""
        self.place_queue = ""

    def launch(self, worker_id: str, *, run: Body, attempt: Body, place: str = "") -> None:
        """Execute bodies in this process from now on: those of its own queue; with ``place``, shared ones, too.

        A run that came from the shared queue stays at the place that took it, where its workspace is: its attempts go
        to the place's queue, which all workers of that place serve.
        """
        self.prepare()
        self._worker_id = worker_id
        own, shared = own_queue(worker_id), place_queue(place) if place else ""
        queues = self._dbos.register((own, *([SHARED, shared] if place else [])))
        self._news = News(self._database, self._hear)
        self._news.start()
        serve = self._dbos.launch(worker_id, run=run, attempt=attempt)
        for queue in queues:
            bell = Bell()
            bell.ring()
            server = threading.Thread(target=_at_work, args=(serve, bell, queue), name=queue.name, daemon=True)
            self._bells[server] = bell
            server.start()
        self.queue, self.place_queue = own, shared

    def listening(self, run: Body) -> Body:
        """The run's body, with a seat and an ear as long as it is executed; never two of one run at once here."""

        async def listening(run_id: str) -> None:
            turn = self._turns.setdefault(run_id, _Turn(loop=asyncio.get_running_loop()))
            turn.bodies += 1
            try:
                async with turn.alone, self._seats.one():
                    await run(run_id)
            finally:
                turn.bodies -= 1
                if not turn.bodies:
                    del self._turns[run_id]

        return listening

    def _hear(self, item: Item) -> None:
        if item.kind in _WORK:
            for bell in list(self._bells.values()):
                bell.ring()
        if item.kind in _TURNS and (turn := self._turns.get(item.run_id)):
            with contextlib.suppress(RuntimeError):  # the loop has ended
                turn.loop.call_soon_threadsafe(turn.come.set)

    def shut_down(self) -> None:
        """Stop executing. What was under way is resumed by another worker; nothing is lost."""
        if self._news is not None:
            self._news.stop()
            self._news = None
        for bell in self._bells.values():
            bell.set()
        for server in self._bells:
            server.join()
        self._bells.clear()
        if self._loaded is not None:
            self._loaded.destroy()
            self._loaded = None
        self.queue = self.place_queue = ""

    @property
    def _dbos(self) -> Executor:
        if self._loaded is None:
            from interlock.engine.executor import Executor  # noqa: PLC0415 - a third of a second that readers do without

            self._loaded = Executor(self._database)
        return self._loaded

    @property
    def client(self) -> DBOSClient:
        """The client side of DBOS on our own engine."""
        return self._dbos.client

    def prepare(self) -> None:
        """Make DBOS's own tables where no worker has been yet: work may be put into a store before anybody executes.

        Not in a transaction of ours: DBOS makes them on a connection of its own.
        """
        if not self.queue:
            self._dbos.prepare()

    def start_run(self, conn: sa.Connection, run_id: str, queue: str) -> None:
        """Have the run's body executed once the caller's transaction is committed."""
        self._enqueue(conn, "run", run_id, queue)

    def rouse(self, conn: sa.Connection, run_id: str) -> None:
        """Have a parked run walked on once the caller's transaction is committed; any other is left alone.

        If the body that has parked it is still on its last lines, DBOS finds that its end is not asked for any more.
        """
        if unpark(conn, run_id):
            conn.execute(sa.delete(status := self._table("workflow_status")).where(status.c.workflow_uuid == run_id))
            self.start_run(conn, run_id, home_of(conn, run_id)[1])

    def start_attempt(self, conn: sa.Connection, attempt_id: str, queue: str) -> None:
        """Have the attempt's body executed once the caller's transaction is committed."""
        self._enqueue(conn, "attempt", attempt_id, queue)

    def _enqueue(self, conn: sa.Connection, name: str, workflow_id: str, queue: str) -> None:
        self._dbos.enqueue(conn, name, workflow_id, queue)

    async def wait(self, run_id: str, at_most: timedelta) -> None:
        """Inside a run's body: wait until something has happened to the run, or until the time is over.

        What happened since the last wait counts too.
        """
        turn = self._turns[run_id].come
        async with self.standing_up():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(at_most.total_seconds(), 0.0)):
                    await turn.wait()
        turn.clear()

    def standing_up(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Inside a run's body: let others go on while this one waits, or has something done that takes long."""
        return self._seats.none()

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
        """Which of these bodies DBOS executes no more, though our tables say that they have not ended."""
        status = self._table("workflow_status")
        query = sa.select(status.c.workflow_uuid).where(status.c.workflow_uuid.in_(ids), status.c.status.not_in(_LIVE))
        return list(conn.execute(query).scalars()) if ids else []

    def begin_again(self, ids: Sequence[str]) -> None:
        """Have these bodies executed once more from their beginning, unless another thread or worker was first."""
        for workflow_id in ids:
            try:
                self.client.rewind_workflow(workflow_id, queue_name=self.heir_queue)
            except self._dbos.errors:
                with self._database.read() as conn:
                    if self.broken(conn, [workflow_id]):
                        raise

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

    def _table(self, name: str) -> Any:
        columns: list[Any] = [sa.column(word) for word in ("workflow_uuid", "status", "executor_id", "queue_name")]
        return sa.table(name, *columns, schema=None if self._database.is_sqlite else "dbos")


def _at_work(serve: Callable[[Bell, Any], None], bell: Bell, queue: Any) -> None:
    AT_WORK.set(True)  # what is in a queue holds a permit, or is about to ask for one
    serve(bell, queue)


def own_queue(worker_id: str) -> str:
    """The queue that only this worker serves."""
    return f"worker-{worker_id}"


def place_queue(place: str) -> str:
    """The queue that all workers of a place serve which serve others at all."""
    return f"place-{place}"
