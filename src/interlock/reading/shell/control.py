"""What comes in which order: lists, pipelines, subshells, branches, loops, functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tree_sitter import Node

from interlock.model.risk import RiskLevel
from interlock.reading.shell import holes, words
from interlock.reading.shell.state import MAX_BYTES, MAX_WORLDS, Function, Out

if TYPE_CHECKING:
    from interlock.reading.shell.machine import Machine

_BEFORE_COMMENT = frozenset({b"", b" ", b"\t", b"\n", b";", b"&", b"|", b"(", b")", b"`"})


def each(machine: Machine, node: Node, stdin: str | None) -> Out:
    """Run what stands in a node, one after the other."""
    return "".join([machine.walk(child, stdin) for child in node.named_children])[:MAX_BYTES]


def program(machine: Machine, node: Node, stdin: str | None) -> Out:
    """Run a whole text; functions that nothing in it calls are run once, since somebody may."""
    printed = each(machine, node, stdin)
    for name, function in list(machine.functions.items()):
        if not function.called:
            call_function(machine, name, [name, holes.VARIABLE], None)
    return printed


def comment(machine: Machine, node: Node, _: str | None) -> Out:
    """Pass over what is not run; a difference from bash's comments would hide commands."""
    before = machine.raw[: node.start_byte]
    escaped = len(before[:-1]) - len(before[:-1].rstrip(b"\\"))
    if node.type == "comment" and (before[-1:] not in _BEFORE_COMMENT or (escaped % 2 and before[-1:] != b"\n")):
        machine.report(
            "shell.unresolved.syntax",
            RiskLevel.CRITICAL,
            machine.source(node),
            "What looks like a comment is not one.",
        )
    return ""


def sequence(machine: Machine, node: Node, stdin: str | None) -> Out:
    """Run ``a && b || c``: all but the first may or may not happen."""
    steps: list[Node] = []
    while node.type == "list":  # a && b && c is nested to the left; its length is no depth
        first, *rest = node.named_children
        steps[:0] = rest
        node = first
    printed = machine.walk(node, stdin)
    with machine.maybe():
        return printed + "".join([machine.walk(child, stdin) for child in steps])


def pipeline(machine: Machine, node: Node, stdin: str | None) -> Out:
    """Run ``a | b``: each gets what the one before would print."""
    flowing = stdin
    for place, child in enumerate(node.named_children):
        if child.type == "comment":
            continue
        if place:
            with machine.apart():
                flowing = machine.walk(child, flowing)
        else:
            flowing = machine.walk(child, flowing)
    return flowing or ""


def subshell(machine: Machine, node: Node, stdin: str | None) -> Out:
    """Run ``( … )``."""
    with machine.apart():
        return each(machine, node, stdin)


def conditional(machine: Machine, node: Node, stdin: str | None) -> Out:
    """Run every branch of an ``if`` or ``case``."""
    with machine.maybe():
        printed = ""
        for child in node.named_children:
            if child.type in {"word", "string", "simple_expansion", "concatenation", "raw_string"}:
                words.fields(child, machine)
            else:
                printed += machine.walk(child, stdin)
        return printed


def loop(machine: Machine, node: Node, stdin: str | None) -> Out:
    """Run a loop once, and again when that changed a variable."""
    with machine.maybe():
        before = dict(machine.variables)
        printed = each(machine, node, stdin)
        if machine.variables != before:
            printed += each(machine, node, stdin)
        return printed


def for_each(machine: Machine, node: Node, stdin: str | None) -> Out:
    """Run a loop's body with every value that its variable gets."""
    variable = node.child_by_field_name("variable")
    values = [
        value
        for group in words.adjacent(node.children_by_field_name("value"))
        for value in words.fields(group[0], machine, *group[1:])
    ] or machine.arrays.get("@", [holes.VARIABLE])
    name = machine.source(variable) if variable is not None else "_"
    with machine.maybe():
        for _ in range(2):
            before = dict(machine.variables)
            machine.variables[name] = tuple(dict.fromkeys(values)) if len(values) <= MAX_WORLDS else (holes.VARIABLE,)
            body = node.child_by_field_name("body")
            printed = machine.walk(body, stdin) if body is not None else ""
            if {**machine.variables, name: ()} == {**before, name: ()}:
                break
    return printed


def define(machine: Machine, node: Node, _: str | None) -> Out:
    """Remember a function."""
    name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
    if name is not None and body is not None:
        machine.functions[machine.source(name)] = Function(body, machine.raw)
    return ""


def call_function(machine: Machine, name: str, argv: list[str], stdin: str | None) -> Out:
    """Run a function's body with these arguments."""
    function = machine.functions[name]
    function.called = True
    if any(one is function for one in machine.running):
        text = function.source[function.body.start_byte : function.body.end_byte].decode("utf-8", "replace")
        if re.search(rf"{re.escape(name)}\s*(?:\|\s*{re.escape(name)}|&(?!&))", text):
            machine.report("shell.system.fork_bomb", RiskLevel.CRITICAL, text, "A function that starts itself twice.")
        return ""
    outer, machine.raw = machine.raw, function.source
    kept, arguments = dict(machine.variables), machine.arrays.get("@")
    machine.running.append(function)
    machine.variables.update({str(place): (value,) for place, value in enumerate(argv)})
    machine.arrays["@"] = machine.arrays["*"] = argv[1:]
    try:
        return machine.walk(function.body, stdin)
    finally:
        machine.running.pop()
        machine.raw = outer
        for place in range(len(argv)):
            machine.variables.pop(str(place), None)
        machine.variables.update({key: value for key, value in kept.items() if key.isdigit()})
        machine.arrays.pop("@", None)
        machine.arrays.pop("*", None)
        if arguments is not None:
            machine.arrays["@"] = machine.arrays["*"] = arguments
