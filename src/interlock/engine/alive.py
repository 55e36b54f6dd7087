"""Which workers live."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

import psutil

from interlock.store import queue


def is_dead(row: queue.WorkerRow, now: int) -> bool:
    """Whether a worker's lease is over, or its process on this host is gone (then nobody need wait for the lease)."""
    if row.lease_until < now:
        return True
    return row.host == socket.gethostname() and born(row.pid) != row.born


def born(pid: int) -> str:
    """When the process was started, to tell it from a later one with its number; empty when there is none."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return datetime.fromtimestamp(process.create_time(), tz=UTC).isoformat(timespec="milliseconds")
    except psutil.Error:
        return ""
