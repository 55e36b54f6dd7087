"""SQLite: exact copies by its own backup interface, which reads and writes whole pages while others use the file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from interlock.databases import DatabaseError

_PATIENCE_S = 10


class Sqlite:
    """:class:`~interlock.databases.Rescuable` on one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def backup(self, file: Path, tables: Sequence[str] = ()) -> str:
        """Save the whole file: pages know no tables."""
        if tables:
            raise DatabaseError("a SQLite database is saved whole: leave the tables out")
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f"{file.name}.new")
        fresh.unlink(missing_ok=True)
        with _told(f"{self._path} could not be saved"):
            os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            with closing(_open(self._path, "ro")) as source, closing(_open(fresh, "rw")) as target:
                source.backup(target)
            bad = Sqlite(fresh).problems()
            if bad:
                fresh.unlink()
                raise DatabaseError(f"the copy of {self._path} is not sound, so it is not kept: {'; '.join(bad)}")
            _flush(fresh)
            fresh.replace(file)
        return f"{sum(_counts(file).values())} rows of {len(_counts(file))} tables"

    def problems(self, like: Path | None = None) -> list[str]:
        """Pages, orphans, every row of every table, and the backup's counts."""
        try:
            with closing(_open(self._path, "ro")) as connection:
                found = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
                orphans: dict[tuple[str, str], int] = {}
                for table, _, parent, _ in connection.execute("PRAGMA foreign_key_check"):
                    orphans[table, parent] = orphans.get((table, parent), 0) + 1
            now, before = _counts(self._path), _counts(like) if like else {}
        except sqlite3.Error as error:
            return [f"{self._path} or its backup cannot be read: {error}"]
        found += [f"{many} rows of {child} point to rows of {parent} that do not exist"
                  for (child, parent), many in orphans.items()]  # fmt: skip
        return found + [
            f"{name} has {now.get(name, 'no')} rows, {many} in the backup"
            for name, many in before.items()
            if now.get(name) != many
        ]

    def restore(self, file: Path, down: Path | None = None) -> str:
        """The way down if it leads to exactly the backup, else the backup's pages."""
        bad = Sqlite(file).problems()
        if bad:
            raise DatabaseError(f"the backup {file} is not sound, nothing was changed: {'; '.join(bad)}")
        why = self._gone_down(file, down) if down is not None else "none was given"
        if not why:
            return "the migration was taken back"
        with (
            _told(f"{self._path} could not be restored"),
            closing(_open(file, "ro")) as source,
            closing(_open(self._path, "rwc")) as target,
        ):
            source.backup(target)
        left = self.problems(file)
        if left:
            raise DatabaseError(f"{self._path} is restored from {file}, but is not as it was: {'; '.join(left)}")
        return "the backup was restored" + (f" (the way down: {why})" if down is not None else "")

    def _gone_down(self, backup: Path, down: Path) -> str:
        """Why the reverse migration does not do, empty when it has restored everything."""
        try:
            script = down.read_text(encoding="utf-8")
            script = script.partition("\n-- down\n")[2] or script
            with closing(_open(self._path, "rw")) as connection:
                connection.executescript(f"PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE; {script}\n; COMMIT;")
            left = self.problems(backup)
            return "; ".join(left) or ("" if _same(self._path, backup) else "the data is not as it was")
        except (OSError, UnicodeDecodeError, sqlite3.Error) as error:
            return str(error)


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=_PATIENCE_S, isolation_level=None
    )  # fmt: skip


def _counts(path: Path) -> dict[str, int]:
    """Rows of every table; they are all read, so every page is seen to be readable."""
    with closing(_open(path, "ro")) as connection:
        rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
        counted = {}
        for (name,) in rows:
            quoted = '"' + name.replace('"', '""') + '"'
            counted[name] = sum(1 for _ in connection.execute(f"SELECT * FROM {quoted}"))  # noqa: S608 - a name of the schema itself, quoted
        return counted


def _same(one: Path, other: Path) -> bool:
    """Whether both hold exactly the same, schema and rows; the numbers that migrations count in included."""
    with closing(_open(one, "ro")) as first, closing(_open(other, "ro")) as second:
        versions = [connection.execute("PRAGMA user_version").fetchone() for connection in (first, second)]
        ours, theirs = first.iterdump(), second.iterdump()
        return versions[0] == versions[1] and all(
            line == next(theirs, None) for line in ours
        ) and next(theirs, None) is None  # fmt: skip


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise DatabaseError(f"{what}: {error}") from error
