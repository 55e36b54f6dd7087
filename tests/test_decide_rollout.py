"""A new version reaches everybody only by evidence, is stopped by evidence, and nobody is thrown back and forth by dice."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.config import RolloutSettings
from interlock.decide import rollout as rules
from interlock.decide.rollout import What
from interlock.model.rollout import Outing, Rollout, RolloutState
from watch_kit import NOON

RULES = RolloutSettings()
ROLLOUT = Rollout(
    id="rol_1", agent="writer", canary="v2", steps=(10, 50), started_by="anna", started_at=NOON, changed_at=NOON
)


def outing(*, canary: bool, number: int = 0, ok: bool | None = True, **said: object) -> Outing:
    whole = {"attempt": f"{canary}{number}", "canary": canary, "ok": ok, "blocked": False, "duration_ms": 1000, **said}
    return Outing(**whole)  # type: ignore[arg-type]


def alternating(count: int, new: dict[str, object], old: dict[str, object] | None = None) -> list[Outing]:
    found = []
    for number in range(count):
        found.append(outing(canary=False, number=number, **(old or {})))  # type: ignore[arg-type]
        found.append(outing(canary=True, number=number, **new))  # type: ignore[arg-type]
    return found


def verdict(outings: list[Outing], rollout: Rollout = ROLLOUT) -> What:
    return rules.next_move(rollout, outings, RULES).what


# Who gets it


@given(st.text(), st.integers(0, 100), st.integers(0, 100))
def test_the_same_key_gets_the_same_version_and_more_percent_take_nobody_back(key: str, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert rules.gets_canary(ROLLOUT, key, low) == rules.gets_canary(ROLLOUT, key, low)
    assert rules.gets_canary(ROLLOUT, key, low) <= rules.gets_canary(ROLLOUT, key, high)


@given(st.text())
def test_nobody_at_zero_and_everybody_at_a_hundred_percent(key: str) -> None:
    assert not rules.gets_canary(ROLLOUT, key, 0)
    assert rules.gets_canary(ROLLOUT, key, 100)


@pytest.mark.parametrize("percent", [5, 25, 50])
def test_the_share_is_the_percentage(percent: int) -> None:
    share = sum(rules.gets_canary(ROLLOUT, f"run_{number}", percent) for number in range(20_000)) / 200
    assert abs(share - percent) < 1.5


def test_two_rollouts_do_not_pick_the_same_keys() -> None:
    other = replace(ROLLOUT, agent="reader")
    both = sum(
        rules.gets_canary(ROLLOUT, f"run_{number}", 50) and rules.gets_canary(other, f"run_{number}", 50)
        for number in range(4000)
    )
    assert 850 < both < 1150


# What is compared


def test_each_is_compared_with_the_stable_one_before_it_and_nobody_twice() -> None:
    order = "S1 S2 C1 C2 C3 S3 S4 C4"
    outings = [outing(canary=word[0] == "C", number=int(word[1])) for word in order.split()]
    found = [(new.attempt[-1], old.attempt[-1]) for new, old in rules.paired(outings)]
    assert found == [("1", "2"), ("2", "1"), ("3", "3"), ("4", "4")]


@given(st.lists(st.booleans(), max_size=60))
def test_pairing_uses_everybody_at_most_once_and_leaves_only_one_kind_over(kinds: list[bool]) -> None:
    outings = [outing(canary=canary, number=number) for number, canary in enumerate(kinds)]
    pairs = rules.paired(outings)
    used = [each.attempt for pair in pairs for each in pair]
    assert len(used) == len(set(used))
    assert len(pairs) == min(kinds.count(True), kinds.count(False))


# What is decided


@pytest.mark.parametrize(
    ("outings", "expected"),
    [
        ([], What.WAIT),
        (alternating(3, {"ok": False}), What.WAIT),
        (alternating(20, {"ok": False}), What.ABORT),
        (alternating(20, {"ok": None, "blocked": True}), What.ABORT),
        (alternating(20, {"duration_ms": 1600}), What.ABORT),
        (alternating(20, {"cost_micros": 200}, {"cost_micros": 100}), What.ABORT),
        (alternating(20, {}), What.WAIT),
        (alternating(80, {}), What.ADVANCE),
        (alternating(80, {"duration_ms": 1400, "cost_micros": 140}, {"cost_micros": 100}), What.ADVANCE),
        (alternating(80, {}, {"ok": False}), What.WAIT),
        (alternating(80, {"duration_ms": None}, {"duration_ms": None}), What.WAIT),
        ([outing(canary=False, number=number) for number in range(89)], What.WAIT),
        ([outing(canary=False, number=number) for number in range(90)], What.PAUSE),
        ([outing(canary=True, number=number) for number in range(3)], What.PAUSE),
    ],
)  # fmt: skip
def test_what_the_evidence_says(outings: list[Outing], expected: What) -> None:
    assert verdict(outings) is expected


def test_a_version_that_repairs_what_always_failed_is_paused_for_a_person_when_nothing_else_can_be_told() -> None:
    assert verdict(alternating(RULES.max_pairs, {}, {"ok": False})) is What.PAUSE


def test_the_last_step_leads_to_everybody() -> None:
    last = replace(ROLLOUT, step=1)
    assert verdict(alternating(80, {}), last) is What.PROMOTE


def test_every_step_compares_some_more_before_the_next() -> None:
    fresh = replace(ROLLOUT, step=1, pairs_before=75)
    assert verdict(alternating(80, {}), fresh) is What.WAIT
    assert verdict(alternating(85, {}), fresh) is What.PROMOTE


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.integers(0, 10**6)), max_size=50))
def test_whatever_comes_is_judged_and_says_why(seen: list[tuple[bool, bool, bool, int]]) -> None:
    outings = [
        outing(canary=canary, number=number, ok=None if blocked else ok, blocked=blocked, duration_ms=ms)
        for number, (canary, ok, blocked, ms) in enumerate(seen)
    ]
    move = rules.next_move(ROLLOUT, outings, RULES)
    assert move.reason
    assert all(each.worse >= 0 and each.fine >= 0 for each in move.comparison.evidence)


@pytest.mark.parametrize(
    ("what", "state", "percent"),
    [
        (What.WAIT, RolloutState.RUNNING, 10), (What.ADVANCE, RolloutState.RUNNING, 50),
        (What.PROMOTE, RolloutState.PROMOTED, 100), (What.ABORT, RolloutState.ABORTED, 0),
        (What.PAUSE, RolloutState.PAUSED, 10),
    ],
)  # fmt: skip
def test_where_each_move_leads(what: What, state: RolloutState, percent: int) -> None:
    move = replace(rules.next_move(ROLLOUT, [], RULES), what=what)
    after = rules.moved(ROLLOUT, move, NOON + timedelta(hours=1))
    assert (after.state, after.percent) == (state, percent)


@pytest.mark.parametrize(("fails", "forbidden"), [(0.1, What.ABORT), (0.2, What.ADVANCE)])
def test_by_simulation_errors_are_no_more_frequent_than_stated(fails: float, forbidden: What) -> None:
    """The stable version fails in 10 of 100. Of 100 rollouts 5 may err; a true 5 % exceeds 12 twice in a thousand times."""
    dice = random.Random(11)  # noqa: S311 - a simulation
    wrong = 0
    for _ in range(100):
        outings: list[Outing] = []
        move = What.WAIT
        for number in range(150):
            outings.append(outing(canary=False, number=number, ok=dice.random() >= 0.1))
            outings.append(outing(canary=True, number=number, ok=dice.random() >= fails))
            if number % 30 == 29 and (move := verdict(outings)) is not What.WAIT:
                break
        wrong += move is forbidden
    assert wrong <= 12
