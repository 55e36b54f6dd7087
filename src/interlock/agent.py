"""The client for agents that are programs: read the job, ask the gate, hand over. Standard library only.

::

    from interlock import agent


    def work(job: agent.Job) -> None:
        job.shell(["make", "docs"])
        job.write("docs/NOTE.md", "made from the sources")
        job.done(summary="the documentation is up to date", artefacts=["docs/NOTE.md"])


    agent.main(work)

Every method that has an effect asks the gate first and reports its outcome afterwards. What the gate refuses raises
:class:`Blocked`, and nothing happens. Outside of an Interlock run there is no gate, and nothing is allowed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

TYPE_CHECKING = (
    False  # as typing has it; importing typing and dataclasses would double the start-up time of every agent
)
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from subprocess import CompletedProcess
    from types import TracebackType
    from typing import Any, NoReturn, Self

_MAX_REPORTED = 200_000
"""Characters of a call's output that are reported; the middle of longer ones is left out."""


class Blocked(Exception):  # noqa: N818 - not an error of the agent: the answer was no
    """Raised when the gate says no: before a call, which then has not happened, or after it, when the result is withheld."""

    def __init__(self, reason: str, *, happened: bool = False) -> None:
        self.reason = reason
        self.happened = happened
        super().__init__(reason)


class GateGone(Blocked):
    """Raised when there is no gate, or it does not answer: then nothing is allowed."""


class Compensation:
    """How a call's effect outside the workspace can be undone: a command, and one that must succeed afterwards."""

    def __init__(self, command: Sequence[str], validate: Sequence[str] = ()) -> None:
        self.command = tuple(command)
        self.validate = tuple(validate)


class HandedOver:
    """What an agent handed over that this one depends on."""

    def __init__(self, plain: Mapping[str, Any]) -> None:
        self.summary = str(plain["summary"])
        self.deliverables: tuple[str, ...] = tuple(plain["deliverables"])
        self.next_steps: tuple[str, ...] = tuple(plain["next_steps"])
        self.blockers: tuple[str, ...] = tuple(plain["blockers"])
        self.recommendations: tuple[str, ...] = tuple(plain["recommendations"])
        self.artefacts: tuple[str, ...] = tuple(plain["artefacts"])


def _ask(request: Mapping[str, Any]) -> dict[str, Any]:
    """Send a request to the gate and wait for its answer, for as long as people need.

    Each request has a connection of its own: threads and forked children cannot get each other's answers.

    Raises:
        GateGone: when there is no gate or it has ended.
    """
    try:
        answer = json.loads(_exchange(json.dumps(request, allow_nan=False).encode() + b"\n"))
    except (OSError, ValueError) as error:
        raise GateGone(f"the gate cannot be reached ({error}); programs run by Interlock have one") from error
    if not isinstance(answer, dict):
        raise GateGone("the gate answered nonsense")
    return answer


def _exchange(line: bytes) -> bytes:
    import socket  # noqa: PLC0415 - agents that ask nothing start faster

    path = os.environ.get("INTERLOCK_GATE")
    if not path:
        raise ConnectionError("INTERLOCK_GATE is not set")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, connection.makefile("rb") as answers:
        connection.connect(path)
        try:  # noqa: SIM105 - start-up time, see above
            connection.sendall(line)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before it was read whole: the answer says why
        return answers.readline()


