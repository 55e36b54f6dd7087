"""Two sets of policies at one call: one is obeyed, the other only says what it would have said.

The obeyed one is closed on failure. The other one is an observer: whatever it does wrong is noted, it is waited for only
a moment, and while it is still busy with an earlier call it is not asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from interlock.decide.policy import PolicySet
from interlock.decide.policy_change import broke, tighter
from interlock.model.action import Action
from interlock.model.decision import Decision, Verdict
from interlock.model.rollout import Compared, Difference

_PATIENCE_S = 0.05
"""How long a call may be held up by a set that nobody obeys; judging takes well below a millisecond."""
_BUSY = "the other set was still busy with an earlier call"


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """Which sets judge a run's calls."""

    ruling: PolicySet
    """Is obeyed."""
    also: PolicySet | None = None
    """Is obeyed too, where it is stricter."""
    shadow: PolicySet | None = None
    """Only says what it would have said."""
    rollout: str = ""
    """The rollout that this is for."""
    canary: bool = False
    """Whether the new set is the one that is obeyed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SideBySide:
    """What both sets have said of one call."""

    course: Course
    ruled: Decision
    """As the obeyed set alone has it, before anybody was asked."""
    shadow: Decision | None
    problem: str = ""
    """Why the other set has said nothing."""

    @property
    def said(self) -> dict[str, object]:
        """What the ledger keeps of it."""
        facts: dict[str, object] = {"rollout": self.course.rollout, "canary": self.course.canary}
        if self.shadow is None:
            return {**facts, "problem": self.problem}
        return {
            **facts, "verdict": self.shadow.verdict, "rules": list(self.shadow.rule_ids),
            "policy": self.shadow.policy_digest,
        }  # fmt: skip

    def compared(self, run: str, action: Action, call: str) -> Compared:
        """What the call adds to the comparison. ``call`` is its line for people."""
        if self.shadow is None:
            return Compared(left_out=True)
        old, new = (self.shadow, self.ruled) if self.course.canary else (self.ruled, self.shadow)
        stricter = tighter(old, new)
        difference = None
        if stricter is not None:
            why = (new if stricter else old).reason
            difference = Difference(
                run=run, agent=action.agent, tool=action.tool or action.kind.value, call=call, old=old.verdict, new=new.verdict,
                tighter=stricter, why=why[:_REASON],
            )  # fmt: skip
        return Compared(
            old_blocked=old.verdict is Verdict.BLOCK, new_blocked=new.verdict is Verdict.BLOCK,
            old_asked=old.verdict is Verdict.CONFIRM, new_asked=new.verdict is Verdict.CONFIRM,
            error=broke(new) and not broke(old), difference=difference,
        )  # fmt: skip


_REASON = 300


class Bystander:
    """Asks the set that nobody obeys."""

    def __init__(self) -> None:
        self._asked: threading.Thread | None = None

    def ask(self, judge: Callable[[], Decision]) -> tuple[Decision | None, str]:
        """Its decision, or why there is none. Never raises, and never takes longer than a moment."""
        if self._asked is not None and self._asked.is_alive():
            return None, "the other set was still busy with an earlier call"
        heard: list[Decision | str] = []

        def listen() -> None:
            try:
                heard.append(judge())
            except Exception as problem:  # noqa: BLE001 - nobody obeys it, so nothing depends on it
                heard.append(f"{type(problem).__name__}: {problem}"[:_REASON])

        try:
            self._asked = asked = threading.Thread(target=listen, name="interlock-shadow", daemon=True)
            asked.start()
            asked.join(_PATIENCE_S)
        except RuntimeError as problem:  # no thread to be had: the machine is at its end, the call goes on
            return None, f"{type(problem).__name__}: {problem}"[:_REASON]
        said = heard[0] if heard else f"the other set took longer than {_PATIENCE_S * 1000:g} ms"
        return (None, said) if isinstance(said, str) else (said, "")
