"""What the measurements say: percentiles per team."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

BANDS = (10, 25, 50, 75, 90)


@dataclass(frozen=True)
class Metric:
    key: str
    title: str
    unit: str
    lower_is_better: bool


@dataclass(frozen=True)
class Bands:
    """The percentiles of one team."""

    team: str
    count: int
    values: tuple[float, ...]
    """One for each of BANDS; empty when nothing was measured."""


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Linear interpolation between the nearest ranks, as spreadsheets do it (PERCENTILE.INC)."""
    if not ordered:
        raise ValueError("no values, no percentile")
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def metrics(connection: sqlite3.Connection) -> list[Metric]:
    rows = connection.execute("SELECT key, title, unit, lower_is_better FROM metrics ORDER BY rowid")
    return [Metric(key, title, unit, bool(lower)) for key, title, unit, lower in rows]


def metric(connection: sqlite3.Connection, key: str) -> Metric:
    found = next((one for one in metrics(connection) if one.key == key), None)
    if found is None:
        raise LookupError(f"no metric {key}")
    return found


TEAM_VALUES = """
SELECT teams.name, measurements.value
FROM teams
LEFT JOIN athletes ON athletes.team_id = teams.id
LEFT JOIN measurements ON measurements.athlete_id = athletes.id AND measurements.metric = ?
ORDER BY teams.id, measurements.value
"""


def bands_of(rows: Sequence[tuple[str, float | None]]) -> list[Bands]:
    """Bands for each team from (team, value) rows, ordered by team and value."""
    teams: dict[str, list[float]] = {}
    for team, value in rows:
        values = teams.setdefault(team, [])
        if value is not None:
            values.append(value)
    return [
        Bands(team, len(values), tuple(round(percentile(values, band), 2) for band in BANDS) if values else ())
        for team, values in teams.items()
    ]


def bands(connection: sqlite3.Connection, key: str) -> list[Bands]:
    return bands_of(connection.execute(TEAM_VALUES, (key,)).fetchall())
