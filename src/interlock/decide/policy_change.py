"""A change of policies on its way to everyone: which set judges a run, and when the new one is taken back by itself.

Both sets judge every call, so that nothing must be estimated: what the new set would have said is known, call by call. A
run counts once, however often its agent tries: a run that the new set blocks and the present one does not is a loss, the
reverse a gain. Only the way back is taken without a person. That a milder set is fine is nothing that counts can tell.
"""

from __future__ import annotations

from interlock.config import RolloutSettings
from interlock.decide.rollout import Next, What, bet
from interlock.model.decision import Decision, Verdict
from interlock.model.rollout import Comparison, Evidence, Judgements, Rollout, RolloutState
from interlock.reading.failed import GATE_FAILED

_RAILS = 2


def runs_as_canary(rollout: Rollout, pinned: bool | None, drawn: bool) -> bool:
    """Whether the new set judges a run for real.

    Args:
        rollout: as it stands.
        pinned: what was decided for this run when its first call came; None: it is new.
        drawn: whether the present share holds this run.
    """
    match rollout.state:
        case RolloutState.ABORTED:
            return False
        case RolloutState.PROMOTED:
            return pinned is not False
        case _:
            return drawn if pinned is None else pinned


def tighter(old: Decision, new: Decision) -> bool | None:
    """Whether the new decision is the stricter one; None: they agree."""
    before, after = ((one.verdict, one.quorum if one.verdict is Verdict.CONFIRM else 1) for one in (old, new))
    return None if before == after else after > before


def broke(decision: Decision) -> bool:
    """Whether it is a block only because the judge itself did not work."""
    return GATE_FAILED in decision.rule_ids


def compared(found: Judgements, rules: RolloutSettings) -> Comparison:
    """The new set beside the present one, as evidence that grows with every run."""
    return Comparison(
        pairs=found.runs, canary_runs=found.canary_runs, stable_runs=found.runs - found.canary_runs,
        evidence=(
            _rail("blocked", found.more_blocked, found.fewer_blocked, found.runs, rules),
            _rail("asked", found.more_asked, found.fewer_asked, found.runs, rules),
        ),
    )  # fmt: skip


def _rail(name: str, more: int, fewer: int, runs: int, rules: RolloutSettings) -> Evidence:
    """Bets for and against "the difference is at most the margin"; each run wins or loses a bounded stake."""
    margin = rules.margin_percent / 100
    counts = {1: more, -1: fewer, 0: max(0, runs - more - fewer)}
    return Evidence(
        name=name,
        worse=bet({(difference - margin) / (1 + margin): count for difference, count in counts.items()}),
        fine=bet({(margin - difference) / (1 + margin): count for difference, count in counts.items()}),
        seen=f"in {more} of {runs} runs more than by the present set, in {fewer} less",
    )


def next_move(rollout: Rollout, found: Judgements, rules: RolloutSettings) -> Next:
    """What is due: taken back when a guard rail breaks, else a person's word."""
    evidence = compared(found, rules)
    if found.errors:
        return Next(what=What.ABORT, reason=f"the new set could not judge {found.errors} calls", comparison=evidence)
    limit = 100 / rules.error_percent * _RAILS
    worse = [f"{each.name} ({each.seen})" for each in evidence.evidence if each.worse >= limit]
    if worse:
        reason = f"over {rules.margin_percent} % more runs are stopped by the new set: {'; '.join(worse)}"
        return Next(what=What.ABORT, reason=reason, comparison=evidence)
    stage = "nobody obeys the new set" if not rollout.percent else f"{rollout.percent} % of the runs obey the new set"
    seen = f"{found.calls} calls compared, {found.tighter} tighter, {found.looser} looser"
    return Next(what=What.WAIT, reason=f"{stage}; {seen}; the next step is a person's", comparison=evidence)
