"""Recovery follows the table, never repeats an effect, never loops, and always ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.config import RecoveryRule, RecoverySettings, Settings, Strategy
from interlock.decide.recover import (
    DECLARABLE,
    Done,
    EffectFacts,
    Escalate,
    ExitFacts,
    Fallback,
    Retry,
    Rollback,
    Step,
    backoff_ms,
    classify,
    next_step,
)
from interlock.model.agent import AgentSpec
from interlock.model.run import AgentError, Attempt, ErrorKind

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SETTINGS = Settings(environment="development", project=Path("/project"))


def attempts(*agents: str, assigned: str = "a") -> list[Attempt]:
    return [
        Attempt(id=f"t{number}", run_id="r", phase=0, assigned=assigned, agent=agent, number=number, queued_at=NOW)
        for number, agent in enumerate(agents, start=1)
    ]


def step(
    kind: ErrorKind,
    tried: Sequence[str] = ("a",),
    *,
    spec: AgentSpec | None = None,
    fallbacks: Sequence[str] = (),
    effects: EffectFacts | None = None,
    settings: Settings = SETTINGS,
) -> Step:
    return next_step(
        error=AgentError(kind=kind, message="it broke"),
        attempts=attempts(*tried),
        spec=spec or AgentSpec(name=tried[-1]),
        fallbacks=fallbacks,
        settings=settings,
        effects=effects,
    )


def test_what_did_not_fail_is_done() -> None:
    assert next_step(error=None, attempts=attempts("a"), spec=AgentSpec(name="a"), settings=SETTINGS) == Done()


@pytest.mark.parametrize(
    ("kind", "tried", "fallbacks", "expected"),
    [
        (ErrorKind.TIMEOUT, "a", "", Retry),
        (ErrorKind.TIMEOUT, "aa", "", Retry),
        (ErrorKind.TIMEOUT, "aaa", "", Escalate),
        (ErrorKind.TIMEOUT, "aaa", "b", Fallback),
        (ErrorKind.SCHEMA_CONFLICT, "a", "b", Escalate),
        (ErrorKind.SECURITY_VIOLATION, "a", "b", Rollback),
        (ErrorKind.RENDERING_FAILURE, "a", "bc", Fallback),
        (ErrorKind.RENDERING_FAILURE, "ab", "bc", Escalate),
        (ErrorKind.RENDERING_FAILURE, "a", "", Escalate),
        (ErrorKind.TRANSIENT, "a", "b", Retry),
        (ErrorKind.TRANSIENT, "aaa", "b", Fallback),
        (ErrorKind.CRASHED, "a", "b", Retry),
        (ErrorKind.CRASHED, "aa", "b", Fallback),
        (ErrorKind.CONFLICT, "a", "b", Retry),
        (ErrorKind.CONFLICT, "aa", "b", Escalate),
        (ErrorKind.VALIDATION, "a", "b", Rollback),
        (ErrorKind.BLOCKED, "a", "b", Rollback),
        (ErrorKind.DENIED, "a", "b", Rollback),
        (ErrorKind.CANCELLED, "a", "b", Rollback),
        (ErrorKind.UNKNOWN_EFFECT, "a", "b", Escalate),
        (ErrorKind.UNKNOWN, "a", "b", Escalate),
    ],
)
def test_the_table_of_kinds(kind: ErrorKind, tried: str, fallbacks: str, expected: type[Step]) -> None:
    assert isinstance(step(kind, tuple(tried), fallbacks=tuple(fallbacks)), expected)


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_reason_says_what_broke(kind: ErrorKind) -> None:
    found = step(kind)
    assert not isinstance(found, Done)
    assert "it broke" in found.reason


@pytest.mark.parametrize(
    "kind", [ErrorKind.TIMEOUT, ErrorKind.TRANSIENT, ErrorKind.CRASHED, ErrorKind.RENDERING_FAILURE]
)
def test_a_done_effect_is_not_repeated_by_a_retry_or_a_fallback(kind: ErrorKind) -> None:
    done = EffectFacts(done=True)
    assert isinstance(step(kind, effects=done, fallbacks=("b",)), Escalate)
    idempotent = AgentSpec(name="a", idempotent=True)
    assert isinstance(step(kind, effects=done, fallbacks=("b",), spec=idempotent), (Retry, Fallback))


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_an_effect_that_nobody_knows_of_goes_to_a_person(kind: ErrorKind) -> None:
    assert isinstance(step(kind, effects=EffectFacts(unknown=True), fallbacks=("b",)), Escalate)


@pytest.mark.parametrize(("most", "expected"), [(0, Escalate), (1, Retry), (None, Retry)])
def test_the_agents_own_number_of_retries_is_obeyed_and_0_means_never(most: int | None, expected: type[Step]) -> None:
    assert isinstance(step(ErrorKind.TIMEOUT, spec=AgentSpec(name="a", max_retries=most)), expected)
    assert not isinstance(step(ErrorKind.TIMEOUT, ("a", "a", "a", "a"), spec=AgentSpec(name="a", max_retries=9)), Retry)


def test_a_fallback_has_retries_of_its_own_and_never_leads_back() -> None:
    assert isinstance(step(ErrorKind.TIMEOUT, ("a", "a", "a", "b"), fallbacks=("a", "b", "c")), Retry)
    assert step(ErrorKind.TIMEOUT, ("a", "a", "a", "b", "b", "b"), fallbacks=("a", "b", "c")) == Fallback(
        agent="c", reason="timeout: it broke"
    )
    assert isinstance(step(ErrorKind.TIMEOUT, ("b", "b", "b"), fallbacks=("a",)), Escalate), (
        "the assigned one is no way back"
    )


def test_a_providers_wish_to_wait_is_obeyed_up_to_the_cap() -> None:
    def delay(wish_ms: int) -> int:
        found = step(ErrorKind.TRANSIENT, effects=EffectFacts(retry_after_ms=wish_ms))
        assert isinstance(found, Retry)
        return found.delay_ms

    assert delay(60_000) == 60_000
    assert delay(10**9) == 300_000
    assert delay(0) >= 1000


@given(st.integers(0, 100), st.text(max_size=10))
def test_the_back_off_doubles_within_its_jitter_and_has_a_cap(used: int, attempt_id: str) -> None:
    rule = RecoveryRule(strategy=Strategy.RETRY, attempts=5, backoff_s=2, max_backoff_s=60)
    whole = min(2000 * 2**used, 60_000)
    assert whole // 2 <= backoff_ms(rule, used, attempt_id) <= whole
    assert backoff_ms(rule, used, attempt_id) == backoff_ms(rule, used, attempt_id)


def test_attempts_that_failed_together_come_back_apart() -> None:
    rule = RecoveryRule(strategy=Strategy.RETRY, attempts=5, backoff_s=2)
    assert len({backoff_ms(rule, 0, f"t{number}") for number in range(50)}) > 40


@given(
    st.lists(st.sampled_from(ErrorKind), min_size=60, max_size=60),
    st.lists(st.sampled_from("abcd"), unique=True),
    st.integers(0, 20),
)
def test_every_assignment_comes_to_an_end(kinds: list[ErrorKind], fallbacks: list[str], retries: int) -> None:
    settings = Settings(
        environment="development",
        project=Path("/project"),
        recovery=RecoverySettings(
            timeout=RecoveryRule(strategy=Strategy.RETRY, attempts=retries, then=Strategy.FALLBACK),
            rendering_failure=RecoveryRule(strategy=Strategy.FALLBACK, attempts=9),
        ),
    )
    tried = ["a"]
    for kind in kinds:
        found = step(kind, tried, fallbacks=fallbacks, settings=settings)
        if isinstance(found, Retry):
            tried.append(tried[-1])
        elif isinstance(found, Fallback):
            assert found.agent not in tried
            tried.append(found.agent)
        else:
            break
    else:
        pytest.fail("it never ended")
    for agent in set(tried):
        assert tried.count(agent) <= 3, "max_retries is 2, whatever the rules say"


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({"facts": ExitFacts(cancelled=True), "declared": "transient"}, ErrorKind.CANCELLED),
        ({"facts": ExitFacts(timed_out=True, exit_code=-9), "declared": "rendering_failure"}, ErrorKind.TIMEOUT),
        ({"facts": ExitFacts(exit_code=-11), "text": "rate limit"}, ErrorKind.CRASHED),
        ({"facts": ExitFacts(worker_lost=True)}, ErrorKind.CRASHED),
        ({"facts": ExitFacts(exit_code=1)}, ErrorKind.UNKNOWN),
        ({"facts": ExitFacts(exit_code=1), "declared": "schema_conflict"}, ErrorKind.SCHEMA_CONFLICT),
        ({"declared": "security_violation", "text": "timed out"}, ErrorKind.SECURITY_VIOLATION),
        ({"declared": "blocked"}, ErrorKind.UNKNOWN),
        ({"declared": "conflict", "text": "connection reset by peer"}, ErrorKind.TRANSIENT),
        ({"declared": "no such kind"}, ErrorKind.UNKNOWN),
        ({"exception": "asyncio.exceptions.CancelledError", "declared": "transient"}, ErrorKind.CANCELLED),
        ({"exception": "builtins.TimeoutError"}, ErrorKind.TIMEOUT),
        ({"exception": "httpx.ConnectError"}, ErrorKind.TRANSIENT),
        ({"exception": "ValueError", "text": "x"}, ErrorKind.UNKNOWN),
        ({"exception": "interlock.errors.ConflictError"}, ErrorKind.CONFLICT),
        ({"exception": "elasticsearch.ConflictError"}, ErrorKind.UNKNOWN),
        ({"text": "sqlite3.OperationalError: no such table: athletes"}, ErrorKind.SCHEMA_CONFLICT),
        ({"text": 'relation "teams" already exists'}, ErrorKind.SCHEMA_CONFLICT),
        ({"text": "HTTP 429 Too Many Requests"}, ErrorKind.TRANSIENT),
        ({"text": "database is locked"}, ErrorKind.TRANSIENT),
        ({"text": "the operation timed out"}, ErrorKind.TIMEOUT),
        ({"text": "Error: failed to render chart"}, ErrorKind.RENDERING_FAILURE),
        ({"text": "Segmentation fault (core dumped)"}, ErrorKind.CRASHED),
        ({"text": "I changed the chart and the schema"}, ErrorKind.UNKNOWN),
        ({"text": "timed out" + " " * 10_000}, ErrorKind.UNKNOWN),
        ({}, ErrorKind.UNKNOWN),
    ],
)
def test_the_table_of_classification(given_: dict[str, object], expected: ErrorKind) -> None:
    assert classify(**given_) is expected  # type: ignore[arg-type]


@given(st.sampled_from(ErrorKind), st.text(max_size=80))
def test_an_agent_cannot_hide_its_failure_from_its_breaker(declared: ErrorKind, text: str) -> None:
    from interlock.decide.breaker import Result, result_of

    kind = classify(declared=declared.value, text=text)
    assert result_of(AgentError(kind=kind, message="")) is Result.FAILURE
    assert declared not in DECLARABLE or kind is declared
