"""The gate without its memory: one action, the policies, the readers; one decision. Needs no store, so a hook can be quick.

Closed on failure: whatever raises in here is a block with that reason. There is no switch for it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from interlock.config import Settings, ToolSettings, Undo
from interlock.decide.chain import sequence
from interlock.decide.judge import judge
from interlock.decide.matching import Facts
from interlock.decide.policy import Considered, PolicySet
from interlock.decide.taint import flow, label_result
from interlock.decide.verdicts import strictest
from interlock.engine.shadow import Bystander, Course, SideBySide
from interlock.model.action import Action, Confidentiality, Finding, Integrity, Labels, Reading, Scope, Surface
from interlock.model.decision import Decision, Verdict
from interlock.model.history import History
from interlock.model.risk import RiskLevel
from interlock.reading.normal import encodable
from interlock.reading.read import read
from interlock.reading.secrets import redact

_READING_S = 2.0
"""Of the processor, for reading one action: a machine that is busy with other things makes no call suspicious. The readers'
caps on length and depth keep it below a second; between two readers this is asked."""
_SUMMARY = 200
_RECORDED = 16_384
"""Characters of an action that are kept for replays; a longer call is counted and not replayed."""
_WHOLE = 2**53
"""Integers below it are the same in every JSON; the ledger's canonical form holds no other numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A decision with what was read on the way to it."""

    decision: Decision
    reading: Reading
    trial: SideBySide | None = None
    """While policies are rolled out: what the other set has said of it."""


class Gate:
    """Judges actions. Knows the policies and the environment, keeps nothing."""

    def __init__(self, policies: PolicySet, environment: str, tools: Mapping[str, ToolSettings]) -> None:
        self._policies = policies
        self._environment = environment
        self._tools = tools
        self._bystander = Bystander()

    def under(self, policies: PolicySet) -> Gate:
        """The same gate under other policies."""
        return Gate(policies, self._environment, self._tools)

    def judge(
        self,
        action: Action,
        scope: Scope,
        *,
        history: History | None = None,
        floor: RiskLevel = RiskLevel.LOW,
        course: Course | None = None,
    ) -> Judged:
        """The decision on one action. Never raises: an error is a block.

        ``course`` says which sets judge while policies are rolled out; without it the configured ones do.
        """
        course = course or Course(ruling=self._policies)
        try:
            until = time.thread_time() + _READING_S
            reading = read(action, scope, expired=lambda: time.thread_time() > until)
            flowing = self._declared(action)
            if history is not None:
                flowing += flow(action, history, reading, scope) + sequence(action, history, reading)

            def by(policies: PolicySet) -> Decision:
                return judge(action, reading, policies, floor=floor, flow=flowing, environment=self._environment)

            decision = by(course.ruling)
            if course.also is not None:
                decision = strictest(decision, by(course.also))
        except Exception as error:  # noqa: BLE001 - closed on failure: whatever broke, the answer is block
            return Judged(decision=failed(action, f"{type(error).__name__}: {error}"), reading=Reading())
        other = course.shadow
        if other is None:
            return Judged(decision=decision, reading=reading)
        said, problem = self._bystander.ask(lambda: by(other))
        trial = SideBySide(course=course, ruled=decision, shadow=said, problem=problem)
        return Judged(decision=decision, reading=reading, trial=trial)

    def judge_result(
        self,
        action: Action,
        reading: Reading,
        scope: Scope,
        output: str,
        labels: Labels | None = None,
        *,
        course: Course | None = None,
    ) -> tuple[Decision, Labels]:
        """The decision on what a call has returned, and the labels of it. Never raises."""
        # people have vouched for a tool that the configuration names; never for what foreign servers answer
        vouched = self.undo(action.tool) is not None and not action.tool.startswith("mcp__")
        inside = Labels(confidentiality=Confidentiality.INTERNAL)
        origin = inside if vouched else label_result(action.tool, action.args, reading)
        labels = origin.join(labels) if labels else origin
        result = replace(action, kind=Surface.TOOL_RESULT, args={"text": output}, labels=labels)
        course = replace(course, shadow=None) if course else None
        decision = self.judge(result, scope, course=course).decision
        if decision.verdict is Verdict.CONFIRM:
            # Nobody is asked about every odd web page: the result may be read, as untrusted, and flow decides later.
            labels = labels.join(Labels(integrity=Integrity.UNTRUSTED))
            decision = replace(decision, verdict=Verdict.ALLOW, warnings=(*decision.warnings, *decision.reasons))
        return decision, labels

    def explain(self, action: Action, scope: Scope, *, course: Course | None = None) -> tuple[Considered, ...]:
        """Every rule of every policy, and why it does or does not match this action.

        Raises:
            Exception: whatever a reader raises; :meth:`judge` is the one that blocks over it.
        """
        reading = read(action, scope)
        policies = course.ruling if course else self._policies
        return policies.explain(Facts(action, reading, reading.findings, self._environment))

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
        action_digest=_digest(action),
    )  # fmt: skip


def _digest(action: Action) -> str:
    """The action's digest; empty when even that cannot be worked out, as of arguments that are nested without end."""
    try:
        return action.digest
    except (RecursionError, ValueError, TypeError):
        return ""


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


def facts_of(action: Action, decision: Decision, trial: SideBySide | None = None) -> dict[str, Any]:
    """What the ledger keeps of an action and its decision, and of what the other set of policies would have decided."""
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
        **({"shadow": trial.said} if trial else {}),
    }


def scope_of(settings: Settings, workspace: str = "") -> Scope:
    """Where an action of this project would take effect."""
    return Scope(
        workspace=workspace,
        granted=tuple(f"{settings.project}/{glob}" for glob in settings.scope.paths),
        protected=(*settings.workspace.protected, *settings.policies.every_file),
        hosts=settings.scope.hosts,
        dialect=settings.scope.dialect,
    )


def recorded(action: Action) -> str:
    """The action as JSON, for replays with other policies: its arguments are redacted, and left out when too long or deep."""
    row: dict[str, Any] = {
        "surface": action.kind.value, "tool": action.tool, "agent": action.agent, "environment": action.environment
    }  # fmt: skip
    try:
        text = orjson.dumps({**row, "args": redacted(dict(action.args))}).decode()
    except (RecursionError, orjson.JSONEncodeError):
        text = ""
    return text if 0 < len(text) <= _RECORDED else orjson.dumps({**row, "left_out": True}).decode()


def redacted(value: Any) -> Any:
    """Plain values with every secret taken out of their texts; what is no JSON is its text."""
    if isinstance(value, str):
        return encodable(redact(value))
    if isinstance(value, Mapping):
        return {encodable(str(key)): redacted(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    return value if isinstance(value, int) and abs(value) < _WHOLE else str(value)
