"""Keeps the tallies up with the ledger, and answers what was measured.

Records are folded by sequence number, each exactly once, whoever asks first; nothing is read twice however long the
ledger is. Deleting the two tables makes it count anew and come to the same numbers.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import sqlalchemy as sa

from interlock.decide import metrics as rules
from interlock.engine.alive import is_dead
from interlock.engine.ledger import Ledger
from interlock.errors import StoreError
from interlock.model.approval import ApprovalState
from interlock.model.breaker import Breaker
from interlock.model.metrics import Metrics, SystemMetrics, Tally
from interlock.ports import Clock
from interlock.store import queue, rows, watching
from interlock.store.database import Database, micros, moment

_log = logging.getLogger(__name__)

_MARK = "metrics"
_BATCH = 2000
_MINUTE, _HOUR, _EVER = 60, 3600, 0
_MINUTES_KEPT = timedelta(days=2)
_HOURS_KEPT = timedelta(days=400)


class Meter:
    """The measurements of one store."""

    def __init__(self, database: Database, ledger: Ledger, clock: Clock, agents: tuple[str, ...]) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._agents = agents
        self.observer_failures = 0
        """How often an observer has raised in this process."""

    def catch_up(self) -> None:
        """Count what the ledger has gained. A store that cannot be written is no reason not to answer."""
        try:
            while self._fold():
                pass
        except StoreError as problem:
            _log.warning("metrics stay as they were: %s", problem)

    def _fold(self) -> bool:
        """Count one batch; True when there may be more. The mark and the tallies change together."""
        with self._database.read() as conn:
            if watching.mark(conn, _MARK)[0] >= watching.ledger_head(conn):
                return False
        with self._database.write() as conn:
            done, _ = watching.mark(conn, _MARK)
            page = self._ledger.entries(after=done, limit=_BATCH, conn=conn)
            if not page:
                return False
            changed: dict[watching.Stretch, Tally] = {}
            for entry in page:
                for agent, piece in rules.pieces(entry):
                    for size_s in (_EVER, _HOUR, _MINUTE):
                        start = rules.start_of(entry.at, size_s) if size_s else 0
                        stretch = (size_s, start, agent)
                        if stretch not in changed:
                            changed[stretch] = watching.find_tally(conn, stretch) or rules.EMPTY
                        changed[stretch] = rules.add(changed[stretch], piece)
            for stretch, tally in changed.items():
                watching.save_tally(conn, stretch, tally)
            watching.set_mark(conn, _MARK, page[-1].seq)
            now = self._clock.now()
            watching.forget_tallies(conn, _MINUTE, rules.start_of(now - _MINUTES_KEPT, _HOUR))
            watching.forget_tallies(conn, _HOUR, rules.start_of(now - _HOURS_KEPT, _HOUR))
        return len(page) == _BATCH

    def metrics(self, window: timedelta | None = None) -> Metrics:
        """What was measured in the last ``window``, to the minute (to the hour over two days); None: ever."""
        self.catch_up()
        now = self._clock.now()
        size_s = _EVER if window is None else _MINUTE if window <= _MINUTES_KEPT else _HOUR
        since = 0 if window is None else rules.start_of(now - window, size_s)
        with self._database.read() as conn:
            ever = dict(watching.tallies(conn, _EVER))
            found = ever if window is None else _summed(conn, size_s, since)
            breakers = {breaker.agent: breaker for breaker in rows.list_breakers(conn)}
            seq, _ = watching.mark(conn, _MARK)
            moment_now = self._now(conn, now)
        names = sorted({*self._agents, *ever, *breakers} - {rules.SYSTEM})
        agents = tuple(
            rules.agent_metrics(
                name, found.get(name, rules.EMPTY), streak=ever.get(name, rules.EMPTY).streak,
                breaker=breakers[name].state.value if name in breakers else "closed",
            )
            for name in names
        )  # fmt: skip
        all_breakers = [breakers.get(name, Breaker(agent=name)) for name in names]
        system = rules.system_metrics(found.get(rules.SYSTEM, rules.EMPTY), moment_now, all_breakers)
        start = None if window is None else moment(since * 1_000_000)
        return Metrics(at=now, since=start, seq=seq, agents=agents, system=system)

    def _now(self, conn: sa.Connection, now: datetime) -> SystemMetrics:
        queued, due = watching.queue_facts(conn)
        return SystemMetrics(
            active=len(queue.list_permits(conn)), queued=queued,
            oldest_queued_ms=None if due is None else max(0, micros(now) - due) // 1000,
            open_questions=len(rows.list_approvals(conn, states=(ApprovalState.PENDING,))),
            workers=sum(not is_dead(row, micros(now)) for row in queue.list_workers(conn)),
            observer_failures=self.observer_failures,
        )  # fmt: skip


def _summed(conn: sa.Connection, size_s: int, since: int) -> dict[str, Tally]:
    summed: dict[str, Tally] = {}
    for agent, tally in watching.tallies(conn, size_s, since):
        summed[agent] = rules.add(summed.get(agent, rules.EMPTY), tally)
    return summed
