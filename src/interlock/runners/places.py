"""Where one attempt's programs may be, their environment, and what stands in front of them: for all runners that start any."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from interlock.errors import RunnerError
from interlock.model.risk import RiskLevel
from interlock.model.sandbox import SandboxedCommand
from interlock.ports import Gate, Job

_PASSED_ON = frozenset({"PATH", "LANG", "TZ", "TERM"})
_MAX_SOCKET_PATH = 100  # sun_path holds 108 bytes on Linux, 104 on macOS
_LONGEST_NAME = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where one attempt may be: what a sandbox has to let through."""

    workspace: Path
    """To be written to; the program starts there."""
    project: Path
    """To be read."""
    scratch: Path
    """To be written to: holds ``home`` and ``tmp``, the job and the hand-over. Private, thrown away at the end."""
    sockets: Path
    """A private directory with a short name for the sockets of this attempt; not to be seen as a whole."""
    writes: tuple[Path, ...] = ()
    """To be written to as well: what the configuration grants of the project, such as its live database's directory."""
    keeps: tuple[Path, ...] = ()
    """Not to be written to, inside what may be."""
    reads: tuple[Path, ...] = ()
    """To be read as well: a program that is not among the system's."""
    gate: Path | None = None
    """A unix socket to be connected to."""
    proxy: Path | None = None
    """The unix socket of an HTTP proxy, for programs that have no network of their own."""
    relays: Mapping[str, Path] = field(default_factory=dict)
    """Unix sockets of HTTP servers, by the environment variable in which the program finds the URL."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables that every program of the attempt gets."""
    guarded: bool = False
    """The program holds a secret: its walls must keep the agent's other programs out."""
    risk: RiskLevel = RiskLevel.LOW
    """Of the task: risky work needs better walls."""

    @property
    def job(self) -> Path:
        """The job as JSON."""
        return self.scratch / "job.json"

    @property
    def result(self) -> Path:
        """Where the hand-over is expected."""
        return self.scratch / "out" / "result.json"

    def environment(self, names: Collection[str] = ()) -> dict[str, str]:
        """What a program gets of our environment: the harmless variables, those of ``names``, and a HOME of its own."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in _PASSED_ON or name.startswith("LC_") or name in names
        }
        return kept | dict(self.variables) | {"HOME": str(self.scratch / "home"), "TMPDIR": str(self.scratch / "tmp")}

    def remove(self) -> None:
        """Throw the private directories away."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        shutil.rmtree(self.sockets, ignore_errors=True)


Wrap = Callable[[Sequence[str], Mapping[str, str], Places], SandboxedCommand]
"""Puts the sandbox in front of a program: given its argument list and whole environment."""

Doors = Callable[[Gate, Places], AbstractAsyncContextManager[Places]]
"""What leads out of the sandbox while it is entered: a proxy to the granted hosts, relays for credentials. The places know of it."""


def no_doors(_gate: Gate, places: Places) -> AbstractAsyncContextManager[Places]:
    """Nothing leads out."""
    return nullcontext(places)


def make_places(job: Job) -> Places:
    """The private directories of an attempt, fresh: those of the same attempt before a crash are thrown away.

    Raises:
        RunnerError: when there is no workspace.
    """
    if not job.workspace.is_dir():
        raise RunnerError(f"the workspace {job.workspace} does not exist")
    scratch = job.workspace.parent / f"{job.workspace.name}.private"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    for name in ("home", "tmp", "out"):
        (scratch / name).mkdir(mode=0o700)
    folder = tempfile.mkdtemp(prefix="il-")
    if len(folder) > _MAX_SOCKET_PATH - _LONGEST_NAME:
        Path(folder).rmdir()
        folder = tempfile.mkdtemp(prefix="il-", dir="/tmp")  # a new private directory with a short name
    return Places(
        workspace=job.workspace, project=job.project, scratch=scratch, sockets=Path(folder), risk=job.risk
    )  # fmt: skip
