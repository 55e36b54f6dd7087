"""An attempt's work tree on git: made, read by an index that no agent can reach, thrown away."""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from interlock.errors import WorkspaceError
from interlock.sandbox.git import Git, GitError, readable
from interlock.sandbox.git_line import Line
from interlock.sandbox.journal import read_record, remove_record, remove_tree, write_record
from interlock.sandbox.places import Places, checked

_SUBMODULE = b"160000"


class WorkTree:
    """The work tree of one attempt at the head of its run's line (detached: the agent has no branch to move)."""

    def __init__(self, git: Git, places: Places, line: Line, attempt_id: str) -> None:
        self.git = git
        self.line = line
        self.attempt_id = checked(attempt_id)
        self._state = places.state
        self._file = places.attempt_file(attempt_id)
        self._places = places
        self._place = places.state / "worktrees" / attempt_id

    def locked(self) -> AbstractContextManager[None]:
        """Held while the attempt's files are read."""
        return self._places.attempt_lock(self.attempt_id)

    def open(self) -> Path:
        """Make it afresh; returns where the agent works in it."""
        self.throw_away()
        base = self.line.head()
        self._place.parent.mkdir(parents=True, exist_ok=True)
        write_record(self._file, {"run": self.line.run_id, "base": "", "pointer": ""})  # so that end() finds it
        self.git.run("worktree", "add", "--detach", "--force", str(self._place), base)
        pointer = (self._place / ".git").read_text(encoding="utf-8", errors="surrogateescape")
        admin = Path(pointer.removeprefix("gitdir: ").rstrip("\n"))
        pristine = self._index("base")
        pristine.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(admin / "index", pristine)
        write_record(self._file, {"run": self.line.run_id, "base": base, "pointer": pointer})
        below = self._place / self.git.prefix
        below.mkdir(parents=True, exist_ok=True)
        return below

    @property
    def base(self) -> str:
        """The commit that it began at."""
        return str(self._record()["base"])

    def restore(self, tree: str) -> None:
        """Bring the files back to a snapshot; files made since are removed, ignored files stay."""
        self.snapshot(shadow=True)
        index = self._index("shadow")
        self.line.changes.run("read-tree", "--reset", "-u", tree, work_tree=self._place, index=index)
        (self._place / self.git.prefix).mkdir(parents=True, exist_ok=True)

    def snapshot(self, *, shadow: bool) -> str:
        """Write the attempt's files as a tree, by an index that no agent can reach; with ``shadow`` apart from the user's repository.

        Raises:
            WorkspaceError: when it holds what git cannot take, or was tampered with.
        """
        record, place = self._record(), self._place
        self.line.record()
        kept = self._index("shadow") if shadow else self._index("base")
        fresh = self._index("fresh")
        for leftover in (fresh, fresh.with_name(fresh.name + ".lock")):
            leftover.unlink(missing_ok=True)
        shutil.copy2(kept if kept.exists() else self._index("base"), fresh)
        run = self.line.changes.run if shadow else self.git.run
        try:
            run("add", "--all", work_tree=place, index=fresh)
        except GitError as error:
            raise WorkspaceError(f"the changes of {self.attempt_id} cannot be taken: {error.failure.said}") from error
        tree = run("write-tree", work_tree=place, index=fresh).decode().strip()
        self._refuse_foreign(record["base"], tree, shadow=shadow)
        if shadow:
            fresh.replace(kept)
        return tree

    def refuse_filtered(self, paths: list[bytes]) -> None:
        """Filters (as of git-lfs) are programs that we do not run, so what needs one cannot be stored rightly."""
        if not self.git.filters:
            return
        asked = b"".join(path + b"\0" for path in paths)
        said = self.git.run("check-attr", "-z", "--stdin", "filter", stdin=asked, work_tree=self._place).split(b"\0")
        filtered = [
            readable(p)
            for p, value in zip(said[::3], said[2::3], strict=False)
            if os.fsdecode(value) in self.git.filters
        ]
        if filtered:
            raise WorkspaceError(
                f"{', '.join(filtered)}: stored through a git filter, which is not run here; change it by hand"
            )

    def throw_away(self) -> None:
        """Remove it with all that belongs to it."""
        place = self._place
        remove_tree(place)
        if any(tree.get("worktree") == str(place) for tree in self.git.work_trees()):
            self.git.run("worktree", "remove", "--force", "--force", str(place))
        for kind in ("base", "shadow", "fresh"):
            self._index(kind).unlink(missing_ok=True)
        remove_record(self._file)

    def _record(self) -> dict[str, Any]:
        record = read_record(self._file)
        if record is None or record["run"] != self.line.run_id or not record["base"]:
            raise WorkspaceError(
                f"the attempt {self.attempt_id} has no workspace in the run {self.line.run_id}: open one first"
            )
        place = self._place
        if place.is_symlink() or not place.is_dir():
            raise WorkspaceError(f"the workspace of {self.attempt_id} is gone or was replaced: {place}")
        pointer = place / ".git"
        regular = pointer.is_file() and not pointer.is_symlink()
        if not regular or pointer.read_text(encoding="utf-8", errors="surrogateescape") != record["pointer"]:
            raise WorkspaceError(
                f"the .git file in the workspace of {self.attempt_id} was changed; its changes are not taken"
            )
        return record

    def _refuse_foreign(self, base: str, tree: str, *, shadow: bool) -> None:
        run = self.line.changes.run if shadow else self.git.run
        entries = run("diff-tree", "-r", "-z", "--no-renames", base, tree).split(b"\0")
        for meta, path in zip(entries[::2], entries[1::2], strict=False):
            if meta.split(b" ")[1] == _SUBMODULE:
                raise WorkspaceError(
                    f"{self.attempt_id} made or moved a git repository inside the workspace ({readable(path)}): its files cannot be "
                    "taken; remove its .git, or change submodules by hand"
                )
            if not path.startswith(os.fsencode(self.git.prefix)):
                raise WorkspaceError(
                    f"{self.attempt_id} changed {readable(path)}, outside {self.git.prefix} where it may work"
                )

    def _index(self, kind: str) -> Path:
        return self._state / "index" / f"{self.attempt_id}.{kind}"
