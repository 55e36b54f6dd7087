"""Policies: checked when loaded, indexed, and only ever tighter."""

import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.decide.conditions import compile_condition
from interlock.decide.judge import judge
from interlock.decide.matching import NAMES, OPEN_NAMES, Facts, Globs
from interlock.decide.patterns import PatternGroup, compile_pattern, required_literal
from interlock.decide.policy import PolicySet, complaints
from interlock.decide.policy_load import examine, parse_policies
from interlock.errors import ConfigError
from interlock.model.action import Action, Finding, Integrity, Labels, Reading, Surface
from interlock.model.decision import Enforcement, Policy, Rule, RuleAction, Verdict
from interlock.model.risk import RiskLevel
from interlock.policies import PACKS, examine_text, load_policies, pack_text, read_pack


def rules(*plain: Any, name: Any = "p", **more: Any) -> Any:
    return parse_policies({"name": name, "rules": list(plain), **more}).policies


def matched(policies: Any, action: Any, reading: Any = None, environment: Any = "development") -> Any:
    reading = reading or Reading()
    facts = Facts(action, reading, reading.findings, environment)
    return {match.rule.id for match in PolicySet.compile(policies).matches(facts)}


def call(text: Any = "ls", *, tool: Any = "shell", **more: Any) -> Any:
    return Action(kind=Surface.TOOL_CALL, tool=tool, args={"text": text}, **more)


def finding(kind: Any, severity: Any = RiskLevel.HIGH) -> Any:
    return Finding(detector=kind.split(".")[0], kind=kind, severity=severity, evidence="…")


# --- what is refused when a policy is loaded -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("rules: []", "needs a `name`"),
        ("name: p\nrules:\n  - patern: a\n    action: block", "patern.*pattern"),
        ("name: p\nrules:\n  - pattern: a\n    action: blok", 'unknown action .blok. .*"block"'),
        ("name: p\nenforcement: strickt\nrules: []", 'unknown enforcement .*"strict"'),
        ("name: p\nrules:\n  - match: {surfce: task}\n    action: block", 'no key .surfce. .*"surface"'),
        ("name: p\nrules:\n  - match: {surface: toolcall}\n    action: block", 'unknown surface .*"tool_call"'),
        ("name: p\nrules:\n  - match: {program: []}\n    action: block", "would never match"),
        ("name: p\nrules:\n  - match: {program: 5}\n    action: block", "one word or a list"),
        ("name: p\nrules:\n  - pattern: '(a'\n    action: block", "not valid"),
        ("name: p\nrules:\n  - pattern: '(?=a)b'\n    action: block", "no look-around"),
        ("name: p\nrules:\n  - pattern: '((a{30}){30}){9}'\n    action: block", "not valid|too large"),
        ("name: p\nrules:\n  - action: block", "matches everything"),
        ("name: p\nrules:\n  - pattern: a", "needs an `action`"),
        ("name: p\nrules:\n  - {pattern: a, action: confirm, quorum: 0}", "number of people"),
        ("name: p\nrules:\n  - {pattern: a, action: confirm, quorum: true}", "number of people"),
        ("name: p\nrules:\n  - {id: x, pattern: a, action: warn}\n  - {id: x, pattern: b, action: warn}", "two rules"),
        ("- {name: p, rules: []}\n- {name: p, rules: []}", "two policies"),
        ("name: p\nname: q\nrules: []", "twice"),
        ("name: p\nrules:\n  - {pattern: a, action: block, when: 'severty > 1'}", 'not declared .*"severity"'),
        ("name: p\nrules:\n  - {pattern: a, action: block, accept: [sql.drop]}", "action: allow"),
        ("name: p\nrules:\n  - {match: {tool: sql}, action: allow, accept: [sql.drop]}", "needs a `reason`"),
        ("name: p\nrules:\n  - {match: {finding: x}, reason: r, action: allow, accept: [x]}", "not `finding`"),
        (
            "name: p\nrules:\n  - {match: {tool: sql}, reason: r, action: allow, accept: ['sql.*']}",
            "cannot be accepted",
        ),
        (
            "name: p\nrules:\n  - {match: {tool: sql}, reason: r, action: allow, accept: [gate.failed]}",
            "cannot be accepted",
        ),
        ("just words", "a policy file holds"),
        ("name: p\nrules: {}", "is a list"),
        ("name: p\ntests:\n  - {surface: task, expect: allow}\nrules: []", "either `text` or `args`"),
    ],
)
def test_a_policy_that_is_not_sound_is_refused_with_the_place_and_a_suggestion(document: Any, said: Any) -> None:
    _, found = examine_text(document, "team.yaml")
    assert found
    assert any(re.search(said, str(problem), re.DOTALL) for problem in found), [str(problem) for problem in found]
    assert all(str(problem).startswith("team.yaml:") for problem in found)


