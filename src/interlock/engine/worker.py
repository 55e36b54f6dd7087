"""A process that executes: it holds a lease, hands out permits, takes over from the dead, and ends what must end."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from interlock.engine.alive import born, host, is_dead
from interlock.engine.attempt import AttemptLine, Switch
from interlock.engine.durable import Body, Lost, own_queue, place_queue
from interlock.engine.means import Means
from interlock.engine.run import RunLine
from interlock.errors import StoreError
from interlock.model.ids import new_id
from interlock.reading.statements import warm
from interlock.store import queue, rows
from interlock.store.database import AT_WORK, micros

_log = logging.getLogger(__name__)

_TICK_S = 0.1
_LOOK_S = 1.0
"""Seconds between looks for dead workers: a process that signed off or was killed is noticed that soon on its host."""
_MEND_S = 30.0
_RARELY = 20
"""How many times longer than it took the next forecast of the queue is put off: a long queue costs no more than a short one."""
_PAUSE_S = 5.0
"""Seconds before a body is walked again that broke in a way nobody foresaw."""
_ENDING_S = 10.0
"""How long a worker that stops waits for its agents to be gone."""


def worker_name() -> str:
    """A name that no other process ever has: DBOS executes a name's work twice when two processes share it."""
    return new_id("wrk")


