"""One command in front of a keeper, to its end: with everything that it has started gone when this returns."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    starting = asyncio.ensure_future(start_kept(argv, cwd=cwd, env=env, output=asyncio.subprocess.PIPE))
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
        await uninterrupted(asyncio.ensure_future(_end(starting, printed)))
    return Ended(
        code=process.returncode if process.returncode is not None else -1, output=printed.text, timed_out=timed_out
    )


async def start_kept(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], output: int, passed: socket.socket | None = None
) -> asyncio.subprocess.Process:
    """Start a command in front of a keeper, both its streams going to ``output``; :func:`end_kept` ends it.

    ``passed`` is inherited by it, under the same number, and closed here.
    """
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", keeper.__file__, str(_GRACE_S), *argv),
            cwd=cwd, env=dict(env), stdin=asyncio.subprocess.PIPE, stdout=output, stderr=asyncio.subprocess.STDOUT,
            start_new_session=True, pass_fds=(passed.fileno(),) if passed else (),
        )  # fmt: skip
    finally:
        if passed:
            passed.close()


async def _read(process: asyncio.subprocess.Process, into: Captured) -> None:
    assert process.stdout is not None  # noqa: S101 - the process was started with pipes
    while chunk := await process.stdout.read(_CHUNK):
        into.add(chunk)
    await process.wait()


async def _end(starting: asyncio.Future[asyncio.subprocess.Process], printed: Captured) -> None:
    try:
        process = await starting
    except (OSError, ValueError):
        return
    await end_kept(process, _read(process, printed))


async def end_kept(process: asyncio.subprocess.Process, rest: Coroutine[Any, Any, object]) -> None:
    """Closing its standard input tells the keeper to end everything; ``rest`` is waited for: what it says until it is gone."""
    if process.returncode is not None:
        rest.close()
        return
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(rest, _GRACE_S + _KEEPER_PATIENCE_S)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def uninterrupted(task: asyncio.Future[None]) -> None:
    """Wait for all of it, even when cancelled meanwhile; the cancellation goes on afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
