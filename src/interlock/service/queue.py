"""What waits for a place, and the limits that it waits for."""

from __future__ import annotations

from interlock.decide.govern import NAMES
from interlock.engine.means import Means
from interlock.errors import UsageError, did_you_mean
from interlock.model.run import QueuePlace
from interlock.store import queue, watching


class Queue:
    """The governor's queue, as people see it."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def places(self) -> list[QueuePlace]:
        """What waits for a place, next one first."""
        return self._means.governor.places()

    def length(self) -> int:
        """How many attempts wait for a place."""
        with self._means.database.read() as conn:
            return watching.queue_facts(conn)[0]

    def limits(self) -> dict[str, tuple[int, str]]:
        """Every limit by name, with where it comes from: the configuration's, or what an operator has set on top."""
        with self._means.database.read() as conn:
            by_hand = queue.limits(conn)
        settings = self._means.settings.limits
        known = {name: getattr(settings, name) for name in NAMES}
        known |= {f"agent:{name}": spec.max_concurrent for name, spec in self._means.catalogue.items()
                  if spec.max_concurrent is not None}  # fmt: skip
        known |= {f"tag:{name}": most for name, most in settings.tags.items()}
        found = {name: (most, "configured") for name, most in known.items()}
        return found | {name: (most, "set by hand") for name, most in by_hand.items()}

    def set_limit(self, name: str, most: int | None, *, actor: str) -> None:
        """Change a limit for all processes of this store, at once; None goes back to the configured one. 0 means never.

        Raises:
            UsageError: when there is no such limit, or the number is negative.
        """
        kind, _, which = name.partition(":")
        fits = name in NAMES or (kind == "tag" and which) or (kind == "agent" and which in self._means.catalogue)
        if not fits:
            hint = did_you_mean(name, self.limits()) or f"known: {', '.join(NAMES)}, agent:NAME, tag:NAME"
            message = f"there is no limit {name!r}; {hint}"
            raise UsageError(message)
        if most is not None and most < 0:
            message = "a limit is 0 (never) or more"
            raise UsageError(message)
        with self._means.database.write() as conn:
            queue.set_limit(conn, name, most)
            self._means.ledger.append(conn, "operator:limits", "limit.set", {"name": name, "most": most}, actor=actor)
