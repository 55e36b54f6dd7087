"""Undoing one call: back to the files as they were before it, or its change taken out of what was delivered for review.

A snapshot is taken before a call, so what a call has changed is what lies between its snapshot and the next one of the same
attempt: a program may change files without announcing it, and such changes belong to the call before them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from interlock.engine.means import Means
from interlock.engine.saga import Saga
from interlock.errors import InterlockError, NotFoundError, UsageError
from interlock.model.run import Attempt, AttemptState, Effect, EffectState
from interlock.store import rows

_HAPPENED = frozenset({EffectState.INTENDED, EffectState.DONE, EffectState.FAILED, EffectState.UNKNOWN})


@dataclass(frozen=True, kw_only=True, slots=True)
class UndoneCall:
    """What an undo of one call has done."""

    effect: Effect
    also: tuple[Effect, ...] = ()
    """Later calls that went with it: in an attempt at work the files go back to before the call."""
    diff: str = ""
    """What the undo has changed, to be looked at."""
    commit: str = ""
    """The run's branch after it, when the change was taken out of the branch."""


class Checkpoints:
    """The snapshots of one attempt, as its gate takes them."""

    def __init__(self, means: Means, attempt: Attempt) -> None:
        self._means = means
        self._attempt = attempt

    def take(self) -> tuple[str, str]:
        """(the files as they are now, why there is no such snapshot).

        A workspace that cannot be kept at this moment (a repository inside it, say) is no reason to forbid the call, which
        may be the one that puts it in order: the attempt as a whole can still be thrown away.
        """
        try:
            return self._means.workspaces.snapshot(self._attempt.run_id, self._attempt.id), ""
        except (InterlockError, OSError) as error:
            return "", str(error)

    def go_back(self, effect: Effect, *, actor: str, why: str) -> UndoneCall:
        """Bring the attempt's files back to before the call; it and all later calls inside the workspace are undone.

        Raises:
            WorkspaceError: when the workspace is gone.
        """
        run_id, workspaces = self._attempt.run_id, self._means.workspaces
        now = workspaces.snapshot(run_id, self._attempt.id)
        workspaces.restore(run_id, self._attempt.id, effect.snapshot)
        with self._means.database.write() as conn:
            others = rows.effects_of(conn, run_id, attempt_id=self._attempt.id)
            gone = [
                each for each in others if each.number >= effect.number and each.snapshot and each.state in _HAPPENED
            ]
            undone = _mark(conn, gone)
            facts = {"effect": effect.id, "to": effect.snapshot, "why": why, "calls": [each.id for each in undone]}
            self._means.ledger.append(conn, run_id, "effect.undone", facts, actor=actor)
        return UndoneCall(
            effect=next(each for each in undone if each.id == effect.id),
            also=tuple(each for each in undone if each.id != effect.id),
            diff=workspaces.compare(run_id, now, effect.snapshot),
        )


class CallUndo:
    """Undoes single calls for people."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def undo(self, effect_id: str, *, actor: str, why: str = "") -> UndoneCall:
        """Undo one call, and say what that has changed.

        Raises:
            NotFoundError: when there is no such call.
            UsageError: when it cannot be undone, and why.
            ConflictError: when later changes build upon it.
        """
        effect, outside = self._find(effect_id)
        if effect.state is EffectState.UNDONE:
            raise UsageError(f"{effect.id} is undone already")
        if outside:
            return self._compensated(effect, actor)
        if not effect.snapshot:
            raise UsageError(f"{effect.id} has no snapshot: it changed nothing in a workspace, or none was kept")
        with self._means.database.read() as conn:
            attempt = rows.find_attempt(conn, effect.attempt_id)
        if attempt is None:
            raise UsageError(f"{effect.id} was a call of a session, whose files Interlock does not keep")
        if attempt.state is not AttemptState.ENDED:
            return Checkpoints(self._means, attempt).go_back(effect, actor=actor, why=why)
        if attempt.error is not None:
            raise UsageError(f"{effect.id} is of an attempt that failed: its files were thrown away already")
        return self._taken_out(effect, actor, why)

    def _find(self, effect_id: str) -> tuple[Effect, bool]:
        with self._means.database.read() as conn:
            effect = rows.find_effect(conn, effect_id)
            if effect is None:
                raise NotFoundError(f"there is no call {effect_id!r}: `interlock show RUN` lists a run's calls")
            outside = rows.effects_of(conn, effect.run_id, attempt_id=effect.attempt_id, outside_only=True)
        return effect, any(each.id == effect.id for each in outside)

    def _compensated(self, effect: Effect, actor: str) -> UndoneCall:
        if effect.compensation is None:
            raise UsageError(f"{effect.summary}: it reached outside of the workspace and named nothing that undoes it")
        report = asyncio.run(Saga(self._means).undo_one(effect, actor=actor))
        if report.problem:
            raise UsageError(report.problem)
        return UndoneCall(effect=replace(effect, state=EffectState.UNDONE))

    def _taken_out(self, effect: Effect, actor: str, why: str) -> UndoneCall:
        with self._means.database.read() as conn:
            others = rows.effects_of(conn, effect.run_id, attempt_id=effect.attempt_id)
        later = [each.snapshot for each in others if each.number > effect.number and each.snapshot]
        integration = self._means.workspaces.revert(
            effect.run_id, effect.attempt_id, before=effect.snapshot, after=later[0] if later else "",
            message=f"Undo {effect.summary}\n\nInterlock-Undone: {effect.id}",
        )  # fmt: skip
        with self._means.database.write() as conn:
            (undone,) = _mark(conn, [effect])
            facts = {
                "effect": effect.id,
                "commit": integration.commit,
                "changed": list(integration.changed),
                "why": why,
            }
            self._means.ledger.append(conn, effect.run_id, "effect.undone", facts, actor=actor)
        diff = self._means.workspaces.compare(effect.run_id, f"{integration.commit}^", integration.commit)
        return UndoneCall(effect=undone, diff=diff, commit=integration.commit)


def _mark(conn: sa.Connection, effects: Sequence[Effect]) -> list[Effect]:
    undone = [replace(effect, state=EffectState.UNDONE) for effect in effects]
    for effect in undone:
        rows.save_effect(conn, effect)
    return undone
