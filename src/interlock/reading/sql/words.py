"""SQL as words: what any dialect would see outside of literals and comments, without understanding it.

The words are the second opinion beside the syntax tree. They are read so that a doubt makes more words visible, never
fewer: an unclosed quote or comment hides nothing, ``[`` is punctuation (an array's brackets may hold a call), a nested
comment ends at its first ``*/``.
"""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple


class Sort(StrEnum):
    """What a token is."""

    WORD = "word"
    STRING = "string"
    QUOTED = "quoted"
    NUMBER = "number"
    MARK = "mark"


class Token(NamedTuple):
    """One word, literal or mark with its place in the text; a tuple, since thousands are made."""

    sort: Sort
    text: str
    """Words in upper case; strings and quoted names without their quotes; the rest as written."""
    start: int
    end: int


_STRING = {False: r"'(?:[^']|'')*'", True: r"'(?:[^'\\]|\\.|'')*'"}
_MOST_OPEN = 32
"""Unclosed literals and comments of one sort after which the sort is no longer looked for: its content stays visible."""


@lru_cache(maxsize=64)
def _lexer(backslash: bool, hash_comments: bool, without: frozenset[str]) -> re.Pattern[str]:
    """The lexer ``without`` the sorts that cannot close any more, so that reading stays linear."""
    skips = [r"\s+", r"--[^\n]*"]
    strings = []
    if hash_comments:
        skips.append(r"\#[^\n]*")
    if "/" not in without:
        skips.append(r"/\*.*?\*/")
    if "'" not in without:
        strings += [rf"[Ee]{_STRING[True]}", rf"(?:[BXNRbxnr]|[Uu]&)?{_STRING[backslash]}"]
    if "$" not in without:
        strings.append(r"\$(?P<tag>\w*)\$.*?\$(?P=tag)\$")
    return re.compile(
        rf"(?P<skip>{'|'.join(skips)})"
        + (rf"|(?P<string>{'|'.join(strings)})" if strings else "")
        + r'|(?P<quoted>"(?:[^"]|"")*"|`[^`]*`)'
        r"|(?P<number>\d[\d.]*(?:[eE][+-]?\d+)?(?!\w)|0[xX][0-9a-fA-F]+)"
        r"|(?P<word>[^\W\d][\w$]*)"
        r"|(?P<mark>.)",
        re.DOTALL,
    )


def words_of(text: str, *, backslash: bool = False, hash_comments: bool = False) -> tuple[Token, ...]:
    """The tokens of ``text``; ``backslash`` when it escapes quotes, ``hash_comments`` when ``#`` starts a comment."""
    tokens: list[Token] = []
    unclosed: Counter[str] = Counter()
    without: frozenset[str] = frozenset()
    place: int | None = 0
    while place is not None:
        place, opened = _lex(text, place, _lexer(backslash, hash_comments, without), tokens, unclosed)
        without |= opened
    return tuple(tokens)


def _lex(
    text: str, place: int, lexer: re.Pattern[str], tokens: list[Token], unclosed: Counter[str]
) -> tuple[int | None, frozenset[str]]:
    """Add tokens from ``place`` on; stops early, and says where, when a sort of literal has stopped closing."""
    for match in lexer.finditer(text, place):
        sort = match.lastgroup
        if sort == "skip":
            continue
        if sort == "tag" or sort is None:
            sort = "string"
        raw = match.group()
        tokens.append(Token(_SORTS[sort], _content(sort, raw), match.start(), match.end()))
        if sort == "mark" and (raw in {"'", "$"} or (raw == "/" and text[match.end() : match.end() + 1] == "*")):
            unclosed[raw] += 1
            if unclosed[raw] == _MOST_OPEN:
                return match.end(), frozenset({raw})
    return None, frozenset()


_SORTS = {sort.value: sort for sort in Sort}


def _content(sort: str, raw: str) -> str:
    if sort == "word":
        return raw.upper()
    if sort == "string":
        return raw.split("$", 2)[2].rsplit("$", 2)[0] if raw[0] == "$" else raw[raw.index("'") + 1 : -1]
    if sort == "quoted":
        return raw[1:-1]
    return raw


def statements_of(tokens: tuple[Token, ...]) -> list[tuple[Token, ...]]:
    """The tokens cut at semicolons, empty pieces left out."""
    pieces: list[tuple[Token, ...]] = []
    begin = 0
    for place, token in enumerate(tokens):
        if token.sort is Sort.MARK and token.text == ";":
            pieces.append(tokens[begin:place])
            begin = place + 1
    pieces.append(tokens[begin:])
    return [piece for piece in pieces if piece]


def depth_of(text: str) -> int:
    """How deep brackets nest, quotes not regarded: an upper bound for what a parser would recurse into."""
    deepest = depth = 0
    for mark in re.findall(r"[()\[\]{}]", text):
        depth += 1 if mark in "([{" else -1
        deepest = max(deepest, depth)
        depth = max(depth, 0)
    return deepest


_EXECUTABLE = re.compile(r"/\*M?!\d*(.*?)(?:\*/|\Z)", re.DOTALL | re.IGNORECASE)


def without_executable_comments(text: str) -> str:
    """``text`` as MySQL and MariaDB run it: what stands in ``/*!50000 … */`` is code there."""
    for _ in range(4):
        opened = _EXECUTABLE.sub(r" \1 ", text)
        if opened == text:
            break
        text = opened
    return text


def joined(text: str) -> str:
    """``text`` as a filter that deletes comments would pass it on: ``DR/**/OP`` becomes ``DROP``."""
    kept = []
    place = 0
    while (begin := text.find("/*", place)) >= 0 and (end := text.find("*/", begin + 2)) >= 0:
        kept.append(text[place:begin])
        place = end + 2
    return "".join((*kept, text[place:]))
