"""What rules match on: the facts of one action, and globs over them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import re2

from interlock.decide.conditions import context
from interlock.decide.patterns import small_sets
from interlock.model.action import Action, Finding, Reading
from interlock.model.risk import RiskLevel
from interlock.reading.tools import tool_kind

FACTS = ("surface", "tool", "agent", "environment", "path", "program", "statement", "finding")
"""What ``match`` may name."""
RANK = {level: level.rank for level in RiskLevel}

NAMES: Mapping[str, Any] = {
    "surface": "tool_call",
    "tool": "shell",
    "agent": "writer",
    "actor": "user",
    "environment": "production",
    "text": "ls -l",
    "args": {},
    "paths": ["a/b.txt"],
    "programs": ["ls"],
    "statements": ["select"],
    "destinations": ["example.org"],
    "findings": ["shell.delete.recursive"],
    "severity": 1,
    "integrity": "trusted",
    "confidentiality": "public",
    **{level.value: level.rank for level in RiskLevel},
}
"""What ``when`` may read, each with a sample. ``severity`` is a number, to be compared with low, medium, high, critical."""
OPEN_NAMES = frozenset({"args"})

_MAIN_TEXTS = frozenset({"text", "command", "query", "sql", "patch", "content", "prompt"})
_MAX_DEPTH = 50


class Facts:
    """The facts of one action, each worked out when the first rule asks for it."""

    __slots__ = ("_context", "_text", "action", "findings", "reading", "words")

    def __init__(self, action: Action, reading: Reading, findings: tuple[Finding, ...], environment: str) -> None:
        self.action = action
        self.reading = reading
        self.findings = findings
        environments = (environment,) if environment == action.environment else (environment, action.environment)
        kinds = {up: None for finding in findings for up in upwards(finding.kind)} if findings else ()
        self.words: dict[str, tuple[str, ...]] = {
            "surface": (action.kind,),
            "tool": _tools(action.tool),
            "agent": (action.agent,),
            "environment": environments,
            "path": reading.paths,
            "program": reading.programs,
            "statement": reading.statements,
            "finding": tuple(kinds),
        }
        self._text: str | None = None
        self._context: Any = None

    @property
    def text(self) -> str:
        """What patterns search: the texts of the arguments, and their plain form when they hold odd characters."""
        if self._text is None:
            text = "\n".join(_lines(self.action.args, "", 0))
            if not text.isascii():
                plain = plain_form(text)
                text = text if plain == text else f"{text}\n{plain}"
            self._text = text
        return self._text

    def context(self, names: frozenset[str]) -> Any:
        """What conditions read: only ``names`` are worked out. Always asked with the same names."""
        if self._context is None:
            self._context = context({name: _VALUES[name](self) for name in names})
        return self._context


_VALUES: Mapping[str, Callable[[Facts], Any]] = {
    "surface": lambda facts: str(facts.action.kind),
    "tool": lambda facts: facts.action.tool,
    "agent": lambda facts: facts.action.agent,
    "actor": lambda facts: facts.action.actor,
    "environment": lambda facts: facts.words["environment"][0],
    "text": lambda facts: facts.text,
    "args": lambda facts: dict(facts.action.args),
    "paths": lambda facts: list(facts.reading.paths),
    "programs": lambda facts: list(facts.reading.programs),
    "statements": lambda facts: list(facts.reading.statements),
    "destinations": lambda facts: list(facts.reading.destinations),
    "findings": lambda facts: [finding.kind for finding in facts.findings],
    "severity": lambda facts: max((RANK[finding.severity] for finding in facts.findings), default=0),
    "integrity": lambda facts: str(facts.action.labels.integrity),
    "confidentiality": lambda facts: str(facts.action.labels.confidentiality),
    "low": lambda _: RANK[RiskLevel.LOW],
    "medium": lambda _: RANK[RiskLevel.MEDIUM],
    "high": lambda _: RANK[RiskLevel.HIGH],
    "critical": lambda _: RANK[RiskLevel.CRITICAL],
}


def _tools(tool: str) -> tuple[str, ...]:
    """A tool's own name, and the word for what it does: a rule about ``shell`` holds for ``Bash`` too."""
    kind = tool_kind(tool)
    return (tool,) if kind is None or kind == tool else (tool, kind.value)


def upwards(kind: str) -> Iterator[str]:
    """``a.b.c``, ``a.b``, ``a``: a rule on a general kind holds for the special ones."""
    while kind:
        yield kind
        kind = kind.rpartition(".")[0]


def plain_form(text: str) -> str:
    """``text`` without invisible characters and with look-alike forms folded (NFKC), for patterns only."""
    folded = unicodedata.normalize("NFKC", text)
    return "".join(letter for letter in folded if unicodedata.category(letter) != "Cf")


def is_glob(word: str) -> bool:
    """Whether a word of ``match`` is a glob."""
    return "*" in word or "?" in word


class Globs:
    """Globs that are tried together on one value."""

    __slots__ = ("_sets",)

    def __init__(self, words: Sequence[str], *, path: bool = False, whole: bool = False) -> None:
        """Compile the globs. In paths ``*`` stops at a slash and ``**`` does not.

        A path glob may begin at any directory (``.env`` finds ``deploy/.env``), unless ``whole`` asks for the whole path.
        """
        patterns = [_expression(word, path=path, whole=whole) for word in words]
        self._sets = small_sets(patterns)

    def fits(self, value: str) -> bool:
        """Whether one of them fits all of ``value``."""
        encoded = value.encode("utf-8", "surrogatepass")
        for together in self._sets:  # noqa: SIM110 - a generator costs as much again as the look itself
            if together.Match(encoded):
                return True
        return False


def _expression(word: str, *, path: bool, whole: bool) -> str:
    pieces: list[str] = ["(?s)^"]
    if path and not whole and not word.startswith(("/", "~")):
        pieces.append("(?:.*/)?")
    place = 0
    while place < len(word):
        if word.startswith("**/", place):
            pieces.append("(?:.*/)?" if path else ".*/")
            place += 3
        elif word.startswith("**", place):
            pieces.append(".*")
            place += 2
        else:
            star = "[^/]*" if path else ".*"
            pieces.append({"*": star, "?": "."}.get(word[place], re2.escape(word[place])))
            place += 1
    return "".join(pieces) + "$"


def _lines(value: Any, key: str, depth: int) -> list[str]:
    """Every text in the arguments; other values as ``key: value``, so that ``mfa: false`` is seen."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"arguments are nested deeper than {_MAX_DEPTH}")
    if isinstance(value, str):
        return [value if not key or key in _MAIN_TEXTS else f"{key}: {value}"]
    if isinstance(value, (dict, Mapping)):
        lines: list[str] = []
        for name, item in value.items():
            if type(item) is str:  # most values are texts at the top
                lines.append(item if name in _MAIN_TEXTS else f"{name}: {item}")
            else:
                lines += _lines(item, str(name), depth + 1)
        return lines
    if isinstance(value, (list, tuple)):
        return [line for item in value for line in _lines(item, key, depth + 1)]
    if isinstance(value, bool):
        return [f"{key}: {str(value).lower()}"]
    return [] if value is None else [f"{key}: {value}"]