class Worker:
    """Executes runs and attempts in this process until it is stopped.

    With ``shared`` it also serves the queues that all such workers share; otherwise only its own.
    """

    def __init__(self, means: Means, *, shared: bool = False) -> None:
        self._means = means
        self._shared = shared
        self._switches: dict[str, Switch] = {}
        self._stopping = threading.Event()
        self._draining = threading.Event()
        self._loops = [
            threading.Thread(target=self._loop, name="interlock-worker", daemon=True),
            threading.Thread(target=self._guard, name="interlock-guard", daemon=True),
        ]
        self._place = place_of(means.settings.project, means.settings.worker.place)
        self._warming = threading.Thread(target=warm, name="interlock-warm", daemon=True)
        self._lease = timedelta(seconds=means.settings.worker.lease_s)
        self._beat_every = means.settings.worker.heartbeat_s
        self._beaten = self._looked = uptime()
        self._mended = self._expired = self._forecast = 0.0

    def start(self) -> None:
        """Begin to execute, and take over what dead workers have left. The lease comes first: without it nobody would."""
        self._beat()
        self._means.durable.launch(
            self._means.worker_id,
            run=self._kept(self._means.durable.listening(RunLine(self._means))),
            attempt=self._kept(AttemptLine(self._means, self._switches)),
            place=self._place if self._shared else "",
        )
        self.take_over()
        for loop in self._loops:
            loop.start()
        self._warming.start()

    def drain(self, at_most: float, hurry: threading.Event) -> None:
        """Take nothing new and let the agents at work finish, for ``at_most`` seconds or until ``hurry``."""
        self._draining.set()
        until = time.monotonic() + at_most
        while self._switches and time.monotonic() < until and not hurry.wait(_TICK_S):
            pass

    def at_work(self) -> int:
        """How many attempts this process executes."""
        return len(self._switches)

    def stop(self) -> None:
        """End the agents of this process, give its lease back, and leave the rest to be resumed by the next one."""
        self._draining.set()
        self._stopping.set()
        self._lose()
        until = time.monotonic() + _ENDING_S
        while self._switches and time.monotonic() < until:
            time.sleep(_TICK_S)
        for loop in self._loops:
            if loop.is_alive():
                loop.join()
        if self._warming.is_alive():  # a thread that loads libraries must not be met by the end of the interpreter
            self._warming.join()
        self._means.durable.shut_down()
        with contextlib.suppress(StoreError), self._means.database.write() as conn:
            queue.beat(conn, self._row(0))

    def _kept(self, body: Body) -> Body:
        """A body that outlives a store which does not answer, and a lost lease when nobody else took its work over."""

        async def kept(workflow_id: str) -> None:
            if self._draining.is_set():
                raise Lost
            if self._fenced():
                await self._regained(workflow_id)
            while not await self._walked(body, workflow_id):
                await self._regained(workflow_id)

        return kept

    async def _walked(self, body: Body, workflow_id: str) -> bool:
        """Whether the body has come to its end; otherwise it is to be walked again.

        Raises:
            Lost: when this process stops.
        """
        try:
            await body(workflow_id)
        except StoreError as problem:
            _log.warning("%s waits for the store: %s", workflow_id, problem)
            return False
        except Lost:
            if self._stopping.is_set():
                raise
            return False
        except Exception as problem:
            if self._stopping.is_set():  # the process is being taken down under the body: that is no failure
                raise Lost from problem
            if type(problem).__module__.startswith("dbos"):  # another worker has the body
                raise
            _log.exception("%s is begun again", workflow_id)
            await asyncio.sleep(_PAUSE_S)
            return False
        return True

    async def _regained(self, workflow_id: str) -> None:
        """Wait until this worker may go on with the body.

        Raises:
            Lost: when another one has it, or this process stops.
        """
        while True:
            await asyncio.sleep(_LOOK_S / 2)
            if self._stopping.is_set():
                raise Lost
            if self._fenced():
                continue
            with contextlib.suppress(StoreError):
                if await self._means.read(lambda conn: self._means.durable.is_mine(conn, workflow_id)):
                    return
                raise Lost

    def _loop(self) -> None:
        AT_WORK.set(True)
        while not self._stopping.wait(_TICK_S):
            try:
                self._tick()
            except StoreError as problem:  # the store may be back at the next tick; the guard counts meanwhile
                _log.warning("store: %s", problem)
            except Exception:  # noqa: BLE001 - a loop that ends would leave a worker that looks alive and does nothing
                _log.exception("the worker's loop goes on")

    def _tick(self) -> None:
        if uptime() - self._beaten > self._beat_every:
            self._beat()
        if uptime() - self._looked > _LOOK_S:
            self._looked = uptime()
            self.take_over()
        if uptime() - self._expired > _LOOK_S and not self._means.approvals.expire():
            self._expired = uptime()
        if uptime() - self._mended > _MEND_S:
            self._mend()
        if uptime() > self._forecast:
            began = uptime()
            self._means.governor.note_forecasts()
            self._forecast = uptime() + _LOOK_S + _RARELY * (uptime() - began)
        self._cancel()
        if not self._draining.is_set():
            self._means.governor.admit()

    def _mend(self) -> None:
        """Begin again what DBOS has given up, by its own count of crashes or by a foreign hand, though it has not ended."""
        with self._means.database.read() as conn:
            broken = self._means.durable.broken(conn, rows.open_bodies(conn, self._means.worker_id))
        self._means.durable.begin_again(broken)
        self._mended = uptime()

    def _beat(self) -> None:
        began = uptime()
        with self._means.database.aside() as conn:
            until = self._means.database.time(conn, self._means.clock.now()) + self._lease
            queue.beat(conn, self._row(micros(until)))
        self._beaten = began

    def _guard(self) -> None:
        """Fence ourselves: without a heartbeat in time others will take over, so our agents must be gone by then.

        In a thread of its own: the other one may hang in a store that does not answer.
        """
        while not self._stopping.wait(_TICK_S):
            if self._fenced():
                self._lose()

    def _fenced(self) -> bool:
        return uptime() - self._beaten > self._lease.total_seconds() - self._beat_every

    def _lose(self) -> None:
        for switch in list(self._switches.values()):
            switch.lost = True

    def _cancel(self) -> None:
        if not self._switches:
            return
        with self._means.database.read() as conn:
            ending = rows.runs_to_halt(conn)
            if not ending:
                return
            for attempt_id, switch in list(self._switches.items()):
                attempt = rows.find_attempt(conn, attempt_id)
                if attempt is not None and attempt.run_id in ending:
                    switch.cancelled = switch.cancelled or ending[attempt.run_id]

    def take_over(self) -> list[str]:
        """Resume what dead workers of this place were executing; returns the ids of runs and attempts."""
        with self._means.database.read() as conn:
            if not list(self._dead(conn)):
                return []
        with self._means.database.write() as conn:
            dead = {row.id for row in self._dead(conn)}
            for worker_id in dead:
                queue.inherit(conn, worker_id, self._means.worker_id, self._means.durable.heir_queue)
        return [workflow_id for worker_id in dead for workflow_id in self._inherit(worker_id)]

    def _inherit(self, worker_id: str) -> list[str]:
        """Resume until nothing is left: somebody may have put a body into the dead one's queue until a moment ago."""
        adopted: list[str] = []
        while True:
            with self._means.database.write() as conn:
                left = self._means.durable.left_by(conn, worker_id)
                if not left:
                    queue.forget_worker(conn, worker_id)
                    break
            self._means.durable.resume(left)
            adopted += left
        self._means.durable.forget(worker_id)
        return adopted

    def _dead(self, conn: sa.Connection) -> Iterator[queue.WorkerRow]:
        workers = {row.id: row for row in queue.list_workers(conn)}
        now = micros(self._means.database.time(conn, self._means.clock.now()))
        for row in workers.values():
            heir = workers.get(row.heir)
            mine = row.id != self._means.worker_id and row.place == self._place
            if mine and is_dead(row, now) and (heir is None or heir.id == self._means.worker_id or is_dead(heir, now)):
                yield row

    def _row(self, lease_until: int) -> queue.WorkerRow:
        return queue.WorkerRow(
            id=self._means.worker_id, host=host(), pid=os.getpid(), born=born(os.getpid()), place=self._place,
            queue=place_queue(self._place) if self._shared else own_queue(self._means.worker_id), lease_until=lease_until, heir="",
        )  # fmt: skip


def place_of(project: Path, declared: str) -> str:
    """Where a run's workspace is: this host and project, unless the settings name a place that several hosts share."""
    return declared or hashlib.sha256(f"{socket.gethostname()}:{project}".encode()).hexdigest()[:16]


def uptime() -> float:
    """Seconds on a clock that never goes back and also counts while the machine sleeps, as leases do."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
