"""What the tests of Interlock, and of those who use it, are made with: a clock, a runner and a model that do as told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from interlock.errors import RunnerError
from interlock.model.agent import AgentResult, Usage
from interlock.model.decision import Verdict
from interlock.ports import Gate, Job

if TYPE_CHECKING:
    from interlock.testing.model import ScriptedModel

__all__ = ["FakeClock", "ScriptedModel", "ScriptedRunner"]


def __getattr__(name: str) -> Any:
    """The server is loaded when it is asked for: it is also a program of its own."""
    if name != "ScriptedModel":
        raise AttributeError(f"interlock.testing has no {name!r}")
    from interlock.testing.model import ScriptedModel  # noqa: PLC0415 - see above

    return ScriptedModel


class FakeClock:
    """A clock (:class:`interlock.ports.Clock`) that stands still until it is moved."""

    def __init__(self, at: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)) -> None:
        self._at = at
        self._passed = timedelta()

    def now(self) -> datetime:
        """The time that was set, plus what has passed."""
        return self._at + self._passed

    def advance(self, by: timedelta | float) -> None:
        """Let time pass; a number is seconds.

        Raises:
            ValueError: when it would go back.
        """
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        if step < timedelta():
            raise ValueError("time does not go back")
        self._passed += step


class ScriptedRunner:
    """A runner that walks through tool calls, each through the gate, doing nothing but that.

    ``calls`` are (tool, args) or (tool, args, output): the output is what the tool is said to have returned. What the
    gate has answered is in ``verdicts``. With ``stop_at_block`` (the default) a refused call ends it as ``blocked``.
    """

    def __init__(
        self,
        calls: Sequence[tuple[str, Mapping[str, Any]] | tuple[str, Mapping[str, Any], str]] = (),
        *,
        result: AgentResult | None = None,
        stop_at_block: bool = True,
    ) -> None:
        self._calls = tuple(calls)
        self._result = result or AgentResult(summary="done")
        self._stop_at_block = stop_at_block
        self.verdicts: list[Verdict] = []

    async def run(self, job: Job, gate: Gate) -> AgentResult:
        """Walk through the calls.

        Raises:
            RunnerError: ``blocked`` when a call was refused.
        """
        for tool, args, *outputs in self._calls:
            verdict = await gate.before(tool, args)
            self.verdicts.append(verdict.decision.verdict)
            if verdict.decision.verdict is Verdict.ALLOW:
                await gate.after(verdict.effect_id, ok=True, output=outputs[0] if outputs else "")
            elif self._stop_at_block:
                raise RunnerError(f"{job.agent.name}: {verdict.decision.reason}", kind="blocked")
        return replace(self._result, usage=Usage(tool_calls=len(self._calls)))
