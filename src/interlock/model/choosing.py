"""What choosing needs: the decision matrix, what was learned, the facts of risk, the summary of results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from interlock.model.agent import Priority
from interlock.model.run import Conflict


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixRule:
    """One line of a decision matrix: *when a task of these kinds says these words, these agents join*."""

    add: tuple[str, ...]
    words: tuple[str, ...] = ()
    """Any of these words or phrases, compared by stem; empty: whatever the task says."""
    also: tuple[str, ...] = ()
    """And any of these."""
    unless: tuple[str, ...] = ()
    """And none of these."""
    first: tuple[str, ...] = ()
    """Only when one of these agents leads; empty: whoever leads."""
    kinds: tuple[str, ...] = ()
    """Only for these kinds of work; empty: all but the single ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixDomain:
    """The words by which an agent is recognised as the one that leads."""

    agent: str
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """A team's decision matrix (spec 5): who leads, who joins, in which order. Data that a catalogue may carry."""

    name: str
    agents: tuple[str, ...]
    """It applies to catalogues that have all of these."""
    exactly: bool = False
    """It applies only where these are all the agents there are."""
    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Kinds of work by the verbs that begin a task; ``title`` is a task without any verb of work."""
    triggers: tuple[str, ...] = ()
    """Kinds of work and words that wake the matrix; empty: every task that names a domain."""
    domains: tuple[MatrixDomain, ...] = ()
    """The most words win; the earlier domain when equal."""
    rules: tuple[MatrixRule, ...] = ()
    single: tuple[str, ...] = ()
    """Kinds of work that the leading agent does alone, unless a rule names the kind."""
    together: tuple[str, ...] = ()
    """Kinds of work whose agents all start at once."""
    one_by_one: tuple[str, ...] = ()
    """Kinds of work whose agents go one after the other."""
    order: tuple[tuple[str, str], ...] = ()
    """Who goes before whom (``*`` is everybody else), for all other kinds of work."""
    emergency: tuple[str, ...] = ()
    """Words that tell an emergency when one of ``emergency_about`` is named as well."""
    emergency_about: tuple[str, ...] = ()
    emergency_agent: str = ""
    emergency_priority: Priority = Priority.CRITICAL


@dataclass(frozen=True, kw_only=True, slots=True)
class Lesson:
    """One labelled example: a commit or a person's correction."""

    ref: str
    """The commit's id, the run's id, or ``correction:`` and a digest."""
    agents: tuple[str, ...]
    subject: str = ""
    """The words that it taught, as stems."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """What a repository's history and people's corrections teach about who does what. Counts only: it can be read."""

    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """For each agent, in how many lessons each stem occurred."""
    lessons: Mapping[str, int] = field(default_factory=dict)
    """For each agent, how many lessons there were."""
    total: int = 0
    """Lessons in all: one may teach about several agents."""
    recent: tuple[Lesson, ...] = ()
    """The last commits, newest first: the past tasks that explain a choice."""
    outcomes: tuple[Lesson, ...] = ()
    """What runs that succeeded taught, newest first; each run teaches once."""
    corrections: tuple[Lesson, ...] = ()
    head: str = ""
    """The commit up to which history has been read."""
    catalogue: str = ""
    """Digest of the ``owns`` globs with which it was read; others need a fresh reading."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentFacts:
    """What an agent that was chosen may do."""

    name: str
    tools: tuple[str, ...] = ()
    owns: tuple[str, ...] = ()
    attempts: int = 0
    """Recent attempts that succeeded or failed."""
    failures: int = 0
    calls: int = 0
    """Recent calls that the gate judged."""
    blocked: int = 0
    """Those of them that it stopped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RiskFacts:
    """What is known about a task besides its words."""

    classifier: str = "contextual"
    """``contextual`` or ``lexical`` (the user's literal rules, alone)."""
    environment: str = "development"
    agents: tuple[AgentFacts, ...] = ()
    files: tuple[str, ...] = ()
    """Files the task is known to touch, besides those it names."""
    protected: tuple[str, ...] = ()
    """Globs of files that only people change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """The names in a change, as far as they are recognised."""

    touched: tuple[str, ...] = ()
    """``path::name`` of what the changed lines belong to."""
    defined: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    """Defined before and no longer, as far as the change shows."""
    used: tuple[str, ...] = ()
    """Words of the lines that were added, in order; without those that the change itself defines."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What one agent changed."""

    paths: tuple[str, ...] = ()
    names: Names = field(default_factory=Names)
    saw: tuple[str, ...] = ()
    """Agents whose changes were there when it began."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The results of all agents as one (spec 5)."""

    text: str
    deliverables: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    blockers: tuple[str, ...] = ()
    recommendations: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
