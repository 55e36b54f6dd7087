"""The gate without its memory: one action, the policies, the readers; one decision. Needs no store, so a hook can be quick.

Closed on failure: whatever raises in here is a block with that reason. There is no switch for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from interlock.config import Settings, ToolSettings, Undo
from interlock.decide.chain import sequence
from interlock.decide.judge import judge
from interlock.decide.policy import PolicySet
from interlock.decide.taint import flow, label_result
from interlock.model.action import Action, Confidentiality, Finding, Integrity, Labels, Reading, Scope, Surface
from interlock.model.decision import Decision, Verdict
from interlock.model.history import History
from interlock.model.risk import RiskLevel
from interlock.reading.read import read
from interlock.reading.secrets import redact

_SUMMARY = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A decision with what was read on the way to it."""

    decision: Decision
    reading: Reading


class Gate:
    """Judges actions. Knows the policies and the environment, keeps nothing."""

    def __init__(self, policies: PolicySet, environment: str, tools: Mapping[str, ToolSettings]) -> None:
        self._policies = policies
        self._environment = environment
        self._tools = tools

    def judge(
        self, action: Action, scope: Scope, *, history: History | None = None, floor: RiskLevel = RiskLevel.LOW
    ) -> Judged:
        """The decision on one action. Never raises: an error is a block."""
        try:
            reading = read(action, scope)
            flowing = self._declared(action)
            if history is not None:
                flowing += flow(action, history, reading, scope) + sequence(action, history, reading)
            decision = judge(action, reading, self._policies, floor=floor, flow=flowing, environment=self._environment)
        except Exception as error:  # noqa: BLE001 - closed on failure: whatever broke, the answer is block
            return Judged(decision=failed(action, f"{type(error).__name__}: {error}"), reading=Reading())
        return Judged(decision=decision, reading=reading)

    def judge_result(
        self, action: Action, reading: Reading, scope: Scope, output: str, labels: Labels | None = None
    ) -> tuple[Decision, Labels]:
        """The decision on what a call has returned, and the labels of it. Never raises."""
        known = self.undo(action.tool) is not None  # people have vouched for this tool in the configuration
        trusted = Labels(confidentiality=Confidentiality.INTERNAL)
        origin = trusted if known else label_result(action.tool, action.args, reading)
        labels = origin.join(labels) if labels else origin
        result = replace(action, kind=Surface.TOOL_RESULT, args={"text": output}, labels=labels)
        decision = self.judge(result, scope).decision
        if decision.verdict is Verdict.CONFIRM:
            # Nobody is asked about every odd web page: the result may be read, as untrusted, and flow decides later.
            labels = labels.join(Labels(integrity=Integrity.UNTRUSTED))
            decision = replace(decision, verdict=Verdict.ALLOW, warnings=(*decision.warnings, *decision.reasons))
        return decision, labels

    def undo(self, tool: str) -> Undo | None:
        """How the tool's effects are undone, as people have declared it."""
        declared = self._tools.get(tool)
        return declared.undo if declared else None

    def _declared(self, action: Action) -> tuple[Finding, ...]:
        if action.kind is not Surface.TOOL_CALL or self.undo(action.tool) is not Undo.IRREVERSIBLE:
            return ()
        reason = f"What {action.tool} does cannot be undone."
        return (
            Finding(
                detector="reach",
                kind="reach.irreversible",
                severity=RiskLevel.HIGH,
                evidence=action.tool,
                reason=reason,
            ),
        )


def failed(action: Action, why: str) -> Decision:
    """The block when the gate itself did not work."""
    reason = f"the gate could not judge this and therefore blocks it ({redact(why)[:_SUMMARY]})"
    return Decision(
        verdict=Verdict.BLOCK, reasons=(reason,), rule_ids=("gate.failed",), risk=RiskLevel.CRITICAL,
        action_digest=action.digest,
    )  # fmt: skip


def summary_of(action: Action) -> str:
    """One redacted line for people: the tool and what it is about, else the main thing that it gets."""
    named = next((str(action.args[name]) for name in ("path", "file_path", "url") if action.args.get(name)), "")
    main = named or action.text
    if not main and action.args:
        main = ", ".join(f"{name}={value}" for name, value in action.args.items())
    line = " ".join(redact(main).split())
    return f"{action.tool}: {line[:_SUMMARY]}" + ("…" if len(line) > _SUMMARY else "")


def shown_of(action: Action, decision: Decision) -> dict[str, Any]:
    """What a person sees who is asked about the action."""
    return {
        "agent": action.agent,
        "tool": action.tool,
        "call": summary_of(action),
        "args": dict(action.args),
        "reasons": list(decision.reasons),
        "risk": decision.risk,
        "findings": [f"{finding.kind}: {finding.evidence}" for finding in decision.findings],
    }


def facts_of(action: Action, decision: Decision) -> dict[str, Any]:
    """What the ledger keeps of an action and its decision."""
    return {
        "tool": action.tool,
        "call": summary_of(action),
        "digest": action.digest,
        "verdict": decision.verdict,
        "risk": decision.risk,
        "rules": list(decision.rule_ids),
        "policy": decision.policy_digest,
        "reasons": list(decision.reasons),
        "warnings": list(decision.warnings),
    }


def scope_of(settings: Settings, workspace: str = "") -> Scope:
    """Where an action of this project would take effect."""
    return Scope(
        workspace=workspace,
        granted=tuple(f"{settings.project}/{glob}" for glob in settings.scope.paths),
        protected=settings.workspace.protected,
        hosts=settings.scope.hosts,
        dialect=settings.scope.dialect,
    )
