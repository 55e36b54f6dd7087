"""Everything that happened, in one chained book.

Each record's hash covers its exact bytes, and the bytes hold the hash of the run's record before it: changing, removing
or reordering a record breaks the run's chain. ``seq`` counts over all runs without a gap and ``total`` chains all
records of all runs, so that a whole run cannot be cut out. Checkpoints repeat size and total; they are written to a
file outside the database as well, so that a truncated end is found. A chain does not stop somebody who can rewrite the
database *and* that file: keep a copy of the file elsewhere.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from interlock.errors import LedgerError
from interlock.model.canon import canonical
from interlock.model.ledger import Checkpoint, LedgerEntry
from interlock.ports import Clock
from interlock.reading.secrets import redact
from interlock.store import schema as t
from interlock.store.database import Database, micros, moment

GENESIS = "0" * 64
"""What the first record of a chain points to."""

SEARCHED = 20_000
"""Records that one search reads at most (about 0.1 s)."""

_TEXT_LIMIT = 20_000
"""Characters of one text in a record; longer ones are cut and say so."""


_LAST = sa.select(t.ledger.c.seq, t.ledger.c.total).order_by(t.ledger.c.seq.desc()).limit(1)
_LAST_OF_RUN = (
    sa.select(t.ledger.c.number, t.ledger.c.hash)
    .where(t.ledger.c.run_id == sa.bindparam("run"))
    .order_by(t.ledger.c.number.desc())
    .limit(1)
)
_RECORDED = sa.select(t.ledger.c.body, t.ledger.c.hash).where(
    t.ledger.c.run_id == sa.bindparam("run"), t.ledger.c.once == sa.bindparam("once")
)
"""Made once: putting a statement together costs SQLAlchemy three times as much as executing it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What ``audit verify`` found. ``problem`` is empty when all is well."""

    records: int
    runs: int
    checkpoints: int
    anchored: int
    taken_back: int = 0
    """Records that the file outside had seen and that a restore from an older backup took back, as the ledger says."""
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What the file outside the database says of a copy of the book."""

    keeps: int
    """The last checkpoint up to which they agree."""
    differs: int
    """The first checkpoint that is another one here and there: the copy was changed, or its history is another. 0: none."""
    newer: int
    """Records that the file has seen and that the copy does not have yet."""


