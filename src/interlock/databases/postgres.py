"""Postgres: named tables in one file, as the server itself writes them (COPY), and by pg_dump where that program fits.

The file is a zip: ``state.json`` (the captured state: structure, counts, a digest of the rows, sequences), ``data/N`` (the
rows of each table) and ``dump`` (pg_dump's own format, when it could be made). Rows alone bring a table back that still has
its structure; only the dump brings back one that was dropped or altered.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interlock.databases import DatabaseError
from interlock.errors import MissingExtraError, UsageError
from interlock.reading.secrets import redact

try:
    import psycopg
    from psycopg import sql
    from psycopg.conninfo import conninfo_to_dict
except ModuleNotFoundError as missing:
    raise MissingExtraError("a Postgres database", "postgres") from missing

_TABLES = """SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY 1"""
_STRUCTURE = """SELECT 'column ' || attname || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' not null' ELSE '' END
    FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT contype::text || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %(table)s::regclass
UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE quote_ident(schemaname) || '.' || quote_ident(tablename) = %(table)s::text
ORDER BY 1"""
_FOREIGN_KEYS = """SELECT conname, confrelid::regclass::text,
    (SELECT array_agg(a.attname ORDER BY k.n) FROM unnest(conkey) WITH ORDINALITY k(c, n) JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = k.c),
    (SELECT array_agg(a.attname ORDER BY k.n) FROM unnest(confkey) WITH ORDINALITY k(c, n) JOIN pg_attribute a ON a.attrelid = confrelid AND a.attnum = k.c)
