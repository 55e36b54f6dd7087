"""The rules: data in ``reading/rules/shell/*.toml``, checked and compiled when first used.

A rule is one line: ``on`` names the program and its leading words, ``any``/``all``/``unless`` the arguments. Words in
``on`` may be alternatives (``volume|network``) and ``*`` stands for any one word. An argument pattern is ``-f`` (also
inside a cluster such as ``-xf``), ``--force`` (also abbreviated or with a value), ``=exact``, or ``~regex``;
everything else is an exact argument. ``unless`` never abbreviates: what excuses must be literally there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from interlock.errors import ConfigError
from interlock.model.risk import RiskLevel
from interlock.reading.linear import Linear

_KEYS = frozenset({"on", "any", "all", "unless", "more", "kind", "level", "why"})
_MIN_ABBREVIATION = 5
_OFFSETS = 3
"""How many words of an unknown option's value may come before a sub-command."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What is known of a program's options."""

    valued: frozenset[str] = frozenset()
    """Options whose value is the next argument."""
    strict: bool = False
    """Whether all of them are listed, so that the first word is surely the sub-command."""
    skip: int = 0
    """For wrappers: how many words come before the command inside."""
    wrapper: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One line of the rule files."""

    words: tuple[frozenset[str] | None, ...]
    any: tuple[str, ...] = ()
    all: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    more: int = 0
    kind: str
    level: RiskLevel
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Book:
    """One program's rules, found by the first word that they ask for."""

    always: tuple[Rule, ...]
    by_word: Mapping[str, tuple[Rule, ...]]

    @classmethod
    def of(cls, rules: list[Rule]) -> Book:
        """Sort the rules by their first word."""
        by_word: dict[str, list[Rule]] = {}
        for rule in rules:
            for word in (rule.words[0] or ()) if rule.words else ():
                by_word.setdefault(word, []).append(rule)
        return cls(
            always=tuple(rule for rule in rules if not rule.words or rule.words[0] is None),
            by_word={word: tuple(some) for word, some in by_word.items()},
        )

    def applying(self, form: Shape, options: Options) -> list[Rule]:
        """The rules that apply to a command's arguments."""
        found = [rule for rule in self.always if matches(rule, form, options)]
        for word in form.words[: 1 if options.strict else _OFFSETS]:
            found += [rule for rule in self.by_word.get(word, ()) if rule not in found and matches(rule, form, options)]
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """Everything that the shell reader knows of programs."""

    programs: Mapping[str, Book]
    options: Mapping[str, Options]
    sets: Mapping[str, frozenset[str]]
    patterns: Mapping[str, Linear]
    carried: Mapping[str, tuple[str, ...]]
    """Program → options whose value is a shell command."""
    escapes: Mapping[str, Linear]
    """Program → a pattern whose group 1 is a shell command inside an argument."""
    tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A command's arguments, told apart."""

    args: tuple[str, ...]
    flags: tuple[str, ...]
    """Arguments that begin with a dash, before ``--``."""
    words: tuple[str, ...]
    """The other arguments, without the values of known options."""
    excuses: frozenset[str]
    """Flags that cannot be the value of another option."""


NO_OPTIONS = Options()


def shape(args: list[str], options: Options) -> Shape:
    """Tell the arguments of a command apart."""
    flags: list[str] = []
    words: list[str] = []
    excuses: list[str] = []
    takes_value = False
    before = ""
    for place, arg in enumerate(args):
        if takes_value:
            takes_value = False
        elif arg == "--":
            words.extend(args[place + 1 :])
            break
        elif len(arg) > 1 and arg[0] == "-":
            flags.append(arg)
            takes_value = arg in options.valued
            if not before.startswith("-") or (options.strict and before not in options.valued) or "=" in before:
                excuses.append(arg)
        else:
            words.append(arg)
        before = arg
    return Shape(args=tuple(args), flags=tuple(flags), words=tuple(words), excuses=frozenset(excuses))


def matches(rule: Rule, form: Shape, options: Options) -> bool:
    """Whether a rule applies to a command's arguments."""
    count = len(rule.words)
    if count:
        found = None
        for start in range(1 if options.strict else _OFFSETS):
            if _at(rule.words, form.words, start):
                found = start
                break
        if found is None:
            return False
        count += found
    if len(form.words) - count < rule.more:
        return False
    if rule.any and not any(_argument(pattern, form, options) for pattern in rule.any):
        return False
    if rule.all and not all(_argument(pattern, form, options) for pattern in rule.all):
        return False
    return not any(_excuse(pattern, form) for pattern in rule.unless)


