"""Charts say the same in a picture, in words and in a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from interlock.engine.rollouts import RolloutStory, RolloutView
from interlock.model.metrics import AgentMetrics, Spread
from interlock.model.rollout import Comparison, Evidence, Move, Rollout, Side
from interlock.surfaces.web.charts import HEIGHT, WIDTH, beside, durations, outcomes, scales, shares

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
COUNTS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=48)


def hours(counts: list[tuple[int, int]]) -> list[tuple[datetime, AgentMetrics]]:
    return [
        (NOON + timedelta(hours=number), AgentMetrics(agent="writer", successes=good, failures=bad))
        for number, (good, bad) in enumerate(counts)
    ]


@given(COUNTS)
def test_every_bar_is_inside_the_picture_and_nothing_that_happened_is_invisible(counts: list[tuple[int, int]]) -> None:
    chart = outcomes(hours(counts))
    for bar in chart.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH
        assert -3 <= bar.y <= bar.y + bar.height <= HEIGHT
        assert bar.height >= 2
        assert bar.width > 0
    assert len(chart.bars) == sum((good > 0) + (bad > 0) for good, bad in counts)
    assert len(chart.rows) == sum(good + bad > 0 for good, bad in counts)


def test_words_and_table_say_what_the_bars_show() -> None:
    chart = outcomes(hours([(3, 0), (0, 0), (1, 2)]))
    assert chart.words == "The last 3 hours: 4 succeeded, 2 failed; most of them at 14:00 UTC"
    assert chart.rows == (("04 May 12:00", "3", "0"), ("04 May 14:00", "1", "2"))


def test_nothing_at_all_is_a_chart_too() -> None:
    assert outcomes(hours([(0, 0)] * 24)).words == "The last 24 hours: 0 succeeded, 0 failed"
    assert not durations(hours([(0, 0)] * 24)).rows


def test_a_gap_in_durations_stays_a_gap() -> None:
    def lasting(ms: int | None) -> AgentMetrics:
        return AgentMetrics(agent="writer", duration=Spread(count=1, median_ms=ms, p95_ms=ms))

    given_hours = [(NOON + timedelta(hours=n), lasting(ms)) for n, ms in enumerate([100, 200, None, 400])]
    median = next(line for line in durations(given_hours).lines if line.kind == "median")
    assert median.path.count("M") == 2
    assert [row[1] for row in durations(given_hours).rows] == ["100 ms", "200 ms", "400 ms"]


def story(*, worse: float = 1.0, fine: float = 1.0, canary: Side | None = None) -> RolloutStory:
    rollout = Rollout(
        id="rol_1", agent="writer", canary="v2", steps=(5, 50), started_by="ann", started_at=NOON, changed_at=NOON
    )
    evidence = (Evidence(name="failures", worse=worse, fine=fine, seen="1 new and 0 stable of 9"),)
    comparison = Comparison(pairs=9, canary_runs=9, stable_runs=9, evidence=evidence)
    return RolloutStory(
        view=RolloutView(rollout=rollout, comparison=comparison, next="wait", why=""),
        moves=(
            Move(at=NOON, kind="rollout.started", percent=5, by="ann", reason="started"),
            Move(at=NOON + timedelta(hours=1), kind="rollout.advanced", percent=50, by="interlock", reason="no worse"),
        ),
        canary=canary or Side(runs=0, failed=0, blocked=0), stable=Side(runs=8, failed=2, blocked=0, median_ms=1000),
        worse_at=80, fine_at=20,
    )  # fmt: skip


def test_the_share_of_a_version_is_a_staircase_up_to_now() -> None:
    chart = shares(story(), NOON + timedelta(hours=4))
    assert chart.words == "Share of the new version: 5 % from 04 May 12:00 UTC, then 50 % from 04 May 13:00 UTC"
    first, second = chart.bars
    assert first.x + first.width == second.x
    assert second.width == 3 * first.width
    assert second.height == 10 * first.height
    assert chart.rows[1][1:4] == ("50 %", "advanced", "interlock")


def test_a_version_without_results_has_none_and_is_not_shown_as_perfect() -> None:
    failed = beside(story())[0]
    assert (failed.new, failed.new_share, failed.stable, failed.stable_share) == ("none yet", 0, "25 %", 100)
    assert beside(story(canary=Side(runs=4, failed=2, blocked=0)))[0].stable_share == 50


@given(st.floats(min_value=0, max_value=1e12, allow_nan=False))
def test_evidence_is_full_exactly_when_it_has_reached_the_mark(evidence: float) -> None:
    (scale,) = scales(story(worse=evidence, fine=evidence))
    assert 0 <= scale.worse <= scale.fine <= 100
    assert (scale.fine == 100) is (evidence >= 20)
    assert (scale.worse == 100) is (evidence >= 80)
