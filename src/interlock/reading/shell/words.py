"""Words as bash expands them: quotes, escapes, braces, variables, substitutions, field splitting."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Protocol

from tree_sitter import Node

from interlock.reading.shell import holes

_PLAIN = re.compile(r"[^\\$`'\"{}~\x00-\x06]+")
_EXPANSIONS = frozenset(
    {"simple_expansion", "expansion", "command_substitution", "arithmetic_expansion", "process_substitution"}
)
_OPEN, _COMMA, _CLOSE = "\x04", "\x05", "\x06"
_MARK = str.maketrans({"{": _OPEN, ",": _COMMA, "}": _CLOSE})
_UNMARK = str.maketrans({_OPEN: "{", _COMMA: ",", _CLOSE: "}"})
_UNSEEN = re.compile(r"(\\.)|\$(?:(\w+)|\{(\w+)\}|([{(@*]))", re.DOTALL)
_BACKTICK = re.compile(r"(?<!\\)`")
_ONE_PAIR = 3
_MARKS = re.compile(f"[{_OPEN}{_COMMA}{_CLOSE}]")
_MAX_BRACES = 64
_INNER_BRACES = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}")
_RANGE = re.compile(r"(-?\d+|[A-Za-z])\.\.(-?\d+|[A-Za-z])(?:\.\.-?\d+)?")
_ANSI = re.compile(
    r"\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|([0-7]{1,3})|c(.)|(.))", re.DOTALL
)
_SIMPLE_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "e": "\x1b",
    "E": "\x1b",
    "f": "\f",
    "v": "\v",
}
_OPERATION = re.compile(r"\$\{([!#]?)([A-Za-z_]\w*|[0-9@*?$!#-])(\[[^\]]*\])?(.*)\}", re.DOTALL)
_SLICE = re.compile(r":\s*(-?\d+)\s*(?::\s*(-?\d+)\s*)?")


class Part(IntEnum):
    """How a piece of a word is treated."""

    QUOTED = 0
    BARE = 1
    SPLIT = 2


class Values(Protocol):
    """What expansion needs of the machine that runs the text."""

    ifs: str

    def source(self, node: Node) -> str:
        """The text of a node."""
        ...

    def slice(self, start: int, end: int) -> str:
        """The text between two byte offsets."""
        ...

    def lookup(self, name: str) -> str:
        """A variable's value, possibly a hole."""
        ...

    def array(self, name: str) -> list[str] | None:
        """An array's elements; None when the name is not a known array."""
        ...

    def capture(self, node: Node) -> str:
        """What a command substitution prints."""
        ...

    def capture_text(self, text: str) -> str:
        """What a command in backticks prints."""
        ...

    def process(self, node: Node) -> str:
        """The path of a process substitution."""
        ...

    def visit(self, node: Node) -> None:
        """Judge the commands inside an expression whose value does not matter."""
        ...

    def prompt(self, text: str) -> None:
        """Judge a value that is expanded again, as ``${x@P}`` does."""
        ...


def fields(node: Node, values: Values, *rest: Node) -> list[str]:
    """The arguments that one word of the source becomes; ``rest`` are pieces of it that the parser split off."""
    only = node.children[0] if node.type == "command_name" and node.child_count == 1 else node
    if only.type in {"word", "number"} and not rest:
        text = values.source(only)
        if _PLAIN.fullmatch(text):
            return [text]
    parts: list[tuple[Part, str | list[str]]] = []
    _collect_all((node, *rest), values, parts, quoted=False)
    return _finish(parts, values.ifs)


def adjacent(nodes: Sequence[Node]) -> Iterator[list[Node]]:
    """Nodes that touch each other are one word: the parser splits a quoted from an escaped piece, bash does not."""
    group: list[Node] = []
    end = -1
    for node in nodes:
        if node.start_byte == end:
            group.append(node)
        else:
            if group:
                yield group
            group = [node]
        end = node.end_byte
    if group:
        yield group


def joined(node: Node, values: Values) -> str:
    """The word's value without field splitting, as in an assignment or a here-string."""
    parts: list[tuple[Part, str | list[str]]] = []
    _collect(node, values, parts, quoted=False)
    return "".join(" ".join(text) if isinstance(text, list) else text for _, text in parts).translate(_UNMARK)


