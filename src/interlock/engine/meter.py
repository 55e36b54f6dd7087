"""Keeps the tallies up with the ledger, and answers what was measured.

Records are folded by sequence number, each exactly once, whoever asks first; nothing is read twice however long the
ledger is. Deleting the two tables makes it count anew and come to the same numbers. A window is read as the minutes up
to the next full hour and whole hours from there, so that a day costs some 80 rows an agent and not 1,440.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import sqlalchemy as sa

from interlock.decide import metrics as rules
from interlock.engine.alive import is_dead
from interlock.engine.ledger import Ledger
from interlock.errors import StoreError
from interlock.model.approval import ApprovalState
from interlock.model.breaker import Breaker
from interlock.model.metrics import AgentMetrics, Metrics, SystemMetrics, Tally
from interlock.ports import Clock
from interlock.store import queue, rows, watching
from interlock.store.database import Database, micros, moment

_log = logging.getLogger(__name__)

_MARK = "metrics"
_BATCH = 2000
_MINUTE, _HOUR, _EVER = 60, 3600, 0
_MINUTES_KEPT = timedelta(days=2)
_HOURS_KEPT = timedelta(days=400)
_SOON_S = 0.25
"""Seconds that a look may spend on counting; the evaluator does the rest."""


class Meter:
    """The measurements of one store."""

    def __init__(self, database: Database, ledger: Ledger, clock: Clock, agents: tuple[str, ...]) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._agents = agents
        self.observer_failures = 0
        """How often an observer has raised in this process."""

    def catch_up(self, within_s: float | None = None) -> None:
        """Count what the ledger has gained, for ``within_s`` seconds at most (None: all of it).

        A store that cannot be written is no reason not to answer.
        """
        until = None if within_s is None else time.monotonic() + within_s
        try:
            while self._fold() and (until is None or time.monotonic() < until):
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

    def metrics(self, window: timedelta | None = None, *, within_s: float | None = None) -> Metrics:
        """What was measured in the last ``window``, to the minute (to the hour over two days); None: ever.

        ``within_s`` bounds the counting of what is new; ``seq`` then says up to where it went.
        """
        self.catch_up(within_s)
        now = self._clock.now()
        fine = window is not None and window <= _MINUTES_KEPT
        since = 0 if window is None else rules.start_of(now - window, _MINUTE if fine else _HOUR)
        with self._database.read() as conn:
            ever = dict(watching.tallies(conn, _EVER))
            found = ever if window is None else _summed(_stretches(conn, since, fine=fine))
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

    def hours(self, count: int, agent: str | None = None) -> dict[str, list[tuple[datetime, AgentMetrics]]]:
        """Agents (or one) hour by hour, oldest first, the last ``count`` hours with this one: those without anything too."""
        self.catch_up(_SOON_S)
        last = rules.start_of(self._clock.now(), _HOUR)
        starts = [last - _HOUR * back for back in range(count - 1, -1, -1)]
        with self._database.read() as conn:
            rows_found = watching.tallies_at(conn, _HOUR, starts[0], agent=agent)
            found = {(name, start): tally for start, name, tally in rows_found}
        names = sorted({*self._agents, *(name for name, _ in found)} - {rules.SYSTEM}) if agent is None else [agent]
        return {name: [_hour(name, start, found.get((name, start), rules.EMPTY)) for start in starts] for name in names}

    def _now(self, conn: sa.Connection, now: datetime) -> SystemMetrics:
        queued, due = watching.queue_facts(conn)
        return SystemMetrics(
            active=len(queue.list_permits(conn)), queued=queued,
            oldest_queued_ms=None if due is None else max(0, micros(now) - due) // 1000,
            open_questions=len(rows.list_approvals(conn, states=(ApprovalState.PENDING,))),
            workers=sum(not is_dead(row, micros(now)) for row in queue.list_workers(conn)),
            observer_failures=self.observer_failures,
        )  # fmt: skip


def _hour(agent: str, start: int, tally: Tally) -> tuple[datetime, AgentMetrics]:
    return moment(start * 1_000_000), rules.agent_metrics(agent, tally, streak=tally.streak, breaker="")


def _stretches(conn: sa.Connection, since: int, *, fine: bool) -> Iterator[tuple[str, Tally]]:
    """(agent, tally) from ``since`` on, oldest first: minutes up to the next full hour when it is ``fine``, then hours."""
    full = -(-since // _HOUR) * _HOUR
    if fine and since < full:
        for _, agent, tally in watching.tallies_at(conn, _MINUTE, since, full):
            yield agent, tally
    for _, agent, tally in watching.tallies_at(conn, _HOUR, full):
        yield agent, tally


def _summed(found: Iterator[tuple[str, Tally]]) -> dict[str, Tally]:
    summed: dict[str, Tally] = {}
    for agent, tally in found:
        summed[agent] = rules.add(summed.get(agent, rules.EMPTY), tally)
    return summed
