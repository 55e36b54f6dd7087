"""Rollouts at work: started and steered by people, advanced or stopped by evidence.

The door for those of policies too (agent ``policies``), whose rules are in :mod:`interlock.engine.policy_rollouts`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from interlock.config import Settings
from interlock.decide import policy_change as policy_rules
from interlock.decide import rollout as rules
from interlock.decide.breaker import Result, result_of
from interlock.decide.rollout import What
from interlock.engine.ledger import Ledger
from interlock.engine.policy_rollouts import KINDS, PolicyRollouts
from interlock.errors import ConfigError, NotFoundError, UsageError, did_you_mean
from interlock.model.agent import AgentSpec, RunnerSpec
from interlock.model.breaker import BreakerState
from interlock.model.canon import digest
from interlock.model.ids import new_id
from interlock.model.rollout import POLICIES, Comparison, Judgements, Move, Outing, Rollout, RolloutState, Side
from interlock.model.run import AgentError, Attempt, ErrorKind
from interlock.ports import Clock
from interlock.store import rows, watching
from interlock.store.database import Database

_log = logging.getLogger(__name__)

Percentages = Callable[[str, str], int | None]
"""(agent, key) to the percentage that a flag provider says; None: it says nothing."""

_SAYS_NOTHING = frozenset(
    {ErrorKind.CANCELLED, ErrorKind.CONFLICT, ErrorKind.CIRCUIT_OPEN, ErrorKind.UNKNOWN_EFFECT, ErrorKind.DENIED}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutView:
    """A rollout with what is known so far."""

    rollout: Rollout
    comparison: Comparison
    next: str
    """What the evidence says to do: ``wait``, ``advance``, ``promote``, ``abort``, ``pause``."""
    why: str
    judgements: Judgements | None = None
    """Of policies: what both sets have said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutStory:
    """A rollout as a chart shows it."""

    view: RolloutView
    moves: tuple[Move, ...]
    """Oldest first."""
    canary: Side
    stable: Side
    worse_at: float
    """From this on a comparison's ``worse`` stops the new version."""
    fine_at: float
    """From this on all comparisons' ``fine`` take the next step."""


