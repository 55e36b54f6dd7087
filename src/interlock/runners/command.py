"""Any program as an agent: a process tree of its own, a scrubbed environment, and the gate on a socket."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import psutil

from interlock.errors import ConfigError, RunnerError, did_you_mean
from interlock.model.agent import AgentResult
from interlock.ports import Gate, Job
from interlock.runners import hook_settings, keeper
from interlock.runners.handover import Captured, declared_error, job_file, prompt_of, read_result, result_of
from interlock.runners.places import Doors, Places, Wrap, make_places, no_doors
from interlock.runners.wire import GateServer

KEEP_OUTPUT = 1_000_000
"""Bytes kept of each of the two output streams, half of it the beginning, half of it the end."""
_OPTIONS = ("command", "env", "writes", "grace_s", "hook")
_HOOKED = ("claude", "codex", "gemini", "opencode")
_HOOK_DEADLINE_S = (
    3600.0  # the longest that a hook has: the call may wait for a person, and the attempt's own time is kept elsewhere
)
_CHUNK = 1 << 16
_KEEPER_PATIENCE_S = 25.0
_LAST_LINES = 15
_PLACE = re.compile(r"\{(?:python|project|workspace)\}")

_log = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class _Printed:
    out: Captured = field(default_factory=lambda: Captured(KEEP_OUTPUT))
    err: Captured = field(default_factory=lambda: Captured(KEEP_OUTPUT))

    @property
    def text(self) -> str:
        return self.out.text + ("\n" if self.out.total and self.err.total else "") + self.err.text

    def end(self) -> str:
        return "\n".join(self.err.last_lines(_LAST_LINES) or self.out.last_lines(_LAST_LINES))


class CommandRunner:
    """Runs ``options["command"]`` in the job's workspace.

    Options: ``command`` (a list; ``{python}``, ``{project}``, ``{workspace}`` and ``{prompt}``, what the agent is asked in
    words, are filled in), ``env`` (names of more environment variables to pass on; they are visible to the agent), ``writes``
    (paths inside the project that a sandbox lets the agent write to besides its workspace: the gate is what judges that),
    ``hook`` (claude, codex, gemini or opencode: which of these the program is; it finds our hook in its settings),
    ``grace_s`` (seconds between SIGTERM and SIGKILL, 2 by default). The program finds its job in the file ``INTERLOCK_JOB``, asks the gate on ``INTERLOCK_GATE`` and leaves
    its hand-over in ``INTERLOCK_RESULT``; :mod:`interlock.agent` does all three for Python programs.

    Raises:
        ConfigError: when the options make no sense.
    """

    def __init__(self, options: Mapping[str, Any], *, wrap: Wrap | None = None, doors: Doors = no_doors) -> None:
        for name in options:
            if name not in _OPTIONS:
                raise ConfigError(
                    f"the command runner has no option {name!r}", suggestion=did_you_mean(str(name), _OPTIONS)
                )
        self._command = _words(options.get("command", ()), "command")
        self._env = _words(options.get("env", ()), "env")
        self._writes = _words(options.get("writes", ()), "writes")
        for path in map(PurePosixPath, self._writes):
            if path.is_absolute() or ".." in path.parts:
                raise ConfigError(f"writes of the command runner are paths inside the project, not {path}")
        self._hook = options.get("hook", "")
        if self._hook and self._hook not in _HOOKED:
            raise ConfigError(
                f"the command runner puts no hook into {self._hook!r}", suggestion=f"known: {', '.join(_HOOKED)}"
            )
        grace = options.get("grace_s", 2)
        if isinstance(grace, bool) or not isinstance(grace, (int, float)) or not 0 <= grace <= 60:  # noqa: PLR2004 - a minute
            raise ConfigError("grace_s is a number of seconds from 0 to 60")
        if not self._command:
            raise ConfigError(
                'the command runner needs its command: {kind: command, command: ["{python}", "agent.py"]}'
            )
        self._grace = float(grace)
        self._wrap = wrap
        self._doors = doors

    async def run(self, job: Job, gate: Gate) -> AgentResult:
        """Run the program to its end.

        Raises:
            RunnerError: with the kind that the program declared in its hand-over, else ``crashed``; ``unknown_effect``
                when it ended without telling how a call came out that must not be repeated.
        """
        places = self._places(job)
        try:
            places.job.write_bytes(job_file(job))
            places = self._hooked(places)
            async with GateServer(gate, places.sockets / "gate") as server, self._doors(gate, places) as open_places:
                code, printed = await self._to_the_end(job, open_places)
            return _concluded(code, printed, places, server)
        finally:
            places.remove()

    async def _to_the_end(self, job: Job, places: Places) -> tuple[int, _Printed]:
        prompt = _prompt(job)
        argv: Sequence[str] = [
            word.replace("{prompt}", prompt)
            for word in filled(self._command, project=job.project, workspace=job.workspace)
        ]
        env: Mapping[str, str] = self._environment(places)
        if self._wrap is not None:
            box = self._wrap(argv, env, places)
            argv, env = box.argv, box.env
        printed = _Printed()
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", keeper.__file__, str(self._grace), *argv),
                cwd=job.workspace,
                env=env,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                limit=_CHUNK,
            )
        )
        try:
            process = await asyncio.shield(starting)
            await asyncio.gather(_pump(process.stdout, printed.out), _pump(process.stderr, printed.err))
            return await process.wait(), printed
        except (OSError, ValueError) as error:
            raise RunnerError(f"cannot start {job.agent.name}: {error}") from error
        finally:
            await _without_interruption(self._ended(starting, places))

    async def _ended(self, starting: asyncio.Future[asyncio.subprocess.Process], places: Places) -> None:
        """Nothing of the agent runs any more when this returns."""
        try:
            process = await starting
        except (OSError, ValueError):
            return
        if process.returncode is None and process.stdin is not None:
            process.stdin.close()
            pumps = [_pump(stream, Captured(0)) for stream in (process.stdout, process.stderr)]
            try:
                await asyncio.wait_for(asyncio.gather(process.wait(), *pumps), self._grace + _KEEPER_PATIENCE_S)
            except TimeoutError:
                await _killed(process)
        left: list[psutil.Process] = []
        for _ in range(100):
            left = _leftovers(process.pid, places.job)
            for one in left:
                _log.warning("killed a process that an agent had left behind: %s", one.pid)
                with suppress(psutil.Error):
                    one.kill()
            if not left and process.returncode is not None:
                break
            await asyncio.sleep(0.05)
        else:
            _log.error("processes of an agent could not be ended: %s", [one.pid for one in left])

    def _places(self, job: Job) -> Places:
        places = make_places(job)
        writes = tuple(job.project / name for name in self._writes)
        return replace(places, writes=writes, gate=places.sockets / "gate")

    def _hooked(self, places: Places) -> Places:
        """Our hook in the settings that the program finds in its HOME."""
        if not self._hook:
            return places
        change = hook_settings.plan(self._hook, places.scratch / "home", user=True, deadline_s=_HOOK_DEADLINE_S)
        hook_settings.apply(change)
        return replace(places, keeps=(change.file,))

    def _environment(self, places: Places) -> dict[str, str]:
        env = places.environment(self._env) | hook_settings.surroundings()
        if "{python}" in self._command:
            env["PYTHONDONTWRITEBYTECODE"] = "1"  # byte code is no change to review
            root = str(Path(keeper.__file__).parents[2])
            if not root.startswith(sys.prefix):  # run from a source tree: the agent finds the same interlock
                env["PYTHONPATH"] = os.pathsep.join(filter(None, [root, env.get("PYTHONPATH", "")]))
        return env | {
            "INTERLOCK_WORKSPACE": str(places.workspace),
            "INTERLOCK_PROJECT": str(places.project),
            "INTERLOCK_JOB": str(places.job),
            "INTERLOCK_RESULT": str(places.result),
            "INTERLOCK_GATE": str(places.gate),
        }


def filled(command: Sequence[str], *, project: Path, workspace: Path) -> tuple[str, ...]:
    """A configured command with ``{python}``, ``{project}`` and ``{workspace}`` filled in; other braces stay."""
    places = {"{python}": sys.executable, "{project}": str(project), "{workspace}": str(workspace)}
    return tuple(_PLACE.sub(lambda found: places[found[0]], word) for word in command)


def _prompt(job: Job) -> str:
    """What the agent is asked. Never the look of an option, whatever a task begins with; nothing that ends a text early."""
    words = "\n\n".join(filter(None, (job.agent.instructions, prompt_of(job)))).replace("\0", "")
    return f" {words}" if words.startswith("-") else words


def _words(value: Any, name: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(word, str) for word in value):
        raise ConfigError(f"{name} of the command runner is a list of texts")
    return tuple(value)


async def _pump(stream: asyncio.StreamReader | None, into: Captured) -> None:
    assert stream is not None  # noqa: S101 - the process was started with pipes
    while chunk := await stream.read(_CHUNK):
        into.add(chunk)


async def _without_interruption(work: Any) -> None:
    """Do all of it, even when cancelled meanwhile; the cancellation goes on afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                break
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


