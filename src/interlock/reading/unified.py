"""Patches to the changed lines of each file: unified diffs, git's extensions, and the form that coding agents write."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(kw_only=True, slots=True)
class FileChange:
    """The changed lines of one file."""

    path: str
    old_path: str = ""
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    around: list[str] = field(default_factory=list)
    """Context and added lines in order: the file as it will be, as far as it is shown."""
    new: bool = False
    deleted: bool = False
    binary: bool = False
    mode: str = ""


def parse_patch(diff: str) -> list[FileChange]:
    """The changes of each file; empty when ``diff`` is no patch."""
    return _Parser().parse(diff)


class _Parser:
    """Goes through a patch line by line; hunk headers say how many lines belong to a hunk, so that content is never a header."""

    def __init__(self) -> None:
        self.files: list[FileChange] = []
        self.left_old = 0
        self.left_new = 0
        self.agent_form = False

    def parse(self, diff: str) -> list[FileChange]:
        for line in diff.split("\n"):
            if self.left_old > 0 or self.left_new > 0:
                self._hunk_line(line)
            elif line.startswith("***") and self._agent_header(line):
                continue
            elif self.agent_form and line[:1] in {"+", "-", " "}:
                self._content(line)
            else:
                self._header(line.rstrip("\r"))
        return self.files

    def _hunk_line(self, line: str) -> None:
        mark = line[:1]
        if mark == "\\":
            return
        if mark not in {"+", "-", " ", ""}:
            self.left_old = self.left_new = 0  # the counts lie; what follows is read as headers again
            self._header(line)
            return
        self.left_old -= mark != "+"
        self.left_new -= mark != "-"
        self._content(line)

    def _content(self, line: str) -> None:
        if not self.files:
            return
        change = self.files[-1]
        text = line[1:].rstrip("\r")
        if line[:1] == "+":
            change.added.append(text)
            change.around.append(text)
        elif line[:1] == "-":
            change.removed.append(text)
        else:
            change.around.append(text)

    def _header(self, line: str) -> None:
        hunk = re.match(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@(.*)", line)
        if hunk and self.files:
            self.left_old, self.left_new = int(hunk[1] or 1), int(hunk[2] or 1)
            self.files[-1].around.append(hunk[3])
        elif line.startswith("diff --git "):
            self._git(line)
        elif line.startswith("--- "):
            self._old(_name(line[4:]))
        elif line.startswith("+++ "):
            self._new(_name(line[4:]))
        elif self.files:
            self._extended(line)
            if line[:1] in {"+", "-"}:
                self._content(line)  # lines past the end of a hunk still count

    def _git(self, line: str) -> None:
        names = re.match(r'diff --git (?:"?a/(.*?)"?) (?:"?b/(.*?)"?)$', line)
        self.files.append(
            FileChange(path=_name(names[2]) if names else line[11:], old_path=_name(names[1]) if names else "")
        )

    def _old(self, name: str) -> None:
        fresh = not self.files or bool(self.files[-1].added or self.files[-1].removed or self.files[-1].around)
        if fresh or (self.files[-1].old_path not in {name, ""} and name):
            self.files.append(FileChange(path=name))
        self.files[-1].old_path = name
        self.files[-1].new = self.files[-1].new or not name

    def _new(self, name: str) -> None:
        if not self.files:
            self.files.append(FileChange(path=name))
        change = self.files[-1]
        change.deleted = change.deleted or not name
        change.path = name or change.old_path

    def _extended(self, line: str) -> None:
        change = self.files[-1]
        if line.startswith("new file mode"):
            change.new, change.mode = True, line.rsplit(maxsplit=1)[-1]
        elif line.startswith("deleted file mode"):
            change.deleted = True
        elif line.startswith("new mode"):
            change.mode = line.rsplit(maxsplit=1)[-1]
        elif line.startswith(("rename to ", "copy to ")):
            change.path = _name(line.split(" to ", 1)[-1])
        elif line.startswith(("rename from ", "copy from ")):
            change.old_path = _name(line.split(" from ", 1)[-1])
        elif line.startswith(("GIT binary patch", "Binary files ")):
            change.binary = True

    def _agent_header(self, line: str) -> bool:
        match = re.match(
            r"\*\*\* (Begin Patch|End Patch|End of File|(Add|Update|Delete) File: (.+)|Move to: (.+))", line
        )
        if match is None:
            return False
        if match[2]:
            self.agent_form = True
            self.files.append(FileChange(path=match[3].strip(), new=match[2] == "Add", deleted=match[2] == "Delete"))
        elif match[4] and self.files:
            self.files[-1].old_path, self.files[-1].path = self.files[-1].path, match[4].strip()
        elif match[1] == "End Patch":
            self.agent_form = False
        return True


def _name(raw: str) -> str:
    """A path of a header: without ``a/`` or ``b/``, time stamp and quotes; empty for ``/dev/null``."""
    name = raw.split("\t", 1)[0].strip()
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8) & 0xFF]), name[1:-1].encode()).decode(
            errors="replace"
        )
    if name == "/dev/null":
        return ""
    return name[2:] if name.startswith(("a/", "b/")) else name
