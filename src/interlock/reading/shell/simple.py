"""A simple command: its words in every world, its own settings, and where its input comes from and its output goes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tree_sitter import Node

from interlock.model.risk import RiskLevel
from interlock.reading.shell import assignments, redirections, words
from interlock.reading.shell.state import Out
from interlock.reading.shell.worlds import worlds

if TYPE_CHECKING:
    from interlock.reading.shell.machine import Machine

_GLOB = re.compile(r"[*?\[]")


def command(machine: Machine, node: Node, stdin: str | None, extra: Sequence[Node] = ()) -> Out:
    """Run a command in each of its worlds; ``extra`` are words of it that the grammar hung elsewhere."""
    printed: dict[str, None] = {}
    outer = machine.world
    for world in worlds(machine, node, *extra):
        machine.world = {**outer, **world} if world or outer else outer
        try:
            printed[_once(machine, node, stdin, extra)] = None
        finally:
            machine.world = outer
    return next(iter(printed)) if len(printed) == 1 else "\n".join(printed)


def _once(machine: Machine, node: Node, stdin: str | None, extra: Sequence[Node]) -> Out:
    argv: list[str] = []
    settings: list[tuple[str, str]] = []
    redirects: list[Node] = []
    pieces: list[Node] = []
    end = -1
    children = node.children
    holders = [child for child in children if child.type in redirections.HOLDERS]
    for child in (*(children if node.type == "command" else [node]), *redirections.words_after(holders), *extra):
        kind = child.type
        if kind == "variable_assignment":
            settings.append(assignments.before_command(machine, child))
            end = child.end_byte
        elif kind in redirections.REDIRECTS:
            redirects.append(child)
        elif kind == "subshell":
            machine.report(
                "shell.unresolved.syntax", RiskLevel.CRITICAL, machine.source(node), "This is not a shell command."
            )
            machine.walk(child, None)
        else:
            pieces.append(child)
            if child.start_byte == end:
                machine.report(
                    "shell.unresolved.syntax",
                    RiskLevel.CRITICAL,
                    machine.source(node),
                    "Where a value ends is unclear.",
                )
    for group in words.adjacent(pieces):
        if not argv:
            _check_name(machine, group[0])
        argv.extend(words.fields(group[0], machine, *group[1:]))
    if redirects:
        return redirections.through(
            machine, redirects, stdin, lambda given: _start(machine, node, argv, settings, given)
        )
    return _start(machine, node, argv, settings, stdin)


def _check_name(machine: Machine, node: Node) -> None:
    text = machine.source(node)
    if _GLOB.search(text) is None and "(" not in text:
        return
    inner = node.children[0].type if node.type == "command_name" else node.type
    if _GLOB.search(text) and text not in {"[", "[["} and inner in {"word", "concatenation"}:
        bare = re.sub(r"'[^']*'|\"[^\"]*\"|\\.", "", text)
        if _GLOB.search(bare):
            machine.report("shell.unresolved.name", RiskLevel.CRITICAL, text, "Which program runs depends on files.")
    if "(" in text and inner in {"word", "concatenation"}:
        bare = re.sub(r"\$\(.*\)|'[^']*'|\"[^\"]*\"|\\.|`[^`]*`", "", text, flags=re.DOTALL)
        if "(" in bare:
            machine.report("shell.unresolved.syntax", RiskLevel.CRITICAL, text, "This is not a shell command.")


def _start(machine: Machine, node: Node, argv: list[str], settings: list[tuple[str, str]], stdin: str | None) -> Out:
    outer = machine.span
    if machine.depth == 0 and outer is None:
        before = node.start_byte
        start = len(machine.raw[:before].decode("utf-8", "replace")) if before else 0
        machine.span = start, start + len(machine.source(node))
    kept = {name: machine.variables.get(name) for name, _ in settings}
    try:
        for name, value in settings:
            assignments.setting(machine, name, value)
            machine.variables[name] = (value,)
            machine.exported.add(name)
        return machine.execute(argv, stdin) if argv else ""
    finally:
        for name, values in kept.items():
            if values is None:
                machine.variables.pop(name, None)
            else:
                machine.variables[name] = values
        machine.span = outer


def redirected(machine: Machine, node: Node, stdin: str | None) -> Out:
    """Run a statement whose input or output is redirected."""
    body = node.child_by_field_name("body")
    return _with(machine, body, [child for child in node.named_children if child.type in redirections.REDIRECTS], stdin)


def _with(machine: Machine, body: Node | None, redirects: list[Node], stdin: str | None) -> Out:
    """The grammar hangs a redirection on a whole list or pipeline; to bash it belongs to the last command."""
    if body is not None and body.type in {"list", "pipeline"}:
        first, last = body.named_children[:-1], body.named_children[-1]
        if body.type == "list":
            printed = "".join([machine.walk(child, stdin) for child in first])
            with machine.maybe():
                return printed + _with(machine, last, redirects, stdin)
        flowing = stdin
        for child in first:
            flowing = machine.walk(child, flowing)
        with machine.apart():
            return _with(machine, last, redirects, flowing)
    if body is not None and body.type == "negated_command":
        return _with(machine, body.named_children[-1], redirects, stdin)
    extra = [
        child
        for redirect in redirects
        for child in redirect.children_by_field_name("argument")
        if not redirections.swallowed(redirect, child)
    ]

    def start(given: str | None) -> Out:
        pieces = [*redirections.words_after(redirects), *extra]
        if body is not None and body.type != "command":
            return machine.walk(body, given)
        head = body if body is not None else _first_word(pieces)
        return command(machine, head, given, pieces) if head is not None else ""

    return redirections.through(machine, redirects, stdin, start)


def _first_word(pieces: list[Node]) -> Node | None:
    """``>a >b rm x``: the command's name is among the words that the parser counts to a redirection."""
    return pieces.pop(0) if pieces else None
