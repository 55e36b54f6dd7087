"""Ways out that a sandboxed program may try, and the lowest rung of the ladder that holds each.

This is data with a stage to play it on: real files, processes and sockets that are not the agent's. It backs the table of
``docs/limits.md`` and the tests, and may be run on any machine to see what its rungs are worth there.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from interlock.model.sandbox import Limits, SandboxLevel
from interlock.sandbox.ladder import Ladder

NONE, RLIMITS, LANDLOCK, BUBBLEWRAP = SandboxLevel
_OUTPUT = 1 << 20
_SECONDS = 60
_LIMITS = Limits(cpu=timedelta(seconds=1), memory=512 << 20, processes=64, open_files=256, file_size=64 << 20)


@dataclass(frozen=True, kw_only=True, slots=True)
class Escape:
    """One way out: Python that runs inside with ``C`` (what is where), and sets ``out`` when it got out."""

    name: str
    code: str
    held_from: SandboxLevel
    """The lowest rung that holds it."""
    root: bool = False
    """Only root can be sure to do it where nothing holds it."""
    unheld_root: bool = False
    """Root is not held to it by the kernel, on any rung."""
    seen: str = ""
    """How it is seen from outside that it got out: ``mark`` (a file was made), ``alive`` (something still runs). Empty: it says so."""
    abi: int = 1
    """The version of landlock from which that rung holds it."""


_PRELUDE = """
import contextlib, ctypes, errno, json, os, resource, signal, socket, struct, subprocess, sys, time
C = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def called(number, *args):
    if libc.syscall(ctypes.c_long(number), *args) < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return True
def number(x86, arm):
    return x86 if os.uname().machine == "x86_64" else arm
def kernel(path, flags):
    if path not in C["kernel"]:
        raise OSError(errno.ENODEV, "not in this kernel")
    return os.open(path, flags)
def is_open(n):
    with contextlib.suppress(OSError):
        return bool(os.fstat(n))
out = False
try:
    exec(sys.argv[2])
except OSError as error:
    lacking = {errno.ENOSYS, errno.ENODEV, errno.EAFNOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EADDRNOTAVAIL}
    print("lacking" if error.errno in lacking else "held", error, flush=True)
except BaseException as error:
    print("held:", type(error).__name__, error, flush=True)
else:
    print("escaped" if out else "held", flush=True)
