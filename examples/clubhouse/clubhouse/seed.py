"""Make var/club.db: always the same club, with a few thousand measurements.

python -m clubhouse.seed                        make it anew
python -m clubhouse.seed --cut-backup FILE      a backup as a full disk leaves it: its first half
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import sqlite3
from contextlib import closing
from pathlib import Path

from clubhouse.database import LIVE, ROOT, migrate

TEAMS = [
    ("Sprint women", "athletics", 1.00),
    ("Sprint men", "athletics", 1.08),
    ("Volleyball women", "volleyball", 1.03),
    ("Basketball men", "basketball", 1.10),
    ("Juniors U15", "athletics", 0.88),
]
METRICS = [
    ("vertical_jump", "Vertical jump", "cm", 0, 46.0),
    ("fly_10m", "10 m fly", "s", 1, 1.18),
    ("sprint_30m", "30 m sprint", "s", 1, 4.45),
    ("long_jump", "Standing long jump", "cm", 0, 215.0),
    ("medicine_ball", "Medicine ball throw", "m", 0, 9.5),
    ("standing_reach", "Standing reach", "cm", 0, None),  # new this season: nobody has measured it yet
]
FIRST = [
    "Ada",
    "Ben",
    "Cleo",
    "Dina",
    "Emil",
    "Fay",
    "Gus",
    "Hana",
    "Ivo",
    "Jule",
    "Kai",
    "Lina",
    "Milo",
    "Nora",
    "Oto",
    "Pia",
]
LAST = [
    "Adler",
    "Berg",
    "Conti",
    "Diaz",
    "Egger",
    "Frei",
    "Gold",
    "Horn",
    "Ito",
    "Jung",
    "Kern",
    "Lang",
    "Moser",
    "Nagy",
    "Okafor",
    "Petit",
]
COACHES = [
    ("Rosa Winter", "head_coach"),
    ("Tom Sommer", "coach"),
    ("Ines Frost", "coach"),
    ("Max Regen", "coach"),
    ("Uli Blum", "guest"),
]
PER_TEAM = 16
SESSIONS = 9
START = dt.date(2026, 1, 12)


def fill(connection: sqlite3.Connection) -> None:
    dice = random.Random(2026)  # noqa: S311 - the same club every time
    connection.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?)", [metric[:4] for metric in METRICS])
    for team, (name, sport, strength) in enumerate(TEAMS, start=1):
        connection.execute("INSERT INTO teams VALUES (?, ?, ?)", (team, name, sport))
        coach, role = COACHES[team - 1]
        connection.execute("INSERT INTO coaches (team_id, name, role) VALUES (?, ?, ?)", (team, coach, role))
        for place in range(PER_TEAM):
            _add_athlete(connection, dice, team, place, strength)


def _add_athlete(connection: sqlite3.Connection, dice: random.Random, team: int, place: int, strength: float) -> None:
    name = f"{FIRST[place]} {LAST[(place * 5 + team) % len(LAST)]}"
    born = dice.randint(2011, 2012) if team == len(TEAMS) else dice.randint(1996, 2008)
    athlete = connection.execute(
        "INSERT INTO athletes (team_id, name, born) VALUES (?, ?, ?)", (team, name, born)
    ).lastrowid
    talent = dice.gauss(strength, 0.06)
    for key, _, _, lower, typical in METRICS:
        for session in range(SESSIONS if typical else 0):
            form = talent * (1 + 0.004 * session) * dice.gauss(1, 0.02)
            value = round(typical / form if lower else typical * form, 2)
            day = START + dt.timedelta(weeks=3 * session)
            connection.execute(
                "INSERT INTO measurements (athlete_id, metric, value, measured_on) VALUES (?, ?, ?, ?)",
                (athlete, key, value, day.isoformat()),
            )


def make(database: Path = LIVE, folder: Path = ROOT / "migrations") -> Path:
    """Make the database anew, whole or not at all."""
    database.parent.mkdir(parents=True, exist_ok=True)
    new = database.with_name(database.name + ".new")
    new.unlink(missing_ok=True)
    with closing(sqlite3.connect(new)) as connection:
        migrate(connection, folder)
        connection.execute("BEGIN")
        fill(connection)
        connection.execute("COMMIT")
    new.replace(database)
    return database


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", type=Path, default=LIVE)
    parser.add_argument("--cut-backup", type=Path)
    given = parser.parse_args()
    if given.cut_backup:
        whole = given.database.read_bytes()
        given.cut_backup.parent.mkdir(parents=True, exist_ok=True)
        given.cut_backup.write_bytes(whole[: len(whole) // 2])
        print(f"{given.cut_backup}: the first half of {given.database}")
        return
    with closing(sqlite3.connect(make(given.database))) as connection:
        many = connection.execute("SELECT count(*) FROM measurements").fetchone()[0]
    print(f"{given.database}: {len(TEAMS)} teams, {len(TEAMS) * PER_TEAM} athletes, {many} measurements")


if __name__ == "__main__":
    main()