class Rollouts:
    """The rollouts of one store."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        clock: Clock,
        settings: Settings,
        percentages: Percentages | None,
        policies: PolicyRollouts,
    ) -> None:
        self.policies = policies
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._settings = settings
        self._percentages = percentages

    # What people ask and say

    def start(self, agent: str, version: str, by: str, *, steps: Sequence[int] = ()) -> Rollout:
        """Give a version to the first step's share of the executions.

        Raises:
            NotFoundError: when the configuration has no such version.
            UsageError: when a rollout of this agent is under way, or the steps do not rise between 1 and 99.
            ConfigError: when a version of the policies cannot be used.
        """
        if agent == POLICIES:
            return self.policies.start(version, by, steps=steps)
        known = self._settings.versions.get(agent, {})
        if version not in known:
            near = did_you_mean(version, known) or f"it has: {', '.join(known) or 'none'}"
            message = f"versions.{agent} in interlock.yaml has no {version!r}; {near}"
            raise NotFoundError(message)
        steps = tuple(steps) or self._settings.rollouts.steps
        if list(steps) != sorted(set(steps)) or not 1 <= steps[0] <= steps[-1] <= 99:  # noqa: PLR2004 - percent
            message = f"steps must rise between 1 and 99, not {', '.join(map(str, steps))}"
            raise UsageError(message)
        now = self._clock.now()
        with self._database.write() as conn:
            before = watching.current_rollout(conn, agent)
            if before is not None and before.state in {RolloutState.RUNNING, RolloutState.PAUSED}:
                message = f"{agent} has a rollout of {before.canary} under way: promote or abort it first"
                raise UsageError(message)
            stable = stable_digest = ""
            if before is not None:
                promoted = before.state is RolloutState.PROMOTED
                stable = before.canary if promoted else before.stable
                stable_digest = before.canary_digest if promoted else before.stable_digest
                watching.save_rollout(conn, before, current=False)
            rollout = Rollout(
                id=new_id("rol"), agent=agent, canary=version, stable=stable, steps=steps,
                canary_digest=self._digest(agent, version), stable_digest=stable_digest, started_by=by, started_at=now,
                changed_at=now, reason="started",
            )  # fmt: skip
            watching.save_rollout(conn, rollout)
            self._record(conn, rollout, "rollout.started", by)
        return rollout

    def promote(self, agent: str, by: str, *, fully: bool = False) -> Rollout:
        """Take the next step, or give the version to everybody, whatever the evidence says.

        Raises:
            NotFoundError: when no rollout of this agent is under way.
        """
        last = What.PROMOTE
        return self._steer(agent, by, lambda each: last if fully or each.step + 1 >= len(each.steps) else What.ADVANCE)

    def abort(self, agent: str, by: str, reason: str = "") -> Rollout:
        """Give everybody the stable version again; a promoted one can be taken back too.

        Raises:
            NotFoundError: when the agent has no rollout, or it is aborted already.
        """
        return self._steer(agent, by, lambda _: What.ABORT, reason, also=RolloutState.PROMOTED)

    def resume(self, agent: str, by: str) -> Rollout:
        """Let the evidence decide again; what has been compared stays, the step begins anew.

        Raises:
            NotFoundError: when no rollout of this agent is under way.
        """
        return self._steer(agent, by, lambda _: What.WAIT, "resumed")

    def _steer(
        self,
        agent: str,
        by: str,
        what: Callable[[Rollout], What],
        reason: str = "",
        also: RolloutState = RolloutState.RUNNING,
    ) -> Rollout:
        if agent == POLICIES:
            return self.policies.steer(what, by, reason)
        now = self._clock.now()
        with self._database.write() as conn:
            before = watching.current_rollout(conn, agent)
            if before is None or before.state not in {RolloutState.RUNNING, RolloutState.PAUSED, also}:
                message = f"{agent} has no rollout under way; interlock rollout status shows them"
                raise NotFoundError(message)
            move = rules.next_move(before, watching.outings_of(conn, before.id), self._settings.rollouts)
            why = reason or f"by {by}"
            move = replace(move, what=what(before), reason=why)
            after = replace(rules.moved(before, move, now), pairs_before=move.comparison.pairs)
            if move.what in {What.ADVANCE, What.WAIT}:
                after = replace(after, state=RolloutState.RUNNING)
            watching.save_rollout(conn, after)
            self._record(conn, after, KINDS[move.what], by)
        return after

    def views(self, agent: str = "") -> list[RolloutView]:
        """The rollouts that count, with what is known so far."""
        with self._database.read() as conn:
            found = [(each, watching.outings_of(conn, each.id)) for each in watching.list_rollouts(conn)]
        views = []
        for rollout, outings in found:
            if agent and rollout.agent != agent:
                continue
            if rollout.agent == POLICIES:
                views.append(self._of_policies(rollout))
                continue
            move = rules.next_move(rollout, outings, self._settings.rollouts)
            views.append(RolloutView(rollout=rollout, comparison=move.comparison, next=move.what, why=move.reason))
        return views

    def story(self, agent: str) -> RolloutStory:
        """The agent's rollout that counts, with how it came here.

        Raises:
            NotFoundError: when it has none.
        """
        view = next(iter(self.views(agent)), None)
        if view is None:
            message = f"{agent} has no rollout; interlock rollout status shows them"
            raise NotFoundError(message)
        with self._database.read() as conn:
            outings = watching.outings_of(conn, view.rollout.id)
        limit = 100 / self._settings.rollouts.error_percent
        return RolloutStory(
            view=view, canary=rules.side(outings, canary=True), stable=rules.side(outings, canary=False),
            worse_at=limit * len(view.comparison.evidence), fine_at=limit,
            moves=tuple(
                Move(
                    at=entry.at, kind=entry.kind, percent=int(entry.data["percent"]), by=entry.actor,
                    reason=str(entry.data["reason"]),
                )
                for entry in self._ledger.stream(run_id="rollouts")
                if entry.data.get("rollout") == view.rollout.id
            ),
        )  # fmt: skip

    def _of_policies(self, rollout: Rollout) -> RolloutView:
        found = self.policies.judgements(rollout)
        move = policy_rules.next_move(rollout, found, self._settings.rollouts)
        return RolloutView(
            rollout=rollout, comparison=move.comparison, next=move.what, why=move.reason, judgements=found
        )

    # What the evaluator and the attempts do

    def evaluate(self) -> None:
        """Advance, stop or pause what the evidence says. Only the holder of the evaluator's lease may call it."""
        with self._database.read() as conn:
            running = {each.id for each in watching.list_rollouts(conn) if each.state is RolloutState.RUNNING}
            agents = [each.agent for each in watching.list_rollouts(conn) if each.id in running]
        if not running:
            return
        flags = {agent: self._flag(agent, "") for agent in agents if agent != POLICIES}
        now = self._clock.now()
        with self._database.write() as conn:
            self.policies.evaluate(conn)
            for rollout in watching.list_rollouts(conn):
                if rollout.agent != POLICIES and rollout.id in running and rollout.state is RolloutState.RUNNING:
                    self._evaluate_one(conn, rollout, flags[rollout.agent], now)

    def _evaluate_one(self, conn: sa.Connection, rollout: Rollout, percent: int | None, now: datetime) -> None:
        outings = watching.outings_of(conn, rollout.id)
        move = rules.next_move(rollout, outings, self._settings.rollouts, percent)
        if rows.find_breaker(conn, rollout.agent).state is BreakerState.OPEN:
            move = rules.cut_off(outings, self._settings.rollouts) or move
        after = rules.moved(rollout, move, now)
        if after == rollout:
            return
        watching.save_rollout(conn, after)
        if move.what is not What.WAIT:
            self._record(conn, after, KINDS[move.what], "interlock")

    def flag(self, attempt: Attempt) -> int | None:
        """What a flag provider says for this attempt. It may be slow: ask it before the transaction of :meth:`pick`."""
        if self._percentages is None or attempt.version:
            return None
        with self._database.read() as conn:
            key = self._key(conn, attempt)
        return self._flag(attempt.agent, key)

    def pick(self, conn: sa.Connection, attempt: Attempt, flag: int | None) -> Attempt:
        """The attempt with the version that it gets, for good: the same after a crash, and for all attempts of its key."""
        if attempt.version or attempt.agent == POLICIES:
            return attempt
        rollout = watching.current_rollout(conn, attempt.agent)
        if rollout is None:
            return attempt
        if rollout.state in {RolloutState.RUNNING, RolloutState.PAUSED}:
            key = self._key(conn, attempt)
            canary = rules.gets_canary(rollout, key, rollout.percent if flag is None else flag)
        else:
            canary = rollout.state is RolloutState.PROMOTED
        version = rollout.canary if canary else rollout.stable
        begun = rollout.canary_digest if canary else rollout.stable_digest
        if self._digest(attempt.agent, version) != begun:
            _log.warning(
                "%s: version %r is not here as the rollout began it; it runs as defined", attempt.agent, version
            )
            return attempt
        compared = rollout.id if rollout.state is RolloutState.RUNNING else ""
        return replace(attempt, version=version or _DEFINED, version_digest=begun, rollout=compared)

    def _digest(self, agent: str, version: str) -> str:
        """What a version is here; empty when there is none of that name."""
        said = self._settings.versions.get(agent, {}).get(version)
        return digest(said.model_dump_json()) if said else ""

    def _key(self, conn: sa.Connection, attempt: Attempt) -> str:
        if self._settings.rollouts.sticky_by == "run":
            return attempt.run_id
        run = rows.find_run(conn, attempt.run_id)
        return run.task.submitter if run else attempt.run_id

    def _flag(self, agent: str, key: str) -> int | None:
        if self._percentages is None:
            return None
        try:
            return self._percentages(agent, key)
        except Exception as problem:  # noqa: BLE001 - a provider that breaks gives everybody the stable version
            _log.warning("the flag provider broke, %s stays stable: %s", agent, type(problem).__name__)
            return 0

    def ended(self, conn: sa.Connection, attempt: Attempt, error: AgentError | None, worked: timedelta | None) -> None:
        """Note how an execution under a rollout has ended, in the transaction that ends it."""
        if not attempt.rollout or (error is not None and error.kind in _SAYS_NOTHING):
            return
        rollout = watching.current_rollout(conn, attempt.agent)
        if rollout is None or rollout.id != attempt.rollout:
            return
        result = result_of(error)
        watching.add_outing(
            conn, rollout.id,
            Outing(
                attempt=attempt.id, canary=attempt.version == rollout.canary,
                ok=None if result is Result.IGNORED else result is Result.SUCCESS,
                blocked=watching.was_blocked(conn, attempt.run_id, attempt.id),
                duration_ms=None if worked is None else worked // timedelta(milliseconds=1),
                cost_micros=attempt.result.usage.cost_micros if attempt.result else 0,
            ),
        )  # fmt: skip

    def spec(self, spec: AgentSpec, attempt: Attempt) -> AgentSpec:
        """The agent as the attempt's version is; what the version does not name stays as defined.

        Raises:
            ConfigError: when the version is not what it was when the rollout began.
        """
        if self._digest(spec.name, attempt.version) != attempt.version_digest:
            message = f"its version {attempt.version} is not what it was when the rollout began"
            raise ConfigError(message, suggestion="start another rollout with it")
        said = self._settings.versions.get(spec.name, {}).get(attempt.version)
        if said is None:
            return spec
        runner = RunnerSpec(kind=said.runner.kind, options=said.runner.options) if said.runner else spec.runner
        return replace(
            spec, instructions=spec.instructions if said.instructions is None else said.instructions,
            model=spec.model if said.model is None else said.model, runner=runner,
        )  # fmt: skip

    def _record(self, conn: sa.Connection, rollout: Rollout, kind: str, actor: str) -> None:
        facts = {
            "rollout": rollout.id, "of": rollout.agent, "version": rollout.canary, "stable": rollout.stable or _DEFINED,
            "percent": rollout.percent, "reason": rollout.reason,
        }  # fmt: skip
        self._ledger.append(conn, "rollouts", kind, facts, actor=actor)


_DEFINED = "as-defined"
"""How an attempt says that it ran without any version."""
