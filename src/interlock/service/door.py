"""The one door: whatever may be asked of a project, by the noun that it is about."""

from __future__ import annotations

import threading
from datetime import datetime

from interlock.engine.alarms import Alarms
from interlock.engine.identities import Identities
from interlock.engine.means import Means
from interlock.engine.sessions import Sessions
from interlock.engine.watch import Watch
from interlock.engine.worker import Worker
from interlock.service.agents import Agents
from interlock.service.approvals import Questions
from interlock.service.health import Checkup
from interlock.service.ledger import LedgerReader
from interlock.service.plans import Plans
from interlock.service.policies import Policies
from interlock.service.queue import Queue
from interlock.service.requests import Requests
from interlock.service.runs import Runs
from interlock.service.storage import Storage
from interlock.service.workers import Workers


class Service:
    """One project's Interlock. Without :meth:`start` it answers and records; with it, this process also executes."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._worker: Worker | None = None
        self._watch: Watch | None = None
        self.settings = means.settings
        self.catalogue = means.catalogue
        self.agents = Agents(means)
        self.plans = Plans(means, self.agents)
        self.policies = Policies(means)
        self.runs = Runs(means)
        self.approvals = Questions(means)
        self.queue = Queue(means)
        self.workers = Workers(means)
        self.sessions = Sessions(means)
        self.requests = Requests(means)
        self.ledger = LedgerReader(means)
        self.storage = Storage(means)
        self.meter = means.meter
        self.alarms = Alarms(means)
        self.health = Checkup(means, self.alarms, self.agents)
        self.rollouts = means.rollouts
        self.identities = Identities(means.database, means.ledger, means.clock)

    def start(self, *, shared: bool = False) -> None:
        """Execute in this process too, and take over what dead processes have left.

        With ``shared`` it also executes the runs that were submitted for anybody (``interlock worker``).
        """
        self._worker = Worker(self._means, shared=shared)
        self._worker.start()
        self._watch = Watch(self._means, self.alarms, self.rollouts)
        self._watch.start()

    def drain(self, hurry: threading.Event | None = None) -> None:
        """Take nothing new and let the agents at work finish, until ``hurry`` or as long as ``worker.drain_s`` allows."""
        if self._worker is not None:
            self._worker.drain(self.settings.worker.drain_s, hurry or threading.Event())

    @property
    def worker_id(self) -> str:
        """The name of this process in the store."""
        return self._means.worker_id

    def at_work(self) -> int:
        """How many attempts this process executes."""
        return self._worker.at_work() if self._worker is not None else 0

    def now(self) -> datetime:
        """The time that decisions are made by."""
        return self._means.clock.now()

    def close(self) -> None:
        """Stop executing; what is under way is resumed by the next process."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        self._means.database.close()
