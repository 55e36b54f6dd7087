"""Asks the process that does a model's file work inside its sandbox (:mod:`interlock.runners.filer`)."""

from __future__ import annotations

import asyncio
import fcntl
import json
import socket
import sys
from dataclasses import dataclass, field, replace

import orjson

from interlock.errors import RunnerError
from interlock.model.sandbox import FIRST_FREE
from interlock.runners import filer
from interlock.runners.kept import end_kept, start_kept, uninterrupted
from interlock.runners.places import Places, Wrap

LIMIT_S = 30.0
"""Seconds that one request may take, the start of the process included."""


@dataclass(kw_only=True, slots=True)
class Filing:
    """One such process, started by the first request and ended by :meth:`close`; it goes when we do.

    One that failed to answer is ended; the next request gets a new one, behind the same walls.
    """

    places: Places
    wrap: Wrap
    _starting: asyncio.Future[asyncio.subprocess.Process] | None = None
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ask(self, do: str, **args: str) -> tuple[bool, str]:
        """Whether it was done, and the output or why not.

        Raises:
            RunnerError: when there was no answer in time, or none that is one.
            SandboxError: when the walls cannot be raised.
        """
        line = json.dumps({"do": do, "args": args}).encode() + b"\n"
        if len(line) > filer.MAX_LINE:
            return False, f"more than {filer.MAX_FILE} bytes"
        async with self._turn:
            answered = False
            try:
                async with asyncio.timeout(LIMIT_S):
                    answer = _understood(await self._answer(line))
                answered = True
            except TimeoutError:
                raise RunnerError(f"not finished after {LIMIT_S:g} s and ended") from None
            except (OSError, ValueError) as error:
                raise RunnerError(f"no answer from inside the sandbox: {error}") from error
            finally:
                if not answered:
                    await self.close()
            return answer

    async def _answer(self, line: bytes) -> bytes:
        reader, writer = self._streams or await self._start()
        writer.write(line)
        await writer.drain()
        return await reader.readline()

    async def _start(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        walled = replace(self.places, gate=None, proxy=None, relays={}, variables={})  # files need no doors
        ours, theirs = _pair()
        try:
            program = (sys.executable, "-I", "-S", filer.__file__, str(theirs.fileno()), str(walled.workspace))
            box = self.wrap(program, walled.environment(), walled)
            self._streams = await asyncio.open_connection(sock=ours, limit=filer.MAX_LINE)
            self._starting = asyncio.ensure_future(
                start_kept(box, cwd=walled.workspace, output=asyncio.subprocess.DEVNULL, passed=theirs)
            )
            await asyncio.shield(self._starting)
        finally:
            if self._streams is None:
                ours.close()
            if self._starting is None:
                theirs.close()
        return self._streams

    async def close(self) -> None:
        """End the process, if there is one, with all that came of it; not before that does this return."""
        streams, starting = self._streams, self._starting
        self._streams = self._starting = None
        if streams is not None:
            streams[1].close()
        if starting is not None:
            await uninterrupted(asyncio.ensure_future(_end(starting)))


def _pair() -> tuple[socket.socket, socket.socket]:
    """Two ends; the second under a number that no shell on the way in uses."""
    ours, theirs = socket.socketpair()
    with theirs:
        return ours, socket.socket(fileno=fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE))


async def _end(starting: asyncio.Future[asyncio.subprocess.Process]) -> None:
    try:
        process = await starting
    except (OSError, ValueError):
        return
    await end_kept(process, process.wait())


def _understood(line: bytes) -> tuple[bool, str]:
    """What runs inside is not trusted to speak well.

    Raises:
        ValueError: when it is no answer.
    """
    if not line.endswith(b"\n"):
        raise ValueError("it has ended")
    answer = orjson.loads(line)  # refuses what is nested too deep as well
    if (
        not isinstance(answer, dict)
        or not isinstance(answer.get("ok"), bool)
        or not isinstance(answer.get("output"), str)
    ):
        raise ValueError("it does not speak as agreed")  # noqa: TRY004 - a bad value from outside, not a wrong type of ours
    return answer["ok"], answer["output"]
