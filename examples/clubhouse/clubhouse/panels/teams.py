"""The teams, with how many athletes and measurements each has."""

from __future__ import annotations

import sqlite3
from html import escape

TEAMS = """
SELECT teams.name, teams.sport, count(DISTINCT athletes.id), count(measurements.id)
FROM teams
LEFT JOIN athletes ON athletes.team_id = teams.id
LEFT JOIN measurements ON measurements.athlete_id = athletes.id
GROUP BY teams.id ORDER BY teams.id
"""


def render(connection: sqlite3.Connection) -> str:
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(sport)}</td><td>{athletes}</td><td>{values}</td></tr>"
        for name, sport, athletes, values in connection.execute(TEAMS)
    )
    return f"<table><tr><th>team</th><th>sport</th><th>athletes</th><th>measurements</th></tr>{rows}</table>"
