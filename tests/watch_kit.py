"""What the tests of watching share: a clock that is set by hand, records, and a store that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from interlock.engine.ledger import Ledger
from interlock.engine.meter import Meter
from interlock.model.ledger import LedgerEntry
from interlock.store.database import Database

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@dataclass
class SetClock:
    """A clock that stands still until it is set (:class:`interlock.ports.Clock`)."""

    at: datetime = NOON

    def now(self) -> datetime:
        return self.at

    def pass_(self, **spans: float) -> datetime:
        self.at += timedelta(**spans)
        return self.at


def entry(
    kind: str, data: Mapping[str, Any] | None = None, *, at: datetime = NOON, actor: str = "interlock"
) -> LedgerEntry:
    return LedgerEntry(
        seq=1, run_id="run_1", number=1, at=at, kind=kind, actor=actor, data=data or {}, prev="0" * 64, hash="0" * 64
    )


@dataclass
class Book:
    """A real store with a clock that is set by hand."""

    path: Path
    clock: SetClock = field(default_factory=SetClock)
    agents: tuple[str, ...] = ("writer",)

    def __post_init__(self) -> None:
        self.database = Database(f"sqlite:///{self.path}/interlock.db")
        self.database.migrate()
        self.ledger = Ledger(self.database, self.clock, None)
        self.meter = Meter(self.database, self.ledger, self.clock, self.agents)

    def write(self, kind: str, /, *, run_id: str = "run_1", actor: str = "interlock", **data: Any) -> None:
        with self.database.write() as conn:
            self.ledger.append(conn, run_id, kind, data, actor=actor)

    def succeeds(self, agent: str = "writer", ms: int = 1000, tokens: int = 0) -> None:
        self.write("attempt.started", agent=agent, attempt="a")
        if tokens:
            usage = {"input_tokens": tokens, "output_tokens": 0, "cost_micros": 10}
            self.write("agent.returned", agent=agent, attempt="a", usage=usage)
        self.write("attempt.succeeded", agent=agent, attempt="a", duration_ms=ms)

    def fails(self, agent: str = "writer", ms: int = 1000, error: str = "crashed", attempt: str = "a") -> None:
        self.write("attempt.started", agent=agent, attempt=attempt)
        self.write("attempt.failed", agent=agent, attempt=attempt, duration_ms=ms, error=error, message="it broke")
