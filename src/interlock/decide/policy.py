"""Policies, compiled once: which rules match an action.

A rule is posted under the most telling word that it demands (a finding, a statement, a program, a tool, …). A rule without
one is broad: it is posted under its surface, and under a fact that it demands by a glob. An action looks only under its
own words and the facts that it has, so that rules about other things cost nothing, however many there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from interlock.decide.conditions import Condition
from interlock.decide.matching import FACTS, NAMES, Facts, Globs, is_glob
from interlock.decide.patterns import PatternGroup, compile_pattern
from interlock.errors import ConfigError, did_you_mean
from interlock.model.canon import digest
from interlock.model.decision import Enforcement, Policy, Rule, RuleAction

_TELLING = ("finding", "statement", "program", "tool", "agent", "environment")
"""Facts whose plain words a rule is posted under, most selective first."""
_SELDOM = ("finding", "statement", "path", "program")
"""Facts that most actions do not have at all: a rule that demands one by a glob is posted under having it."""
_CHEAPEST = ("finding", "statement", "program", "tool", "agent", "environment", "surface", "path")
"""The order of tests: what most actions do not have at all is asked first, globs over paths last."""
_EVERY = frozenset(NAMES)


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """A rule that matches, and in which way its policy is enforced."""

    rule: Rule
    advisory: bool = False
    why: str = ""
    """Set when the rule counts as matching because its condition could not be evaluated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Considered:
    """One rule, whether it matches an action, and the first thing that does not hold."""

    rule: Rule
    enforcement: Enforcement
    matched: bool
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Complaint:
    """Something in a policy that works but is hardly meant."""

    rule_id: str
    message: str


@dataclass(frozen=True, slots=True)
class _Compiled:
    rule: Rule
    advisory: bool
    condition: Condition | None
    tests: tuple[tuple[str, frozenset[str], Globs | None], ...]
    """For each fact: the plain words (any of them holds), and the globs."""


class _Bucket:
    """Rules posted under one word: those without a pattern, and those with one, tried together."""

    __slots__ = ("patterned", "patterns", "plain")

    def __init__(self, rules: Sequence[_Compiled]) -> None:
        self.plain = tuple(compiled for compiled in rules if not compiled.rule.pattern)
        self.patterned = tuple(compiled for compiled in rules if compiled.rule.pattern)
        self.patterns = PatternGroup([compiled.rule.pattern for compiled in self.patterned])

    def candidates(self, facts: Facts) -> Iterator[_Compiled]:
        yield from self.plain
        if self.patterned:
            for place in self.patterns.matching(facts.text):
                yield self.patterned[place]


