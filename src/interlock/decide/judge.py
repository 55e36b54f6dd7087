"""The judge: one action, what was read in it, the policies; one decision. Pure, deterministic, only tighter."""

from __future__ import annotations

from interlock.decide.matching import RANK, Facts
from interlock.decide.policy import Match, PolicySet
from interlock.model.action import Action, Finding, Reading, Surface
from interlock.model.decision import Decision, RuleAction, Verdict
from interlock.model.risk import RiskLevel
from interlock.reading.failed import GATE_FAILED, failure

_VERDICTS = (Verdict.ALLOW, Verdict.CONFIRM, Verdict.BLOCK)
_ALLOW, _CONFIRM, _BLOCK = range(3)
_BY_SEVERITY = {
    RiskLevel.LOW: _ALLOW,
    RiskLevel.MEDIUM: _ALLOW,
    RiskLevel.HIGH: _CONFIRM,
    RiskLevel.CRITICAL: _BLOCK,
}
_BY_ACTION = {RuleAction.ALLOW: _ALLOW, RuleAction.WARN: _ALLOW, RuleAction.CONFIRM: _CONFIRM, RuleAction.BLOCK: _BLOCK}
_RISK_OF = {
    RuleAction.ALLOW: RiskLevel.LOW,
    RuleAction.WARN: RiskLevel.MEDIUM,
    RuleAction.CONFIRM: RiskLevel.HIGH,
    RuleAction.BLOCK: RiskLevel.CRITICAL,
}
_ASKED_FIRST = frozenset({Surface.TASK, Surface.PLAN})
_PAST = {RuleAction.BLOCK: "blocked", RuleAction.CONFIRM: "asked a person about"}
_NOT_ACCEPTABLE = frozenset({"flow", "chain", "gate"})


def judge(
    action: Action,
    reading: Reading,
    policies: PolicySet,
    *,
    floor: RiskLevel = RiskLevel.LOW,
    flow: tuple[Finding, ...] = (),
    environment: str,
) -> Decision:
    """Decide about an action.

    A critical finding blocks, a high one asks a person, a medium one is a warning (severity as documented on
    ``Finding``). Rules of strict policies add to that and never take away, except that an ``accept`` (see
    :meth:`PolicySet.accepted`) turns named high findings of a reader into warnings. The most restrictive answer wins.

    Args:
        action: what is about to happen.
        reading: what the readers understood of it.
        policies: the compiled policies.
        floor: the risk that is already known of what the action belongs to. The decision's risk is never below it, and a
            task or a plan at high or critical risk is put before a person (spec 1).
        flow: findings about where values come from and go to, and about sequences.
        environment: where the action takes effect; the action's own word for it counts too, the stricter wins.

    Never raises: what goes wrong is a block with that reason.
    """
    try:
        return _judge(action, reading, policies, floor=floor, flow=flow, environment=environment)
    except Exception as problem:  # noqa: BLE001 - whatever goes wrong in the gate is a block, never an allow
        return failed(f"{type(problem).__name__}: {problem}", policy_digest=policies.digest)


def failed(why: str, *, action_digest: str = "", policy_digest: str = "") -> Decision:
    """The decision when the check itself did not work: block."""
    finding = failure(why)
    return Decision(
        verdict=Verdict.BLOCK,
        reasons=(finding.reason,),
        rule_ids=(GATE_FAILED,),
        findings=(finding,),
        risk=RiskLevel.CRITICAL,
        action_digest=action_digest,
        policy_digest=policy_digest,
    )


