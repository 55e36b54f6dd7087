"""The ledger is whole, or ``audit verify`` names the first bad record."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
import sqlalchemy as sa

from interlock.clock import SystemClock
from interlock.engine.ledger import GENESIS, Ledger
from interlock.model.canon import canonical
from interlock.model.plan import Task
from interlock.model.run import Run
from interlock.store import rows
from interlock.store.database import Database

RUNS = ("run_a", "run_b")
EACH = 4


class Book:
    """Two runs whose records alternate, with a checkpoint at the start and the end of each."""

    def __init__(self, place: Path) -> None:
        self.database = Database(f"sqlite:///{place / 'it.db'}")
        self.database.migrate()
        self.anchor = place / "ledger.anchor"
        self.ledger = Ledger(self.database, SystemClock(), self.anchor)
        for run in RUNS:
            task = Task(text="t")
            stored = Run(id=run, task=task, environment="development", submitted_at=datetime.now(UTC))
            with self.database.write() as conn:
                rows.insert_run(conn, stored)
                self.ledger.append(conn, run, "task.submitted", {"task": "t"}, actor="rosa")
                point = self.ledger.checkpoint(conn)
            self.ledger.anchor(point)
        for number in range(EACH - 1):
            for run in RUNS:
                self.write(run, f"step.{number}")
        with self.database.write() as conn:
            point = self.ledger.checkpoint(conn)
        self.ledger.anchor(point)

    def write(self, run: str, kind: str) -> None:
        with self.database.write() as conn:
            self.ledger.append(conn, run, kind, {"what": kind}, actor="rosa")

    def change(self, *statements: str) -> None:
        with self.database.write() as conn:
            for statement in statements:
                conn.execute(sa.text(statement))

    def body(self, seq: int) -> bytes:
        with self.database.read() as conn:
            return bytes(conn.execute(sa.text(f"SELECT body FROM il_ledger WHERE seq = {seq}")).scalar_one())  # noqa: S608 - a number of ours

    def put(self, seq: int, body: bytes, *, rehash: bool) -> None:
        with self.database.write() as conn:
            digest = hashlib.sha256(body).hexdigest()
            if not rehash:
                digest = str(
                    conn.execute(sa.text("SELECT hash FROM il_ledger WHERE seq = :seq"), {"seq": seq}).scalar()
                )
            query = sa.text("UPDATE il_ledger SET body = :body, hash = :hash WHERE seq = :seq")
            conn.execute(query, {"body": body, "seq": seq, "hash": digest})

    def forge(self) -> None:
        """Write another history over this one, with every hash right: what somebody with the code can do."""
        with self.database.write() as conn:
            heads: dict[str, str] = {}
            total = GENESIS
            for row in conn.execute(sa.text("SELECT seq, run_id, body FROM il_ledger ORDER BY seq")).all():
                record = orjson.loads(row.body)
                record["actor"] = "nobody"
                record["prev"] = heads.get(row.run_id, GENESIS)
                body = canonical(record)
                digest = heads[row.run_id] = hashlib.sha256(body).hexdigest()
                total = hashlib.sha256(f"{total}{digest}".encode()).hexdigest()
                values = {"body": body, "hash": digest, "total": total, "seq": row.seq}
                query = "UPDATE il_ledger SET body = :body, hash = :hash, total = :total WHERE seq = :seq"
                conn.execute(sa.text(query), values)
            conn.execute(sa.text("DELETE FROM il_checkpoint"))
            self.ledger.checkpoint(conn)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    made = Book(tmp_path)
    yield made
    made.database.close()


Tampering = Callable[[Book], None]
LAST = 2 * EACH

CASES: dict[str, tuple[Tampering, str]] = {
    "a changed record": (lambda it: it.put(3, it.body(3).replace(b"rosa", b"ross"), rehash=False), "record 3 "),
    "a changed record with its hash": (lambda it: it.put(3, it.body(3).replace(b"rosa", b"ross"), rehash=True), "record 3 "),
    "the last record with its hash": (
        lambda it: it.put(LAST, it.body(LAST).replace(b"rosa", b"ross"), rehash=True), f"record {LAST} "
    ),
    "a kind in its column only": (lambda it: it.change("UPDATE il_ledger SET kind = 'x' WHERE seq = 4"), "record 4 "),
    "a record that is no JSON": (lambda it: it.put(4, b"{", rehash=True), "record 4 "),
    "a removed record": (lambda it: it.change("DELETE FROM il_ledger WHERE seq = 5"), "record 5 "),
    "a removed record, the gap closed": (
        lambda it: it.change("DELETE FROM il_ledger WHERE seq = 5", "UPDATE il_ledger SET seq = seq - 1 WHERE seq > 5"),
        "record 5 ",
    ),
    "two records that changed places": (
        lambda it: it.change(
            "UPDATE il_ledger SET seq = 99 WHERE seq = 3", "UPDATE il_ledger SET seq = 3 WHERE seq = 5",
            "UPDATE il_ledger SET seq = 5 WHERE seq = 99",
        ),
        "record 3 ",
    ),
    "a cut-off end": (lambda it: it.change("DELETE FROM il_ledger WHERE seq > 6"), "record 7 "),
    "a cut-off end with its checkpoint": (
        lambda it: it.change("DELETE FROM il_ledger WHERE seq > 6", "DELETE FROM il_checkpoint WHERE number = 3"),
        "record 7 or before",
    ),
    "everything": (
        lambda it: it.change("DELETE FROM il_ledger", "DELETE FROM il_checkpoint", "DELETE FROM il_run"), "record 1 or before"
    ),
    "a whole run": (
        lambda it: it.change("DELETE FROM il_ledger WHERE run_id = 'run_b'", "DELETE FROM il_run WHERE id = 'run_b'"),
        "record 2 ",
    ),
    "a run without a record": (
        lambda it: it.change(
            "INSERT INTO il_run (id, state, run, submitted_at) VALUES ('run_c', 'ended', '{}', 0)"
        ),
        "run run_c ",
    ),
    "a changed checkpoint": (lambda it: it.change("UPDATE il_checkpoint SET size = 1 WHERE number = 2"), "checkpoint 2 "),
    "a removed checkpoint": (lambda it: it.change("DELETE FROM il_checkpoint WHERE number = 2"), "checkpoint 2 "),
    "the file outside": (lambda it: it.anchor.unlink(), "ledger.anchor is missing"),
    "another history with right hashes": (lambda it: it.forge(), "checkpoint 1 "),
}  # fmt: skip


def test_an_untouched_book_is_whole_and_says_what_it_holds(book: Book) -> None:
    result = book.ledger.verify()
    assert (result.problem, result.records, result.runs, result.checkpoints, result.anchored) == ("", LAST, 2, 3, 3)


@pytest.mark.parametrize(("tamper", "said"), CASES.values(), ids=CASES.keys())
def test_what_was_done_to_the_book_is_found(book: Book, tamper: Tampering, said: str) -> None:
    tamper(book)
    assert said in book.ledger.verify().problem


def test_somebody_who_rewrites_database_and_anchor_is_found_by_a_copy_of_the_anchor_only(book: Book) -> None:
    copy = book.anchor.read_bytes()
    book.forge()
    book.anchor.unlink()
    with book.database.write() as conn:
        point = book.ledger.checkpoint(conn)
    book.ledger.anchor(point)
    assert not book.ledger.verify().problem
    assert not book.anchor.read_bytes().startswith(copy)


def test_a_run_that_ends_while_the_ledger_is_verified_is_not_taken_for_tampering(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'it.db'}")
    database.migrate()
    ledger = Ledger(database, SystemClock(), tmp_path / "anchor")

    def write(kind: str) -> None:
        with database.write() as conn:
            ledger.append(conn, "run_x", kind, {}, actor="somebody")
            point = ledger.checkpoint(conn)
        ledger.anchor(point)

    write("task.submitted")
    seen: list[str] = []

    def meanwhile(_conn: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        """Before each query of the verification somebody else ends a run."""
        if statement.startswith("SELECT") and len(seen) < 10 and "verify" in seen:
            seen.append("written")
            seen.remove("verify")
            write("run.ended")
            seen.append("verify")

    sa.event.listen(database.engine, "before_cursor_execute", meanwhile)
    seen.append("verify")
    result = ledger.verify()
    sa.event.remove(database.engine, "before_cursor_execute", meanwhile)
    assert "written" in seen
    assert not result.problem
    assert not ledger.verify().problem
    database.close()
