"""A store comes back whole, on either database, or not at all; and whatever a restore takes back is said."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from postgres import PostgresForTests

from interlock.app import build
from interlock.config import load_settings
from interlock.errors import LedgerError, StoreError, UsageError
from interlock.model.approval import ApprovalState
from interlock.model.identity import Being, Role
from interlock.model.run import EffectState, OutcomeKind, RunState
from interlock.service import Service
from interlock.store import copies, queue
from interlock.store import schema as t
from interlock.store.database import Database

ROAD = Path(__file__).parent / "support" / "road.py"
HALF_DONE = "agents:\n  second: {needs: [first]}\nworkspace: {deliver: merge}\nworker: {lease_s: 3, heartbeat_s: 1}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    place = tmp_path / "project"
    place.mkdir()
    (place / "README.md").write_text("a project\n")
    (place / "interlock.yaml").write_text(HALF_DONE)
    for args in (["init", "-q", "-b", "main"], ["add", "--all"],
                 ["-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "-m", "start"]):  # fmt: skip
        subprocess.run(["git", *args], cwd=place, check=True)
    return place


@pytest.fixture
def opened(project: Path) -> Iterator[Callable[[str], Service]]:
    """Makes the project's service on the store of that URL; they are closed at the end."""
    services: list[Service] = []

    def make(url: str) -> Service:
        settings = load_settings(project).model_copy(update={"store_url": url})
        services.append(build(settings))
        return services[-1]

    yield make
    for service in services:
        service.close()


