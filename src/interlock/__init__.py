"""Interlock: a safe orchestrator for AI agents."""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it; importing typing would slow down every agent that imports interlock.agent

if TYPE_CHECKING:
    from typing import Any

    from interlock.errors import InterlockError
    from interlock.model.action import Action, Finding, Labels, Surface
    from interlock.model.agent import AgentResult, AgentSpec, Priority
    from interlock.model.approval import Approval
    from interlock.model.decision import Decision, Verdict
    from interlock.model.risk import RiskAssessment, RiskLevel
    from interlock.model.run import Compensation, Outcome, OutcomeKind
    from interlock.ports import Gate, Job
    from interlock.surfaces.library import Orchestrator

__version__ = "0.1.0"

_HOMES = {
    "Action": "model.action",
    "AgentResult": "model.agent",
    "AgentSpec": "model.agent",
    "Approval": "model.approval",
    "Compensation": "model.run",
    "Decision": "model.decision",
    "Finding": "model.action",
    "Gate": "ports",
    "InterlockError": "errors",
    "Job": "ports",
    "Labels": "model.action",
    "Orchestrator": "surfaces.library",
    "Outcome": "model.run",
    "OutcomeKind": "model.run",
    "Priority": "model.agent",
    "RiskAssessment": "model.risk",
    "RiskLevel": "model.risk",
    "Surface": "model.action",
    "Verdict": "model.decision",
}

__all__ = [
    "Action",
    "AgentResult",
    "AgentSpec",
    "Approval",
    "Compensation",
    "Decision",
    "Finding",
    "Gate",
    "InterlockError",
    "Job",
    "Labels",
    "Orchestrator",
    "Outcome",
    "OutcomeKind",
    "Priority",
    "RiskAssessment",
    "RiskLevel",
    "Surface",
    "Verdict",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is asked for: the engine takes half a second to import, help should not."""
    import importlib  # noqa: PLC0415 - for the same reason

    if name not in _HOMES:
        raise AttributeError(f"interlock has no {name!r}")
    return getattr(importlib.import_module(f"interlock.{_HOMES[name]}"), name)
