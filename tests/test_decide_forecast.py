"""A forecast is made of facts only, and is as wide as earlier ones were wrong."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from interlock.decide.forecast import Past, Record, expected
from interlock.decide.govern import Limits, Running, Waiting

NOW = datetime(2030, 1, 1, tzinfo=UTC)
WIDE = Limits(max_concurrent=100, per_agent=100, per_minute=1000)
ONE = Limits(max_concurrent=1)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def waits(attempt: str, agent: str = "a", excludes: Sequence[str] = ()) -> Waiting:
    return Waiting(attempt_id=attempt, agent=agent, queued_at=NOW, excludes=frozenset(excludes))


def runs(attempt: str, agent: str = "a", since: float = 0) -> Running:
    return Running(attempt_id=attempt, agent=agent, started_at=after(since))


def last(
    queue: Sequence[Waiting],
    running: Sequence[Running],
    limits: Limits,
    seen: Mapping[str, Sequence[int]],
    recent: Sequence[datetime] = (),
) -> int | None:
    return expected(queue, running, limits, seen, recent_starts=recent, now=NOW)[-1]


def test_without_observations_nothing_is_expected() -> None:
    assert last([waits("t")], [runs("r")], ONE, {}) is None
    assert last([waits("t")], [runs("r")], ONE, {"a": []}) is None
    assert expected([], [], ONE, {"a": [1000]}, now=NOW) == []


@pytest.mark.parametrize("limits", [Limits(max_concurrent=0), Limits(per_minute=0), Limits(agents={"a": 0})])
def test_what_may_never_start_has_no_forecast(limits: Limits) -> None:
    assert last([waits("t")], [], limits, {"a": [1000]}) is None


def test_what_may_never_start_keeps_nobody_waiting() -> None:
    queue = [waits("never", "b"), waits("t")]
    assert expected(queue, [], Limits(max_concurrent=1, agents={"b": 0}), {"a": [1000]}, now=NOW) == [None, 0]


def test_a_forecast_follows_the_observed_durations() -> None:
    assert last([waits("t")], [], ONE, {"a": [1000]}) == 0
    assert last([waits("t")], [runs("r", since=-4)], ONE, {"a": [10_000]}) == 6000
    queue = [waits("t1"), waits("t2"), waits("t3")]
    assert expected(queue, [runs("r")], ONE, {"a": [10_000]}, now=NOW) == [10_000, 20_000, 30_000]
    assert last(queue, [runs("r")], Limits(max_concurrent=2), {"a": [10_000]}) == 10_000
    assert last([waits("t", "new")], [runs("r")], ONE, {"a": [10_000]}) == 10_000


def test_a_forecast_heeds_limits_per_agent_exclusions_back_off_and_the_rate() -> None:
    seen = {"a": [10_000], "b": [3000]}
    assert last([waits("t")], [runs("r")], Limits(per_agent=1), seen) == 10_000
    assert last([waits("t", "b", excludes=["a"])], [runs("r")], WIDE, seen) == 10_000
    later = Waiting(attempt_id="t", agent="a", queued_at=NOW, not_before=after(7))
    assert last([later], [], WIDE, seen) == 7000
    assert last([waits("t")], [], Limits(per_minute=2), seen, [after(-50), after(-20)]) == 10_000


def test_work_that_is_slower_than_ever_seen_is_not_said_to_end_at_once() -> None:
    assert last([waits("t")], [runs("r", since=-99)], ONE, {"a": [10_000]}) == 10_000


def test_the_same_facts_give_the_same_forecast() -> None:
    queue, seen = [waits(f"t{number}") for number in range(5)], {"a": [1000, 2000, 5000, 60_000]}
    assert expected(queue, [runs("r")], ONE, seen, now=NOW) == expected(queue, [runs("r")], ONE, seen, now=NOW)


def test_of_few_earlier_forecasts_nothing_is_made() -> None:
    assert Record([Past(expected_ms=1000, took_ms=1000)] * 9).interval(1000) is None
    assert Record([Past(expected_ms=1000, took_ms=1000)] * 10).interval(1000) == (1000, 1000)


def test_an_interval_is_made_of_the_forecasts_that_expected_about_as_much() -> None:
    near = [Past(expected_ms=1000 + number, took_ms=1000 + number) for number in range(80)]
    far = [Past(expected_ms=100_000 + number, took_ms=300_000) for number in range(80)]
    record = Record(near + far)
    assert record.interval(1000) == (1000, 1000)
    half, most = record.interval(100_000) or (0, 0)
    assert half == pytest.approx(300_000, rel=0.01)
    assert most >= half


def test_of_the_forecasts_that_expected_as_much_the_newest_count() -> None:
    new = [Past(expected_ms=1000, took_ms=3000)] * 40
    assert Record(new + [Past(expected_ms=1000, took_ms=1000)] * 40).interval(1000) == (3000, 3000)


def test_a_forecast_that_still_waits_counts_once_it_is_late() -> None:
    right = [Past(expected_ms=1000, took_ms=1000)] * 10
    waiting = [Past(expected_ms=1000, took_ms=400, over=False)] * 10
    late = [Past(expected_ms=1000, took_ms=9000, over=False)] * 10
    assert Record(right + waiting).interval(1000) == (1000, 1000)
    assert (Record(right + late).interval(1000) or (0, 0))[1] == 9000


@pytest.mark.parametrize("slower", [0.5, 1.0, 3.0])
def test_nine_of_ten_start_within_the_interval_however_wrong_the_trials_are(slower: float) -> None:
    dice = random.Random(f"slower {slower}")  # noqa: S311 - a simulation, not a secret

    def one() -> Past:
        ms = dice.randrange(1, 100_000)
        return Past(expected_ms=ms, took_ms=round(ms * slower * dice.lognormvariate(0, 0.5)))

    halves = mosts = 0
    for _ in range(300):
        record = Record([one() for _ in range(120)])
        new = one()
        half, most = record.interval(new.expected_ms) or (0, 0)
        halves += new.took_ms <= half
        mosts += new.took_ms <= most
    assert 0.4 <= halves / 300 <= 0.6
    assert 0.85 <= mosts / 300 <= 0.96


SPANS = st.lists(st.integers(1, 10**6), min_size=1, max_size=5)
PAST = st.lists(
    st.builds(Past, expected_ms=st.integers(0, 10**9), took_ms=st.integers(0, 10**9), over=st.booleans()), max_size=60
)


@hypothesis_settings(max_examples=60, deadline=None)
@given(SPANS, st.lists(st.sampled_from("abc"), min_size=1, max_size=12), PAST)
def test_nobody_waits_for_a_negative_time_and_half_is_never_more_than_most(
    spans: list[int], agents: list[str], past: list[Past]
) -> None:
    found = expected([waits(f"t{number}", one) for number, one in enumerate(agents)], [], ONE, {"a": spans}, now=NOW)
    for future in found:
        assert future is not None
        assert future >= 0
        half, most = Record(past).interval(future) or (0, 0)
        assert 0 <= half <= most
