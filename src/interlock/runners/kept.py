"""One command to its end: with everything that it has started gone when this returns, and with us when we are killed.

In bubblewrap the sandbox itself sees to that; elsewhere a keeper does (:mod:`interlock.runners.keeper`).
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from interlock.errors import RunnerError
from interlock.model.sandbox import SandboxedCommand, SandboxLevel
from interlock.runners import keeper
from interlock.runners.handover import Captured

_CHUNK = 1 << 16
_GRACE_S = 1.0
_KEEPER_PATIENCE_S = 25.0
_LOOK_S = 0.05
_READY = b"\n"
_IN_TURN = 'echo; read -r go || exit 126; exec "$@" </dev/null'
"""Runs inside the walls, which end with us from before it does: a command that nobody could end any more is not begun."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a command came out."""

    code: int
    output: str
    """Both streams in the order of their arrival, the middle left out when long."""
    timed_out: bool = False


async def run_kept(box: SandboxedCommand, *, cwd: Path, timeout_s: float, keep: int = 64_000) -> Ended:
    """Run a command; when its time is over or this is cancelled, it and all that came of it are ended first.

    ``keep`` is the number of bytes of output that are kept.

    Raises:
        RunnerError: when it cannot be started.
    """
    printed = Captured(keep)
    walled = box.level is SandboxLevel.BUBBLEWRAP
    starting = asyncio.ensure_future((_start_walled if walled else _start_with_keeper)(box, cwd))
    timed_out = False
    try:
        process = await asyncio.shield(starting)
        try:
            async with asyncio.timeout(timeout_s):
                if walled:
                    await _let_go(process, printed)
                await _read(process, printed)
        except TimeoutError:
            timed_out = True
    except (OSError, ValueError) as error:
        raise RunnerError(f"cannot start {box.program[0]}: {error}") from error
    finally:
        await uninterrupted(asyncio.ensure_future(_end(starting, printed, walled=walled)))
    return Ended(
        code=process.returncode if process.returncode is not None else -1, output=printed.text, timed_out=timed_out
    )


async def start_kept(
    box: SandboxedCommand, *, cwd: Path, output: int, passed: socket.socket | None = None
) -> asyncio.subprocess.Process:
    """Start a command in front of a keeper, both its streams going to ``output``; :func:`end_kept` ends it.

    ``passed`` is inherited by it, under the same number, and closed here.
    """
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", keeper.__file__, str(_GRACE_S), *box.argv),
            cwd=cwd, env=dict(box.env), stdin=asyncio.subprocess.PIPE, stdout=output, stderr=asyncio.subprocess.STDOUT,
            start_new_session=True, pass_fds=(passed.fileno(),) if passed else (),
        )  # fmt: skip
    finally:
        if passed:
            passed.close()


async def _start_with_keeper(box: SandboxedCommand, cwd: Path) -> asyncio.subprocess.Process:
    return await start_kept(box, cwd=cwd, output=asyncio.subprocess.PIPE)


async def _start_walled(box: SandboxedCommand, cwd: Path) -> asyncio.subprocess.Process:
    """Without a keeper: the sandbox is a namespace of processes, and all of it ends when its first process does, or we do."""
    argv = (*box.walls, "/bin/sh", "-c", _IN_TURN, "sh", *box.program)
    return await asyncio.create_subprocess_exec(
        *argv, cwd=cwd, env=dict(box.env), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


async def _let_go(process: asyncio.subprocess.Process, printed: Captured) -> None:
    """Tell the command to begin, now that the walls stand and will fall with us; what comes instead of the sign is a failure."""
    assert process.stdout is not None  # noqa: S101 - the process was started with pipes
    assert process.stdin is not None  # noqa: S101 - the same
    sign = await process.stdout.read(1)
    if sign == _READY:
        process.stdin.write(b"go\n")
    else:
        printed.add(sign)
    process.stdin.close()


async def _read(process: asyncio.subprocess.Process, into: Captured) -> None:
    assert process.stdout is not None  # noqa: S101 - the process was started with pipes
    while chunk := await process.stdout.read(_CHUNK):
        into.add(chunk)
    await process.wait()


async def _end(starting: asyncio.Future[asyncio.subprocess.Process], printed: Captured, *, walled: bool) -> None:
    try:
        process = await starting
    except (OSError, ValueError):
        return
    if walled:
        await _end_walled(process, printed)
    else:
        await end_kept(process, _read(process, printed))


async def _end_walled(process: asyncio.subprocess.Process, printed: Captured) -> None:
    """Kill the namespace's first process: the kernel then kills all others, and bubblewrap ends when they are gone."""
    if process.returncode is not None:
        return
    rest = asyncio.ensure_future(_read(process, printed))
    for _ in range(round(_KEEPER_PATIENCE_S / _LOOK_S)):
        with suppress(psutil.Error):
            for first in psutil.Process(process.pid).children():
                first.kill()
        if (await asyncio.wait({rest}, timeout=_LOOK_S))[0]:
            return
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
    rest.cancel()


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
