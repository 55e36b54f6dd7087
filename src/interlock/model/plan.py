"""Tasks and the plans made for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from interlock.model.agent import Priority
from interlock.model.canon import digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What somebody wants done, in words."""

    text: str
    submitter: str = "user"
    priority: Priority | None = None
    """None: as the chosen agents' own priorities say."""
    agents: tuple[str, ...] = ()
    """Agents that the submitter insists on; empty: Interlock chooses."""
    idempotency_key: str = ""
    submitted_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """Why an agent was chosen: its score (0 to 1000) and the evidence."""

    agent: str
    score: int
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which agents suit a task."""

    primary: tuple[str, ...] = ()
    """Every agent chosen, best first."""
    fallback: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exclusions: tuple[tuple[str, str], ...] = ()
    """Pairs that must not run at the same time."""
    matches: tuple[Match, ...] = ()
    abstained: bool = False
    """True when nothing suits well enough; ``matches`` then holds the best guesses."""
    emergency: bool = False
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """One agent's part of a plan."""

    agent: str
    prompt: str
    """The enriched prompt: its part of the task, what others do and provide, constraints."""
    part: str = ""
    """Its part of the task in one line, for whoever looks at the plan."""
    needs: tuple[str, ...] = ()
    """Agents of earlier phases whose results it gets."""
    fallbacks: tuple[str, ...] = ()
    priority: Priority = Priority.MEDIUM


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """Assignments that may run side by side, after all earlier phases."""

    assignments: tuple[Assignment, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The order in which agents do a task. An approval covers exactly this plan's digest."""

    task: str
    phases: tuple[Phase, ...]
    exclusions: tuple[tuple[str, str], ...] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)
    """The digest of every agent's definition, fallbacks included: one that is changed later is not what was agreed to."""

    @property
    def agents(self) -> tuple[str, ...]:
        """All agents in order."""
        return tuple(assignment.agent for phase in self.phases for assignment in phase.assignments)

    @property
    def digest(self) -> str:
        """The digest of everything in the plan."""
        return digest(
            {
                "task": self.task,
                "phases": [
                    [
                        {
                            "agent": a.agent,
                            "prompt": a.prompt,
                            "needs": a.needs,
                            "fallbacks": a.fallbacks,
                            "priority": a.priority,
                        }
                        for a in phase.assignments
                    ]
                    for phase in self.phases
                ],
                "exclusions": self.exclusions,
                "definitions": self.definitions,
            }
        )
