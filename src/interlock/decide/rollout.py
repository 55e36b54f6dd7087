"""Rollouts (spec 11): who gets the new version, and when there is evidence enough to go on or to stop.

Executions are compared in pairs, a new one with the stable one before it. Four things are compared: failures, blocked calls,
duration, cost. Each comparison is a bet against a hypothesis whose stake is multiplied pair by pair (a test martingale; Waudby-Smith
and Ramdas, "Estimating means of bounded random variables by betting", 2024). By Ville's inequality the stake ever reaches 1/a with a
chance of at most a while the hypothesis is true, so one may look after every execution and stop at any time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from interlock.config import RolloutSettings
from interlock.model.rollout import Comparison, Evidence, Outing, Rollout, RolloutState, Side

_STAKES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
"""Shares of the stake that are bet; the mean over them is a martingale too, and no single one must be the right one."""
_EXPECTED = 10
"""When this many results should have come and none has, something is broken."""

Pair = tuple[Outing, Outing]
"""(new, stable)"""


class What(StrEnum):
    """What the evidence says."""

    WAIT = "wait"
    ADVANCE = "advance"
    PROMOTE = "promote"
    ABORT = "abort"
    PAUSE = "pause"


@dataclass(frozen=True, kw_only=True, slots=True)
class Next:
    """What to do, and why."""

    what: What
    reason: str
    comparison: Comparison


def gets_canary(rollout: Rollout, key: str, percent: int) -> bool:
    """Whether this key gets the new version: the same answer every time, and a rising percentage takes nobody back."""
    digest = hashlib.sha256(f"{rollout.agent}\0{rollout.canary}\0{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 10_000 < percent * 100


def paired(outings: Iterable[Outing]) -> list[Pair]:
    """Each new execution with the latest stable one that ended before it, or else with the next; nobody twice."""
    pairs: list[Pair] = []
    stable: list[Outing] = []
    waiting: list[Outing] = []
    for outing in outings:
        if outing.canary:
            if stable:
                pairs.append((outing, stable.pop()))
            else:
                waiting.append(outing)
        elif waiting:
            pairs.append((waiting.pop(0), outing))
        else:
            stable.append(outing)
    return pairs


def side(outings: Iterable[Outing], *, canary: bool) -> Side:
    """How the executions of one version have ended."""
    mine = [outing for outing in outings if outing.canary is canary]
    good = [outing for outing in mine if outing.ok]
    took = sorted(outing.duration_ms for outing in good if outing.duration_ms is not None)
    return Side(
        runs=len(mine), failed=sum(outing.ok is False for outing in mine), blocked=sum(one.blocked for one in mine),
        median_ms=took[(len(took) - 1) // 2] if took else None,
        mean_cost_micros=sum(outing.cost_micros for outing in good) // len(good) if good else None,
    )  # fmt: skip


def compare(outings: Sequence[Outing], rules: RolloutSettings) -> Comparison:
    """The new version beside the stable one."""
    pairs = paired(outings)
    margin, longer = rules.margin_percent / 100, rules.slower_percent
    both = [(new, old) for new, old in pairs if new.ok is not None and old.ok is not None]
    good = [(new, old) for new, old in both if new.ok and old.ok]
    timed = [(new.duration_ms, old.duration_ms) for new, old in good if new.duration_ms is not None and old.duration_ms is not None]  # fmt: skip
    paid = [(new.cost_micros, old.cost_micros) for new, old in good]
    return Comparison(
        pairs=len(pairs), canary_runs=sum(outing.canary for outing in outings),
        stable_runs=sum(not outing.canary for outing in outings),
        evidence=(
            _difference("failures", [(not new.ok, not old.ok) for new, old in both], margin),
            _difference("blocked", [(new.blocked, old.blocked) for new, old in pairs], margin),
            _exceeding("duration", [new * 100 > old * (100 + longer) for new, old in timed], longer),
            _exceeding("cost", [new * 100 > old * (100 + longer) for new, old in paid], longer),
        ),
    )  # fmt: skip


def _difference(name: str, seen: Sequence[tuple[bool, bool]], margin: float) -> Evidence:
    """Is it more often so of the new one? Hypotheses: mean difference <= 0, and >= margin."""
    differences = [int(new) - int(old) for new, old in seen]
    return Evidence(
        name=name, worse=_bet(map(float, differences)), fine=_bet(margin - each for each in differences),
        seen=f"{sum(new for new, _ in seen)} new and {sum(old for _, old in seen)} stable of {len(seen)}",
    )  # fmt: skip


def _exceeding(name: str, seen: Sequence[bool], percent: int) -> Evidence:
    """Is the new one above the stable one by the percentage in most pairs? Hypotheses: in at most half, in at least half."""
    return Evidence(
        name=name, worse=_bet(1.0 if each else -1.0 for each in seen), fine=_bet(-1.0 if each else 1.0 for each in seen),
        seen=f"over {percent} % more in {sum(seen)} of {len(seen)} pairs",
    )  # fmt: skip


def _bet(gains: Iterable[float]) -> float:
    """The mean stake after betting that the mean gain is above 0. Gains are above or equal to -1."""
    stakes = [1.0] * len(_STAKES)
    for gain in gains:
        stakes = [min(stake * (1 + share * gain), _ENOUGH) for stake, share in zip(stakes, _STAKES, strict=True)]
    return sum(stakes) / len(stakes)


def bet(gains: Mapping[float, int]) -> float:
    """The same of gains of which only the numbers are known, in whatever order they came: a product does not ask."""
    powers = [sum(count * math.log1p(share * gain) for gain, count in gains.items()) for share in _STAKES]
    return sum(math.exp(min(power, math.log(_ENOUGH))) for power in powers) / len(powers)


_ENOUGH = 1e12
"""A stake is capped here, far above any threshold: that loses evidence, never invents it."""


def next_move(rollout: Rollout, outings: Sequence[Outing], rules: RolloutSettings, percent: int | None = None) -> Next:
    """What the evidence says to do now.

    It stops the new version when one of the four comparisons shows that it is worse (each at a quarter of the allowed error), goes on
    when all four show that it is not worse by the margin, and else waits. What should have come and has not is for a person.

    Args:
        rollout: as it stands.
        outings: all executions since it began, in the order in which they ended.
        rules: margins and errors.
        percent: the share in force when a flag provider says it; None: the rollout's own.
    """
    found = compare(outings, rules)
    share = rollout.percent if percent is None else percent
    limit = 100 / rules.error_percent
    worse = [each for each in found.evidence if each.worse >= limit * len(found.evidence)]
    if worse:
        return _next(What.ABORT, f"the new version is worse: {_said(worse)}", found)
    missing = _missing(found, share)
    if missing:
        return _next(What.PAUSE, missing, found)
    here = found.pairs - rollout.pairs_before
    undecided = [each for each in found.evidence if each.fine < limit]
    if not undecided and here >= rules.min_pairs:
        last = rollout.step + 1 >= len(rollout.steps)
        return _next(What.PROMOTE if last else What.ADVANCE, f"no worse after {found.pairs} pairs", found)
    if here >= rules.max_pairs:
        return _next(What.PAUSE, f"still undecided after {here} pairs: {_said(undecided)}", found)
    return _next(
        What.WAIT, f"{found.pairs} pairs compared, undecided: {_said(undecided) or 'too few in this step'}", found
    )


def cut_off(outings: Sequence[Outing], rules: RolloutSettings) -> Next | None:
    """What to do once the agent's breaker has opened: no evidence comes any more, and it may be the new version's doing.

    It is stopped when it has failed in a greater share of its executions than the stable one: everybody is without the
    agent meanwhile, so this is no matter of the allowed error. None: the breaker says nothing against the new version.
    """
    ended = [(outing.canary, not outing.ok) for outing in outings if outing.ok is not None]
    new, old = ([failed for canary, failed in ended if canary is which] for which in (True, False))
    if not any(new) or sum(new) * max(len(old), 1) <= sum(old) * len(new):
        return None
    seen = f"{sum(new)} of {len(new)} new executions failed and {sum(old)} of {len(old)} stable ones"
    return _next(What.ABORT, f"the agent's breaker has opened: {seen}", compare(outings, rules))


def _next(what: What, reason: str, found: Comparison) -> Next:
    return Next(what=what, reason=reason, comparison=found)


def _said(evidence: Iterable[Evidence]) -> str:
    return "; ".join(f"{each.name} ({each.seen})" for each in evidence)


def _missing(found: Comparison, percent: int) -> str:
    """Results that should have come long ago."""
    if not 0 < percent < 100:  # noqa: PLR2004 - percent
        return ""
    if not found.canary_runs and found.stable_runs * percent >= _EXPECTED * (100 - percent):
        return f"no result of the new version has come, and {found.stable_runs} of the stable one have"
    if not found.stable_runs and found.canary_runs * (100 - percent) >= _EXPECTED * percent:
        return f"no result of the stable version has come, and {found.canary_runs} of the new one have"
    return ""


def moved(rollout: Rollout, move: Next, now: datetime) -> Rollout:
    """The rollout after the move."""
    change: dict[What, Callable[[], Rollout]] = {
        What.WAIT: lambda: replace(rollout, reason=move.reason),
        What.PAUSE: lambda: replace(rollout, state=RolloutState.PAUSED, reason=move.reason, changed_at=now),
        What.ABORT: lambda: replace(rollout, state=RolloutState.ABORTED, reason=move.reason, changed_at=now),
        What.PROMOTE: lambda: replace(rollout, state=RolloutState.PROMOTED, reason=move.reason, changed_at=now),
        What.ADVANCE: lambda: replace(
            rollout, step=rollout.step + 1, reason=move.reason, changed_at=now, pairs_before=move.comparison.pairs
        ),
    }
    return change[move.what]()
