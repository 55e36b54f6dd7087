"""Injected instructions, seen by their grammar: classes of words, patterns over the classes, weights that add up.

A tripwire and documented as one: a paraphrase may pass it. It raises, it never lowers; the control is the flow of labels.
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

ENOUGH = 10
"""The score from which a text counts as an injected instruction: one clear signal, or two or three weak ones together."""
_WINDOW = 70  # words; signals further apart than a long paragraph do not add up
_QUOTE = 12  # words; a longer quotation, or one with an address in it, is not a mere mention
_MOST_HITS = 5_000
_LONG_SHAPE = 2_000

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Bounded or single-class repeats only, so that both are linear; the wider one only where an address may be.
_PLAIN_TOKEN = (
    r"(?P<word>[a-z0-9]+(?:'[a-z]{1,2}\b)?)|(?P<para>\n\s*\n)|(?P<end>[.?;](?=\s|$|[\"')*])|[。！？])|(?P<bang>!+)|(?P<line>\n)|(?P<colon>:)|(?P<quote>[\"'`])"  # noqa: S105 - tokens of text, not of access
    r"|(?P<open>[(\[<>|*#-])"
)
_ADDRESS_TOKEN = (
    r"(?P<X>https?://[^\s\"'<>)\]]+|www\.[^\s\"'<>)\]]+|[a-z0-9_.+-]{1,64}@[a-z0-9-]{1,63}\.[a-z0-9.-]{2,}|\b\d{1,3}(?:\.\d{1,3}){3}\b)"  # noqa: S105 - tokens of text, not of access
    r"|(?P<f>~?/?\.(?:ssh|aws|kube|gnupg|netrc|npmrc|env|cursor|docker)\b[\w./-]*|\bid_(?:rsa|ed25519)\b|/etc/(?:passwd|shadow)|\bmcp\.json)|"
)
_TOKEN = re.compile(_PLAIN_TOKEN)
_TOKEN_OR_ADDRESS = re.compile(_ADDRESS_TOKEN + _PLAIN_TOKEN)
_ADDRESS_HINT = re.compile(r"@|://|www\.|/etc/|id_|mcp\.|(?:^|[\s/~\"'`(])\.[a-z]|\d\.\d+\.\d")
_ACCOUNT = re.compile(r"[a-z]{2}\d{12,30}$")
_GROUPS = {
    "X": "X",
    "f": "f",
    "para": ".",
    "end": ".",
    "bang": "!",
    "line": "/",
    "colon": ":",
    "quote": '"',
    "open": "(",
}
_START = r"""(?:^|[./"!pQ&W4]|[N!aetkm4DA]:)[(pqi!]{0,3}"""
_LITTLE = "wqz&s"
_LEET = str.maketrans("013457", "oleast"), str.maketrans("013457", "oieast")


@dataclass(frozen=True, slots=True)
class Signal:
    """One weak or strong sign of an injected instruction, at ``start`` to ``end`` of the text that was read."""

    name: str
    weight: int
    what: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Pattern:
    name: str
    weight: int
    at: str
    what: str
    of: Any


def signals(text: str, at: str) -> list[Signal]:
    """The signals in ``text`` (normalised) on the surface ``at`` (R, D, O, T)."""
    shape, places = _shape(text)
    if not _TELLING.search(shape):
        return []
    shape = _without_mentions(shape)
    found = []
    for pattern in _candidates(shape, at):
        for match in pattern.of.finditer(shape):
            if match.end() > match.start():
                found.append(
                    Signal(
                        pattern.name, pattern.weight, pattern.what, places[match.start()][0], places[match.end() - 1][1]
                    )
                )
                if len(found) > _MOST_HITS:
                    return found
    return found


def strongest(found: Iterable[Signal], per_word: int = 7) -> tuple[int, list[Signal]]:
    """The highest sum of signals near each other, each name counted once at its heaviest, and those signals."""
    ordered = sorted(found, key=lambda signal: signal.start)
    best, best_score, first = [], 0, 0  # type: tuple[list[Signal], int, int]
    for last, signal in enumerate(ordered):
        while ordered[first].start < signal.start - _WINDOW * per_word:
            first += 1
        near: dict[str, Signal] = {}
        for other in ordered[max(first, last - 60) : last + 1]:
            if other.name not in near or near[other.name].weight < other.weight:
                near[other.name] = other
        score = sum(other.weight for other in near.values())
        if score > best_score:
            best, best_score = list(near.values()), score
    return best_score, best


def shape_of(text: str) -> str:
    """The class letters of ``text``, for tests and for explaining a finding."""
    return _shape(text)[0]


def _shape(text: str) -> tuple[str, list[tuple[int, int]]]:
    words = _words()
    letters: list[str] = []
    places: list[tuple[int, int]] = []
    lower = text.lower()
    lower = lower if len(lower) == len(text) else text  # a few letters grow when lowered; offsets must hold
    for match in (_TOKEN_OR_ADDRESS if _ADDRESS_HINT.search(lower) else _TOKEN).finditer(lower):
        kind = match.lastgroup or ""
        if kind == "word":
            word = match[0]
            letter = words.get(word, "") or (_unleet(word, words) if not word.isalpha() else "w")
            if letter in "am" and word in _SPOKEN_TO and _vocative(lower, match.start(), match.end()):
                letter = "4"
        else:
            letter = _GROUPS[kind]
        letters.append(letter)
        places.append(match.span())
    return "".join(letters), places


def _vocative(text: str, start: int, end: int) -> bool:
    """Whether the word is spoken to: a comma or colon behind it, and a sentence's beginning or a greeting before it."""
    if text[end : end + 1] not in {",", ":"} or not text[end + 1 : end + 3].strip():
        return False
    before = text[max(0, start - 14) : start].rstrip(" ")
    return not before or before[-1] in ".!?,;\n>" or _GREETED.search(before) is not None


_SPOKEN_TO = frozenset(
    "assistant ai llm llms model agent agents chatbot chatgpt claude copilot gpt bot asistente assistente assistent".split()  # noqa: SIM905 - a list of words reads as words
)
_GREETED = re.compile(
    r"(?:\b(?:hello|hi|hey|dear|attention|ok|okay|to|for|note)(?: (?:the|my))?|(?:^|[.!?\n>]) ?(?:the|my))$"
)


def _unleet(word: str, words: dict[str, str]) -> str:
    if word.isdigit():
        return "w"
    if _ACCOUNT.match(word):
        return "X"
    for table in _LEET:
        letter = words.get(word.translate(table))
        if letter is not None:
            return letter
    return words.get(word.translate(_LEET[0]).replace("l", "i"), "w")


def _without_mentions(shape: str) -> str:
    """Short quotations in a sentence that speaks about attacks count as mentions: their words are blanked."""
    if "K" not in shape or '"' not in shape:
        return shape
    return ".".join(_blank(sentence) if "K" in sentence else sentence for sentence in shape.split("."))


def _blank(sentence: str) -> str:
    if "K" not in _QUOTED.sub("", sentence):
        return sentence
    return _QUOTED.sub(lambda match: '"' + "w" * (len(match[0]) - 2) + '"', sentence)


_QUOTED = re.compile(r'"[^"Xf]{1,%d}"' % _QUOTE)  # noqa: UP031 - braces are part of the pattern
_TELLING = re.compile(r"[OVSALegrJjGxvuTcNRkHd8423M6]")


@cache
def _lexicon() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(
        resources.files(__package__).joinpath("rules/injection.yaml").read_text("utf-8"),
        Loader=_LOADER,  # noqa: S506 - a safe loader, in C where there is one
    )
    return loaded


@cache
def _words() -> dict[str, str]:
    words: dict[str, str] = {}
    for letter, listed in _lexicon()["words"].items():
        for word in str(listed).replace('"', "").split():
            words.setdefault(word, letter)
    for word, letter in list(words.items()):
        if letter in "NRFYDcBECtyeKj" and not word.endswith("s"):
            words.setdefault(word + "s", letter)
    return words


def _candidates(shape: str, at: str) -> Iterable[_Pattern]:
    """The patterns that occur in ``shape``: one scan of a set. A long shape could exhaust the set's memory: all are tried."""
    patterns, together = _patterns(at)
    if len(shape) > _LONG_SHAPE:
        return patterns
    return [patterns[number] for number in together.Match(shape) or ()]


@cache
def _patterns(at: str) -> tuple[tuple[_Pattern, ...], Any]:
    options = re2.Options()
    options.log_errors = False
    together = re2.Set.SearchSet(options)
    patterns = tuple(
        _Pattern(
            row["name"],
            row["weight"],
            row["at"],
            row["what"],
            re2.compile(row["of"].replace("@", _START).replace("~", _LITTLE)),
        )
        for row in _lexicon()["signals"]
        if at in row["at"]
    )
    for pattern in patterns:
        together.Add(pattern.of.pattern)
    together.Compile()
    return patterns, together