FROM pg_constraint WHERE contype = 'f' AND conrelid = %s::regclass"""
_SEQUENCES = """SELECT quote_ident(n.nspname) || '.' || quote_ident(s.relname) FROM pg_depend d
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_namespace n ON n.oid = s.relnamespace
WHERE d.refobjid = %s::regclass AND d.deptype IN ('a', 'i') ORDER BY 1"""
_TIMEOUT_S = 600


class _WrongError(Exception):
    """Raised inside a transaction that must not be committed."""


class Postgres:
    """:class:`~interlock.databases.Rescuable` on one database."""

    def __init__(self, url: str) -> None:
        self._url = url

    def backup(self, file: Path, tables: Sequence[str] = ()) -> str:
        """Save the named tables (``schema.table``, or of ``public``), all when none is named, as of one moment."""
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f"{file.name}.new")
        try:
            with psycopg.connect(self._url) as connection:
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                names = _named(connection, tables)
                state = {name: _state(connection, name) for name in names}
                snapshot = _one(connection, "SELECT pg_export_snapshot()")
                with _private(fresh) as written, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
                    archive.writestr("state.json", json.dumps(state, indent=1))
                    for number, name in enumerate(names):
                        _copy_out(connection, name, archive, f"data/{number}")
                    lacking = self._dump(names, snapshot, archive)
            with fresh.open("rb") as written:
                os.fsync(written.fileno())
            fresh.replace(file)
        except (psycopg.Error, OSError, zipfile.BadZipFile) as error:
            fresh.unlink(missing_ok=True)
            raise DatabaseError(f"the database could not be saved: {redact(str(error))}") from error
        rows = sum(each["rows"] for each in state.values())
        return f"{rows} rows of {len(names)} tables" + (f" (rows only: {lacking})" if lacking else "")

    def problems(self, like: Path | None = None) -> list[str]:
        """Every table readable, no orphans, no broken index; structure, counts and rows as in the backup."""
        try:
            state = _read_state(like) if like else {}
            with psycopg.connect(self._url) as connection:
                return _problems(connection, state)
        except psycopg.Error as error:
            return [f"the database cannot be read: {redact(str(error))}"]
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            return [f"the backup {like} cannot be read: {error}"]

    def restore(self, file: Path, down: Path | None = None) -> str:
        """The way down if it leads to the backup's state, else the rows, else the dump; each whole or not at all."""
        try:
            state = _read_state(file)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise DatabaseError(f"the backup {file} cannot be used, nothing was changed: {error}") from error
        ways = (
            ("the migration was taken back", lambda: self._down(state, down)),
            ("the rows were restored", lambda: self._rows(file, state)),
            ("the dump was restored", lambda: self._undump(file, state)),
        )
        tried = []
        for way, attempt in ways:
            try:
                attempt()  # type: ignore[no-untyped-call]
            except (_WrongError, psycopg.Error, OSError, UnicodeDecodeError) as error:
                tried.append(redact(" ".join(str(error).split())))
            else:
                return way
        raise DatabaseError(f"the database could not be restored and is as it was found: {'; '.join(tried)}")

    def _down(self, state: dict[str, Any], down: Path | None) -> None:
        if down is None:
            raise _WrongError("there is no way down")
        script = down.read_text(encoding="utf-8")
        with psycopg.connect(self._url) as connection:
            connection.execute((script.partition("\n-- down\n")[2] or script).encode())
            _insist(connection, state)

    def _rows(self, file: Path, state: dict[str, Any]) -> None:
        with psycopg.connect(self._url) as connection, zipfile.ZipFile(file) as archive:
            for name, before in state.items():
                if _exists(connection, name) != name or _structure(connection, name) != before["structure"]:
                    raise _WrongError(f"{name} is gone or has another structure")
            _without_triggers(connection)
            for name in state:
                connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(_table(name)))
            for name in reversed(state):
                connection.execute(sql.SQL("DELETE FROM ONLY {}").format(_table(name)))
            for number, (name, before) in enumerate(state.items()):
                _copy_in(connection, name, before["columns"], archive, f"data/{number}")
                _set_sequences(connection, before)
            _insist(connection, state)

    def _undump(self, file: Path, state: dict[str, Any]) -> None:
        with zipfile.ZipFile(file) as archive, tempfile.TemporaryDirectory(prefix="interlock-db-") as folder:
            if "dump" not in archive.namelist():
                raise _WrongError("the backup holds rows only")
            dump = archive.extract("dump", folder)
            said = self._program(
                "pg_restore", "--clean", "--if-exists", "--single-transaction", "--exit-on-error", "--no-owner", "--dbname",
                _without_password(self._url), dump,
            )  # fmt: skip
            if said is not None:
                raise _WrongError(said)
        with psycopg.connect(self._url) as connection:
            left = _problems(connection, state)
        if left:
            raise DatabaseError(f"the dump was restored, but the database is not as it was: {'; '.join(left)}")

    def _dump(self, names: Sequence[str], snapshot: str, archive: zipfile.ZipFile) -> str:
        """Add pg_dump's own copy of the same moment; why not, when the program is missing or too old for the server."""
        with tempfile.TemporaryDirectory(prefix="interlock-db-") as folder:
            target = Path(folder, "dump")
            tables = [f"--table={name}" for name in names]
            said = self._program(
                "pg_dump", "--format=custom", f"--snapshot={snapshot}", f"--file={target}", "--no-owner", *tables,
                "--dbname", _without_password(self._url),
            )  # fmt: skip
            if said is not None or not names:
                return said or "there are no tables"
            archive.write(target, "dump")
        return ""

    def _program(self, name: str, *args: str) -> str | None:
        """Run one of Postgres's programs; what it complained of, None when it did its work. No password is in its arguments."""
        program = shutil.which(name)
        if program is None:
            return f"{name} is not installed"
        password = conninfo_to_dict(self._url).get("password")
        env = {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}
        try:
            done = subprocess.run(
                [program, *args], env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_TIMEOUT_S
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{name}: {error}"
        return None if done.returncode == 0 else f"{name}: {done.stderr.decode(errors='replace').strip()[-500:]}"


def _named(connection: psycopg.Connection[Any], tables: Sequence[str]) -> list[str]:
    """The tables as the server writes their names, parents before children where the order is known."""
    asked = tables or [row[0] for row in connection.execute(_TABLES.encode())]
    found = {_exists(connection, name if "." in name else f"public.{name}", name) for name in asked}
    parents = {name: {row[1] for row in _foreign_keys(connection, name)} for name in found}
    ordered: list[str] = []
    while found:
        ready = sorted(name for name in found if not (parents[name] & found) - {name}) or sorted(found)[:1]
        ordered += ready
        found -= set(ready)
    return ordered


def _exists(connection: psycopg.Connection[Any], name: str, called: str = "") -> str:
    """The table's name with its schema, quoted as the server does; empty, or an error with ``called``, when there is none."""
    row = connection.execute(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s) AND c.relkind IN ('r', 'p')",
        [name],
    ).fetchone()
    if row is None and called:
        raise UsageError(f"there is no table {called!r}: name it schema.table, as the database does")
    return str(row[0]) if row else ""


def _state(connection: psycopg.Connection[Any], name: str) -> dict[str, Any]:
    rows, digest = _content(connection, name)
    listed = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        " AND attgenerated = '' ORDER BY attnum",
        [name],
    )
    columns = [row[0] for row in listed]
    sequences = {row[0]: _sequence(connection, row[0]) for row in connection.execute(_SEQUENCES.encode(), [name])}
    return {"structure": _structure(connection, name), "columns": columns, "rows": rows, "digest": digest,
            "sequences": sequences}  # fmt: skip


def _structure(connection: psycopg.Connection[Any], name: str) -> list[str]:
    return [row[0] for row in connection.execute(_STRUCTURE.encode(), {"table": name})]


def _content(connection: psycopg.Connection[Any], name: str) -> tuple[int, str]:
    """How many rows, and a sum over digests of them, which does not ask for an order."""
    row = connection.execute(
        sql.SQL(
            "SELECT count(*), coalesce(sum(('x' || left(md5(t::text), 15))::bit(60)::bigint), 0)::text FROM ONLY {} t"
        ).format(_table(name))
    ).fetchone()
    return (int(row[0]), str(row[1])) if row else (0, "0")


