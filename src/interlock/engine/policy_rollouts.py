"""Rollouts of policies: a new set is first judged by beside the present one, then obeyed by a share of the runs, then by all.

What tightens needs no trial and is in force at once. What loosens takes every step by a person's word, and only the way
back by itself. The sets themselves are in the store, so that all workers judge by the same rules.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import sqlalchemy as sa

from interlock.config import Settings
from interlock.decide import policy_change as rules
from interlock.decide.policy import PolicySet, only_tightens
from interlock.decide.rollout import What, gets_canary, moved
from interlock.engine.ledger import Ledger
from interlock.engine.shadow import Course, SideBySide
from interlock.errors import NotFoundError, StoreError, UsageError, did_you_mean
from interlock.model.action import Action
from interlock.model.ids import new_id
from interlock.model.rollout import POLICIES, Judgements, PolicyText, Rollout, RolloutState
from interlock.ports import Clock
from interlock.store import judged, watching
from interlock.store.database import Database

_log = logging.getLogger(__name__)

Versions = Callable[[str], PolicySet]
"""The set of a version's name, read from its files now."""
UNDER_WAY = frozenset({RolloutState.RUNNING, RolloutState.PAUSED})


class PolicyRollouts:
    """The rollouts of the policies of one store. One of them counts."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        clock: Clock,
        settings: Settings,
        present: PolicySet,
        versions: Versions,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._settings = settings
        self._configured = present
        self._versions = versions
        self._sets = {present.digest: present}

    # What people ask and say

    def version(self, name: str) -> PolicySet:
        """The set of that name, as its files are now.

        Raises:
            NotFoundError: when the configuration has no such version.
            ConfigError: when it cannot be used.
        """
        known = self._settings.policies.versions
        if name not in known:
            near = did_you_mean(name, known) or f"it has: {', '.join(known) or 'none'}"
            raise NotFoundError(f"policies.versions in interlock.yaml has no {name!r}; {near}")
        return self._versions(name)

    def start(self, version: str, by: str, *, steps: Sequence[int] = ()) -> Rollout:
        """Let a set judge beside the present one; where it only tightens and no steps are asked for, it is in force at once.

        Raises:
            NotFoundError: when the configuration has no such version.
            ConfigError: when it cannot be used.
            UsageError: when a rollout of policies is under way, the version changes nothing, or the steps do not rise.
        """
        new = self.version(version)
        chosen = tuple(steps) or (0, *self._settings.rollouts.steps)
        if list(chosen) != sorted(set(chosen)) or not 0 <= chosen[0] <= chosen[-1] <= 99:  # noqa: PLR2004 - percent
            raise UsageError(f"steps must rise between 0 and 99, not {', '.join(map(str, chosen))}")
        now = self._clock.now()
        with self._database.write() as conn:
            before = watching.current_rollout(conn, POLICIES)
            if before is not None and before.state in UNDER_WAY:
                raise UsageError(f"policies have a rollout of {before.canary} under way: promote or abort it first")
            stable, old = self._in_force(conn, before)
            if new.digest == old.digest:
                raise UsageError(f"{version} says what is in force already; there is nothing to roll out")
            if before is not None:
                watching.save_rollout(conn, before, current=False)
            for each in (old, new):
                text = PolicyText(policies=each.policies, no_accept_in=tuple(sorted(each.no_accept_in)))
                judged.save_policies(conn, each.digest, text)
            rollout = Rollout(
                id=new_id("rol"), agent=POLICIES, canary=version, stable=stable, steps=chosen, canary_digest=new.digest,
                stable_digest=old.digest, started_by=by, started_at=now, changed_at=now, reason="started",
            )  # fmt: skip
            if not steps and only_tightens(old, new):
                rollout = replace(rollout, state=RolloutState.PROMOTED, reason="it only tightens: in force at once")
            watching.save_rollout(conn, rollout)
            self._record(conn, rollout, "rollout.started", by)
        return rollout

    def steer(self, what: Callable[[Rollout], What], by: str, reason: str = "") -> Rollout:
        """Move the rollout by a person's word.

        Raises:
            NotFoundError: when none is under way (one that is promoted can be aborted).
        """
        with self._database.write() as conn:
            before = watching.current_rollout(conn, POLICIES)
            allowed = UNDER_WAY | ({RolloutState.PROMOTED} if before and what(before) is What.ABORT else set())
            if before is None or before.state not in allowed:
                raise NotFoundError("policies have no rollout under way; interlock rollout status shows them")
            return self._move(conn, before, what(before), reason or f"by {by}", by)

    def judgements(self, rollout: Rollout) -> Judgements:
        """What both sets have said since it began."""
        return self._database.look(lambda conn: judged.judgements(conn, rollout.id))

    # What the gates do

    def course(self, run_id: str = "") -> Course:
        """Which sets judge this run; without a run, what a new one would obey after all steps are taken.

        Raises:
            StoreError: when the store cannot be read, or a set that is to be obeyed is not in it as it was begun.
        """
        rollout, known = self._database.look(lambda conn: self._known(conn, run_id))
        if rollout is None:
            return Course(ruling=self._configured)
        if known is None and run_id and rollout.state in UNDER_WAY:
            rollout, known = self._database.transact(lambda conn: self._pin(conn, run_id))
        return self._course(rollout, known, run_id)

    def _known(self, conn: sa.Connection, run_id: str) -> tuple[Rollout | None, bool | None]:
        rollout = watching.current_rollout(conn, POLICIES)
        return rollout, judged.pinned(conn, rollout.id, run_id) if rollout and run_id else None

    def _pin(self, conn: sa.Connection, run_id: str) -> tuple[Rollout, bool | None]:
        """Decide, for all calls of the run."""
        rollout, known = self._known(conn, run_id)
        if rollout is None:
            raise StoreError("the rollout of policies has gone from the store")
        if known is None and rollout.state in UNDER_WAY:
            known = rules.runs_as_canary(rollout, None, gets_canary(rollout, run_id, rollout.percent))
            judged.pin(conn, rollout.id, run_id, canary=known)
        return rollout, known

    def _course(self, rollout: Rollout, known: bool | None, run_id: str) -> Course:
        here = self._configured
        canary = rules.runs_as_canary(rollout, known, drawn=False)
        if rollout.state is RolloutState.ABORTED and not rollout.stable:
            return Course(ruling=here)
        own = (rollout.stable_digest, rollout.canary_digest)
        changed = None if here.digest in own else here
        ruling = self._set(rollout.canary_digest if canary else rollout.stable_digest)
        if rollout.state not in UNDER_WAY:
            held = rollout.state is RolloutState.PROMOTED and not canary
            also = self._set(rollout.canary_digest) if held else changed
            return Course(ruling=ruling, also=also)
        other = self._other(rollout.stable_digest if canary else rollout.canary_digest) if run_id else None
        return Course(ruling=ruling, also=changed, shadow=other, rollout=rollout.id, canary=canary)

    def _other(self, digest: str) -> PolicySet | None:
        try:
            return self._set(digest)
        except StoreError as problem:
            _log.warning("policies are not compared: %s", problem)
            return None

    def _set(self, digest: str) -> PolicySet:
        """A set by its digest, as it was when the rollout began.

        Raises:
            StoreError: when it is not in the store, or is not what its digest says.
        """
        known = self._sets.get(digest)
        if known is None:
            text = self._database.look(lambda conn: judged.find_policies(conn, digest))
            if text is None:
                raise StoreError(f"the policies {digest[:19]}… are not in the store: abort the rollout of policies")
            known = PolicySet.compile(text.policies, no_accept_in=text.no_accept_in)
            if known.digest != digest:
                raise StoreError(
                    f"the policies {digest[:19]}… were changed in the store: abort the rollout of policies"
                )
            self._sets[digest] = known
        return known

    def count(self, conn: sa.Connection, run_id: str, action: Action, trial: SideBySide | None, call: str) -> None:
        """Add a call's two judgements to the comparison, and take the new set back where that breaks a guard rail."""
        if trial is None:
            return
        try:
            with conn.begin_nested():
                self._count(conn, run_id, action, trial, call)
        except Exception as problem:  # noqa: BLE001 - what nobody obeys never stops the call that it was compared with
            _log.warning("a call was not compared: %s: %s", type(problem).__name__, problem)

    def _count(self, conn: sa.Connection, run_id: str, action: Action, trial: SideBySide, call: str) -> None:
        rollout = watching.current_rollout(conn, POLICIES)
        if rollout is None or rollout.id != trial.course.rollout:
            return
        compared = trial.compared(run_id, action, call)
        judged.count(conn, rollout.id, run_id, compared)
        if compared.error or (compared.difference is not None and compared.difference.tighter):
            self.evaluate(conn)

    def evaluate(self, conn: sa.Connection) -> None:
        """Take the new set back where a guard rail is broken."""
        rollout = watching.current_rollout(conn, POLICIES)
        if rollout is None or rollout.state not in UNDER_WAY:
            return
        move = rules.next_move(rollout, judged.judgements(conn, rollout.id), self._settings.rollouts)
        if move.what is What.ABORT:
            self._move(conn, rollout, move.what, move.reason, "interlock")

    # Both

    def _in_force(self, conn: sa.Connection, rollout: Rollout | None) -> tuple[str, PolicySet]:
        """The name and the set that new runs obey; no name: the configuration's own."""
        if rollout is None or self._configured.digest == rollout.canary_digest:
            return "", self._configured
        if rollout.state is RolloutState.PROMOTED:
            return rollout.canary, self._from(conn, rollout.canary_digest)
        if rollout.stable:
            return rollout.stable, self._from(conn, rollout.stable_digest)
        return "", self._configured

    def _from(self, conn: sa.Connection, digest: str) -> PolicySet:
        text = judged.find_policies(conn, digest)
        if text is None:
            raise StoreError(f"the policies {digest[:19]}… are not in the store: abort the rollout of policies")
        return PolicySet.compile(text.policies, no_accept_in=text.no_accept_in)

    def _move(self, conn: sa.Connection, before: Rollout, what: What, reason: str, by: str) -> Rollout:
        found = rules.next_move(before, judged.judgements(conn, before.id), self._settings.rollouts)
        after = moved(before, replace(found, what=what, reason=reason), self._clock.now())
        if what in {What.ADVANCE, What.WAIT}:
            after = replace(after, state=RolloutState.RUNNING)
        watching.save_rollout(conn, after)
        self._record(conn, after, KINDS[what], by)
        return after

    def _record(self, conn: sa.Connection, rollout: Rollout, kind: str, actor: str) -> None:
        facts = {
            "rollout": rollout.id, "of": POLICIES, "version": rollout.canary, "stable": rollout.stable or AS_CONFIGURED,
            "percent": rollout.percent, "state": rollout.state, "reason": rollout.reason, "policy": rollout.canary_digest,
            "stable_policy": rollout.stable_digest,
        }  # fmt: skip
        self._ledger.append(conn, "rollouts", kind, facts, actor=actor)


AS_CONFIGURED = "as-configured"
KINDS = {
    What.ADVANCE: "rollout.advanced", What.PROMOTE: "rollout.promoted", What.ABORT: "rollout.aborted",
    What.PAUSE: "rollout.paused", What.WAIT: "rollout.resumed",
}  # fmt: skip
