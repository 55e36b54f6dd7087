"""The other texts that a text may hold: decoded blobs, escapes, letters spaced out or turned round. Bounded; each read once."""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
from collections.abc import Iterator
from urllib.parse import unquote

import re2

from interlock.reading.hidden import tag_text

_MOST_BLOBS = 16
_MOST_TRIED = 500
_LONGEST = 16_384
_READABLE = 0.9

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{20,}={0,2}")
_HEX = re.compile(r"(?:0x)?(?:[0-9a-fA-F]{2}[ :,]?){12,}|(?:\\x[0-9a-fA-F]{2}){4,}")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_ENTITY = re.compile(r"&#x?[0-9A-Fa-f]{1,6};?|&[a-z]{2,6};")
_UNICODE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|\\u\{([0-9a-fA-F]{1,6})\}")
_SPACED = re.compile(r"(?:(?<![^\W_])[^\W_][^\w\n]{1,2}){8,}")
_TELLTALE = "ignore previous instructions system prompt reveal forget secret password follow send the and".split()  # noqa: SIM905 - a list of words reads as words
_ROT13 = frozenset(codecs.encode(word, "rot13") for word in _TELLTALE)
_BACKWARDS = frozenset(word[::-1] for word in _TELLTALE[:-2])
_TURNED = re2.compile(r"(?i)\b(?:" + "|".join(sorted(_ROT13 | _BACKWARDS)) + r")\b")
# No word of prose has 32 letters, four words of one letter in a row, or four in a row that mix letters and digits.
_ODD = re2.compile(r"\S{32}|(?:\b\w\b[\W_]{1,3}){4}|(?:\b(?:[A-Za-z]+\d|\d+[A-Za-z])[A-Za-z0-9]*\W{1,3}){4}")
_MAY_HOLD = re2.compile(r"\S{20}|(?:\b\w\b[\W_]{1,3}){4}|(?:[0-9A-Fa-f]{2}[ :,]){12}")
_ENTITIES = 4
_NO_WORD = 32
_CARRIED = 24  # characters
_RUN_ON = re.compile(r"[A-Za-z0-9]+[.,!?;:]*|(?:[A-Za-z0-9][._-]){8,}[A-Za-z0-9]?[.,!?;:]*")
_FOREIGN_WORDS = 2


def views(text: str) -> Iterator[tuple[str, str]]:
    """``(how, decoded text)`` for each encoding that is found in ``text``; at most a few, each at most 16 kB."""
    if "%" in text and (lines := _lines_with(_PERCENT, text)):
        yield "percent", unquote(lines, errors="replace")
    if "&" in text and (lines := _lines_with(_ENTITY, text)):
        yield "entities", html.unescape(lines)
    if "\\" in text and (lines := _lines_with(_UNICODE, text)):
        yield (
            "escapes",
            _UNICODE.sub(lambda match: chr(min(int(match[1] or match[2] or match[3], 16), 0x10FFFF)), lines),
        )
    if not text.isascii() and (tags := tag_text(text)):
        yield "tags", tags[:_LONGEST]
    if _MAY_HOLD.search(text) is not None:
        yield from _blobs(text)
    yield from _rearranged(text[:_LONGEST])


def carries_text(query: str) -> bool:
    """Whether a query string carries text that somebody encoded; what a service hands out as a cursor is JSON or bytes."""
    if len(query) < _CARRIED:
        return False
    found = (decoded for _, decoded in _blobs(unquote(query)))
    return any(len(decoded) >= _CARRIED // 2 and decoded.lstrip()[:1] not in {"{", "["} for decoded in found)


def squashed(text: str) -> str:
    """Letters and digits only, of what looks as if its spaces were moved or taken out; empty for ordinary text."""
    head = text[:_LONGEST]
    if _ODD.search(head) is None:
        return ""
    words = head.split()
    odd = sum(1 for word in words if len(word) == 1 or (word.isalnum() and not word.isalpha() and not word.isdigit()))
    if odd * 5 < len(words) * 2:
        return " ".join(
            "".join(filter(str.isalnum, word)).lower()
            for word in words
            if len(word) >= _NO_WORD and _RUN_ON.fullmatch(word)
        )
    return "".join(filter(str.isalnum, head)).lower()


def _lines_with(pattern: re.Pattern[str], text: str) -> str:
    """The lines of ``text`` that hold several of ``pattern``; empty when none does."""
    lines = text[:_LONGEST].splitlines()
    return "\n".join(line for line in lines if sum(1 for _ in pattern.finditer(line)) >= _ENTITIES)


def _blobs(text: str) -> Iterator[tuple[str, str]]:
    count = 0
    for how, pattern, decode in (("base64", _BASE64, _from_base64), ("hex", _HEX, _from_hex)):
        for tried, match in enumerate(pattern.finditer(text)):
            if count >= _MOST_BLOBS or tried >= _MOST_TRIED:
                return
            decoded = decode(match[0])
            good = sum(1 for char in decoded if (char.isprintable() and char != "\ufffd") or char in "\n\r\t")
            if decoded and good >= _READABLE * len(decoded):
                count += 1
                yield how, decoded


def _from_base64(blob: str) -> str:
    digits = blob.rstrip("=")[:_LONGEST].translate(_URL_SAFE)
    if digits.isalpha() and (digits.islower() or digits.isupper()):
        return ""  # a long word
    digits = digits[: len(digits) - (len(digits) % 4 == 1)]
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4)).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _from_hex(blob: str) -> str:
    digits = re.sub(r"0x|\\x|[ :,]", "", blob)[:_LONGEST]
    try:
        return bytes.fromhex(digits[: len(digits) // 2 * 2]).decode("utf-8", "replace")
    except ValueError:
        return ""


_URL_SAFE = str.maketrans("-_", "+/")


def _rearranged(text: str) -> Iterator[tuple[str, str]]:
    if _SPACED.search(text):
        yield "spaced", re.sub(r"(?<=\S)[ ](?=\S)", "", re.sub(r"[ ]{2,}", "\x00", text)).replace("\x00", " ")
    if _TURNED.search(text) is None:
        return
    words = {match[0].lower() for match in _TURNED.finditer(text)}
    if len(words & _ROT13) >= _FOREIGN_WORDS:
        yield "rot13", codecs.encode(text, "rot13")
    if words & _BACKWARDS:
        yield "reversed", text[::-1]
