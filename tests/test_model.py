"""The nouns hold what they promise."""

from __future__ import annotations

import pytest

from interlock.model.action import Action, Confidentiality, Integrity, Labels, Surface
from interlock.model.canon import canonical, digest
from interlock.model.plain import dump, load
from interlock.model.plan import Assignment, Phase, Plan, Task
from interlock.model.risk import RiskLevel


def test_words_compare_by_strictness_not_by_letters() -> None:
    assert RiskLevel.LOW < RiskLevel.MEDIUM < RiskLevel.HIGH < RiskLevel.CRITICAL
    assert max(RiskLevel.HIGH, RiskLevel.LOW, RiskLevel.CRITICAL) is RiskLevel.CRITICAL
    assert RiskLevel.MEDIUM.at_least(RiskLevel.LOW) is RiskLevel.MEDIUM


def test_labels_only_tighten_when_they_meet() -> None:
    web = Labels(integrity=Integrity.UNTRUSTED)
    vault = Labels(confidentiality=Confidentiality.SECRET)
    assert web.join(vault) == vault.join(web)
    assert web.join(vault).integrity is Integrity.UNTRUSTED
    assert web.join(vault).confidentiality is Confidentiality.SECRET


def test_canonical_bytes_do_not_depend_on_the_order_of_keys() -> None:
    assert (
        canonical({"b": 1, "a": [True, None]}) == canonical({"a": [True, None], "b": 1}) == b'{"a":[true,null],"b":1}'
    )


@pytest.mark.parametrize("value", [0.5, 2**53, {"ü": 1}, object()])
def test_what_has_no_portable_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical(value)


def test_one_changed_byte_of_an_argument_is_another_action() -> None:
    one = Action(kind=Surface.TOOL_CALL, tool="shell", args={"command": "ls"})
    assert one.digest == Action(kind=Surface.TOOL_CALL, tool="shell", args={"command": "ls"}).digest
    assert one.digest != Action(kind=Surface.TOOL_CALL, tool="shell", args={"command": "ls "}).digest
    assert digest(1) != digest("1")


def test_an_action_with_any_json_arguments_has_a_digest() -> None:
    args = {"ratio": 0.5, "big": 2**60, "ключ": ["a", {"b": None}]}
    assert Action(kind=Surface.TOOL_CALL, tool="x", args=args).digest.startswith("sha256:")


def test_nouns_survive_the_way_to_json_and_back() -> None:
    plan = Plan(task="t", phases=(Phase(assignments=(Assignment(agent="a", prompt="p", fallbacks=("b",)),)),))
    again = load(Plan, dump(plan))
    assert again == plan
    assert again.digest == plan.digest
    assert load(Task, dump(Task(text="x"))) == Task(text="x")
