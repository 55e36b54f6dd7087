"""Who may do what: one table. Surfaces ask it, nobody decides on their own."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from interlock.model.identity import Being, Identity, Role
from interlock.model.rollout import POLICIES


class Right(StrEnum):
    """What can be asked for."""

    SEE = "see"
    JUDGE = "judge"
    """Ask what the gate would say; nothing happens."""
    SUBMIT = "submit"
    STEER = "steer"
    """Cancel a run, force a breaker."""
    ANSWER = "answer"
    """Say yes or no to a question."""
    ADMINISTER = "administer"
    """Give and take tokens; change which policies are obeyed."""


NEEDS: Mapping[Right, Role] = {
    Right.SEE: Role.VIEWER,
    Right.JUDGE: Role.VIEWER,
    Right.SUBMIT: Role.OPERATOR,
    Right.STEER: Role.OPERATOR,
    Right.ANSWER: Role.APPROVER,
    Right.ADMINISTER: Role.ADMIN,
}
"""The least role for each right."""

PEOPLE_ONLY = frozenset({Right.ANSWER, Right.ADMINISTER})
"""What no program may do, whatever its token says: an agent that holds one must not approve itself."""


def to_roll_out(agent: str) -> Right:
    """The right that steering a rollout of this agent takes; of the policies, more than any operator or program has."""
    return Right.ADMINISTER if agent == POLICIES else Right.STEER


def refusal(who: Identity, right: Right) -> str:
    """Why this identity may not do that; empty when it may."""
    if right in PEOPLE_ONLY and who.being is Being.PROGRAM:
        return f"{who.name} is a program: only people may {right}"
    needed = NEEDS[right]
    if who.role < needed:
        return f"{who.name} is {who.role}; to {right} needs {needed}"
    return ""
