"""Calls that were judged before the store was open: kept in a file, then taken in by whoever opens the store next."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from interlock.model.plain import dump, load
from interlock.model.session import Session, Spooled

_SPOOL = "hook.spool"
_SEEN = "hook.seen"


def place_of(project: Path) -> Path:
    """Where hooks keep their files: always ``.interlock`` of the project, for the client reads no configuration."""
    return project / ".interlock"


def session_of(request: Mapping[str, Any]) -> Session:
    """The session that a request belongs to."""
    return Session(agent=request["agent"], id=request["session"], person=_person())


def is_new(place: Path, session: Session) -> bool:
    """Whether nobody has asked this about the session before: True for exactly one of many that ask at once."""
    (place / _SEEN).mkdir(mode=0o700, exist_ok=True)
    try:
        os.close(os.open(place / _SEEN / _mark(session), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return True


def _mark(session: Session) -> str:
    return hashlib.sha256(session.key.encode()).hexdigest()[:32]


def spool(place: Path, call: Spooled) -> None:
    """Keep a judged call; it is on the disk when this returns."""
    line = orjson.dumps(dump(call)) + b"\n"
    with _locked(place / _SPOOL, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as descriptor:
        os.write(descriptor, line)
        os.fsync(descriptor)


def take_in(place: Path, record: Callable[[Sequence[Spooled]], None]) -> None:
    """Have everything recorded that was kept. After a crash in here the next one does it again; recording is idempotent."""
    file = place / _SPOOL
    with contextlib.suppress(FileNotFoundError), _locked(file, os.O_RDONLY) as descriptor:
        with open(descriptor, "rb", closefd=False) as lines:
            record([load(Spooled, plain) for plain in _plain(lines.read())])
        file.unlink()


@contextlib.contextmanager
def _locked(file: Path, flags: int) -> Iterator[int]:
    """The file, locked, and still under its name: one that was taken in meanwhile is not written to any more."""
    while True:
        descriptor = os.open(file, flags | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(file)):  # noqa: PTH116 - beside fstat
                    yield descriptor
                    return
        finally:
            os.close(descriptor)


def _plain(text: bytes) -> Iterator[Any]:
    for line in text.splitlines():
        with contextlib.suppress(orjson.JSONDecodeError):  # cut off by a crash: its answer was never given
            yield orjson.loads(line)


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"
