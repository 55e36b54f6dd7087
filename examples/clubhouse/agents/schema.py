"""The database-schema-agent: writes a migration, tries it on an empty club, saves the live database, applies it."""

from __future__ import annotations

import re
import shutil
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from common import ROOT, database, parameters

from clubhouse import backup
from clubhouse.database import apply, connect, migrate, migrations, read_migration, version
from interlock import agent

BANDS_UP = """CREATE VIEW percentile_bands AS
WITH ranked AS (
    SELECT
        athletes.team_id,
        measurements.metric,
        measurements.value,
        row_number() OVER part - 1 AS place,
        count(*) OVER (PARTITION BY athletes.team_id, measurements.metric) - 1 AS last
    FROM measurements
    JOIN athletes ON athletes.id = measurements.athlete_id
    WINDOW part AS (PARTITION BY athletes.team_id, measurements.metric ORDER BY measurements.value)
),
bands (percent) AS (VALUES (10), (25), (50), (75), (90))
SELECT
    team_id,
    metric,
    percent,
    -- each value counts as much as it is near to the percentile's place: linear interpolation
    round(sum(value * max(0.0, 1.0 - abs(place - last * percent / 100.0))), 2) AS value
FROM ranked, bands
GROUP BY team_id, metric, percent;"""
STORING = re.compile(
    r"(?i)\b(stor(e|es|ed|ing)|columns?|views?|tables?|migrations?|merg(e|es|ing)|drop|database|schema)\b"
)
NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


@dataclass(frozen=True)
class Change:
    name: str
    what: str
    up: str
    down: str = "-- there is no way back but a backup"


def understood(job: agent.Job) -> Change | None:
    """The change that a task asks for, None when it asks for none. What is not understood is a question, not a guess."""
    given, text = parameters(job.task), job.task.lower()
    if "add_column" in given:
        return added_column(job, given["add_column"])
    if "merge" in given:
        return merged_teams(job, given)
    dropped = re.search(r"\b(?:drop|remove|delete)\b[^.\n]*?\b([a-z_]+) table\b", text)
    if dropped:
        table = dropped[1]
        return Change(f"drop_{table}", f"the table {table} is gone", f"DROP TABLE {table};")
    if not STORING.search(text):
        return None
    if "band" in text or "percentile" in text:
        what = "the view percentile_bands holds the percentiles of every team and metric"
        return Change("percentile_bands", what, BANDS_UP, "DROP VIEW percentile_bands;")
    return job.fail("unknown", "the task names no change of the database that this agent knows how to make")


def named(job: agent.Job, word: str) -> str:
    if not NAME.fullmatch(word):
        job.fail("schema_conflict", f"{word!r} is not a name of this database")
    return word


def added_column(job: agent.Job, words: str) -> Change:
    place, _, kind = words.partition(" ")
    table, _, column = place.partition(".")
    table, column = named(job, table), named(job, column)
    if kind.upper() not in {"TEXT", "INTEGER", "REAL"}:
        job.fail("schema_conflict", f"a column is TEXT, INTEGER or REAL, not {kind!r}")
    return Change(
        f"add_{table}_{column}",
        f"{table} has a column {column}",
        f"ALTER TABLE {table} ADD COLUMN {column} {kind.upper()};",
        f"ALTER TABLE {table} DROP COLUMN {column};",
    )


def merged_teams(job: agent.Job, given: dict[str, str]) -> Change:
    """Move what belongs to one team to another, and retire its number. ``also`` lists the columns that hold team numbers."""
    try:
        old, new = int(given["merge"]), int(given["into"])
    except (KeyError, ValueError):
        job.fail("schema_conflict", "merging needs the numbers of two teams: merge and into")
    lines = []
    for place in given.get("also", "athletes.team_id").split(","):
        table, _, column = place.strip().partition(".")
        table, column = named(job, table), named(job, column)
        lines.append(f"UPDATE {table} SET {column} = {new} WHERE {column} = {old};")  # noqa: S608 - checked names and whole numbers
    lines.append(f"UPDATE teams SET id = -{old}, name = name || ' (retired)' WHERE id = {old};")  # noqa: S608 - a whole number
    return Change(f"merge_team_{old}_into_{new}", f"team {old} is part of team {new}", "\n".join(lines))


def written(job: agent.Job, change: Change) -> Path:
    """The migration as the next one of the workspace, tried on an empty club."""
    folder = job.workspace / "migrations"
    number = len(migrations(folder)) + 1
    path = job.write(f"migrations/{number:03}_{change.name}.sql", f"-- up\n{change.up}\n-- down\n{change.down}\n")
    with closing(sqlite3.connect(":memory:")) as empty:
        try:
            migrate(empty, folder)
            apply(empty, read_migration(path).down, to_version=number - 1)
        except sqlite3.Error as error:
            job.fail("schema_conflict", f"{path.name} does not work on an empty club: {error}")
    return path


def saved(job: agent.Job, live: Path, backups: Path) -> Path:
    """A backup to come back to: the one that the task names, else a new one."""
    given = parameters(job.task).get("backup")
    if given:
        return job.project / given
    place = backups / f"{job.attempt_id}.db"
    with job.call("backup", {"database": str(live), "to": str(place)}, idempotent=True) as call:
        backup.save(live, place)
        call.output = f"{place.stat().st_size} bytes"
    return place


def applied(job: agent.Job, live: Path, path: Path, safe: Path) -> None:
    """The one effect outside of the workspace: the gate sees the very SQL, and how to undo it."""
    migration = read_migration(path)
    kept = live.parent / "backups" / job.attempt_id / path.name  # the way down must outlive this workspace
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, kept)
    tool = [sys.executable, str(ROOT / "clubhouse" / "backup.py")]
    undo = agent.Compensation(
        command=[*tool, "undo", str(live), str(safe), "--down", str(kept)],
        validate=[*tool, "check", str(live), "--like", str(safe)],
    )
    with (
        job.call("sql", {"database": str(live), "query": migration.up}, compensation=undo) as call,
        closing(connect(live, writable=True)) as connection,
    ):
        apply(connection, migration.up, to_version=migration.number)
        call.output = f"version {migration.number}"


def work(job: agent.Job) -> None:
    live = database(job)
    change = understood(job)
    if change is None:
        job.done(summary="the task asks for no change of the database: it stays as it is")
        return
    path = written(job, change)
    with closing(connect(live)) as connection:
        at = version(connection)
    if at != int(path.name[:3]) - 1:
        job.fail("schema_conflict", f"the live database is at version {at}; {path.name} does not follow it")
    safe = saved(job, live, live.parent / "backups")
    try:
        applied(job, live, path, safe)
    except sqlite3.OperationalError as error:
        job.fail("transient" if "locked" in str(error) else "schema_conflict", f"{path.name}: {error}")
    job.done(
        summary=f"{change.what} (migration {path.name}, applied)",
        deliverables=[f"migrations/{path.name}", change.what],
        next_steps=["read the new values through the migration's names"],
        recommendations=[f"keep {safe.name} until the change is accepted"],
        artefacts=[path],
    )


if __name__ == "__main__":
    agent.main(work)
