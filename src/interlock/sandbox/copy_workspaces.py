"""Places to work in, for a directory without git: the same promises, kept with copies.

A tree is a list of paths with what is at each; contents are kept once, by their digest. A run's line is one small record
that is replaced as a whole. What is not copied: version control of any kind inside (``.git``), our own ``.interlock``, and
sockets, pipes and devices. Everything else is: without git nothing says which files are private, so name them in ``exclude``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from interlock.errors import ConflictError, UsageError, WorkspaceError
from interlock.ports import Integration
from interlock.sandbox.journal import (
    CHANGED_SINCE,
    IN_THE_WAY,
    Journal,
    copy_file,
    file_digest,
    locked,
    read_record,
    remove_record,
    remove_tree,
    write_atomically,
    write_record,
)
from interlock.sandbox.patches import write_patch

Tree = dict[str, str]
"""Paths, each with ``file:<sha256>``, ``exec:<sha256>`` or ``link:<target>``."""

NEVER = frozenset({".git", ".interlock"})
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_RACY_NS = 50_000_000  # a file changed this shortly before it was read may change again within one tick of its clock


class CopyWorkspaces:
    """:class:`~interlock.ports.UndoableWorkspaces` on a plain directory; see the module for its promises."""

    def __init__(self, project: Path, state_dir: Path, *, exclude: frozenset[str] = frozenset()) -> None:
        self.project = project.absolute()
        self.state = state_dir.absolute()
        self._never = frozenset(name.casefold() for name in NEVER | exclude)
        self._delivery = Journal(self.state / "delivery" / "journal")
        if not self.project.is_dir():
            raise WorkspaceError(f"{self.project} is not a directory")

    def begin(self, run_id: str) -> str:
        """Keep the project as it is now; returns the digest of its tree."""
        with self._lock(run_id):
            line = read_record(self._line_file(run_id))
            if line is None:
                base = self._keep(run_id, self._scan(run_id, self.project))
                line = {"base": base, "head": base, "taken": {}, "delivered": False}
                write_record(self._line_file(run_id), line)
            return str(line["base"])

    def uncommitted(self, run_id: str) -> tuple[str, ...]:
        """Nothing: without git all that lies in the project is in its workspaces."""
        self._line(run_id)
        return ()

    def open(self, run_id: str, attempt_id: str) -> Path:
        """A fresh copy of the head of the run's line."""
        with self._lock(run_id):
            head, place = str(self._line(run_id)["head"]), self._place(attempt_id)
            self._throw_away(attempt_id)
            write_record(self._attempt_file(attempt_id), {"run": run_id, "base": ""})  # so that end() finds it
            self._materialise(run_id, {}, self._tree(run_id, head), place)
            write_record(self._attempt_file(attempt_id), {"run": run_id, "base": head})
            return place

    def snapshot(self, run_id: str, attempt_id: str) -> str:
        """The attempt's files as they are now, as the digest of their tree."""
        self._attempt(run_id, attempt_id)
        cache = self.state / "attempts" / f"{attempt_id}.seen"
        return self._keep(run_id, self._scan(run_id, self._place(attempt_id), cache))

    def restore(self, run_id: str, attempt_id: str, tree: str) -> None:
        """Bring the attempt's files back to a snapshot; files made since are removed."""
        now = self._tree(run_id, self.snapshot(run_id, attempt_id))
        self._materialise(run_id, now, self._tree(run_id, tree), self._place(attempt_id))

    def compare(self, run_id: str, old: str, new: str) -> str:
        """See :meth:`interlock.ports.UndoableWorkspaces.compare`."""
        sides = self._tree(run_id, old), self._tree(run_id, new)
        return write_patch(*sides, self._reader(run_id), binary=False).decode("utf-8", "replace")

    def revert(self, run_id: str, attempt_id: str, *, before: str, after: str, message: str) -> Integration:
        """Not without git: there is no line of commits to put a change on.

        Raises:
            WorkspaceError: always.
        """
        del before, after, message
        raise WorkspaceError(
            f"what {attempt_id} did is in {run_id} already, and without git a single call cannot be taken out again: "
            "put the project under git, or undo calls while the attempt is at work"
        )

    def diff(self, run_id: str, attempt_id: str) -> str:
        """The attempt's changes so far; binary files are only named."""
        base, now = self._sides(run_id, attempt_id)
        return write_patch(base, now, self._reader(run_id), binary=False).decode("utf-8", "replace")

    def changed(self, run_id: str, attempt_id: str) -> tuple[str, ...]:
        """The paths that the attempt has changed so far."""
        return _shown(_differing(*self._sides(run_id, attempt_id)))

    def integrate(self, run_id: str, attempt_id: str, *, author: str, message: str) -> Integration:
        """Take the attempt's changes into the run's line.

        Raises:
            ConflictError: with the paths that were changed on both sides.
        """
        with self._lock(run_id):
            line = self._line(run_id)
            taken = line["taken"].get(attempt_id)
            if taken:
                return Integration(changed=tuple(taken["changed"]), commit=taken["head"])
            base, now = self._sides(run_id, attempt_id)
            if base == now:
                return Integration(changed=(), commit=line["head"])
            head = self._tree(run_id, line["head"])
            merged = self._merge(run_id, base, head, now)
            entry = {
                "changed": list(_shown(_differing(head, merged))),
                "head": self._keep(run_id, merged),
                "author": author,
                "message": message,
            }
            taken = {**line["taken"], attempt_id: entry}
            write_record(self._line_file(run_id), {**line, "head": entry["head"], "taken": taken})
            return Integration(changed=tuple(entry["changed"]), commit=str(entry["head"]))

    def is_integrated(self, run_id: str, attempt_id: str) -> bool:
        """See :meth:`interlock.ports.Workspaces.is_integrated`."""
        return attempt_id in self._line(run_id)["taken"]

    def discard(self, run_id: str, attempt_id: str) -> None:
        """Throw the attempt's directory away."""
        with self._lock(run_id):
            self._throw_away(attempt_id)

    def run_diff(self, run_id: str) -> str:
        """All integrated changes of the run."""
        line = self._line(run_id)
        base, head = self._tree(run_id, line["base"]), self._tree(run_id, line["head"])
        return write_patch(base, head, self._reader(run_id), binary=False).decode("utf-8", "replace")

    def deliver(self, run_id: str, *, how: str, target: str = "") -> str:  # noqa: ARG002 - the port has it
        """Deliver the line: ``review`` is a directory, ``patch`` a file, ``merge`` goes into the project itself.

        The project is the only target that there is; ``target`` is not looked at.

        Raises:
            ConflictError: when the project was changed meanwhile in the same places; it is left untouched.
        """
        with locked(self.state / "locks" / "deliver"), self._lock(run_id):
            self._recover()
            line = self._line(run_id)
            base, head = self._tree(run_id, line["base"]), self._tree(run_id, line["head"])
            if base == head:
                return ""
            if how == "review":
                return str(self._review(run_id, head))
            if how == "patch":
                file = self.state / "patches" / f"{run_id}.patch"
                write_atomically(file, write_patch(base, head, self._reader(run_id), binary=True))
                return str(file)
            if how != "merge":
                raise UsageError(f'a delivery is "review", "merge" or "patch", not "{how}"')
            if not line["delivered"]:
                self._into_project(run_id, base, head)
            return str(self.project)

    def end(self, run_id: str, *, keep: bool) -> None:
        """Throw away the run's copies, and its line unless ``keep``."""
        with self._lock(run_id):
            for file in sorted((self.state / "attempts").glob("*.json")):
                if (read_record(file) or {}).get("run") == run_id:
                    self._throw_away(file.stem)
            if not keep:
                remove_record(self._line_file(run_id))
                remove_tree(self._folder(run_id))

    # delivery

    def _review(self, run_id: str, head: Tree) -> Path:
        place = self.state / "results" / _checked(run_id)
        if not place.exists():
            fresh = place.with_name(f".{run_id}.new")
            remove_tree(fresh)
            self._materialise(run_id, {}, head, fresh)
            fresh.rename(place)
        return place

    def _into_project(self, run_id: str, base: Tree, head: Tree) -> None:
        touched = _differing(base, head)
        kept = {path: self._keep_file(run_id, self.project, path) for path in touched}
        now = {path: what for path, what in kept.items() if what}
        merged = self._merge(run_id, _only(base, touched), now, _only(head, touched))
        wanted = _differing(now, merged)
        with tempfile.TemporaryDirectory(dir=self._folder(run_id)) as name:
            self._materialise(run_id, {}, _only(merged, wanted), Path(name))
            staged = {path: Path(name, path) if path in merged else None for path in wanted}
            self._delivery.prepare(self.project, staged, extra={"run": run_id})
        plan = self._delivery.read() or {}
        raced = [step["path"] for step in plan["steps"] if step["old"] != _print_of(now.get(step["path"], ""))]
        if raced:
            self._delivery.close()
            raise ConflictError(_shown(raced), why=IN_THE_WAY)
        try:
            self._finish(run_id)
        except OSError as error:
            self._delivery.back()
            self._delivery.close()
            raise WorkspaceError(f"the changes could not be written into {self.project}: {error}") from error

    def _recover(self) -> None:
        plan = self._delivery.read()
        if plan is None:
            return
        foreign = self._delivery.foreign()
        if foreign and self._delivery.pending():
            self._delivery.back()
            self._delivery.close()
            raise ConflictError(foreign, why=CHANGED_SINCE)
        self._finish(plan["run"])

    def _finish(self, run_id: str) -> None:
        self._delivery.forward()
        line = read_record(self._line_file(run_id))
        if line is not None:
            write_record(self._line_file(run_id), {**line, "delivered": True})
        self._delivery.close()

    # trees

    def _scan(self, run_id: str, root: Path, cache: Path | None = None) -> Tree:
        """Read a directory into a tree and keep what it holds; files whose status is as before are not read again."""
        before = (read_record(cache) or {}) if cache else {}
        seen: dict[str, Any] = {}
        tree: Tree = {}
        started = time.time_ns()
        for path, entry in self._walk(root, ""):
            status = entry.lstat()
            mark = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode]
            known = before.get(path)
            what = known[1] if known and known[0] == mark else self._keep_file(run_id, root, path)
            if not what:
                continue
            tree[path] = what
            if max(status.st_ctime_ns, status.st_mtime_ns) < started - _RACY_NS:
                seen[path] = [mark, what]
        if cache:
            write_record(cache, seen)
        return tree

    def _walk(self, root: Path, below: str) -> Iterator[tuple[str, Path]]:
        try:
            entries = sorted(os.scandir(root / below), key=lambda entry: entry.name)
        except OSError as error:
            raise WorkspaceError(f"{root / below} cannot be read: {error.strerror}") from error
        for entry in entries:
            path = f"{below}/{entry.name}" if below else entry.name
            if entry.name.casefold() in self._never or Path(entry.path) == self.state:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(root, path)
            else:
                yield path, Path(entry.path)

    def _keep_file(self, run_id: str, root: Path, path: str) -> str:
        """What is at a path, its content kept; empty for nothing, a directory, or what cannot be copied."""
        here = root / path
        try:
            mode = here.lstat().st_mode
            if stat.S_ISLNK(mode):
                return f"link:{here.readlink()}"
            if not stat.S_ISREG(mode):
                return ""
            fresh = self._folder(run_id) / "objects" / f".{os.getpid()}.new"
            fresh.parent.mkdir(parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            digest = file_digest(here)
            kept = self._object(run_id, digest)
            if not kept.exists():
                copy_file(here, fresh)
                digest = file_digest(fresh)
                kept = self._object(run_id, digest)
                kept.parent.mkdir(parents=True, exist_ok=True)
                fresh.replace(kept)
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError as error:
            raise WorkspaceError(f"{here} cannot be read: {error.strerror}") from error
        return ("exec:" if mode & stat.S_IXUSR else "file:") + digest

    def _materialise(self, run_id: str, now: Tree, wanted: Tree, place: Path) -> None:
        """Bring a directory of ours from one tree to another; removals first, so that a file may become a directory."""
        place.mkdir(parents=True, exist_ok=True)
        due = _differing(now, wanted)
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
            copy_file(self._object(run_id, value), here)
            here.chmod(0o755 if kind == "exec" else 0o644)

    def _merge(self, run_id: str, base: Tree, ours: Tree, theirs: Tree) -> Tree:
        """The three-way merge of trees; texts that both sides changed are merged by lines."""
        merged: Tree = {}
        conflicts = []
        for path in sorted(base.keys() | ours.keys() | theirs.keys()):
            b, o, t = base.get(path, ""), ours.get(path, ""), theirs.get(path, "")
            what = o if t in {b, o} else t if o == b else self._merge_file(run_id, b, o, t)
            if what is None:
                conflicts.append(path)
            elif what:
                merged[path] = what
        conflicts += [path for path in merged if any(str(parent) in merged for parent in Path(path).parents)]
        if conflicts:
            raise ConflictError(_shown(sorted(set(conflicts))))
        return merged

    def _merge_file(self, run_id: str, base: str, ours: str, theirs: str) -> str | None:
        kinds = [what.partition(":")[0] for what in (base, ours, theirs)]
        if not set(kinds) <= {"file", "exec"} or shutil.which("git") is None:
            return None
        files = [str(self._object(run_id, what.partition(":")[2])) for what in (ours, base, theirs)]
        done = subprocess.run(
            ["git", "merge-file", "-p", *files],
            capture_output=True,
            check=False,
            cwd=self.state,
            env={"PATH": os.environ.get("PATH", os.defpath), "GIT_DIR": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
        )
        if done.returncode != 0:
            return None
        kept = self._object(run_id, hashlib.sha256(done.stdout).hexdigest())
        write_atomically(kept, done.stdout)
        kind = kinds[1] if kinds[2] == kinds[0] else kinds[2]
        return f"{kind}:{kept.name}"

    def _keep(self, run_id: str, tree: Tree) -> str:
        data = json.dumps(tree, sort_keys=True).encode()
        name = hashlib.sha256(data).hexdigest()
        file = self._folder(run_id) / "trees" / name
        if not file.exists():
            write_atomically(file, data)
        return f"sha256:{name}"

    def _tree(self, run_id: str, name: str) -> Tree:
        found = read_record(self._folder(run_id) / "trees" / name.removeprefix("sha256:"))
        if found is None:
            raise WorkspaceError(f"there is no snapshot {name} in the run {run_id}")
        return found

    def _sides(self, run_id: str, attempt_id: str) -> tuple[Tree, Tree]:
        base = self._attempt(run_id, attempt_id)["base"]
        return self._tree(run_id, base), self._tree(run_id, self.snapshot(run_id, attempt_id))

    def _reader(self, run_id: str) -> Any:
        return lambda digest: self._object(run_id, digest).read_bytes()

    # records and places

    def _line(self, run_id: str) -> dict[str, Any]:
        line = read_record(self._line_file(run_id))
        if line is None:
            raise WorkspaceError(f"the run {run_id} has no line of changes here: it was never begun, or has ended")
        return line

    def _attempt(self, run_id: str, attempt_id: str) -> dict[str, Any]:
        record, place = read_record(self._attempt_file(attempt_id)), self._place(attempt_id)
        if record is None or record["run"] != run_id or not record["base"]:
            raise WorkspaceError(f"the attempt {attempt_id} has no workspace in the run {run_id}: open one first")
        if place.is_symlink() or not place.is_dir():
            raise WorkspaceError(f"the workspace of {attempt_id} is gone or was replaced: {place}")
        return record

    def _throw_away(self, attempt_id: str) -> None:
        remove_tree(self._place(attempt_id))
        remove_record(self._attempt_file(attempt_id))
        remove_record(self.state / "attempts" / f"{attempt_id}.seen")

    def _folder(self, run_id: str) -> Path:
        return self.state / "runs" / _checked(run_id)

    def _line_file(self, run_id: str) -> Path:
        return self.state / "runs" / f"{_checked(run_id)}.json"

    def _attempt_file(self, attempt_id: str) -> Path:
        return self.state / "attempts" / f"{_checked(attempt_id)}.json"

    def _place(self, attempt_id: str) -> Path:
        return self.state / "copies" / _checked(attempt_id)

    def _object(self, run_id: str, digest: str) -> Path:
        return self._folder(run_id) / "objects" / digest[:2] / digest

    def _lock(self, run_id: str) -> Any:
        return locked(self.state / "locks" / f"run-{_checked(run_id)}")


def _checked(name: str) -> str:
    """An identifier that is safe as a file's name."""
    if not _ID.fullmatch(name):
        raise WorkspaceError(f"{name!r} cannot name a workspace: letters, digits, - and _ only")
    return name


def _differing(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))


def _only(tree: Tree, paths: list[str]) -> Tree:
    return {path: tree[path] for path in paths if path in tree}


def _print_of(what: str) -> str:
    """The journal's fingerprint of what a tree holds at a path."""
    kind, _, value = what.partition(":")
    return f"link:{hashlib.sha256(os.fsencode(value)).hexdigest()}" if kind == "link" else what


def _prune(place: Path, path: str) -> None:
    for parent in list(Path(path).parents)[:-1]:
        try:
            (place / parent).rmdir()
        except OSError:
            return


def _shown(paths: list[str]) -> tuple[str, ...]:
    return tuple(os.fsencode(path).decode("utf-8", "backslashreplace") for path in paths)
