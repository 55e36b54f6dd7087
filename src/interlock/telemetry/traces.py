"""A run as spans, from its ledger records: one trace a run, down to each tool call. Pure.

Names are those of OpenTelemetry's GenAI conventions (semantic-conventions-genai v0.1.0, status Development: a workflow is
an agent whose operation is ``invoke_workflow``); what they lack is under ``interlock.``. Ids follow from the run's, so exporting a run twice gives the same spans.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from interlock.model.ledger import LedgerEntry

Attribute = str | int | tuple[str, ...]


@dataclass(kw_only=True, slots=True)
class Span:
    """One stretch of work."""

    key: str
    """What it is about: a run, an attempt, an effect. The span's id is made of it."""
    parent: str
    name: str
    start: datetime
    end: datetime | None = None
    remote: bool = False
    error: str = ""
    """``error.type``; empty when it went well."""
    attributes: dict[str, Attribute] = field(default_factory=dict)
    events: list[tuple[str, datetime, dict[str, Attribute]]] = field(default_factory=list)


def trace_id(run_id: str) -> int:
    """The trace of a run, 128 bits."""
    return int.from_bytes(hashlib.sha256(f"trace:{run_id}".encode()).digest()[:16], "big")


def span_id(run_id: str, key: str) -> int:
    """The span of one of the run's parts, 64 bits."""
    return int.from_bytes(hashlib.sha256(f"span:{run_id}:{key}".encode()).digest()[:8], "big")


def spans_of(entries: Iterable[LedgerEntry], *, contents: bool = False) -> list[Span]:
    """The spans of one run's records, parents first. What has no end ends with the last record.

    Args:
        entries: all records of one run in order.
        contents: whether texts of tasks and calls are included (redacted); the conventions make that opt-in.
    """
    story = _Story(contents)
    for entry in entries:
        story.tell(entry)
    return story.finished()


_ASKED = frozenset(
    {"approval.asked", "approval.approved", "approval.denied", "approval.expired", "run.confirmed", "recovery.chosen"}
)


class _Story:
    def __init__(self, contents: bool) -> None:
        self._contents = contents
        self._spans: dict[str, Span] = {}
        self._root: Span | None = None
        self._last: datetime | None = None
        self._calls = 0

    def tell(self, entry: LedgerEntry) -> None:
        self._last = entry.at
        if self._root is None:
            self._begin(entry)
        match entry.kind.split(".")[0]:
            case "attempt":
                self._attempt(entry)
            case "effect" | "call":
                self._call(entry)
            case _:
                self._other(entry)

    def finished(self) -> list[Span]:
        for span in self._spans.values():
            span.end = span.end or self._last
        return list(self._spans.values())

    def _open(self, span: Span, facts: Mapping[str, Any]) -> Span:
        span.attributes.update({name: value for name, value in facts.items() if value not in ("", None, ())})
        return self._spans.setdefault(span.key, span)

    def _begin(self, entry: LedgerEntry) -> None:
        text = str(entry.data.get("task") or "") if self._contents else ""
        self._root = self._open(
            Span(key="run", parent="", name="invoke_workflow interlock", start=entry.at),
            {"gen_ai.operation.name": "invoke_workflow", "gen_ai.agent.name": "interlock",
             "gen_ai.conversation.id": entry.run_id, "interlock.run.id": entry.run_id, "interlock.task": text,
             "interlock.environment": str(entry.data.get("environment") or "")},
        )  # fmt: skip

    def _attempt(self, entry: LedgerEntry) -> None:
        key, agent = str(entry.data.get("attempt") or ""), str(entry.data.get("agent") or "")
        if entry.kind == "attempt.started":
            self._open(
                Span(key=key, parent="run", name=f"invoke_agent {agent}", start=entry.at),
                {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent,
                 "gen_ai.agent.version": str(entry.data.get("version") or ""),
                 "gen_ai.conversation.id": entry.run_id, "interlock.attempt.id": key,
                 "interlock.attempt.number": _whole(entry.data.get("number"))},
            )  # fmt: skip
            return
        span = self._spans.get(key)
        if span is None:
            return
        if entry.kind in {"attempt.succeeded", "attempt.failed"}:
            span.end = entry.at
            span.error = str(entry.data.get("error") or "")
        elif entry.kind in {"attempt.waiting", "attempt.resumed"}:
            span.events.append((f"interlock.{entry.kind}", entry.at, {}))

    def _call(self, entry: LedgerEntry) -> None:
        if entry.kind in {"effect.intended", "call.blocked"}:
            self._intended(entry)
            return
        span = self._spans.get(str(entry.data.get("effect") or ""))
        if span is not None:
            span.end = entry.at
            span.error = {"effect.failed": "tool_error", "effect.unknown": "unknown"}.get(entry.kind, "")

    def _intended(self, entry: LedgerEntry) -> None:
        tool = str(entry.data.get("tool") or "")
        self._calls += 1
        key = str(entry.data.get("effect") or f"blocked-{self._calls}")
        span = self._open(
            Span(key=key, parent=str(entry.data.get("attempt") or "run"), name=f"execute_tool {tool}", start=entry.at),
            {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool, "gen_ai.tool.call.id": key,
             "gen_ai.agent.name": entry.actor, "interlock.verdict": str(entry.data.get("verdict") or ""),
             "interlock.risk": str(entry.data.get("risk") or ""), "interlock.rules": _words(entry.data.get("rules")),
             "interlock.call": str(entry.data.get("call") or "") if self._contents else ""},
        )  # fmt: skip
        if entry.kind == "call.blocked":
            span.end, span.error = entry.at, "blocked"

    def _other(self, entry: LedgerEntry) -> None:
        root = self._root
        if root is None:
            return
        if entry.kind == "task.assessed":
            root.attributes["interlock.risk"] = str(entry.data.get("level") or "")
        elif entry.kind == "agent.returned":
            self._used(entry)
        elif entry.kind in _ASKED:
            step = str(entry.data.get("step") or "")
            root.events.append((f"interlock.{entry.kind}", entry.at, {"interlock.step": step} if step else {}))
        elif entry.kind == "run.ended":
            outcome = str(entry.data.get("kind") or "")
            root.end = entry.at
            root.attributes["interlock.outcome"] = outcome
            root.error = "" if outcome == "succeeded" else outcome

    def _used(self, entry: LedgerEntry) -> None:
        span, usage = self._spans.get(str(entry.data.get("attempt") or "")), entry.data.get("usage")
        if span is None or not isinstance(usage, Mapping):
            return
        for name in ("input_tokens", "output_tokens"):
            if _whole(usage.get(name)):
                span.attributes[f"gen_ai.usage.{name}"] = _whole(usage.get(name))
        if _whole(usage.get("cost_micros")):
            span.attributes["interlock.usage.cost_micros"] = _whole(usage.get("cost_micros"))


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _words(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, (list, tuple)) else ()
