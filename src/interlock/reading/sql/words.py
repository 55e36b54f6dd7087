"""SQL as words: what any dialect would see outside of literals and comments, without understanding it.

The words are the second opinion beside the syntax tree. They are read so that a doubt makes more words visible, never
fewer: an unclosed quote or comment hides nothing, ``[`` is punctuation (an array's brackets may hold a call), a nested
comment ends at its first ``*/``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Sort(StrEnum):
    """What a token is."""

    WORD = "word"
    STRING = "string"
    QUOTED = "quoted"
    NUMBER = "number"
    MARK = "mark"


@dataclass(frozen=True, slots=True)
class Token:
    """One word, literal or mark with its place in the text."""

    sort: Sort
    text: str
    """Words in upper case; strings and quoted names without their quotes; the rest as written."""
    start: int
    end: int


_STRING = {False: r"'(?:[^']|'')*'", True: r"'(?:[^'\\]|\\.|'')*'"}
_COMMENT = {False: r"--[^\n]*|/\*.*?\*/", True: r"--[^\n]*|\#[^\n]*|/\*.*?\*/"}


def _lexer(*, backslash: bool, hash_comments: bool) -> re.Pattern[str]:
    return re.compile(
        rf"(?P<skip>\s+|{_COMMENT[hash_comments]})"
        rf"|(?P<string>[Ee]{_STRING[True]}|(?:[BXNRbxnr]|[Uu]&)?{_STRING[backslash]}|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)"
        r'|(?P<quoted>"(?:[^"]|"")*"|`[^`]*`)'
        r"|(?P<number>\d[\d.]*(?:[eE][+-]?\d+)?(?!\w)|0[xX][0-9a-fA-F]+)"
        r"|(?P<word>[^\W\d][\w$]*)"
        r"|(?P<mark>.)",
        re.DOTALL,
    )


_LEXERS = {
    (backslash, hashes): _lexer(backslash=backslash, hash_comments=hashes)
    for backslash in (False, True)
    for hashes in (False, True)
}


def words_of(text: str, *, backslash: bool = False, hash_comments: bool = False) -> tuple[Token, ...]:
    """The tokens of ``text``; ``backslash`` when it escapes quotes, ``hash_comments`` when ``#`` starts a comment."""
    tokens = []
    for match in _LEXERS[backslash, hash_comments].finditer(text):
        sort = match.lastgroup
        if sort == "skip":
            continue
        if sort == "tag" or sort is None:
            sort = "string"
        tokens.append(Token(Sort(sort), _content(sort, match.group()), match.start(), match.end()))
    return tuple(tokens)


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
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
