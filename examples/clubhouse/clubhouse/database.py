"""The club's database: connections, and migrations that lead up and down."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIVE = ROOT / "var" / "club.db"
_NAME = re.compile(r"(\d{3})_([a-z0-9_]+)\.sql")


@dataclass(frozen=True)
class Migration:
    number: int
    name: str
    up: str
    down: str
    """Empty when there is no way back but a backup."""


def connect(path: Path, *, writable: bool = False) -> sqlite3.Connection:
    """A connection with foreign keys enforced; it never makes a database that is not there."""
    uri = f"{path.resolve().as_uri()}?mode={'rw' if writable else 'ro'}"
    connection = sqlite3.connect(uri, uri=True, timeout=5)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def read_migration(path: Path) -> Migration:
    named = _NAME.fullmatch(path.name)
    up, mark, down = path.read_text(encoding="utf-8").partition("\n-- down\n")
    if not named or not mark or not up.startswith("-- up\n"):
        raise ValueError(f'{path.name}: a migration is called NNN_name.sql and has the parts "-- up" and "-- down"')
    return Migration(int(named[1]), named[2], up.removeprefix("-- up\n").strip(), down.strip())


def migrations(folder: Path) -> list[Migration]:
    found = [read_migration(path) for path in sorted(folder.glob("*.sql"))]
    if [one.number for one in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"{folder}: migrations are numbered 001, 002, … without gaps")
    return found


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def statements(script: str) -> list[str]:
    """The single statements of a script, as SQLite itself tells them apart."""
    found, current = [], ""
    for line in script.splitlines():
        current += line + "\n"
        if sqlite3.complete_statement(current):
            found.append(current.strip())
            current = ""
    if re.sub(r"--[^\n]*", "", current).strip():
        raise ValueError(f"not a whole statement: {current.strip()}")
    return found


def apply(connection: sqlite3.Connection, script: str, *, to_version: int) -> None:
    """Run a migration in one transaction: all of it happens or nothing.

    Foreign keys are off meanwhile, as SQLite's documentation asks for rebuilding tables; who applies checks afterwards.
    """
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements(script):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {int(to_version)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    finally:
        connection.execute("PRAGMA foreign_keys = ON")


def migrate(connection: sqlite3.Connection, folder: Path) -> int:
    """Apply what is missing; returns the version reached."""
    for migration in migrations(folder):
        if migration.number > version(connection):
            apply(connection, migration.up, to_version=migration.number)
    return version(connection)
