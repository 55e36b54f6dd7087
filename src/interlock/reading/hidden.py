"""Characters that people do not see: found as such, because honest text seldom hides anything from its reader."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from interlock.model.action import Finding, Span
from interlock.model.risk import RiskLevel
from interlock.reading.normal import is_invisible, normalise

_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_TAGS = re.compile("[\U000e0001-\U000e007f]+")
_FIRST_TAG, _LAST_TAG = 0xE0020, 0xE007E  # tag space to tag tilde: ASCII in disguise
_FLAG = "\U0001f3f4"  # the one honest use of tag characters: flags of regions, a black flag before and U+E007F behind
_ZERO_IN_WORD = re.compile(
    "(?<=[A-Za-z0-9])[\u00ad\u034f\u180b-\u180f\u200b-\u200f\u2060-\u2064\u206a-\u206f\ufe00-\ufe0f\ufeff\u115f\u1160\u3164\uffa0]+(?=[A-Za-z0-9\\s.,;:!?]|$)"
)
_SELECTORS = re.compile("[\ufe00-\ufe0e\U000e0100-\U000e01ef]{4,}")
# Full-width, mathematical, circled and squared Latin letters: honest in acronyms and formulas, not in running text.
_STYLED = re.compile(
    "[\uff21-\uff3a\uff41-\uff5a]{5,}|[\U0001d400-\U0001d7ff]{5,}|[\u24b6-\u24e9]{4,}|[\U0001f130-\U0001f189]{4,}"
)
_MANY = 3
_A_WORD = 4  # letters; shorter mixtures are formulas and units
_WORD = re.compile(r"[^\W\d_]{2,}")
_MIXABLE = frozenset(
    {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"}
)  # scripts whose letters pass for each other


def hidden_characters(text: str) -> list[Finding]:
    """Zero-width characters inside words, text turned around, tag characters, and words that mix look-alike scripts.

    Joiners in emoji, Arabic and Indic text, right-to-left marks and accents are no findings.
    """
    if text.isascii():
        return []
    found = []
    for match in _TAGS.finditer(text):
        if match.start() == 0 or text[match.start() - 1] != _FLAG:
            found.append(  # noqa: PERF401 - one finding each, in the order of the checks
                _finding("tags", RiskLevel.HIGH, match, "invisible tag characters spell text that nobody sees")
            )
    zero = list(_ZERO_IN_WORD.finditer(text))
    if zero:
        level = RiskLevel.HIGH if len(zero) > 1 or "\u00ad" not in zero[0][0] else RiskLevel.MEDIUM
        found.append(_finding("zero_width", level, zero[0], "invisible characters stand inside words"))
    for match in _SELECTORS.finditer(text):
        found.append(_finding("selectors", RiskLevel.HIGH, match, "a row of variation selectors can carry hidden data"))  # noqa: PERF401 - one finding each, in the order of the checks
    bidi = _BIDI.search(text)
    if bidi:
        level = RiskLevel.HIGH if bidi[0] in "\u202d\u202e" else RiskLevel.MEDIUM
        found.append(_finding("bidi", level, bidi, "the text is shown in another order than it is read"))
    mixed = [match for match in _WORD.finditer(text) if not match[0].isascii() and _mixes(match[0])]
    if mixed:
        posing = any(len(match[0]) >= _A_WORD and normalise(match[0]).isascii() for match in mixed)
        level = RiskLevel.HIGH if posing else RiskLevel.MEDIUM
        found.append(_finding("homoglyphs", level, mixed[0], "words mix letters of several scripts that look alike"))
    styled = list(_STYLED.finditer(text))
    if len(styled) >= _MANY:
        found.append(
            _finding(
                "styled",
                RiskLevel.HIGH,
                styled[0],
                "words are written in letters made for other uses, which plain filters do not read",
            )
        )
    return found


def tag_text(text: str) -> str:
    """What the tag characters of ``text`` spell in ASCII."""
    return "".join(chr(ord(char) - 0xE0000) for char in text if _FIRST_TAG <= ord(char) <= _LAST_TAG)


def _finding(kind: str, severity: RiskLevel, match: re.Match[str], reason: str) -> Finding:
    shown = " ".join(f"U+{ord(char):04X}" for char in match[0] if is_invisible(ord(char)))[:60] or match[0][:40]
    return Finding(
        detector="text",
        kind=f"text.hidden.{kind}",
        severity=severity,
        evidence=shown,
        reason=reason,
        span=Span(start=match.start(), end=match.end()),
    )


def _mixes(word: str) -> bool:
    return len({_script(char) for char in word} & _MIXABLE) > 1


@lru_cache(maxsize=4096)
def _script(char: str) -> str:
    return unicodedata.name(char, "?").split(" ", 1)[0]
