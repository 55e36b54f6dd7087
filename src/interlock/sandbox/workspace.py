"""Places to work in, on a git repository: a branch for each run, a work tree for each attempt.

What is and is not in a workspace: everything that is committed at the project's HEAD when the run begins. Changes that
the user has not committed, untracked and ignored files are not in it, are never read, and are never touched; what was
uncommitted is noted by :meth:`GitWorkspaces.begin` so that the caller can say so. Files that git ignores stay out of what
an attempt hands in. Filters (git-lfs) are not run: a workspace holds their pointers, and a change to such a file is refused.

The order of steps that makes every method safe to repeat after a crash:

* a run's line is the branch ``interlock/<run>``; each commit on it names its attempt in its last line, so that an attempt
  that is already in is recognised; the only step that counts is one compare-and-swap of the branch;
* which commits may be the branch's head is written down before, so that a branch moved by anyone else is noticed;
* a delivery into a tree that the user has checked out goes through a :class:`~interlock.sandbox.journal.Journal`.
"""

from __future__ import annotations

import functools
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

from interlock.errors import ConflictError, UsageError, WorkspaceError
from interlock.ports import Integration, UndoableWorkspaces
from interlock.sandbox.copies import CopyWorkspaces
from interlock.sandbox.deliver import Delivery
from interlock.sandbox.git import Git, GitError, readable
from interlock.sandbox.journal import locked, read_record, remove_record, remove_tree, write_atomically, write_record

_TRAILER = "Interlock-Attempt"
_COMMITTER = {"GIT_COMMITTER_NAME": "Interlock", "GIT_COMMITTER_EMAIL": "interlock@localhost"}
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_SUBMODULE = b"160000"
_TRIES = 20


def open_workspaces(project: Path, state_dir: Path, isolation: str = "auto") -> UndoableWorkspaces:
    """The workspaces of a project: ``git``, ``copy``, or ``auto`` (git where the project has a commit to start from).

    Raises:
        UsageError: for another word.
        WorkspaceError: when ``git`` is asked for and the project cannot have it.
    """
    if isolation == "git":
        return GitWorkspaces(project, state_dir)
    if isolation == "copy":
        return CopyWorkspaces(project, state_dir)
    if isolation != "auto":
        raise UsageError(f'isolation is "auto", "git" or "copy", not "{isolation}"')
    if any((folder / ".git").exists() for folder in (project.absolute(), *project.absolute().parents)):
        return GitWorkspaces(project, state_dir)
    return CopyWorkspaces(project, state_dir)