async def _killed(process: asyncio.subprocess.Process) -> None:
    """End a keeper that does not do its work (stopped by its agent, say), and before it everything below it."""
    _log.warning("the keeper of an agent does not answer: killing it with all its processes")
    with suppress(psutil.Error, ProcessLookupError):
        keeping = psutil.Process(process.pid)
        while below := keeping.children(recursive=True):
            for one in below:
                with suppress(psutil.Error):
                    one.kill()
            if all(one.status() == psutil.STATUS_ZOMBIE for one in keeping.children(recursive=True)):
                break
            await asyncio.sleep(0.01)
        process.kill()
    await process.wait()


def _leftovers(session: int, marker: Path) -> list[psutil.Process]:
    """Processes of this attempt: in its session, or carrying its job file in their environment."""
    left = []
    for process in psutil.process_iter():
        if process.pid == session:
            continue  # the keeper itself: waited for by its owner
        with suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if os.getsid(process.pid) == session or process.environ().get("INTERLOCK_JOB") == str(marker):
                left.append(process)
    return left


def _concluded(code: int, printed: _Printed, places: Places, server: GateServer) -> AgentResult:
    """The hand-over of a program that has ended, or its failure."""
    plain, failure = None, None
    try:
        plain = read_result(places.result)
        failure = declared_error(plain, blocked=bool(server.blocks)) if plain is not None else None
        result = result_of(plain) if plain is not None and failure is None else AgentResult()
    except RunnerError as error:
        failure = error
    if code != 0 and failure is None:
        failure = RunnerError(f"the agent's program ended with status {code}:\n{printed.end()}".rstrip(":\n"))
    unknown = [effect for effect, idempotent in server.open.items() if not idempotent]
    if unknown:
        said = f"; it also said: {failure}" if failure else ""
        failure = RunnerError(
            f"the agent ended without telling how {', '.join(unknown)} came out{said}", kind="unknown_effect"
        )
    if failure is not None:
        failure.output = printed.text
        raise failure
    if plain is None:
        result = AgentResult(summary="".join(printed.out.last_lines(1)))
    return replace(result, usage=replace(result.usage, tool_calls=server.calls))
