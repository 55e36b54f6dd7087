"""Undoing: the recorded compensations in reverse order, each through the gate, each audited.

When a step fails everything stops, and what was and what was not undone is said. A compensation may be run twice after a
crash: it must be written so that the second time is harmless (restoring a backup is).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from interlock.engine.means import Means
from interlock.engine.validate import run_command
from interlock.model.action import Action, Surface
from interlock.model.decision import Verdict
from interlock.model.run import AttemptState, Effect, EffectState
from interlock.runners.command import filled
from interlock.store import rows

_STEP_TIMEOUT = timedelta(seconds=120)


@dataclass(frozen=True, kw_only=True, slots=True)
class Undoing:
    """What came of it. ``problem`` is empty when everything that could be undone was."""

    undone: tuple[str, ...] = ()
    not_undone: tuple[str, ...] = ()
    problem: str = ""


@dataclass(kw_only=True, slots=True)
class _Progress:
    undone: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    problem: str = ""

    def report(self) -> Undoing:
        return Undoing(undone=tuple(self.undone), not_undone=tuple(self.left), problem=self.problem)


class Saga:
    """Undoes what a run, or one attempt of it, has done outside its workspace."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def undo(self, run_id: str, *, attempt_id: str = "") -> Undoing:
        """Undo effects that were done or may have been done, last one first, then the agents' own rollback commands."""
        progress = _Progress()
        effects = await self._means.read(lambda conn: _to_undo(conn, run_id, attempt_id))
        for place, effect in enumerate(effects):
            await self._undo_effect(run_id, effect, progress)
            if progress.problem:
                progress.left.extend(other.summary for other in effects[place + 1 :])
                return progress.report()
        if not attempt_id and effects:
            await self._own_rollbacks(run_id, progress)
        return progress.report()

    async def undo_one(self, effect: Effect, *, actor: str) -> Undoing:
        """Undo one effect outside the workspace because ``actor`` wants it."""
        progress = _Progress()
        await self._note(effect.run_id, "undo.wanted", {"effect": effect.id, "by": actor})
        await self._undo_effect(effect.run_id, effect, progress)
        return progress.report()

    async def _undo_effect(self, run_id: str, effect: Effect, progress: _Progress) -> None:
        if effect.compensation is None:
            progress.left.append(effect.summary)
            await self._note(run_id, "undo.impossible", {"effect": effect.id, "call": effect.summary})
            return
        steps = [("undo", effect.compensation.command), ("validate", effect.compensation.validate)]
        problem = await self._steps(run_id, effect.summary, [step for step in steps if step[1]])
        if problem:
            progress.problem = f"undoing {effect.summary} failed: {problem}"
            progress.left.append(effect.summary)
            return
        progress.undone.append(effect.summary)
        await self._means.write(lambda conn: rows.save_effect(conn, replace(effect, state=EffectState.UNDONE)))

    async def _own_rollbacks(self, run_id: str, progress: _Progress) -> None:
        attempts = await self._means.read(lambda conn: rows.attempts_of(conn, run_id))
        ran = [attempt.agent for attempt in attempts if attempt.state is AttemptState.ENDED and attempt.started_at]
        for agent in dict.fromkeys(reversed(ran)):
            for command in self._means.spec(agent).rollback:
                name = f"{agent}: {' '.join(command)}"
                problem = await self._steps(run_id, name, [("rollback", command)])
                if problem:
                    progress.problem = f"{name} failed: {problem}"
                    progress.left.append(name)
                    return
                progress.undone.append(name)

    async def _steps(self, run_id: str, what: str, steps: Sequence[tuple[str, Sequence[str]]]) -> str:
        """Run the steps in order; the problem of the first that failed, empty when none did."""
        for step, command in steps:
            facts = {"what": what, "step": step, "command": list(command)}
            await self._note(run_id, "undo.intended", facts)
            problem = await self._refused(run_id, command) or await self._failed(command)
            await self._note(run_id, "undo.failed" if problem else "undo.done", {**facts, "problem": problem})
            if problem:
                return problem
        return ""

    async def _refused(self, run_id: str, command: Sequence[str]) -> str:
        project = self._means.settings.project
        argv = list(filled(command, project=project, workspace=project))
        action = Action(
            kind=Surface.TOOL_CALL, tool="shell", args={"argv": argv}, actor="interlock",
            environment=self._means.settings.environment,
        )  # fmt: skip
        decision = (await asyncio.to_thread(self._means.judge, action, str(project), run_id=run_id)).decision
        return "" if decision.verdict is not Verdict.BLOCK else f"the gate blocks it: {decision.reason}"

    async def _failed(self, command: Sequence[str]) -> str:
        project = self._means.settings.project
        ok, said = await run_command(
            command, cwd=project, project=project, at_most=_STEP_TIMEOUT, contain=self._means.contain_undo
        )
        return "" if ok else f"{said} (it runs inside the sandbox: rollback_paths and rollback_env grant it more)"

    async def _note(self, run_id: str, kind: str, data: dict[str, Any]) -> None:
        await self._means.write(lambda conn: self._means.record(conn, run_id, kind, data))


def _to_undo(conn: sa.Connection, run_id: str, attempt_id: str) -> list[Effect]:
    states = (EffectState.DONE, EffectState.UNKNOWN, EffectState.INTENDED)
    found = rows.effects_of(conn, run_id, attempt_id=attempt_id, states=states, outside_only=True)
    return list(reversed(found))
