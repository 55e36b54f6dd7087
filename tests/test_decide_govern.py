"""Admission never exceeds a limit, never starves anybody, says why somebody waits, and estimates only from facts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from interlock.config import LimitSettings
from interlock.decide.govern import Limits, Running, Waiting, ordered, pick
from interlock.model.agent import Priority

NOW = datetime(2030, 1, 1, tzinfo=UTC)
WIDE = Limits(max_concurrent=100, per_agent=100, per_minute=1000)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def waits(
    attempt: str, agent: str = "a", priority: Priority = Priority.MEDIUM, since: float = 0, excludes: Sequence[str] = ()
) -> Waiting:
    return Waiting(
        attempt_id=attempt, agent=agent, priority=priority, queued_at=after(since), excludes=frozenset(excludes)
    )


def runs(attempt: str, agent: str = "a", since: float = 0, excludes: Sequence[str] = ()) -> Running:
    return Running(attempt_id=attempt, agent=agent, started_at=after(since), excludes=frozenset(excludes))


def chosen(
    waiting: Sequence[Waiting], running: Sequence[Running] = (), limits: Limits = WIDE, now: float = 0
) -> str | None:
    found = pick(waiting, running, limits, now=after(now)).next
    return found.attempt_id if found else None


def test_the_higher_priority_goes_first_and_then_the_older_one() -> None:
    waiting = [
        waits("low", priority=Priority.LOW, since=-9),
        waits("new", priority=Priority.HIGH),
        waits("old", priority=Priority.HIGH, since=-1),
    ]
    assert [item.attempt_id for item in ordered(waiting, WIDE)] == ["old", "new", "low"]


def test_each_class_of_priority_is_worth_the_ageing_time_of_waiting() -> None:
    low = waits("low", priority=Priority.LOW)
    for seconds, rival, expected in [
        (59, Priority.MEDIUM, "rival"),
        (61, Priority.MEDIUM, "low"),
        (119, Priority.HIGH, "rival"),
        (121, Priority.HIGH, "low"),
        (179, Priority.CRITICAL, "rival"),
        (181, Priority.CRITICAL, "low"),
    ]:
        assert chosen([low, waits("rival", priority=rival, since=seconds)], now=seconds) == expected


def test_limits_of_0_mean_never_and_not_the_default() -> None:
    for limits in (Limits(max_concurrent=0), Limits(per_minute=0), Limits(per_agent=0), Limits(agents={"a": 0})):
        result = pick([waits("t")], [], limits, now=NOW)
        assert result.next is None
        assert "0" in result.reasons["t"]
    assert chosen([waits("t", "b")], limits=Limits(agents={"a": 0})) == "t"


def test_the_configured_limits_are_taken_over_with_0_kept() -> None:
    limits = Limits.of(LimitSettings(max_concurrent=4, ageing_s=30), {"a": 0, "b": None, "c": 1})
    assert (limits.cap("a"), limits.cap("b"), limits.cap("c"), limits.cap("d")) == (0, 2, 1, 2)
    assert (limits.max_concurrent, limits.ageing) == (4, timedelta(seconds=30))


def test_everybody_who_waits_is_told_why() -> None:
    limits = Limits(max_concurrent=4, per_agent=1, per_minute=10)
    waiting = [
        waits("busy", "a"),
        waits("broken", "b"),
        waits("poor", "c"),
        Waiting(attempt_id="later", agent="d", queued_at=NOW, not_before=after(5)),
        waits("foe", "e", excludes=["a"]),
        waits("foe2", "f", since=1, excludes=["e"]),
        waits("first", "g"),
        waits("second", "h"),
    ]
    result = pick(
        waiting, [runs("r", "a")], limits, refused={"b": "b's breaker is open"}, held={"poor": "no money left"}, now=NOW
    )
    assert result.next is not None
    assert result.next.attempt_id == "first"
    assert result.reasons == {
        "busy": "a is at its limit: 1 of 1 at work",
        "broken": "b's breaker is open",
        "poor": "no money left",
        "later": "waits until 2030-01-01T00:00:05+00:00 before it tries again",
        "foe": "a is at work, and the two must not run at the same time",
        "foe2": "e waits before it, and the two must not take turns",
        "second": "g starts before it",
    }


def test_no_place_and_no_start_left_in_the_minute_are_told() -> None:
    full = pick([waits("t", "b")], [runs("r")], Limits(max_concurrent=1), now=NOW)
    assert full.reasons == {"t": "all places are taken: 1 of 1 agents at work"}
    starts = [after(-1)] * 10
    rate = pick([waits("t")], [], Limits(), recent_starts=starts, now=NOW)
    assert rate.reasons == {"t": "10 of 10 starts in this minute are used"}
    assert pick([waits("t")], [], Limits(), recent_starts=[after(-60)] * 10, now=NOW).next is not None


def test_exclusions_count_both_ways() -> None:
    assert chosen([waits("t", "a", excludes=["b"])], [runs("r", "b")]) is None
    assert chosen([waits("t", "a")], [runs("r", "b", excludes=["a"])]) is None
    assert chosen([waits("t", "a", excludes=["a"])], [runs("r", "a")]) is None
    assert chosen([waits("t", "a", excludes=["c"])], [runs("r", "b")]) == "t"


def test_agents_that_exclude_another_cannot_take_turns_for_ever() -> None:
    waiting = [waits("patient", "a", excludes=["b"]), waits("next", "b", since=1)]
    assert chosen(waiting, [runs("r", "b")]) is None
    assert chosen(waiting, []) == "patient"


AGENTS = "abcd"
LIMITS = st.builds(
    Limits,
    max_concurrent=st.integers(1, 4),
    per_agent=st.integers(1, 3),
    agents=st.dictionaries(st.sampled_from(AGENTS), st.integers(0, 2)),
    per_minute=st.integers(1, 6),
    ageing=st.just(timedelta(seconds=30)),
)
WORK = st.tuples(
    st.sampled_from(AGENTS),
    st.sampled_from(Priority),
    st.frozensets(st.sampled_from(AGENTS), max_size=2),
    st.integers(1, 90),
)


class World:
    """Runs admission second by second, as the engine would."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.second = 0
        self.waiting: list[Waiting] = []
        self.running: list[tuple[Running, int]] = []
        self.starts: list[datetime] = []
        self.lengths: dict[str, int] = {}
        self.ended: list[str] = []

    def submit(self, agent: str, priority: Priority, excludes: frozenset[str], length: int) -> str:
        attempt = f"t{len(self.lengths)}"
        self.lengths[attempt] = length
        self.waiting.append(
            Waiting(attempt_id=attempt, agent=agent, priority=priority, queued_at=after(self.second), excludes=excludes)
        )
        return attempt

    def turn(self) -> None:
        self.ended += [work.attempt_id for work, end in self.running if end <= self.second]
        self.running = [(work, end) for work, end in self.running if end > self.second]
        while True:
            holders = [work for work, _ in self.running]
            result = pick(self.waiting, holders, self.limits, recent_starts=self.starts, now=after(self.second))
            left = {item.attempt_id for item in self.waiting} - ({result.next.attempt_id} if result.next else set())
            assert set(result.reasons) == left, "everybody who waits is told why"
            if result.next is None:
                break
            self.begin(result.next)
        self.second += 1

    def begin(self, item: Waiting) -> None:
        now = after(self.second)
        self.waiting.remove(item)
        work = Running(attempt_id=item.attempt_id, agent=item.agent, started_at=now, excludes=item.excludes)
        self.running.append((work, self.second + self.lengths[item.attempt_id]))
        self.starts.append(now)
        self.check(work)

    def check(self, fresh: Running) -> None:
        holders = [work for work, _ in self.running]
        assert len(holders) <= self.limits.max_concurrent
        assert sum(work.agent == fresh.agent for work in holders) <= self.limits.cap(fresh.agent)
        minute = [start for start in self.starts if start > after(self.second - 60)]
        assert len(minute) <= self.limits.per_minute
        for other in holders:
            if other is not fresh:
                assert fresh.agent not in other.excludes
                assert other.agent not in fresh.excludes


