"""Admission: which waiting attempt starts next, and why do the others wait?

The order: waiting counts for each attempt, and each class of priority is worth ``ageing_s`` seconds of it; so everything
gets to the head in the end. Inside a class of priority submitters take turns: the class keeps its places in the queue, and
who was served longest ago gets the first of them. An attempt that only waits for others to end keeps later ones of its own agent and of agents
that it excludes back, or they could take turns for ever. Together: nothing starves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from interlock.config import LimitSettings
from interlock.model.agent import Priority

_MINUTE = timedelta(seconds=60)
_NEVER = datetime.min.replace(tzinfo=UTC)

NAMES = ("max_concurrent", "per_agent", "per_minute")
"""Limits that operators can change while everything runs, besides those of single agents and tags."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """An attempt in the queue."""

    attempt_id: str
    agent: str
    priority: Priority = Priority.MEDIUM
    queued_at: datetime
    not_before: datetime | None = None
    """A back-off's end."""
    excludes: frozenset[str] = frozenset()
    """Agents that must not run at the same time, in any run; it counts both ways."""
    tags: frozenset[str] = frozenset()
    """What the agent uses that is scarce: each tag may have a limit of its own."""
    submitter: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """An attempt that holds a permit."""

    attempt_id: str
    agent: str
    started_at: datetime
    excludes: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What may be at work at once. 0 means never."""

    max_concurrent: int = 3
    per_agent: int = 2
    agents: Mapping[str, int] = field(default_factory=dict)
    """Agents with a limit of their own."""
    tags: Mapping[str, int] = field(default_factory=dict)
    """Executions at once of all agents with that tag."""
    per_minute: int = 10
    ageing: timedelta = timedelta(seconds=60)

    @classmethod
    def of(cls, settings: LimitSettings, agents: Mapping[str, int | None]) -> Limits:
        """The configured limits; an agent with None has the default."""
        return cls(
            max_concurrent=settings.max_concurrent,
            per_agent=settings.per_agent,
            agents={name: cap for name, cap in agents.items() if cap is not None},
            tags=dict(settings.tags),
            per_minute=settings.per_minute,
            ageing=timedelta(seconds=settings.ageing_s),
        )

    def cap(self, agent: str) -> int:
        """How many executions of this agent may run at once."""
        return self.agents.get(agent, self.per_agent)


def changed(limits: Limits, set_by_hand: Mapping[str, int]) -> Limits:
    """The limits with those on top that operators have set by name: see :data:`NAMES`; ``agent:NAME`` and ``tag:NAME``."""
    named = {
        kind: {name.removeprefix(f"{kind}:"): most for name, most in set_by_hand.items() if name.startswith(f"{kind}:")}
        for kind in ("agent", "tag")
    }
    return replace(
        limits,
        max_concurrent=set_by_hand.get("max_concurrent", limits.max_concurrent),
        per_agent=set_by_hand.get("per_agent", limits.per_agent),
        per_minute=set_by_hand.get("per_minute", limits.per_minute),
        agents={**limits.agents, **named["agent"]},
        tags={**limits.tags, **named["tag"]},
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """The next attempt to start, if any, and one sentence for each one that waits."""

    next: Waiting | None
    reasons: Mapping[str, str]
    """By attempt id, in the order of the queue."""


def rank(queued_at: datetime, priority: Priority, ageing: timedelta) -> datetime:
    """The place in the queue, earliest first: each class of priority is worth ``ageing`` of waiting.

    It does not change with time, so that a store can keep the queue in an index and read only its head.
    """
    return queued_at - priority.rank * ageing


def ordered(waiting: Sequence[Waiting], limits: Limits, served: Mapping[str, datetime] | None = None) -> list[Waiting]:
    """The queue's order. ``served``: when each submitter's last attempt started; who is not in it has the first turn."""
    by_rank = sorted(waiting, key=lambda item: (rank(item.queued_at, item.priority, limits.ageing), item.attempt_id))
    turns = {priority: iter(_in_turn(by_rank, priority, served or {})) for priority in Priority}
    return [next(turns[item.priority]) for item in by_rank]


def _in_turn(by_rank: Sequence[Waiting], priority: Priority, served: Mapping[str, datetime]) -> list[Waiting]:
    """The attempts of one class: first the head of each submitter's line, then the second ones, and so on."""
    seen: dict[str, int] = {}
    rounds: list[tuple[int, datetime, int, Waiting]] = []
    for place, item in enumerate(by_rank):
        if item.priority is priority:
            number = seen.get(item.submitter, 0)
            seen[item.submitter] = number + 1
            rounds.append((number, served.get(item.submitter, _NEVER), place, item))
    return [item for *_, item in sorted(rounds, key=lambda turn: turn[:3])]


