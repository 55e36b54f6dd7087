"""Records of what happened, chained so that a missing or changed one is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerEntry:
    """One record. ``seq`` counts over all runs without a gap, ``number`` within the run; ``hash`` covers all and ``prev``."""

    seq: int
    run_id: str
    number: int
    at: datetime
    kind: str
    """A fixed word such as ``task.submitted`` or ``effect.intended``."""
    actor: str
    data: Mapping[str, Any] = field(default_factory=dict)
    prev: str
    hash: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The state of the whole ledger at one moment; chained, and written outside the database as well."""

    number: int
    at: datetime
    size: int
    """How many entries the ledger had."""
    total: str
    """The chain over all records of all runs."""
    prev: str
    hash: str
