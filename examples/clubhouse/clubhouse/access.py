"""Who may see what: a coach's token, its role, and routes that name the roles they are for.

python -m clubhouse.access "Rosa Winter"    a new token for this coach; it is shown once, only its digest is kept
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from clubhouse.database import LIVE, connect

STAFF = frozenset({"head_coach", "coach"})
EVERYONE = STAFF | {"guest"}


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def issue(connection: sqlite3.Connection, coach: str) -> str:
    """A new token; the coach's old one is void from now on."""
    token = secrets.token_urlsafe(24)
    with connection:
        changed = connection.execute(
            "UPDATE coaches SET token_digest = ? WHERE name = ?", (digest(token), coach)
        ).rowcount
    if not changed:
        raise LookupError(f"there is no coach called {coach}")
    return token


def role_of(connection: sqlite3.Connection, token: str) -> str | None:
    row = connection.execute("SELECT role FROM coaches WHERE token_digest = ?", (digest(token),)).fetchone()
    return row[0] if row and token else None


def main(argv: list[str], database: Path = LIVE) -> int:
    if len(argv) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with closing(connect(database, writable=True)) as connection:
            print(issue(connection, argv[0]))
    except (LookupError, sqlite3.Error) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
