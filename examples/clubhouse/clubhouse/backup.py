"""Save the club's database, undo a migration, and check that nothing is lost. A program of its own, run by its path.

backup.py save DATABASE BACKUP            an exact copy, also while others write
backup.py check DATABASE [--like BACKUP]  every table readable, no orphans, as many rows as in the backup
backup.py undo DATABASE BACKUP [--down MIGRATION.sql]
                                          the migration's way down; when that does not restore everything, the backup
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from contextlib import closing
from pathlib import Path


def opened(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=10, isolation_level=None)


def save(database: Path, backup: Path) -> None:
    backup.parent.mkdir(parents=True, exist_ok=True)
    new = backup.with_name(backup.name + ".new")
    new.unlink(missing_ok=True)
    with closing(opened(database, "ro")) as source, closing(opened(new, "rwc")) as target:
        source.backup(target)
    new.replace(backup)


def counts(database: Path) -> dict[str, int]:
    """Rows of every table; reading them all shows that every page is readable."""
    with closing(opened(database, "ro")) as connection:
        names = [
            row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        ]
        quoted = {name: '"' + name.replace('"', '""') + '"' for name in names}
        return {name: len(connection.execute(f"SELECT * FROM {quoted[name]}").fetchall()) for name in names}  # noqa: S608 - names of the schema itself, quoted


def problems(database: Path, like: Path | None = None) -> list[str]:
    """What is wrong with a database, in words; empty when it is sound."""
    try:
        with closing(opened(database, "ro")) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
            orphans: dict[tuple[str, str], int] = {}
            for table, _, parent, _ in connection.execute("PRAGMA foreign_key_check"):
                orphans[table, parent] = orphans.get((table, parent), 0) + 1
        found += [
            f"{many} rows of {table} point to {parent} that do not exist" for (table, parent), many in orphans.items()
        ]
        now, before = counts(database), counts(like) if like else {}
    except sqlite3.Error as error:
        return [f"{database.name} or its backup cannot be read: {error}"]
    found += [
        f"{name} has {now.get(name, 0)} rows, {many} before" for name, many in before.items() if now.get(name) != many
    ]
    return found


def same(database: Path, backup: Path) -> bool:
    """Whether both hold exactly the same, schema and rows."""
    with closing(opened(database, "ro")) as one, closing(opened(backup, "ro")) as other:
        return list(one.iterdump()) == list(other.iterdump())


def go_down(database: Path, migration: Path) -> None:
    _, _, down = migration.read_text(encoding="utf-8").partition("\n-- down\n")
    number = int(migration.name[:3])
    with closing(opened(database, "rw")) as connection:
        if connection.execute("PRAGMA user_version").fetchone()[0] != number:
            return
        connection.executescript(
            f"PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE; {down}\n; PRAGMA user_version = {number - 1}; COMMIT;"
        )


def undo(database: Path, backup: Path, down: Path | None) -> str:
    """Bring the database back to its backup; says by which way.

    Raises:
        sqlite3.Error: when the backup itself cannot be used; the database is left as it is.
    """
    bad = problems(backup)
    if bad:
        raise sqlite3.DatabaseError("; ".join(bad))
    if down is not None and down.exists():
        try:
            go_down(database, down)
            if not problems(database, backup) and same(database, backup):
                return "the migration was taken back"
        except sqlite3.Error as error:
            print(f"the way down does not work ({error}); restoring the backup", file=sys.stderr)
    with closing(opened(backup, "ro")) as source, closing(opened(database, "rw")) as target:
        source.backup(target)
    return "the backup was restored"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["save", "check", "undo"])
    parser.add_argument("database", type=Path)
    parser.add_argument("backup", type=Path, nargs="?")
    parser.add_argument("--like", type=Path)
    parser.add_argument("--down", type=Path)
    given = parser.parse_args(argv)
    try:
        if given.what == "check":
            found = problems(given.database, given.like)
            print("\n".join(found) or "sound")
            return 1 if found else 0
        if given.backup is None:
            parser.error("BACKUP is missing")
        if given.what == "save":
            save(given.database, given.backup)
            print(f"saved to {given.backup}")
        else:
            print(undo(given.database, given.backup, given.down))
    except (sqlite3.Error, OSError) as error:
        print(f"{given.what} has failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