class Ledger:
    """The book of one store."""

    def __init__(self, database: Database, clock: Clock, anchor: Path | None) -> None:
        self._database = database
        self._clock = clock
        self._anchor = anchor

    def append(
        self, conn: sa.Connection, run_id: str, kind: str, data: Mapping[str, Any], *, actor: str, once: str = ""
    ) -> LedgerEntry:
        """Write a record in the caller's transaction, redacted. With ``once``, a second call returns the first record."""
        if once and (found := self.recorded(conn, run_id, once)):
            return found
        ends = _ends(conn)
        last = ends.get("") or conn.execute(_LAST).first()
        before = ends.get(run_id) or conn.execute(_LAST_OF_RUN, {"run": run_id}).first()
        seq, number = (last[0] if last else 0) + 1, (before[0] if before else 0) + 1
        at = micros(self._clock.now())
        body = canonical({
            "seq": seq, "run_id": run_id, "number": number, "at": at, "kind": kind, "actor": actor,
            "data": _storable(data), "prev": before[1] if before else GENESIS,
        })  # fmt: skip
        digest = hashlib.sha256(body).hexdigest()
        total = _link(last[1] if last else GENESIS, digest)
        conn.execute(t.ledger.insert(), {
            "seq": seq, "run_id": run_id, "number": number, "at": at, "kind": kind, "once": once or None, "body": body,
            "hash": digest, "total": total,
        })  # fmt: skip
        ends[""], ends[run_id] = (seq, total), (number, digest)
        return _entry(body, digest)

    def recorded(self, conn: sa.Connection, run_id: str, once: str) -> LedgerEntry | None:
        """The record that was written with this ``once``, if it was."""
        row = conn.execute(_RECORDED, {"run": run_id, "once": once}).first()
        return _entry(row.body, row.hash) if row else None

    def checkpoint(self, conn: sa.Connection) -> Checkpoint:
        """Note the ledger's size and total in the caller's transaction; :meth:`anchor` it after the commit."""
        head = conn.execute(_LAST).first()
        last = conn.execute(
            sa.select(t.checkpoints.c.number, t.checkpoints.c.hash).order_by(t.checkpoints.c.number.desc()).limit(1)
        ).first()
        values: dict[str, Any] = {
            "number": (last.number if last else 0) + 1,
            "at": micros(self._clock.now()),
            "size": head.seq if head else 0,
            "total": head.total if head else GENESIS,
            "prev": last.hash if last else GENESIS,
        }
        digest = hashlib.sha256(canonical(values)).hexdigest()
        conn.execute(t.checkpoints.insert().values(**values, hash=digest))
        return Checkpoint(**{**values, "at": moment(values["at"]), "hash": digest})

    def anchor(self, checkpoint: Checkpoint) -> None:
        """Write a committed checkpoint to the file outside the database; whole lines, whoever else writes there."""
        self._note({
            "number": checkpoint.number, "size": checkpoint.size, "total": checkpoint.total, "hash": checkpoint.hash,
        })  # fmt: skip

    def _note(self, facts: Mapping[str, Any]) -> None:
        if self._anchor is None:
            return
        self._anchor.parent.mkdir(parents=True, exist_ok=True)
        line = orjson.dumps(facts) + b"\n"
        handle = os.open(self._anchor, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)

    def entries(
        self, *, run_id: str = "", after: int = 0, limit: int = 1000, conn: sa.Connection | None = None
    ) -> list[LedgerEntry]:
        """Records in order, after the sequence number ``after``; with ``conn`` as that transaction sees them."""
        query = (
            sa.select(t.ledger.c.body, t.ledger.c.hash)
            .where(t.ledger.c.seq > after, t.ledger.c.body != b"")  # sealed ones are in the archive
            .order_by(t.ledger.c.seq)
        )
        if run_id:
            query = query.where(t.ledger.c.run_id == run_id)
        if conn is not None:
            return [_entry(row.body, row.hash) for row in conn.execute(query.limit(limit))]
        with self._database.read() as own:
            return [_entry(row.body, row.hash) for row in own.execute(query.limit(limit))]

    def search(
        self, *, text: str = "", kind: str = "", actor: str = "", run_id: str = "", before: int = 0, limit: int = 100
    ) -> tuple[list[LedgerEntry], int]:
        """Records newest first, below the sequence number ``before`` when it is not 0, and where to go on (0: the end).

        ``kind`` is a beginning such as ``approval.``; ``text`` is looked for in the record as written. One call reads
        :data:`SEARCHED` records at most, so a page may be short, or empty, and still not the last.
        """
        query = sa.select(t.ledger.c.seq, t.ledger.c.body, t.ledger.c.hash).order_by(t.ledger.c.seq.desc())
        if before:
            query = query.where(t.ledger.c.seq < before)
        if run_id:
            query = query.where(t.ledger.c.run_id == run_id)
        if kind:
            query = query.where(t.ledger.c.kind.startswith(kind, autoescape=True))
        needle = canonical(text)[1:-1].lower()
        found: list[LedgerEntry] = []
        seen = last = 0
        with self._database.read() as conn:
            for row in conn.execute(query.limit(SEARCHED)):
                seen, last = seen + 1, row.seq
                if needle not in row.body.lower():
                    continue
                entry = _entry(row.body, row.hash)
                if actor and entry.actor != actor:
                    continue
                found.append(entry)
                if len(found) == limit:
                    return found, last
        return found, last if seen == SEARCHED else 0

    def newest(self) -> int:
        """The sequence number of the last record, 0 for none."""
        with self._database.read() as conn:
            return conn.execute(sa.select(sa.func.max(t.ledger.c.seq))).scalar() or 0

    def of_kind(self, kind: str) -> list[LedgerEntry]:
        """All records of one kind, oldest first."""
        with self._database.read() as conn:
            return _of_kind(conn, kind)

    def stream(self, *, run_id: str = "") -> Iterator[LedgerEntry]:
        """All records in order, a thousand at a time."""
        after = 0
        while page := self.entries(run_id=run_id, after=after):
            yield from page
            after = page[-1].seq

    def verify(self) -> Verification:
        """Recompute every hash and compare every checkpoint and anchor; the first bad record is named in ``problem``."""
        vouched = self.vouched()
        with self._database.read() as conn:
            # other databases have one file on each host that submits, whose first line may be on its way
            missing = vouched is None and self._database.is_sqlite and bool(self._anchor) and self.vouched() is None
            return self._verify(conn, vouched, missing=missing)

    def vouched(self) -> bytes | None:
        """The file outside the database as it is now; None when there is none."""
        return self._anchor.read_bytes() if self._anchor is not None and self._anchor.exists() else None

    def verify_copy(self, conn: sa.Connection, vouched: bytes | None = None) -> Verification:
        """As :meth:`verify`, of the finished copy of the book that ``conn`` sees; ``vouched`` is older than the copy."""
        return self._verify(conn, vouched, missing=False)

    def _verify(self, conn: sa.Connection, vouched: bytes | None, *, missing: bool) -> Verification:
        checker = _Checker(conn, vouched, self._anchor.name if self._anchor else "", missing=missing)
        try:
            checker.check()
        except LedgerError as error:
            return checker.result(str(error))
        except (ValueError, KeyError, TypeError) as error:
            return checker.result(f"record {checker.records + 1} is not readable: {error}")
        return checker.result("")

    def compare(self, conn: sa.Connection) -> Comparison:
        """What the file outside says of the book that ``conn`` sees, a backup's."""
        points = {row.number: row.hash for row in conn.execute(sa.select(t.checkpoints))}
        vouched = _vouched((self.vouched() or b"").splitlines(), _restores(conn))
        other = [noted["number"] for noted in vouched if points.get(noted["number"], noted["hash"]) != noted["hash"]]
        differs = min(other, default=0)
        size = conn.execute(sa.select(sa.func.max(t.ledger.c.seq))).scalar() or 0
        newest = max((noted["size"] for noted in vouched), default=0)
        return Comparison(keeps=differs - 1 if differs else len(points), differs=differs, newer=max(0, newest - size))

    def announce(self, restore: str, comparison: Comparison) -> None:
        """Say in the file outside, before it happens, that a restore takes back what follows the checkpoint ``keeps``.

        It counts only when the book has the record ``store.restored`` of that restore: one that was broken off is nothing.
        """
        self._note({"restore": restore, "keeps": comparison.keeps, "newer": comparison.newer})