class Call:
    """One gated call of a tool of the agent's own: ``with job.call(…) as call: …; call.output = …``."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._request = request
        self._effect = ""
        self.key = ""
        """The idempotency key to hand to what is called."""
        self.ok = True
        self.output = ""
        """What came of it; the gate judges it before it may be used."""
        self.labels: Mapping[str, str] | None = None
        """Where the output comes from, such as ``{"integrity": "untrusted"}`` for a page of the web."""

    def __enter__(self) -> Self:
        """Ask the gate.

        Raises:
            Blocked: when it says no; the body is not entered.
        """
        answer = _ask({"op": "before", **self._request})
        effect = answer.get("effect")
        if answer.get("verdict") != "allow" or not isinstance(effect, str) or not effect:
            raise Blocked(str(answer.get("reason") or "not allowed"))
        self._effect, self.key = effect, str(answer.get("key", ""))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Report the outcome.

        Raises:
            Blocked: when the call has happened, and its result must not be used.
        """
        if error is not None:
            self.ok, self.output = False, self.output or f"{type(error).__name__}: {error}"
        answer = _ask(
            {
                "op": "after",
                "effect": self._effect,
                "ok": self.ok,
                "output": _shortened(self.output),
                "labels": dict(self.labels) if self.labels is not None else None,
            }
        )
        if answer.get("verdict") != "allow" and error is None:
            raise Blocked(str(answer.get("reason") or "the result may not be used"), happened=True)