def _sequence(connection: psycopg.Connection[Any], name: str) -> list[Any]:
    row = connection.execute(sql.SQL("SELECT last_value, is_called FROM {}").format(sql.SQL(name))).fetchone()
    return list(row or (1, False))


def _set_sequences(connection: psycopg.Connection[Any], before: dict[str, Any]) -> None:
    for name, (last, called) in before["sequences"].items():
        connection.execute("SELECT setval(%s::regclass, %s, %s)", [name, last, called])


def _foreign_keys(connection: psycopg.Connection[Any], name: str) -> list[tuple[str, str, list[str], list[str]]]:
    found = connection.execute(_FOREIGN_KEYS.encode(), [name]).fetchall()
    return [(row[0], _exists(connection, row[1]), row[2], row[3]) for row in found]


def _problems(connection: psycopg.Connection[Any], state: dict[str, Any]) -> list[str]:
    found = []
    names = sorted({*_named(connection, ()), *(name for name in state if _exists(connection, name))})
    for name in names:
        rows, digest = _content(connection, name)
        before = state.get(name)
        if before and rows != before["rows"]:
            found.append(f"{name} has {rows} rows, {before['rows']} in the backup")
        elif before and digest != before["digest"]:
            found.append(f"{name} has other rows than the backup")
        if before and _structure(connection, name) != before["structure"]:
            found.append(f"{name} has another structure than in the backup")
        found += _orphans(connection, name)
    broken = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
    found += [f"the index {row[0]} is not valid" for row in connection.execute(broken)]
    return found + [f"{name} is gone" for name in state if name not in names]


def _orphans(connection: psycopg.Connection[Any], name: str) -> list[str]:
    found = []
    for key, parent, own, theirs in _foreign_keys(connection, name):
        pairs = [
            sql.SQL("p.{} = c.{}").format(sql.Identifier(b), sql.Identifier(a))
            for a, b in zip(own, theirs, strict=True)
        ]
        known = [sql.SQL("c.{} IS NOT NULL").format(sql.Identifier(column)) for column in own]
        query = sql.SQL("SELECT count(*) FROM ONLY {} c WHERE {} AND NOT EXISTS (SELECT 1 FROM {} p WHERE {})").format(
            _table(name), sql.SQL(" AND ").join(known), _table(parent), sql.SQL(" AND ").join(pairs)
        )  # fmt: skip
        row = connection.execute(query).fetchone()
        if row and row[0]:
            found.append(f"{row[0]} rows of {name} point to rows of {parent} that do not exist ({key})")
    return found


def _insist(connection: psycopg.Connection[Any], state: dict[str, Any]) -> None:
    """Undo the transaction unless everything is as in the backup."""
    wrong = _problems(connection, state)
    if wrong:
        raise _WrongError("; ".join(wrong))


def _without_triggers(connection: psycopg.Connection[Any]) -> None:
    """No triggers and no checks of foreign keys while rows are exchanged: the end state is validated. Needs the right to it."""
    try:
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        connection.execute("SET CONSTRAINTS ALL DEFERRED")


def _copy_out(connection: psycopg.Connection[Any], name: str, archive: zipfile.ZipFile, member: str) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, _state(connection, name)["columns"]))
    query = sql.SQL("COPY (SELECT {} FROM ONLY {}) TO STDOUT").format(columns, _table(name))
    with archive.open(member, "w", force_zip64=True) as target, connection.cursor().copy(query) as rows:
        for chunk in rows:
            target.write(chunk)


def _copy_in(
    connection: psycopg.Connection[Any], name: str, columns: Sequence[str], archive: zipfile.ZipFile, member: str
) -> None:
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    query = sql.SQL("COPY {} ({}) FROM STDIN").format(_table(name), listed)
    with archive.open(member) as source, connection.cursor().copy(query) as rows:
        while chunk := source.read(1 << 16):
            rows.write(chunk)


def _table(name: str) -> sql.Composable:
    """A name that the server itself has quoted."""
    return sql.SQL(name)


def _one(connection: psycopg.Connection[Any], query: str) -> str:
    row = connection.execute(query.encode()).fetchone()
    return str(row[0]) if row else ""


def _read_state(file: Path) -> dict[str, Any]:
    with zipfile.ZipFile(file) as archive:
        bad = archive.testzip()
        if bad:
            raise ValueError(f"{bad} in it is damaged")
        state: dict[str, Any] = json.loads(archive.read("state.json"))
    return state


def _private(path: Path) -> Any:
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "w+b")


def _without_password(url: str) -> str:
    """The connection in words that may be in a list of processes."""
    words = {
        name: str(value) for name, value in conninfo_to_dict(url).items() if name != "password" and value is not None
    }
    return psycopg.conninfo.make_conninfo(**words)
