"""A breaker opens, probes and closes as promised, whatever the order of requests, results and clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from interlock.config import BreakerSettings
from interlock.decide.breaker import Force, Result, admit, cooldown, force, record, release, result_of, trip
from interlock.model.breaker import Breaker, BreakerState
from interlock.model.run import AgentError, ErrorKind

NOW = datetime(2030, 1, 1, tzinfo=UTC)
RULES = BreakerSettings(threshold=3)
SLOW_S = 60


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def ended(breaker: Breaker, *results: Result, rules: BreakerSettings = RULES, at: datetime = NOW) -> Breaker:
    for number, result in enumerate(results):
        breaker = record(breaker, f"x{number}", breaker.generation, result, at, rules)
    return breaker


def opened() -> Breaker:
    return ended(Breaker(agent="a"), *[Result.FAILURE] * 3)


def probing(*attempts: str, rules: BreakerSettings = RULES) -> Breaker:
    breaker = opened()
    for attempt in attempts:
        breaker, refusal = admit(breaker, attempt, after(300), rules)
        assert refusal is None
    return breaker


@pytest.mark.parametrize("threshold", [5, 3, 2])
def test_it_opens_after_the_environments_number_of_failures_in_a_row(threshold: int) -> None:
    rules = BreakerSettings(threshold=threshold, min_calls=20)
    breaker = ended(Breaker(agent="a"), *[Result.FAILURE] * (threshold - 1), rules=rules)
    assert breaker.state is BreakerState.CLOSED
    assert ended(breaker, Result.FAILURE, rules=rules).state is BreakerState.OPEN


def test_a_success_breaks_the_row() -> None:
    rules = BreakerSettings(threshold=3, min_calls=20)
    results = [Result.FAILURE, Result.FAILURE, Result.SUCCESS] * 3
    assert ended(Breaker(agent="a"), *results, rules=rules).state is BreakerState.CLOSED


def test_it_opens_on_the_failure_rate_once_there_are_enough_results() -> None:
    rules = BreakerSettings(threshold=100, min_calls=4, failure_rate_percent=50, window=4)
    breaker = ended(Breaker(agent="a"), Result.FAILURE, Result.SUCCESS, Result.FAILURE, rules=rules)
    assert breaker.state is BreakerState.CLOSED
    breaker = ended(breaker, Result.SUCCESS, rules=rules)
    assert breaker.state is BreakerState.CLOSED, "a success does not open it"
    breaker = ended(breaker, Result.FAILURE, rules=rules)
    assert breaker.state is BreakerState.OPEN
    assert breaker.reason == "2 of the last 4 attempts failed"


def took(breaker: Breaker, rules: BreakerSettings, *seconds: float, result: Result = Result.SUCCESS) -> Breaker:
    for second in seconds:
        breaker = record(breaker, "x", breaker.generation, result, NOW, rules, took=timedelta(seconds=second))
    return breaker


def test_it_opens_on_the_share_of_slow_executions_though_all_succeed() -> None:
    rules = BreakerSettings(slow_s=60, slow_rate_percent=50, min_calls=4, window=4)
    breaker = took(Breaker(agent="a"), rules, 60, 61, 1)
    assert breaker.state is BreakerState.CLOSED, "too few results"
    breaker = took(breaker, rules, 2)
    assert breaker.state is BreakerState.CLOSED, "a quick one does not open it"
    breaker = took(breaker, rules, 59.9, 90)
    assert breaker.state is BreakerState.CLOSED, "the first slow ones have left the window"
    breaker = took(breaker, rules, 300)
    assert (breaker.state, breaker.reason) == (BreakerState.OPEN, "2 of the last 4 attempts took 60 s or longer")


def test_a_slow_failure_counts_as_both_and_what_is_not_the_agents_doing_as_neither() -> None:
    rules = BreakerSettings(
        threshold=1000, failure_rate_percent=100, slow_s=60, slow_rate_percent=100, min_calls=2, window=2
    )
    assert took(Breaker(agent="a"), rules, 60, 60, result=Result.FAILURE).state is BreakerState.OPEN
    assert took(Breaker(agent="a"), rules, 60, 60, 60, result=Result.IGNORED) == Breaker(agent="a")


def test_without_a_limit_nothing_is_slow() -> None:
    assert took(Breaker(agent="a"), RULES, *[10**6] * 50).state is BreakerState.CLOSED


def test_a_slow_probe_does_not_close_it() -> None:
    rules = BreakerSettings(threshold=3, slow_s=60)
    breaker = probing("p", rules=rules)
    slow = record(breaker, "p", breaker.generation, Result.SUCCESS, after(400), rules, took=timedelta(seconds=90))
    assert (slow.state, slow.reason, slow.openings) == (BreakerState.OPEN, "the probe was slow", 2)


def test_while_it_is_open_it_says_when_to_try_again() -> None:
    breaker, refusal = admit(opened(), "b", after(299), RULES)
    assert refusal is not None
    assert refusal.retry_at == after(300)
    assert refusal.reason == "3 failures in a row"
    assert breaker.state is BreakerState.OPEN


def test_after_the_cool_down_one_probe_is_admitted_and_the_others_are_refused() -> None:
    breaker = probing("p")
    assert breaker.state is BreakerState.HALF_OPEN
    breaker, refusal = admit(breaker, "q", after(301), RULES)
    assert refusal is not None
    assert breaker.probes == ("p",)


def test_a_replayed_admission_of_the_probe_is_the_same_probe() -> None:
    breaker = probing("p")
    again, refusal = admit(breaker, "p", after(302), RULES)
    assert refusal is None
    assert again == breaker


def test_the_probes_success_closes_and_forgets() -> None:
    breaker = probing("p")
    closed = record(breaker, "p", breaker.generation, Result.SUCCESS, after(310), RULES)
    assert (closed.state, closed.consecutive_failures, closed.window, closed.openings) == (
        BreakerState.CLOSED,
        0,
        (),
        0,
    )


def test_the_probes_failure_opens_for_longer_each_time_up_to_the_cap() -> None:
    rules = BreakerSettings(threshold=1, cooldown_s=300, max_cooldown_s=1000)
    breaker, now, waits = ended(Breaker(agent="a"), Result.FAILURE, rules=rules), NOW, []
    for number in range(5):
        assert breaker.open_until is not None
        waits.append((breaker.open_until - now).total_seconds())
        now = breaker.open_until
        breaker, _ = admit(breaker, f"p{number}", now, rules)
        breaker = record(breaker, f"p{number}", breaker.generation, Result.FAILURE, now, rules)
    assert waits == [300, 600, 1000, 1000, 1000]
    assert cooldown(10_000, rules) == timedelta(seconds=1000)


@pytest.mark.parametrize("ignored", [True, False])
def test_a_cancelled_or_lost_probe_gives_its_place_back_and_counts_neither_way(ignored: bool) -> None:
    breaker = probing("p")
    if ignored:
        breaker = record(breaker, "p", breaker.generation, Result.IGNORED, after(301), RULES)
    else:
        breaker = release(breaker, "p")
    assert (breaker.state, breaker.probes) == (BreakerState.HALF_OPEN, ())
    _, refusal = admit(breaker, "q", after(302), RULES)
    assert refusal is None


@pytest.mark.parametrize("result", list(Result))
def test_a_late_result_of_an_earlier_time_does_not_count(result: Result) -> None:
    breaker = probing("p")
    assert record(breaker, "old", 0, result, after(305), RULES) == breaker
    assert record(breaker, "p", 0, result, after(305), RULES) == breaker


def test_with_several_probes_the_first_result_decides() -> None:
    rules = BreakerSettings(threshold=3, probes=2)
    breaker = probing("p", "q", rules=rules)
    closed = record(breaker, "q", breaker.generation, Result.SUCCESS, after(301), rules)
    assert record(closed, "p", breaker.generation, Result.FAILURE, after(302), rules) == closed


def test_a_clock_that_jumps_back_does_not_keep_it_open_longer_than_the_cool_down() -> None:
    yesterday = NOW - timedelta(days=1)
    breaker, refusal = admit(opened(), "b", yesterday, RULES)
    assert refusal is not None
    assert refusal.retry_at == yesterday + timedelta(seconds=300)
    _, refusal = admit(breaker, "b", yesterday + timedelta(seconds=300), RULES)
    assert refusal is None


def test_an_operator_forces_it_open_closed_and_resets_it() -> None:
    breaker = force(Breaker(agent="a"), Force.OPEN, "bad release", NOW)
    same, refusal = admit(breaker, "b", after(10**6), RULES)
    assert refusal is not None
    assert refusal.retry_at is None
    assert "bad release" in refusal.reason
    assert same == breaker
    breaker = force(breaker, Force.CLOSED, "fixed", NOW)
    assert ended(breaker, *[Result.FAILURE] * 50).state is BreakerState.FORCED_CLOSED
    assert admit(breaker, "b", NOW, RULES)[1] is None
    breaker = force(breaker, Force.RESET, "watch it again", NOW)
    assert ended(breaker, *[Result.FAILURE] * 3).state is BreakerState.OPEN


def test_results_from_before_an_operators_word_do_not_count() -> None:
    breaker = probing("p")
    reset = force(breaker, Force.RESET, "", after(301))
    assert record(reset, "p", breaker.generation, Result.FAILURE, after(302), RULES) == reset


def test_an_alert_opens_it_for_the_usual_time_and_never_against_an_operator() -> None:
    assert trip(Breaker(agent="a"), "error rate", NOW, RULES).open_until == after(300)
    assert trip(opened(), "error rate", after(100), RULES) == opened()
    forced = force(Breaker(agent="a"), Force.CLOSED, "", NOW)
    assert trip(forced, "error rate", NOW, RULES) == forced


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_only_what_the_agent_did_is_a_failure(kind: ErrorKind) -> None:
    ignored = {ErrorKind.BLOCKED, ErrorKind.DENIED, ErrorKind.CANCELLED, ErrorKind.CONFLICT}
    ignored |= {ErrorKind.UNKNOWN_EFFECT, ErrorKind.CIRCUIT_OPEN, ErrorKind.BUDGET}
    expected = Result.IGNORED if kind in ignored else Result.FAILURE
    assert result_of(AgentError(kind=kind, message="")) is expected
    assert result_of(None) is Result.SUCCESS


class Reference:
    """The same promises, told as a history: a list of results per period instead of counters."""

    def __init__(self, rules: BreakerSettings) -> None:
        self.rules = rules
        self.word = "closed"
        self.period = 0
        self.results: list[bool] = []
        self.slow: list[bool] = []
        self.out: list[str] = []
        self.row = 0
        self.since = NOW
        self.length = timedelta()

    def turn(self, word: str, now: datetime) -> None:
        self.word, self.period, self.since = word, self.period + 1, now
        self.results, self.slow, self.out = [], [], []

    def open(self, now: datetime) -> None:
        self.row += 1
        seconds = self.rules.cooldown_s
        for _ in range(self.row - 1):
            seconds = min(2 * seconds, self.rules.max_cooldown_s)
        self.turn("open", now)
        self.length = timedelta(seconds=min(seconds, self.rules.max_cooldown_s))

    def close(self, now: datetime) -> None:
        self.row = 0
        self.turn("closed", now)

    def may(self, attempt: str, now: datetime) -> bool:
        if self.word in {"closed", "forced_closed"}:
            return True
        if self.word == "forced_open":
            return False
        if self.word == "open":
            self.since = min(self.since, now)
            if now - self.since < self.length:
                return False
            self.turn("half_open", now)
        if len(self.out) < self.rules.probes:
            self.out.append(attempt)
            return True
        return False

    def tell(self, attempt: str, period: int, good: bool, slow: bool, now: datetime) -> None:
        if period != self.period:
            return
        if self.word == "half_open" and attempt in self.out:
            self.close(now) if good and not slow else self.open(now)
        elif self.word == "closed":
            self.results.append(good)
            self.slow.append(slow)
            lately = self.slow[-self.rules.window :]
            last = self.results[-self.rules.window :]
            row = self.results[-self.rules.threshold :]
            in_a_row = len(row) == self.rules.threshold and not any(row)
            rate = len(last) >= self.rules.min_calls and last.count(False) * 100 >= (
                self.rules.failure_rate_percent * len(last)
            )
            sluggish = len(lately) >= self.rules.min_calls and lately.count(True) * 100 >= (
                self.rules.slow_rate_percent * len(lately)
            )
            if (not good and (in_a_row or rate)) or (slow and sluggish):
                self.open(now)

    def back(self, attempt: str) -> None:
        self.out = [other for other in self.out if other != attempt]


class BreakerMachine(RuleBasedStateMachine):
    """Random requests, results, cancellations, operators and clocks: breaker and reference always agree."""

    attempts: Bundle[tuple[str, int]] = Bundle("attempts")

    @initialize(
        threshold=st.integers(1, 3),
        window=st.integers(1, 6),
        percent=st.integers(1, 100),
        probes=st.integers(1, 2),
        sluggish=st.integers(1, 100),
    )
    def start(self, threshold: int, window: int, percent: int, probes: int, sluggish: int) -> None:
        self.rates = BreakerSettings(
            threshold=threshold,
            window=window,
            min_calls=min(window, 3),
            failure_rate_percent=percent,
            slow_s=SLOW_S,
            slow_rate_percent=sluggish,
            cooldown_s=10,
            max_cooldown_s=35,
            probes=probes,
        )
        self.real, self.model, self.now, self.count = Breaker(agent="a"), Reference(self.rates), NOW, 0

    @rule(target=attempts)
    def ask(self) -> tuple[str, int] | MultipleResults[tuple[str, int]]:
        self.count += 1
        attempt = f"t{self.count}"
        self.real, refusal = admit(self.real, attempt, self.now, self.rates)
        assert (refusal is None) == self.model.may(attempt, self.now)
        if refusal is None:
            return (attempt, self.real.generation)
        if refusal.retry_at is not None:
            assert self.now <= refusal.retry_at <= self.now + timedelta(seconds=35)
        return multiple()

    def end(self, attempt: tuple[str, int], result: Result, seconds: int = 0) -> None:
        took = timedelta(seconds=seconds)
        self.real = record(self.real, attempt[0], attempt[1], result, self.now, self.rates, took=took)
        if result is Result.IGNORED:
            self.model.back(attempt[0])
        else:
            self.model.tell(attempt[0], attempt[1], result is Result.SUCCESS, seconds >= SLOW_S, self.now)

    @rule(attempt=consumes(attempts), seconds=st.sampled_from([0, SLOW_S]))
    def fail(self, attempt: tuple[str, int], seconds: int = 0) -> None:
        self.end(attempt, Result.FAILURE, seconds)

    @rule(attempt=consumes(attempts), seconds=st.sampled_from([0, SLOW_S - 1, SLOW_S]))
    def succeed(self, attempt: tuple[str, int], seconds: int) -> None:
        self.end(attempt, Result.SUCCESS, seconds)

    @rule(attempt=consumes(attempts))
    def cancel(self, attempt: tuple[str, int]) -> None:
        self.end(attempt, Result.IGNORED)

    @rule(attempt=consumes(attempts))
    def lose(self, attempt: tuple[str, int]) -> None:
        self.real = release(self.real, attempt[0])
        self.model.back(attempt[0])

    @precondition(lambda self: self.model.word == "closed")
    @rule()
    def bad_time(self) -> None:
        for _ in range(3):
            asked = self.ask()
            if isinstance(asked, tuple):
                self.fail(asked)

    @rule(seconds=st.sampled_from([-100, -5, 1, 5, 10, 20, 35]))
    def clock(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.model.word == "open")
    @rule(target=attempts)
    def probe_after_the_cool_down(self) -> tuple[str, int] | MultipleResults[tuple[str, int]]:
        self.now += timedelta(seconds=35)
        return self.ask()

    @rule(what=st.sampled_from(Force), lot=st.integers(0, 7))
    def operator(self, what: Force, lot: int) -> None:
        if lot and not self.model.word.startswith("forced"):
            return  # operators are rare, or the breaker would hardly ever be left to itself
        self.real = force(self.real, what, "test", self.now)
        if what is Force.RESET:
            self.model.close(self.now)
        else:
            self.model.turn(f"forced_{what.value}", self.now)

    @invariant()
    def same_state(self) -> None:
        assert self.real.state.value == self.model.word
        assert self.real.generation == self.model.period
        assert list(self.real.probes) == (self.model.out if self.model.word == "half_open" else [])
        assert len(self.real.probes) <= self.rates.probes


BreakerMachine.TestCase.settings = hypothesis_settings(max_examples=120, stateful_step_count=50, deadline=None)
TestBreakerAgainstTheReference = BreakerMachine.TestCase