"""


_KERNEL = ("/dev/kmsg", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/kcore", "/etc/shadow")


def _escape(name: str, code: str, held_from: SandboxLevel, **more: Any) -> Escape:
    return Escape(name=name, code=code, held_from=held_from, **more)


_READS_AND_WRITES = (
    _escape("write a file outside", "open(C['outside'] + '/new', 'x').close(); out = True", LANDLOCK),
    _escape(
        "write outside through ..", "open(os.path.relpath(C['outside']) + '/new', 'x').close(); out = True", LANDLOCK
    ),
    _escape("append to a file outside", "open(C['private'], 'a').write('x'); out = True", LANDLOCK),
    _escape("truncate a file outside", "os.truncate(C['private'], 0); out = True", LANDLOCK, abi=3),
    _escape("delete a file outside", "os.unlink(C['private']); out = True", LANDLOCK),
    _escape("move a file from outside in", "os.rename(C['private'], 'mine'); out = True", LANDLOCK),
    _escape(
        "link a file from outside in",
        "os.link(C['private'], 'mine'); open('mine', 'a').write('x'); out = True",
        LANDLOCK,
    ),
    _escape("make a directory outside", "os.mkdir(C['outside'] + '/new'); out = True", LANDLOCK),
    _escape(
        "write through a link that leads out",
        "os.symlink(C['outside'], 'way'); open('way/new', 'x').close(); out = True",
        LANDLOCK,
    ),
    _escape(
        "read through a link that leads out", "os.symlink(C['private'], 'way'); out = open('way').read()", LANDLOCK
    ),
    _escape("read a private file", "out = open(C['private']).read()", LANDLOCK),
    _escape("list a directory outside", "out = os.listdir(C['outside'])", LANDLOCK),
    _escape("read the password hashes", "out = os.read(kernel('/etc/shadow', os.O_RDONLY), 1)", LANDLOCK, root=True),
    _escape("change the mode of a file outside", "os.chmod(C['private'], 0o777); out = True", BUBBLEWRAP),
    _escape("write to the machine's /tmp", "open('/tmp/' + C['token'], 'x').close()", LANDLOCK, seen="mark"),
    _escape("write to shared memory files", "open('/dev/shm/' + C['token'], 'x').close()", LANDLOCK, seen="mark"),
    _escape("make a device", "os.mknod('disk', 0o60600, os.makedev(1, 0)); out = True", RLIMITS, root=True),
    _escape(
        "read the kernel's messages",
        "kernel('/dev/kmsg', os.O_RDONLY | os.O_NONBLOCK); out = True",
        LANDLOCK,
        root=True,
    ),
)
_REPOSITORY = (
    _escape("write to the real repository", "open(C['project'] + '/app.py', 'w').write('x'); out = True", LANDLOCK),
    _escape(
        "plant a git hook", "open(C['project'] + '/.git/hooks/post-checkout', 'w').write('x'); out = True", LANDLOCK
    ),
    _escape(
        "name a program in git's configuration",
        "out = subprocess.run(['git', '--git-dir', C['project'] + '/.git', 'config', 'core.fsmonitor', 'x']).returncode == 0",
        LANDLOCK,
    ),
    _escape("move a branch", "open(C['project'] + '/.git/refs/heads/main', 'w').write('0' * 40); out = True", LANDLOCK),
    _escape("take git's lock", "open(C['project'] + '/.git/index.lock', 'x').close(); out = True", LANDLOCK),
)
_PROCESSES = (
    _escape("see the secret in the environment", "out = C['secret'] in os.environ.values()", NONE),
    _escape("use a file left open by the parent", "out = [n for n in range(3, 200) if is_open(n)]", NONE),
    _escape(
        "read the environment of another process",
        "out = C['secret'].encode() in open(f\"/proc/{C['victim']}/environ\", 'rb').read()",
        LANDLOCK,
    ),
    _escape(
        "read the command line of another process",
        "out = b'sleep' in open(f\"/proc/{C['victim']}/cmdline\", 'rb').read()",
        LANDLOCK,
    ),
    _escape("list all processes", "out = str(C['victim']) in os.listdir('/proc')", LANDLOCK),
    _escape(
        "go out through another's root", "out = open(f\"/proc/{C['victim']}/root{C['private']}\").read()", LANDLOCK
    ),
    _escape("go out through its own root", "out = open('/proc/self/root' + C['private']).read()", LANDLOCK),
    _escape("go out through another's directory", "out = os.listdir(f\"/proc/{C['victim']}/cwd\")", LANDLOCK),
    _escape(
        "open the memory of another process",
        "os.open(f\"/proc/{C['victim']}/mem\", os.O_RDWR); out = True",
        LANDLOCK,
        root=True,
    ),
    _escape(
        "write a setting of the kernel",
        "kernel('/proc/sys/kernel/core_pattern', os.O_WRONLY); out = True",
        LANDLOCK,
        root=True,
    ),
    _escape(
        "press the kernel's request key", "kernel('/proc/sysrq-trigger', os.O_WRONLY); out = True", LANDLOCK, root=True
    ),
    _escape("read the machine's memory", "out = os.read(kernel('/proc/kcore', os.O_RDONLY), 4)", LANDLOCK, root=True),
    _escape("trace another process", "out = called(number(101, 117), 16, C['victim'], 0, 0)", RLIMITS, root=True),
    _escape(
        "read the memory of another process",
        "b = ctypes.create_string_buffer(16); v = struct.pack('PN', ctypes.addressof(b), 16);"
        "w = struct.pack('PN', C['mapped'], 16);"
        "out = called(number(310, 270), ctypes.c_int(C['victim']), v, ctypes.c_ulong(1), w, ctypes.c_ulong(1), ctypes.c_ulong(0))",
        RLIMITS,
        root=True,
    ),
    _escape("end another process", "os.kill(C['victim'], signal.SIGCONT); out = True", LANDLOCK, abi=6),
    _escape("slow another process down", "os.setpriority(os.PRIO_PROCESS, C['victim'], 5); out = True", BUBBLEWRAP),
    _escape(
        "change the limits of another process",
        "resource.prlimit(C['victim'], resource.RLIMIT_CORE, (0, 0)); out = True",
        BUBBLEWRAP,
    ),
    _escape("attach shared memory of another", "out = libc.shmget(C['segment'], 1, 0) >= 0", BUBBLEWRAP),
    _escape(
        "leave something running behind",
        "os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); [os.close(n) for n in range(3)]; time.sleep(60)",
        RLIMITS,
        seen="alive",
    ),
)
_NETWORK = (
    _escape(
        "connect to a port on the machine", "socket.create_connection(('127.0.0.1', C['port']), 5); out = True", RLIMITS
    ),
    _escape("connect by IPv6", "socket.create_connection(('::1', C['port6']), 5); out = True", RLIMITS),
    _escape(
        "ask a name server (UDP)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(C['secret'].encode(), ('127.0.0.1', C['udp'])); out = True",
        RLIMITS,
    ),
    _escape("listen on a port", "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); out = True", RLIMITS),
    _escape("send raw packets", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW); out = True", RLIMITS, root=True),
    _escape(
        "ask the kernel for its network", "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); out = True", RLIMITS
    ),
    _escape("talk to the hypervisor", "socket.socket(40, socket.SOCK_STREAM); out = True", RLIMITS, root=True),
    _escape("do it all by io_uring", "out = called(425, 8, ctypes.create_string_buffer(120))", RLIMITS, root=True),
    _escape(
        "connect to another unix socket",
        "socket.socket(socket.AF_UNIX).connect(C['service']); out = True",
        BUBBLEWRAP,
    ),
    _escape(
        "connect to an abstract unix socket",
        "socket.socket(socket.AF_UNIX).connect(chr(0) + C['token']); out = True",
        LANDLOCK,
        abi=6,
    ),
)
_PRIVILEGES = (
    _escape(
        "mount something",
        "os.mkdir('m'); out = libc.mount(b'none', b'm', b'tmpfs', 0, None) == 0; libc.umount(b'm')",
        RLIMITS,
        root=True,
    ),
    _escape("make namespaces of its own", "out = libc.unshare(0x10000000) == 0", RLIMITS, root=True),
    _escape("change the root directory", "os.chroot('.'); out = True", RLIMITS, root=True),
    _escape("gain by a set-user-id program", "out = libc.prctl(39, 0, 0, 0, 0) != 1", RLIMITS),
    _escape(
        "use capabilities",
        "out = int(open('/proc/self/status').read().split('CapEff:')[1].split()[0], 16)",
        RLIMITS,
        root=True,
    ),
    _escape(
        "load a program into the kernel",
        "out = called(number(321, 280), 0, struct.pack('18I', 2, 4, 4, 1, *[0] * 14), 72)",
        RLIMITS,
        root=True,
    ),
    _escape("read the kernel's keys", "out = called(number(250, 219), 0, -3, 1)", RLIMITS),
    _escape(
        "type into the terminal",
        "libc.ioctl(0, ctypes.c_ulong(0x5412), b'x'); out = ctypes.get_errno() != errno.EPERM",
        RLIMITS,
    ),
)
_AMOUNTS = (
    _escape(
        "start too many processes",
        "kids = []\n"
        "def one():\n"
        "    pid = os.fork()\n"
        "    pid or (time.sleep(30), os._exit(0))\n"
        "    kids.append(pid)\n"
        "try:\n"
        "    while len(kids) < 200: one()\n"
        "    out = True\n"
        "finally:\n"
        "    [os.kill(kid, 9) for kid in kids]",
        RLIMITS,
        unheld_root=True,
    ),
    _escape(
        "leave a bomb of processes behind",
        "me = os.getpid()\n"
        "for _ in range(5): os.fork()\n"
        "os.getpid() == me and os._exit(0)\n"
        "os.setsid(); [os.close(n) for n in range(3)]; time.sleep(60)",
        RLIMITS,
        seen="alive",
    ),
    _escape("take too much memory", "b = bytearray(1 << 30); out = True", RLIMITS),
    _escape(
        "write too large a file",
        "f = open('big', 'wb'); f.seek(1 << 30); f.write(b'x'); f.flush(); out = True",
        RLIMITS,
    ),
    _escape("open too many files", "f = [open('/dev/null') for _ in range(400)]; out = True", RLIMITS),
    _escape("use too much CPU", "while time.process_time() < 2: pass\nout = True", RLIMITS),
    _escape("leave a memory image", "out = resource.getrlimit(resource.RLIMIT_CORE)[1] != 0", RLIMITS),
    _escape(
        "raise its own limits",
        "resource.setrlimit(resource.RLIMIT_CORE, (1, 1)); out = True",
        RLIMITS,
        root=True,
    ),
    _escape("print without end", "while True: os.write(1, b'y' * 65536)", NONE),
)
ESCAPES: tuple[Escape, ...] = _READS_AND_WRITES + _REPOSITORY + _PROCESSES + _NETWORK + _PRIVILEGES + _AMOUNTS


def held(escape: Escape, level: SandboxLevel) -> bool | None:
    """Try one way out on a rung, for real: whether it was held; None when this machine has nothing to try it on."""
    with tempfile.TemporaryDirectory(prefix="interlock-escape-") as name, _scene(Path(name).resolve()) as facts:
        said = _play(escape, level, facts)
        if escape.seen == "mark":
            marks = [Path(folder, facts["token"]) for folder in ("/tmp", "/dev/shm")]  # noqa: S108 - what is tried
            made = [mark for mark in marks if mark.exists()]
            for mark in made:
                mark.unlink()
            return not made
        left = _left_running(facts["token"])
        if escape.seen == "alive":
            return not left
        return None if said.startswith("lacking") else not said.startswith("escaped")


def claimed(escape: Escape, level: SandboxLevel, *, root: bool, abi: int) -> bool:
    """Whether the rung claims to hold it."""
    if escape.unheld_root and root:
        return False
    return level >= escape.held_from and not (level is LANDLOCK and abi < escape.abi)


def _play(escape: Escape, level: SandboxLevel, facts: dict[str, Any]) -> str:
    place = Path(facts["place"])
    command = Ladder(level).wrap(
        [sys.executable, "-I", "-c", _PRELUDE, json.dumps(facts), escape.code],
        workspace=place / "workspace",
        scratch=place / "scratch",
        sockets=[place / "gate"],
        limits=_LIMITS,
    )
    with subprocess.Popen(
        command.argv,
        env=dict(command.env),
        cwd=place / "workspace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        said = process.stdout.read(_OUTPUT)
        if len(said) == _OUTPUT:
            process.terminate()
        process.stdout.close()
        process.wait(_SECONDS)
    return said.decode("utf-8", "replace")


def _left_running(token: str) -> list[int]:
    """What still runs of a play, a moment after its end; it is ended then."""
    deadline = time.monotonic() + 1
    while found := _carrying(token):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    for process in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return found


def _carrying(token: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if token.encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
    return found


@contextlib.contextmanager
def _scene(place: Path) -> Iterator[dict[str, Any]]:
    """Things around the sandbox that are not the agent's; yields where they are."""
    token, secret = f"interlock-{secrets.token_hex(8)}", secrets.token_hex(16)
    for name in ("outside", "workspace", "project"):
        (place / name).mkdir()
    (place / "outside" / "private").write_text(secret, encoding="ascii")
    subprocess.run(
        ["git", "init", "--quiet", "--initial-branch=main", place / "project"],
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    (place / "project" / ".git" / "hooks").mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_variable(secret))
        victim = stack.enter_context(
            subprocess.Popen(
                ["sleep", "300"], cwd=place / "outside", env={"PATH": os.environ["PATH"], "SECRET": secret}
            )
        )
        stack.callback(victim.kill)
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        tcp6 = stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6)) if _has_ipv6() else None
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        for address in (str(place / "gate"), str(place / "service"), f"\0{token}"):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        yield {
            "place": str(place),
            "outside": str(place / "outside"),
            "private": str(place / "outside" / "private"),
            "project": str(place / "project"),
            "service": str(place / "service"),
            "kernel": [path for path in _KERNEL if Path(path).exists()],
            "token": token,
            "victim": victim.pid,
            "mapped": _first_address(victim.pid),
            "segment": stack.enter_context(_segment()),
            "port": tcp.getsockname()[1],
            "port6": tcp6.getsockname()[1] if tcp6 else 1,
            "udp": udp.getsockname()[1],
            "secret": secret,
        }


@contextlib.contextmanager
def _variable(secret: str) -> Iterator[None]:
    """A secret in our own environment, as a service's key would be."""
    os.environ["INTERLOCK_ESCAPE"] = secret
    try:
        yield
    finally:
        del os.environ["INTERLOCK_ESCAPE"]


@contextlib.contextmanager
def _segment() -> Iterator[int]:
    """A segment of System V shared memory; yields its key."""
    libc = ctypes.CDLL(None, use_errno=True)
    key = secrets.randbelow(1 << 30) + 1
    made = libc.shmget(key, 4096, 0o1600)  # IPC_CREAT and for us alone
    try:
        yield key
    finally:
        libc.shmctl(made, 0, None)


def _first_address(process: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"/proc/{process}/maps").read_text(encoding="utf-8").partition("-")[0], 16)
    return 0


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
