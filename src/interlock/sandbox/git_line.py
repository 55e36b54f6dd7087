"""A run's line on git: the branch ``interlock/<run>``.

Each commit on it names its attempt in its last line, so that an attempt that is already in is recognised. Which commits may
be its head is written down before, so that a branch moved by anyone else is noticed; the only step that counts is one
compare-and-swap.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from interlock.errors import WorkspaceError
from interlock.sandbox.git import Git, readable
from interlock.sandbox.git_changes import Changes
from interlock.sandbox.journal import read_record, remove_record, remove_tree, write_record
from interlock.sandbox.places import Places, checked

_TRAILER = "Interlock-Attempt"


class Line:
    """The line of one run."""

    def __init__(self, git: Git, places: Places, run_id: str) -> None:
        self.git = git
        self.run_id = checked(run_id)
        self.branch = f"interlock/{run_id}"
        self._ref = f"refs/heads/{self.branch}"
        self._file = places.run_file(run_id)
        self._places = places
        self._state = places.state
        self.changes = Changes(git, places.state / "objects" / run_id)

    def locked(self) -> AbstractContextManager[None]:
        """Held while the line is read and changed."""
        return self._places.run_lock(self.run_id)

    def begin(self) -> str:
        """Start the branch at the project's HEAD, once; returns that commit.

        Raises:
            WorkspaceError: when the repository has no commit yet, or the branch exists and is not ours.
        """
        known = read_record(self._file)
        if known is None:
            known = self._first_record()
            write_record(self._file, known)
        base = str(known["base"])
        if known["heads"] == [base] and not self.git.resolve(self._ref):
            self.git.compare_and_swap(self._ref, old="", new=base, why="interlock: begin")
        self.head()
        return base

    def record(self) -> dict[str, Any]:
        """The run's record, after a look whether the repository's configuration still names the same programs.

        Raises:
            WorkspaceError: when there is none, or they are others.
        """
        record = read_record(self._file)
        if record is None:
            raise WorkspaceError(f"the run {self.run_id} has no line of changes here: it was never begun, or has ended")
        if record["programs"] != self.git.programs():
            raise WorkspaceError(
                "the repository's git configuration names other programs than when the run began (hooks, filters, aliases, "
                "remotes' commands): look at `git config --list --show-origin`, undo what you did not do, and run again"
            )
        return record

    def head(self) -> str:
        """The commit that the branch is at.

        Raises:
            WorkspaceError: when somebody else has moved it.
        """
        run, head = self.record(), self.git.resolve(self._ref)
        if head not in run["heads"]:
            raise WorkspaceError(
                f"the branch {self.branch} was {'moved' if head else 'deleted'} by somebody else: "
                f"put it back to {run['heads'][-1]}, or start a new run"
            )
        return head

    def advance(self, old: str, new: str) -> None:
        """Move the branch on.

        Raises:
            WorkspaceError: when somebody else moved it first.
        """
        run = self.record()
        write_record(self._file, {**run, "heads": [old, new]})
        if not self.git.compare_and_swap(self._ref, old=old, new=new, why="interlock: integrate"):
            raise WorkspaceError(f"the branch {self.branch} was moved by somebody else; nothing was integrated")

    def integrated(self, head: str) -> dict[str, str]:
        """The commit of each attempt that is in."""
        base = self.record()["base"]
        listed = self.git.run("log", "-z", "--format=%H%n%B", f"{base}..{head}").decode("utf-8", "replace")
        found = {}
        for entry in listed.split("\0"):
            commit, _, body = entry.strip("\n").partition("\n")
            name, _, attempt = body.rstrip().rpartition("\n")[2].partition(": ")
            if name == _TRAILER:
                found[attempt] = commit
        return found

    def end(self, *, keep: bool) -> None:
        """Forget the line, and its branch unless ``keep`` or somebody has it checked out or moved it."""
        record = read_record(self._file)
        if keep and record is not None:
            return  # with its snapshots: single calls can still be taken out of the branch
        remove_tree(self._state / "objects" / self.run_id)
        if record is None:
            return
        head = self.git.resolve(self._ref)
        used = any(tree.get("branch") == self._ref for tree in self.git.work_trees())
        if head and head in record["heads"] and not used:
            self.git.run("update-ref", "-d", self._ref, head)
        remove_record(self._file)

    def _first_record(self) -> dict[str, Any]:
        own = self.git.own
        base = os.fsdecode(
            self.git.run("rev-parse", "--quiet", "--verify", "HEAD^{commit}", git_dir=own, accept=(0, 1, 128))
        )
        if not base.strip():
            raise WorkspaceError(
                f"{self.git.project} has no commit yet: commit once (git commit --allow-empty), then try again"
            )
        if self.git.resolve(self._ref):
            raise WorkspaceError(f"the branch {self.branch} exists already and is not ours: rename or delete it")
        branch = os.fsdecode(self.git.run("symbolic-ref", "--quiet", "HEAD", git_dir=own, accept=(0, 1))).strip()
        return {
            "base": base.strip(),
            "branch": branch.removeprefix("refs/heads/"),
            "heads": [base.strip()],
            "programs": self.git.programs(),
            "uncommitted": self._uncommitted(self.git.top) if self.git.top else [],
        }

    def _uncommitted(self, top: Path) -> list[str]:
        index = self._state / f"status-{secrets.token_hex(8)}.index"  # of its own: runs begin side by side
        if (self.git.own / "index").exists():
            shutil.copy2(self.git.own / "index", index)
        try:
            said = self.git.run(
                "status", "--porcelain", "-z", "--no-renames", "--ignore-submodules=all",
                work_tree=top, git_dir=self.git.own, index=index,
            )  # fmt: skip
        finally:
            index.unlink(missing_ok=True)
        ours = self._state.resolve()
        found = [os.fsdecode(item[3:]) for item in said.split(b"\0") if item]
        return [readable(os.fsencode(path)) for path in found if top / path not in {ours, *ours.parents}]


def with_trailer(message: str, attempt_id: str) -> str:
    """The message with our last line; lines that pretend to be ours are taken out."""
    lines = [
        line for line in message.replace("\0", "").splitlines() if not line.lstrip().casefold().startswith("interlock-")
    ]
    return "\n".join(lines).strip() + f"\n\n{_TRAILER}: {attempt_id}\n"
