"""The ledger as it is read: nothing outside of the engine writes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from interlock.engine.ledger import Verification
from interlock.engine.means import Means
from interlock.engine.watch import verify
from interlock.model.ledger import LedgerEntry
from interlock.store import rows


class LedgerReader:
    """The records of one store."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def verify(self) -> Verification:
        """Whether the ledger is whole; names the first bad record."""
        return verify(self._means)

    def entries(self, *, run_id: str = "", after: int = 0, limit: int = 1000) -> list[LedgerEntry]:
        """Records in order."""
        return self._means.ledger.entries(run_id=run_id, after=after, limit=limit)

    def stream(self, *, run_id: str = "") -> Iterator[LedgerEntry]:
        """All records in order."""
        return self._means.ledger.stream(run_id=run_id)

    def search(
        self, *, text: str = "", kind: str = "", actor: str = "", run_id: str = "", before: int = 0, limit: int = 100
    ) -> tuple[list[LedgerEntry], int]:
        """Records newest first, and where to go on (0: the end); see :meth:`interlock.engine.ledger.Ledger.search`."""
        return self._means.ledger.search(
            text=text, kind=kind, actor=actor, run_id=run_id, before=before, limit=limit
        )  # fmt: skip

    def newest(self) -> int:
        """The sequence number of the last record, 0 for none."""
        return self._means.ledger.newest()

    def recorded_actions(self, *, run_id: str = "") -> list[dict[str, Any]]:
        """Every tool call that was intended or blocked, as ``policy diff`` replays it: with redacted arguments.

        A call whose arguments were too long to be kept has ``left_out`` instead of ``args``.
        """
        with self._means.database.read() as conn:
            texts = rows.recorded_actions(conn, run_id=run_id)
        blocked = (entry for entry in self._means.ledger.stream(run_id=run_id) if entry.kind == "call.blocked")
        texts += [str(entry.data["action"]) for entry in blocked if entry.data.get("action")]
        return [orjson.loads(text) for text in texts]