@pytest.fixture(params=["sqlite", "postgres"])
def other_url(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresForTests, ready_postgres: str
) -> Iterator[str]:
    """Another store without rows, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'other.db'}"
        return
    with postgres.database(ready_postgres) as url:
        yield url


def note(service: Service, *words: str) -> None:
    """Something happens: a record and a checkpoint each."""
    means = service._means
    for word in words:
        with means.database.write() as conn:
            means.ledger.append(conn, "operator:test", "noted", {"word": word}, actor="otto")
            point = means.ledger.checkpoint(conn)
        means.ledger.anchor(point)


def words(service: Service) -> list[str]:
    return [str(entry.data["word"]) for entry in service.ledger.stream() if entry.kind == "noted"]


def contents(database: Database) -> dict[str, list[Any]]:
    with database.read() as conn:
        return {table.name: [tuple(row) for row in conn.execute(sa.select(table).order_by(*table.primary_key))]
                for table in copies._COPIED if table not in {t.ledger, t.checkpoints}}  # fmt: skip


def half_done(project: Path) -> None:
    """A run whose process was killed between the intent and the outcome of a call outside."""
    done = subprocess.run(
        [sys.executable, str(ROAD), str(project), "submit", "inside:effect"], check=False, timeout=120
    )
    assert done.returncode == -signal.SIGKILL


def finish(project: Path, url: str) -> int:
    env = {**os.environ, "INTERLOCK_STORE_URL": url}
    return subprocess.run(
        [sys.executable, str(ROAD), str(project), "resume"], env=env, check=False, timeout=120
    ).returncode


def test_a_store_comes_back_with_everything_in_it_on_either_database(
    opened: Callable[[str], Service], store_url: str, other_url: str, tmp_path: Path
) -> None:
    service = opened(store_url)
    note(service, "one", "two")
    with service._means.database.write() as conn:
        queue.set_limit(conn, "max_concurrent", 7)
    made = service.storage.backup(tmp_path / "it.backup", actor="otto")
    before = contents(service._means.database)
    note(service, "three")
    other = opened(other_url)
    done = other.storage.restore(tmp_path / "it.backup", actor="otto", digest=made.digest)
    assert (done.records, done.replaced) == (made.records, None)
    assert words(other) == ["one", "two"]
    assert contents(other._means.database) == before
    assert other.ledger.verify().problem == ""
    restored = [entry for entry in other.ledger.stream() if entry.kind == "store.restored"]
    assert [(entry.actor, entry.data["backup"]) for entry in restored] == [("otto", made.digest)]
    note(other, "four")
    assert other.ledger.verify().problem == ""
    assert [entry.data["digest"] for entry in service.ledger.stream() if entry.kind == "store.backed_up"] == [
        made.digest
    ]


def test_a_backup_is_private_and_overwrites_nothing(
    opened: Callable[[str], Service], store_url: str, tmp_path: Path
) -> None:
    service = opened(store_url)
    note(service, "one")
    file = tmp_path / "it.backup"
    service.storage.backup(file, actor="otto")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="never overwrites"):
        service.storage.backup(file, actor="otto")
    assert sorted(path.name for path in tmp_path.glob("it.backup*")) == ["it.backup"]


def test_what_is_written_while_a_backup_is_made_is_in_it_as_a_whole_or_not_at_all(
    opened: Callable[[str], Service], store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, busy = opened(store_url), opened(store_url)
    note(service, "before")
    copy = copies._copy

    def meanwhile(source: sa.Connection, target: sa.Connection, table: sa.Table) -> tuple[int, str]:
        note(busy, "meanwhile")
        return copy(source, target, table)

    monkeypatch.setattr(copies, "_copy", meanwhile)
    service.storage.backup(tmp_path / "it.backup", actor="otto")
    with copies.read(tmp_path / "it.backup") as backup:
        assert service._means.ledger.verify_copy(backup.conn).problem == ""
        assert backup.about.records in {1, 2}  # the look begins with the first table, before or after its note
        assert backup.about.tables["il_checkpoint"][0] == backup.about.records


def test_a_store_that_is_not_empty_is_replaced_only_when_told_and_is_kept(
    opened: Callable[[str], Service], store_url: str, tmp_path: Path
) -> None:
    service = opened(store_url)
    note(service, "one")
    service.storage.backup(tmp_path / "it.backup", actor="otto")
    note(service, "two", "three")
    with pytest.raises(UsageError, match="not empty: --replace"):
        service.storage.restore(tmp_path / "it.backup", actor="otto")
    assert words(service) == ["one", "two", "three"]
    done = service.storage.restore(tmp_path / "it.backup", actor="otto", replace_it=True)
    assert words(service) == ["one"]
    assert done.taken_back == 3  # two notes, and that a backup was made
    check = service.ledger.verify()
    assert (check.problem, check.taken_back) == ("", 3)
    assert done.replaced is not None
    note(service, "four")
    service.storage.restore(done.replaced, actor="otto", replace_it=True)
    assert words(service) == ["one", "two", "three"]
    assert service.ledger.verify().problem == ""


def test_who_cuts_the_ledger_is_still_found_after_a_restore(
    opened: Callable[[str], Service], store_url: str, tmp_path: Path
) -> None:
    service = opened(store_url)
    note(service, "one", "two")
    service.storage.backup(tmp_path / "it.backup", actor="otto")
    service.storage.restore(tmp_path / "it.backup", actor="otto", replace_it=True)
    note(service, "three")
    with service._means.database.write() as conn:
        newest = service.ledger.newest()
        conn.execute(t.ledger.delete().where(t.ledger.c.seq == newest))
        last = conn.execute(sa.select(sa.func.max(t.checkpoints.c.number))).scalar_one()
        conn.execute(t.checkpoints.delete().where(t.checkpoints.c.number == last))
    assert "stands in ledger" in service.ledger.verify().problem


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_a_forged_record_of_a_restore_excuses_no_loss(opened: Callable[[str], Service], store_url: str) -> None:
    service = opened(store_url)
    note(service, "one", "two")
    means = service._means
    with means.database.write() as conn:
        conn.execute(t.ledger.delete().where(t.ledger.c.seq == 2))
        conn.execute(t.checkpoints.delete().where(t.checkpoints.c.number == 2))
        means.ledger.append(conn, "operator:store", "store.restored", {"restore": "rst_forged"}, actor="mallory")
    assert "stands in ledger.anchor" in service.ledger.verify().problem


def forge(file: Path, *, honest_digests: bool) -> None:
    """Change one record, with all hashes that the attacker can reach."""
    with sqlite3.connect(file) as conn:
        if not honest_digests:
            conn.execute("UPDATE il_limit SET most = 99")
            conn.execute("UPDATE il_ledger SET kind = 'forged' WHERE seq = 1")
            return
        conn.execute("DELETE FROM il_ledger")
        conn.execute("DELETE FROM il_checkpoint")
    forged = Database(f"sqlite:///{file}")
    from interlock.clock import SystemClock
    from interlock.engine.ledger import Ledger

    ledger = Ledger(forged, SystemClock(), None)
    with forged.write() as conn:
        ledger.append(conn, "operator:test", "noted", {"word": "lie"}, actor="otto")
        ledger.checkpoint(conn)
    forged.close()
    with sqlite3.connect(file) as conn:
        conn.execute("PRAGMA journal_mode=DELETE")
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.begin() as made:
        about = orjson.loads(made.execute(sa.text("SELECT about FROM il_backup")).scalar_one())
        for table in (t.ledger, t.checkpoints):
            import hashlib

            found = list(made.execute(sa.select(table)))
            text = b"".join(copies._row_bytes(row) for row in found)
            about["tables"][table.name] = [len(found), hashlib.sha256(text).hexdigest()]
        made.execute(sa.text("UPDATE il_backup SET about = :about"), {"about": orjson.dumps(about).decode()})
    engine.dispose()


@pytest.mark.parametrize("honest_digests", [False, True])
def test_a_tampered_backup_is_refused_and_nothing_changes(
    opened: Callable[[str], Service], store_url: str, tmp_path: Path, honest_digests: bool
) -> None:
    service = opened(store_url)
    note(service, "one")
    with service._means.database.write() as conn:
        queue.set_limit(conn, "max_concurrent", 7)
    file = tmp_path / "it.backup"
    made = service.storage.backup(file, actor="otto")
    forge(file, honest_digests=honest_digests)
    with pytest.raises((StoreError, UsageError), match=r"was changed|other|another"):
        service.storage.restore(file, actor="otto", replace_it=not honest_digests)
    with pytest.raises((StoreError, UsageError), match=r"was changed|another"):
        service.storage.restore(file, actor="otto", replace_it=True, digest=made.digest)
    assert words(service) == ["one"]
    assert service.ledger.verify().problem == ""


@pytest.mark.parametrize("bytes_left", [0, 20_000])
def test_half_a_backup_is_refused(
    opened: Callable[[str], Service], store_url: str, tmp_path: Path, bytes_left: int
) -> None:
    service = opened(store_url)
    note(service, *map(str, range(40)))
    file = tmp_path / "it.backup"
    service.storage.backup(file, actor="otto")
    os.truncate(file, bytes_left)
    with pytest.raises((StoreError, UsageError)):
        service.storage.restore(file, actor="otto", replace_it=True)
    assert len(words(service)) == 40


def test_a_ledger_that_is_not_whole_is_backed_up_with_a_loud_no(
    opened: Callable[[str], Service], store_url: str, tmp_path: Path
) -> None:
    service = opened(store_url)
    note(service, "one", "two")
    with service._means.database.write() as conn:
        conn.execute(t.ledger.update().where(t.ledger.c.seq == 1).values(kind="other"))
    with pytest.raises(LedgerError, match="record 1"):
        service.storage.backup(tmp_path / "it.backup", actor="otto")
    with pytest.raises(LedgerError, match="record 1"):
        service.storage.restore(tmp_path / "it.backup", actor="otto", replace_it=True)


def test_a_revoked_token_does_not_live_again(opened: Callable[[str], Service], store_url: str, tmp_path: Path) -> None:
    service = opened(store_url)
    note(service, "one")
    token, secret = service.identities.create(
        "ann", being=Being.PERSON, role=Role.ADMIN, lifetime=timedelta(days=1), by="otto"
    )
    service.storage.backup(tmp_path / "it.backup", actor="otto")
    service.identities.revoke(token.id, by="otto")
    service.storage.restore(tmp_path / "it.backup", actor="otto", replace_it=True)
    assert service.identities.identify(secret) is None
    other = opened(f"sqlite:///{tmp_path / 'other.db'}")
    other.storage.restore(tmp_path / "it.backup", actor="otto", replace_it=True)
    assert other.identities.list() == []


def test_a_living_worker_keeps_the_store_from_being_replaced(
    opened: Callable[[str], Service], store_url: str, tmp_path: Path
) -> None:
    service = opened(store_url)
    note(service, "one")
    service.storage.backup(tmp_path / "it.backup", actor="otto")
    worker = opened(store_url)
    worker.start()
    with pytest.raises(UsageError, match="stop them"):
        service.storage.restore(tmp_path / "it.backup", actor="otto", replace_it=True)
    assert words(service) == ["one"]


@pytest.mark.parametrize("other_url", ["sqlite"], indirect=True)
def test_what_had_not_ended_when_the_backup_was_made_is_left_to_a_person(
    opened: Callable[[str], Service], project: Path, other_url: str, tmp_path: Path
) -> None:
    half_done(project)
    opened(load_settings(project).store_url).storage.backup(tmp_path / "it.backup", actor="otto")
    other = opened(other_url)
    done = other.storage.restore(tmp_path / "it.backup", actor="otto", replace_it=True)
    (run,) = other.runs.newest()
    assert done.escalated == (run.id,)
    assert (run.state, run.outcome and run.outcome.kind) == (RunState.ENDED, OutcomeKind.ESCALATED)
    assert run.outcome is not None
    assert run.outcome.unknown == ("journal: line=one",)
    assert "restored from a backup" in run.outcome.reason
    assert {effect.state for effect in other.runs.view(run.id).effects} == {EffectState.UNKNOWN}
    assert other.runs.view(run.id).attempts[0].state == "ended"
    assert other.approvals.list(states=(ApprovalState.PENDING, ApprovalState.APPROVED)) == []
    with other._means.database.read() as conn:
        assert queue.list_permits(conn) == []
    assert other.ledger.verify().problem == ""
    assert finish(project, other_url) == 0
    assert (project.parent / "outside.log").read_text().split() == ["one"]


@pytest.mark.parametrize("other_url", ["postgres"], indirect=True)
def test_where_nothing_has_happened_since_unfinished_runs_go_on_as_after_a_crash(
    opened: Callable[[str], Service], project: Path, other_url: str, tmp_path: Path
) -> None:
    half_done(project)
    opened(load_settings(project).store_url).storage.backup(tmp_path / "it.backup", actor="otto")
    other = opened(other_url)
    done = other.storage.restore(tmp_path / "it.backup", actor="otto", resume=True)
    (run,) = other.runs.newest()
    assert done.resumed == (run.id,)
    assert run.state is RunState.RUNNING
    assert finish(project, other_url) == 0
    outcome = other.runs.find(run.id).outcome
    assert outcome is not None
    assert (outcome.kind, outcome.unknown) == (OutcomeKind.ESCALATED, ("journal: line=one",))
    assert other.ledger.verify().problem == ""
    assert (project.parent / "outside.log").read_text().split() == ["one"]


KILLED = """
import contextlib, os, signal, sys
from pathlib import Path
from interlock.app import build
from interlock.config import load_settings
from interlock.store import copies
from interlock.store.database import Database

