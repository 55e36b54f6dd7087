"""Keeps the processes of one agent together, and ends them all. Run as a program of its own; standard library only.

``python keeper.py GRACE_SECONDS PROGRAM [ARGUMENT …]``: starts the program and takes the exit status of it. Whatever the
program leaves behind is adopted (Linux: child subreaper), also when it has left its group and its session. Everything
is ended when the program ends, when ``stop`` arrives on standard input, or when standard input is closed: a worker
that was killed takes its agents with it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress

_PR_SET_CHILD_SUBREAPER = 36
_CANNOT_START = 127
_GIVE_UP_AFTER_S = 20.0


def descendants(root: int) -> set[int]:
    """Process ids of everything below ``root`` that still runs; what has ended but was not collected does not count."""
    parents = _parents()
    found: set[int] = set()
    level = {root}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level} - found
        found |= level
    return found


def _parents() -> dict[int, int]:
    if not os.path.isdir("/proc/self"):  # noqa: PTH112 - start-up time: pathlib is not needed for anything else
        return _parents_from_ps()
    parents = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - the same
        if not name.isdigit():
            continue
        with suppress(OSError, ValueError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - the same
            state, parent = file.read().rpartition(b")")[2].split()[:2]
            if state not in {b"Z", b"X"}:
                parents[int(name)] = int(parent)
    return parents


def _parents_from_ps() -> dict[int, int]:
    with os.popen("ps -axo pid=,ppid=,state=") as lines:  # noqa: S605 - a constant; systems without /proc
        rows = [line.split() for line in lines]
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}


class Keeper:
    """One program under way, with everything that comes of it."""

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self.agent = 0
        self.status: int | None = None
        self._wake, self._alarm = os.pipe()
        os.set_blocking(self._alarm, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._noted)
        self._stop = False

    def _noted(self, number: int, _frame: object) -> None:
        self._stop = self._stop or number != signal.SIGCHLD

    def start(self, command: list[str]) -> None:
        """Start the program in a group of its own, with nothing on its standard input."""
        self.agent = os.posix_spawnp(
            command[0],
            command,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)],
            setpgroup=0,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )

    def wait(self) -> None:
        """Until the program has ended or must end."""
        while self._collect() and not self._stop:
            ready, _, _ = select.select([0, self._wake], [], [])
            if 0 in ready:
                return
            with suppress(BlockingIOError):
                os.read(self._wake, 512)

    def _collect(self) -> bool:
        """Collect what has ended; whether the program still runs."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == self.agent:
                    self.status = status
        return self.status is None

    def end(self) -> None:
        """Ask everything to end, then kill what did not, until nothing is left."""
        me = os.getpid()
        self._send(signal.SIGTERM, descendants(me))
        until = time.monotonic() + self.grace
        while descendants(me) and time.monotonic() < until:
            self._collect()
            time.sleep(0.02)
        give_up = time.monotonic() + _GIVE_UP_AFTER_S
        while (left := descendants(me)) and time.monotonic() < give_up:
            self._send(signal.SIGKILL, left)
            self._collect()
            time.sleep(0.01)
        self._collect()

    @staticmethod
    def _send(number: signal.Signals, pids: set[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - only where the call exists

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _remove_gate(path: str) -> None:
    """The socket and its private directory: a worker that was killed cannot do it."""
    if path:
        with suppress(OSError):
            os.unlink(path)  # noqa: PTH108 - start-up time: pathlib is not needed for anything else
        with suppress(OSError):
            os.rmdir(os.path.dirname(path))  # noqa: PTH106, PTH120 - the same


def main(argv: list[str]) -> int:
    """Run the keeper; returns the exit status to end with."""
    keeper = Keeper(float(argv[1]))
    _adopt_orphans()
    try:
        keeper.start(argv[2:])
    except OSError as error:
        sys.stderr.write(f"interlock: cannot start {argv[2]}: {error.strerror}\n")
        return _CANNOT_START
    keeper.wait()
    keeper.end()
    _remove_gate(os.environ.get("INTERLOCK_GATE", ""))
    code = os.waitstatus_to_exitcode(keeper.status) if keeper.status is not None else -signal.SIGTERM
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    os._exit(main(sys.argv))
