"""Which agents do a task, in which order, and what it risks: the rules of ``decide/`` fed with what the project says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from interlock.catalogue import load_matrices
from interlock.config import Settings
from interlock.decide.brief import BriefContext
from interlock.decide.learn import alike
from interlock.decide.plan import make_plan
from interlock.decide.risk import assess
from interlock.decide.select import select
from interlock.history import MEMORY_FILE, correct, load_memory
from interlock.model.agent import AgentSpec, Priority
from interlock.model.choosing import AgentFacts, Memory, RiskFacts
from interlock.model.metrics import AgentMetrics
from interlock.model.plan import Plan, Selection, Task
from interlock.model.risk import RiskAssessment

Record = Callable[[], Iterable[AgentMetrics]]
"""How the agents have done lately."""


_COMMIT = 40
"""Digits of a commit's id."""


class Chooser:
    """The catalogue, what was learnt, and the rules that use them."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Iterable[AgentSpec],
        *,
        record: Record = tuple,
        elsewhere: Path | None = None,
    ) -> None:
        """``elsewhere`` is where a catalogue other than the project's is: it is judged by its own matrix and memory.

        Raises:
            ConfigError: when a matrix or what was learned cannot be read.
        """
        self._settings = settings
        self._record = record
        self.agents = tuple(catalogue)
        place = elsewhere or Path(settings.project, settings.agents_dir)
        configured = None if elsewhere else settings.matrix
        self.matrices = load_matrices(place if place.exists() else None, configured)
        beside = Path(settings.project) if elsewhere is None else place if place.is_dir() else place.parent
        self.memory_file = beside / MEMORY_FILE
        self._read: tuple[tuple[int, int], Memory | None] = ((0, 0), None)
        self._teaching = threading.Lock()
        self.memory  # noqa: B018 - an unreadable memory is said at the start, not in the middle of a run

    @property
    def memory(self) -> Memory | None:
        """What was learned, read again when the file has changed.

        Raises:
            ConfigError: when it cannot be read.
        """
        try:
            there = self.memory_file.stat()
            mark = (there.st_mtime_ns, there.st_size)
        except OSError:
            mark = (0, 0)
        if self._read[0] != mark:
            self._read = (mark, load_memory(self.memory_file))
        return self._read[1]

    def correct(self, text: str, agents: Sequence[str]) -> bool:
        """Teach that these agents are right for such a task; False when that is known.

        Raises:
            UsageError: for no agent.
            ConfigError: when the memory's file cannot be used.
        """
        with self._teaching:
            return correct(self.memory_file, text, agents) is not None

    def assess(self, task: Task) -> RiskAssessment:
        """What the task risks, judged by its words, by who would do it, and by how these have done lately."""
        chosen = set(task.agents) or set(self.select(task).primary)
        return assess(task.text, self.facts([spec for spec in self.agents if spec.name in chosen]))

    def facts(self, chosen: Sequence[AgentSpec] = ()) -> RiskFacts:
        """What is known about a task besides its words."""
        lately = {one.agent: one for one in self._record()} if chosen else {}
        return RiskFacts(
            classifier=self._settings.risk.classifier,
            environment=self._settings.environment,
            agents=tuple(_facts(spec, lately.get(spec.name)) for spec in chosen),
            protected=self._settings.workspace.protected,
        )

    def select(self, task: Task) -> Selection:
        """Which agents suit the task."""
        return select(task.text, self.agents, memory=self.memory, matrix=self.matrices, insist=task.agents)

    def plan(self, task: Task, selection: Selection | None = None) -> Plan:
        """Who does what, in which order.

        Raises:
            PlanError: when nobody suits, an agent is unknown, or needs go round in a circle.
        """
        selection = selection or self.select(task)
        if selection.emergency and task.priority is None:
            task = replace(task, priority=Priority.CRITICAL)
        context = BriefContext(
            environment=self._settings.environment,
            protected=self._settings.workspace.protected,
            past={name: self._past(task.text, name) for name in selection.primary},
        )
        return make_plan(task, selection, self.agents, matrix=self.matrices, context=context)

    def _past(self, text: str, agent: str) -> tuple[str, ...]:
        """The commits and runs in which this agent did something like it; two words in common are no chance."""
        found = alike(text, self.memory, agent, least=2) if self.memory else ()
        return tuple(one.ref[:12] if len(one.ref) == _COMMIT else one.ref for one in found if ":" not in one.ref)


def _facts(spec: AgentSpec, lately: AgentMetrics | None) -> AgentFacts:
    if lately is None:
        return AgentFacts(name=spec.name, tools=spec.tools, owns=spec.owns)
    return AgentFacts(
        name=spec.name,
        tools=spec.tools,
        owns=spec.owns,
        attempts=lately.successes + lately.failures,
        failures=lately.failures,
        calls=lately.calls_allowed + lately.calls_blocked + lately.calls_asked,
        blocked=lately.calls_blocked,
    )
