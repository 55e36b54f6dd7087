"""Policies from files: the packs that ship with Interlock, and a team's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from interlock.decide.policy_load import PolicyFile, examine, parse_policies
from interlock.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from interlock.decide.policy import PolicySet
    from interlock.model.decision import Enforcement

PACKS = (
    "defaults",
    "databases",
    "git",
    "cloud",
    "kubernetes",
    "secrets",
    "production",
    "forbidden-operations",
    "literal",
)
"""The packs, by name. ``literal`` is the seed's six patterns on every surface, kept for comparison only."""
DEFAULT_PACKS = ("defaults", "forbidden-operations")
"""What is on when a configuration names none."""

MAX_FILE = 1_000_000
"""Largest policy file, in characters."""
_MAX_DEPTH = 20


def load_policies(
    packs: Sequence[str],
    files: Sequence[Path],
    overrides: Mapping[str, Enforcement],
    *,
    no_accept_in: Collection[str] = ("production",),
) -> PolicySet:
    """The policies of these packs and files, compiled, with the enforcement of some set otherwise.

    Raises:
        ConfigError: for an unknown pack or policy, an unreadable file, or anything wrong in one, with file and line.
    """
    from interlock.decide.policy import PolicySet  # noqa: PLC0415 - RE2 and CEL are loaded when policies are

    sources = [read_pack(name) for name in dict.fromkeys(packs)] + [read_file(path) for path in files]
    policies = [policy for source in sources for policy in source.policies]
    compiled = PolicySet.compile(policies, no_accept_in=no_accept_in)
    return compiled.with_enforcement(overrides) if overrides else compiled


def pack_text(name: str) -> str:
    """The YAML text of a pack.

    Raises:
        ConfigError: when there is no such pack.
    """
    if name not in PACKS:
        hint = did_you_mean(name, PACKS) or f"there are: {', '.join(PACKS)}"
        raise ConfigError(f"there is no policy pack {name!r}", suggestion=hint)
    return (resources.files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")


def read_pack(name: str) -> PolicyFile:
    """A pack by its name.

    Raises:
        ConfigError: when there is no such pack.
    """
    data, marks = read_yaml(pack_text(name), f"{name}.yaml")
    return parse_policies(data, file=f"{name}.yaml", marks=marks)


def read_file(path: Path) -> PolicyFile:
    """The policies of a file.

    Raises:
        ConfigError: when it cannot be read, or the first thing that is wrong in it.
    """
    found, complaints = examine_file(path)
    if complaints:
        raise complaints[0]
    return found


def examine_file(path: Path) -> tuple[PolicyFile, tuple[ConfigError, ...]]:
    """What could be read of a file, and everything that is wrong in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
        return PolicyFile(file=str(path)), (ConfigError(f"the policy file cannot be read: {why}", file=str(path)),)
    try:
        data, marks = read_yaml(text, str(path))
    except ConfigError as problem:
        return PolicyFile(file=str(path)), (problem,)
    return examine(data, file=str(path), marks=marks)


def read_yaml(text: str, file: str = "") -> tuple[Any, dict[tuple[str | int, ...], int]]:
    """YAML as data, and the line of every key. Aliases and double keys are refused: a policy says things once.

    Raises:
        ConfigError: with the line.
    """
    if len(text) > MAX_FILE:
        raise ConfigError(f"the file has {len(text)} characters, {MAX_FILE} are the limit", file=file)
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        marks: dict[tuple[str | int, ...], int] = {}
        return (_Plain(loader, file, marks).of(node, ()) if node is not None else None), marks
    except yaml.MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark else None
        raise ConfigError(f"not valid YAML: {problem.problem}", file=file, line=line) from problem
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        raise ConfigError(f"not valid YAML: {problem}", file=file) from problem
    finally:
        loader.dispose()


class _Plain:
    """Plain data out of YAML nodes, keeping lines."""

    def __init__(self, loader: yaml.SafeLoader, file: str, marks: dict[tuple[str | int, ...], int]) -> None:
        self.loader = loader
        self.file = file
        self.marks = marks
        self.seen: set[int] = set()

    def of(self, node: yaml.Node, place: tuple[str | int, ...]) -> Any:
        line = node.start_mark.line + 1
        self.marks.setdefault(place, line)
        if isinstance(node, yaml.ScalarNode):
            return self.loader.construct_object(node)  # type: ignore[no-untyped-call]
        if id(node) in self.seen:
            raise ConfigError("aliases are not allowed here", file=self.file, line=line, suggestion="write it out")
        if len(place) > _MAX_DEPTH:
            raise ConfigError(f"nested deeper than {_MAX_DEPTH}", file=self.file, line=line)
        self.seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            return [self.of(item, (*place, number)) for number, item in enumerate(node.value)]
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.of(key_node, (*place, "")) if isinstance(key_node, yaml.ScalarNode) else None
            key_line = key_node.start_mark.line + 1
            if key is None or key in found:
                why = f"the key {key!r} is there twice" if key is not None else "a key is one word"
                raise ConfigError(why, file=self.file, line=key_line)
            self.marks[*place, key] = key_line
            found[key] = self.of(value_node, (*place, key))
        return found
