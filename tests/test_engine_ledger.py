"""The ledger: what was changed, removed, moved or cut off is found, and the first bad record is named. On both stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import sqlalchemy as sa
from parts import Parts

from interlock.store import schema as t

Make = Callable[..., Parts]


@pytest.fixture
def book(parts: Make, tmp_path: Path) -> Parts:
    """Nine records of three runs, with a checkpoint after each six and nine."""
    made = parts(anchor=tmp_path / "ledger.anchor")
    runs = [made.run(f"task {number}") for number in range(3)]
    for kind in ("plan.made", "run.ended"):
        for run_id in runs:
            with made.database.write() as conn:
                made.ledger.append(conn, run_id, kind, {"what": kind}, actor="interlock", once=kind)
        with made.database.write() as conn:
            point = made.ledger.checkpoint(conn)
        made.ledger.anchor(point)
    return made


def tamper(book: Parts, *statements: sa.Executable) -> str:
    with book.database.write() as conn:
        for statement in statements:
            conn.execute(statement)
    return book.ledger.verify().problem


def body(book: Parts, seq: int) -> bytes:
    with book.database.read() as conn:
        found: bytes = conn.execute(sa.select(t.ledger.c.body).where(t.ledger.c.seq == seq)).scalar_one()
        return found


def at(seq: int) -> sa.ColumnElement[bool]:
    return t.ledger.c.seq == seq


def test_an_untouched_book_is_whole(book: Parts) -> None:
    found = book.ledger.verify()
    assert (found.problem, found.records, found.runs, found.checkpoints, found.anchored) == ("", 9, 3, 2, 2)


def test_a_record_is_written_once_for_its_word(book: Parts) -> None:
    with book.database.write() as conn:
        run_id = book.ledger.entries()[0].run_id
        again = book.ledger.append(conn, run_id, "plan.made", {"what": "other"}, actor="x", once="plan.made")
    assert again.data["what"] == "plan.made"
    assert book.ledger.verify().records == 9


def test_a_changed_record_is_named(book: Parts) -> None:
    changed = body(book, 4).replace(b"plan", b"plot")
    assert tamper(book, t.ledger.update().where(at(4)).values(body=changed)).startswith("record 4 (plan.made of run_")


def test_a_changed_column_is_named_though_the_bytes_are_the_same(book: Parts) -> None:
    assert "record 5" in tamper(book, t.ledger.update().where(at(5)).values(kind="run.ended"))


def test_a_record_that_was_changed_together_with_its_hash_breaks_the_chain_there(book: Parts) -> None:
    import hashlib

    changed = orjson.dumps({**orjson.loads(body(book, 4)), "actor": "mallory"}, option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(changed).hexdigest()
    problem = tamper(book, t.ledger.update().where(at(4)).values(body=changed, hash=digest))
    assert problem.startswith("record 4")


def test_a_removed_record_is_named(book: Parts) -> None:
    assert tamper(book, t.ledger.delete().where(at(3))).startswith("record 3 is missing")


def test_two_records_that_changed_places_are_named(book: Parts) -> None:
    move = [t.ledger.update().where(at(a)).values(seq=b) for a, b in ((4, 99), (5, 4), (99, 5))]
    assert "record 4" in tamper(book, *move)


def test_a_cut_off_end_is_found_by_a_checkpoint_and_by_the_file_when_that_is_cut_off_too(book: Parts) -> None:
    assert tamper(book, t.ledger.delete().where(t.ledger.c.seq > 7)).startswith("record 8 and what follows is missing")
    problem = tamper(
        book, t.ledger.delete().where(t.ledger.c.seq > 6), t.checkpoints.delete().where(t.checkpoints.c.number == 2)
    )
    assert problem.startswith("record 7 or before: checkpoint 2 over 9 records stands in ledger.anchor")


def test_a_whole_run_that_was_removed_is_found(book: Parts) -> None:
    run_id = book.ledger.entries()[1].run_id
    problem = tamper(
        book, t.ledger.delete().where(t.ledger.c.run_id == run_id), t.runs.delete().where(t.runs.c.id == run_id)
    )
    assert problem.startswith("record 2 is missing")


def test_a_run_without_records_is_found(book: Parts) -> None:
    extra = t.runs.insert().values(id="run_x", state="ended", run="{}", submitted_at=0)
    assert tamper(book, extra) == "run run_x has no record at all"


def test_a_book_rewritten_from_scratch_differs_from_the_file(book: Parts, tmp_path: Path) -> None:
    with book.database.write() as conn:
        conn.execute(t.ledger.delete())
        conn.execute(t.checkpoints.delete())
        for run_id in conn.execute(sa.select(t.runs.c.id)).scalars().all():
            book.ledger.append(conn, run_id, "task.submitted", {"task": "another story"}, actor="mallory")
        book.ledger.checkpoint(conn)
    assert "stands in ledger.anchor" in book.ledger.verify().problem


def test_a_missing_file_is_said_where_there_is_one_host_only(book: Parts, tmp_path: Path) -> None:
    (tmp_path / "ledger.anchor").unlink()
    problem = book.ledger.verify().problem
    assert ("is missing" in problem) == book.database.is_sqlite


def test_a_checkpoint_that_was_changed_or_removed_is_named(book: Parts) -> None:
    first = t.checkpoints.c.number == 1
    assert tamper(book, t.checkpoints.update().where(first).values(size=5)) == "checkpoint 1 was changed"
    assert tamper(book, t.checkpoints.delete().where(first)) == "checkpoint 1 is missing or out of order"


def test_bytes_that_are_no_record_are_a_finding_and_no_crash(book: Parts) -> None:
    import hashlib

    junk = b"\xff{not json"
    problem = tamper(book, t.ledger.update().where(at(2)).values(body=junk, hash=hashlib.sha256(junk).hexdigest()))
    assert "record 2" in problem
