"""Budgets: reservations never pass a cap, and what is used passes it only by what attempts in flight overspend."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from interlock.config import BudgetSettings
from interlock.decide.budget import Account, Amounts, Short, exceeded, reserve, scopes


def account(cap: int, used: int = 0, reserved: int = 0) -> Account:
    return Account(scope="run:r", caps={"tokens": cap}, used=Amounts(tokens=used), reserved=Amounts(tokens=reserved))


@pytest.mark.parametrize(
    ("held", "wanted", "granted"),
    [(account(100), 30, 30), (account(100, used=80), 30, 20), (account(100, reserved=90), 30, 10)],
)
def test_what_is_wanted_or_what_is_left_is_reserved(held: Account, wanted: int, granted: int) -> None:
    assert reserve([held], Amounts(tokens=wanted, millis=5)) == Amounts(tokens=granted, millis=5)


def test_nothing_left_is_for_good_when_it_is_used_and_passes_when_it_is_only_reserved() -> None:
    for held, for_good in [
        (account(100, used=100), True),
        (account(100, used=50, reserved=50), False),
        (account(0), True),
    ]:
        found = reserve([account(1000), held], Amounts(tokens=1))
        assert isinstance(found, Short)
        assert found.for_good is for_good
        assert "run:r" in found.reason


def test_the_smallest_account_counts() -> None:
    assert reserve([account(100), account(7), account(50)], Amounts(tokens=30)) == Amounts(tokens=7)


def test_a_call_is_counted_before_it_is_made_and_none_is_made_when_anything_is_used_up() -> None:
    calls = Account(scope="run:r", caps={"calls": 2}, used=Amounts(calls=1))
    assert exceeded([calls], Amounts(calls=1)) == ""
    assert "2 of 2 tool calls" in exceeded(
        [Account(scope="s", caps={"calls": 2}, used=Amounts(calls=2))], Amounts(calls=1)
    )
    assert "millionths" in exceeded(
        [Account(scope="s", caps={"cost_micros": 5}, used=Amounts(cost_micros=5))], Amounts(calls=1)
    )


def test_only_what_is_limited_has_an_account() -> None:
    assert scopes(BudgetSettings(), run_id="r", agent="a", submitter="s", day="d") == {}
    limited = BudgetSettings.model_validate(
        {"tokens_per_run": 5, "cost_per_agent_day_usd": "0.5", "work_per_day_s": "1m"}
    )
    assert scopes(limited, run_id="r", agent="a", submitter="s", day="d") == {
        "run:r": {"tokens": 5}, "agent:a:d": {"cost_micros": 500_000}, "day:d": {"millis": 60_000},
    }  # fmt: skip


STEP = st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(0, 25))


@hypothesis_settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 120), min_size=3, max_size=3),
    st.lists(STEP, max_size=40),
)
def test_trees_of_attempts_in_parallel_pass_no_cap_by_more_than_those_in_flight_overspend(
    caps: list[int], story: list[tuple[int, int, int]]
) -> None:
    """Three accounts: one for all and one for each of two branches. Each step starts an attempt; some end in between."""
    used = [0, 0, 0]
    at_work: list[tuple[tuple[int, int], int, int]] = []
    overspent = 0
    for branch, want, over in story:
        mine = (0, 1 + branch % 2)
        held = [
            Account(
                scope=str(each), caps={"tokens": caps[each]}, used=Amounts(tokens=used[each]),
                reserved=Amounts(tokens=sum(got for where, got, _ in at_work if each in where)),
            )
            for each in mine
        ]  # fmt: skip
        granted = reserve(held, Amounts(tokens=want))
        if isinstance(granted, Amounts):
            at_work.append((mine, granted.tokens, over))
        for each in range(3):
            assert sum(got for where, got, _ in at_work if each in where) <= max(0, caps[each] - used[each]) + overspent
        if branch == 2 and at_work:
            where, got, more = at_work.pop(0)
            spent = got + more
            overspent += more
            for each in where:
                used[each] += spent
        for each in range(3):
            assert used[each] <= caps[each] + overspent
