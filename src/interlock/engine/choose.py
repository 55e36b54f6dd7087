"""Which agents do a task, in which order, and what it risks: the rules of ``decide/`` fed with what the project says."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from interlock.catalogue import load_matrices
from interlock.config import Settings
from interlock.decide.plan import PlanContext, make_plan
from interlock.decide.risk import assess
from interlock.decide.select import select
from interlock.history import MEMORY_FILE, correct, load_memory
from interlock.model.agent import AgentSpec, Priority
from interlock.model.choosing import AgentFacts, Matrix, Memory, RiskFacts
from interlock.model.plan import Plan, Selection, Task
from interlock.model.risk import RiskAssessment


class Chooser:
    """The catalogue, what was learnt, and the rules that use them."""

    def __init__(self, settings: Settings, catalogue: Mapping[str, AgentSpec]) -> None:
        self._settings = settings
        self._catalogue = tuple(catalogue.values())
        directory = Path(settings.project, settings.agents_dir)
        self._matrices: tuple[Matrix, ...] = load_matrices(directory if directory.exists() else None, settings.matrix)
        self._file = settings.project / MEMORY_FILE
        self._memory: Memory | None = load_memory(self._file)
        self._teaching = threading.Lock()

    def correct(self, text: str, agents: Sequence[str]) -> bool:
        """Teach that these agents are right for such a task; False when that is known. Other processes learn it at their start.

        Raises:
            UsageError: for no agent.
            ConfigError: when the memory's file cannot be used.
        """
        with self._teaching:
            memory = correct(self._file, text, agents)
            self._memory = memory or self._memory
        return memory is not None

    def assess(self, task: Task) -> RiskAssessment:
        """What the task risks, judged by its words and by who would do it."""
        chosen = set(task.agents) or set(self.select(task).primary)
        facts = RiskFacts(
            classifier=self._settings.risk.classifier,
            environment=self._settings.environment,
            agents=tuple(_facts(spec) for spec in self._catalogue if spec.name in chosen),
            protected=self._settings.workspace.protected,
        )
        return assess(task.text, facts)

    def select(self, task: Task) -> Selection:
        """Which agents suit the task."""
        return select(task.text, self._catalogue, memory=self._memory, matrix=self._matrices, insist=task.agents)

    def plan(self, task: Task) -> Plan:
        """Who does what, in which order.

        Raises:
            PlanError: when nobody suits, an agent is unknown, or needs go round in a circle.
        """
        selection = self.select(task)
        if selection.emergency and task.priority is None:
            task = replace(task, priority=Priority.CRITICAL)
        context = PlanContext(environment=self._settings.environment, protected=self._settings.workspace.protected)
        return make_plan(task, selection, self._catalogue, matrix=self._matrices, context=context)


def _facts(spec: AgentSpec) -> AgentFacts:
    return AgentFacts(name=spec.name, tools=spec.tools, owns=spec.owns)
