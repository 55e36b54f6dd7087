"""Admission: who may start now. Limits, rate, breakers, exclusions and the permit itself are one transaction.

A permit is held only while an agent works: waiting for a person, a back-off or a queue holds none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from interlock.config import Settings
from interlock.decide import breaker as breakers
from interlock.decide import forecast, govern
from interlock.decide.budget import Short
from interlock.engine.budgets import Budgets
from interlock.engine.durable import SHARED, Durable
from interlock.engine.ledger import Ledger
from interlock.engine.rollouts import Rollouts
from interlock.model.agent import AgentSpec, Priority
from interlock.model.breaker import Breaker
from interlock.model.run import AgentError, Attempt, AttemptState, ErrorKind, QueuePlace
from interlock.ports import Clock
from interlock.store import forecasts, queue, rows
from interlock.store.database import Database, micros, moment

_MINUTE = timedelta(minutes=1)


class Governor:
    """The one that hands out permits. Every process has one; the store makes them agree."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        durable: Durable,
        clock: Clock,
        settings: Settings,
        spec_of: Callable[[str], AgentSpec],
        rollouts: Rollouts,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._durable = durable
        self._clock = clock
        self._settings = settings
        self._spec_of = spec_of
        self._rollouts = rollouts
        self.budgets = Budgets(settings, clock)

    def request(
        self,
        conn: sa.Connection,
        attempt: Attempt,
        *,
        priority: Priority,
        delay: timedelta = timedelta(),
        submitter: str = "",
    ) -> None:
        """Queue an attempt, durably. It starts by itself when there is room."""
        now = self._clock.now()
        rows.insert_attempt(
            conn,
            attempt,
            priority=priority,
            rank=micros(govern.rank(attempt.queued_at, priority, timedelta(seconds=self._settings.limits.ageing_s))),
            not_before=micros(now + delay),
            excludes=self._spec_of(attempt.agent).exclusions,
            tags=self._spec_of(attempt.agent).tags,
            submitter=submitter,
        )
        self._ledger.append(
            conn,
            attempt.run_id,
            "attempt.queued",
            {"attempt": attempt.id, "agent": attempt.agent, "number": attempt.number, "priority": priority,
             "delay_ms": delay // timedelta(milliseconds=1)},
            actor="interlock",
            once=f"queued:{attempt.id}",
        )  # fmt: skip

    def admit(self) -> list[str]:
        """Give permits to whoever may start now; returns the admitted attempts' ids."""
        with self._database.read() as conn:
            if self._next(conn, {}) is None:
                return []
        return self._database.transact(self.admit_all)

    def admit_all(self, conn: sa.Connection) -> list[str]:
        """The same, in the caller's transaction."""
        admitted: list[str] = []
        held: dict[str, str] = {}
        while (waiting := self._next(conn, held)) is not None:
            if self._admit_one(conn, waiting, held):
                admitted.append(waiting.attempt_id)
        return admitted

    def _next(self, conn: sa.Connection, held: Mapping[str, str]) -> queue.Waiting | None:
        """The head of each line is enough for the rule to choose from: the others are behind it."""
        now = self._clock.now()
        if not queue.is_waited_for(conn):
            return None
        running = self._running(conn)
        if len(running) >= self.limits(conn, ()).max_concurrent:
            return None
        heads = {head.attempt_id: head for head in queue.heads(conn, micros(now))}
        if not heads:
            return None
        served = queue.served(conn, {head.submitter for head in heads.values()})
        picked = govern.pick(
            [_waiting(head) for head in heads.values()], running, self.limits(conn, heads.values()),
            recent_starts=self._recent_starts(conn), served={who: moment(at) for who, at in served.items()},
            held=held, now=now,
        )  # fmt: skip
        return heads[picked.next.attempt_id] if picked.next else None

    def limits(self, conn: sa.Connection, waiting: Iterable[queue.Waiting]) -> govern.Limits:
        """The limits that count for these agents: the configured ones, and what operators have set on top."""
        configured = govern.Limits.of(
            self._settings.limits, {item.agent: self._spec_of(item.agent).max_concurrent for item in waiting}
        )
        return govern.changed(configured, queue.limits(conn))

    def _running(self, conn: sa.Connection) -> list[govern.Running]:
        return [
            govern.Running(
                attempt_id=row.attempt_id, agent=row.agent, started_at=moment(row.admitted_at),
                excludes=frozenset(row.excludes), tags=frozenset(row.tags),
            )
            for row in queue.running(conn)
        ]  # fmt: skip

    def _recent_starts(self, conn: sa.Connection) -> list[datetime]:
        return [moment(at) for at in queue.admitted_since(conn, micros(self._clock.now() - _MINUTE))]

    def _short(self, conn: sa.Connection, attempt: Attempt, short: Short, held: dict[str, str]) -> bool:
        """No budget: for good ends the attempt; otherwise it waits until those at work have given some back."""
        if short.for_good:
            self.end(conn, attempt, AgentError(kind=ErrorKind.BUDGET, message=short.reason))
        else:
            held[attempt.id] = short.reason
        return False

    def _admit_one(self, conn: sa.Connection, waiting: queue.Waiting, held: dict[str, str]) -> bool:
        attempt = _known(rows.find_attempt(conn, waiting.attempt_id))
        now = self._clock.now()
        before = rows.find_breaker(conn, attempt.agent)
        short = self.budgets.reserve(conn, attempt, self._spec_of(attempt.agent), waiting.submitter)
        if isinstance(short, Short):
            return self._short(conn, attempt, short, held)
        after, refusal = breakers.admit(before, attempt.id, now, self._settings.breaker)
        self._save_breaker(conn, attempt.run_id, before, after)
        if refusal is not None:
            self.end(conn, attempt, AgentError(kind=ErrorKind.CIRCUIT_OPEN, message=refusal.reason))
            return False
        resumed = self._durable.is_live(conn, attempt.id)
        place = queue.home_of(conn, attempt.run_id)[1]
        queue.grant(conn, attempt.id, attempt.agent, generation=after.generation)
        rows.save_attempt(conn, replace(attempt, state=AttemptState.ADMITTED, admitted_at=now))
        self._ledger.append(
            conn, attempt.run_id, "attempt.admitted",
            {"attempt": attempt.id, "agent": attempt.agent, **_waited(attempt, waiting, now)}, actor="interlock",
        )  # fmt: skip
        if not resumed:
            self._durable.start_attempt(conn, attempt.id, place or self._durable.queue or SHARED)
        return True

    def step_aside(self, conn: sa.Connection, attempt: Attempt, *, why: str) -> None:
        """Give the permit back while the attempt waits for a person."""
        permit = queue.find_permit(conn, attempt.id)
        queue.drop_permit(conn, attempt.id)
        breaker = rows.find_breaker(conn, attempt.agent)
        if permit is not None:
            self._save_breaker(conn, attempt.run_id, breaker, breakers.release(breaker, attempt.id))
        rows.save_attempt(conn, replace(attempt, state=AttemptState.WAITING))
        self._ledger.append(
            conn, attempt.run_id, "attempt.waiting", {"attempt": attempt.id, "agent": attempt.agent, "why": why},
            actor="interlock",
        )  # fmt: skip

    def step_back(self, conn: sa.Connection, attempt: Attempt) -> None:
        """Queue an attempt that had stepped aside, at its old place."""
        rows.save_attempt(conn, replace(attempt, state=AttemptState.READY))

    def end(
        self, conn: sa.Connection, attempt: Attempt, error: AgentError | None = None, *, worked: timedelta | None = None
    ) -> Attempt:
        """The attempt is over: permit back, breaker told, run woken. A second call changes nothing.

        ``worked``: how long its agent has worked, without waiting for people.
        """
        current = _known(rows.find_attempt(conn, attempt.id))
        if current.state is AttemptState.ENDED:
            return current
        now = self._clock.now()
        ended = replace(attempt, state=AttemptState.ENDED, ended_at=now, error=error)
        rows.save_attempt(conn, ended)
        permit = queue.find_permit(conn, attempt.id)
        queue.drop_permit(conn, attempt.id)
        if worked is None:
            worked = now - attempt.started_at if attempt.started_at else timedelta()
        before = rows.find_breaker(conn, attempt.agent)
        if permit is not None:
            result, rules = breakers.result_of(error), self._settings.breaker
            after = breakers.record(before, attempt.id, permit.generation, result, now, rules, took=worked)
            self._save_breaker(conn, attempt.run_id, before, after)
        self.budgets.settle(conn, ended, worked)
        self._rollouts.ended(conn, attempt, error, worked)
        took = worked // timedelta(milliseconds=1)
        self._ledger.append(
            conn,
            attempt.run_id,
            "attempt.failed" if error else "attempt.succeeded",
            {"attempt": attempt.id, "agent": attempt.agent, "duration_ms": took,
             **({"version": attempt.version} if attempt.version else {}),
             **({"error": error.kind, "message": error.message} if error else {})},
            actor="interlock",
            once=f"ended:{attempt.id}",
        )  # fmt: skip
        self._durable.rouse(conn, attempt.run_id)
        return ended

    def _save_breaker(self, conn: sa.Connection, run_id: str, before: Breaker, after: Breaker) -> None:
        if after == before:
            return
        rows.save_breaker(conn, after)
        if after.state is not before.state:
            self._ledger.append(
                conn, run_id, "breaker.changed",
                {"agent": after.agent, "from": before.state, "to": after.state, "reason": after.reason},
                actor="interlock",
            )  # fmt: skip

    def _line(self, conn: sa.Connection, now: datetime) -> tuple[list[queue.Waiting], list[int | None], govern.Pick]:
        """The queue in order, how long each is expected to wait, and why."""
        waiting = {item.attempt_id: item for item in queue.all_waiting(conn)}
        running, recent = self._running(conn), self._recent_starts(conn)
        limits = self.limits(conn, waiting.values())
        served = queue.served(conn, {item.submitter for item in waiting.values()})
        turns = {who: moment(at) for who, at in served.items()}
        line = govern.ordered([_waiting(item) for item in waiting.values()], limits, turns)
        futures = forecast.expected(line, running, limits, rows.recent_durations(conn), recent_starts=recent, now=now)
        picked = govern.pick(line, running, limits, recent_starts=recent, served=turns, now=now)
        return [waiting[each.attempt_id] for each in line], futures, picked

    def note_forecasts(self) -> None:
        """Keep what is expected of some who wait now, to be compared with what comes."""
        now = self._clock.now()
        with self._database.read() as conn:
            if not queue.is_waited_for(conn):
                return
            line, futures, _ = self._line(conn, now)
            marked = {line[mark - 1].attempt_id: mark for mark in forecast.MARKS if mark <= len(line)}
            new = dict(forecasts.unnoted(conn, marked.items()))
        found = [
            (item.attempt_id, new[item.attempt_id], future)
            for item, future in zip(line, futures, strict=True)
            if future is not None and item.attempt_id in new
        ]
        if found:
            with self._database.aside() as conn:
                forecasts.note(conn, micros(now), found)

    def places(self) -> list[QueuePlace]:
        """The queue, next one first, with forecasts as honest as earlier ones allow (None while too little is known)."""
        now = self._clock.now()
        with self._database.read() as conn:
            line, futures, picked = self._line(conn, now)
            record = forecast.Record(forecasts.past(conn, micros(now)))
        places = []
        for position, (item, future) in enumerate(zip(line, futures, strict=True), start=1):
            guess = record.interval(future) if future is not None else None
            places.append(
                QueuePlace(
                    attempt_id=item.attempt_id, run_id=item.run_id, agent=item.agent, position=position,
                    reason=picked.reasons.get(item.attempt_id, "starts now"),
                    estimate_ms=guess[0] if guess else None, estimate_p90_ms=guess[1] if guess else None,
                )
            )  # fmt: skip
        return places


def _waited(attempt: Attempt, waiting: queue.Waiting, now: datetime) -> dict[str, int]:
    """How long it has waited since it was due; nothing when it comes back to a place that it had before."""
    if attempt.admitted_at is not None:
        return {}
    return {"waited_ms": max(0, micros(now) - max(waiting.queued_at, waiting.not_before)) // 1000}


def _waiting(item: queue.Waiting) -> govern.Waiting:
    return govern.Waiting(
        attempt_id=item.attempt_id, agent=item.agent, priority=Priority(item.priority), queued_at=moment(item.queued_at),
        not_before=moment(item.not_before), excludes=frozenset(item.excludes), tags=frozenset(item.tags),
        submitter=item.submitter,
    )  # fmt: skip


def _known(attempt: Attempt | None) -> Attempt:
    if attempt is None:  # a permit or a queue entry without its attempt: the foreign key forbids it
        message = "the store lost an attempt"
        raise LookupError(message)
    return attempt
