"""What operators change while everything runs: rollouts, limits, single calls, what plans have learned, the store.

Rollouts of the policies are for admins: whoever may loosen the rules may do everything.
"""

from __future__ import annotations

import threading
from typing import Annotated

from fastapi import Path, Query, Response

from interlock.decide.access import refusal, to_roll_out
from interlock.engine.rollouts import RolloutStory, RolloutView
from interlock.engine.undo import UndoneCall
from interlock.engine.upkeep import Sealed
from interlock.model.identity import Identity
from interlock.model.rollout import Rollout
from interlock.surfaces.api.common import Administers, Judges, Sees, Steers, TheService, router
from interlock.surfaces.api.problems import ProblemError, documented
from interlock.surfaces.api.views import (
    CollectIn,
    CorrectionIn,
    Id,
    Learned,
    LimitIn,
    LimitOut,
    Linted,
    Name,
    PolicyTextIn,
    PromoteIn,
    ReasonIn,
    RolloutIn,
    StoreCheck,
    said,
)
from interlock.surfaces.api.watching import one_at_a_time

routes = router("steering")

_checking = threading.Lock()


@routes.get("/rollouts", response_model=list[RolloutView])
def rollouts(service: TheService, _who: Sees, agent: Annotated[str, Query(max_length=100)] = "") -> Response:
    """The rollouts that count, of agents and of the policies, one each at most, and what the evidence says."""
    return said(service.rollouts.views(agent))


@routes.get("/rollouts/{agent}", response_model=RolloutStory, responses=documented(404))
def rollout(agent: Name, service: TheService, _who: Sees) -> Response:
    """An agent's rollout: how its share moved, and the new version beside the stable one."""
    return said(service.rollouts.story(agent))


def _may(who: Identity, agent: str) -> None:
    no = refusal(who, to_roll_out(agent))
    if no:
        raise ProblemError(403, "not-allowed", no)


@routes.post("/rollouts", status_code=201, response_model=Rollout, responses=documented(404))
def start_rollout(given: RolloutIn, service: TheService, who: Steers) -> Response:
    """Give a version of an agent, or of the policies, to the first step's share of the work. One at a time for each."""
    _may(who, given.agent)
    made = service.rollouts.start(given.agent, given.version, who.name, steps=given.steps)
    return said(made, status=201)


@routes.post("/rollouts/{agent}/promote", response_model=Rollout, responses=documented(404))
def promote(agent: Name, given: PromoteIn, service: TheService, who: Steers) -> Response:
    """Take the next step, whatever the evidence says; after the last one everybody gets the version."""
    _may(who, agent)
    return said(service.rollouts.promote(agent, who.name, fully=given.fully))


@routes.post("/rollouts/{agent}/abort", response_model=Rollout, responses=documented(404))
def abort(agent: Name, given: ReasonIn, service: TheService, who: Steers) -> Response:
    """Give everybody the stable version again."""
    _may(who, agent)
    return said(service.rollouts.abort(agent, who.name, given.reason))


@routes.post("/rollouts/{agent}/resume", response_model=Rollout, responses=documented(404))
def resume(agent: Name, service: TheService, who: Steers) -> Response:
    """Let the evidence decide again, after a pause."""
    _may(who, agent)
    return said(service.rollouts.resume(agent, who.name))


LimitName = Annotated[str, Path(pattern=r"^[a-z_]{1,40}(:[A-Za-z0-9@._+-]{1,100})?$")]


@routes.get("/limits", response_model=list[LimitOut])
def limits(service: TheService, _who: Sees) -> Response:
    """Every limit and where it comes from."""
    return said(
        [LimitOut(name=name, most=most, source=source) for name, (most, source) in service.queue.limits().items()]
    )


@routes.put("/limits/{name}", response_model=list[LimitOut])
def set_limit(name: LimitName, given: LimitIn, service: TheService, who: Steers) -> Response:
    """Change a limit at once, for all processes of this store; ``most`` null goes back to the configured one."""
    service.queue.set_limit(name, given.most, actor=who.name)
    return limits(service, who)


@routes.post("/effects/{effect_id}/undo", response_model=UndoneCall, responses=documented(404, 409))
def undo(effect_id: Id, given: ReasonIn, service: TheService, who: Steers) -> Response:
    """Undo one call: in a workspace at work, or on the branch of a run that is left for review."""
    return said(service.runs.undo_call(effect_id, actor=who.name, why=given.reason))


@routes.post("/plan/corrections", response_model=Learned, responses=documented(404))
def correct(given: CorrectionIn, service: TheService, who: Steers) -> Response:
    """Teach which agents are right for such a task. It is kept in the project's memory, and in the ledger with your name."""
    return said(Learned(new=service.plans.correct(given.text, given.agents, actor=who.name)))


@routes.post("/policies/lint", response_model=Linted)
def lint_policies(given: PolicyTextIn, _who: Judges) -> Response:
    """Check a policy file's text: words, types, patterns, conditions, rules that can never change anything."""
    return said(Linted.of(given.text))


@routes.get("/store", response_model=StoreCheck)
def check_store(service: TheService, _who: Steers) -> Response:
    """What is wrong with the store: ledger, archives, lost work, disk. It reads everything, so one at a time."""
    with one_at_a_time(_checking, "the store is being checked"):
        return said(StoreCheck(problems=service.storage.problems()))


@routes.post("/store/collect", response_model=Sealed)
def collect(given: CollectIn, service: TheService, who: Administers) -> Response:
    """Archive and remove runs that ended long ago; the ledger still verifies. ``dry`` only counts them."""
    with one_at_a_time(_checking, "the store is being looked after"):
        return said(service.storage.collect(given.days, actor=who.name, dry=given.dry))