class GitWorkspaces:
    """:class:`~interlock.ports.UndoableWorkspaces` on a git repository; see the module for its promises.

    ``project`` may be a work tree, a directory inside one (then attempts may change only what is below it), a linked
    work tree, or a bare repository. ``state_dir`` is ours alone.
    """

    def __init__(self, project: Path, state_dir: Path) -> None:
        self.project = project.absolute()
        self.state = state_dir.absolute()
        self.git = Git(self.project, self.state / "nowhere")

    def begin(self, run_id: str) -> str:
        """Start the run's branch at the project's HEAD; returns that commit.

        Raises:
            WorkspaceError: when the repository has no commit yet, or the branch exists and is not ours.
        """
        with self._run_lock(run_id):
            known = read_record(self._run_file(run_id))
            if known is None:
                known = self._first_record(run_id)
                write_record(self._run_file(run_id), known)
            base = str(known["base"])
            if known["heads"] == [base] and not self.git.resolve(self._ref(run_id)):
                self.git.compare_and_swap(self._ref(run_id), old="", new=base, why="interlock: begin")
            self._head(run_id)
            return base

    def uncommitted(self, run_id: str) -> tuple[str, ...]:
        """Paths that the user had not committed when the run began: they are not in its workspaces."""
        return tuple(self._run(run_id)["uncommitted"])

    def open(self, run_id: str, attempt_id: str) -> Path:
        """A fresh work tree at the head of the run's branch (detached: the agent has no branch to move)."""
        with self._run_lock(run_id):
            self._throw_away(attempt_id)
            base = self._head(run_id)
            place = self._place(attempt_id)
            place.parent.mkdir(parents=True, exist_ok=True)
            write_record(
                self._attempt_file(attempt_id), {"run": run_id, "base": "", "pointer": ""}
            )  # so that end() finds it
            self.git.run("worktree", "add", "--detach", "--force", str(place), base)
            pointer = (place / ".git").read_text(encoding="utf-8", errors="surrogateescape")
            admin = Path(pointer.removeprefix("gitdir: ").rstrip("\n"))
            pristine = self._index(attempt_id, "base")
            pristine.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(admin / "index", pristine)
            write_record(self._attempt_file(attempt_id), {"run": run_id, "base": base, "pointer": pointer})
            below = place / self.git.prefix
            below.mkdir(parents=True, exist_ok=True)
            return below

    def snapshot(self, run_id: str, attempt_id: str) -> str:
        """The attempt's files as they are now, as the id of a tree that is kept apart from the user's repository."""
        with self._attempt_lock(attempt_id):
            return self._snapshot(run_id, attempt_id, shadow=True)

    def restore(self, run_id: str, attempt_id: str, tree: str) -> None:
        """Bring the attempt's files back to a snapshot; files made since are removed, ignored files stay."""
        with self._attempt_lock(attempt_id):
            self._snapshot(run_id, attempt_id, shadow=True)
            place, index = self._place(attempt_id), self._index(attempt_id, "shadow")
            self._shadow(run_id, "read-tree", "--reset", "-u", tree, work_tree=place, index=index)
            (place / self.git.prefix).mkdir(parents=True, exist_ok=True)

    def compare(self, run_id: str, old: str, new: str) -> str:
        """See :meth:`interlock.ports.UndoableWorkspaces.compare`."""
        return self._diff(run_id, old, new).decode("utf-8", "replace")

    def revert(self, run_id: str, attempt_id: str, *, before: str, after: str, message: str) -> Integration:
        """A commit on the run's branch that takes one change out of it; see :class:`~interlock.ports.UndoableWorkspaces`."""
        with self._run_lock(run_id):
            head = self._head(run_id)
            taken = self._integrated(run_id, head).get(attempt_id)
            if not taken:
                raise WorkspaceError(f"{attempt_id} has nothing in the branch interlock/{run_id}")
            author = "Interlock <interlock@localhost>"
            git = functools.partial(self._commit, author=author, text=message, objects=self._objects(run_id))
            base = git(after or f"{taken}^{{tree}}", ())
            ours, theirs = git(f"{head}^{{tree}}", (base,)), git(before, (base,))
            tree = self._merge_trees(ours, theirs, objects=self._objects(run_id))
            paths = self._changes(run_id, head, tree)
            if not paths:
                raise WorkspaceError("there is nothing of it left to take out of the branch")
            commit = git(tree, (head,))
            packed = self.git.run(
                "pack-objects", "--revs", "--stdout", "-q", stdin=f"{commit}\n^{head}\n".encode(),
                objects=self._objects(run_id),
            )  # fmt: skip
            self.git.run("unpack-objects", "-q", stdin=packed)
            self._advance(run_id, head, commit)
            return Integration(changed=self._shown(paths), commit=commit)

    def diff(self, run_id: str, attempt_id: str) -> str:
        """The attempt's changes so far; binary files are only named."""
        base = self._attempt(run_id, attempt_id)["base"]
        return self._diff(run_id, base, self.snapshot(run_id, attempt_id)).decode("utf-8", "replace")

    def changed(self, run_id: str, attempt_id: str) -> tuple[str, ...]:
        """The paths that the attempt has changed so far."""
        base = self._attempt(run_id, attempt_id)["base"]
        return self._shown(self._changes(run_id, base, self.snapshot(run_id, attempt_id)))

    def integrate(self, run_id: str, attempt_id: str, *, author: str, message: str) -> Integration:
        """Take the attempt's changes into the run's branch as one commit.

        Raises:
            ConflictError: with the paths that were changed on both sides.
            WorkspaceError: when the workspace or the branch was tampered with, or holds what git cannot take.
        """
        with self._run_lock(run_id), self._attempt_lock(attempt_id):
            head = self._head(run_id)
            done = self._integrated(run_id, head).get(attempt_id)
            if done:
                return Integration(changed=self._shown(self._changes(run_id, f"{done}^", done)), commit=done)
            base = str(self._attempt(run_id, attempt_id)["base"])
            tree = self._snapshot(run_id, attempt_id, shadow=False)
            paths = self._changes(run_id, base, tree)
            if not paths:
                return Integration(changed=(), commit=head)
            self._refuse_filtered(attempt_id, paths)
            text = _with_trailer(message, attempt_id)
            if head != base:
                tree = self._merge_trees(head, self._commit(tree, (base,), author, text))
            commit = self._commit(tree, (head,), author, text)
            self._advance(run_id, head, commit)
            return Integration(changed=self._shown(self._changes(run_id, head, commit)), commit=commit)

    def is_integrated(self, run_id: str, attempt_id: str) -> bool:
        """See :meth:`interlock.ports.Workspaces.is_integrated`."""
        return attempt_id in self._integrated(run_id, self._head(run_id))

    def discard(self, run_id: str, attempt_id: str) -> None:
        """Throw the attempt's directory away."""
        with self._run_lock(run_id):
            self._throw_away(attempt_id)

    def run_diff(self, run_id: str) -> str:
        """All integrated changes of the run."""
        return self._diff(run_id, self._run(run_id)["base"], self._head(run_id)).decode("utf-8", "replace")

    def deliver(self, run_id: str, *, how: str, target: str = "") -> str:
        """Deliver the branch; see :class:`~interlock.ports.Workspaces`.

        ``merge`` without a target goes into the branch that was checked out when the run began. Where the target is checked out
        in a tree of the user's, that tree is brought along, if what the run touches is clean in it.

        Raises:
            ConflictError: when it does not apply; nothing has changed.
            WorkspaceError: when the target does not exist, or the user's tree is in the middle of something.
        """
        run = self._run(run_id)
        with locked(self.state / "locks" / "deliver"):
            delivery = Delivery(self.git, self.state / "delivery")
            delivery.recover()
            head = self._head(run_id)
            if not self._changes(run_id, run["base"], head):
                return ""
            if how == "review":
                return self._ref(run_id).removeprefix("refs/heads/")
            if how == "patch":
                return self._patch(run_id, run["base"], head)
            if how != "merge":
                raise UsageError(f'a delivery is "review", "merge" or "patch", not "{how}"')
            return self._merge(delivery, head, target or run["branch"], run_id)

    def end(self, run_id: str, *, keep: bool) -> None:
        """Throw away the run's work trees, and its branch unless ``keep`` or somebody has it checked out or moved it."""
        with self._run_lock(run_id):
            for file in sorted((self.state / "attempts").glob("*.json")):
                if (read_record(file) or {}).get("run") == run_id:
                    self._throw_away(file.stem)
            record = read_record(self._run_file(run_id))
            if keep and record is not None:
                return  # with its snapshots: single calls can still be taken out of the branch
            remove_tree(self.state / "objects" / run_id)
            if record is None:
                return
            ref, head = self._ref(run_id), self.git.resolve(self._ref(run_id))
            used = any(tree.get("branch") == ref for tree in self.git.work_trees())
            if head and head in record["heads"] and not used:
                self.git.run("update-ref", "-d", ref, head)
            remove_record(self._run_file(run_id))

    # the run's line

    def _first_record(self, run_id: str) -> dict[str, Any]:
        own = self.git.own
        base = os.fsdecode(
            self.git.run("rev-parse", "--quiet", "--verify", "HEAD^{commit}", git_dir=own, accept=(0, 1, 128))
        )
        if not base.strip():
            raise WorkspaceError(
                f"{self.project} has no commit yet: commit once (git commit --allow-empty), then try again"
            )
        if self.git.resolve(self._ref(run_id)):
            raise WorkspaceError(f"the branch interlock/{run_id} exists already and is not ours: rename or delete it")
        branch = os.fsdecode(self.git.run("symbolic-ref", "--quiet", "HEAD", git_dir=own, accept=(0, 1))).strip()
        return {
            "base": base.strip(),
            "branch": branch.removeprefix("refs/heads/"),
            "heads": [base.strip()],
            "programs": self.git.programs(),
            "uncommitted": self._uncommitted(self.git.top) if self.git.top else [],
        }

    def _uncommitted(self, top: Path) -> list[str]:
        index = self.state / f"status-{secrets.token_hex(8)}.index"  # of its own: runs begin side by side
        if (self.git.own / "index").exists():
            shutil.copy2(self.git.own / "index", index)
        try:
            said = self.git.run(
                "status", "--porcelain", "-z", "--no-renames", "--ignore-submodules=all",
                work_tree=top, git_dir=self.git.own, index=index,
            )  # fmt: skip
        finally:
            index.unlink(missing_ok=True)
        ours = self.state.resolve()
        found = [os.fsdecode(item[3:]) for item in said.split(b"\0") if item]
        return [readable(os.fsencode(path)) for path in found if top / path not in {ours, *ours.parents}]

    def _run(self, run_id: str) -> dict[str, Any]:
        """The run's record, after a look whether the repository's configuration still names the same programs."""
        record = read_record(self._run_file(run_id))
        if record is None:
            raise WorkspaceError(f"the run {run_id} has no line of changes here: it was never begun, or has ended")
        if record["programs"] != self.git.programs():
            raise WorkspaceError(
                "the repository's git configuration names other programs than when the run began (hooks, filters, aliases, "
                "remotes' commands): look at `git config --list --show-origin`, undo what you did not do, and run again"
            )
        return record

    def _head(self, run_id: str) -> str:
        run, head = self._run(run_id), self.git.resolve(self._ref(run_id))
        if head not in run["heads"]:
            raise WorkspaceError(
                f"the branch interlock/{run_id} was {'moved' if head else 'deleted'} by somebody else: "
                f"put it back to {run['heads'][-1]}, or start a new run"
            )
        return head

    def _advance(self, run_id: str, old: str, new: str) -> None:
        run = self._run(run_id)
        write_record(self._run_file(run_id), {**run, "heads": [old, new]})
        if not self.git.compare_and_swap(self._ref(run_id), old=old, new=new, why="interlock: integrate"):
            raise WorkspaceError(f"the branch interlock/{run_id} was moved by somebody else; nothing was integrated")

    def _integrated(self, run_id: str, head: str) -> dict[str, str]:
        """Which attempt each commit of the line holds."""
        base = self._run(run_id)["base"]
        listed = self.git.run("log", "-z", "--format=%H%n%B", f"{base}..{head}").decode("utf-8", "replace")
        found = {}
        for entry in listed.split("\0"):
            commit, _, body = entry.strip("\n").partition("\n")
            name, _, attempt = body.rstrip().rpartition("\n")[2].partition(": ")
            if name == _TRAILER:
                found[attempt] = commit
        return found

    def _commit(
        self, tree: str, parents: tuple[str, ...], author: str, text: str, *, objects: Path | None = None
    ) -> str:
        name, mail = _identity(author)
        env = {**_COMMITTER, "GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": mail}
        options = [option for parent in parents for option in ("-p", parent)]
        data = text.encode("utf-8", "replace")
        return (
            self.git.run("commit-tree", tree, *options, "-F", "-", stdin=data, env=env, objects=objects)
            .decode()
            .strip()
        )

    def _merge_trees(self, ours: str, theirs: str, *, objects: Path | None = None) -> str:
        """The tree of a three-way merge; conflicts name their paths."""
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
                objects=objects,
            )
        except GitError as error:
            raise WorkspaceError(f"the changes could not be merged: {error}") from error
        tree, *paths = [item for item in said.split(b"\0") if item]
        if paths:
            raise ConflictError(self._shown(sorted(set(paths))))
        return tree.decode()

    # an attempt

    def _attempt(self, run_id: str, attempt_id: str) -> dict[str, Any]:
        record = read_record(self._attempt_file(attempt_id))
        if record is None or record["run"] != run_id or not record["base"]:
            raise WorkspaceError(f"the attempt {attempt_id} has no workspace in the run {run_id}: open one first")
        place = self._place(attempt_id)
        if place.is_symlink() or not place.is_dir():
            raise WorkspaceError(f"the workspace of {attempt_id} is gone or was replaced: {place}")
        pointer = place / ".git"
        regular = pointer.is_file() and not pointer.is_symlink()
        if not regular or pointer.read_text(encoding="utf-8", errors="surrogateescape") != record["pointer"]:
            raise WorkspaceError(
                f"the .git file in the workspace of {attempt_id} was changed; its changes are not taken"
            )
        return record

    def _snapshot(self, run_id: str, attempt_id: str, *, shadow: bool) -> str:
        """Write the attempt's files as a tree, by an index that no agent can reach."""
        record, place = self._attempt(run_id, attempt_id), self._place(attempt_id)
        self._run(run_id)
        kept = self._index(attempt_id, "shadow") if shadow else self._index(attempt_id, "base")
        fresh = self._index(attempt_id, "fresh")
        for leftover in (fresh, fresh.with_name(fresh.name + ".lock")):
            leftover.unlink(missing_ok=True)
        shutil.copy2(kept if kept.exists() else self._index(attempt_id, "base"), fresh)
        run = functools.partial(self._shadow, run_id) if shadow else self.git.run
        try:
            run("add", "--all", work_tree=place, index=fresh)
        except GitError as error:
            raise WorkspaceError(f"the changes of {attempt_id} cannot be taken: {error.failure.said}") from error
        tree = run("write-tree", work_tree=place, index=fresh).decode().strip()
        self._refuse_foreign(run_id, attempt_id, record["base"], tree, shadow=shadow)
        if shadow:
            fresh.replace(kept)
        return tree

    def _refuse_foreign(self, run_id: str, attempt_id: str, base: str, tree: str, *, shadow: bool) -> None:
        run = functools.partial(self._shadow, run_id) if shadow else self.git.run
        entries = run("diff-tree", "-r", "-z", "--no-renames", base, tree).split(b"\0")
        for meta, path in zip(entries[::2], entries[1::2], strict=False):
            if meta.split(b" ")[1] == _SUBMODULE:
                raise WorkspaceError(
                    f"{attempt_id} made or moved a git repository inside the workspace ({readable(path)}): its files cannot be "
                    "taken; remove its .git, or change submodules by hand"
                )
            if not path.startswith(os.fsencode(self.git.prefix)):
                raise WorkspaceError(
                    f"{attempt_id} changed {readable(path)}, outside {self.git.prefix} where it may work"
                )

    def _refuse_filtered(self, attempt_id: str, paths: list[bytes]) -> None:
        """Filters (as of git-lfs) are programs that we do not run, so what needs one cannot be stored rightly."""
        if not self.git.filters:
            return
        asked = b"".join(path + b"\0" for path in paths)
        said = self.git.run(
            "check-attr", "-z", "--stdin", "filter", stdin=asked, work_tree=self._place(attempt_id)
        ).split(b"\0")
        filtered = [
            readable(p)
            for p, value in zip(said[::3], said[2::3], strict=False)
            if os.fsdecode(value) in self.git.filters
        ]
        if filtered:
            raise WorkspaceError(
                f"{', '.join(filtered)}: stored through a git filter, which is not run here; change it by hand"
            )

    def _throw_away(self, attempt_id: str) -> None:
        place = self._place(attempt_id)
        remove_tree(place)
        if any(tree.get("worktree") == str(place) for tree in self.git.work_trees()):
            self.git.run("worktree", "remove", "--force", "--force", str(place))
        for kind in ("base", "shadow", "fresh"):
            self._index(attempt_id, kind).unlink(missing_ok=True)
        remove_record(self._attempt_file(attempt_id))

    # looking at changes

    def _shadow(self, run_id: str, *args: str, work_tree: Path | None = None, index: Path | None = None) -> bytes:
        return self.git.run(*args, work_tree=work_tree, index=index, objects=self._objects(run_id))

    def _objects(self, run_id: str) -> Path:
        """Where the objects of the run's snapshots are, apart from the user's repository."""
        objects = self.state / "objects" / _checked(run_id)
        objects.mkdir(parents=True, exist_ok=True)
        return objects

    def _changes(self, run_id: str, old: str, new: str) -> list[bytes]:
        said = self._shadow(run_id, "diff-tree", "-r", "-z", "--no-renames", "--name-only", old, new)
        return [path for path in said.split(b"\0") if path]

    def _diff(self, run_id: str, old: str, new: str, *options: str) -> bytes:
        relative = f"--relative={self.git.prefix}" if self.git.prefix else "--no-relative"
        return self._shadow(
            run_id,
            "diff-tree", "-r", "-p", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index",
            "--src-prefix=a/", "--dst-prefix=b/", "--submodule=short", relative, *options, old, new,
        )  # fmt: skip

    def _shown(self, paths: list[bytes]) -> tuple[str, ...]:
        return tuple(readable(path.removeprefix(os.fsencode(self.git.prefix))) for path in paths)

    # delivery

    def _patch(self, run_id: str, base: str, head: str) -> str:
        file = self.state / "patches" / f"{run_id}.patch"
        write_atomically(file, self._diff(run_id, base, head, "--binary"))
        return str(file)

    def _merge(self, delivery: Delivery, head: str, target: str, run_id: str) -> str:
        ref = f"refs/heads/{target}"
        if not target:
            raise WorkspaceError("no branch was checked out when the run began: say which branch to merge into")
        for _ in range(_TRIES):
            tip = self.git.resolve(ref)
            if not tip:
                raise WorkspaceError(f"there is no branch {target} to merge into")
            if self.git.works("merge-base", "--is-ancestor", head, tip):
                return target
            new = head
            if not self.git.works("merge-base", "--is-ancestor", tip, head):
                tree = self._merge_trees(tip, head)
                new = self._commit(tree, (tip, head), "Interlock <interlock@localhost>", f"Merge interlock/{run_id}\n")
            if delivery.move(ref, old=tip, new=new):
                return target
        raise WorkspaceError(f"the branch {target} kept moving; nothing was merged, try again")

    # places

    def _ref(self, run_id: str) -> str:
        return f"refs/heads/interlock/{_checked(run_id)}"

    def _run_file(self, run_id: str) -> Path:
        return self.state / "runs" / f"{_checked(run_id)}.json"

    def _attempt_file(self, attempt_id: str) -> Path:
        return self.state / "attempts" / f"{_checked(attempt_id)}.json"

    def _place(self, attempt_id: str) -> Path:
        return self.state / "worktrees" / _checked(attempt_id)

    def _index(self, attempt_id: str, kind: str) -> Path:
        return self.state / "index" / f"{_checked(attempt_id)}.{kind}"

    def _run_lock(self, run_id: str) -> Any:
        return locked(self.state / "locks" / f"run-{_checked(run_id)}")

    def _attempt_lock(self, attempt_id: str) -> Any:
        return locked(self.state / "locks" / f"attempt-{_checked(attempt_id)}")


def _checked(name: str) -> str:
    """An identifier that is safe as a file's and a branch's name."""
    if not _ID.fullmatch(name):
        raise WorkspaceError(f"{name!r} cannot name a workspace: letters, digits, - and _ only")
    return name


def _with_trailer(message: str, attempt_id: str) -> str:
    """The message with our last line; lines that pretend to be ours are taken out."""
    lines = [
        line for line in message.replace("\0", "").splitlines() if not line.lstrip().casefold().startswith("interlock-")
    ]
    return "\n".join(lines).strip() + f"\n\n{_TRAILER}: {attempt_id}\n"


def _identity(author: str) -> tuple[str, str]:
    """Name and address of ``Name <address>``; an author without an address gets one that nobody has."""
    name, _, mail = author.partition("<")
    clean = re.sub(r"[<>\x00-\x1f]", "", name).strip(" .,:;\"'") or "agent"
    address = re.sub(r"[<>\s\x00-\x1f]", "", mail) or f"{re.sub(r'[^A-Za-z0-9.-]+', '-', clean)}@interlock.invalid"
    return clean, address