class PolicySet:
    """Compiled policies. Make one with :meth:`compile`; it is immutable and may be shared between threads."""

    __slots__ = (
        "_accepting",
        "_broad",
        "_broad_facts",
        "_names",
        "_telling",
        "_telling_facts",
        "digest",
        "no_accept_in",
        "policies",
    )

    def __init__(self, policies: tuple[Policy, ...], no_accept_in: frozenset[str]) -> None:
        self.policies = policies
        self.no_accept_in = no_accept_in
        self.digest = digest(
            {"policies": [_plain(policy) for policy in policies], "no_accept_in": sorted(no_accept_in)}
        )
        telling: dict[tuple[str, str], list[_Compiled]] = defaultdict(list)
        broad: dict[tuple[str, str], list[_Compiled]] = defaultdict(list)
        accepting: list[_Compiled] = []
        names: set[str] = set()
        for policy in policies:
            if policy.enforcement is Enforcement.DISABLED:
                continue
            for rule in policy.rules:
                compiled = _compile(rule, advisory=policy.enforcement is Enforcement.ADVISORY)
                names.update(compiled.condition.names if compiled.condition else ())
                if rule.accept:
                    accepting.append(compiled)
                    continue
                words = _telling_words(compiled)
                for word in words:
                    telling[word].append(compiled)
                for having in () if words else _broad_posts(compiled):
                    broad[having].append(compiled)
        self._accepting = tuple(accepting)
        self._names = frozenset(names)
        self._telling = {post: _Bucket(rules) for post, rules in telling.items()}
        self._broad = {post: _Bucket(rules) for post, rules in broad.items()}
        self._telling_facts = tuple(dict.fromkeys(fact for fact, _ in telling))
        self._broad_facts = tuple(dict.fromkeys(fact for fact, _ in broad))

    @classmethod
    def compile(cls, policies: Sequence[Policy], *, no_accept_in: Collection[str] = ("production",)) -> PolicySet:
        """Compile policies.

        ``accept`` lists of rules do not count in the environments ``no_accept_in``. Policies come from files that people
        keep; nothing that an agent says reaches this method. Conditions were checked where they were read
        (:mod:`interlock.decide.policy_load`); one that is not valid after all blocks what it is asked about.

        Raises:
            ConfigError: for two policies of one name, or a pattern that is not valid.
        """
        names: set[str] = set()
        for policy in policies:
            if policy.name in names:
                raise ConfigError(f"there are two policies {policy.name!r}", suggestion="rename one of them")
            names.add(policy.name)
        return cls(tuple(policies), frozenset(no_accept_in))

    def matches(self, facts: Facts) -> tuple[Match, ...]:
        """The rules that match, without those that accept a danger."""
        found: dict[str, Match] = {}
        for bucket in self._buckets(facts):
            for compiled in bucket.candidates(facts):
                if compiled.rule.id in found or not _holds(compiled, facts):
                    continue
                holds, why = _condition_holds(compiled, facts, self._names)
                if holds:
                    found[compiled.rule.id] = Match(rule=compiled.rule, advisory=compiled.advisory, why=why)
        return tuple(found.values())

    def accepted(self, facts: Facts) -> tuple[Match, ...]:
        """The rules that accept a danger of this action.

        They are read strictly: *every* path, program, statement and environment of the action must be covered, a pattern
        must fit the whole text, and a condition that cannot be evaluated does not hold.
        """
        if not self._accepting or self.no_accept_in.intersection(facts.words["environment"]):
            return ()
        return tuple(
            Match(rule=compiled.rule, advisory=compiled.advisory)
            for compiled in self._accepting
            if not compiled.advisory and _covers(compiled, facts, self._names)
        )

    def explain(self, facts: Facts) -> tuple[Considered, ...]:
        """Every rule of every policy, and why it does or does not match."""
        return tuple(_considered(rule, policy.enforcement, facts) for policy in self.policies for rule in policy.rules)

    def with_enforcement(self, overrides: Mapping[str, Enforcement]) -> PolicySet:
        """These policies with other enforcements.

        Raises:
            ConfigError: for a policy that is not there.
        """
        names = [policy.name for policy in self.policies]
        for name in overrides:
            if name not in names:
                raise ConfigError(
                    f"there is no policy {name!r} whose enforcement could be set",
                    suggestion=did_you_mean(name, names) or f"there are: {', '.join(names)}",
                )
        changed = [
            replace(policy, enforcement=overrides.get(policy.name, policy.enforcement)) for policy in self.policies
        ]
        return PolicySet.compile(changed, no_accept_in=self.no_accept_in)

    def _buckets(self, facts: Facts) -> Iterator[_Bucket]:
        for fact in self._broad_facts:
            if not fact or facts.words[fact]:
                for surface in (facts.action.kind, ""):
                    bucket = self._broad.get((fact, surface))
                    if bucket is not None:
                        yield bucket
        for fact in self._telling_facts:
            for value in facts.words[fact]:
                bucket = self._telling.get((fact, value))
                if bucket is not None:
                    yield bucket


