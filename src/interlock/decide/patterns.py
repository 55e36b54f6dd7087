"""Many user patterns on one text: RE2 (linear time), and a literal pre-filter so that a thousand cost about as much as ten.

A text that matches a pattern holds every literal that the pattern requires. All required literals of a group are looked
for in one scan; only the patterns whose literal is there are tried, each by itself. RE2 falls back from its automaton to a
slower engine when a single pattern runs out of memory; a *set* does not, it answers "no match". Patterns therefore never
depend on a set alone: sets hold plain literals, or patterns whose program is small.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import re2

from interlock.errors import ConfigError

MAX_PATTERN = 1000
"""Longest pattern, in characters."""
MAX_PROGRAM = 5000
"""Largest compiled pattern, in RE2 instructions: ``(x{100}){50}`` is refused, no honest pattern comes near."""
_SET_PROGRAM = 500
"""Largest pattern that shares a set."""
_SET_SIZE = 64
"""Patterns in a set. Measured on distinct texts: a set of 1,000 takes milliseconds, one of 64 microseconds."""
_LITERALS = 1000
_FEW = 8
"""Literals up to which plain search says first that a text holds none of them."""
_SHORTEST = 3
_QUANTIFIERS = frozenset("*?{")
_SPECIAL = frozenset(".^$|()[]*+?{}\\")


def compile_pattern(pattern: str, *, ignore_case: bool = True) -> Any:
    """The compiled RE2 pattern.

    Raises:
        ConfigError: when RE2 does not read it, or it is too long or too large.
    """
    if len(pattern) > MAX_PATTERN:
        raise ConfigError(f"the pattern has {len(pattern)} characters, {MAX_PATTERN} are the limit")
    try:
        compiled = re2.compile(pattern, _options(ignore_case=ignore_case))
    except re2.error as problem:
        message = problem.args[0] if problem.args else ""
        said = message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)
        hint = "RE2 has no look-around and no back-references, so that no text can make it slow"
        raise ConfigError(f"the pattern {pattern!r} is not valid: {said}", suggestion=hint) from problem
    if compiled.programsize > MAX_PROGRAM:
        raise ConfigError(f"the pattern {pattern!r} is too large", suggestion="use smaller repetitions")
    return compiled


def required_literal(pattern: str) -> str:
    """The longest piece of plain text that every match of ``pattern`` holds, empty when none is certain.

    Errs on the safe side: groups, classes and escapes end a piece, an alternation at the top gives none up.
    """
    pieces: list[str] = []
    piece = ""
    place = 0
    while place < len(pattern):
        letter = pattern[place]
        if letter == "|" or pattern.startswith("\\Q", place):
            return ""
        if letter in _QUANTIFIERS:
            piece = piece[:-1]  # what stands before it may be absent
        escaped = letter == "\\" and place + 1 < len(pattern) and not pattern[place + 1].isalnum()
        if escaped or letter not in _SPECIAL:
            piece += pattern[place + 1] if escaped else letter
            place += 2 if escaped else 1
            continue
        pieces.append(piece)
        piece = ""
        place = _after(pattern, place)
    return max((*pieces, piece), key=len)


class PatternGroup:
    """Patterns that are tried together; :meth:`matching` says which of them a text holds."""

    __slots__ = ("_bare", "_by_literal", "_few", "_literals", "_patterns", "_sets")

    def __init__(self, patterns: Sequence[str]) -> None:
        """Compile the patterns.

        Raises:
            ConfigError: for a pattern that is not valid.
        """
        self._patterns = [compile_pattern(pattern) for pattern in patterns]
        self._by_literal: list[tuple[int, ...]] = []
        self._bare: list[int] = []
        waiting: dict[str, list[int]] = {}
        small: list[int] = []
        for place, pattern in enumerate(patterns):
            literal = required_literal(pattern)
            if len(literal) >= _SHORTEST:
                waiting.setdefault(literal, []).append(place)
            elif self._patterns[place].programsize <= _SET_PROGRAM:
                small.append(place)
            else:
                self._bare.append(place)
        self._literals = _literal_sets(waiting)
        self._by_literal = [tuple(places) for places in waiting.values()]
        few = len(waiting) <= _FEW and all(literal.isascii() for literal in waiting)
        self._few = tuple(literal.lower() for literal in waiting) if few else ()
        self._sets = [(chunk, _set([patterns[place] for place in chunk])) for chunk in _chunks(small, _SET_SIZE)]

    def matching(self, text: str) -> list[int]:
        """The places of the patterns that are found in ``text``, in order."""
        if self._few and not self._bare and not self._sets and text.isascii():
            low = text.lower()
            if not any(literal in low for literal in self._few):  # a set costs as much as looking for ten
                return []
        found = [place for place in self._bare if self._patterns[place].search(text)]
        encoded = text.encode("utf-8", "surrogatepass")
        for first, literals in self._literals:
            for hit in literals.Match(encoded) or ():
                found += [place for place in self._by_literal[first + hit] if self._patterns[place].search(text)]
        for chunk, together in self._sets:
            found += [chunk[hit] for hit in together.Match(encoded) or ()]
        return sorted(found)


def small_sets(patterns: Sequence[str]) -> list[Any]:
    """RE2 sets of patterns that are known to be small, such as globs."""
    return [_set(patterns[first : first + _SET_SIZE]) for first in range(0, len(patterns), _SET_SIZE)]


def _options(*, ignore_case: bool = True, literal: bool = False) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not ignore_case
    options.literal = literal
    return options


def _set(patterns: Iterable[str], *, literal: bool = False) -> Any:
    together = re2.Set.SearchSet(_options(literal=literal))
    for pattern in patterns:
        together.Add(pattern)
    try:
        together.Compile()
    except re2.error as problem:
        raise ConfigError("these patterns are too large together", suggestion="use smaller repetitions") from problem
    return together


def _literal_sets(literals: Iterable[str]) -> list[tuple[int, Any]]:
    numbered = list(literals)
    return [
        (first, _set(numbered[first : first + _LITERALS], literal=True)) for first in range(0, len(numbered), _LITERALS)
    ]


def _chunks(places: list[int], size: int) -> list[list[int]]:
    return [places[first : first + size] for first in range(0, len(places), size)]


def _after(pattern: str, place: int) -> int:
    """The place after the special construct that starts at ``place``."""
    letter = pattern[place]
    if letter == "(":
        return _after_group(pattern, place)
    if letter == "[":
        return _after_class(pattern, place)
    if letter == "{":
        return pattern.find("}", place) + 1 or place + 1
    if letter == "\\":
        opens = pattern[place + 1 : place + 2] in "pPx" and pattern[place + 2 : place + 3] == "{"
        if opens:
            return pattern.find("}", place) + 1 or len(pattern)
        return place + _escape_length(pattern[place + 1 : place + 4])
    return place + 1


def _escape_length(after: str) -> int:
    r"""The length of an escape, the backslash included: ``\x41`` and ``\101`` are 4, ``\pN`` is 3."""
    if after[:1].isdigit():
        return 1 + len(after) - len(after.lstrip("0123456789"))
    return 4 if after[:1] == "x" else 3 if after[:1] in "pP" else 2


def _after_group(pattern: str, place: int) -> int:
    depth = 0
    while place < len(pattern):
        letter = pattern[place]
        if letter == "\\":
            place += 2
        elif letter == "[":
            place = _after_class(pattern, place)
        else:
            depth += (letter == "(") - (letter == ")")
            place += 1
            if depth == 0:
                return place
    return len(pattern)


def _after_class(pattern: str, place: int) -> int:
    place += 1
    if pattern[place : place + 1] == "^":
        place += 1
    if pattern[place : place + 1] == "]":
        place += 1
    while place < len(pattern):
        if pattern[place] == "\\":
            place += 2
        elif pattern.startswith("[:", place):
            place = pattern.find(":]", place) + 2 if ":]" in pattern[place:] else place + 1
        elif pattern[place] == "]":
            return place + 1
        else:
            place += 1
    return len(pattern)
