"""The store itself: brought up to date, archived, backed up, examined."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from interlock.engine.backups import BackedUp, Backups, Restored
from interlock.engine.means import Means
from interlock.engine.upkeep import Sealed, Upkeep


class Storage:
    """The store of one project."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._backups = Backups(means)
        self._upkeep = Upkeep(means, means.settings.state_dir / "archive")

    def migrate(self) -> int:
        """Bring the store up to date; returns its version."""
        return self._upkeep.migrate()

    def collect(self, days: int | None = None, *, actor: str, dry: bool = False) -> Sealed:
        """Archive and remove runs that ended more than ``days`` ago (``retention_days`` where nothing is said)."""
        older = timedelta(days=self._means.settings.retention_days if days is None else days)
        sealed = self._upkeep.collect(older, actor=actor, dry=dry)
        if sealed.runs and not dry:
            self._means.ledger.anchor(self._means.database.transact(self._means.ledger.checkpoint))
        return sealed

    def backup(self, file: Path, *, actor: str) -> BackedUp:
        """Write a backup of the store; see :meth:`interlock.engine.backups.Backups.make`."""
        return self._backups.make(file, actor=actor)

    def restore(
        self, file: Path, *, actor: str, replace_it: bool = False, resume: bool = False, digest: str = ""
    ) -> Restored:
        """Fill the store from a backup; see :meth:`interlock.engine.backups.Backups.restore`."""
        return self._backups.restore(file, actor=actor, replace_it=replace_it, resume=resume, digest=digest)

    def problems(self) -> list[str]:
        """What is wrong with the store; empty when all is well."""
        return self._upkeep.problems()