class _Checker:
    """One pass over the book, while others may write to it.

    What is written last (the anchor's lines, then checkpoints and runs, then records) is read first: whatever was
    vouched for when the pass began must be in the book, and what comes later is no lie.
    """

    def __init__(self, conn: sa.Connection, vouched: bytes | None, name: str, *, missing: bool) -> None:
        self._conn = conn
        self._lines = vouched
        self._name = name
        self._missing = missing
        self.records = self._checkpoints = self._anchored = self._taken_back = 0
        self._heads: dict[str, tuple[int, str]] = {}
        self._total = GENESIS
        self._sealed: set[str] = set()

    def result(self, problem: str) -> Verification:
        runs = sum(not name.startswith("operator:") for name in self._heads)  # operators' own chains are no runs
        return Verification(
            records=self.records, runs=runs, checkpoints=self._checkpoints, anchored=self._anchored,
            taken_back=self._taken_back, problem=problem,
        )  # fmt: skip

    def check(self) -> None:
        points = list(self._conn.execute(sa.select(t.checkpoints).order_by(t.checkpoints.c.number)))
        known = set(self._conn.execute(sa.select(t.runs.c.id)).scalars())
        at_size = self._checked_points(points)
        self._sealed = {run_id for entry in _of_kind(self._conn, "ledger.sealed") for run_id in entry.data["runs"]}
        book = sa.select(t.ledger).order_by(t.ledger.c.seq).execution_options(yield_per=1000)
        with self._conn.execute(book) as records:
            for row in records:
                self._check_row(row)
                for point in at_size.pop(row.seq, ()):
                    if point.total != self._total:
                        _bad(f"record {row.seq}: everything up to here differs from checkpoint {point.number}")
        missing = [size for size in at_size if size > self.records]
        if missing:
            _bad(f"record {self.records + 1} and what follows is missing: a checkpoint has seen {max(missing)} records")
        self._check_anchor({point.number: point for point in points})
        self._check_runs(known)

    def _checked_points(self, points: Sequence[Any]) -> dict[int, list[Any]]:
        at_size: dict[int, list[Any]] = {}
        previous = GENESIS
        for number, point in enumerate(points, start=1):
            values = {
                "number": point.number,
                "at": point.at,
                "size": point.size,
                "total": point.total,
                "prev": point.prev,
            }
            if point.number != number or point.prev != previous:
                _bad(f"checkpoint {number} is missing or out of order")
            if hashlib.sha256(canonical(values)).hexdigest() != point.hash:
                _bad(f"checkpoint {number} was changed")
            previous = point.hash
            at_size.setdefault(point.size, []).append(point)
            self._checkpoints = number
        return at_size

    def _check_row(self, row: Any) -> None:
        place = f"record {row.seq} ({row.kind} of {row.run_id})"
        if row.seq != self.records + 1:
            _bad(f"record {self.records + 1} is missing (the next one is {row.seq}, {row.kind} of {row.run_id})")
        number, previous = self._heads.get(row.run_id, (0, GENESIS))
        if not row.body and row.run_id in self._sealed:  # archived: its hash still stands in the chain over all runs
            record = {"number": row.number, "prev": previous}
        else:
            record = self._read(row, place)
        if record["number"] != number + 1 or record["prev"] != previous:
            _bad(f"{place} does not follow the record before it: one was removed or moved")
        self._total = _link(self._total, row.hash)
        if self._total != row.total:
            _bad(f"{place}: the chain over all runs is broken here")
        self._heads[row.run_id] = (record["number"], row.hash)
        self.records = row.seq

    def _read(self, row: Any, place: str) -> dict[str, Any]:
        if hashlib.sha256(row.body).hexdigest() != row.hash:
            _bad(f"{place} was changed")
        record: dict[str, Any] = orjson.loads(row.body)
        shown = (record["seq"], record["run_id"], record["number"], record["at"], record["kind"])
        if shown != (row.seq, row.run_id, row.number, row.at, row.kind):
            _bad(f"{place} was changed: its columns differ from what was hashed")
        return record

    def _check_anchor(self, points: Mapping[int, Any]) -> None:
        if self._missing and len(points) > 1:
            _bad(f"the file of checkpoints {self._name} is missing: nothing outside the database vouches for it")
        lines = (self._lines or b"").splitlines()
        restores = _restores(self._conn)
        for noted in _vouched(lines, restores):
            point = points.get(noted["number"])
            if point is None or point.hash != noted["hash"]:
                hint = "; if a restore on another host took it back, move this file away" if restores else ""
                _bad(
                    f"record {min(self.records, noted['size']) + 1} or before: checkpoint {noted['number']} over "
                    f"{noted['size']} records stands in {self._name}, the database has lost or changed it{hint}"
                )
            self._anchored += 1
        announced = [orjson.loads(line) for line in lines if b'"restore"' in line]
        self._taken_back = sum(each["newer"] for each in announced if each["restore"] in restores)

    def _check_runs(self, known: set[str]) -> None:
        unrecorded = sorted(known - set(self._heads))
        if unrecorded:
            _bad(f"run {unrecorded[0]} has no record at all")


