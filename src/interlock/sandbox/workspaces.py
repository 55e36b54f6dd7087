"""Which kind of workspaces a project has."""

from __future__ import annotations

from pathlib import Path

from interlock.errors import UsageError
from interlock.ports import UndoableWorkspaces
from interlock.sandbox.copy_workspaces import CopyWorkspaces
from interlock.sandbox.git_workspaces import GitWorkspaces


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
