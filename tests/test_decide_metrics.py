"""Metrics are what the ledger says: the same numbers however often, wherever and in how many parts they are counted."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.decide import metrics as rules
from interlock.model.ledger import LedgerEntry
from interlock.model.metrics import AgentMetrics, Spread, Tally
from watch_kit import NOON, Book, SetClock, entry

KINDS = st.sampled_from([
    "task.submitted", "run.ended", "attempt.admitted", "attempt.started", "attempt.succeeded", "attempt.failed",
    "recovery.chosen", "agent.returned", "effect.intended", "call.blocked", "approval.asked", "alert.fired", "nonsense",
])  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**7), st.sampled_from(["writer", "crashed", "blocked", "a", "b", "retry"]),
    st.dictionaries(st.sampled_from(["input_tokens", "output_tokens", "cost_micros"]), st.integers(0, 9)),
)  # fmt: skip
NAMES = st.sampled_from(
    ["agent", "of", "attempt", "error", "message", "step", "duration_ms", "waited_ms", "usage", "kind"]
)
RECORDS = st.lists(
    st.builds(
        lambda kind, data, minutes: entry(kind, data, at=NOON + timedelta(minutes=minutes), actor="writer"),
        KINDS, st.dictionaries(NAMES, VALUES), st.integers(0, 9),
    ),
    max_size=25,
)  # fmt: skip


def folded(records: list[LedgerEntry], agent: str = "writer") -> Tally:
    return rules.total(piece for each in records for name, piece in rules.pieces(each) if name == agent)


def measured(records: list[LedgerEntry]) -> AgentMetrics:
    tally = folded(records)
    return rules.agent_metrics("writer", tally, streak=tally.streak, breaker="closed")


@given(RECORDS, st.integers(0, 25))
def test_counting_in_two_parts_is_the_same_as_counting_at_once(records: list[LedgerEntry], cut: int) -> None:
    for agent in ("writer", ""):
        assert rules.add(folded(records[:cut], agent), folded(records[cut:], agent)) == folded(records, agent)


@given(RECORDS, RECORDS, RECORDS)
def test_parts_may_be_joined_in_any_grouping(a: list[LedgerEntry], b: list[LedgerEntry], c: list[LedgerEntry]) -> None:
    one, two, three = folded(a), folded(b), folded(c)
    assert rules.add(rules.add(one, two), three) == rules.add(one, rules.add(two, three))


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        ("crashed", "failures"), ("timeout", "failures"), ("validation", "failures"), ("from the future", "failures"),
        ("blocked", "stopped"), ("denied", "stopped"), ("cancelled", "stopped"), ("conflict", "stopped"),
        ("circuit_open", "refused"),
    ],
)  # fmt: skip
def test_only_what_the_agent_itself_has_done_wrong_is_a_failure(error: str, counted: str) -> None:
    found = measured([entry("attempt.failed", {"agent": "writer", "error": error, "duration_ms": 5})])
    numbers = {"failures": found.failures, "stopped": found.stopped, "refused": found.refused}
    assert numbers == {name: int(name == counted) for name in numbers}
    assert found.error_rate == (1.0 if counted == "failures" else None)
    assert found.consecutive_failures == int(counted == "failures")


def test_a_success_ends_the_streak_of_failures_and_a_block_does_not() -> None:
    failed = entry("attempt.failed", {"agent": "writer", "error": "crashed"})
    good = entry("attempt.succeeded", {"agent": "writer", "duration_ms": 1})
    stopped = entry("attempt.failed", {"agent": "writer", "error": "blocked"})
    assert measured([failed, failed, stopped, failed]).consecutive_failures == 3
    assert measured([failed, failed, good, failed]).consecutive_failures == 1


def test_the_last_error_says_what_when_and_how_it_was_recovered() -> None:
    failed = {"agent": "writer", "attempt": "x", "error": "timeout", "message": "too slow"}
    chosen = entry("recovery.chosen", {"of": "writer", "attempt": "x", "step": "retry"})
    other = entry("recovery.chosen", {"of": "writer", "attempt": "y", "step": "rollback"})
    found = measured([entry("attempt.failed", failed), chosen, other]).last_error
    assert found is not None
    assert (found.message, found.kind, found.at, found.strategy) == ("too slow", "timeout", NOON, "retry")


def test_an_alert_and_its_actions_add_nothing_so_they_cannot_feed_their_own_condition() -> None:
    for kind in ("alert.fired", "alert.action", "alert.resolved", "breaker.changed"):
        assert list(rules.pieces(entry(kind, {"agent": "writer", "duration_ms": 99999}))) == []


@settings(max_examples=200)
@given(st.lists(st.integers(0, 400 * 86_400_000), min_size=1, max_size=60))
def test_quantiles_are_right_to_two_and_a_half_percent(durations: list[int]) -> None:
    tally = rules.total(
        piece
        for ms in durations
        for _, piece in rules.pieces(entry("attempt.succeeded", {"agent": "writer", "duration_ms": ms}))
    )
    found = rules.spread(tally, "duration")
    exact = sorted(durations)
    for percent, shown in ((50, found.median_ms), (95, found.p95_ms)):
        true = exact[-(-len(exact) * percent // 100) - 1]
        assert shown is not None
        assert abs(shown - true) <= true * 0.025 + 1 or true > rules.BOUNDS_MS[-1]
    assert found.max_ms == exact[-1]
    assert found.average_ms == sum(durations) // len(durations)


@given(st.lists(st.integers(0, 7_200_000), max_size=40))
def test_histogram_classes_count_exactly(durations: list[int]) -> None:
    tally = rules.total(rules.add(rules.EMPTY, Tally(spans={"duration": {rules.class_of(ms): 1}})) for ms in durations)
    for bound, number in rules.spread(tally, "duration").classes:
        assert number == sum(ms <= bound for ms in durations)


def test_nothing_measured_is_said_as_nothing_and_never_divides_by_zero() -> None:
    found = measured([])
    assert (found.error_rate, found.tokens_average, found.duration) == (None, None, Spread())


def test_metrics_survive_a_restart_and_are_the_same_for_every_process(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.succeeds(ms=100, tokens=50)
    book.meter.catch_up()
    book.fails(ms=300)
    other = Book(tmp_path, clock=book.clock)
    other.succeeds(ms=200, tokens=150)
    assert other.meter.metrics() == book.meter.metrics()
    found = book.meter.metrics().agent("writer")
    assert (found.invocations, found.successes, found.failures, found.consecutive_failures) == (3, 2, 1, 0)
    assert (found.tokens_average, found.tokens_peak, found.cost_micros) == (100, 150, 20)
    assert found.error_rate == pytest.approx(1 / 3)


def test_counting_anew_from_the_ledger_comes_to_the_same_numbers(tmp_path: Path) -> None:
    book = Book(tmp_path)
    for number in range(30):
        book.clock.pass_(seconds=40)
        (book.fails if number % 3 else book.succeeds)(ms=number * 7)
        if number % 4 == 0:
            book.meter.catch_up()
    before = book.meter.metrics(timedelta(minutes=7))
    with book.database.write() as conn:
        conn.execute(sa.text("DELETE FROM il_metric"))
        conn.execute(sa.text("DELETE FROM il_mark"))
    assert book.meter.metrics(timedelta(minutes=7)) == before


def test_a_window_holds_only_what_happened_in_it_and_the_streak_is_of_all_time(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.fails()
    book.clock.pass_(hours=3)
    book.fails()
    found = book.meter.metrics(timedelta(hours=1)).agent("writer")
    assert (found.failures, found.consecutive_failures) == (1, 2)
    assert book.meter.metrics(timedelta(hours=4)).agent("writer").failures == 2
    book.clock.pass_(days=5)
    assert book.meter.metrics(timedelta(days=4)).agent("writer").failures == 0
    assert book.meter.metrics(timedelta(days=6)).agent("writer").failures == 2


@given(
    gaps=st.lists(st.integers(0, 200), min_size=1, max_size=12),
    window=st.integers(1, 48 * 60),
    later=st.integers(0, 90),
)
@settings(max_examples=25, deadline=None)
def test_a_window_is_right_to_the_minute_however_it_is_put_together(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[int], window: int, later: int
) -> None:
    book = Book(tmp_path_factory.mktemp("window"))
    ended = []
    for gap in gaps:
        book.clock.pass_(minutes=gap)
        book.succeeds()
        ended.append(book.clock.at)
    now = book.clock.pass_(minutes=later)
    held = [at for at in ended if at >= now - timedelta(minutes=window)]
    assert book.meter.metrics(timedelta(minutes=window)).agent("writer").successes == len(held)


def test_who_is_in_a_hurry_gets_what_is_counted_and_where_that_ends(tmp_path: Path) -> None:
    book = Book(tmp_path)
    with book.database.write() as conn:
        for _ in range(2500):
            book.ledger.append(conn, "run_1", "attempt.started", {"agent": "writer"}, actor="interlock")
    hurried = book.meter.metrics(within_s=0)
    assert (hurried.seq, hurried.agent("writer").invocations) == (2000, 2000)
    assert book.meter.metrics().agent("writer").invocations == 2500


def test_hours_without_anything_are_hours_too_and_all_of_them_add_up(tmp_path: Path) -> None:
    book = Book(tmp_path, agents=("idle", "writer"))
    book.succeeds()
    book.clock.pass_(hours=2)
    book.fails()
    book.fails()
    found = book.meter.hours(4)
    assert [(each.successes, each.failures) for _, each in found["writer"]] == [(0, 0), (1, 0), (0, 0), (0, 2)]
    assert [start for start, _ in found["writer"]] == [NOON + timedelta(hours=hour) for hour in (-1, 0, 1, 2)]
    assert sum(each.invocations for _, each in found["idle"]) == 0
    assert book.meter.hours(4, "writer") == {"writer": found["writer"]}


def test_an_agent_of_the_catalogue_that_never_ran_is_listed_with_zeros(tmp_path: Path) -> None:
    book = Book(tmp_path, agents=("idle", "writer"))
    book.succeeds()
    assert [(each.agent, each.invocations) for each in book.meter.metrics().agents] == [("idle", 0), ("writer", 1)]


def test_the_system_is_counted_too(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.write("task.submitted", actor="somebody")
    book.write("attempt.admitted", agent="writer", waited_ms=400)
    book.write("call.blocked", actor="writer")
    book.write("approval.approved", actor="a person")
    book.write("approval.denied", actor="a person")
    book.write("run.ended", kind="blocked")
    found = book.meter.metrics().system
    assert (found.submitted, found.blocked, found.confirmed, found.denied) == (1, 2, 1, 1)
    assert found.ended == {"blocked": 1}
    assert found.waiting.count == 1


def test_a_store_that_cannot_be_written_still_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from interlock.errors import StoreError

    book = Book(tmp_path, clock=SetClock())
    book.succeeds()
    book.meter.catch_up()
    book.succeeds()

    def full() -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(book.database, "write", full)
    assert book.meter.metrics().agent("writer").successes == 1