def _judge(
    action: Action,
    reading: Reading,
    policies: PolicySet,
    *,
    floor: RiskLevel,
    flow: tuple[Finding, ...],
    environment: str,
) -> Decision:
    findings = (*reading.findings, *flow) if flow else reading.findings
    facts = Facts(action, reading, findings, environment)
    accepted = _accepted(policies.accepted(facts), findings)
    said = _Said()
    for finding in reading.findings:
        said.finding(finding, accepted.get(finding.kind))
    for finding in flow:  # what was found about the way here is nobody's to accept
        said.finding(finding, None)
    for match in policies.matches(facts):
        said.rule(match)
    said.risk = max(said.risk, RANK[floor])
    if action.kind in _ASKED_FIRST and RANK[floor] >= RANK[RiskLevel.HIGH]:
        said.ask(_CONFIRM, f"The {action.kind} carries {floor} risk, so a person confirms it first.", "risk.floor")
    return Decision(
        verdict=_VERDICTS[said.verdict],
        reasons=said.in_order(),
        rule_ids=said.sources(),
        warnings=tuple(sorted(set(said.warnings))) if said.warnings else (),
        findings=findings,
        risk=_LEVELS[said.risk],
        quorum=said.quorum,
        action_digest=action.digest,
        policy_digest=policies.digest,
    )


_LEVELS = tuple(RiskLevel)


class _Said:
    """What has been said so far; it only gets stricter."""

    __slots__ = ("quorum", "reasons", "risk", "verdict", "warnings")

    def __init__(self) -> None:
        self.verdict = _ALLOW
        self.risk = 0
        self.quorum = 1
        self.reasons: list[tuple[int, str, str]] = []
        self.warnings: list[str] = []

    def ask(self, verdict: int, reason: str, source: str) -> None:
        self.verdict = max(self.verdict, verdict)
        self.reasons.append((-verdict, source, reason))

    def finding(self, finding: Finding, accepted: Match | None) -> None:
        self.risk = max(self.risk, RANK[finding.severity])
        verdict = _BY_SEVERITY[finding.severity]
        reason = finding.reason or f"{finding.kind}: {finding.evidence}"
        if verdict == _CONFIRM and accepted is not None and finding.detector not in _NOT_ACCEPTABLE:
            self.warnings.append(f"{accepted.rule.id} accepts {finding.kind}: {accepted.rule.reason} ({reason})")
        elif verdict:
            self.ask(verdict, reason, finding.kind)
        elif finding.severity is RiskLevel.MEDIUM:
            self.warnings.append(reason)

    def rule(self, match: Match) -> None:
        rule = match.rule
        if rule.action is RuleAction.ALLOW:
            return
        reason = _rule_reason(match)
        if match.advisory:
            verb = _PAST.get(rule.action)
            self.warnings.append(
                f"Policy {rule.id} is advisory; strict, it would have {verb} this: {reason}" if verb else reason
            )
            return
        self.risk = max(self.risk, RANK[_RISK_OF[rule.action]])
        if rule.action is RuleAction.WARN:
            self.warnings.append(reason)
            return
        if rule.action is RuleAction.CONFIRM:
            self.quorum = max(self.quorum, rule.quorum)
        self.ask(_BY_ACTION[rule.action], reason, rule.id)

    def in_order(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(reason for _, _, reason in sorted(self.reasons))) if self.reasons else ()

    def sources(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(source for _, source, _ in sorted(self.reasons))) if self.reasons else ()


def _accepted(matches: tuple[Match, ...], findings: tuple[Finding, ...]) -> dict[str, Match]:
    """By kind of finding, the rule that accepts it. A block of the check itself ends all acceptance."""
    if not matches or any(finding.kind == GATE_FAILED for finding in findings):
        return {}
    found: dict[str, Match] = {}
    for match in sorted(matches, key=lambda match: match.rule.id):
        for kind in match.rule.accept:
            found.setdefault(kind, match)
    return found


def _rule_reason(match: Match) -> str:
    rule = match.rule
    reason = rule.reason or _plain_reason(match)
    return f"{reason} ({match.why}; what cannot be told counts as true)" if match.why else reason


def _plain_reason(match: Match) -> str:
    rule = match.rule
    does = {RuleAction.BLOCK: "blocks this", RuleAction.CONFIRM: "asks a person about this"}.get(
        rule.action, "warns of this"
    )
    words = [f"{fact} {' or '.join(values)}" for fact, values in sorted(rule.match.items())]
    if rule.pattern:
        words.append(f"the text holds {rule.pattern!r}")
    if rule.when:
        words.append(f"{rule.when} holds")
    return f"Rule {rule.id} {does}: {', '.join(words)}."
