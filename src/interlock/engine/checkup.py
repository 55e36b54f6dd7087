"""Gathers what health is judged by."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta

from interlock.decide import health as rules
from interlock.engine.alarms import Alarms
from interlock.engine.alive import is_dead
from interlock.engine.means import Means
from interlock.engine.watch import VERIFIED
from interlock.errors import StoreError
from interlock.model.health import Health, SystemFacts
from interlock.model.run import RunState
from interlock.store import queue, rows, watching
from interlock.store.database import micros, moment

_WRITTEN = "checkup"


def agents_health(means: Means, alarms: Alarms, within_s: float | None = None) -> list[Health]:
    """The health of every agent of the catalogue; ``within_s`` as for :meth:`interlock.engine.meter.Meter.metrics`."""
    settings = means.settings
    lately = means.meter.metrics(timedelta(seconds=settings.health.window_s), within_s=within_s)
    ever = means.meter.metrics(within_s=within_s)
    standing = alarms.alerts()
    found = []
    for name, spec in sorted(means.catalogue.items()):
        known = replace(lately.agent(name), last_invocation=ever.agent(name).last_invocation)
        tokens = settings.limits.context_tokens if spec.context_tokens is None else spec.context_tokens
        found.append(
            rules.agent_health(
                known,
                now=lately.at,
                context_tokens=tokens,
                rules=settings.health,
                findings=alarms.suggestions(name, standing),
            )
        )
    return found


def system_health(means: Means) -> Health:
    """The health of Interlock itself."""
    return rules.system_health(system_facts(means), now=means.clock.now(), rules=means.settings.health)


def system_facts(means: Means) -> SystemFacts:
    """What can be seen of the system; nothing of it raises."""
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
