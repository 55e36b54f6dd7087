"""Changing many files of a user as one step: a journal on disk that a later call completes or takes back.

Each file is replaced by a rename, so that it is always its old or its new self. What was there is kept in the journal
until the end; a file that is neither old nor new was changed by somebody else and is never overwritten.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from interlock.errors import ConflictError, WorkspaceError

ABSENT = ""
IN_THE_WAY = "not committed or in the way, so nothing was delivered (commit, stash or move it, then deliver again)"
CHANGED_SINCE = "changed since a delivery was interrupted, so that was taken back (look at it, then deliver again)"
_BLOCK = 1 << 20


def fingerprint(path: Path) -> str:
    """What is at ``path``, never following a link: empty, ``dir``, or kind, executable bit and digest of the content."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    if stat.S_ISDIR(status.st_mode):
        return "dir"
    if stat.S_ISLNK(status.st_mode):
        return "link:" + hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
    if not stat.S_ISREG(status.st_mode):
        return "other"
    return ("exec:" if status.st_mode & stat.S_IXUSR else "file:") + file_digest(path)


def file_digest(path: Path) -> str:
    """The SHA-256 of a regular file's content; a link in its place raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_file(source: Path, target: Path) -> None:
    """Copy a regular file or a link to a new place; shares blocks where the file system can."""
    if source.is_symlink():
        target.symlink_to(source.readlink())
        return
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as read, target.open("xb") as write:
        try:
            while os.copy_file_range(read.fileno(), write.fileno(), 1 << 30):
                pass
        except OSError:
            read.seek(0)
            write.truncate(0)
            write.seek(0)
            shutil.copyfileobj(read, write, _BLOCK)
        mode = os.fstat(read.fileno()).st_mode
        os.fchmod(write.fileno(), 0o755 if mode & stat.S_IXUSR else 0o644)


def remove_tree(path: Path) -> None:
    """Remove a directory that an agent may have made hard to remove; links are removed, never followed."""
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    if not path.exists():
        return
    for folder, names, _ in os.walk(path):
        with contextlib.suppress(OSError):
            Path(folder).chmod(0o700)
        for name in names:
            below = Path(folder, name)
            if not below.is_symlink():
                with contextlib.suppress(OSError):
                    below.chmod(0o700)
    shutil.rmtree(path)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file of ours: after a crash it is the old or the new one, on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    _sync_folder(path.parent)


def read_record(path: Path) -> dict[str, Any] | None:
    """A JSON record of ours, None when there is none."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return found if isinstance(found, dict) else None


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON record of ours, atomically."""
    write_atomically(path, json.dumps(record).encode())


def remove_record(path: Path) -> None:
    """Remove a record, and what a killed writer of it has left."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        for leftover in path.parent.glob(f".{path.name}.*.new"):
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock among the processes of this machine; the system frees it when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Journal:
    """The changes to one directory that belong together, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._plan = folder / "plan.json"

    def read(self) -> dict[str, Any] | None:
        """The plan, None when nothing is under way."""
        return read_record(self._plan)

    def prepare(
        self, root: Path, changes: Mapping[str, Path | None], *, extra: Mapping[str, Any] | None = None
    ) -> None:
        """Stage new files, keep the old ones, write the plan; nothing of the user's has changed yet.

        Raises:
            ConflictError: when something of the user's is in the way.
        """
        blocked = [path for path in changes if _in_the_way(root, path, changes)]
        if blocked:
            raise ConflictError(sorted(_shown(path) for path in blocked), why=IN_THE_WAY)
        for name in ("old", "new"):
            remove_tree(self.folder / name)
            (self.folder / name).mkdir(parents=True)
        steps = []
        for number, (path, staged) in enumerate(sorted(changes.items())):
            here, now = root / path, fingerprint(root / path)
            old = ABSENT if now == "dir" or _below_a_file(root, path) else now
            if old:
                copy_file(here, self.folder / "old" / str(number))
            if staged is not None:
                copy_file(staged, self.folder / "new" / str(number))
            new = fingerprint(staged) if staged is not None else ABSENT
            steps.append({"path": path, "old": old, "new": new})
        write_record(self._plan, {"root": str(root), "steps": steps, **(extra or {})})

    def foreign(self) -> list[str]:
        """Paths that are neither their old nor their new self: somebody else has changed them."""
        plan = self._known()
        root = Path(plan["root"])
        return [_shown(step["path"]) for step in plan["steps"] if self._state(root, step) == "foreign"]

    def pending(self) -> bool:
        """Whether some file still waits to be changed."""
        plan = self._known()
        root = Path(plan["root"])
        return any(step["old"] != step["new"] and self._state(root, step) == "old" for step in plan["steps"])

    def forward(self) -> None:
        """Bring every file that still is old to its new self; foreign ones are left alone."""
        self._bring("new", "old")

    def back(self) -> None:
        """Bring every file that is new back to its old self; foreign ones are left alone."""
        self._bring("old", "new")

    def close(self) -> None:
        """Forget the plan and what it kept."""
        self._plan.unlink(missing_ok=True)
        remove_tree(self.folder)

    def _known(self) -> dict[str, Any]:
        plan = self.read()
        if plan is None:
            raise WorkspaceError(f"there is no delivery under way in {self.folder}")
        return plan

    def _bring(self, wanted: str, given: str) -> None:
        plan = self._known()
        root = Path(plan["root"])
        numbered = list(enumerate(plan["steps"]))
        due = [(n, step) for n, step in numbered if self._state(root, step) == given and step[wanted] != step[given]]
        for number, step in numbered:
            if not _below_a_file(root, step["path"]):
                _temporary(root / step["path"], number).unlink(missing_ok=True)
        for _, step in numbered:
            if step[wanted] == ABSENT and (self._state(root, step) in {wanted, given}):
                _remove(root, step["path"])  # again for one that is gone: its empty directories may still be there
        for number, step in due:
            if step[wanted] != ABSENT:
                _place(self.folder / wanted / str(number), root, step["path"], number)

    @staticmethod
    def _state(root: Path, step: Mapping[str, str]) -> str:
        now = fingerprint(root / step["path"]) if not _below_a_file(root, step["path"]) else ABSENT
        if now == "dir":
            now = ABSENT
        if now == step["new"]:
            return "new"
        return "old" if now == step["old"] else "foreign"


def _in_the_way(root: Path, path: str, changes: Mapping[str, Path | None]) -> bool:
    """Whether putting ``path`` there would follow a link or lose something that the change does not know of."""
    here = root / path
    if changes[path] is None:
        return fingerprint(here) in {"dir", "other"}
    if here.is_dir() and not here.is_symlink():
        inside = (Path(folder, name) for folder, _, names in os.walk(here) for name in names)
        return any(changes.get(str(item.relative_to(root)), item) is not None for item in inside)
    parent = here.parent
    while parent != root:
        if (parent.is_symlink() or parent.exists()) and (parent.is_symlink() or not parent.is_dir()):
            return changes.get(str(parent.relative_to(root)), parent) is not None
        parent = parent.parent
    return fingerprint(here) == "other"


def _below_a_file(root: Path, path: str) -> bool:
    """Whether a parent of ``path`` is a link or a file, so that nothing can be said to be at ``path`` itself."""
    return any(
        (root / parent).is_symlink() or ((root / parent).exists() and not (root / parent).is_dir())
        for parent in list(Path(path).parents)[:-1]
    )


def _remove(root: Path, path: str) -> None:
    if _below_a_file(root, path) or fingerprint(root / path) == "dir":
        return
    (root / path).unlink(missing_ok=True)
    for parent in list(Path(path).parents)[:-1]:
        try:
            (root / parent).rmdir()
        except OSError:
            return


def _place(staged: Path, root: Path, path: str, number: int) -> None:
    target = root / path
    if _below_a_file(root, path):
        raise WorkspaceError(f"{_shown(path)}: a parent of it became a link or a file while it was delivered")
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        for folder, _, _ in os.walk(target, topdown=False):
            Path(folder).rmdir()  # only empty ones; prepare() has seen that no file of the user's is in them
    fresh = _temporary(target, number)
    fresh.unlink(missing_ok=True)
    copy_file(staged, fresh)
    if not fresh.is_symlink():
        _keep_mode(target, fresh)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
    fresh.replace(target)
    _sync_folder(target.parent)


def _keep_mode(old: Path, new: Path) -> None:
    """The user's own permissions stay; only the executable bit is part of a change."""
    if old.is_symlink() or not old.exists():
        return
    mode = stat.S_IMODE(old.stat().st_mode) & 0o777
    readers = (mode & 0o444) >> 2
    new.chmod(mode | readers if new.stat().st_mode & stat.S_IXUSR else mode & ~0o111)


def _temporary(target: Path, number: int) -> Path:
    return target.with_name(f".interlock-{number}.tmp")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _shown(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
