"""Requests that carry an idempotency key: done once, however often they are sent."""

from __future__ import annotations

from datetime import timedelta

from interlock.engine.means import Means
from interlock.store import requests
from interlock.store.database import micros
from interlock.store.requests import KeptAnswer

__all__ = ["KeptAnswer", "Requests"]

_KEPT = timedelta(days=1)
"""How long a key is remembered: a caller that has not asked again within a day will not do it by mistake."""


class Requests:
    """The keys of one store, each of its owner."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def claim(self, owner: str, key: str, digest: str) -> KeptAnswer | None:
        """Take a key for a request of that digest; None: it is new, go ahead. Of two at once, one gets None."""
        now = self._means.clock.now()
        with self._means.database.write() as conn:
            requests.forget_requests(conn, micros(now - _KEPT))
            known = requests.find_request(conn, owner, key)
            if known is None:
                requests.insert_request(conn, owner, key, digest, micros(now))
        return known

    def settle(self, owner: str, key: str, status: int, body: str) -> None:
        """Keep the answer: whoever sends the same again gets it."""
        with self._means.database.write() as conn:
            requests.save_answer(conn, owner, key, status, body)

    def drop(self, owner: str, key: str) -> None:
        """Give a key back: the request was refused and changed nothing."""
        with self._means.database.write() as conn:
            requests.drop_request(conn, owner, key)
