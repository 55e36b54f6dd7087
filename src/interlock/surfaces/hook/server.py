"""The hook server of one project: keeps everything loaded, so that a call is judged in milliseconds.

It listens on a unix socket that only this user can reach, is the only one for its project and environment, notices when
the configuration changes, and ends when nobody has asked for half an hour.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socketserver
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import orjson

from interlock.errors import InterlockError
from interlock.surfaces.hook.client import MAX_INPUT, socket_name
from interlock.surfaces.hook.desk import Desk, open_desk
from interlock.surfaces.hook.spool import place_of

IDLE_S = 1800.0
"""Seconds without a request after which the server ends."""
_LOOK_S = 0.5


class HookServer(socketserver.ThreadingUnixStreamServer):
    """Answers requests, each in its own thread: some wait for people."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, project: Path, name: str, idle_s: float) -> None:
        self.project = project
        self.idle_s = idle_s
        self._lock = threading.Lock()
        self._asked = time.monotonic()
        self._busy = 0
        self._desk: Desk | None = None
        self._seen: tuple[int, ...] = ()
        self._code = _code()
        os.chdir(place_of(project))  # a socket's whole path is often too long
        Path(name).unlink(missing_ok=True)  # left behind by one that was killed: we hold the lock
        before = os.umask(0o177)
        try:
            super().__init__(name, _Handler)
        finally:
            os.umask(before)

    def begin(self, desk: Desk) -> None:
        """Take over a desk that is open already."""
        self._desk = desk
        self._seen = self._files()

    def desk(self) -> Desk:
        """The desk, opened anew when a file of the configuration has changed.

        Raises:
            InterlockError: when the configuration or the store is not usable.
        """
        with self._lock:
            if self._desk is None or self._seen != self._files():
                self._desk = open_desk(self.project)
                self._seen = self._files()
            return self._desk

    def _files(self) -> tuple[int, ...]:
        files = [self.project / "interlock.yaml"]
        if self._desk is not None:
            settings = self._desk.service.settings
            files += [self.project / name for name in (settings.agents_dir, *settings.policies.every_file)]
        return tuple(_changed(file) for file in files)

    def answer(self, line: bytes) -> dict[str, Any]:
        """The answer to one request; closed on failure."""
        with self._lock:
            self._busy += 1
        try:
            request: Mapping[str, Any] = orjson.loads(line)
            return self.desk().answer(request)
        except InterlockError as error:
            return {"verdict": "deny", "reason": f"Interlock cannot judge here: {error}"}
        except Exception as error:  # noqa: BLE001 - closed on failure
            return {"verdict": "deny", "reason": f"Interlock could not judge this ({type(error).__name__}: {error})"}
        finally:
            with self._lock:
                self._busy -= 1
                self._asked = time.monotonic()

    def service_actions(self) -> None:
        """Called at every look: end when idle, or when Interlock itself has been upgraded."""
        idle = not self._busy and time.monotonic() - self._asked > self.idle_s
        gone = not place_of(self.project).is_dir()
        if idle or gone or _code() != self._code:
            threading.Thread(target=self.shutdown, daemon=True).start()


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        line = self.rfile.readline(2 * MAX_INPUT)
        said = cast("HookServer", self.server).answer(line)
        with contextlib.suppress(
            OSError
        ):  # it has not waited so long: it has refused, and a later call will be judged anew
            self.wfile.write(orjson.dumps(said) + b"\n")


def _changed(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _code() -> int:
    return _changed(Path(__file__))


def serve(project: Path, *, idle_s: float = IDLE_S) -> bool:
    """Serve until idle; False when another one already does.

    Raises:
        InterlockError: when the configuration or the store is not usable.
    """
    name = socket_name(os.environ.get("INTERLOCK_ENV", ""))
    place = place_of(project)
    place.mkdir(mode=0o700, exist_ok=True)
    with open(os.open(place / f"{name}.lock", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600), "w") as lock:  # noqa: PTH123 - with flags
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        desk = open_desk(project)  # before there is a socket: whoever finds it gets an answer at once
        desk.service.policies.warm_up()
        with HookServer(project, name, idle_s) as server:
            server.begin(desk)
            try:
                server.serve_forever(_LOOK_S)
            finally:
                Path(name).unlink(missing_ok=True)
    return True


def main(argv: list[str]) -> int:
    """Serve the project that is named."""
    try:
        serve(Path(argv[0]).resolve())
    except InterlockError as error:
        sys.stderr.write(f"interlock: {error}\n")
        return error.exit_code
    return 0
