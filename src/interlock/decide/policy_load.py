"""Policies from data that was read from YAML: every word is checked, every complaint names its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from interlock.decide.conditions import compile_condition
from interlock.decide.matching import FACTS, NAMES, OPEN_NAMES
from interlock.decide.patterns import compile_pattern
from interlock.errors import ConfigError, did_you_mean
from interlock.model.action import Surface
from interlock.model.decision import Enforcement, Policy, Rule, RuleAction, Verdict

W = TypeVar("W", bound=StrEnum)

Marks = Mapping[tuple[str | int, ...], int]
"""The line of each key, by its way through the document: ``("policies", 0, "rules", 2, "pattern")``."""

MAX_RULES = 5000
"""Most rules in one file."""
_POLICY_KEYS = ("name", "enforcement", "rules", "description", "tests")
_RULE_KEYS = ("id", "match", "pattern", "when", "action", "reason", "quorum", "accept")
_CASE_KEYS = ("surface", "tool", "text", "args", "expect", "agent", "environment", "why")
_WORDS = {"surface": frozenset(Surface)}
_MOST_QUORUM = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyCase:
    """One case beside a policy: this action must get this verdict."""

    surface: str
    expect: Verdict
    tool: str = ""
    text: str | None = None
    args: Mapping[str, Any] | None = None
    agent: str = ""
    environment: str = "development"
    why: str = ""
    line: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyFile:
    """What one file says."""

    policies: tuple[Policy, ...] = ()
    cases: tuple[PolicyCase, ...] = ()
    file: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)
    """The line of each rule, by its id."""


def parse_policies(data: Any, *, file: str = "", marks: Marks | None = None) -> PolicyFile:
    """The policies and cases of one document.

    Raises:
        ConfigError: the first complaint of :func:`examine`, and how many there are.
    """
    found, complaints = examine(data, file=file, marks=marks)
    if complaints:
        raise complaints[0]
    return found


def examine(
    data: Any, *, file: str = "", marks: Marks | None = None, shipped: bool = False
) -> tuple[PolicyFile, tuple[ConfigError, ...]]:
    """What could be read of a document, and everything that is wrong with it.

    The patterns and conditions of what is ``shipped`` with Interlock are tried by its tests, not at each start.
    """
    return _Reader(file, marks or {}, shipped=shipped).read(data)


class _Reader:
    def __init__(self, file: str, marks: Marks, *, shipped: bool) -> None:
        self.file = file
        self.shipped = shipped
        self.marks = marks
        self.complaints: list[ConfigError] = []
        self.lines: dict[str, int] = {}
        self.cases: list[PolicyCase] = []
        self.rules = 0

    def read(self, data: Any) -> tuple[PolicyFile, tuple[ConfigError, ...]]:
        policies: list[Policy] = []
        for place, plain in self._documents(data):
            policy = self._policy(plain, place)
            if policy is None:
                continue
            if any(other.name == policy.name for other in policies):
                self._complain(f"there are two policies {policy.name!r}", (*place, "name"))
                continue
            policies.append(policy)
        found = PolicyFile(policies=tuple(policies), cases=tuple(self.cases), file=self.file, lines=self.lines)
        return found, tuple(self.complaints)

    def _documents(self, data: Any) -> list[tuple[tuple[str | int, ...], Any]]:
        if isinstance(data, Mapping) and "policies" in data:
            self._known(data, ("policies", "tests", "description"), (), "the file")
            self._cases(data.get("tests"), ("tests",))
            return [
                (("policies", number), plain)
                for number, plain in enumerate(self._list(data["policies"], ("policies",)))
            ]
        if isinstance(data, Mapping):
            return [((), data)]
        if isinstance(data, Sequence) and not isinstance(data, str):
            return [((number,), plain) for number, plain in enumerate(data)]
        self._complain("a policy file holds `name` and `rules`, or a list of policies", ())
        return []

    def _policy(self, plain: Any, place: tuple[str | int, ...]) -> Policy | None:
        if not isinstance(plain, Mapping):
            self._complain("a policy is a mapping with `name` and `rules`", place)
            return None
        self._known(plain, _POLICY_KEYS, place, "a policy")
        name = plain.get("name")
        if not (isinstance(name, str) and name and name.isascii() and not set(name) & set("/ \n\t")):
            self._complain("a policy needs a `name`: one ASCII word such as `database-protection`", (*place, "name"))
            return None
        enforcement = self._word(plain.get("enforcement", "strict"), Enforcement, (*place, "enforcement"))
        rules: list[Rule] = []
        for number, rule in enumerate(self._list(plain.get("rules", []), (*place, "rules")), start=1):
            read = self._rule(name, number, rule, (*place, "rules", number - 1))
            if read is not None and any(other.id == read.id for other in rules):
                self._complain(f"there are two rules {read.id!r}", (*place, "rules", number - 1, "id"))
            elif read is not None:
                rules.append(read)
        self._cases(plain.get("tests"), (*place, "tests"))
        return Policy(name=name, enforcement=enforcement or Enforcement.STRICT, rules=tuple(rules))

    def _rule(self, policy: str, number: int, plain: Any, place: tuple[str | int, ...]) -> Rule | None:
        self.rules += 1
        if self.rules > MAX_RULES:
            if self.rules == MAX_RULES + 1:
                self._complain(f"more than {MAX_RULES} rules in one file", place)
            return None
        if not isinstance(plain, Mapping):
            self._complain("a rule is a mapping with `action` and what it matches", place)
            return None
        before = len(self.complaints)
        self._known(plain, _RULE_KEYS, place, "a rule")
        if "action" not in plain:
            self._complain("a rule needs an `action`: allow, warn, confirm or block", place)
        action = self._word(plain.get("action", "block"), RuleAction, (*place, "action"))
        name = self._id(plain, place) or str(number)
        match = self._match(plain.get("match", {}), (*place, "match"))
        pattern, when = self._pattern(plain, place), self._when(plain, place)
        reason = self._text(plain, "reason", place)
        accept = tuple(self._words(plain.get("accept", []), (*place, "accept")))
        if action is not None:
            self._accepting(accept, action, reason, match, place)
        if not (match or pattern or when):
            self._complain("the rule matches everything", place, 'say so with match: {surface: "*"} if that is meant')
        rule_id = f"{policy}/{name}"
        if place in self.marks:
            self.lines[rule_id] = self.marks[place]
        if len(self.complaints) > before or action is None:
            return None
        quorum = self._quorum(plain.get("quorum", 1), (*place, "quorum"))
        return Rule(
            id=rule_id,
            action=action,
            reason=reason,
            match=match,
            pattern=pattern,
            when=when,
            quorum=quorum,
            accept=accept,
        )

    def _id(self, plain: Mapping[str, Any], place: tuple[str | int, ...]) -> str:
        name = self._text(plain, "id", place)
        if not name.isascii() or "/" in name:
            self._complain("a rule's `id` is ASCII and holds no slash", (*place, "id"))
        return name

    def _pattern(self, plain: Mapping[str, Any], place: tuple[str | int, ...]) -> str:
        pattern = self._text(plain, "pattern", place)
        if pattern and not self.shipped:
            self._try(lambda: compile_pattern(pattern), (*place, "pattern"))
        return pattern

    def _when(self, plain: Mapping[str, Any], place: tuple[str | int, ...]) -> str:
        when = self._text(plain, "when", place)
        if when and not self.shipped:
            self._try(lambda: compile_condition(when, NAMES, dynamic=OPEN_NAMES), (*place, "when"))
        return when

    def _accepting(
        self,
        accept: tuple[str, ...],
        action: RuleAction,
        reason: str,
        match: Mapping[str, Any],
        place: tuple[str | int, ...],
    ) -> None:
        """An accept loosens, so it must be narrow, explained, and never depend on what else was found."""
        if not accept:
            return
        here = (*place, "accept")
        if action is not RuleAction.ALLOW:
            self._complain("`accept` belongs to rules with `action: allow`", here)
        if not reason:
            self._complain("a rule that accepts a danger needs a `reason`", here)
        if "finding" in match or not match:
            self._complain("a rule that accepts a danger needs a `match` that is not `finding`", here)
        for kind in accept:
            if "*" in kind or kind.startswith(("gate.", "policy.", "flow.", "chain.")):
                self._complain(f"{kind!r} cannot be accepted", here, "name one kind of finding of a reader, without *")

    def _match(self, plain: Any, place: tuple[str | int, ...]) -> Mapping[str, tuple[str, ...]]:
        if not isinstance(plain, Mapping):
            self._complain(f"`match` is a mapping of {', '.join(FACTS)}", place)
            return {}
        self._known(plain, FACTS, place, "match")
        match: dict[str, tuple[str, ...]] = {}
        for fact in FACTS:
            if fact not in plain:
                continue
            words = self._words(plain[fact], (*place, fact))
            if not words:
                self._complain(f"`{fact}` is empty and would never match", (*place, fact))
            for word in words:
                known = _WORDS.get(fact)
                if known and "*" not in word and word not in known:
                    self._complain(
                        f"unknown {fact} {word!r}", (*place, fact), did_you_mean(word, known) or _one_of(known)
                    )
            match[fact] = tuple(sorted(set(words)))
        return match

    def _cases(self, plain: Any, place: tuple[str | int, ...]) -> None:
        for number, case in enumerate(self._list(plain or [], place)):
            here = (*place, number)
            if not isinstance(case, Mapping):
                self._complain("a case is a mapping with `surface`, `text` or `args`, and `expect`", here)
                continue
            self._known(case, _CASE_KEYS, here, "a case")
            if ("text" in case) == ("args" in case):
                self._complain("a case has either `text` or `args`", here)
            expect = self._word(case.get("expect", ""), Verdict, (*here, "expect"))
            surface = self._word(case.get("surface", "tool_call"), Surface, (*here, "surface"))
            if expect is None or surface is None:
                continue
            args, text = case.get("args"), case.get("text")
            words = {key: str(case[key]) for key in ("tool", "agent", "environment", "why") if key in case}
            self.cases.append(
                PolicyCase(
                    surface=surface,
                    expect=expect,
                    text=None if text is None else str(text),
                    args=args if isinstance(args, Mapping) else None,
                    line=self.marks.get(here),
                    **words,
                )
            )

    def _quorum(self, plain: Any, place: tuple[str | int, ...]) -> int:
        if isinstance(plain, bool) or not isinstance(plain, int) or not 1 <= plain <= _MOST_QUORUM:
            self._complain(f"`quorum` is a number of people from 1 to {_MOST_QUORUM}, not {plain!r}", place)
            return 1
        return plain

    def _word(self, plain: Any, kind: type[W], place: tuple[str | int, ...]) -> W | None:
        words = [word.value for word in kind]
        if isinstance(plain, str) and plain in words:
            return kind(plain)
        hint = did_you_mean(str(plain), words) or _one_of(words)
        self._complain(f"unknown {place[-1] if place else 'word'} {plain!r}", place, hint)
        return None

    def _text(self, plain: Mapping[str, Any], key: str, place: tuple[str | int, ...]) -> str:
        value = plain.get(key, "")
        if key == "id" and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            self._complain(f"`{key}` is text, not {value!r}", (*place, key), "put it in quotes")
            return ""
        return value

    def _words(self, plain: Any, place: tuple[str | int, ...]) -> list[str]:
        words = plain if isinstance(plain, Sequence) and not isinstance(plain, str) else [plain]
        for word in words:
            if not isinstance(word, str) or not word:
                self._complain(f"one word or a list of words is expected, not {word!r}", place, "put it in quotes")
        return [word for word in words if isinstance(word, str) and word]

    def _list(self, plain: Any, place: tuple[str | int, ...]) -> Sequence[Any]:
        if isinstance(plain, Sequence) and not isinstance(plain, str):
            return plain
        self._complain(f"`{place[-1]}` is a list", place)
        return []

    def _known(self, plain: Mapping[Any, Any], known: Sequence[str], place: tuple[str | int, ...], what: str) -> None:
        for key in plain:
            if key not in known:
                hint = did_you_mean(str(key), known) or f"known are: {', '.join(known)}"
                self._complain(f"{what} has no key {key!r}", (*place, key), hint)

    def _try(self, check: Callable[[], Any], place: tuple[str | int, ...]) -> None:
        try:
            check()
        except ConfigError as problem:
            self._complain(str(problem), place)

    def _complain(self, message: str, place: tuple[str | int, ...], suggestion: str = "") -> None:
        line = next((self.marks[place[:n]] for n in range(len(place), -1, -1) if place[:n] in self.marks), None)
        self.complaints.append(ConfigError(message, file=self.file, line=line, suggestion=suggestion))


def _one_of(words: Any) -> str:
    return "one of: " + ", ".join(sorted(str(word) for word in words))
