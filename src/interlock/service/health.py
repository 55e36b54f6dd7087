"""How well the agents and Interlock itself are, and whether it is safe."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from interlock.decide import health as rules
from interlock.decide.glance import CUT_OFF, glance
from interlock.engine.alarms import Alarms
from interlock.engine.alive import is_dead
from interlock.engine.means import Means
from interlock.engine.watch import VERIFIED
from interlock.errors import StoreError
from interlock.model.approval import ApprovalState
from interlock.model.glance import Glance, Status
from interlock.model.health import Health, HealthStatus, SystemFacts
from interlock.model.run import RunState
from interlock.service.agents import Agents
from interlock.store import queue, rows, watching
from interlock.store.database import micros, moment

_FRESH_S = 2.0
"""How long :meth:`Checkup.fresh` is fresh, in seconds."""
_SOON_S = 0.25
_UNKNOWN = Health(subject="system", status=HealthStatus.UNKNOWN, at=datetime.min.replace(tzinfo=UTC))
_WRITTEN = "checkup"


class Checkup:
    """The health of one project's Interlock."""

    def __init__(self, means: Means, alarms: Alarms, agents: Agents) -> None:
        self._means = means
        self._alarms = alarms
        self._agents = agents
        self._looking = threading.Lock()
        self._looked: tuple[float, tuple[Health, tuple[Health, ...]]] = (0.0, (_UNKNOWN, ()))

    def glance(self) -> Glance:
        """Is it safe, and why not. Alerts and breakers are of this moment, health is up to two seconds old."""
        system, agents = self.fresh()
        return glance(system, agents, self._alarms.alerts(), self._agents.breakers())

    def status(self) -> Status:
        """Counts for one look, and whether it is safe."""
        seen = self.glance()
        now = self._means.clock.now()
        with self._means.database.read() as conn:
            runs = rows.count_runs(conn)
            questions = rows.count_approvals(conn, ApprovalState.PENDING)
            queued, _ = watching.queue_facts(conn)
            workers, shared = queue.list_workers(conn), micros(self._means.database.time(conn, now))
        return Status(
            safe=seen.safe, reasons=tuple(reason.text for reason in seen.reasons),
            environment=self._means.settings.environment, runs=runs, waiting_for_people=questions, queued=queued,
            firing=sum(alert.active for alert in self._alarms.alerts()),
            cut_off=tuple(one.agent for one in self._agents.breakers() if one.state in CUT_OFF),
            worker=any(not is_dead(row, shared) for row in workers),
        )  # fmt: skip

    def fresh(self) -> tuple[Health, tuple[Health, ...]]:
        """The system's and the agents' health of the last two seconds: many look, one asks."""
        with self._looking:
            if time.monotonic() >= self._looked[0]:
                health = (self.system(), tuple(self.agents(within_s=_SOON_S)))
                self._looked = (time.monotonic() + _FRESH_S, health)
            return self._looked[1]

    def agent(self, name: str) -> Health:
        """How well an agent is.

        Raises:
            NotFoundError: when there is no such agent.
        """
        self._agents.find(name)
        return next(each for each in self.agents() if each.subject == name)

    def agents(self, *, within_s: float | None = None) -> list[Health]:
        """How well all agents of the catalogue are; ``within_s`` as for :meth:`interlock.engine.meter.Meter.metrics`."""
        settings, meter = self._means.settings, self._means.meter
        lately = meter.metrics(timedelta(seconds=settings.health.window_s), within_s=within_s)
        ever = meter.metrics(within_s=within_s)
        standing = self._alarms.alerts()
        found = []
        for name, spec in sorted(self._means.catalogue.items()):
            known = replace(lately.agent(name), last_invocation=ever.agent(name).last_invocation)
            tokens = settings.limits.context_tokens if spec.context_tokens is None else spec.context_tokens
            found.append(
                rules.agent_health(
                    known,
                    now=lately.at,
                    context_tokens=tokens,
                    rules=settings.health,
                    findings=self._alarms.suggestions(name, standing),
                )
            )
        return found

    def system(self) -> Health:
        """How well Interlock itself is."""
        return rules.system_health(self.facts(), now=self._means.clock.now(), rules=self._means.settings.health)

    def facts(self) -> SystemFacts:
        """What the system's health is judged by; nothing of it raises."""
        means = self._means
        now = micros(means.clock.now())
        disk = shutil.disk_usage(means.settings.state_dir).free >> 20 if means.settings.state_dir.exists() else None
        try:
            with means.database.write() as conn:
                watching.set_mark(conn, _WRITTEN, now)
                workers = queue.list_workers(conn)
                waiting, due = watching.queue_facts(conn)
                verified, problem = watching.mark(conn, VERIFIED)
                states = [state for state in RunState if state is not RunState.ENDED]
                unfinished = len(rows.list_runs(conn, states=states, limit=1000))
        except StoreError as error:
            return SystemFacts(store_problem=str(error), disk_free_mb=disk)
        living = sum(not is_dead(row, now) for row in workers)
        gone = sum(row.lease_until > 0 and is_dead(row, now) for row in workers)
        return SystemFacts(
            living_workers=living, dead_workers=gone, waiting=waiting, unfinished=unfinished, disk_free_mb=disk,
            oldest_queued_ms=None if due is None else max(0, now - due) // 1000, ledger_problem=problem,
            ledger_verified_at=moment(verified) if verified else None,
        )  # fmt: skip
