"""How many bodies of runs go on at once in a process."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

_SEATS = 8
"""More would only wait for the writer, and for the interpreter."""


class Seats:
    """So many bodies of runs go on at once in this process; who has begun goes before who has not.

    Thousands of runs may be under way, and each step of each needs a thread, a connection and the one writer: all at once
    they would only wait for each other.
    """

    def __init__(self) -> None:
        self._free = _SEATS
        self._back: deque[asyncio.Future[None]] = deque()
        self._new: deque[asyncio.Future[None]] = deque()

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """A seat, from here to the end of the block."""
        await self._take(self._new)
        try:
            yield
        finally:
            self._give()

    @contextlib.asynccontextmanager
    async def none(self) -> AsyncIterator[None]:
        """Without one's seat, from here to the end of the block."""
        self._give()
        try:
            yield
        finally:
            await self._take(self._back)

    async def _take(self, line: deque[asyncio.Future[None]]) -> None:
        if self._free:
            self._free -= 1
            return
        mine = asyncio.get_running_loop().create_future()
        line.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():
                self._give()
            raise

    def _give(self) -> None:
        for line in (self._back, self._new):
            while line:
                first = line.popleft()
                if not first.done():
                    first.set_result(None)
                    return
        self._free += 1