def _ends(conn: sa.Connection) -> dict[str, Any]:
    """Where the chains end, as far as this transaction has written them: nobody else writes meanwhile."""
    known, ends = conn.info.get("ledger", (None, {}))
    now = conn.get_transaction()
    if known is not now or now is None:
        ends = {}
        conn.info["ledger"] = (now, ends)
    return ends  # type: ignore[no-any-return]


def _bad(problem: str) -> None:
    raise LedgerError(problem)


def _of_kind(conn: sa.Connection, kind: str) -> list[LedgerEntry]:
    query = sa.select(t.ledger.c.body, t.ledger.c.hash).where(t.ledger.c.kind == kind).order_by(t.ledger.c.seq)
    return [_entry(row.body, row.hash) for row in conn.execute(query)]


def _restores(conn: sa.Connection) -> set[str]:
    """The restores that the book itself knows of."""
    return {str(entry.data["restore"]) for entry in _of_kind(conn, "store.restored")}


def _vouched(lines: Sequence[bytes], restores: set[str]) -> list[dict[str, Any]]:
    """The checkpoints that the file outside vouches for: without those that a restore has taken back."""
    vouched: list[dict[str, Any]] = []
    for line in lines:
        noted = orjson.loads(line)
        if "restore" not in noted:
            vouched.append(noted)
        elif noted["restore"] in restores:
            vouched = [each for each in vouched if each["number"] <= noted["keeps"]]
    return vouched


def _link(total: str, digest: str) -> str:
    return hashlib.sha256(f"{total}{digest}".encode()).hexdigest()


def _entry(body: bytes, digest: str) -> LedgerEntry:
    record = orjson.loads(body)
    return LedgerEntry(**{**record, "at": moment(record["at"]), "hash": digest})


def _storable(value: Any) -> Any:
    """Redacted, cut, and free of what has no canonical form."""
    if isinstance(value, str):
        clean = redact(value)
        return clean if len(clean) <= _TEXT_LIMIT else f"{clean[:_TEXT_LIMIT]}… [{len(clean) - _TEXT_LIMIT} more]"
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, Mapping):
        return {_ascii(redact(str(key))): _storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_storable(item) for item in value]
    return redact(str(value))


def _ascii(key: str) -> str:
    return key if key.isascii() else key.encode("ascii", "backslashreplace").decode()
