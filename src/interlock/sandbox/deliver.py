"""Moving a branch of the user's to a new commit, together with the work tree that has it checked out.

As ``git merge --ff-only`` does it, but so that a kill at any moment leaves something that the next call completes or takes
back: while it lasts the tree's index is locked in git's own way (``index.lock``), so that no git command of the user's
commits half of it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from interlock.errors import ConflictError, WorkspaceError
from interlock.sandbox.git import Git, readable
from interlock.sandbox.journal import (
    CHANGED_SINCE,
    IN_THE_WAY,
    Journal,
    fingerprint,
    read_record,
    remove_tree,
    write_record,
)

_BUSY = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply", "BISECT_LOG")
_ABSENT_MODE = b"000000"


class Delivery:
    """Deliveries into one repository, one at a time (the caller holds the lock)."""

    def __init__(self, git: Git, folder: Path) -> None:
        self.git = git
        self._lock_file = folder / "lock.json"
        self._index = folder / "index"
        self._stage = folder / "stage"
        self._journal = Journal(folder / "journal")
        folder.mkdir(parents=True, exist_ok=True)

    def move(self, ref: str, *, old: str, new: str) -> bool:
        """Move the branch; False when somebody moved it first (nothing has changed then).

        Raises:
            ConflictError: when the user has changed, or has in the way, what the move touches.
            WorkspaceError: when the tree that has the branch is in the middle of something.
        """
        holders = [
            Path(tree["worktree"]) for tree in self.git.work_trees() if tree.get("branch") == ref and "bare" not in tree
        ]
        self._refuse_rebased(ref)
        if len(holders) > 1:
            raise WorkspaceError(f"{ref} is checked out in {len(holders)} work trees: leave it in one of them")
        if not holders or not holders[0].is_dir():
            return self.git.compare_and_swap(ref, old=old, new=new, why="interlock: deliver")
        tree = holders[0]
        if not (tree / ".git").exists():
            raise WorkspaceError(f"{ref} is checked out, but where is not known: merge the branch by hand")
        git_dir = self.git.git_dir_of(tree)
        busy = [name for name in _BUSY if (git_dir / name).exists()]
        if busy:
            raise WorkspaceError(
                f"{tree} is in the middle of something ({busy[0]}): finish or abort it, then deliver again"
            )
        if not (git_dir / "index").exists():
            raise WorkspaceError(
                f"{tree} has no index: git status there says what is wrong; mend it, then deliver again"
            )
        self._lock(git_dir)
        try:
            self._prepare(tree, git_dir, ref=ref, old=old, new=new)
        except BaseException:
            self._unlock()
            raise
        try:
            return self._finish()
        except OSError as error:
            return self._give_up(error)

    def _give_up(self, error: OSError) -> bool:
        """The disk is full, or a directory cannot be written to: back to where it was, if that is still possible."""
        plan = self._known()
        if self.git.resolve(plan["ref"]) == plan["old"]:
            self._take_back()
        raise WorkspaceError(f"the changes could not be written into {plan['root']}: {error}") from error

    def recover(self) -> None:
        """Complete or take back what a crash has interrupted; does nothing when there is nothing.

        Raises:
            ConflictError: when the user has changed a file of it since: it was taken back, theirs was kept.
        """
        plan = self._journal.read()
        if plan is None:
            self._unlock()
            return
        foreign = self._journal.foreign()
        moved = self.git.resolve(plan["ref"]) == plan["new"]
        if foreign and not moved and self._journal.pending():
            self._take_back()
            raise ConflictError(foreign, why=CHANGED_SINCE)
        self._finish()

    def _finish(self) -> bool:
        """The steps that a crash may interrupt anywhere: files, branch, index, lock, journal."""
        plan = self._known()
        self._journal.forward()
        if self.git.resolve(plan["ref"]) != plan["new"] and not self.git.compare_and_swap(
            plan["ref"], old=plan["old"], new=plan["new"], why="interlock: deliver"
        ):
            self._take_back()
            return False
        self._replace_index(Path(plan["root"]), Path(plan["git_dir"]), plan["index"])
        self._journal.close()
        self._unlock()
        return True

    def _replace_index(self, tree: Path, git_dir: Path, before: str) -> None:
        """Put our index in the place of the one it was made from; one that the user has changed since stays."""
        if not self._index.exists() or fingerprint(git_dir / "index") != before:
            return
        self.git.run(
            "update-index", "-q", "--refresh", work_tree=tree, git_dir=git_dir, index=self._index, accept=(0, 1)
        )  # fmt: skip
        lock = self._lock_path() or git_dir / "interlock.index"
        shutil.copyfile(self._index, lock)
        lock.replace(git_dir / "index")
        self._index.unlink()

    def _take_back(self) -> None:
        self._journal.back()
        self._journal.close()
        self._unlock()

    def _known(self) -> dict[str, Any]:
        plan = self._journal.read()
        if plan is None:
            raise WorkspaceError("there is no delivery to finish")
        return plan

    def _prepare(self, tree: Path, git_dir: Path, *, ref: str, old: str, new: str) -> None:
        entries = self._entries(old, new)
        before = fingerprint(git_dir / "index")
        shutil.copy2(git_dir / "index", self._index)
        self._refuse_unclean(tree, git_dir, entries)
        staged = self._stage_files(
            tree, git_dir, new, [path for path, (mode, _) in entries.items() if mode != _ABSENT_MODE]
        )
        changes = {os.fsdecode(path): staged.get(path) for path in entries}
        lines = b"".join(
            (mode + b" " + name + b"\t" + path if mode != _ABSENT_MODE else b"0 " + b"0" * len(name) + b"\t" + path)
            + b"\0"
            for path, (mode, name) in sorted(entries.items(), key=lambda item: item[1][0] != _ABSENT_MODE)
        )
        self.git.run(
            "update-index", "-z", "--index-info", stdin=lines, work_tree=tree, git_dir=git_dir, index=self._index
        )
        extra = {"ref": ref, "old": old, "new": new, "git_dir": str(git_dir), "index": before}
        self._journal.prepare(tree, changes, extra=extra)
        remove_tree(self._stage)

    def _entries(self, old: str, new: str) -> dict[bytes, tuple[bytes, bytes]]:
        said = self.git.run("diff-tree", "-r", "-z", "--no-renames", old, new).split(b"\0")
        found = {}
        for meta, path in zip(said[::2], said[1::2], strict=False):
            _, mode, _, name, _ = meta.split(b" ")
            if b"160000" in {mode, meta.split(b" ")[0].removeprefix(b":")}:
                raise WorkspaceError(f"{readable(path)} is a submodule that would move: merge the branch by hand")
            found[path] = (mode, name)
        return found

    def _refuse_unclean(self, tree: Path, git_dir: Path, entries: dict[bytes, tuple[bytes, bytes]]) -> None:
        """Refuse when the user has changed what is touched, or has a file of their own where a new one would go."""
        said = self.git.run(
            "status", "--porcelain", "-z", "--no-renames", "--untracked-files=no", "--ignore-submodules=all",
            work_tree=tree, git_dir=git_dir, index=self._index,
        )  # fmt: skip
        unclean = {item[3:] for item in said.split(b"\0") if item} & entries.keys()
        listed = self.git.run("ls-files", "-z", work_tree=tree, git_dir=git_dir, index=self._index)
        tracked = set(listed.split(b"\0"))
        for path in entries.keys() - tracked:
            here = tree / os.fsdecode(path)
            if os.path.lexists(here) and not here.is_dir():
                unclean.add(path)
        unclean |= {path for path in entries.keys() & tracked if not os.path.lexists(tree / os.fsdecode(path))}
        if unclean:
            raise ConflictError((readable(path) for path in sorted(unclean)), why=IN_THE_WAY)

    def _stage_files(self, tree: Path, git_dir: Path, new: str, paths: list[bytes]) -> dict[bytes, Path]:
        """The new files as a checkout would write them (line ends included), outside the user's tree."""
        remove_tree(self._stage)
        self._stage.mkdir(parents=True)
        index = self._stage / ".interlock-index"
        self.git.run("read-tree", new, work_tree=tree, git_dir=git_dir, index=index)
        out = self._stage / "files"
        self.git.run(
            "checkout-index", "-z", "--stdin", f"--prefix={out}/", stdin=b"".join(path + b"\0" for path in paths),
            work_tree=tree, git_dir=git_dir, index=index,
        )  # fmt: skip
        return {path: out / os.fsdecode(path) for path in paths}

    def _refuse_rebased(self, ref: str) -> None:
        for tree in self.git.work_trees():
            if "bare" in tree or not Path(tree["worktree"]).is_dir() or "detached" not in tree:
                continue
            git_dir = (
                self.git.git_dir_of(Path(tree["worktree"])) if (Path(tree["worktree"]) / ".git").exists() else None
            )
            for name in ("rebase-merge/head-name", "rebase-apply/head-name"):
                if git_dir and (git_dir / name).is_file() and (git_dir / name).read_text().strip() == ref:
                    raise WorkspaceError(
                        f"{ref} is being rebased in {tree['worktree']}: finish or abort it, then deliver again"
                    )

    # git's own lock on the index of the user's tree

    def _lock(self, git_dir: Path) -> None:
        lock, token = git_dir / "index.lock", secrets.token_hex(16)
        write_record(self._lock_file, {"path": str(lock), "token": token})
        ready = git_dir / "interlock.lock"
        ready.write_text(token, encoding="ascii")
        try:
            os.link(ready, lock)  # made whole in one step: a lock without our token is somebody else's
        except FileExistsError:
            self._lock_file.unlink()
            raise WorkspaceError(
                f"a git command is at work in {git_dir.parent}, or one has crashed: wait, or remove {lock}, then deliver again"
            ) from None
        finally:
            ready.unlink(missing_ok=True)

    def _lock_path(self) -> Path | None:
        """The lock if it is there and ours."""
        record = read_record(self._lock_file)
        if record is None:
            return None
        lock = Path(record["path"])
        if not lock.exists():
            return None
        content = lock.read_bytes()
        if content == record["token"].encode():
            return lock
        copied = self._index.exists() and self._index.read_bytes().startswith(content)
        return lock if copied else None

    def _unlock(self) -> None:
        lock = self._lock_path()
        if lock is not None:
            lock.unlink()
        self._index.unlink(missing_ok=True)
        self._lock_file.unlink(missing_ok=True)
