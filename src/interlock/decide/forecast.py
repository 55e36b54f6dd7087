"""How long will each waiting attempt wait? From what was observed, and as wrong as such forecasts have been.

Trial runs of the queue over observed durations give the time that is to be expected. They know nothing of what else slows a
machine down, or of jobs that are slow together, so what they would call nine cases of ten is not. Therefore earlier forecasts
are kept and compared with what came (split conformal prediction): the interval is made of the quotients of the forecasts that
expected about as much.
"""

from __future__ import annotations

import hashlib
import math
from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from interlock.decide.govern import Limits, Running, Waiting

_MINUTE = timedelta(seconds=60)
_TRIALS = 64
_STEPS = 20_000
"""Attempts that all trials together place, about: a long queue needs fewer trials, its sum of many durations varies less."""
_LEAST_TRIALS = 5
_LIKE, _NEWEST = 80, 40
"""One interval is made of the newest 40 of the 80 forecasts that expected about as much: what slows a machine down passes."""
_STEPS_OF_SIZE = 16
"""Steps to a doubling; within one the same forecasts count."""
_ENOUGH = 10
"""Fewer forecasts of which something is known say nothing yet."""
_MOMENT_MS = 500
"""Added to every time before two are compared: who expects nothing and waits half a second was not wrong by infinity."""

