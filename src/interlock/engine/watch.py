"""Looks at everything from time to time: metrics, alerts, rollouts, exporters, the ledger itself.

Every executing process has one; a lease lets one of them work. What one part does wrong stops no other part and no agent.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta

from interlock.engine.alarms import Alarms
from interlock.engine.ledger import Verification
from interlock.engine.means import Means
from interlock.engine.rollouts import Rollouts
from interlock.errors import StoreError
from interlock.model.ledger import LedgerEntry
from interlock.ports import Observer
from interlock.store import watching
from interlock.store.database import micros

_log = logging.getLogger(__name__)

LEASE = "watch"
VERIFIED = "verified"
"""The mark of the last verification: when (microseconds), and in its note what was wrong."""
_PAGE = 500
_TRIES = 5
"""How many looks in a row an observer may fail at one record before it is passed over."""


class Watch:
    """The evaluator of one process."""

    def __init__(self, means: Means, alarms: Alarms, rollouts: Rollouts) -> None:
        self._means = means
        self._alarms = alarms
        self._rollouts = rollouts
        self._observers: Mapping[str, Observer] = means.observers
        self._failing: dict[str, tuple[int, int]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="interlock-watch", daemon=True)
        self._every = means.settings.alerts.every_s

    def start(self) -> None:
        """Begin to look, every so often."""
        self._thread.start()

    def stop(self) -> None:
        """Look a last time, so that what a short process has done is looked at too, and give the lease back."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self.once()
        try:
            with self._means.database.write() as conn:
                watching.drop_lease(conn, LEASE, self._means.worker_id)
        except StoreError as problem:
            _log.warning("store: %s", problem)

    def _loop(self) -> None:
        while not self._stopping.wait(self._every):
            self.once()

    def once(self) -> bool:
        """Look once, unless another process does; True when this one did."""
        if not self._guarded("lease", self._take_lease):
            return False
        for name, part in (
            ("metrics", self._means.meter.catch_up),
            ("alerts", self._alarms.evaluate),
            ("rollouts", self._rollouts.evaluate),
            ("verification", self._verify),
        ):
            self._guarded(name, part)
        for name, observer in self._observers.items():
            self._observe(name, observer)
        return True

    def _guarded(self, name: str, part: Callable[[], bool | None]) -> bool:
        try:
            return part() is not False
        except Exception as problem:  # noqa: BLE001 - watching never stops work, and one part never stops another
            _log.warning("%s: %s: %s", name, type(problem).__name__, problem)
            return False

    def _take_lease(self) -> bool:
        lasts = timedelta(seconds=max(60, 4 * self._every))
        with self._means.database.write() as conn:
            now = self._means.database.time(conn, self._means.clock.now())
            return watching.take_lease(
                conn, LEASE, self._means.worker_id, now=micros(now), until=micros(now + lasts)
            )  # fmt: skip

    def _verify(self) -> None:
        every = self._means.settings.health.verify_every_s
        with self._means.database.read() as conn:
            last, _ = watching.mark(conn, VERIFIED)
        now = micros(self._means.clock.now())
        if every and now - last >= every * 1_000_000:
            verify(self._means)

    def _observe(self, name: str, observer: Observer) -> None:
        """Show an observer what is new. What it has seen is marked page by page; a new one begins at the present."""
        mark = f"observer:{name}"
        try:
            with self._means.database.read() as conn:
                (seen, note), head = watching.mark(conn, mark), watching.ledger_head(conn)
            if not note:
                self._set_mark(mark, head)
                return
            while page := self._means.ledger.entries(after=seen, limit=_PAGE):
                for entry in page:
                    if not self._show(name, observer, entry):
                        self._set_mark(mark, entry.seq - 1)
                        return
                seen = page[-1].seq
                self._set_mark(mark, seen)
        except StoreError as problem:
            _log.warning("observer %s: %s", name, problem)

    def _show(self, name: str, observer: Observer, entry: LedgerEntry) -> bool:
        """False when it failed and is to be tried again at the next look."""
        try:
            observer(entry)
        except Exception as problem:  # noqa: BLE001 - an observer that raises is logged and counted, never obeyed
            self._means.meter.observer_failures += 1
            _log.warning("observer %s: %s: %s", name, type(problem).__name__, problem)
            before, tries = self._failing.get(name, (0, 0))
            tries = tries + 1 if before == entry.seq else 1
            self._failing[name] = (entry.seq, tries)
            return tries >= _TRIES
        return True

    def _set_mark(self, name: str, seq: int) -> None:
        with self._means.database.write() as conn:
            watching.set_mark(conn, name, seq, "seen")


def verify(means: Means) -> Verification:
    """Verify the ledger, and note when and with which result."""
    result = means.ledger.verify()
    try:
        with means.database.write() as conn:
            watching.set_mark(conn, VERIFIED, micros(means.clock.now()), result.problem[:2000])
    except StoreError as problem:
        _log.warning("the result of the verification could not be noted: %s", problem)
    return result
