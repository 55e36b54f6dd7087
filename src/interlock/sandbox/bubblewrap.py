"""The command line of bubblewrap: an empty file system, to which what is granted is added.

No interpreter is started on the way in: the rules for system calls are handed over ready made, as a file in memory, and a
shell sets the limits. It is the first process of the sandbox: when the program ends so does it, and everything that was started
inside has ended before bubblewrap says so.
"""

from __future__ import annotations

import fcntl
import functools
import os
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path

from interlock.errors import SandboxError
from interlock.sandbox.launcher import CannotContainError, seccomp_filter

TEMPORARY_SIZE = 256 << 20
"""Bytes of memory that /tmp may take."""

_KERNEL_READ_ONLY = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs")
_KERNEL_HIDDEN = (
    "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/scsi", "/proc/sched_debug", "/proc/timer_list",
)  # fmt: skip
"""Root owns these and needs no capability to write to them or to read them: the lists are those of common container engines."""


_RULES = "9"  # below FIRST_FREE
_OUTSIDE = f'exec {_RULES}<"$0" || exit 126; exec "$@"'
_INSIDE = """\
{limits} || {{ echo "interlock: the limits could not be set" >&2; exit 126; }}
command -v "$1" >/dev/null || {{ echo "interlock: $1 could not be started: No such file or directory" >&2; exit 127; }}
(exec "$@"); exit $?"""
_ULIMIT = {"CPU": ("-t", 1), "DATA": ("-d", 1 << 10), "NOFILE": ("-n", 1), "FSIZE": ("-f", 512), "CORE": ("-c", 1)}
"""The shell's letter for a limit, and how many of the kernel's units one of its own is."""


def walls(
    program: str,
    *,
    limits: Mapping[str, int],
    inet: bool,
    unix: bool,
    read: Sequence[Path],
    write: Sequence[Path],
    sockets: Sequence[Path],
    keep: Sequence[Path],
    lasting: bool,
    network: bool,
    start: Path,
) -> list[str]:
    """What comes before a command. Later mounts cover earlier ones: what may be written comes late, what of it is kept last.

    Raises:
        SandboxError: when this machine's system calls are not known.
    """
    command = [
        program,
        "--seccomp",
        _RULES,
        "--as-pid-1",
        "--unshare-all",
        *(["--share-net"] if network else []),
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
        "--hostname",
        "sandbox",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--size",
        str(TEMPORARY_SIZE),
        "--tmpfs",
        "/tmp",  # noqa: S108 - a fresh one, inside
    ]
    for name in filter(os.path.exists, _KERNEL_READ_ONLY):
        command += ["--ro-bind", name, name]
    for name in filter(os.path.exists, _KERNEL_HIDDEN):
        command += ["--tmpfs", name] if Path(name).is_dir() else ["--ro-bind", os.devnull, name]
    for path in _outer_first(read):
        if path.is_symlink() and path.parent == Path("/"):
            command += ["--symlink", str(path.readlink()), str(path)]
        else:
            command += ["--ro-bind", str(path.resolve()), str(path)]
    for path in sockets:
        command += ["--ro-bind", str(path), str(path)]
    for path in write:
        command += ["--bind", str(path), str(path)]
    for path in keep:
        command += ["--ro-bind", str(path), str(path)]
    for closed in ("/", *(["/tmp"] if lasting else [])):  # noqa: S108 - the one inside
        command += ["--remount-ro", closed]  # else what is written beside the grants would seem to be kept, and be gone
    inside = ["/bin/sh", "-c", _INSIDE.format(limits=_limits(limits)), "sandbox"]
    return ["/bin/sh", "-c", _OUTSIDE, _rules_file(inet, unix), *command, "--chdir", str(start), "--", *inside]


def _limits(limits: Mapping[str, int]) -> str:
    said = []
    for name, wanted in limits.items():
        hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1]
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if name == "NPROC":
            said.append(f"{{ ulimit -p {most} 2>/dev/null || ulimit -u {most}; }}")  # dash says -p, bash -u
        else:
            letter, unit = _ULIMIT[name]
            said.append(f"ulimit {letter} {-(-most // unit)}")
    return " && ".join(said) or "true"


def _rules_file(inet: bool, unix: bool) -> str:
    return f"/proc/{os.getpid()}/fd/{_rules(inet, unix)}"


@functools.cache
def _rules(inet: bool, unix: bool) -> int:
    """A descriptor of the rules, in memory and sealed, for as long as this process lives."""
    try:
        code = seccomp_filter(inet=inet, unix=unix)
    except CannotContainError as error:
        raise SandboxError(str(error)) from None
    descriptor = os.memfd_create("interlock-rules", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, code)
    fcntl.fcntl(
        descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    )
    return descriptor


def _outer_first(paths: Sequence[Path]) -> list[Path]:
    """Each once, and none that another one holds already (a link is always told itself)."""
    kept: list[Path] = []
    for path in sorted(set(paths), key=lambda path: (len(path.parts), path)):
        if not any(parent in kept and not parent.is_symlink() for parent in path.parents):
            kept.append(path)
    return kept