def complaints(policies: Sequence[Policy]) -> tuple[Complaint, ...]:
    """Rules that can never change a verdict: allowed without an accept, shadowed by a stronger rule, or switched off."""
    found = [
        Complaint(rule_id=policy.name, message="the policy is disabled: none of its rules is looked at")
        for policy in policies
        if policy.enforcement is Enforcement.DISABLED
    ]
    active = _strict(policies)
    strongest = _strongest(active)
    for rule in active:
        if rule.accept:
            continue
        if rule.action is RuleAction.ALLOW:
            message = (
                "an allow rule changes nothing: rules only tighten; to take a danger on yourself, name it in `accept`"
            )
            found.append(Complaint(rule_id=rule.id, message=message))
            continue
        other = _shadow(rule, strongest, but=rule)
        if other is not None:
            message = f"shadowed: {other.id} matches whatever it matches and asks for {other.action}"
            found.append(Complaint(rule_id=rule.id, message=message))
    return tuple(found)


def only_tightens(old: PolicySet, new: PolicySet) -> bool:
    """Whether no decision can be milder by the new set. False where that cannot be read off the rules.

    Each strict rule of the old set must be in the new one, or one that matches whatever it matches and asks for as much;
    and the new set may accept no danger that the old one does not accept in the same words.
    """
    mine = _strict(new.policies)
    strongest = _strongest(mine)
    accepted = [(_signature(rule), frozenset(rule.accept)) for rule in _strict(old.policies) if rule.accept]
    return (
        old.no_accept_in <= new.no_accept_in
        and all(rule.accept or _shadow(rule, strongest, but=None) is not None for rule in _strict(old.policies))
        and all((_signature(rule), frozenset(rule.accept)) in accepted for rule in mine if rule.accept)
    )


_Strongest = Mapping[tuple[frozenset[tuple[str, tuple[str, ...]]], str, str], tuple[int, Rule]]


def _strict(policies: Sequence[Policy]) -> list[Rule]:
    return [rule for policy in policies if policy.enforcement is Enforcement.STRICT for rule in policy.rules]


def _strongest(rules: Sequence[Rule]) -> _Strongest:
    """By what it matches, the rule that asks for most."""
    found: dict[tuple[frozenset[tuple[str, tuple[str, ...]]], str, str], tuple[int, Rule]] = {}
    for rule in rules:
        key = _signature(rule)
        if not rule.accept and (key not in found or _strength(rule) > found[key][0]):
            found[key] = (_strength(rule), rule)
    return found


def _shadow(rule: Rule, strongest: _Strongest, *, but: Rule | None) -> Rule | None:
    """A rule, other than ``but``, that matches whatever this one matches and asks for as much."""
    items = [(fact, tuple(words)) for fact, words in rule.match.items()]
    for size in range(len(items) + 1):
        for subset in combinations(items, size):
            for pattern in {rule.pattern, ""}:
                for when in {rule.when, ""}:
                    strength, other = strongest.get((frozenset(subset), pattern, when), (-1, rule))
                    if other is not but and strength >= _strength(rule):
                        return other
    return None


def _signature(rule: Rule) -> tuple[frozenset[tuple[str, tuple[str, ...]]], str, str]:
    return frozenset((fact, tuple(words)) for fact, words in rule.match.items()), rule.pattern, rule.when


def _strength(rule: Rule) -> int:
    return rule.action.rank * 100 + (rule.quorum if rule.action is RuleAction.CONFIRM else 0)


def _compile(rule: Rule, *, advisory: bool) -> _Compiled:
    if rule.pattern:
        compile_pattern(rule.pattern)
    tests = []
    for fact in rule.match:
        if fact not in FACTS:
            raise ConfigError(f"rule {rule.id}: match has no key {fact!r}", suggestion=did_you_mean(fact, FACTS))
    for fact in (fact for fact in _CHEAPEST if fact in rule.match):
        words = rule.match[fact]
        globs = tuple(word for word in words if fact == "path" or is_glob(word))
        together = Globs(globs, path=fact == "path", whole=bool(rule.accept)) if globs else None
        tests.append((fact, frozenset(word for word in words if word not in globs), together))
    condition = Condition.checked_before(rule.when, NAMES) if rule.when else None
    return _Compiled(rule, advisory, condition, tuple(tests))


