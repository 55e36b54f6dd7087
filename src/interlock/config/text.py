"""YAML text to plain values, with the line of every value; hostile text is refused, never expanded.

Stricter than YAML: no anchors and aliases (they expand without bound), no tags, no duplicate keys (the last one would
silently win), keys are text, and a plain word is a truth value only as ``true`` or ``false``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from interlock.errors import ConfigError

MAX_BYTES = 1_000_000
"""Longest text that is read, in bytes: a configuration is written by hand."""
MAX_DEPTH = 30
"""Deepest nesting that is read: reading recurses, and no setting lies deeper."""

Path = tuple[str | int, ...]
"""The way to a value: keys and list positions."""

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?([0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18})([eE][-+]?[0-9]{1,2})?")
_WORDS: Mapping[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "true": True,
    "True": True,
    "false": False,
    "False": False,
}
_PLAIN_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """A read text: its value, and the line (from 1) of each part."""

    value: Any
    lines: Mapping[Path, int] = field(default_factory=dict)
    duplicates: tuple[tuple[Path, int], ...] = ()
    """Keys that are written twice in one mapping, with the line of the second; the caller reports them."""

    def line(self, path: Path) -> int | None:
        """The line of the value at ``path``, or of the nearest part around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


_Fastest: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The loader in C, where PyYAML was built with it: ten times as fast."""


class _Plain(_Fastest):  # type: ignore[misc]  # because which one it is is only known when it runs
    """A loader that guesses no types: all plain words stay text until :func:`_scalar` reads them."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - the base class's form


def read_yaml(text: str, *, file: str = "") -> Tree:
    """Read one YAML document.

    Raises:
        ConfigError: with file and line, when it is not YAML, too long, too deep, or uses anchors, aliases or tags.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ConfigError(f"the file is longer than {MAX_BYTES:,} bytes", file=file, suggestion="split or shorten it")
    lines: dict[Path, int] = {}
    duplicates: list[tuple[Path, int]] = []
    try:
        _refuse_dangerous(text, file)
        node = yaml.compose(text, Loader=_Plain)
        value = None if node is None else _value(node, (), lines, duplicates)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = f"not valid YAML: {error.problem or error.context}"
        raise ConfigError(message, file=file, line=mark.line + 1 if mark else None) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"not valid YAML: {str(error).splitlines()[0]}", file=file) from None
    return Tree(value=value, lines=lines, duplicates=tuple(duplicates))


def _refuse_dangerous(text: str, file: str) -> None:
    """Look at the events first: they come one by one and expand nothing."""
    depth = 0
    for event in yaml.parse(text, Loader=_Plain):
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ConfigError(
                "anchors and aliases are not supported", file=file, line=line, suggestion="repeat the value"
            )
        if (tag := getattr(event, "tag", None)) and tag not in _PLAIN_TAGS:
            raise ConfigError(
                f"the tag {tag!r} is not supported", file=file, line=line, suggestion="write a plain value"
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise ConfigError(f"nested deeper than {MAX_DEPTH} levels", file=file, line=line)


def _value(node: yaml.Node, path: Path, lines: dict[Path, int], duplicates: list[tuple[Path, int]]) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, place), lines, duplicates) for place, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return _scalar(node)
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a key must be text", problem_mark=key_node.start_mark)
        key: str = key_node.value
        where = (*path, key)
        if key in result:
            duplicates.append((where, key_node.start_mark.line + 1))
            continue
        lines[where] = key_node.start_mark.line + 1
        result[key] = _value(value_node, where, lines, duplicates)
    return result


def _scalar(node: yaml.Node) -> Any:
    text: str = node.value
    if getattr(node, "style", None):  # quoted or a block
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text