MARKS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233)
"""The places in the queue at which a forecast is kept, once for each attempt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """An earlier forecast."""

    expected_ms: int
    took_ms: int
    """How long it took; or, if it still waits, has taken so far."""
    over: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """How right earlier forecasts were. One that still waits counts once it is late: else only the quick ones would."""

    past: Sequence[Past]
    """The newest first."""
    _known: list[tuple[float, float]] = field(default_factory=list, init=False)
    """The size of what was expected and the quotient, the newest first."""
    _found: dict[int, tuple[float, float]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        counting = (each for each in self.past if each.over or each.took_ms > each.expected_ms)
        self._known.extend(
            (_size(each.expected_ms), _size(each.took_ms) - _size(each.expected_ms)) for each in counting
        )

    def interval(self, expected_ms: int) -> tuple[int, int] | None:
        """Milliseconds within which half, and nine of ten, of such attempts have started; None while too little is known."""
        if len(self._known) < _ENOUGH:
            return None
        size = _size(expected_ms)
        step = round(size * _STEPS_OF_SIZE)
        if step not in self._found:
            self._found[step] = self._quotients(step / _STEPS_OF_SIZE)
        half, most = (max(0, round(2 ** (size + quotient)) - _MOMENT_MS) for quotient in self._found[step])
        return half, most

    def _quotients(self, size: float) -> tuple[float, float]:
        like = sorted(range(len(self._known)), key=lambda age: abs(self._known[age][0] - size))[:_LIKE]
        chosen = sorted(self._known[age][1] for age in sorted(like)[:_NEWEST])
        count = len(chosen)
        return (chosen[math.ceil(0.5 * (count + 1)) - 1], chosen[min(count, math.ceil(0.9 * (count + 1))) - 1])


def _size(ms: int) -> float:
    """Binary logarithm, so that a difference is a quotient."""
    return math.log2(max(0, ms) + _MOMENT_MS)


def expected(
    queue: Sequence[Waiting],
    running: Sequence[Running],
    limits: Limits,
    durations: Mapping[str, Sequence[int]],
    *,
    recent_starts: Sequence[datetime] = (),
    now: datetime,
) -> list[int | None]:
    """Milliseconds until each attempt of the queue starts: the median of trial runs.

    Args:
        queue: what waits, in order.
        running: who is at work.
        limits: what may be at work at once.
        durations: observed durations in milliseconds by agent; an agent without any is taken as the average of all.
        recent_starts: when attempts started lately.
        now: the time.

    None for an attempt that a limit of 0 keeps from starting, and for all while nothing has been observed. The trials draw
    from the observed durations in an order fixed by the attempts' ids: the same facts give the same forecast.
    """
    pool = [span for spans in durations.values() for span in spans]
    able = [item for item in queue if _may_start(item, limits)]
    if not pool or not able:
        return [None] * len(queue)
    ahead = _Ahead.of(able, running, limits, durations, pool, recent_starts, now)
    trials = max(_LEAST_TRIALS, min(_TRIALS, _STEPS // len(able)))
    futures = [_trial(number, ahead) for number in range(trials)]
    found = {
        item.attempt_id: sorted(starts)[trials // 2]
        for item, starts in zip(able, zip(*futures, strict=True), strict=True)
    }
    return [found.get(item.attempt_id) for item in queue]


def _may_start(item: Waiting, limits: Limits) -> bool:
    tags = [limits.tags[tag] for tag in item.tags & limits.tags.keys()]
    return min(limits.max_concurrent, limits.per_minute, limits.cap(item.agent), *tags) > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ahead:
    """What all trials share; times in milliseconds from now."""

    busy: tuple[tuple[str, str, Sequence[int]], ...]
    """Attempts at work: id, agent, how much longer they may take."""
    queue: tuple[tuple[str, str, Sequence[int], int], ...]
    """Attempts in order: id, agent, how long they may take, earliest start."""
    tags: Mapping[str, frozenset[str]]
    """The limited tags of each agent."""
    foes: Mapping[str, frozenset[str]]
    began: tuple[int, ...]
    limits: Limits

    @classmethod
    def of(
        cls,
        queue: Sequence[Waiting],
        running: Sequence[Running],
        limits: Limits,
        durations: Mapping[str, Sequence[int]],
        pool: Sequence[int],
        recent_starts: Sequence[datetime],
        now: datetime,
    ) -> _Ahead:
        """Gather it once."""
        busy = []
        for work in running:
            elapsed = max(0, _ms(now - work.started_at))
            seen = durations.get(work.agent) or pool
            longer = [
                span - elapsed for span in seen if span > elapsed
            ]  # none: slower than ever seen; as if it began now
            busy.append((work.attempt_id, work.agent, longer or seen))
        foes: dict[str, set[str]] = {}
        everyone: list[Waiting | Running] = [*queue, *running]
        for item in everyone:
            for other in item.excludes:
                foes.setdefault(item.agent, set()).add(other)
                foes.setdefault(other, set()).add(item.agent)
        spans = {item.agent: durations.get(item.agent) or pool for item in queue}
        return cls(
            busy=tuple(busy),
            queue=tuple(
                (item.attempt_id, item.agent, spans[item.agent], max(0, _ms((item.not_before or now) - now)))
                for item in queue
            ),
            tags={item.agent: item.tags & limits.tags.keys() for item in everyone},
            foes={agent: frozenset(others) for agent, others in foes.items()},
            began=tuple(sorted(-_ms(now - start) for start in recent_starts if abs(now - start) < _MINUTE)),
            limits=limits,
        )


def _trial(number: int, ahead: _Ahead) -> list[int]:
    """One possible future: when each of the queue starts."""
    limits = ahead.limits
    ends: list[int] = []
    by_name: dict[str, list[int]] = {}
    began = list(ahead.began)
    for attempt_id, agent, spans in ahead.busy:
        _take(ends, by_name, (agent, *ahead.tags[agent]), _draw(spans, number, attempt_id))
    starts = []
    for attempt_id, agent, spans, earliest in ahead.queue:
        mine = by_name.get(agent, [])
        start = max(earliest, _place_free(ends, limits.max_concurrent), _place_free(mine, limits.cap(agent)))
        for tag in ahead.tags[agent]:
            start = max(start, _place_free(by_name.get(tag, []), limits.tags[tag]))
        for foe in ahead.foes.get(agent, ()):
            start = max(start, by_name[foe][-1] if by_name.get(foe) else 0)
        if len(began) >= limits.per_minute:
            start = max(start, began[-limits.per_minute] + _ms(_MINUTE))
        insort(began, start)
        _take(ends, by_name, (agent, *ahead.tags[agent]), start + _draw(spans, number, attempt_id))
        starts.append(start)
    return starts


def _take(ends: list[int], by_name: dict[str, list[int]], names: Sequence[str], end: int) -> None:
    """Hold a place until ``end``: one of all places, one of the agent's and one of each of its tags'."""
    insort(ends, end)
    for name in names:
        insort(by_name.setdefault(name, []), end)


def _place_free(ends: Sequence[int], places: int) -> int:
    """When fewer than ``places`` of the sorted ``ends`` are still to come."""
    return ends[-places] if len(ends) >= places else 0


def _draw(spans: Sequence[int], number: int, attempt_id: str) -> int:
    drawn = hashlib.blake2b(f"{number}/{attempt_id}".encode(), digest_size=4).digest()
    return spans[int.from_bytes(drawn, "big") % len(spans)]


def _ms(span: timedelta) -> int:
    return round(span / timedelta(milliseconds=1))
