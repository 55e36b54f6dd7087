"""What a task risks, who suits it, and in which order it would be done. Nothing is executed."""

from __future__ import annotations

from collections.abc import Sequence

from interlock.engine.means import Means
from interlock.model.plan import Plan, Selection, Task
from interlock.model.risk import RiskAssessment
from interlock.service.agents import Agents


class Plans:
    """Choosing, in one project."""

    def __init__(self, means: Means, agents: Agents) -> None:
        self._means = means
        self._agents = agents

    def assess(self, task: Task) -> RiskAssessment:
        """What the task risks."""
        return self._means.chooser.assess(task)

    def select(self, task: Task) -> Selection:
        """Which agents suit the task."""
        return self._means.chooser.select(task)

    def make(self, task: Task) -> Plan:
        """Who would do what, in which order.

        Raises:
            PlanError: when there is no sound plan.
        """
        return self._means.chooser.plan(task)

    def correct(self, text: str, agents: Sequence[str], *, actor: str) -> bool:
        """Teach that these agents are the right ones for such a task; False when that is known already.

        Raises:
            UsageError: for no agent.
            NotFoundError: for an unknown one.
        """
        for agent in agents:
            self._agents.find(agent)
        new = self._means.chooser.correct(text, agents)
        if new:
            with self._means.database.write() as conn:
                facts = {"task": text, "agents": list(agents)}
                self._means.ledger.append(conn, "operator:plans", "plan.corrected", facts, actor=actor)
        return new
