"""Places to work in, on a git repository: a branch for each run, a work tree for each attempt.

What is and is not in a workspace: everything that is committed at the project's HEAD when the run begins. Changes that
the user has not committed, untracked and ignored files are not in it, are never read, and are never touched; what was
uncommitted is noted by :meth:`GitWorkspaces.begin` so that the caller can say so. Files that git ignores stay out of what
an attempt hands in. Filters (git-lfs) are not run: a workspace holds their pointers, and a change to such a file is refused.

Every method is safe to repeat after a crash: a run's line moves by one compare-and-swap (:mod:`interlock.sandbox.git_line`),
and a delivery into a tree that the user has checked out goes through a :class:`~interlock.sandbox.journal.Journal`.
"""

from __future__ import annotations

from pathlib import Path

from interlock.errors import UsageError, WorkspaceError
from interlock.ports import Integration
from interlock.sandbox.deliver import Delivery
from interlock.sandbox.git import Git
from interlock.sandbox.git_changes import OURS
from interlock.sandbox.git_line import Line, with_trailer
from interlock.sandbox.git_trees import WorkTree
from interlock.sandbox.journal import read_record, write_atomically
from interlock.sandbox.places import Places

_TRIES = 20


class GitWorkspaces:
    """:class:`~interlock.ports.UndoableWorkspaces` on a git repository; see the module for its promises.

    ``project`` may be a work tree, a directory inside one (then attempts may change only what is below it), a linked
    work tree, or a bare repository. ``state_dir`` is ours alone.
    """

    def __init__(self, project: Path, state_dir: Path) -> None:
        self.project = project.absolute()
        self.places = Places(state_dir.absolute())
        self.git = Git(self.project, self.places.state / "nowhere")

    def begin(self, run_id: str) -> str:
        """Start the run's branch at the project's HEAD; returns that commit.

        Raises:
            WorkspaceError: when the repository has no commit yet, or the branch exists and is not ours.
        """
        line = self._line(run_id)
        with line.locked():
            return line.begin()

    def uncommitted(self, run_id: str) -> tuple[str, ...]:
        """Paths that the user had not committed when the run began: they are not in its workspaces."""
        return tuple(self._line(run_id).record()["uncommitted"])

    def open(self, run_id: str, attempt_id: str) -> Path:
        """A fresh work tree at the head of the run's branch."""
        tree = self._tree(run_id, attempt_id)
        with tree.line.locked():
            return tree.open()

    def snapshot(self, run_id: str, attempt_id: str) -> str:
        """The attempt's files as they are now, as the id of a tree that is kept apart from the user's repository."""
        tree = self._tree(run_id, attempt_id)
        with tree.locked():
            return tree.snapshot(shadow=True)

    def restore(self, run_id: str, attempt_id: str, tree: str) -> None:
        """Bring the attempt's files back to a snapshot; files made since are removed, ignored files stay."""
        work = self._tree(run_id, attempt_id)
        with work.locked():
            work.restore(tree)

    def compare(self, run_id: str, old: str, new: str) -> str:
        """See :meth:`interlock.ports.UndoableWorkspaces.compare`."""
        return self._line(run_id).changes.diff(old, new).decode("utf-8", "replace")

    def revert(self, run_id: str, attempt_id: str, *, before: str, after: str, message: str) -> Integration:
        """A commit on the run's branch that takes one change out of it; see :class:`~interlock.ports.UndoableWorkspaces`."""
        line = self._line(run_id)
        changes = line.changes
        with line.locked():
            head = line.head()
            taken = line.integrated(head).get(attempt_id)
            if not taken:
                raise WorkspaceError(f"{attempt_id} has nothing in the branch {line.branch}")
            base = changes.commit(after or f"{taken}^{{tree}}", (), OURS, message, apart=True)
            ours = changes.commit(f"{head}^{{tree}}", (base,), OURS, message, apart=True)
            theirs = changes.commit(before, (base,), OURS, message, apart=True)
            tree = changes.merge(ours, theirs, apart=True)
            paths = changes.paths(head, tree)
            if not paths:
                raise WorkspaceError("there is nothing of it left to take out of the branch")
            commit = changes.commit(tree, (head,), OURS, message, apart=True)
            packed = changes.run("pack-objects", "--revs", "--stdout", "-q", stdin=f"{commit}\n^{head}\n".encode())
            self.git.run("unpack-objects", "-q", stdin=packed)
            line.advance(head, commit)
            return Integration(changed=changes.shown(paths), commit=commit)

    def diff(self, run_id: str, attempt_id: str) -> str:
        """The attempt's changes so far; binary files are only named."""
        base = self._tree(run_id, attempt_id).base
        return self.compare(run_id, base, self.snapshot(run_id, attempt_id))

    def changed(self, run_id: str, attempt_id: str) -> tuple[str, ...]:
        """The paths that the attempt has changed so far."""
        changes, base = self._line(run_id).changes, self._tree(run_id, attempt_id).base
        return changes.shown(changes.paths(base, self.snapshot(run_id, attempt_id)))

    def integrate(self, run_id: str, attempt_id: str, *, author: str, message: str) -> Integration:
        """Take the attempt's changes into the run's branch as one commit.

        Raises:
            ConflictError: with the paths that were changed on both sides.
            WorkspaceError: when the workspace or the branch was tampered with, or holds what git cannot take.
        """
        work = self._tree(run_id, attempt_id)
        line, changes = work.line, work.line.changes
        with line.locked(), work.locked():
            head = line.head()
            done = line.integrated(head).get(attempt_id)
            if done:
                return Integration(changed=changes.shown(changes.paths(f"{done}^", done)), commit=done)
            base = work.base
            tree = work.snapshot(shadow=False)
            paths = changes.paths(base, tree)
            if not paths:
                return Integration(changed=(), commit=head)
            work.refuse_filtered(paths)
            text = with_trailer(message, attempt_id)
            if head != base:
                tree = changes.merge(head, changes.commit(tree, (base,), author, text))
            commit = changes.commit(tree, (head,), author, text)
            line.advance(head, commit)
            return Integration(changed=changes.shown(changes.paths(head, commit)), commit=commit)

    def is_integrated(self, run_id: str, attempt_id: str) -> bool:
        """See :meth:`interlock.ports.Workspaces.is_integrated`."""
        line = self._line(run_id)
        return attempt_id in line.integrated(line.head())

    def discard(self, run_id: str, attempt_id: str) -> None:
        """Throw the attempt's directory away."""
        tree = self._tree(run_id, attempt_id)
        with tree.line.locked():
            tree.throw_away()

    def run_diff(self, run_id: str) -> str:
        """All integrated changes of the run."""
        line = self._line(run_id)
        return line.changes.diff(line.record()["base"], line.head()).decode("utf-8", "replace")

    def deliver(self, run_id: str, *, how: str, target: str = "") -> str:
        """Deliver the branch; see :class:`~interlock.ports.Workspaces`.

        ``merge`` without a target goes into the branch that was checked out when the run began. Where the target is checked out
        in a tree of the user's, that tree is brought along, if what the run touches is clean in it.

        Raises:
            ConflictError: when it does not apply; nothing has changed.
            WorkspaceError: when the target does not exist, or the user's tree is in the middle of something.
        """
        line = self._line(run_id)
        run = line.record()
        with self.places.delivery_lock():
            delivery = Delivery(self.git, self.places.state / "delivery")
            delivery.recover()
            head = line.head()
            if not line.changes.paths(run["base"], head):
                return ""
            if how == "review":
                return line.branch
            if how == "patch":
                file = self.places.patch(run_id)
                write_atomically(file, line.changes.diff(run["base"], head, "--binary"))
                return str(file)
            if how != "merge":
                raise UsageError(f'a delivery is "review", "merge" or "patch", not "{how}"')
            return self._merge(delivery, line, head, target or run["branch"])

    def end(self, run_id: str, *, keep: bool) -> None:
        """Throw away the run's work trees, and its branch unless ``keep`` or somebody has it checked out or moved it."""
        line = self._line(run_id)
        with line.locked():
            for file in self.places.attempt_files():
                if (read_record(file) or {}).get("run") == run_id:
                    self._tree(run_id, file.stem).throw_away()
            line.end(keep=keep)

    def _merge(self, delivery: Delivery, line: Line, head: str, target: str) -> str:
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
                tree = line.changes.merge(tip, head)
                new = line.changes.commit(tree, (tip, head), OURS, f"Merge {line.branch}\n")
            if delivery.move(ref, old=tip, new=new):
                return target
        raise WorkspaceError(f"the branch {target} kept moving; nothing was merged, try again")

    def _line(self, run_id: str) -> Line:
        return Line(self.git, self.places, run_id)

    def _tree(self, run_id: str, attempt_id: str) -> WorkTree:
        return WorkTree(self.git, self.places, self._line(run_id), attempt_id)