def pick(
    waiting: Sequence[Waiting],
    running: Sequence[Running],
    limits: Limits,
    *,
    recent_starts: Sequence[datetime] = (),
    refused: Mapping[str, str] | None = None,
    held: Mapping[str, str] | None = None,
    served: Mapping[str, datetime] | None = None,
    now: datetime,
) -> Pick:
    """The next attempt that may start. Start it, add it to ``running`` and ``recent_starts``, and ask again.

    Args:
        waiting: the queue in any order.
        running: every attempt that holds a permit, also of a worker that is silent.
        limits: what may be at work at once.
        recent_starts: when attempts started lately.
        refused: agents whose breaker does not admit, with the reason.
        held: attempts that may not start for another reason (budget, cancelled run), with the reason.
        served: when each submitter's last attempt started.
        now: the time.
    """
    chosen: Waiting | None = None
    reasons: dict[str, str] = {}
    ahead: dict[tuple[str, frozenset[str], frozenset[str]], Waiting] = {}
    full = _full(running, limits, recent_starts, now)
    for item in ordered(waiting, limits, served):
        own = _own_reason(item, limits, refused or {}, held or {}, now)
        if own:
            reasons[item.attempt_id] = own
            continue
        others = _waits_for_others(item, running, limits)
        before = next((other for other in ahead.values() if _stands_back(item, other, limits)), None)
        if others:
            ahead.setdefault((item.agent, item.excludes, item.tags), item)
            reasons[item.attempt_id] = others
        elif full:
            reasons[item.attempt_id] = full
        elif before:
            reasons[item.attempt_id] = f"{before.agent} waits before it, and the two must not take turns"
        elif chosen is None:
            chosen = item
        else:
            reasons[item.attempt_id] = f"{chosen.agent} starts before it"
    return Pick(next=chosen, reasons=reasons)


def _own_reason(
    item: Waiting, limits: Limits, refused: Mapping[str, str], held: Mapping[str, str], now: datetime
) -> str:
    """Why this attempt could not start even if it were alone."""
    if item.attempt_id in held:
        return held[item.attempt_id]
    if limits.max_concurrent <= 0 or limits.per_minute <= 0:
        return "nothing may start: limits.max_concurrent or limits.per_minute is 0"
    if limits.cap(item.agent) <= 0:
        return f"{item.agent} may never start: its limit is 0"
    closed = next((tag for tag in sorted(item.tags) if limits.tags.get(tag, 1) <= 0), None)
    if closed:
        return f"{item.agent} may never start: the limit of {closed} is 0"
    if item.agent in refused:
        return refused[item.agent]
    if item.not_before is not None and now < item.not_before:
        return f"waits until {item.not_before.isoformat(timespec='seconds')} before it tries again"
    return ""


def _full(running: Sequence[Running], limits: Limits, recent_starts: Sequence[datetime], now: datetime) -> str:
    """Why nothing at all can start now."""
    if len(running) >= limits.max_concurrent:
        return f"all places are taken: {len(running)} of {limits.max_concurrent} agents at work"
    started = sum(abs(now - start) < _MINUTE for start in recent_starts)
    if started >= limits.per_minute:
        return f"{started} of {limits.per_minute} starts in this minute are used"
    return ""


def _waits_for_others(item: Waiting, running: Sequence[Running], limits: Limits) -> str:
    """Which attempts at work keep this one from starting."""
    clash = next((other for other in running if _exclude(item, other)), None)
    if clash:
        return f"{clash.agent} is at work, and the two must not run at the same time"
    busy = sum(other.agent == item.agent for other in running)
    if busy >= limits.cap(item.agent):
        return f"{item.agent} is at its limit: {busy} of {limits.cap(item.agent)} at work"
    for tag in sorted(item.tags & limits.tags.keys()):
        busy = sum(tag in other.tags for other in running)
        if busy >= limits.tags[tag]:
            return f"{tag} is at its limit: {busy} of {limits.tags[tag]} at work"
    return ""


def _stands_back(item: Waiting, other: Waiting, limits: Limits) -> bool:
    """Whether ``item`` must not overtake ``other``, which waits for somebody to end."""
    return other.agent == item.agent or _exclude(item, other) or bool(item.tags & other.tags & limits.tags.keys())


def _exclude(one: Waiting, other: Waiting | Running) -> bool:
    return other.agent in one.excludes or one.agent in other.excludes
