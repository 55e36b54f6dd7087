"""One command in front of a keeper, to its end: with everything that it has started gone when this returns."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from interlock.errors import RunnerError
from interlock.runners import keeper
from interlock.runners.handover import Captured

_CHUNK = 1 << 16
_GRACE_S = 1.0
_KEEPER_PATIENCE_S = 25.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a command came out."""

    code: int
    output: str
    """Both streams in the order of their arrival, the middle left out when long."""
    timed_out: bool = False


async def run_kept(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout_s: float, keep: int = 64_000
) -> Ended:
    """Run a command; when its time is over or this is cancelled, it and all that came of it are ended first.

    ``keep`` is the number of bytes of output that are kept.

    Raises:
        RunnerError: when it cannot be started.
    """
    printed = Captured(keep)
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", keeper.__file__, str(_GRACE_S), *argv),
            cwd=cwd, env=dict(env), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )
    )  # fmt: skip
    timed_out = False
    try:
        process = await asyncio.shield(starting)
        try:
            async with asyncio.timeout(timeout_s):
                await _read(process, printed)
        except TimeoutError:
            timed_out = True
    except (OSError, ValueError) as error:
        raise RunnerError(f"cannot start {argv[0]}: {error}") from error
    finally:
        await _uninterrupted(asyncio.ensure_future(_end(starting, printed)))
    return Ended(
        code=process.returncode if process.returncode is not None else -1, output=printed.text, timed_out=timed_out
    )


async def _read(process: asyncio.subprocess.Process, into: Captured) -> None:
    assert process.stdout is not None  # noqa: S101 - the process was started with pipes
    while chunk := await process.stdout.read(_CHUNK):
        into.add(chunk)
    await process.wait()


async def _end(starting: asyncio.Future[asyncio.subprocess.Process], printed: Captured) -> None:
    """Closing its standard input tells the keeper to end everything."""
    try:
        process = await starting
    except (OSError, ValueError):
        return
    if process.returncode is not None:
        return
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(_read(process, printed), _GRACE_S + _KEEPER_PATIENCE_S)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _uninterrupted(task: asyncio.Future[None]) -> None:
    """Wait for all of it, even when cancelled meanwhile; the cancellation goes on afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
