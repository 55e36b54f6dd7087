"""Budgets of one store: reserved when an attempt is admitted, checked before each call, settled when it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta

import sqlalchemy as sa

from interlock.config import Settings
from interlock.decide import budget
from interlock.decide.budget import Account, Amounts, Short
from interlock.model.agent import AgentSpec
from interlock.model.run import Attempt
from interlock.ports import Clock
from interlock.store import budgets as stored

_MS = timedelta(milliseconds=1)


class Budgets:
    """What may be spent. Every call is part of the caller's transaction, which is the only writer's."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    def reserve(self, conn: sa.Connection, attempt: Attempt, spec: AgentSpec, submitter: str) -> Amounts | Short:
        """Reserve what the attempt may need, once: its context's tokens and its longest time.

        Money and calls cannot be foreseen; they are checked before each call.
        """
        scopes = budget.scopes(
            self._settings.budgets, run_id=attempt.run_id, agent=attempt.agent, submitter=submitter,
            day=self._clock.now().date().isoformat(),
        )  # fmt: skip
        limits = self._settings.limits
        tokens = limits.context_tokens if spec.context_tokens is None else spec.context_tokens
        want = Amounts(tokens=tokens, millis=(spec.timeout or timedelta(seconds=limits.timeout_s)) // _MS)
        if not scopes:
            return want
        if stored.reservation(conn, attempt.id):  # it comes back from waiting for a person
            return want
        granted = budget.reserve(_accounts(conn, scopes), want)
        if isinstance(granted, Amounts):
            stored.reserve(conn, attempt.id, list(scopes), asdict(granted))
        return granted

    def charge_call(self, conn: sa.Connection, attempt_id: str) -> str:
        """Count one tool call of the attempt; why it may not be made, empty when it may."""
        scopes = self._held(conn, attempt_id)
        if not scopes:
            return ""
        one = Amounts(calls=1)
        why = budget.exceeded(_accounts(conn, scopes), one)
        if not why:
            for scope in scopes:
                stored.spend(conn, scope, asdict(one))
        return why

    def settle(self, conn: sa.Connection, attempt: Attempt, worked: timedelta) -> None:
        """Book what the attempt has used and give its reservation back.

        Nobody knows what a failed attempt has used that reported nothing: its whole reservation of tokens is taken for used.
        """
        for scope, reserved in stored.reservation(conn, attempt.id).items():
            used = Amounts(tokens=reserved["tokens"] if attempt.started_at else 0)
            if attempt.result is not None:
                usage = attempt.result.usage
                used = Amounts(tokens=usage.input_tokens + usage.output_tokens, cost_micros=usage.cost_micros)
            stored.spend(conn, scope, asdict(used + Amounts(millis=worked // _MS)))
        stored.release(conn, attempt.id)

    def time_left(self, conn: sa.Connection, attempt_id: str) -> timedelta | None:
        """How long the attempt may work; None where no budget limits it."""
        caps = self._held(conn, attempt_id)
        if not any("millis" in kinds for kinds in caps.values()):
            return None
        reserved = stored.reservation(conn, attempt_id)
        return min(each["millis"] for each in reserved.values()) * _MS

    def _held(self, conn: sa.Connection, attempt_id: str) -> dict[str, dict[str, int]]:
        """The accounts in which the attempt has reserved, with their caps as configured now."""
        periods = {"run": "run", "day": "day", "agent": "agent_day", "submitter": "submitter_day"}
        return {
            scope: self._settings.budgets.caps(periods[scope.partition(":")[0]])
            for scope in stored.reservation(conn, attempt_id)
        }


def _accounts(conn: sa.Connection, scopes: Mapping[str, Mapping[str, int]]) -> list[Account]:
    used, reserved = stored.used(conn, list(scopes)), stored.reserved(conn, list(scopes))
    return [
        Account(
            scope=scope, caps=caps, used=Amounts(**used.get(scope, {})), reserved=Amounts(**reserved.get(scope, {}))
        )
        for scope, caps in scopes.items()
    ]