def quoted_text(node: Node, values: Values, start: int, end: int, *, heredoc: bool = False) -> str:
    """The value of double-quoted or here-document text between two byte offsets of ``node``'s source."""
    parts: list[tuple[Part, str | list[str]]] = []
    _between(node, values, parts, start, end, heredoc=heredoc)
    return "".join(" ".join(text) if isinstance(text, list) else text for _, text in parts)


def unescape_ansi(text: str) -> str:
    """``text`` with the escapes of ``$'…'`` undone; characters that could be holes become ``?``."""
    return holes.clean(_ANSI.sub(_ansi, text))


def _ansi(match: re.Match[str]) -> str:
    for digits, base in ((match[1], 16), (match[2], 16), (match[3], 16), (match[4], 8)):
        if digits is not None:
            code = int(digits, base)
            return chr(code) if 0 < code <= 0x10FFFF else "?"  # noqa: PLR2004 - the last code point
    if match[5] is not None:
        return chr(ord(match[5][0]) & 0x1F)
    return _SIMPLE_ESCAPES.get(match[6], match[6] if match[6] in "\\'\"?" else match[0])


def _collect(node: Node, values: Values, parts: list[tuple[Part, str | list[str]]], *, quoted: bool) -> None:
    kind = node.type
    if kind in {"word", "number", "variable_name", "regex", "extglob_pattern", "heredoc_content"}:
        _plain(values.source(node), values, parts)
    elif kind == "raw_string":
        parts.append((Part.QUOTED, values.source(node)[1:-1]))
    elif kind == "ansi_c_string":
        parts.append((Part.QUOTED, unescape_ansi(values.source(node)[2:-1])))
    elif kind in {"string", "translated_string"}:
        inner = node if kind == "string" else node.children[-1]
        parts.append((Part.QUOTED, ""))
        _between(inner, values, parts, inner.start_byte + 1, inner.end_byte - 1)
    elif kind in _EXPANSIONS:
        _expand(node, values, parts, quoted=quoted)
    elif kind == "brace_expression":
        parts.append((Part.BARE, values.source(node).translate(_MARK)))
    elif kind in {"concatenation", "command_name"} and node.children:
        _collect_all(node.children, values, parts, quoted=quoted)
    elif node.named_child_count:
        values.visit(node)
        parts.append((Part.QUOTED, holes.VARIABLE))
    else:
        parts.append((Part.BARE, _bare(values.source(node))))


def _collect_all(
    nodes: Sequence[Node], values: Values, parts: list[tuple[Part, str | list[str]]], *, quoted: bool
) -> None:
    """The pieces of a word. The parser leaves single dollars standing: that of ``$"…"``, and some of ``a$b``."""
    pieces = list(_pieces(nodes))
    for place, node in enumerate(pieces):
        following = pieces[place + 1] if place + 1 < len(pieces) else None
        if node.type == "$" and following is not None and (following.text or b"")[:1] == b'"':
            continue
        if place and pieces[place - 1].type == "$" and node.type in {"word", "number"}:
            parts.pop()
            _plain("$" + values.source(node), values, parts)
        else:
            _collect(node, values, parts, quoted=quoted)


def _pieces(nodes: Sequence[Node]) -> Iterator[Node]:
    for node in nodes:
        if node.type in {"concatenation", "command_name"} and node.children:
            yield from _pieces(node.children)
        else:
            yield node


def _plain(text: str, values: Values, parts: list[tuple[Part, str | list[str]]]) -> None:
    """A word as it stands; expansions that the parser overlooked in it (``-rf$IFS/``) are carried out."""
    position = 0
    for match in _UNSEEN.finditer(text) if "$" in text else ():
        if match[1] is None:
            parts.append((Part.BARE, _bare(text[position : match.start()])))
            name = match[2] or match[3]
            parts.append((Part.SPLIT, values.lookup(name) if name else holes.VARIABLE))
            position = match.end()
    parts.append((Part.BARE, _bare(text[position:])))


def _bare(text: str) -> str:
    """Escapes undone; braces and commas that are not escaped are marked."""
    if "\\" not in text:
        return text.translate(_MARK) if "{" in text or "}" in text or "," in text else text
    return _BARE.sub(_bare_piece, text)


_BARE = re.compile(r"\\(.)|[{},]", re.DOTALL)


