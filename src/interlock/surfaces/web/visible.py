"""Hostile text made harmless for eyes: what a page prints is escaped, and what cannot be seen is named."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_LONG_DIFF = 3000
_TELLING = 3


class _Visible(dict[int, str]):
    def __missing__(self, code: int) -> str:
        char = chr(code)
        self[code] = f"⟨U+{code:04X}⟩" if _is_hidden(char) else char
        return self[code]


def _is_hidden(char: str) -> bool:
    """Whether eyes cannot see it for what it is: controls, directions, joiners, fillers, odd spaces, variants, tags."""
    if char in "\n\t ":
        return False
    category = unicodedata.category(char)
    variant = category == "Mn" and "VARIATION SELECTOR" in unicodedata.name(char, "")
    return category in _HIDDEN or category == "Zs" or variant or char in _FILLERS


_VISIBLE = _Visible()


def visible(text: str) -> str:
    """The text with every character that cannot be seen written as ``⟨U+202E⟩``."""
    return text.translate(_VISIBLE)


def printed(value: Any) -> Any:
    """What a template prints for any value: visible text. The template's own escaping follows."""
    if isinstance(value, Markup):
        return value
    return "" if value is None else visible(str(value))


def as_typed(value: str) -> Markup:
    """Text for an input field: escaped, but otherwise as it was typed, so that it can be sent again."""
    return escape(value)


def marked(text: str, evidence: Iterable[str]) -> Markup:
    """The text with the dangerous parts marked: the evidence as a whole, or its words where a reader has shortened it."""
    clean = visible(text)
    patterns: set[str] = set()
    for said in map(visible, evidence):
        whole = r"\s+".join(map(re.escape, said.strip(" ….").split()))  # a reader shows in one line what had several
        words = {re.escape(word) for word in said.split() if len(word) >= _TELLING}
        patterns |= {whole} if whole and re.search(whole, clean) else words
    if not patterns:
        return escape(clean)
    longest_first = sorted(patterns, key=len, reverse=True)
    parts = re.split("(" + "|".join(longest_first) + ")", clean)
    return Markup("").join(
        Markup("<mark>{}</mark>").format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffLine:
    """One line of a diff and what it is: ``add``, ``del``, ``file``, ``at`` or nothing."""

    kind: str
    text: str


def diff_lines(diff: str) -> Iterator[DiffLine]:
    """The lines of a unified diff; a very long one ends with a sentence that says how much is not shown."""
    lines = diff.split("\n")
    for line in lines[:_LONG_DIFF]:
        yield DiffLine(kind=_kind(line), text=line)
    if len(lines) > _LONG_DIFF:
        yield DiffLine(kind="at", text=f"… {len(lines) - _LONG_DIFF} more lines are not shown: interlock show has them")


def _kind(line: str) -> str:
    if line.startswith(("diff ", "+++ ", "--- ", "rename ", "new file", "deleted file")):
        return "file"
    return {"+": "add", "-": "del", "@": "at"}.get(line[:1], "")


def is_diff(text: str) -> bool:
    """Whether a text is a unified diff."""
    return text.startswith(("diff --git ", "--- ", "*** Begin Patch")) or "\n@@ " in text
