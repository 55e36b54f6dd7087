"""Keeping a store: what is old is archived and sealed, and what is wrong with the store is said.

A run that ended long ago is written to an archive file with all its records, then removed; of its ledger records the
hashes stay, so that the chains still hold. A record ``ledger.sealed`` says which runs, where and with which digest.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import orjson
import sqlalchemy as sa

from interlock.engine.alive import is_dead
from interlock.engine.means import Means
from interlock.store import queue
from interlock.store import schema as t
from interlock.store.database import micros

_BATCH = 200
"""Runs in one archive file and one transaction: others wait for the writer only that long."""

_LITTLE = 200 << 20
"""Free bytes on the disk below which a check complains."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed:
    """What was archived."""

    runs: int
    records: int
    files: tuple[str, ...]


class Upkeep:
    """Upkeep of one store."""

    def __init__(self, means: Means, archive: Path) -> None:
        self._means = means
        self._archive = archive

    def migrate(self) -> int:
        """Create what is missing, DBOS's own tables too; returns the store's version."""
        self._means.database.migrate()
        self._means.durable.prepare()
        return t.VERSION

    def collect(self, older_than: timedelta, *, actor: str, dry: bool = False) -> Sealed:
        """Archive and remove runs that ended longer ago than that. Runs that have not ended are never touched."""
        before = micros(self._means.clock.now() - older_than)
        runs, records, files = 0, 0, list[str]()
        for batch in self._batches(before):
            runs += len(batch)
            if dry:
                continue
            name, digest, count = self._write(batch)
            seal = functools.partial(self._seal, runs=batch, name=name, digest=digest, actor=actor)
            self._means.database.transact(seal)
            self._means.durable.forget_bodies(batch)
            records += count
            files.append(name)
        return Sealed(runs=runs, records=records, files=tuple(files))

    def _batches(self, before: int) -> Iterator[list[str]]:
        query = (
            sa.select(t.runs.c.id)
            .join(t.ledger, sa.and_(t.ledger.c.run_id == t.runs.c.id, t.ledger.c.kind == "run.ended"))
            .where(t.runs.c.state == "ended", t.ledger.c.at < before)
            .order_by(t.runs.c.id)
        )
        with self._means.database.read() as conn:
            old = list(conn.execute(query).scalars())
        for start in range(0, len(old), _BATCH):
            yield old[start : start + _BATCH]

    def _write(self, runs: Sequence[str]) -> tuple[str, str, int]:
        """The archive file, flushed to the disk before anything is removed."""
        self._archive.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._means.database.read() as conn:
            found = conn.execute(
                sa.select(t.ledger.c.seq, t.ledger.c.hash, t.ledger.c.body)
                .where(t.ledger.c.run_id.in_(runs))
                .order_by(t.ledger.c.seq)
            ).all()
        lines = [orjson.dumps({"seq": row.seq, "hash": row.hash, "body": row.body.decode()}) + b"\n" for row in found]
        digest = hashlib.sha256(b"".join(lines)).hexdigest()
        name = f"runs-{digest[:16]}.jsonl"
        with (self._archive / name).open("wb") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        return name, digest, len(lines)

    def _seal(self, conn: sa.Connection, *, runs: Sequence[str], name: str, digest: str, actor: str) -> None:
        facts = {"runs": list(runs), "archive": name, "sha256": digest}
        self._means.ledger.append(conn, "operator:store", "ledger.sealed", facts, actor=actor, once=f"sealed:{digest}")
        own = sa.select(t.attempts.c.id).where(t.attempts.c.run_id.in_(runs))
        conn.execute(t.ledger.update().where(t.ledger.c.run_id.in_(runs)).values(body=b""))
        conn.execute(t.reservations.delete().where(t.reservations.c.attempt_id.in_(own)))
        conn.execute(t.permits.delete().where(t.permits.c.attempt_id.in_(own)))
        conn.execute(t.budgets.delete().where(t.budgets.c.scope.in_([f"run:{run_id}" for run_id in runs])))
        for table in (t.effects, t.approvals, t.attempts):
            conn.execute(table.delete().where(table.c.run_id.in_(runs)))
        conn.execute(t.runs.delete().where(t.runs.c.id.in_(runs)))

    def problems(self) -> list[str]:
        """What a person should look at; empty when all is well."""
        found = [self._means.ledger.verify().problem, *self._archives(), *self._lost(), self._disk()]
        if self._means.database.is_sqlite:
            with self._means.database.read() as conn:
                said = conn.execute(sa.text("PRAGMA quick_check")).scalar()
            found.append("" if said == "ok" else f"SQLite: {said}")
        return [problem for problem in found if problem]

    def _archives(self) -> Iterator[str]:
        for entry in self._means.ledger.of_kind("ledger.sealed"):
            file = self._archive / entry.data["archive"]
            if file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() != entry.data["sha256"]:
                yield f"the archive {file.name} was changed"

    def _lost(self) -> Iterator[str]:
        with self._means.database.read() as conn:
            now = micros(self._means.database.time(conn, self._means.clock.now()))
            workers = {row.id: row for row in queue.list_workers(conn)}
            dead = [row for row in workers.values() if is_dead(row, now)]
            for row in dead:
                left = self._means.durable.left_by(conn, row.id)
                if left:
                    yield f"{len(left)} bodies of {row.id} on {row.host.split()[0]} wait for a worker of its place"
            held = [permit for permit in queue.list_permits(conn) if permit.worker and permit.worker not in workers]
            for permit in held:
                yield f"{permit.attempt_id} holds a permit for a worker that is gone"

    def _disk(self) -> str:
        free = shutil.disk_usage(self._means.settings.state_dir).free
        return f"only {free >> 20} MiB are free on the disk" if free < _LITTLE else ""
