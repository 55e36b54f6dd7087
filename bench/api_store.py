"""A store as it looks after a year: ended runs with all their records, chained as the ledger chains them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from interlock.engine.ledger import GENESIS, _link
from interlock.model.canon import canonical
from interlock.model.plan import Task
from interlock.model.risk import RiskAssessment, RiskLevel
from interlock.model.run import Outcome, OutcomeKind, Run, RunState
from interlock.service import Service
from interlock.store import rows
from interlock.store import schema as t
from interlock.store.database import micros

AGENTS = ("writer", "docs", "database", "frontend", "tests", "release", "security", "review")
_BATCH = 20_000
_KINDS = (OutcomeKind.SUCCEEDED,) * 8 + (OutcomeKind.FAILED, OutcomeKind.BLOCKED)

Record = tuple[str, str, dict[str, Any]]
"""(kind, actor, data)"""


def fill(service: Service, runs: int, records: int) -> None:
    """That many ended runs, evenly over the last year, with that many records between them."""
    chance = random.Random(1)  # noqa: S311 - the same store every time
    start, step = datetime.now(UTC) - timedelta(days=365), timedelta(days=365) / runs
    chain = _Chain()
    with service._means.database.write() as conn:
        for number in range(runs):
            at, kind = start + step * number, chance.choice(_KINDS)
            run_id = f"run_bench{number:08}"
            rows.insert_run(conn, _run(run_id, number, at, kind))
            rows.save_run(conn, _run(run_id, number, at, kind))
            chain.add(run_id, at, _records(number, kind, records // runs, chance))
            if len(chain.waiting) >= _BATCH or number == runs - 1:
                conn.execute(sa.insert(t.ledger), chain.taken())
        checkpoint = service._means.ledger.checkpoint(conn)
    service._means.ledger.anchor(checkpoint)


def _run(run_id: str, number: int, at: datetime, kind: OutcomeKind) -> Run:
    return Run(
        id=run_id, task=Task(text=f"task {number}: repair what is broken", submitter="ann", submitted_at=at),
        environment="development", state=RunState.ENDED, outcome=Outcome(kind=kind), submitted_at=at,
        ended_at=at + timedelta(minutes=1), risk=RiskAssessment(level=RiskLevel.LOW),
    )  # fmt: skip


def _records(number: int, kind: OutcomeKind, count: int, chance: random.Random) -> Iterator[Record]:
    agent, attempt = chance.choice(AGENTS), f"att_{number}"
    ok, ms = kind is OutcomeKind.SUCCEEDED, int(chance.lognormvariate(9, 1))
    usage = {"input_tokens": chance.randint(100, 9000), "output_tokens": chance.randint(10, 900), "cost_micros": 900}
    facts = {"agent": agent, "attempt": attempt}
    yield "task.submitted", "ann", {"task": f"task {number}", "environment": "development", "agents": []}
    yield "attempt.admitted", "interlock", {**facts, "waited_ms": chance.randint(0, 4000)}
    yield "attempt.started", "interlock", facts
    for call in range((count - 6) // 2):
        yield (
            "effect.intended",
            agent,
            {"attempt": attempt, "effect": f"eff_{call}", "tool": "shell", "summary": "ls src"},
        )
        yield "effect.done", agent, {"attempt": attempt, "effect": f"eff_{call}"}
    yield "agent.returned", "interlock", {**facts, "usage": usage}
    failed = {**facts, "duration_ms": ms, "error": "crashed", "message": "exit code 1"}
    yield (
        ("attempt.succeeded", "interlock", {**facts, "duration_ms": ms})
        if ok
        else ("attempt.failed", "interlock", failed)
    )
    yield "run.ended", "interlock", {"kind": kind.value, "reason": ""}


class _Chain:
    """Writes records as :meth:`interlock.engine.ledger.Ledger.append` does, many at a time."""

    def __init__(self) -> None:
        self.waiting: list[dict[str, Any]] = []
        self._seq = 0
        self._total = GENESIS

    def add(self, run_id: str, at: datetime, records: Iterator[Record]) -> None:
        before = GENESIS
        for number, (kind, actor, data) in enumerate(records, start=1):
            self._seq += 1
            record = {
                "seq": self._seq, "run_id": run_id, "number": number, "at": micros(at) + number, "kind": kind,
                "actor": actor, "data": data, "prev": before,
            }  # fmt: skip
            body = canonical(record)
            before = hashlib.sha256(body).hexdigest()
            self._total = _link(self._total, before)
            kept = {name: record[name] for name in ("seq", "run_id", "number", "at", "kind")}
            self.waiting.append({**kept, "once": None, "body": body, "hash": before, "total": self._total})

    def taken(self) -> Sequence[dict[str, Any]]:
        taken, self.waiting = self.waiting, []
        return taken
