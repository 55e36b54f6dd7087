"""Trees and commits of one run: compared, merged, written.

What belongs to snapshots lies in a directory of objects of its own, apart from the user's repository.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from interlock.errors import ConflictError, WorkspaceError
from interlock.sandbox.git import Git, GitError, readable

OURS = "Interlock <interlock@localhost>"
_COMMITTER = {"GIT_COMMITTER_NAME": "Interlock", "GIT_COMMITTER_EMAIL": "interlock@localhost"}


class Changes:
    """Looking at trees, and making new ones; ``apart`` writes among the snapshots' objects."""

    def __init__(self, git: Git, objects: Path) -> None:
        self.git = git
        self._objects = objects

    @property
    def objects(self) -> Path:
        """Where the objects of the run's snapshots are, apart from the user's repository."""
        self._objects.mkdir(parents=True, exist_ok=True)
        return self._objects

    def run(
        self, *args: str, stdin: bytes | None = None, work_tree: Path | None = None, index: Path | None = None
    ) -> bytes:
        """Git, with the snapshots' objects beside the repository's."""
        return self.git.run(*args, stdin=stdin, work_tree=work_tree, index=index, objects=self.objects)

    def paths(self, old: str, new: str) -> list[bytes]:
        """The paths that differ."""
        said = self.run("diff-tree", "-r", "-z", "--no-renames", "--name-only", old, new)
        return [path for path in said.split(b"\0") if path]

    def diff(self, old: str, new: str, *options: str) -> bytes:
        """The difference as a unified diff, of what is below the project's directory."""
        relative = f"--relative={self.git.prefix}" if self.git.prefix else "--no-relative"
        return self.run(
            "diff-tree", "-r", "-p", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index",
            "--src-prefix=a/", "--dst-prefix=b/", "--submodule=short", relative, *options, old, new,
        )  # fmt: skip

    def shown(self, paths: list[bytes]) -> tuple[str, ...]:
        """Paths for people, from the project's directory on."""
        return tuple(readable(path.removeprefix(os.fsencode(self.git.prefix))) for path in paths)

    def commit(self, tree: str, parents: tuple[str, ...], author: str, text: str, *, apart: bool = False) -> str:
        """A new commit of a tree; its id."""
        name, mail = _identity(author)
        env = {**_COMMITTER, "GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": mail}
        options = [option for parent in parents for option in ("-p", parent)]
        data = text.encode("utf-8", "replace")
        return (
            self.git.run(
                "commit-tree", tree, *options, "-F", "-", stdin=data, env=env, objects=self.objects if apart else None
            )
            .decode()
            .strip()
        )

    def merge(self, ours: str, theirs: str, *, apart: bool = False) -> str:
        """The tree of a three-way merge; conflicts name their paths.

        Raises:
            ConflictError: with the paths that were changed on both sides.
            WorkspaceError: when git cannot merge them.
        """
        try:
            said = self.git.run(
                "merge-tree",
                "--write-tree",
                "-z",
                "--name-only",
                "--no-messages",
                ours,
                theirs,
                accept=(0, 1),
                objects=self.objects if apart else None,
            )
        except GitError as error:
            raise WorkspaceError(f"the changes could not be merged: {error}") from error
        tree, *paths = [item for item in said.split(b"\0") if item]
        if paths:
            raise ConflictError(self.shown(sorted(set(paths))))
        return tree.decode()


def _identity(author: str) -> tuple[str, str]:
    """Name and address of ``Name <address>``; an author without an address gets one that nobody has."""
    name, _, mail = author.partition("<")
    clean = re.sub(r"[<>\x00-\x1f]", "", name).strip(" .,:;\"'") or "agent"
    address = re.sub(r"[<>\s\x00-\x1f]", "", mail) or f"{re.sub(r'[^A-Za-z0-9.-]+', '-', clean)}@interlock.invalid"
    return clean, address