def test_complaints_name_the_line() -> None:
    _, found = examine_text(
        "name: p\nrules:\n  - pattern: ok\n    action: block\n  - pattern: '(a'\n    action: block\n", "f"
    )
    assert [problem.line for problem in found] == [5]


def test_all_complaints_are_given_at_once() -> None:
    _, found = examine([{"name": "x", "enforcement": "on", "rules": [{"action": "blok", "pattern": "("}]}])
    assert len(found) == 3


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("txt == 'a'", "did you mean"),
        ("severity == 'high'", "another type"),
        ("'high' == severity", "another type"),
        ("text > 5", "another type"),
        ("false && size(5) > 1", "does not work"),
        ("text", "neither true nor false"),
        ("surface == 'task' || text", "neither true nor false"),
        ("paths.exists(p, p == 'a')", "loops"),
        ("paths.all(p, paths.all(q, q == p))", "loops"),
        ("paths.map(p, p) == paths", "loops"),
        ("text == 'a' ? true : false", "choices"),
        ("{'a': 1}.a == 1", "choices and maps"),
        ("text.matches('(')", "does not work"),
        ("foo(text)", "not available"),
        ("text.contains(", "not valid"),
        ("true // comment", "comment"),
        ("text == '" + "a" * 600 + "'", "limit"),
    ],
)
def test_a_condition_that_is_not_sound_is_refused_when_loaded(condition: Any, said: Any) -> None:
    with pytest.raises(ConfigError, match=said):
        compile_condition(condition, NAMES, dynamic=OPEN_NAMES)


@pytest.mark.parametrize(
    "condition",
    [
        "severity >= high && !('a' in paths)",
        "has(args.amount) && args.amount > 100",
        '(text.contains("a ? b : c") || size(paths) > 3) && severity == critical',
        "!(integrity == 'untrusted')",
        "'map(' in programs",
    ],
)
def test_an_honest_condition_is_taken(condition: Any) -> None:
    assert compile_condition(condition, NAMES, dynamic=OPEN_NAMES).source == condition


# --- what matches ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "hit", "miss"),
    [
        ({"match": {"surface": "task"}}, Action(kind=Surface.TASK), call()),
        ({"match": {"tool": ["sql", "mcp__*"]}}, call(tool="mcp__x__y"), call()),
        ({"match": {"tool": "shell"}}, call(tool="Bash"), call(tool="WebFetch")),
        ({"match": {"tool": "sql"}}, call(tool="mcp__postgres__query"), call(tool="mcp__docs__query")),
        ({"match": {"agent": "writer"}}, call(agent="writer"), call(agent="reader")),
        ({"match": {"environment": "production"}}, call(environment="production"), call()),
        ({"pattern": "drop table"}, call("x; DROP TABLE y"), call("x; drop view y")),
        (
            {"pattern": "mfa.*false"},
            call(tool="x", agent="a").__class__(kind=Surface.TOOL_CALL, args={"mfa": False}),
            call(),
        ),
        ({"pattern": "password"}, call("pass\u200bword"), call("pass word")),
        ({"pattern": "password"}, call("ｐａｓｓｗｏｒｄ"), call("passwort")),
        ({"when": "integrity == 'untrusted'"}, call(labels=Labels(integrity=Integrity.UNTRUSTED)), call()),
        ({"match": {"tool": "shell"}, "pattern": "rm", "when": "actor == 'user'"}, call("rm"), call("rm", actor="x")),
    ],
)
def test_a_rule_matches_when_everything_that_it_asks_for_holds(rule: Any, hit: Any, miss: Any) -> None:
    policies = rules({"action": "block", **rule})
    assert matched(policies, hit) == {"p/1"}
    assert matched(policies, miss) == set()


