"""Orders to a machine that reads: who is spoken to, what is asked for, what is kept from people. Signals with weights.

No phrase tells an order; a text that speaks to its reader's machine, names valued data and a place for it, or wants nobody
to know, adds up to one. Like the grammar of overrides (:mod:`interlock.reading.injection`) it raises and never lowers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import re2
import yaml

from interlock.reading.injection import Signal

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DENIED = re.compile(r"(?i)(?:\b(?:never|not|cannot|without)|n't)(?: \w+ (?:or|and|nor)| ever| please| be)? ?[\"'(`]?$")
_NEGATED = re.compile(r"(?i)(?:\b(?:never|not|cannot|nobody|no one)\b|n't\b)[^.!?\n]*$")
# What speaks of attacks quotes them: a hit inside quotation marks beside such a word is a mention.
_QUOTED = re2.compile(r"""(?:^|[\s(:,])(?:"[^"\n]{1,160}"|'[^'\n]{1,160}'(?:[\s).,:;!?]|$)|`[^`\n]{1,160}`)""")
_ABOUT = re2.compile(
    r"(?i)\b(?:attacks?|attackers?|injections?|jailbreaks?|detect\w*|malicious|untrusted|payloads?|benchmarks?|owasp|classif\w+|fixtures?|vulnerab\w+|red[- ]team\w*|training examples?|examples? of|phishing|mitigat\w+|studies|paraphrases?|documentation|readme example|shown (?:here|only))\b"
)
_MOST_HITS = 40  # of one pattern; more of the same tells nothing new
_NESTED = 4  # parts are written into parts


@dataclass(frozen=True, slots=True)
class _Pattern:
    name: str
    weight: int
    at: str
    what: str
    of: Any


@dataclass(frozen=True, slots=True)
class _Tables:
    signals: tuple[_Pattern, ...]
    foreign: tuple[_Pattern, ...]
    frames: frozenset[str]
    harms: frozenset[str]
    acts: frozenset[str]


def orders(text: str, at: str, raw: str = "") -> list[Signal]:
    """The signals in ``text`` (normalised) on the surface ``at`` (R, O, D), and those of other scripts in ``raw``."""
    tables = _tables()
    read = text.encode() if text.isascii() else text  # the same offsets, and no encoding again for each pattern
    found = [signal for pattern in tables.signals if at in pattern.at for signal in _hits(pattern, read)]
    found = [signal for signal in found if signal.name in tables.frames or not _denied(signal, text)]
    if found and _ABOUT.search(text):
        quoted = [match.span() for match in _QUOTED.finditer(text)]
        found = [signal for signal in found if not any(start <= signal.start < end for start, end in quoted)]
    if raw and not raw.isascii():
        found += [signal for pattern in tables.foreign for signal in _hits(pattern, raw)]
    return found


def _denied(signal: Signal, text: str) -> bool:
    """Whether the words before turn it round: *never* share your password, do *not* do this without approval."""
    if text[signal.start : signal.start + 7].lower() == "without":
        return _NEGATED.search(text[max(0, signal.start - 80) : signal.start]) is not None
    return _DENIED.search(text[max(0, signal.start - 24) : signal.start]) is not None


def adds_up(near: list[Signal]) -> list[Signal]:
    """What counts of signals near each other: frames only beside harm, acts only beside what tells whose orders they are."""
    tables = _tables()
    names = {signal.name for signal in near}
    return near if names & tables.harms and names - tables.acts else []


def _hits(pattern: _Pattern, text: str | bytes) -> Iterable[Signal]:
    for number, match in enumerate(pattern.of.finditer(text)):
        if number >= _MOST_HITS:
            return
        yield Signal(pattern.name, pattern.weight, pattern.what, *match.span())


@cache
def _tables() -> _Tables:
    loaded = yaml.load(
        resources.files(__package__).joinpath("rules/orders.yaml").read_text("utf-8"),
        Loader=_LOADER,  # noqa: S506 - a safe loader, in C where there is one
    )
    rows = [*loaded["signals"], *loaded["foreign"]]
    return _Tables(
        tuple(_pattern(row, loaded["parts"]) for row in loaded["signals"]),
        tuple(_pattern(row, {}) for row in loaded["foreign"]),
        frozenset(row["name"] for row in rows if row.get("frame")),
        frozenset(row["name"] for row in rows if not row.get("frame")),
        frozenset(row["name"] for row in rows if row.get("act")),
    )


def _pattern(row: dict[str, Any], parts: dict[str, str]) -> _Pattern:
    of = filled(row["of"], parts)
    return _Pattern(row["name"], row["weight"], row.get("at", ""), row["what"], re2.compile(f"(?i){of}"))


def filled(of: str, parts: dict[str, str]) -> str:
    """A pattern with the parts that it names in braces."""
    for _ in range(_NESTED if parts else 0):
        for name, part in parts.items():
            of = of.replace(f"{{{name}}}", part)
    return of