what, where, file = sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
service = build(load_settings(Path(sys.argv[1])))
seen = 0

def count():
    global seen
    seen += 1
    if seen == where:
        os.kill(os.getpid(), signal.SIGKILL)

def counting(function):
    def wrapped(*args, **kwargs):
        count()
        return function(*args, **kwargs)
    return wrapped

copies._copy, copies._flush, copies.clear = map(counting, (copies._copy, copies._flush, copies.clear))
copies.Backup.pour = counting(copies.Backup.pour)
write = Database.write

@contextlib.contextmanager
def killing(self):
    with write(self) as conn:
        yield conn
        count()
    count()

Database.write = killing
if what == "backup":
    service.storage.backup(file, actor="otto")
else:
    service.storage.restore(file, actor="otto", replace_it=True)
"""


def killed(project: Path, what: str, where: int, file: Path, url: str) -> bool:
    command = [sys.executable, "-c", KILLED, str(project), what, str(where), str(file)]
    done = subprocess.run(
        command,
        env={**os.environ, "INTERLOCK_STORE_URL": url},
        check=False,
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode != 0


@pytest.mark.parametrize("where", [9, 21])
def test_a_backup_that_is_killed_leaves_no_file_that_looks_like_one(
    opened: Callable[[str], Service], project: Path, store_url: str, tmp_path: Path, where: int
) -> None:
    service = opened(store_url)
    note(service, "one")
    file = tmp_path / "it.backup"
    died = killed(project, "backup", where, file, store_url)
    assert died
    if file.exists():  # it was complete; only the record of it is missing
        with copies.read(file) as backup:
            assert service._means.ledger.verify_copy(backup.conn).problem == ""
        file.unlink()
    assert service.ledger.verify().problem == ""
    service.storage.backup(file, actor="otto")
    assert sorted(path.name for path in tmp_path.glob("it.backup*")) == ["it.backup"]


@pytest.mark.parametrize("back", [1, 4])
def test_a_restore_that_is_killed_has_happened_or_not_and_the_ledger_is_whole_either_way(
    opened: Callable[[str], Service], project: Path, store_url: str, tmp_path: Path, back: int
) -> None:
    service = opened(store_url)
    note(service, "one")
    file = tmp_path / "it.backup"
    service.storage.backup(file, actor="otto")
    note(service, "two")
    steps = len(copies._COPIED) + 2  # of the backup of what is replaced; then: clear, pour, and around the commit
    died = killed(project, "restore", steps + back, file, store_url)
    assert died
    assert words(service) in (["one", "two"], ["one"])
    assert service.ledger.verify().problem == ""
    service.storage.restore(file, actor="otto", replace_it=True)
    assert words(service) == ["one"]
    note(service, "three")
    assert service.ledger.verify().problem == ""


FULL = """
import resource, sys
from pathlib import Path
from interlock.app import build
from interlock.config import load_settings
from interlock.errors import StoreError