class Job:
    """What this program was started for, and everything it may do."""

    def __init__(self, plain: Mapping[str, Any]) -> None:
        self.run_id: str = plain["run_id"]
        self.attempt_id: str = plain["attempt_id"]
        self.number: int = plain["number"]
        """1 for the first attempt."""
        self.agent: str = plain["agent"]
        self.task: str = plain["task"]
        """The whole task, as the user said it."""
        self.prompt: str = plain["prompt"]
        """This agent's part of it."""
        self.instructions: str = plain["instructions"]
        """The body of the agent's definition."""
        self.environment: str = plain["environment"]
        self.timeout_s: float = plain["timeout_s"]
        self.workspace = Path(plain["workspace"])
        """The only place to write to."""
        self.project = Path(plain["project"])
        """The user's project, to be read only."""
        self.handed_over = {name: HandedOver(result) for name, result in plain["handed_over"].items()}
        """Results of the agents that this one depends on, by agent."""

    def call(
        self,
        tool: str,
        args: Mapping[str, Any],
        *,
        idempotent: bool = False,
        compensation: Compensation | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Call:
        """A call of a tool of the agent's own, as a context manager."""
        request: dict[str, Any] = {"tool": tool, "args": dict(args), "idempotent": idempotent}
        if compensation is not None:
            undo = {"command": list(compensation.command), "validate": list(compensation.validate)}
            request["compensation"] = undo
        if labels is not None:
            request["labels"] = dict(labels)
        return Call(request)

    def shell(
        self,
        command: str | Sequence[str],
        *,
        idempotent: bool = False,
        compensation: Compensation | None = None,
        timeout: float | None = None,
    ) -> CompletedProcess[str]:
        """Run a command in the workspace: a list as it is, a text by ``sh``. The gate sees exactly what will run.

        Raises:
            Blocked: when the gate says no.
            OSError: when there is no such program.
            subprocess.TimeoutExpired: after ``timeout`` seconds.
        """
        import shlex  # noqa: PLC0415 - see _exchange
        import subprocess  # noqa: PLC0415

        text = command if isinstance(command, str) else shlex.join(command)
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        with self.call("shell", {"command": text}, idempotent=idempotent, compensation=compensation) as call:
            done = subprocess.run(
                argv, cwd=self.workspace, capture_output=True, text=True, errors="replace", timeout=timeout, check=False
            )
            call.ok, call.output = done.returncode == 0, done.stdout + done.stderr
        return done

    def write(self, path: str | Path, text: str) -> Path:
        """Write a text file of the workspace, whole or not at all; folders are made.

        Raises:
            Blocked: when the gate says no.
        """
        place = (self.workspace / path).resolve()  # what is judged is what is used
        args = {"path": self._shown(place), "content": text}
        with self.call("edit", args, idempotent=True) as call:
            place.parent.mkdir(parents=True, exist_ok=True)
            new = place.with_name(f".{place.name}.{os.getpid()}")
            new.write_text(text, encoding="utf-8")
            new.replace(place)
            call.output = f"{len(text)} characters written"
        return place

    def read(self, path: str | Path) -> str:
        """The text of a file, relative to the workspace.

        Raises:
            Blocked: when the gate says no, or withholds what was read.
        """
        place = (self.workspace / path).resolve()  # what is judged is what is used
        with self.call("read", {"path": self._shown(place)}, idempotent=True) as call:
            text = place.read_text(encoding="utf-8")
            call.output = text
        return text

    def sql(
        self,
        database: str | Path,
        statement: str,
        parameters: Sequence[Any] = (),
        *,
        idempotent: bool = False,
        compensation: Compensation | None = None,
    ) -> list[tuple[Any, ...]]:
        """Run one statement on an SQLite database, in a transaction of its own; returns its rows.

        Raises:
            Blocked: when the gate says no, or withholds the rows.
            sqlite3.Error: when the statement fails; nothing has changed then.
        """
        import sqlite3  # noqa: PLC0415 - see _exchange

        place = (self.workspace / database).resolve()
        args = {"database": self._shown(place), "query": statement, "parameters": list(parameters)}
        with self.call("sql", args, idempotent=idempotent, compensation=compensation) as call:
            connection = sqlite3.connect(f"{place.as_uri()}?mode=rw", uri=True)
            try:
                with connection:
                    rows = _enforcing(connection).execute(statement, tuple(parameters)).fetchall()
            finally:
                connection.close()
            call.output = "\n".join("\t".join(map(str, row)) for row in rows)
        return rows

    def done(
        self,
        *,
        summary: str,
        deliverables: Iterable[str] = (),
        next_steps: Iterable[str] = (),
        blockers: Iterable[str] = (),
        recommendations: Iterable[str] = (),
        artefacts: Iterable[str | Path] = (),
        usage: Mapping[str, int] | None = None,
    ) -> None:
        """Hand over. Artefacts are paths inside the workspace."""
        self._hand_over(
            {
                "summary": summary,
                "deliverables": list(deliverables),
                "next_steps": list(next_steps),
                "blockers": list(blockers),
                "recommendations": list(recommendations),
                "artefacts": [self._shown(self.workspace / path) for path in artefacts],
                "usage": dict(usage or {}),
            }
        )

    def fail(self, kind: str, message: str) -> NoReturn:
        """End this program as failed: ``transient``, ``rendering_failure``, ``schema_conflict``, … and why."""
        self._hand_over({"error": {"kind": kind, "message": message}})
        sys.stderr.write(f"{kind}: {message}\n")
        raise SystemExit(1)

    def _hand_over(self, plain: Mapping[str, Any]) -> None:
        place = os.environ.get("INTERLOCK_RESULT")
        if not place:
            raise GateGone("INTERLOCK_RESULT is not set; programs run by Interlock have it")
        new = Path(place + ".new")
        new.write_text(json.dumps(plain), encoding="utf-8")
        new.replace(place)

    def _shown(self, place: Path) -> str:
        """The path as the gate sees it: relative to the workspace when it is inside of it, links followed."""
        whole, root = place.resolve(), self.workspace.resolve()
        return str(whole.relative_to(root)) if whole.is_relative_to(root) else str(whole)


def job() -> Job:
    """The job that this program was started for.

    Raises:
        GateGone: when the program was not started by Interlock.
    """
    place = os.environ.get("INTERLOCK_JOB")
    if not place:
        raise GateGone("INTERLOCK_JOB is not set: this program is to be run by Interlock")
    return Job(json.loads(Path(place).read_text(encoding="utf-8")))


def main(work: Callable[[Job], None]) -> None:
    """Do the job; a no of the gate that the agent does not handle ends it as ``blocked``."""
    mine = job()
    try:
        work(mine)
    except Blocked as no:
        mine.fail("blocked", no.reason)


def _shortened(text: str) -> str:
    if len(text) <= _MAX_REPORTED:
        return text
    half = _MAX_REPORTED // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def _enforcing(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.execute("PRAGMA foreign_keys = ON")
    return connection
