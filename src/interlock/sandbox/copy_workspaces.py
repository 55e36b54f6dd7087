"""Places to work in, for a directory without git: the same promises, kept with copies.

A tree is a list of paths with what is at each; contents are kept once, by their digest. A run's line is one small record
that is replaced as a whole. What is not copied: version control of any kind inside (``.git``), our own ``.interlock``, and
sockets, pipes and devices. Everything else is: without git nothing says which files are private, so name them in ``exclude``.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from interlock.errors import ConflictError, UsageError, WorkspaceError
from interlock.ports import Integration
from interlock.sandbox.copy_trees import Tree, Trees, differing, shown
from interlock.sandbox.journal import (
    CHANGED_SINCE,
    IN_THE_WAY,
    Journal,
    read_record,
    remove_record,
    remove_tree,
    write_atomically,
    write_record,
)
from interlock.sandbox.places import Places, checked

NEVER = frozenset({".git", ".interlock"})


class CopyWorkspaces:
    """:class:`~interlock.ports.UndoableWorkspaces` on a plain directory; see the module for its promises."""

    def __init__(self, project: Path, state_dir: Path, *, exclude: frozenset[str] = frozenset()) -> None:
        self.project = project.absolute()
        self.state = state_dir.absolute()
        self.places = Places(self.state)
        self._never = frozenset(name.casefold() for name in NEVER | exclude)
        self._delivery = Journal(self.state / "delivery" / "journal")
        if not self.project.is_dir():
            raise WorkspaceError(f"{self.project} is not a directory")

    def begin(self, run_id: str) -> str:
        """Keep the project as it is now; returns the digest of its tree."""
        with self.places.run_lock(run_id):
            line = read_record(self.places.run_file(run_id))
            if line is None:
                base = self._trees(run_id).keep(self._trees(run_id).scan(self.project))
                line = {"base": base, "head": base, "taken": {}, "delivered": False}
                write_record(self.places.run_file(run_id), line)
            return str(line["base"])

    def uncommitted(self, run_id: str) -> tuple[str, ...]:
        """Nothing: without git all that lies in the project is in its workspaces."""
        self._line(run_id)
        return ()

    def open(self, run_id: str, attempt_id: str) -> Path:
        """A fresh copy of the head of the run's line."""
        with self.places.run_lock(run_id):
            head, place = str(self._line(run_id)["head"]), self._place(attempt_id)
            self._throw_away(attempt_id)
            write_record(self.places.attempt_file(attempt_id), {"run": run_id, "base": ""})  # so that end() finds it
            self._trees(run_id).materialise({}, self._tree(run_id, head), place)
            write_record(self.places.attempt_file(attempt_id), {"run": run_id, "base": head})
            return place

    def snapshot(self, run_id: str, attempt_id: str) -> str:
        """The attempt's files as they are now, as the digest of their tree."""
        self._attempt(run_id, attempt_id)
        cache = self.state / "attempts" / f"{attempt_id}.seen"
        return self._trees(run_id).keep(self._trees(run_id).scan(self._place(attempt_id), cache))

    def restore(self, run_id: str, attempt_id: str, tree: str) -> None:
        """Bring the attempt's files back to a snapshot; files made since are removed."""
        now = self._tree(run_id, self.snapshot(run_id, attempt_id))
        self._trees(run_id).materialise(now, self._tree(run_id, tree), self._place(attempt_id))

    def compare(self, run_id: str, old: str, new: str) -> str:
        """See :meth:`interlock.ports.UndoableWorkspaces.compare`."""
        sides = self._tree(run_id, old), self._tree(run_id, new)
        return self._trees(run_id).patch(*sides).decode("utf-8", "replace")

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
        return self._trees(run_id).patch(base, now).decode("utf-8", "replace")

    def changed(self, run_id: str, attempt_id: str) -> tuple[str, ...]:
        """The paths that the attempt has changed so far."""
        return shown(differing(*self._sides(run_id, attempt_id)))

    def integrate(self, run_id: str, attempt_id: str, *, author: str, message: str) -> Integration:
        """Take the attempt's changes into the run's line.

        Raises:
            ConflictError: with the paths that were changed on both sides.
        """
        with self.places.run_lock(run_id):
            line = self._line(run_id)
            taken = line["taken"].get(attempt_id)
            if taken:
                return Integration(changed=tuple(taken["changed"]), commit=taken["head"])
            base, now = self._sides(run_id, attempt_id)
            if base == now:
                return Integration(changed=(), commit=line["head"])
            head = self._tree(run_id, line["head"])
            merged = self._trees(run_id).merge(base, head, now)
            entry = {
                "changed": list(shown(differing(head, merged))),
                "head": self._trees(run_id).keep(merged),
                "author": author,
                "message": message,
            }
            taken = {**line["taken"], attempt_id: entry}
            write_record(self.places.run_file(run_id), {**line, "head": entry["head"], "taken": taken})
            return Integration(changed=tuple(entry["changed"]), commit=str(entry["head"]))

    def is_integrated(self, run_id: str, attempt_id: str) -> bool:
        """See :meth:`interlock.ports.Workspaces.is_integrated`."""
        return attempt_id in self._line(run_id)["taken"]

    def discard(self, run_id: str, attempt_id: str) -> None:
        """Throw the attempt's directory away."""
        with self.places.run_lock(run_id):
            self._throw_away(attempt_id)

    def run_diff(self, run_id: str) -> str:
        """All integrated changes of the run."""
        line = self._line(run_id)
        base, head = self._tree(run_id, line["base"]), self._tree(run_id, line["head"])
        return self._trees(run_id).patch(base, head).decode("utf-8", "replace")

    def deliver(self, run_id: str, *, how: str, target: str = "") -> str:  # noqa: ARG002 - the port has it
        """Deliver the line: ``review`` is a directory, ``patch`` a file, ``merge`` goes into the project itself.

        The project is the only target that there is; ``target`` is not looked at.

        Raises:
            ConflictError: when the project was changed meanwhile in the same places; it is left untouched.
        """
        with self.places.delivery_lock(), self.places.run_lock(run_id):
            self._recover()
            line = self._line(run_id)
            base, head = self._tree(run_id, line["base"]), self._tree(run_id, line["head"])
            if base == head:
                return ""
            if how == "review":
                return str(self._review(run_id, head))
            if how == "patch":
                file = self.places.patch(run_id)
                write_atomically(file, self._trees(run_id).patch(base, head, binary=True))
                return str(file)
            if how != "merge":
                raise UsageError(f'a delivery is "review", "merge" or "patch", not "{how}"')
            if not line["delivered"]:
                self._into_project(run_id, base, head)
            return str(self.project)

    def end(self, run_id: str, *, keep: bool) -> None:
        """Throw away the run's copies, and its line unless ``keep``."""
        with self.places.run_lock(run_id):
            for file in self.places.attempt_files():
                if (read_record(file) or {}).get("run") == run_id:
                    self._throw_away(file.stem)
            if not keep:
                remove_record(self.places.run_file(run_id))
                remove_tree(self._folder(run_id))

    # delivery

    def _review(self, run_id: str, head: Tree) -> Path:
        place = self.state / "results" / checked(run_id)
        if not place.exists():
            fresh = place.with_name(f".{run_id}.new")
            remove_tree(fresh)
            self._trees(run_id).materialise({}, head, fresh)
            fresh.rename(place)
        return place

    def _into_project(self, run_id: str, base: Tree, head: Tree) -> None:
        touched = differing(base, head)
        kept = {path: self._trees(run_id).keep_file(self.project, path) for path in touched}
        now = {path: what for path, what in kept.items() if what}
        merged = self._trees(run_id).merge(_only(base, touched), now, _only(head, touched))
        wanted = differing(now, merged)
        with tempfile.TemporaryDirectory(dir=self._folder(run_id)) as name:
            self._trees(run_id).materialise({}, _only(merged, wanted), Path(name))
            staged = {path: Path(name, path) if path in merged else None for path in wanted}
            self._delivery.prepare(self.project, staged, extra={"run": run_id})
        plan = self._delivery.read() or {}
        raced = [step["path"] for step in plan["steps"] if step["old"] != _print_of(now.get(step["path"], ""))]
        if raced:
            self._delivery.close()
            raise ConflictError(shown(raced), why=IN_THE_WAY)
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
        line = read_record(self.places.run_file(run_id))
        if line is not None:
            write_record(self.places.run_file(run_id), {**line, "delivered": True})
        self._delivery.close()

    def _sides(self, run_id: str, attempt_id: str) -> tuple[Tree, Tree]:
        base = self._attempt(run_id, attempt_id)["base"]
        return self._tree(run_id, base), self._tree(run_id, self.snapshot(run_id, attempt_id))

    def _trees(self, run_id: str) -> Trees:
        return Trees(self._folder(run_id), state=self.state, never=self._never)

    def _tree(self, run_id: str, name: str) -> Tree:
        return self._trees(run_id).find(name)

    # records and places

    def _line(self, run_id: str) -> dict[str, Any]:
        line = read_record(self.places.run_file(run_id))
        if line is None:
            raise WorkspaceError(f"the run {run_id} has no line of changes here: it was never begun, or has ended")
        return line

    def _attempt(self, run_id: str, attempt_id: str) -> dict[str, Any]:
        record, place = read_record(self.places.attempt_file(attempt_id)), self._place(attempt_id)
        if record is None or record["run"] != run_id or not record["base"]:
            raise WorkspaceError(f"the attempt {attempt_id} has no workspace in the run {run_id}: open one first")
        if place.is_symlink() or not place.is_dir():
            raise WorkspaceError(f"the workspace of {attempt_id} is gone or was replaced: {place}")
        return record

    def _throw_away(self, attempt_id: str) -> None:
        remove_tree(self._place(attempt_id))
        remove_record(self.places.attempt_file(attempt_id))
        remove_record(self.state / "attempts" / f"{attempt_id}.seen")

    def _folder(self, run_id: str) -> Path:
        return self.state / "runs" / checked(run_id)

    def _place(self, attempt_id: str) -> Path:
        return self.state / "copies" / checked(attempt_id)


def _only(tree: Tree, paths: list[str]) -> Tree:
    return {path: tree[path] for path in paths if path in tree}


def _print_of(what: str) -> str:
    """The journal's fingerprint of what a tree holds at a path."""
    kind, _, value = what.partition(":")
    return f"link:{hashlib.sha256(os.fsencode(value)).hexdigest()}" if kind == "link" else what
