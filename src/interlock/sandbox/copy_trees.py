"""Trees of files without git: what is at each path, and the contents, kept once by their digest."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from interlock.errors import ConflictError, WorkspaceError
from interlock.sandbox.journal import copy_file, file_digest, read_record, remove_tree, write_atomically, write_record
from interlock.sandbox.patches import write_patch

Tree = dict[str, str]
"""Paths, each with ``file:<sha256>``, ``exec:<sha256>`` or ``link:<target>``."""

_RACY_NS = 50_000_000  # a file changed this shortly before it was read may change again within one tick of its clock


class Trees:
    """The trees of one run, below ``folder``; what ``never`` names (folded) and ``state`` are in none of them."""

    def __init__(self, folder: Path, *, state: Path, never: frozenset[str]) -> None:
        self._folder = folder
        self._state = state
        self._never = never

    def scan(self, root: Path, cache: Path | None = None) -> Tree:
        """Read a directory into a tree and keep what it holds; files whose status is as before are not read again."""
        before = (read_record(cache) or {}) if cache else {}
        seen: dict[str, Any] = {}
        tree: Tree = {}
        started = time.time_ns()
        for path, entry in self._walk(root, ""):
            status = entry.lstat()
            mark = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode]
            known = before.get(path)
            what = known[1] if known and known[0] == mark else self.keep_file(root, path)
            if not what:
                continue
            tree[path] = what
            if max(status.st_ctime_ns, status.st_mtime_ns) < started - _RACY_NS:
                seen[path] = [mark, what]
        if cache:
            write_record(cache, seen)
        return tree

    def keep(self, tree: Tree) -> str:
        """Keep a tree; returns its digest."""
        data = json.dumps(tree, sort_keys=True).encode()
        name = hashlib.sha256(data).hexdigest()
        file = self._folder / "trees" / name
        if not file.exists():
            write_atomically(file, data)
        return f"sha256:{name}"

    def find(self, name: str) -> Tree:
        """The tree of that digest.

        Raises:
            WorkspaceError: when it was never kept.
        """
        found = read_record(self._folder / "trees" / name.removeprefix("sha256:"))
        if found is None:
            raise WorkspaceError(f"there is no snapshot {name} in the run {self._folder.name}")
        return found

    def keep_file(self, root: Path, path: str) -> str:
        """What is at a path, its content kept; empty for nothing, a directory, or what cannot be copied."""
        here = root / path
        try:
            mode = here.lstat().st_mode
            if stat.S_ISLNK(mode):
                return f"link:{here.readlink()}"
            if not stat.S_ISREG(mode):
                return ""
            fresh = self._folder / "objects" / f".{os.getpid()}.new"
            fresh.parent.mkdir(parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            digest = file_digest(here)
            kept = self._object(digest)
            if not kept.exists():
                copy_file(here, fresh)
                digest = file_digest(fresh)
                kept = self._object(digest)
                kept.parent.mkdir(parents=True, exist_ok=True)
                fresh.replace(kept)
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError as error:
            raise WorkspaceError(f"{here} cannot be read: {error.strerror}") from error
        return ("exec:" if mode & stat.S_IXUSR else "file:") + digest

    def materialise(self, now: Tree, wanted: Tree, place: Path) -> None:
        """Bring a directory of ours from one tree to another; removals first, so that a file may become a directory."""
        place.mkdir(parents=True, exist_ok=True)
        due = differing(now, wanted)
        for path in due:
            if path in now:
                (place / path).unlink(missing_ok=True)
                _prune(place, path)
        for path in due:
            if path not in wanted:
                continue
            kind, _, value = wanted[path].partition(":")
            here = place / path
            here.parent.mkdir(parents=True, exist_ok=True)
            if here.is_dir() and not here.is_symlink():
                remove_tree(here)
            if kind == "link":
                here.symlink_to(value)
                continue
            copy_file(self._object(value), here)
            here.chmod(0o755 if kind == "exec" else 0o644)

    def patch(self, old: Tree, new: Tree, *, binary: bool = False) -> bytes:
        """The difference as a unified diff; without ``binary`` such files are only named."""
        return write_patch(old, new, lambda digest: self._object(digest).read_bytes(), binary=binary)

    def merge(self, base: Tree, ours: Tree, theirs: Tree) -> Tree:
        """The three-way merge of trees; texts that both sides changed are merged by lines.

        Raises:
            ConflictError: with the paths that were changed on both sides.
        """
        merged: Tree = {}
        conflicts = []
        for path in sorted(base.keys() | ours.keys() | theirs.keys()):
            b, o, t = base.get(path, ""), ours.get(path, ""), theirs.get(path, "")
            what = o if t in {b, o} else t if o == b else self._merge_file(b, o, t)
            if what is None:
                conflicts.append(path)
            elif what:
                merged[path] = what
        conflicts += [path for path in merged if any(str(parent) in merged for parent in Path(path).parents)]
        if conflicts:
            raise ConflictError(shown(sorted(set(conflicts))))
        return merged

    def _merge_file(self, base: str, ours: str, theirs: str) -> str | None:
        kinds = [what.partition(":")[0] for what in (base, ours, theirs)]
        if not set(kinds) <= {"file", "exec"} or shutil.which("git") is None:
            return None
        files = [str(self._object(what.partition(":")[2])) for what in (ours, base, theirs)]
        done = subprocess.run(
            ["git", "merge-file", "-p", *files],
            capture_output=True,
            check=False,
            cwd=self._state,
            env={"PATH": os.environ.get("PATH", os.defpath), "GIT_DIR": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
        )
        if done.returncode != 0:
            return None
        kept = self._object(hashlib.sha256(done.stdout).hexdigest())
        write_atomically(kept, done.stdout)
        kind = kinds[1] if kinds[2] == kinds[0] else kinds[2]
        return f"{kind}:{kept.name}"

    def _walk(self, root: Path, below: str) -> Iterator[tuple[str, Path]]:
        try:
            entries = sorted(os.scandir(root / below), key=lambda entry: entry.name)
        except OSError as error:
            raise WorkspaceError(f"{root / below} cannot be read: {error.strerror}") from error
        for entry in entries:
            path = f"{below}/{entry.name}" if below else entry.name
            if entry.name.casefold() in self._never or Path(entry.path) == self._state:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(root, path)
            else:
                yield path, Path(entry.path)

    def _object(self, digest: str) -> Path:
        return self._folder / "objects" / digest[:2] / digest


def differing(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """The paths at which two trees differ."""
    return sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))


def shown(paths: list[str]) -> tuple[str, ...]:
    """Paths for people."""
    return tuple(os.fsencode(path).decode("utf-8", "backslashreplace") for path in paths)


def _prune(place: Path, path: str) -> None:
    for parent in list(Path(path).parents)[:-1]:
        try:
            (place / parent).rmdir()
        except OSError:
            return
