"""Walls around an agent's process, and what it may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from interlock.model.order import OrderedWord


class SandboxLevel(OrderedWord):
    """How well a process is held; the later word holds better. What each holds is in the table of ``docs/limits.md``."""

    NONE = "none"
    RLIMITS = "rlimits"
    """Limits, a scrubbed environment and no privileges: an agent that means no harm."""
    LANDLOCK = "landlock"
    """Also writes only its workspace and reads only what is granted, by the kernel's own rules; no network."""
    BUBBLEWRAP = "bubblewrap"
    """Also sees nothing else: own file system, processes, network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a sandboxed process may use. Sizes in bytes, and per process: the kernel counts so. None: no limit."""

    cpu: timedelta | None = timedelta(minutes=30)
    memory: int | None = 8 << 30
    """Of private memory that it can write to (not of address space: runtimes such as Node's reserve far more than they use)."""
    processes: int | None = 512
    """With all threads. The kernel does not hold root to it."""
    open_files: int | None = 4096
    file_size: int | None = 2 << 30
    """Of one file. What comes through a pipe is bounded by who reads it."""


FIRST_FREE = 10
"""The lowest descriptor that a sandboxed program may inherit besides its streams: a shell on its way in uses those below."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxedCommand:
    """A command inside its walls: run exactly this, with exactly this environment, inheriting no other descriptors.

    To end it send SIGTERM to the process, and only then SIGKILL to its group: on the lower levels it is the process itself
    that ends what has left the group.
    """

    walls: tuple[str, ...]
    """What raises them, and becomes the program."""
    program: tuple[str, ...]
    env: Mapping[str, str]
    level: SandboxLevel

    @property
    def argv(self) -> tuple[str, ...]:
        """All of it."""
        return self.walls + self.program
