"""The policies in force, and what they say to an action."""

from __future__ import annotations

from interlock.decide.policy import Considered, PolicySet
from interlock.engine.means import Means
from interlock.model.action import Action, Surface
from interlock.model.decision import Decision, Policy
from interlock.model.history import History


class Policies:
    """Judging, in one project."""

    def __init__(self, means: Means) -> None:
        self._means = means

    @property
    def in_force(self) -> tuple[Policy, ...]:
        """The policies in force."""
        return self.ruling.policies

    @property
    def ruling(self) -> PolicySet:
        """The same, compiled: what a new run would obey. During a rollout's stages the present set."""
        return self._means.rollouts.policies.course().ruling

    def judge(self, action: Action) -> Decision:
        """What the gate would say to an action in this project. Nothing happens, nothing is recorded."""
        return self._means.judge(action, str(self._means.settings.project)).decision

    def explain(self, action: Action) -> tuple[Considered, ...]:
        """Every rule of every policy, and why it does or does not match the action."""
        course = self._means.rollouts.policies.course()
        return self._means.gate.explain(action, self._means.scope(str(self._means.settings.project)), course=course)

    def warm_up(self) -> None:
        """Load now what judging would load at the first call of its kind: parsers, mostly."""
        for tool, args in (("shell", {"command": "git diff | psql -c 'select 1'"}), ("sql", {"query": "select 1"})):
            action = Action(kind=Surface.TOOL_CALL, tool=tool, args=args)
            self._means.gate.judge(action, self._means.scope(str(self._means.settings.project)), history=History())