@pytest.mark.parametrize(
    ("match", "reading", "holds"),
    [
        ({"program": "git"}, Reading(programs=("sudo", "git")), True),
        ({"program": "git"}, Reading(programs=("gitk",)), False),
        ({"statement": "drop*"}, Reading(statements=("drop_table",)), True),
        ({"statement": "*"}, Reading(), False),
        ({"finding": "shell.delete"}, Reading(findings=(finding("shell.delete.recursive"),)), True),
        ({"finding": "shell.delete"}, Reading(findings=(finding("shell.deleted"),)), False),
        ({"path": ".env"}, Reading(paths=("deploy/.env",)), True),
        ({"path": ".env"}, Reading(paths=("deploy/.env.sample",)), False),
        ({"path": "src/*.py"}, Reading(paths=("src/a/b.py",)), False),
        ({"path": "src/**"}, Reading(paths=("src/a/b.py",)), True),
        ({"path": "~/.ssh/**"}, Reading(paths=("~/.ssh/id_rsa",)), True),
    ],
)
def test_rules_match_on_what_the_readers_understood(match: Any, reading: Any, holds: Any) -> None:
    assert bool(matched(rules({"action": "block", "match": match}), call(), reading)) is holds


def test_the_stricter_of_two_environments_counts() -> None:
    policies = rules({"action": "block", "match": {"environment": "production"}})
    assert matched(policies, call(environment="development"), environment="production")
    assert matched(policies, call(environment="production"), environment="development")


def test_a_condition_that_cannot_be_evaluated_counts_as_true() -> None:
    policies = rules({"action": "block", "when": "args.amount > 5"})
    assert matched(policies, call()) == {"p/1"}


def test_a_glob_knows_directories() -> None:
    assert Globs(["**/x/*.py"], path=True).fits("a/b/x/c.py")
    assert not Globs(["x?y"], path=True).fits("xy")
    assert not Globs(["a.b"]).fits("aXb")
    assert Globs([f"n{number}" for number in range(200)]).fits("n199")


def test_disabled_policies_are_not_looked_at_and_overrides_name_real_policies() -> None:
    policies = PolicySet.compile(rules({"action": "block", "pattern": "a"}))
    facts = Facts(call("a"), Reading(), (), "development")
    assert not policies.with_enforcement({"p": Enforcement.DISABLED}).matches(facts)
    with pytest.raises(ConfigError, match="there are: p"):
        policies.with_enforcement({"q": Enforcement.STRICT})


def test_the_digest_changes_with_every_word_of_a_policy() -> None:
    base = {"pattern": "a", "action": "block", "match": {"tool": "sql"}, "reason": "r", "quorum": 1}
    changes: list[dict[str, Any]] = [
        {"pattern": "b"},
        {"action": "confirm"},
        {"match": {"tool": "shell"}},
        {"reason": "s"},
        {"quorum": 2},
    ]
    digests = {PolicySet.compile(rules({**base, **change})).digest for change in [{}, *changes]}
    assert len(digests) == len(changes) + 1


# --- patterns --------------------------------------------------------------------------------------------------------

_PIECES = st.sampled_from(
    [
        "abc",
        "|",
        "de f",
        r"\.",
        r"\s+",
        r"\bxy",
        "(ab|cd)",
        "[a-c]x",
        "z?",
        "q*",
        "w+",
        "m{2}",
        ".*",
        r"\x41",
        r"\101",
        r"\d",
        "[]k]",
        "(?i)",
    ]
)


@given(st.lists(_PIECES, min_size=1, max_size=6), st.text("abcdefxyzqwmkA. 1]", max_size=30))
@settings(max_examples=400, deadline=None)
def test_every_match_holds_the_literal_that_the_prefilter_looks_for(pieces: Any, text: Any) -> None:
    pattern = "".join(pieces)
    found = compile_pattern(pattern).search(text)
    if found:
        assert required_literal(pattern).lower() in found.group().lower()


@given(
    st.lists(st.lists(_PIECES, min_size=1, max_size=4).map("".join), min_size=1, max_size=90),
    st.text("abcdefxyz A1", max_size=40),
)
@settings(max_examples=60, deadline=None)
def test_patterns_tried_together_answer_as_each_alone(patterns: Any, text: Any) -> None:
    alone = [place for place, pattern in enumerate(patterns) if compile_pattern(pattern).search(text)]
    assert PatternGroup(patterns).matching(text) == alone