def _telling_words(compiled: _Compiled) -> tuple[tuple[str, str], ...]:
    """The plain words of the first telling fact that a rule demands, none when it demands none by plain words."""
    for fact in _TELLING:
        for name, words, globs in compiled.tests:
            if name == fact and globs is None:
                return tuple((fact, word) for word in sorted(words))
    return ()


def _broad_posts(compiled: _Compiled) -> tuple[tuple[str, str], ...]:
    """The fact that an action must have at all, empty when there is none, with each surface, empty for all of them."""
    having = next((fact for fact in _SELDOM if fact in compiled.rule.match), "")
    surfaces = next((words for fact, words, globs in compiled.tests if fact == "surface" and globs is None), None)
    return tuple((having, surface) for surface in sorted(surfaces or {""}))


def _holds(compiled: _Compiled, facts: Facts) -> bool:
    for fact, plain, globs in compiled.tests:
        values = facts.words[fact]
        if not values:
            return False
        if not plain.isdisjoint(values):
            continue
        if globs is None or not any(globs.fits(value) for value in values):
            return False
    return True


def _condition_holds(compiled: _Compiled, facts: Facts, names: frozenset[str]) -> tuple[bool, str]:
    if compiled.condition is None:
        return True, ""
    try:
        return compiled.condition.holds(facts.context(names)), ""
    except ValueError as problem:
        return True, str(problem)


def _covers(compiled: _Compiled, facts: Facts, names: frozenset[str]) -> bool:
    for fact, plain, globs in compiled.tests:
        values = facts.words[fact]
        if not values or any(fact == "path" and ".." in value.split("/") for value in values):
            return False
        fits = [value in plain or (globs is not None and globs.fits(value)) for value in values]
        if not (any(fits) if fact == "tool" else all(fits)):
            return False
    pattern = compiled.rule.pattern
    if pattern and not compile_pattern(pattern).fullmatch(facts.text):
        return False
    if compiled.condition is None:
        return True
    try:
        return compiled.condition.holds(facts.context(names))
    except ValueError:
        return False


def _considered(rule: Rule, enforcement: Enforcement, facts: Facts) -> Considered:
    compiled = _compile(rule, advisory=enforcement is Enforcement.ADVISORY)

    def answer(why: str, *, matched: bool = False) -> Considered:
        return Considered(rule=rule, enforcement=enforcement, matched=matched, why=why)

    if enforcement is Enforcement.DISABLED:
        return answer("its policy is disabled")
    if rule.accept:
        barred = facts.words["environment"][0]
        matched = _covers(compiled, facts, _EVERY)
        return answer(f"accepts {', '.join(rule.accept)} (not where accepting is off, here {barred})", matched=matched)
    for test in compiled.tests:
        if not _holds(replace(compiled, tests=(test,)), facts):
            has = ", ".join(value for value in facts.words[test[0]] if value) or "none"
            return answer(f"{test[0]} is {has}, not {' or '.join(rule.match[test[0]])}")
    if rule.pattern and not compile_pattern(rule.pattern).search(facts.text):
        return answer(f"the pattern {rule.pattern!r} is not in the text")
    holds, why = _condition_holds(compiled, facts, _EVERY)
    if not holds:
        return answer(f"the condition {rule.when!r} does not hold")
    return answer(why or "everything that it asks for holds", matched=True)


def _plain(policy: Policy) -> dict[str, object]:
    return {
        "name": policy.name,
        "enforcement": policy.enforcement,
        "rules": [
            {
                "id": rule.id,
                "action": rule.action,
                "reason": rule.reason,
                "match": [[fact, list(words)] for fact, words in sorted(rule.match.items())],
                "pattern": rule.pattern,
                "when": rule.when,
                "quorum": rule.quorum,
                "accept": list(rule.accept),
            }
            for rule in policy.rules
        ],
    }