@hypothesis_settings(max_examples=60, deadline=None)
@given(LIMITS, st.lists(st.one_of(WORK, st.integers(1, 40)), max_size=25))
def test_no_limit_is_ever_exceeded_and_everything_that_may_start_does(
    limits: Limits, story: list[tuple[str, Priority, frozenset[str], int] | int]
) -> None:
    world = World(limits)
    for event in story:
        if isinstance(event, int):
            for _ in range(event):
                world.turn()
        else:
            world.submit(*event)
    able = {item.attempt_id for item in world.waiting if limits.cap(item.agent) > 0}
    for _ in range(90 * len(able) + 120 * len(able) + 200):
        if not world.running and not (able - set(world.ended)):
            break
        world.turn()
    assert able <= set(world.ended)


@hypothesis_settings(max_examples=20, deadline=None)
@example(
    stream=[
        ("a", Priority.LOW, frozenset(), 2),
        ("b", Priority.LOW, frozenset(), 2),
        ("a", Priority.LOW, frozenset(), 1),
    ],
    places=2,
    per_agent=1,
)
@example(stream=[("b", Priority.LOW, frozenset(), length) for length in (19, 23, 29)], places=3, per_agent=3)
@given(st.lists(WORK, min_size=1, max_size=3), st.integers(1, 3), st.integers(1, 2))
def test_low_priority_never_starves_under_a_stream_of_critical_work(
    stream: list[tuple[str, Priority, frozenset[str], int]], places: int, per_agent: int
) -> None:
    world = World(Limits(max_concurrent=places, per_agent=per_agent, per_minute=100, ageing=timedelta(seconds=10)))
    patient = world.submit("a", Priority.LOW, frozenset({"b"}), 5)
    for _ in range(900):
        if patient in world.ended:
            return
        for agent, _, excludes, length in stream:
            if sum(item.agent == agent for item in world.waiting) < 3:
                world.submit(agent, Priority.CRITICAL, excludes, min(length, 30))
        world.turn()
    pytest.fail("it starved")
