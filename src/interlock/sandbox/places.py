"""Where the things of a run and of an attempt lie, below a directory that is ours alone."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from pathlib import Path

from interlock.errors import WorkspaceError
from interlock.sandbox.journal import locked

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


class Places:
    """Paths by run and attempt. Every method raises :class:`WorkspaceError` for an id that could not be a file's name."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def run_file(self, run_id: str) -> Path:
        """The record of a run's line."""
        return self.state / "runs" / f"{checked(run_id)}.json"

    def run_lock(self, run_id: str) -> AbstractContextManager[None]:
        """Held while a run's line is read and changed."""
        return locked(self.state / "locks" / f"run-{checked(run_id)}")

    def delivery_lock(self) -> AbstractContextManager[None]:
        """Held while anything is delivered."""
        return locked(self.state / "locks" / "deliver")

    def attempt_file(self, attempt_id: str) -> Path:
        """The record of an attempt."""
        return self.state / "attempts" / f"{checked(attempt_id)}.json"

    def attempt_files(self) -> list[Path]:
        """Those of all attempts."""
        return sorted((self.state / "attempts").glob("*.json"))

    def attempt_lock(self, attempt_id: str) -> AbstractContextManager[None]:
        """Held while an attempt's files are read."""
        return locked(self.state / "locks" / f"attempt-{checked(attempt_id)}")

    def patch(self, run_id: str) -> Path:
        """The patch that a run is delivered as."""
        return self.state / "patches" / f"{checked(run_id)}.patch"


def checked(name: str) -> str:
    """An identifier that is safe as a file's and a branch's name.

    Raises:
        WorkspaceError: when it is not.
    """
    if not _ID.fullmatch(name):
        raise WorkspaceError(f"{name!r} cannot name a workspace: letters, digits, - and _ only")
    return name
