"""The agents of the catalogue and their circuit breakers."""

from __future__ import annotations

from interlock.decide import breaker as rules
from interlock.engine.means import Means
from interlock.errors import NotFoundError, did_you_mean
from interlock.model.agent import AgentSpec
from interlock.model.breaker import Breaker
from interlock.store import rows


class Agents:
    """The agents of one project."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def find(self, name: str) -> AgentSpec:
        """The agent of that name.

        Raises:
            NotFoundError: when there is no such agent.
        """
        spec = self._means.catalogue.get(name)
        if spec is None:
            hint = did_you_mean(name, self._means.catalogue) or "`interlock agents list` shows them"
            message = f"there is no agent {name!r}: {hint}"
            raise NotFoundError(message)
        return spec

    def breakers(self) -> list[Breaker]:
        """Every agent's breaker."""
        with self._means.database.read() as conn:
            known = {breaker.agent: breaker for breaker in rows.list_breakers(conn)}
        return [known.get(name, Breaker(agent=name)) for name in sorted({*self._means.catalogue, *known})]

    def force_breaker(self, agent: str, what: rules.Force, *, reason: str, actor: str) -> Breaker:
        """Open, close or reset an agent's breaker by hand.

        Raises:
            NotFoundError: when there is no such agent.
        """
        self.find(agent)
        with self._means.database.write() as conn:
            before = rows.find_breaker(conn, agent)
            after = rules.force(before, what, reason, self._means.clock.now())
            rows.save_breaker(conn, after)
            self._means.ledger.append(
                conn, f"operator:{agent}", "breaker.forced",
                {"agent": agent, "from": before.state, "to": after.state, "reason": reason}, actor=actor,
            )  # fmt: skip
        return after