service = build(load_settings(Path(sys.argv[1])))
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
try:
    service.storage.backup(Path(sys.argv[2]), actor="otto")
except StoreError as problem:
    print(problem)
    sys.exit(7)
"""


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_a_backup_without_room_leaves_nothing_and_says_so(
    opened: Callable[[str], Service], project: Path, store_url: str, tmp_path: Path
) -> None:
    service = opened(store_url)
    note(service, *map(str, range(200)))
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(project), str(tmp_path / "it.backup")],
        env={**os.environ, "INTERLOCK_STORE_URL": store_url}, check=False, timeout=120, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 7, done.stderr
    assert "could not be written" in done.stdout
    assert list(tmp_path.glob("it.backup*")) == []
    assert service.ledger.verify().problem == ""


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_a_restore_without_room_changes_nothing(
    opened: Callable[[str], Service], store_url: str, tmp_path: Path
) -> None:
    service = opened(store_url)
    note(service, *map(str, range(300)))
    service.storage.backup(tmp_path / "it.backup", actor="otto")
    other = opened(f"sqlite:///{tmp_path / 'small.db'}")
    engine = other._means.database.engine
    with engine.connect() as conn:
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar_one() + 20
    other._means.durable.prepare()

    def limit(connection: Any, *_: Any) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    sa.event.listen(engine, "checkout", limit)
    with pytest.raises(StoreError, match=r"nothing was changed: .*make room"):
        other.storage.restore(tmp_path / "it.backup", actor="otto")
    assert words(other) == []
    assert other.ledger.verify().records == 0
