"""The worlds of a command: each combination of the values that its variables may have."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tree_sitter import Node

from interlock.model.risk import RiskLevel
from interlock.reading.shell import holes
from interlock.reading.shell.state import MAX_WORLDS

if TYPE_CHECKING:
    from interlock.reading.shell.machine import Machine

_REFERENCE = re.compile(r"\$\{?[!#]?([A-Za-z_]\w*|[0-9@*])")
_POSITIONAL = frozenset("123456789@*")
_BACKWARDS = re.compile(r"(?:^|[\s\\/])\.{2,}\\[\\./\w]\S*")


def worlds(machine: Machine, *nodes: Node) -> Iterator[dict[str, str]]:
    """Each combination of the values that the variables in a command may have."""
    text = " ".join([machine.source(node) for node in nodes])
    if "\\" in text and (found := _BACKWARDS.search(text)) is not None:
        machine.report(
            "shell.path.traversal", RiskLevel.HIGH, found[0], "A path climbs out in another system's spelling."
        )
    if "$" not in text:
        yield {}
        return
    names = {match[1] for match in _REFERENCE.finditer(text)}
    choices: list[list[tuple[str, str]]] = []
    for name in sorted(names):
        values = machine.variables.get(name, ())
        if (not values and name in _POSITIONAL and not machine.running and name not in machine.arrays) or (
            not values and f"${{{name}:+" in text
        ):
            values = ("", holes.VARIABLE)
        if len(values) > 1 and name not in machine.world:
            choices.append([(name, value) for value in values])
    combinations = itertools.product(*choices)
    size = 1
    for choice in choices:
        size *= len(choice)
    if size > MAX_WORLDS:
        yield {choice[0][0]: holes.VARIABLE for choice in choices}
        return
    for combination in combinations:
        yield dict(combination)
