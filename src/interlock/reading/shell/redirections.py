"""Where input comes from and output goes: files, here-documents, here-strings."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from tree_sitter import Node

from interlock.model.risk import RiskLevel
from interlock.reading.shell import holes, words
from interlock.reading.shell.places import judge_read, judge_write
from interlock.reading.shell.state import Out

if TYPE_CHECKING:
    from interlock.reading.shell.machine import Machine

REDIRECTS = frozenset({"file_redirect", "heredoc_redirect", "herestring_redirect"})
HOLDERS = REDIRECTS | {"command_substitution", "process_substitution"}
"""Nodes in which the grammar may have put words that come after a redirection."""


def words_after(redirects: list[Node]) -> list[Node]:
    """Words after a redirection's target: the grammar counts them to it, to bash they are arguments."""
    found: list[Node] = []
    for redirect in redirects:
        for one in (redirect, *redirect.named_children):
            if one.type == "file_redirect":
                destinations = one.children_by_field_name("destination")
                found += destinations[len(next(words.adjacent(destinations), [])) :]
    return found


def through(machine: Machine, redirects: list[Node], stdin: str | None, start: Callable[[str | None], Out]) -> Out:
    """Start something with its input redirected, and put its output where it goes."""
    outputs: list[tuple[str, str]] = []
    rest: list[Node] = []
    for redirect in redirects:
        if redirect.type == "file_redirect":
            operator, target = _target(machine, redirect)
            if operator.startswith("<") and not operator.endswith("&"):
                stdin = _read_file(machine, target)
            elif operator not in {"<&", ""}:
                outputs.append((operator, target))
        else:
            stdin = given(machine, redirect)
            rest += [c for c in redirect.named_children if c.type in {"pipeline", "list"} or c in _right(redirect)]
            outputs += [_target(machine, one) for one in redirect.named_children if one.type == "file_redirect"]
    printed = start(stdin)
    for operator, target in outputs:
        _write_file(machine, target, printed, append=">>" in operator)
        if not operator.startswith("2"):
            printed = "" if target not in {"/dev/stdout", "/dev/stderr", "/dev/tty"} else printed
    for node in rest:
        printed = _after_heredoc(machine, node, printed)
    return printed


def _after_heredoc(machine: Machine, node: Node, printed: str) -> Out:
    before = machine.raw[: node.start_byte].rstrip()
    if node.type == "pipeline" or before.endswith(b"|"):
        return machine.walk(node, printed)
    return machine.walk(node, None)


def _target(machine: Machine, node: Node) -> tuple[str, str]:
    operator = next((child.type for child in node.children if not child.is_named), "")
    descriptor = node.child_by_field_name("descriptor")
    destinations = node.children_by_field_name("destination")
    first = next(words.adjacent(destinations), [])
    found = words.fields(first[0], machine, *first[1:]) if first else []
    target = found[0] if found else ""
    if operator in {">&", "<&"} and (target.isdigit() or target in {"", "-"}):
        return "<&", target
    prefix = "2" if descriptor is not None and machine.source(descriptor) not in {"0", "1"} else ""
    return prefix + operator, target


def given(machine: Machine, redirect: Node) -> str:
    """What a redirection gives to read."""
    if redirect.type == "file_redirect":
        return _read_file(machine, _target(machine, redirect)[1])
    if redirect.type == "herestring_redirect":
        return "".join(words.joined(child, machine) for child in redirect.named_children) + "\n"
    start = next((child for child in redirect.children if child.type == "heredoc_start"), None)
    body = next((child for child in redirect.children if child.type == "heredoc_body"), None)
    if start is None or body is None:
        return ""
    delimiter = machine.source(start)
    if any(swallowed(redirect, child) for child in redirect.named_children):
        return _swallowed_body(machine, redirect, start, delimiter)
    if any(char in delimiter for char in "'\"\\"):
        text = machine.source(body)
    else:
        text = words.quoted_text(body, machine, body.start_byte, body.end_byte, heredoc=True)
    _check_heredoc(machine, redirect, start, body, re.sub(r"['\"\\]", "", delimiter))
    return re.sub(r"(?m)^\t+", "", text) if machine.source(redirect).startswith("<<-") else text


def _swallowed_body(machine: Machine, redirect: Node, start: Node, delimiter: str) -> str:
    """The grammar takes a first line that begins with a backslash for arguments; to bash it is the body."""
    end = next((child.start_byte for child in redirect.children if child.type == "heredoc_end"), redirect.end_byte)
    text = machine.slice(start.end_byte, end).partition("\n")[2]
    if any(char in delimiter for char in "'\"\\"):
        return text
    machine.visit(redirect)
    text = re.sub(r"\\\n", "", text)
    return re.sub(r"(?<!\\)\$(?:\{[^}]*\}|\([^)]*\)|\w+)|(?<!\\)`[^`]*`", holes.VARIABLE, text).replace("\\$", "$")


def _check_heredoc(machine: Machine, redirect: Node, start: Node, body: Node, delimiter: str) -> None:
    """Whether the here-document ends where bash would end it: a difference would hide commands."""
    lines = machine.slice(body.start_byte, body.end_byte).split("\n")
    dashed = machine.source(redirect).startswith("<<-")
    if any((line.lstrip("\t") if dashed else line) == delimiter for line in lines[:-1]):
        machine.report(
            "shell.unresolved.syntax", RiskLevel.CRITICAL, machine.source(start), "The here-document's end is unclear."
        )


def _read_file(machine: Machine, path: str) -> str:
    """The content of a file, as far as known; reading it is judged."""
    if path in machine.files:
        return machine.files[path]
    return judge_read(machine, path, f"< {path}")


def _write_file(machine: Machine, path: str, content: str, *, append: bool) -> None:
    """Standard output goes into a file; writing it is judged and what was written remembered."""
    judge_write(machine, path, f"> {path}", content=content)
    machine.remember(path, content, append=append)


def swallowed(redirect: Node, child: Node) -> bool:
    """Whether a word of a here-document's line in truth stands on a later line."""
    start = redirect.start_point.row
    if (
        child.type in {"heredoc_start", "heredoc_body", "heredoc_end", "pipeline"}
        or redirect.type != "heredoc_redirect"
    ):
        return False
    return child.start_point.row > start or (child.text or b"")[:1] == b"\n"


def _right(redirect: Node) -> list[Node]:
    return redirect.children_by_field_name("right")
