"""The ladder of sandboxes: the best one that this machine can do, found by trying to break out of it.

Each rung has the same limits, no privileges and the same denied system calls. What is around them differs: bubblewrap, landlock or nothing.
"""

from __future__ import annotations

import functools
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from interlock.errors import SandboxError
from interlock.model.sandbox import Limits, SandboxedCommand, SandboxLevel
from interlock.ports import Command
from interlock.sandbox import bubblewrap
from interlock.sandbox.grants import DEVICES, FACTS, FORWARDER, LAUNCHER, environment, readable_paths

_DENY_TEST = """
import json, socket, sys
outside, inside, gate, port = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
def tried(action):
    try:
        action()
    except OSError:
        return False
    return True
def through(kind, where):
    with socket.socket(kind, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(where)
print(json.dumps({
    "wrote outside": tried(lambda: open(outside + "/new", "x").close()),
    "read outside": tried(lambda: open(outside + "/private").close()),
    "reached the network": tried(lambda: through(socket.AF_INET, ("127.0.0.1", port))),
    "wrote inside": tried(lambda: open(inside + "/new", "x").close()),
    "reached the gate": tried(lambda: through(socket.AF_UNIX, gate)),
}))
"""
_PROXY_VARIABLES = [each for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY") for each in (name, name.lower())]
_MUST = frozenset({"wrote inside", "reached the gate"})
_SECONDS = 30


class Ladder:
    """:class:`~interlock.ports.Sandbox` on one rung."""

    def __init__(self, level: SandboxLevel) -> None:
        self._level = level

    @property
    def level(self) -> SandboxLevel:
        """The rung."""
        return self._level

    def wrap(
        self,
        argv: Command,
        *,
        workspace: Path,
        scratch: Path,
        write: Sequence[Path] = (),
        read: Sequence[Path] = (),
        sockets: Sequence[Path] = (),
        network: bool = False,
        proxy: Path | None = None,
        relays: Mapping[str, Path] | None = None,
        keep: Sequence[Path] = (),
        lasting: bool = False,
        env: Mapping[str, str] | None = None,
        limits: Limits | None = None,
    ) -> SandboxedCommand:
        """The command inside the walls of this rung; see :class:`~interlock.ports.Sandbox`."""
        writable = [_usable(workspace).resolve(), scratch.resolve(), *(_usable(path).resolve() for path in write)]
        for name in ("home", "tmp"):
            (scratch / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        if not argv or "\0" in "".join(argv):
            raise SandboxError("there is no program to run, or its arguments hold a NUL")
        env_inside = environment(writable[1], env or {})
        doors = self._doors(proxy, relays or {}, network=network)
        if doors:
            named_doors = [f"{names}={path}" for names, path in doors.items()]
            argv = [sys.executable, "-I", "-S", str(FORWARDER), *named_doors, "--", *argv]
        if self._level is SandboxLevel.NONE:
            return SandboxedCommand(walls=(), program=tuple(argv), env=env_inside, level=self._level)
        granted = [*readable_paths(network=network), *(_usable(path) for path in read)]
        named = [_usable(path) for path in (*sockets, *doors.values())]
        inet, unix = (
            network or bool(doors),
            bool(named) or network,
        )  # of a network of its own: nothing in it but the forwarder
        rlimits = _rlimits(limits or Limits())
        if self._level is SandboxLevel.BUBBLEWRAP:
            if argv[0].startswith("-"):
                raise SandboxError(f"{argv[0]} is no program's name")
            walls = bubblewrap.walls(
                shutil.which("bwrap") or "bwrap", limits=rlimits, inet=inet, unix=unix, read=granted, write=writable,
                sockets=named, keep=[path for path in keep if path.exists()], lasting=lasting, network=network, start=writable[0],
            )  # fmt: skip
            return SandboxedCommand(walls=tuple(walls), program=tuple(argv), env=env_inside, level=self._level)
        landlock = self._level is SandboxLevel.LANDLOCK
        spec = {
            "rlimits": rlimits,
            "landlock": _landlock_grants(granted, writable, named, network=network) if landlock else None,
            "seccomp": {"inet": inet, "unix": unix, "required": self._level > SandboxLevel.RLIMITS},
        }
        launched = (sys.executable, "-I", "-S", str(LAUNCHER), json.dumps(spec))
        return SandboxedCommand(walls=launched, program=tuple(argv), env=env_inside, level=self._level)

    def _doors(self, proxy: Path | None, relays: Mapping[str, Path], *, network: bool) -> dict[str, Path]:
        """The unix sockets to which ports on loopback lead, by the variables that tell a program of them.

        Raises:
            SandboxError: for a relay on a rung without a network that has no loopback of its own.
        """
        own_loopback = self._level is SandboxLevel.BUBBLEWRAP
        if relays and not network and not own_loopback and self._level is not SandboxLevel.NONE:
            raise SandboxError(
                f"this agent reaches its model, or what it has credentials for, through a port on loopback; without a network only bubblewrap can "
                f"give it one, and this machine has {self._level}: install bubblewrap, or say sandbox.network: true"
            )
        proxied = {} if proxy is None or network or not own_loopback else {",".join(_PROXY_VARIABLES): proxy}
        return proxied | dict(relays)


def open_sandbox(minimum: SandboxLevel = SandboxLevel.NONE) -> Ladder:
    """The best sandbox of this machine.

    Raises:
        SandboxError: when it is below ``minimum``.
    """
    level = probe()
    if level < minimum:
        raise SandboxError(
            f"this work needs the sandbox level {minimum}, this machine has {level}: install bubblewrap "
            "(apt install bubblewrap), or use a kernel with landlock (5.13 or newer)"
        )
    return Ladder(level)


@functools.cache
def probe() -> SandboxLevel:
    """The best level that holds here, by running a program that tries to get out; found once in a process."""
    return next(
        (level for level in reversed(SandboxLevel) if level is SandboxLevel.NONE or holds(level)), SandboxLevel.NONE
    )


def holds(level: SandboxLevel) -> bool:
    """Whether the level does on this machine what it promises: denies what it must, allows what it must."""
    if level is SandboxLevel.BUBBLEWRAP and shutil.which("bwrap") is None:
        return False
    with tempfile.TemporaryDirectory(prefix="interlock-probe-") as name:
        found = _deny_test(Ladder(level), Path(name).resolve())
    if found is None or not all(found[what] for what in _MUST):
        return False
    return level is SandboxLevel.RLIMITS or not any(happened for what, happened in found.items() if what not in _MUST)


def _deny_test(sandbox: Ladder, place: Path) -> dict[str, bool] | None:
    workspace, outside = place / "inside", place / "outside"
    workspace.mkdir()
    outside.mkdir()
    (outside / "private").write_text("private", encoding="ascii")
    with socket.socket(socket.AF_UNIX) as gate, socket.create_server(("127.0.0.1", 0)) as listener:
        gate.bind(str(place / "gate"))
        gate.listen()
        command = sandbox.wrap(
            [sys.executable, "-I", "-S", "-c", _DENY_TEST, str(outside), str(workspace), str(place / "gate"),
             str(listener.getsockname()[1])],
            workspace=workspace,
            scratch=place / "scratch",
            sockets=[place / "gate"],
        )  # fmt: skip
        try:
            done = subprocess.run(
                command.argv, env=dict(command.env), cwd=workspace, capture_output=True, check=False, timeout=_SECONDS
            )  # fmt: skip
            found = json.loads(done.stdout)
        except (OSError, subprocess.TimeoutExpired, ValueError):
            return None
    return found if isinstance(found, dict) and found.keys() >= _MUST else None


def _rlimits(limits: Limits) -> dict[str, int]:
    wanted = {
        "CPU": int(limits.cpu.total_seconds()) if limits.cpu is not None else None,
        "DATA": limits.memory,
        "NPROC": limits.processes,
        "NOFILE": limits.open_files,
        "FSIZE": limits.file_size,
        "CORE": 0,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _landlock_grants(read: list[Path], write: list[Path], sockets: list[Path], *, network: bool) -> dict[str, object]:
    return {
        "read": [str(path) for path in (*read, *map(Path, FACTS))],
        "write": [str(path) for path in write],
        "device": [*DEVICES, *(str(path) for path in sockets)],
        "network": network,
    }


_KERNELS = ("/proc", "/sys", "/dev")


def _usable(path: Path) -> Path:
    """The path as it is, absolute, if it can be granted.

    Raises:
        SandboxError: when there is nothing, or granting it would take the walls down.
    """
    if not path.exists():
        raise SandboxError(f"{path} cannot be granted to an agent: it does not exist")
    for full in (path.absolute(), path.resolve()):
        if full == Path("/") or any(full.is_relative_to(root) for root in _KERNELS):
            raise SandboxError(f"{path} cannot be granted to an agent: that is the machine itself; name what it needs")
    return path.absolute()
