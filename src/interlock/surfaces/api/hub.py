"""One reader of the ledger for all who watch: two hundred viewers cost the store as much as one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

from interlock.errors import StoreError
from interlock.model.ledger import LedgerEntry
from interlock.model.run import RunState
from interlock.service import Service

_POLL_S = 0.15
_KEPT = 2_000
_PAGE = 500
MOST_VIEWERS = 1_000
_ENDED = "run.ended"


class Hub:
    """Records as they come, to any number of viewers of this process."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._recent: deque[LedgerEntry] = deque(maxlen=_KEPT)
        self._read_to = 0
        self._news = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self.viewers = 0
        self.closing = False

    def close(self) -> None:
        """Let everybody go."""
        self.closing = True
        self._news.set()

    async def follow(
        self, *, after: int | None, run_id: str = "", beat_s: float = 15.0
    ) -> AsyncIterator[LedgerEntry | None]:
        """Records after a sequence number (None: only new ones), of one run until it has ended or of all for ever.

        None comes when there was nothing for ``beat_s`` seconds.
        """
        self.viewers += 1
        try:
            if self._reader is None or self._reader.done():
                self._recent.clear()
                self._read_to = await asyncio.to_thread(self._service.ledger.newest)
                self._reader = asyncio.create_task(self._read())
            at = self._read_to if after is None else min(after, self._read_to)
            async for entry in self._serve(at, run_id, beat_s):
                yield entry
        finally:
            self.viewers -= 1
            if not self.viewers and self._reader is not None:
                self._reader.cancel()

    async def _serve(self, at: int, run_id: str, beat_s: float) -> AsyncIterator[LedgerEntry | None]:
        ended = bool(run_id) and await self._has_ended(run_id)
        while not self.closing:
            news, seen = self._news, self._read_to
            page = await self._page(at, run_id)
            if ended and not page:  # the store may know of the end before the reader has read it
                page = await asyncio.to_thread(self._service.ledger.entries, run_id=run_id, after=at, limit=_PAGE)
            for entry in page:
                yield entry
                at = max(at, entry.seq)
                ended = ended or (bool(run_id) and entry.kind == _ENDED)
            if len(page) < _PAGE:
                at = max(at, seen)
            if page:
                continue
            if ended:
                return
            try:
                await asyncio.wait_for(news.wait(), timeout=beat_s)
            except TimeoutError:
                ended = bool(run_id) and await self._has_ended(run_id)
                yield None

    async def _has_ended(self, run_id: str) -> bool:
        run = await asyncio.to_thread(self._service.runs.find, run_id)
        return run.state is RunState.ENDED

    async def _page(self, at: int, run_id: str) -> list[LedgerEntry]:
        """What comes after ``at``: from memory when it reaches back so far."""
        if self._recent and self._recent[0].seq <= at + 1:
            return [one for one in self._recent if one.seq > at and run_id in {"", one.run_id}][:_PAGE]
        if at >= self._read_to and not run_id:
            return []
        return await asyncio.to_thread(self._service.ledger.entries, run_id=run_id, after=at, limit=_PAGE)

    async def _read(self) -> None:
        while not self.closing:
            page: list[LedgerEntry] = []
            with contextlib.suppress(StoreError):  # it may be back at the next look
                page = await asyncio.to_thread(self._service.ledger.entries, after=self._read_to, limit=_PAGE)
            if not page:
                await asyncio.sleep(_POLL_S)
                continue
            self._recent.extend(page)
            self._read_to = page[-1].seq
            old, self._news = self._news, asyncio.Event()
            old.set()
