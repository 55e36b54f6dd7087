"""A process that executes: it holds a lease, hands out permits, takes over from the dead, and ends what must end."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import sqlalchemy as sa

from interlock.engine.alive import born, is_dead
from interlock.engine.attempt import AttemptLine, Switch
from interlock.engine.means import Means
from interlock.engine.run import RunLine
from interlock.errors import StoreError
from interlock.model.ids import new_id
from interlock.store import queue, rows
from interlock.store.database import micros

_log = logging.getLogger(__name__)

_TICK_S = 0.1
_ENDING_S = 10.0
"""How long a worker that stops waits for its agents to be gone."""


def worker_name() -> str:
    """A name that no other process ever has: DBOS executes a name's work twice when two processes share it."""
    return new_id("wrk")


class Worker:
    """Executes runs and attempts in this process until it is stopped."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._switches: dict[str, Switch] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="interlock-worker", daemon=True)
        self._lease = timedelta(seconds=means.settings.worker.lease_s)
        self._beat_every = means.settings.worker.heartbeat_s
        self._beaten = time.monotonic()

    def start(self) -> None:
        """Begin to execute, and take over what dead workers have left."""
        self._beat()
        self._means.durable.launch(
            self._means.worker_id, run=RunLine(self._means), attempt=AttemptLine(self._means, self._switches)
        )
        self.take_over()
        self._thread.start()

    def stop(self) -> None:
        """End the agents of this process and leave everything to be resumed by the next one."""
        self._stopping.set()
        for switch in list(self._switches.values()):
            switch.lost = True
        until = time.monotonic() + _ENDING_S
        while self._switches and time.monotonic() < until:
            time.sleep(_TICK_S)
        if self._thread.is_alive():
            self._thread.join()
        self._means.durable.shut_down()
        with contextlib.suppress(StoreError), self._means.database.write() as conn:
            queue.beat(conn, replace(self._row(), lease_until=0))

    def _loop(self) -> None:
        while not self._stopping.wait(_TICK_S):
            try:
                self._tick()
            except StoreError as problem:  # the store may be back at the next tick; the watchdog counts meanwhile
                _log.warning("store: %s", problem)
            self._watch()

    def _tick(self) -> None:
        if time.monotonic() - self._beaten > self._beat_every:
            self._beat()
            self.take_over()
        self._cancel()
        self._means.governor.admit()

    def _beat(self) -> None:
        with self._means.database.write() as conn:
            queue.beat(conn, self._row())
        self._beaten = time.monotonic()

    def _watch(self) -> None:
        """Fence ourselves: without a heartbeat in time others will take over, so our agents must be gone by then."""
        if time.monotonic() - self._beaten > self._lease.total_seconds() - self._beat_every:
            for switch in list(self._switches.values()):
                switch.lost = True

    def _cancel(self) -> None:
        if not self._switches:
            return
        with self._means.database.read() as conn:
            ending = rows.runs_to_halt(conn)
            for attempt_id, switch in list(self._switches.items()):
                attempt = rows.find_attempt(conn, attempt_id)
                if attempt is not None and attempt.run_id in ending:
                    switch.cancelled = switch.cancelled or ending[attempt.run_id]

    def take_over(self) -> list[str]:
        """Resume what dead workers were executing; returns the ids of runs and attempts."""
        with self._means.database.write() as conn:
            heirs = {row.id for row in self._dead(conn)}
            for worker_id in heirs:
                queue.inherit(conn, worker_id, self._means.worker_id)
        adopted: list[str] = []
        for worker_id in heirs:
            adopted += self._means.durable.adopt(worker_id)
            with self._means.database.write() as conn:
                queue.forget_worker(conn, worker_id)
        return adopted

    def _dead(self, conn: sa.Connection) -> Iterator[queue.WorkerRow]:
        workers = {row.id: row for row in queue.list_workers(conn)}
        now = micros(self._means.clock.now())
        for row in workers.values():
            heir = workers.get(row.heir)
            if row.id != self._means.worker_id and is_dead(row, now) and (heir is None or is_dead(heir, now)):
                yield row

    def _row(self) -> queue.WorkerRow:
        return queue.WorkerRow(
            id=self._means.worker_id, host=socket.gethostname(), pid=os.getpid(), born=born(os.getpid()),
            lease_until=micros(self._means.clock.now() + self._lease), heir="",
        )  # fmt: skip
