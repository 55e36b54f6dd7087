"""One clause of a task, ready for the rules of risk: its words, what is near what, and what is only mentioned."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from interlock.decide import words
from interlock.decide.lexicon import category, plain, stem_set

_DEED_STARTS = (
    "add|drop|delet|wip|purg|truncat|eras|destroy|nuk|remov|disabl|skip|bypass|turn|switch|let|grant|giv|expos|publish|mak|deploy|ship|push|releas"
    "|send|print|log|email|share|open|lower|relax|allow|run|reset|clear|blow|throw|get|tear|copy|upload|post|merge|comment|ignor"
)
_BOUNDARY = re.compile(
    r"(?<=[.!?;])\s+|\n+|\s+[-–—]\s+"
    r"|,?\s+(?:and then|and also|then|but|afterwards|after that|while you are at it)\s+"
    rf"|(?:,\s*|,?\s+and\s+)(?=(?:just\s+|also\s+|please\s+)?(?:{_DEED_STARTS})\w*\b)",
    re.IGNORECASE,
)
_WORK_STARTS = (
    "cancel|tak|transfer|replac|kill|forc|stop|shrink|point|stor|swap|execut|restor|mov|refund|put|chang|rewrit|overwrit|empt|restart|reboot"
    "|rotat|revok|weaken|downgrad|trust|charg|promot|renam|merg|suspend|hand|sell|format|flip|cut|strip|clean|import|load|set|writ|hav|fix|trim"
    "|updat|describ|explain|mention|translat|improv|creat|build|convert|group|round|sort|draw|highlight|hid|implement|us|deduplicat|expand|switch"
)
_JOINT = re.compile(
    r"\s+\((?:and\s+)?|\)(?=\s|$)\s*|,?\s+(?:while|so that|so|in order to)\s+(?:(?:we|you|they|i)\s+(?:can\s+)?)?|,?\s+(?:before|after)\s+(?:you|we)\s+"
    rf"|(?:,\s*|,?\s+and\s+)(?=(?:just\s+|also\s+|please\s+)?(?:{_DEED_STARTS}|{_WORK_STARTS})\w*\b)",
    re.IGNORECASE,
)
"""Where one sentence goes on to another deed; what is read on both sides of it is read besides the whole, never instead."""
_MENTION = re.compile(
    r"^\W*(?:(?:please|can you|could you)\s+)?(?:"
    r"(?:document|explain|describe|summari[sz]e|discuss|research|investigate|clarify|translate|mention|outline|compare)\w*\b"
    r"|(?:write|add|draft|update|extend|improve|create|publish)\s+(?:\w+\s+){0,3}?(?:docs?|documentation|guide|article|post|tests?|comment|note|faq|readme|tutorial|runbook|warning|page about|section)\b"
    r"|(?:what|why|how|when|where|who|which|is|are|does)\b"
    r")"
    r"|\bhow to\b|\bthat\b.{0,200}\b(?:is|are|gets?|be)\s+(?:refused|rejected|blocked|denied|forbidden|prevented|impossible|not allowed)\b",
    re.IGNORECASE,
)
_LABEL = re.compile(r"^\W*(?:docs?|tests?)(?:\([^)]{0,40}\))?!?:", re.IGNORECASE)
_REFUSALS = stem_set(
    "prevent refuse forbid reject block never avoid disallow prohibit deny stop protect guard refusal not warn against"
    " before if when unless after undo"
)
"""Words that turn the deed after them into something that does not happen, or not now."""
_REFUSAL_REACH = 4
_AUXILIARIES = words.word_set("is are be was were been being get gets got getting have has")
_PRONOUN = re.compile(r"\b(?:it|them|these|those|that)\b\W*(?:$|\w+\W*$)", re.IGNORECASE)
_SHORT = 60
"""“Nobody needs the old records, *clear them*”: a short clause whose thing was named before is read with that one."""
_MOST = 60
LONGEST = 20_000
"""Characters that are read; what is longer is suspicious in itself."""


def clauses(text: str) -> list[str]:
    """``text`` in clauses; a dangerous deed after "and" or a comma begins one of its own.

    A clause of several deeds is read whole and deed by deed, so that what one is about does not excuse the other.
    """
    parts = [part.strip() for part in _BOUNDARY.split(text[:LONGEST]) if part and part.strip()]
    deeds = [deed.strip() for part in parts if len(cut := _JOINT.split(part)) > 1 for deed in cut if deed.strip()]
    whole = [f"{one} {two}" for one, two in pairwise(parts) if _PRONOUN.search(two) and len(two) < _SHORT]
    return list(dict.fromkeys((*parts[:_MOST], *deeds[:_MOST], *whole[:_MOST])))


@dataclass(frozen=True)
class Clause:
    """One clause."""

    said: str

    @cached_property
    def raw(self) -> tuple[str, ...]:
        """The words of its plain form."""
        return tuple(words.raw_words(plain(self.said)))

    @cached_property
    def found(self) -> tuple[str, ...]:
        """Their stems."""
        return tuple(words.stem(word) for word in self.raw)

    @cached_property
    def mention(self) -> bool:
        """Whether it is about writing or asking, not doing."""
        return _MENTION.search(self.said) is not None

    @cached_property
    def labelled(self) -> bool:
        """Whether a prefix such as ``docs:`` says that it is about writing; anybody can write a prefix."""
        return _LABEL.match(self.said) is not None

    def has(self, *names: str) -> bool:
        """Whether a word of one of these categories stands in it."""
        return bool(self.first(*names))

    def first(self, *names: str) -> str:
        """The first word of these categories as it is said, empty when there is none."""
        for word, found in zip(self.raw, self.found, strict=True):
            if any(found in category(name) for name in names):
                return word
        return ""

    def says(self, *wanted: str) -> str:
        """The first of these words that stands in it, empty when none does."""
        stems = {words.stem(word) for word in wanted}
        return next((word for word, found in zip(self.raw, self.found, strict=True) if found in stems), "")

    def pair(self, deeds: frozenset[str], things: frozenset[str], reach: int = 8) -> str:
        """A deed and its thing near it, as said; empty when the deed is refused, undone or only describes a thing."""
        for place, deed in enumerate(self.found):
            if deed not in deeds or self._refused(place) or self._describes(place):
                continue
            for other in (*range(place + 1, place + reach + 1), *range(place - 1, place - reach - 1, -1)):
                if 0 <= other < len(self.found) and self.found[other] in things and self.found[other] != deed:
                    return f"{self.raw[place]} … {self.raw[other]}"
        return ""

    def _refused(self, place: int) -> bool:
        return any(self.found[before] in _REFUSALS for before in range(max(0, place - _REFUSAL_REACH), place))

    def _describes(self, place: int) -> bool:
        """A participle before a noun (“show deleted users”) is a quality, not a deed."""
        word = self.raw[place]
        return place > 0 and word.endswith("ed") and word != "need" and self.raw[place - 1] not in _AUXILIARIES
