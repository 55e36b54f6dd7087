"""Commands that Interlock runs itself: validators and compensations, in a process group of their own, without secrets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from interlock.model.agent import Validator
from interlock.reading.secrets import redact
from interlock.runners.command import filled

_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "TERM")
_LAST = 600
"""Characters of a failed command's output that are kept."""


async def run_command(
    command: Sequence[str], *, cwd: Path, project: Path, at_most: timedelta, passed: Sequence[str] = ()
) -> tuple[bool, str]:
    """Run a command to its end; (whether it succeeded, the redacted end of its output). Never raises for the command's sake.

    ``{python}`` stands for the running interpreter, ``{project}`` for the user's project, ``{workspace}`` for ``cwd``. ``passed`` names environment variables
    that it gets besides the harmless ones.
    At the time-out the whole process group is killed.
    """
    argv = filled(command, project=project, workspace=cwd)
    environment = {name: os.environ[name] for name in (*_ENVIRONMENT, *passed) if name in os.environ}
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=cwd, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        return False, f"{argv[0]} could not be started: {error.strerror}"
    try:
        output, _ = await asyncio.wait_for(process.communicate(), at_most.total_seconds())
    except TimeoutError:
        return False, f"{argv[0]} was not finished after {at_most.total_seconds():g} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    said = redact(output.decode(errors="replace").strip())[-_LAST:]
    if process.returncode == 0:
        return True, said
    return False, said or f"{argv[0]} ended with exit code {process.returncode}"


async def failed_validator(validator: Validator, *, workspace: Path, project: Path) -> str:
    """Why the validator failed, empty when it passed."""
    ok, said = await run_command(validator.command, cwd=workspace, project=project, at_most=validator.timeout)
    return "" if ok else said
