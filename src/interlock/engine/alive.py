"""Which workers live."""

from __future__ import annotations

import contextlib
import functools
import socket
from datetime import UTC, datetime
from pathlib import Path

import psutil

from interlock.store import queue


def is_dead(row: queue.WorkerRow, now: int) -> bool:
    """Whether a worker's lease is over, or its process on this host is gone (then nobody need wait for the lease)."""
    if row.lease_until < now:
        return True
    return row.host == host() and born(row.pid) != row.born


@functools.cache
def host() -> str:
    """This host as processes see it: two containers of one name do not see each other's processes."""
    seen = [socket.gethostname()]
    with contextlib.suppress(OSError):
        seen.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8])
        seen.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(seen)


def born(pid: int) -> str:
    """When the process was started, to tell it from a later one with its number; empty when there is none."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return datetime.fromtimestamp(process.create_time(), tz=UTC).isoformat(timespec="milliseconds")
    except psutil.Error:
        return ""
