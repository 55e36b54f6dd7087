"""The judge: only tighter, closed on failure, deterministic."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.decide.judge import judge
from interlock.decide.policy import PolicySet
from interlock.decide.policy_load import parse_policies
from interlock.model.action import Action, Finding, Reading, Surface
from interlock.model.decision import Enforcement, Policy, Rule, RuleAction, Verdict
from interlock.model.risk import RiskLevel
from interlock.reading.failed import GATE_FAILED, failure

NONE = PolicySet.compile([])


def policies(*plain: Any, enforcement: Any = "strict", **more: Any) -> Any:
    document = {"name": "p", "enforcement": enforcement, "rules": list(plain)}
    return PolicySet.compile(parse_policies(document).policies, **more)


def call(text: Any = "text", *, tool: Any = "shell", kind: Any = Surface.TOOL_CALL) -> Any:
    return Action(kind=kind, tool=tool, args={"text": text})


def found(severity: Any, kind: Any = "sql.drop", detector: Any = "sql") -> Any:
    return Finding(
        detector=detector, kind=kind, severity=RiskLevel(severity), evidence="DROP", reason=f"It would {kind}."
    )


def decided(
    action: Any = None, *findings: Any, rules: Any = NONE, environment: Any = "development", **more: Any
) -> Any:
    reading = Reading(findings=findings, **more.pop("reading", {}))
    return judge(action or call(), reading, rules, environment=environment, **more)


@pytest.mark.parametrize(
    ("severity", "verdict"), [("low", "allow"), ("medium", "allow"), ("high", "confirm"), ("critical", "block")]
)
def test_a_findings_severity_is_the_base_verdict(severity: Any, verdict: Any) -> None:
    decision = decided(None, found(severity))
    assert (decision.verdict, decision.risk) == (verdict, severity)
    assert bool(decision.reasons) is (verdict != "allow")
    assert bool(decision.warnings) is (severity == "medium")


@pytest.mark.parametrize(
    ("action", "verdict"), [("allow", "allow"), ("warn", "allow"), ("confirm", "confirm"), ("block", "block")]
)
def test_a_rule_does_what_its_action_says(action: Any, verdict: Any) -> None:
    decision = decided(rules=policies({"pattern": "text", "action": action, "reason": "Because."}))
    assert decision.verdict == verdict
    assert ("Because." in (*decision.reasons, *decision.warnings)) is (action != "allow")


def test_the_most_restrictive_wins_and_every_reason_is_kept_worst_first() -> None:
    rules = policies(
        {"pattern": "text", "action": "confirm", "reason": "C."}, {"pattern": "tex", "action": "block", "reason": "B."}
    )
    decision = decided(None, found("high"), rules=rules)
    assert decision.verdict is Verdict.BLOCK
    assert decision.reasons[0] == "B."
    assert set(decision.reasons) == {"B.", "C.", "It would sql.drop."}
    assert decision.rule_ids[0] == "p/2"


def test_an_allow_rule_lowers_nothing() -> None:
    rules = policies({"match": {"tool": "shell"}, "action": "allow"})
    assert decided(None, found("critical"), rules=rules).verdict is Verdict.BLOCK
    assert decided(None, found("high"), rules=rules).verdict is Verdict.CONFIRM


def test_an_advisory_policy_only_records_what_strict_would_have_done() -> None:
    decision = decided(rules=policies({"pattern": "text", "action": "block", "reason": "B."}, enforcement="advisory"))
    assert decision.verdict is Verdict.ALLOW
    assert decision.warnings == ("Policy p/1 is advisory; strict, it would have blocked this: B.",)
    assert decision.quorum == 1


def test_the_largest_quorum_counts() -> None:
    rules = policies(
        {"pattern": "t", "action": "confirm", "quorum": 2}, {"pattern": "x", "action": "confirm", "quorum": 3}
    )
    assert decided(rules=rules).quorum == 3
    other = policies(
        {"pattern": "t", "action": "confirm", "quorum": 3}, {"pattern": "x", "action": "confirm", "quorum": 2}
    )
    assert decided(rules=other).quorum == 3


@pytest.mark.parametrize("surface", ["task", "plan"])
@pytest.mark.parametrize("floor", ["high", "critical"])
def test_a_risky_task_or_plan_is_put_before_a_person(surface: Any, floor: Any) -> None:
    decision = decided(call(kind=Surface(surface)), floor=RiskLevel(floor))
    assert (decision.verdict, decision.risk) == ("confirm", floor)


def test_a_calls_risk_is_never_below_what_is_known_already() -> None:
    decision = decided(floor=RiskLevel.HIGH)
    assert (decision.verdict, decision.risk) == ("allow", "high")


def test_findings_of_the_flow_count_like_any_other() -> None:
    assert decided(flow=(found("critical", "flow.secret_out", "flow"),)).verdict is Verdict.BLOCK


def test_a_decision_binds_the_action_and_the_policies() -> None:
    rules = policies({"pattern": "z", "action": "block"})
    decision = decided(call("one"), rules=rules)
    assert decision.action_digest == call("one").digest != decided(call("two"), rules=rules).action_digest
    assert decision.policy_digest == rules.digest != NONE.digest


@pytest.mark.parametrize(
    "action",
    [
        Action(kind=Surface.TOOL_CALL, args={"x": object()}),
        Action(kind=Surface.TOOL_CALL, args={"x": "\ud800"}),
        Action(kind=Surface.TOOL_CALL, args={"x": [[[[[[[[0]]]]]]]] * 3, "y": {1: {2: 3}}, "z": b"bytes"}),
    ],
)
def test_what_goes_wrong_inside_the_judge_is_a_block_with_that_reason(action: Any) -> None:
    rules = policies({"pattern": "zz", "action": "warn"}, {"when": "text == 'a'", "action": "warn"})
    decision = judge(action, Reading(), rules, environment="development")
    assert decision.verdict is Verdict.BLOCK
    assert decision.rule_ids == (GATE_FAILED,)
    assert "could not be completed" in decision.reason


# --- what a team takes on itself -------------------------------------------------------------------------------------

ACCEPT = {"match": {"tool": "sql"}, "action": "allow", "accept": ["sql.alter"], "reason": "Ticket 12."}


def accepting(
    rule: Any = None,
    findings: Any = None,
    *,
    environment: Any = "development",
    action: Any = None,
    reading: Any = None,
    **more: Any,
) -> Any:
    findings = findings or (found("high", "sql.alter"),)
    rules = policies(rule or ACCEPT, **more)
    return judge(
        action or call(tool="sql"), Reading(findings=findings, **(reading or {})), rules, environment=environment
    )


def test_an_accepted_high_finding_becomes_a_recorded_warning() -> None:
    decision = accepting()
    assert decision.verdict is Verdict.ALLOW
    assert decision.risk is RiskLevel.HIGH
    assert "p/1 accepts sql.alter: Ticket 12." in decision.warnings[0]


@pytest.mark.parametrize(
    "case",
    [
        {"findings": (found("critical", "sql.alter"),)},
        {"findings": (found("high", "sql.drop"),)},
        {"findings": (found("high", "sql.alter"), found("high", "sql.drop"))},
        {"findings": (found("high", "sql.alter", "flow"),)},
        {"findings": (found("high", "sql.alter"), failure("time"))},
        {"environment": "production"},
        {"action": call(tool="shell")},
        {"rule": {**ACCEPT, "match": {"path": "build/**"}}},
        {"rule": {**ACCEPT, "match": {"path": "build/**"}}, "reading": {"paths": ("build/a", "src/b")}},
        {"rule": {**ACCEPT, "match": {"path": "build/**"}}, "reading": {"paths": ("build/../src/b",)}},
        {"rule": {**ACCEPT, "match": {"path": "build/**"}}, "reading": {"paths": ("/etc/build/b",)}},
        {"rule": {**ACCEPT, "pattern": "te"}},
        {"rule": {**ACCEPT, "when": "args.absent == 1"}},
    ],
)
def test_an_acceptance_is_narrow(case: Any) -> None:
    assert accepting(**case).verdict is not Verdict.ALLOW


def test_an_acceptance_covers_what_it_names_in_full() -> None:
    assert (
        accepting({**ACCEPT, "match": {"path": "build/**"}}, reading={"paths": ("build/a", "build/b/c")}).verdict
        == "allow"
    )
    assert accepting({**ACCEPT, "pattern": "te.t"}).verdict == "allow"


def test_production_accepts_only_where_the_configuration_says_so() -> None:
    assert accepting(environment="production", no_accept_in=()).verdict is Verdict.ALLOW


def test_what_the_flow_found_is_nobodys_to_accept() -> None:
    flow = (found("high", "sql.alter"),)
    assert (
        judge(call(tool="sql"), Reading(), policies(ACCEPT), flow=flow, environment="development").verdict == "confirm"
    )


def test_an_accepted_danger_is_still_stopped_by_a_rule() -> None:
    rules = policies(ACCEPT, {"match": {"finding": "sql.alter"}, "action": "block"})
    assert (
        judge(call(tool="sql"), Reading(findings=(found("high", "sql.alter"),)), rules, environment="x").verdict
        == "block"
    )


# --- properties ------------------------------------------------------------------------------------------------------

_WORDS = st.sampled_from(["rm", "drop", "git", "a", "é", ""])
_FACTS = {
    "surface": st.sampled_from(["tool_call", "task", "*"]),
    "tool": st.sampled_from(["shell", "sql", "s*"]),
    "program": st.sampled_from(["git", "rm", "*"]),
    "path": st.sampled_from(["a/**", ".env", "*"]),
    "finding": st.sampled_from(["sql", "sql.drop", "shell.*"]),
    "environment": st.sampled_from(["production", "dev*"]),
}
_MATCHES = st.dictionaries(st.sampled_from(list(_FACTS)), st.none(), max_size=2).flatmap(
    lambda keys: st.fixed_dictionaries({key: _FACTS[key].map(lambda word: (word,)) for key in keys})
)
_RULES = st.builds(
    lambda action, match, pattern, when, quorum: {
        "action": action,
        "match": match,
        "pattern": pattern,
        "when": when,
        "quorum": quorum,
    },
    st.sampled_from(list(RuleAction)),
    _MATCHES,
    st.sampled_from(["", "rm", "dr.p", "x+"]),
    st.sampled_from(["", "severity >= high", "args.n > 1", "'git' in programs"]),
    st.integers(1, 3),
)
_FINDINGS = st.builds(
    Finding,
    detector=st.just("sql"),
    kind=st.sampled_from(["sql.drop", "shell.delete.recursive", "x"]),
    severity=st.sampled_from(list(RiskLevel)),
    evidence=st.just("e"),
)
_READINGS = st.builds(
    Reading,
    findings=st.lists(_FINDINGS, max_size=3).map(tuple),
    programs=st.lists(_WORDS, max_size=2).map(tuple),
    paths=st.lists(st.sampled_from(["a/b", ".env", "/etc/x"]), max_size=2).map(tuple),
)
_ACTIONS = st.builds(
    Action,
    kind=st.sampled_from(list(Surface)),
    tool=st.sampled_from(["shell", "sql", "other"]),
    args=st.fixed_dictionaries({"text": _WORDS, "n": st.integers(0, 3)}),
    environment=st.sampled_from(["development", "production"]),
)
_SETS = st.lists(st.tuples(st.sampled_from(list(Enforcement)), st.lists(_RULES, max_size=4)), max_size=3)


def compiled(sets: Any) -> Any:
    return [
        Policy(
            name=f"p{number}",
            enforcement=enforcement,
            rules=tuple(Rule(id=f"p{number}/{place}", **rule) for place, rule in enumerate(plain)),
        )
        for number, (enforcement, plain) in enumerate(sets)
    ]


def strictness(decision: Any) -> Any:
    return decision.verdict.rank, decision.risk.rank, decision.quorum


@given(_ACTIONS, _READINGS, _SETS, _RULES, st.sampled_from(list(Enforcement)))
@settings(max_examples=200, deadline=None)
def test_one_more_rule_never_loosens(action: Any, reading: Any, sets: Any, rule: Any, enforcement: Any) -> None:
    less = compiled(sets)
    more = [*less, Policy(name="more", enforcement=enforcement, rules=(Rule(id="more/1", **rule),))]
    before = judge(action, reading, PolicySet.compile(less), environment="development")
    after = judge(action, reading, PolicySet.compile(more), environment="development")
    assert all(new >= old for new, old in zip(strictness(after), strictness(before), strict=True))


@given(_ACTIONS, _READINGS, _SETS, _FINDINGS)
@settings(max_examples=200, deadline=None)
def test_one_more_finding_never_loosens(action: Any, reading: Any, sets: Any, finding: Any) -> None:
    rules = PolicySet.compile(compiled(sets))
    before = judge(action, reading, rules, environment="development")
    after = judge(action, reading + Reading(findings=(finding,)), rules, environment="development")
    assert all(new >= old for new, old in zip(strictness(after), strictness(before), strict=True))


@given(_ACTIONS, _READINGS, _SETS, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_the_order_of_rules_and_policies_changes_nothing(action: Any, reading: Any, sets: Any, dice: Any) -> None:
    one = compiled(sets)
    other = [
        Policy(name=it.name, enforcement=it.enforcement, rules=tuple(dice.sample(it.rules, len(it.rules))))
        for it in one
    ]
    dice.shuffle(other)
    first = judge(action, reading, PolicySet.compile(one), environment="production")
    second = judge(action, reading, PolicySet.compile(other), environment="production")
    assert (strictness(first), first.reasons, first.warnings) == (strictness(second), second.reasons, second.warnings)


def test_ten_thousand_random_actions_never_raise() -> None:
    dice = random.Random(7)  # noqa: S311 - cases, not secrets
    rules = policies(
        {"match": {"path": "**/.env"}, "action": "confirm"},
        {"pattern": "a.*b", "action": "block"},
        {"when": "args.n > 1 && size(text) > 3", "action": "confirm"},
        ACCEPT,
    )

    def value(depth: Any) -> Any:
        kinds: list[Callable[[], Any]] = [
            lambda: "".join(
                chr(dice.choice([0, 9, 65, 97, 98, 233, 0x200B, 0xD800, 0x1F600])) for _ in range(dice.randrange(9))
            ),
            lambda: dice.choice([0, -1, 2**70, 1.5, float("nan"), float("inf"), True, None, b"x", {1, 2}, object()]),
            lambda: [value(depth + 1) for _ in range(dice.randrange(4))] if depth < 4 else "",
            lambda: (
                {dice.choice(["n", "text", "é", "", 3, None]): value(depth + 1) for _ in range(3)} if depth < 4 else ""
            ),
        ]
        return dice.choice(kinds)()

    for _ in range(10_000):
        args = {dice.choice(["n", "text", "path", "é"]): value(0) for _ in range(dice.randrange(4))}
        action = Action(kind=dice.choice(list(Surface)), tool=dice.choice(["", "shell", "\ud800"]), args=args)
        decision = judge(action, Reading(paths=("a/.env",)), rules, environment=dice.choice(["production", "x"]))
        assert decision.verdict in tuple(Verdict)
        assert decision.reasons or decision.verdict is Verdict.ALLOW