def test_a_pattern_that_would_hang_a_backtracking_engine_is_harmless() -> None:
    assert matched(rules({"action": "block", "pattern": "^(a+)+$"}), call("a" * 50_000 + "!")) == set()


def test_a_thousand_rules_are_all_found() -> None:
    many = rules(*({"pattern": f"word{n}x", "action": "block"} for n in range(1000)))
    assert matched(many, call("word999x word0x")) == {"p/1", "p/1000"}


# --- rules that can never change anything ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ([{"pattern": "a", "action": "block"}, {"pattern": "a", "action": "confirm"}], "p/2.*shadowed: p/1"),
        ([{"pattern": "a", "action": "confirm"}, {"pattern": "a", "action": "block"}], "p/1.*shadowed: p/2"),
        (
            [
                {"match": {"tool": "sql"}, "action": "block"},
                {"match": {"tool": "sql"}, "pattern": "x", "action": "warn"},
            ],
            "p/2.*shadowed",
        ),
        ([{"pattern": "a", "action": "allow"}], "changes nothing"),
    ],
)
def test_lint_finds_rules_that_can_never_change_anything(plain: Any, said: Any) -> None:
    found = [f"{it.rule_id}: {it.message}" for it in complaints(rules(*plain))]
    assert len(found) == 1
    assert re.search(said, found[0])


def test_lint_leaves_rules_alone_that_differ() -> None:
    assert not complaints(
        rules(
            {"pattern": "a", "action": "confirm"},
            {"pattern": "a", "action": "confirm", "quorum": 2, "match": {"environment": "production"}},
            {"pattern": "a", "action": "block", "when": "severity > low"},
        )
    )


# --- the packs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PACKS)
def test_every_pack_is_sound_and_holds_no_dead_rule(name: Any) -> None:
    found, wrong = examine_text(pack_text(name), name)
    assert not wrong
    assert found.policies
    assert not complaints(found.policies)


def test_shipped_packs_are_in_force_before_cel_is_loaded() -> None:
    program = (
        "import sys; from interlock.policies import DEFAULT_PACKS, load_policies;"
        "load_policies(DEFAULT_PACKS, [], {}); print('cel' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_condition_that_nobody_checked_blocks_what_it_is_asked_about() -> None:
    rule = Rule(id="p/r", action=RuleAction.WARN, when="severity >")
    policies = PolicySet.compile([Policy(name="p", rules=(rule,))])
    assert judge(call(), Reading(), policies, environment="development").verdict is Verdict.BLOCK


def test_all_packs_compile_together_and_an_unknown_one_is_named() -> None:
    assert load_policies(PACKS, [], {"git": Enforcement.ADVISORY}).policies
    with pytest.raises(ConfigError, match="kubernetes"):
        load_policies(["kubernets"], [], {})


@pytest.mark.parametrize("pack", ["defaults", "literal"])
def test_the_users_six_rules_are_there_with_their_patterns_and_actions(pack: Any) -> None:
    found = [(rule.pattern, str(rule.action)) for policy in read_pack(pack).policies for rule in policy.rules]
    assert found == [
        ("DROP TABLE", "block"),
        ("DELETE FROM .* WHERE", "confirm"),
        ("ALTER TABLE .* DROP", "confirm"),
        ("password.*[:=]", "block"),
        ("auth.*disable", "block"),
        ("mfa.*false", "confirm"),
    ]


def test_the_users_policies_have_their_names() -> None:
    assert [policy.name for policy in read_pack("defaults").policies] == ["database-protection", "security-protection"]


def test_no_pack_accepts_a_danger() -> None:
    assert not [
        rule.id for name in PACKS for policy in read_pack(name).policies for rule in policy.rules if rule.accept
    ]


def test_two_files_with_one_policy_name_are_refused() -> None:
    rule = Rule(id="p/1", action=RuleAction.BLOCK, pattern="a")
    with pytest.raises(ConfigError, match="two policies"):
        PolicySet.compile([Policy(name="p", rules=(rule,)), Policy(name="p", rules=(rule,))])
