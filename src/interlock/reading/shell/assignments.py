"""Assignments, declarations, and settings that programs or the shell itself act on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tree_sitter import Node

from interlock.model.risk import RiskLevel
from interlock.reading.linear import Linear
from interlock.reading.shell import words
from interlock.reading.shell.state import Out
from interlock.reading.shell.worlds import worlds

if TYPE_CHECKING:
    from interlock.reading.shell.machine import Machine

_ARITHMETIC = Linear(r"\w\[[^\]]*(?:\$\(|`)")


def before_command(machine: Machine, node: Node) -> tuple[str, str]:
    """The name and value of an assignment in front of a command, which holds for that command only."""
    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    text = words.joined(value, machine) if value is not None and value.type != "array" else ""
    return (machine.source(name) if name is not None else "_"), text


def assign(machine: Machine, node: Node, _: str | None) -> Out:
    """Run an assignment in each of its worlds."""
    name_node, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    name = machine.source(name_node) if name_node is not None else "_"
    outer = machine.world
    for world in worlds(machine, node):
        machine.world = {**outer, **world}
        try:
            _once(machine, node, name, value)
        finally:
            machine.world = outer
    return ""


def _once(machine: Machine, node: Node, name: str, value: Node | None) -> None:
    if value is not None and value.type == "array":
        groups = words.adjacent(value.named_children)
        machine.arrays[name] = [text for group in groups for text in words.fields(group[0], machine, *group[1:])]
        return
    text = words.joined(value, machine) if value is not None else ""
    if "[" in name:
        machine.arrays.setdefault(name.partition("[")[0], []).append(text)
        return
    operator = machine.source(node)[len(name) : len(name) + 2]
    if operator == "+=":
        text = machine.lookup(name) + text if name in machine.variables else text
    setting(machine, name, text)
    machine.assign(name, text)


def setting(machine: Machine, name: str, value: str) -> None:
    """Judge a variable that programs, or the shell itself, act on."""
    if "[" in value and _ARITHMETIC.search(value):
        machine.report(
            "shell.unresolved.arithmetic", RiskLevel.HIGH, value, "An index that is a command: arithmetic runs it."
        )
    rule = machine.rules.tables["environment"].get(name)
    if rule is None:
        return
    if rule == "command":
        if value and value not in {"cat", "less", "more", "true", ":"}:
            with machine.trial() as aside:
                machine.run_inside(value)
            for finding in aside:
                if finding.severity >= RiskLevel.HIGH:
                    machine.seen.findings[finding] = None
    elif rule == "path":
        first = value.split(":", maxsplit=1)[0]
        if first in {"", "."} or first.startswith(("/tmp", "/var/tmp", "./", "/dev/shm")):  # noqa: S108 - a reading, not a use
            machine.report(
                "shell.persistence.path", RiskLevel.HIGH, f"{name}={value}", "Programs would come from there."
            )
    else:
        machine.report("shell.persistence.preload", RiskLevel.HIGH, f"{name}={value}", rule)


def declare(machine: Machine, node: Node, stdin: str | None) -> Out:
    """Run ``export``, ``declare`` and the like."""
    text = machine.source(node)
    exports = text.startswith("export") or " -x" in text
    for child in node.named_children:
        if child.type == "variable_assignment":
            assign(machine, child, stdin)
            name = child.child_by_field_name("name")
            if exports and name is not None:
                machine.exported.add(machine.source(name))
        elif child.type == "variable_name":
            machine.exported.update({machine.source(child)} if exports else ())
        elif child.type in {"concatenation", "string", "command_substitution", "simple_expansion"}:
            words.fields(child, machine)
    machine.seen.programs[machine.source(node.children[0])] = None
    return ""


def unset(machine: Machine, node: Node, _: str | None) -> Out:
    """Run ``unset``."""
    for child in node.named_children:
        machine.assign(machine.source(child), "")
    return ""
