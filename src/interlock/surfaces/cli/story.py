"""The ledger told to people: one sentence for each kind of record, and one colour for how much it matters."""

from __future__ import annotations

import re
from typing import Any

from interlock.model.decision import one_line
from interlock.model.ledger import LedgerEntry


def sentence(entry: LedgerEntry) -> tuple[str, str]:
    """(what happened, style) of a record; an empty sentence for what only auditors want to see."""
    tell = _SENTENCES.get(entry.kind)
    if tell is None:
        return "", ""
    template, style = tell
    facts = {**{name: _short(value) for name, value in entry.data.items()}, "actor": entry.actor}
    if entry.kind == "recovery.chosen":
        facts["reason"] = _news(facts.get("step", ""), facts.get("reason", ""))
    return re.sub(r"(?<=\S) {2,}", " ", template.format_map(_Facts(facts))).rstrip(), style


def _news(step: str, reason: str) -> str:
    """What a step's reason says beyond the failure, which the line before has told."""
    if step == "escalate":
        return f"({reason})"
    return f"({reason.rpartition('; ')[2]})" if step == "retry" else ""


class _Facts(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return ""


def _short(value: Any) -> str:
    if isinstance(value, list):
        return one_line(_short(item) for item in value)
    text = " ".join(str(value).split())
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}…"


_WIDEST = 300

_SENTENCES = {
    "task.assessed": ("risk {level}", ""),
    "plan.made": ("plan made: {phases}", ""),
    "approval.asked": ("a person must decide: {reason}", "yellow"),
    "approval.approved": ("{actor} said yes ({votes} of {quorum})", "green"),
    "approval.denied": ("{actor} said no {note}", "red"),
    "approval.expired": ("nobody answered in time", "red"),
    "run.started": ("started from {base:.19}", ""),
    "attempt.queued": ("{agent} queued", "dim"),
    "attempt.started": ("{agent} works (attempt {number})", "cyan"),
    "attempt.resumed": ("{agent} taken over by another worker", "yellow"),
    "attempt.waiting": ("waits: {why}", "yellow"),
    "attempt.succeeded": ("{agent} done", "green"),
    "attempt.failed": ("{agent} failed ({error}): {message}", "red"),
    "agent.said": ("  “{text}”", "dim"),
    "agent.returned": ("{agent}: {summary}", ""),
    "agent.stopped": ("stopped by the gate: {why}", "red"),
    "effect.intended": ("  {call}", "dim"),
    "effect.unknown": ("  nobody knows whether this happened: {call}", "red"),
    "call.blocked": ("  blocked: {call}: {reasons}", "red"),
    "file_change.judged": ("  its changes: {verdict} {reasons}", "dim"),
    "validator.passed": ("  {validator}: passed", "green"),
    "validator.failed": ("  {validator}: failed: {problem}", "red"),
    "changes.integrated": ("  taken in: {changed}", ""),
    "recovery.chosen": ("recovery: {step} {agent} {reason}", "yellow"),
    "breaker.changed": ("breaker of {agent}: {from} → {to}: {reason}", "yellow"),
    "breaker.forced": ("{actor} set the breaker of {agent}: {to}: {reason}", "yellow"),
    "undo.done": ("undone ({step}): {what}", "yellow"),
    "undo.failed": ("undo failed ({step}): {what}: {problem}", "red"),
    "undo.impossible": ("cannot be undone: {call}", "red"),
    "run.cancel_requested": ("{actor} cancels", "yellow"),
    "run.confirmed": ("confirmed by {by}", "green"),
}
