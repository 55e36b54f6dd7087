"""The command line of bubblewrap: an empty file system, to which what is granted is added."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

TEMPORARY_SIZE = 256 << 20
"""Bytes of memory that /tmp may take."""

_KERNEL_READ_ONLY = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs")
_KERNEL_HIDDEN = (
    "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/scsi", "/proc/sched_debug", "/proc/timer_list",
)  # fmt: skip
"""Root owns these and needs no capability to write to them or to read them: the lists are those of common container engines."""


def wrapped(
    program: str,
    argv: Sequence[str],
    *,
    read: Sequence[Path],
    write: Sequence[Path],
    sockets: Sequence[Path],
    keep: Sequence[Path],
    lasting: bool,
    network: bool,
    start: Path,
) -> list[str]:
    """``argv`` inside bubblewrap. Later mounts cover earlier ones: what may be written comes late, what of it is kept last."""
    command = [
        program,
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
    return [*command, "--chdir", str(start), "--", *argv]


def _outer_first(paths: Sequence[Path]) -> list[Path]:
    """Each once, and none that another one holds already (a link is always told itself)."""
    kept: list[Path] = []
    for path in sorted(set(paths), key=lambda path: (len(path.parts), path)):
        if not any(parent in kept and not parent.is_symlink() for parent in path.parents):
            kept.append(path)
    return kept