def _bare_piece(match: re.Match[str]) -> str:
    if match[1] is None:
        return match[0].translate(_MARK)
    return "" if match[1] == "\n" else match[1]


def _between(
    node: Node,
    values: Values,
    parts: list[tuple[Part, str | list[str]]],
    start: int,
    end: int,
    *,
    heredoc: bool = False,
) -> None:
    position = start
    for child in node.named_children:
        if child.type in _EXPANSIONS and child.start_byte >= position:
            parts.append((Part.QUOTED, _unquote(values.slice(position, child.start_byte), heredoc=heredoc)))
            _expand(child, values, parts, quoted=True)
            position = child.end_byte
    parts.append((Part.QUOTED, _unquote(values.slice(position, end), heredoc=heredoc)))


def _unquote(text: str, *, heredoc: bool) -> str:
    if "\\" not in text:
        return text
    pattern = r"\\([$`\\\n])" if heredoc else r"\\([$`\"\\\n])"
    return re.sub(pattern, lambda match: "" if match[1] == "\n" else match[1], text)


def _expand(node: Node, values: Values, parts: list[tuple[Part, str | list[str]]], *, quoted: bool) -> None:
    part = Part.QUOTED if quoted else Part.SPLIT
    kind = node.type
    if kind == "command_substitution":
        text = values.source(node)
        if text.startswith("`") and len(steps := _BACKTICK.split(text)) > _ONE_PAIR:
            _backticks(steps, values, parts, part)
        else:
            parts.append((part, values.capture(node)))
    elif kind == "process_substitution":
        parts.append((Part.QUOTED, values.process(node)))
    elif kind == "arithmetic_expansion":
        values.visit(node)
        parts.append((part, "1"))
    elif kind == "simple_expansion":
        name = values.source(node)[1:]
        elements = values.array(name) if name in {"@", "*"} else None
        parts.append((part, elements if elements is not None else values.lookup(name)))
    else:
        parts.append((part, _parameter(node, values)))


def _backticks(steps: list[str], values: Values, parts: list[tuple[Part, str | list[str]]], part: Part) -> None:
    """The parser takes ``a b`` between two pairs of backticks for a command in them; to bash it is outside."""
    for place, step in enumerate(steps[1:-1]):
        if place % 2 == 0:
            parts.append((part, values.capture_text(step)))
        else:
            if re.search(r"['\"$;|&<>()]", step):
                values.prompt(holes.VARIABLE)
            parts.append((part, step))


def _parameter(node: Node, values: Values) -> str | list[str]:
    """``${…}``: what is a constant operation on a constant is carried out, the rest is a hole."""
    values.visit(node)
    match = _OPERATION.fullmatch(values.source(node))
    if match is None:
        return holes.VARIABLE
    prefix, name, index, operation = match.groups()
    value = _element(name, index, values)
    if prefix == "#":
        return str(len(value)) if isinstance(value, list) or not holes.open_in(value) else "1"
    if isinstance(value, list):
        return value if not operation else [_operate(text, operation) for text in value]
    if operation.startswith("@P"):
        values.prompt(value)
        return holes.OUTPUT
    if prefix == "!":
        value = values.lookup(value) if re.fullmatch(r"\w+", value) else holes.VARIABLE
    return _operate(value, operation, name)


def _element(name: str, index: str | None, values: Values) -> str | list[str]:
    elements = values.array(name)
    if index is None:
        return (elements[0] if elements else "") if elements is not None else values.lookup(name)
    inner = index[1:-1]
    if elements is None:
        return values.lookup(name)
    if inner in {"@", "*"}:
        return elements
    if inner.isdigit() and int(inner) < len(elements):
        return elements[int(inner)]
    return holes.VARIABLE


def _operate(value: str, operation: str, name: str = "") -> str:
    if not operation:
        return value
    if operation.startswith((":-", "-", ":=", "=")):
        default = operation.lstrip(":")[1:].strip("'\"")
        known = value and not holes.open_in(value)
        return value if known else (holes.VARIABLE if "$" in default or "`" in default else default or value)
    if operation.startswith((":+", "+")):
        default = operation.lstrip(":")[1:].strip("'\"")
        if not value:
            return ""
        return holes.VARIABLE if "$" in default or "`" in default else default
    if operation.startswith((":?", "?")):
        return value
    if (cut := _SLICE.fullmatch(operation)) is not None:
        return _slice(value, name, int(cut[1]), cut[2])
    if holes.open_in(value) or "$" in operation or "`" in operation:
        return holes.worst_of(value) if holes.SECRET in value else holes.VARIABLE
    return _edit(value, operation)


