"""Budgets: may this be spent?

An account has a cap, what is used and what is reserved for attempts at work. An attempt reserves before it is admitted:
what it may need, or what is left if that is less. So all reservations together never pass a cap; what is used can pass it
only by what attempts in flight spend beyond their own reservations before their next call, where they are stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from interlock.config import BudgetSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Amounts:
    """Tokens in and out, millionths of a dollar, tool calls, milliseconds of agents' work."""

    tokens: int = 0
    cost_micros: int = 0
    calls: int = 0
    millis: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(**{name: getattr(self, name) + getattr(other, name) for name in KINDS})

    def at_least(self, other: Amounts) -> Amounts:
        """The greater of both, kind by kind."""
        return Amounts(**{name: max(getattr(self, name), getattr(other, name)) for name in KINDS})


KINDS = tuple(each.name for each in fields(Amounts))
_UNITS = {"tokens": "tokens", "cost_micros": "millionths of a dollar", "calls": "tool calls", "millis": "ms of work"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """One budget as it stands. A kind that ``caps`` does not name is not limited."""

    scope: str
    caps: Mapping[str, int]
    used: Amounts = field(default_factory=Amounts)
    reserved: Amounts = field(default_factory=Amounts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Short:
    """Why nothing can be reserved. ``for_good``: it is used up; otherwise attempts at work may give some back."""

    reason: str
    for_good: bool


def scopes(settings: BudgetSettings, *, run_id: str, agent: str, submitter: str, day: str) -> dict[str, dict[str, int]]:
    """The accounts that an attempt spends from, with their caps; empty where nothing is limited."""
    names = {"run": f"run:{run_id}", "day": f"day:{day}", "agent_day": f"agent:{agent}:{day}",
             "submitter_day": f"submitter:{submitter}:{day}"}  # fmt: skip
    found = {name: settings.caps(period) for period, name in names.items()}
    return {name: caps for name, caps in found.items() if caps}


def reserve(accounts: Sequence[Account], want: Amounts) -> Amounts | Short:
    """What is reserved of each kind: all that is wanted, or what every account has left; :class:`Short` if one has nothing."""
    granted = {name: getattr(want, name) for name in KINDS}
    for account in accounts:
        for kind, cap in account.caps.items():
            used, reserved = getattr(account.used, kind), getattr(account.reserved, kind)
            if used >= cap:
                return Short(reason=_over(account.scope, kind, used, cap), for_good=True)
            left = cap - used - reserved
            if left <= 0 and granted[kind] > 0:
                reason = f"the budget of {account.scope} is taken by agents at work: {reserved} of {cap} {_UNITS[kind]}"
                return Short(reason=reason, for_good=False)
            granted[kind] = max(0, min(granted[kind], left))
    return Amounts(**granted)


def exceeded(accounts: Sequence[Account], more: Amounts) -> str:
    """Why a call may not be made that needs ``more``; empty when it may."""
    for account in accounts:
        for kind, cap in account.caps.items():
            used, wanted = getattr(account.used, kind), getattr(more, kind)
            if used + wanted > cap or (used >= cap and kind != "calls"):
                return _over(account.scope, kind, used, cap)
    return ""


def _over(scope: str, kind: str, used: int, cap: int) -> str:
    return f"the budget of {scope} is used up: {used} of {cap} {_UNITS[kind]}"
