"""The names that a patch touches, removes and uses: what two agents can break for each other without sharing a line.

A definition is recognised by how lines of common languages begin, not by parsing them: a name that is missed is a
conflict that is not told, nothing worse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from interlock.model.choosing import Names

_DEFINES = re.compile(
    r"^\s*(?:(?:export|default|public|private|protected|static|async|abstract|final|pub(?:\([^)]{0,20}\))?)\s+)*"
    r"(?:def|class|function\*?|fn|func|struct|enum|trait|interface|type|module)\s+(?:\([^)]{0,80}\)\s*)?([A-Za-z_]\w{2,80})"
    r"|^(?:export\s+)?(?:const|let|var)\s+([A-Za-z_]\w{2,80})\s*[=:]"
    r"|^([A-Z][A-Z0-9_]{2,80})\s*(?::[^=]{1,80})?=[^=]"
)
_MAKES = re.compile(
    r"\bcreate\s+(?:or\s+replace\s+)?(?:\w+\s+){0,2}?(?:table|view|function|procedure|trigger)\s+(?:if\s+not\s+exists\s+)?"
    r"[\"`\[]?(?:\w+\.)?(\w{3,80})",
    re.IGNORECASE,
)
_DROPS = re.compile(
    r"\bdrop\s+(?:table|view|function|procedure|trigger)\s+(?:if\s+exists\s+)?[\"`\[]?(?:\w+\.)?(\w{3,80})",
    re.IGNORECASE,
)
_HUNK = re.compile(r"^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@ ?(.*)$")
_USED = re.compile(r"[A-Za-z_]\w{2,80}(?=\s?\()|\b(?:[a-z]+_\w{1,80}|[A-Za-z]*[a-z][A-Z]\w{0,80})\b")
"""What is called, and what is written as only names are: prose uses the words of names too."""
_WORD = re.compile(r"[A-Za-z_]\w{2,80}")
_TAKES_IN = re.compile(r"^\s*(?:import|from|use|using|require|include|select|insert|update|join)\b", re.IGNORECASE)
_MOST = 200
_MOST_USED = 400
_LONGEST = 2_000_000
"""Characters of a patch that are read; a larger one is not the work of one agent on one task."""


@dataclass(slots=True)
class _Walk:
    path: str = ""
    inside: str = ""
    touched: dict[str, None] = field(default_factory=dict)
    defined: dict[str, None] = field(default_factory=dict)
    removed: dict[str, None] = field(default_factory=dict)
    used: dict[str, None] = field(default_factory=dict)

    def line(self, mark: str, text: str) -> None:
        found = _DEFINES.match(text)
        if found:
            self.inside = next(name for name in found.groups() if name)
        if mark == " ":
            return
        if self.inside:
            self.touched[f"{self.path}::{self.inside}"] = None
        for name in (*([self.inside] if found else []), *_MAKES.findall(text)):
            (self.defined if mark == "+" else self.removed)[name] = None
        if mark == "+":
            for name in _DROPS.findall(text):
                self.removed[name] = None
            self.used.update(dict.fromkeys((_WORD if _TAKES_IN.match(text) else _USED).findall(text)))


def read_names(diff: str) -> Names:
    """The names in a unified diff; of a hostile or broken one, whatever looks like them."""
    walk, old, new = _Walk(), 0, 0
    for line in diff[:_LONGEST].splitlines():
        if old > 0 or new > 0:
            mark = line[:1] or " "
            old -= mark != "+"
            new -= mark != "-"
            if mark in "+- ":
                walk.line(mark, line[1:])
        elif line.startswith("+++ "):
            walk.path, walk.inside = line[4:].removeprefix("b/"), ""
        elif hunk := _HUNK.match(line):
            old, new = int(hunk.group(1) or 1), int(hunk.group(2) or 1)
            named = _DEFINES.match(hunk.group(3))
            walk.inside = next((name for name in named.groups() if name), "") if named else ""
    made = set(walk.defined)
    return Names(
        touched=tuple(walk.touched)[:_MOST],
        defined=tuple(walk.defined)[:_MOST],
        removed=tuple(name for name in walk.removed if name not in made)[:_MOST],
        used=tuple(name for name in walk.used if name not in made)[:_MOST_USED],
    )
