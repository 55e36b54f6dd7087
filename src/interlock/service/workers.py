"""The processes that execute."""

from __future__ import annotations

from datetime import datetime

from interlock.engine.alive import is_dead
from interlock.engine.durable import own_queue
from interlock.engine.means import Means
from interlock.store import queue
from interlock.store.database import micros


class Workers:
    """The workers of one store, in whichever process they are."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def any_living(self, now: datetime | None = None) -> bool:
        """Whether any process executes."""
        now = now or self._means.clock.now()
        with self._means.database.read() as conn:
            shared = micros(self._means.database.time(conn, now))
            return any(not is_dead(row, shared) for row in queue.list_workers(conn))

    def any_shared(self) -> bool:
        """Whether any process executes runs that were submitted for anybody."""
        with self._means.database.read() as conn:
            now = micros(self._means.database.time(conn, self._means.clock.now()))
            return any(row.queue != own_queue(row.id) and not is_dead(row, now) for row in queue.list_workers(conn))