def _at(wanted: tuple[frozenset[str] | None, ...], words: tuple[str, ...], start: int) -> bool:
    if start + len(wanted) > len(words):
        return False
    return all(options is None or words[start + place] in options for place, options in enumerate(wanted))


def has_flag(form: Shape, flag: str, options: Options = NO_OPTIONS) -> bool:
    """Whether an option is given: long ones also abbreviated or with a value, short ones also in a cluster."""
    if flag.startswith("--"):
        return any(_long(flag, given) for given in form.flags)
    return any(_short(flag, given, options.valued) for given in form.flags)


def _long(flag: str, given: str) -> bool:
    name = given.partition("=")[0]
    return name == flag or (len(name) >= _MIN_ABBREVIATION and flag.startswith(name))


def _short(flag: str, given: str, valued: frozenset[str]) -> bool:
    if given == flag:
        return True
    if given[1] == "-" or len(flag) != 2:  # noqa: PLR2004 - a dash and a letter
        return False
    for letter in given[1:]:
        if letter == flag[1]:
            return True
        if "-" + letter in valued or not letter.isalnum():
            return False
    return False


@cache
def _regex(pattern: str) -> Linear:
    return Linear(pattern)


def _argument(pattern: str, form: Shape, options: Options) -> bool:
    first = pattern[0]
    if first == "~":
        return _regex(pattern[1:]).in_any(form.args)
    if first == "=":
        return pattern[1:] in form.args
    if first == "-" and len(pattern) > 1:
        return has_flag(form, pattern, options)
    return pattern in form.args


def _excuse(pattern: str, form: Shape) -> bool:
    if pattern[0] == "~":
        return _regex(pattern[1:]).in_any(form.excuses)
    return pattern in form.excuses


@cache
def load() -> Rules:
    """The shipped rules.

    Raises:
        ConfigError: for an unknown key or level, naming the file and the rule.
    """
    folder = resources.files("interlock.reading").joinpath("rules").joinpath("shell")
    programs: dict[str, list[Rule]] = {}
    options: dict[str, Options] = {}
    data: dict[str, dict[str, Any]] = {"sets": {}, "patterns": {}, "carried": {}, "escapes": {}, "tables": {}}
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if not entry.name.endswith(".toml"):
            continue
        content = tomllib.loads(entry.read_text(encoding="utf-8"))
        for row in content.pop("rules", []):
            _add_rule(row, entry.name, programs)
        for name, row in content.pop("options", {}).items():
            for program in name.split("|"):
                options[program] = _options(row, wrapper=False)
        for name, row in content.pop("wrappers", {}).items():
            for program in name.split("|"):
                options[program] = _options(row, wrapper=True)
        for section, values in content.items():
            if section not in data:
                raise ConfigError(f"{entry.name}: unknown section {section!r}")
            data[section].update(values)
    return Rules(
        programs={name: Book.of(rules) for name, rules in programs.items()},
        options=options,
        sets={name: frozenset(value.split()) for name, value in data["sets"].items()},
        patterns={name: _compiled(value) for name, value in data["patterns"].items()},
        carried={one: tuple(value.split()) for name, value in data["carried"].items() for one in name.split("|")},
        escapes={one: _compiled(value) for name, value in data["escapes"].items() for one in name.split("|")},
        tables=data["tables"],
    )


def _options(row: Mapping[str, Any], *, wrapper: bool) -> Options:
    return Options(
        valued=frozenset(str(row.get("valued", "")).split()),
        strict=bool(row.get("strict", wrapper)),
        skip=int(row.get("skip", 0)),
        wrapper=wrapper,
    )


def _compiled(pattern: str) -> Linear:
    """The pattern, compiled when first used; a test compiles them all."""
    return Linear(pattern, "s")


def _add_rule(row: Mapping[str, Any], place: str, programs: dict[str, list[Rule]]) -> None:
    unknown = set(row) - _KEYS
    if unknown or not {"on", "kind", "level", "why"} <= set(row):
        raise ConfigError(f"{place}: rule {row.get('on')!r} has unknown or missing keys {sorted(unknown)}")
    if row["level"] not in set(RiskLevel):
        raise ConfigError(f"{place}: rule {row['on']!r} has the unknown level {row['level']!r}")
    names, *words = row["on"].split()
    lists = {key: tuple(str(row.get(key, "")).split()) for key in ("any", "all", "unless")}
    rule = Rule(
        words=tuple(None if word == "*" else frozenset(word.split("|")) for word in words),
        any=lists["any"],
        all=lists["all"],
        unless=lists["unless"],
        more=int(row.get("more", 0)),
        kind="shell." + row["kind"],
        level=RiskLevel(row["level"]),
        why=row["why"],
    )
    for name in names.split("|"):
        programs.setdefault(name, []).append(rule)