def _slice(value: str, name: str, start: int, length: str | None) -> str:
    if name in {"PATH", "HOME", "PWD", "SHELL", "OLDPWD"} and start == 0 and length == "1":
        return "/"  # the usual way to spell a slash without one
    if holes.open_in(value) or value.startswith("~"):
        return holes.VARIABLE
    tail = value[start:]
    return tail if length is None else tail[: int(length)]


def _edit(value: str, operation: str) -> str:
    if operation in {",,", "^^", ",", "^"}:
        return {",,": value.lower(), "^^": value.upper()}.get(
            operation, (value[:1].lower() if operation == "," else value[:1].upper()) + value[1:]
        )
    if operation[0] in "#%":
        return _trim(value, operation)
    if operation[0] == "/":
        body = operation[1:]
        everywhere = body.startswith("/")
        old, _, new = body.lstrip("/").partition("/")
        old, new = old.replace("\\", "").strip("'\""), new.replace("\\", "").strip("'\"")
        if any(char in old for char in "*?["):
            return holes.VARIABLE
        return value.replace(old, new) if everywhere else value.replace(old, new, 1)
    return holes.VARIABLE


def _trim(value: str, operation: str) -> str:
    greedy = operation[:1] == operation[1:2]
    pattern = operation[2 if greedy else 1 :].replace("\\", "").strip("'\"")
    ends = range(len(value) + 1)
    if operation[0] == "#":
        hits = [end for end in ends if fnmatch.fnmatchcase(value[:end], pattern)]
        return value[(max(hits) if greedy else min(hits)) :] if hits else value
    hits = [start for start in ends if fnmatch.fnmatchcase(value[start:], pattern)]
    return value[: (min(hits) if greedy else max(hits))] if hits else value


def _finish(parts: list[tuple[Part, str | list[str]]], ifs: str) -> list[str]:
    marked = any(part is Part.BARE and _MARKS.search(text) for part, text in parts if isinstance(text, str))
    done: list[str] = []
    current, started = "", False
    for part, text in parts:
        if isinstance(text, list):
            if len(text) > 1:
                done.append(current + text[0])
                done.extend(text[1:-1])
                current, started = text[-1], True
            elif text:
                current, started = current + text[0], True
        elif part is Part.SPLIT:
            current, started = _split(text, ifs, done, current, started=started)
        else:
            current += text
            started = True
    if started:
        done.append(current)
    return list(itertools.chain.from_iterable(map(braces, done))) if marked else done


def _split(text: str, ifs: str, done: list[str], current: str, *, started: bool) -> tuple[str, bool]:
    if not any(char in text for char in ifs):
        return current + text, started or bool(text)
    pieces = re.split(f"[{re.escape(ifs)}]+", text)
    for place, piece in enumerate(pieces):
        if place and started:
            done.append(current)
            current, started = "", False
        if piece:
            current, started = current + piece, True
    return current, started


def braces(text: str) -> Iterable[str]:
    """The words that marked braces stand for; too many become a hole."""
    waiting, done = [text], []
    while waiting:
        word = waiting.pop(0)
        match = next((m for m in _INNER_BRACES.finditer(word) if _COMMA in m[1] or _RANGE.fullmatch(m[1])), None)
        if match is None:
            done.append(word.translate(_UNMARK))
        else:
            options = match[1].split(_COMMA) if _COMMA in match[1] else _range(match[1])
            waiting[:0] = [word[: match.start()] + option + word[match.end() :] for option in options]
        if len(waiting) + len(done) > _MAX_BRACES:
            return [holes.VARIABLE]
    return done


def _range(text: str) -> list[str]:
    match = _RANGE.fullmatch(text)
    if match is None:
        return [text]
    first, last = match[1], match[2]
    if first.lstrip("-").isdigit() and last.lstrip("-").isdigit():
        low, high = sorted((int(first), int(last)))
        return [str(number) for number in range(low, min(high, low + _MAX_BRACES) + 1)]
    low, high = sorted((ord(first[0]), ord(last[0])))
    return [chr(code) for code in range(low, high + 1)]
