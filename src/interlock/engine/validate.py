"""Commands that Interlock runs itself: validators and compensations, in a process group of their own, without secrets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from interlock.errors import SandboxError
from interlock.model.agent import Validator
from interlock.reading.secrets import redact
from interlock.runners.command import filled

Contain = Callable[[Sequence[str], Path, Path], tuple[Sequence[str], Mapping[str, str]]]
"""Puts the sandbox in front of a program: (argument list, workspace, scratch directory) to (argument list, environment)."""

_KEPT = 1 << 16
_GRACE_S = 2.0
_LAST = 600
"""Characters of a failed command's output that are kept."""


async def run_command(
    command: Sequence[str],
    *,
    cwd: Path,
    project: Path,
    at_most: timedelta,
    contain: Contain,
) -> tuple[bool, str]:
    """Run a command to its end; (whether it succeeded, the redacted end of its output). Never raises for the command's sake.

    ``{python}`` stands for the running interpreter, ``{project}`` for the user's project, ``{workspace}`` for ``cwd``.
    At the time-out the whole process group is killed. ``contain`` puts it inside this machine's sandbox.
    """
    argv: Sequence[str] = filled(command, project=project, workspace=cwd)
    with tempfile.TemporaryDirectory(prefix="interlock-") as scratch:
        try:
            argv, environment = contain(argv, cwd, Path(scratch))
            process = await asyncio.create_subprocess_exec(
                *argv, cwd=cwd, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            return False, f"{argv[0]} could not be started: {error.strerror}"
        except SandboxError as error:
            return False, str(error)
        return await _ended(process, str(command[0]), at_most)


async def _ended(process: asyncio.subprocess.Process, name: str, at_most: timedelta) -> tuple[bool, str]:
    try:
        said = await asyncio.wait_for(_end_of_output(process), at_most.total_seconds())
    except TimeoutError:
        return False, f"{name} was not finished after {at_most.total_seconds():g} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # the sandbox's supervisor ends what has left the group
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.returncode == 0:
        return True, said
    return False, said or f"{name} ended with exit code {process.returncode}"


async def _end_of_output(process: asyncio.subprocess.Process) -> str:
    """Read to the end and keep the last of it, whatever the amount."""
    kept = b""
    while process.stdout is not None and (chunk := await process.stdout.read(1 << 16)):
        kept = (kept + chunk)[-_KEPT:]
    await process.wait()
    return redact(kept.decode(errors="replace").strip())[-_LAST:]


async def failed_validator(validator: Validator, *, workspace: Path, project: Path, contain: Contain) -> str:
    """Why the validator failed, empty when it passed. It runs what the agent has just written, so it is contained as well."""
    ok, said = await run_command(
        validator.command, cwd=workspace, project=project, at_most=validator.timeout, contain=contain
    )
    return "" if ok else said
