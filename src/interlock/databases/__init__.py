"""Users' databases as something to undo: back up, reverse a migration, validate, restore (spec 6).

An adapter like ``runners`` and ``sandbox``: each module has an effect on something that is not ours, and knows nothing of the
engine. The engine reaches them as it reaches every compensation, by running a command: ``interlock db restore …``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from interlock.errors import InterlockError, UsageError


class DatabaseError(InterlockError):
    """Raised when a database or its backup cannot be used; what was and was not changed is said."""


class Rescuable(Protocol):
    """A database that can be brought back."""

    def backup(self, file: Path, tables: Sequence[str] = ()) -> str:
        """Save it (all of it, or these tables) to a new file, also while others write; says what was saved.

        Raises:
            DatabaseError: when it could not be saved; an older backup of that name is left as it is.
        """
        ...

    def problems(self, like: Path | None = None) -> list[str]:
        """What is wrong with it, in words, also compared with a backup; empty when it is sound."""
        ...

    def restore(self, file: Path, down: Path | None = None) -> str:
        """Bring it back to a backup: by the reverse migration ``down`` if that restores everything, else from the file.

        A second time is harmless. Says by which way.

        Raises:
            DatabaseError: when the backup cannot be used; the database is left as it is.
        """
        ...


def open_database(where: str) -> Rescuable:
    """The database at a path, at an URL (``sqlite:///…``, ``postgresql://…``), or at what ``env:NAME`` holds.

    Raises:
        UsageError: when there is none, or of another kind.
        MissingExtraError: when its driver is not installed.
    """
    if where.startswith("env:"):
        name = where.removeprefix("env:")
        if name not in os.environ:
            raise UsageError(
                f"the environment variable {name} is not set (rollback_env in interlock.yaml passes it on)"
            )
        where = os.environ[name]
    kind, separator, rest = where.partition("://")
    if kind.partition("+")[0] in {"postgres", "postgresql"} and separator:
        from interlock.databases.postgres import Postgres  # noqa: PLC0415 - its driver is an extra

        return Postgres(f"postgresql://{rest}")
    if separator and kind != "sqlite":
        raise UsageError(f"{kind} databases are not known here: SQLite and Postgres are")
    from interlock.databases.sqlite import Sqlite  # noqa: PLC0415 - so that each loads what it needs

    return Sqlite(Path(rest.removeprefix("/") if separator else where))
