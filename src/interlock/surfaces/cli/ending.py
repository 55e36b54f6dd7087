"""How a run ended, for people: what each agent delivered, what changed, where to look, what to do next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.model.agent import AgentResult
from interlock.model.decision import one_line
from interlock.model.run import Outcome, OutcomeKind
from interlock.surfaces.cli.common import console, many, visible
from interlock.surfaces.cli.question import line

if TYPE_CHECKING:
    from rich.console import Console

    from interlock.service import RunView, Service

_STYLES = {OutcomeKind.SUCCEEDED: "green", OutcomeKind.CANCELLED: "yellow", OutcomeKind.ROLLED_BACK: "yellow"}
_DIFF_LINES = 40
_REFUSED = 3
_NEXT = {
    OutcomeKind.BLOCKED: 'change the task, or have a person change the policy: interlock policy explain "…"',
    OutcomeKind.ROLLED_BACK: "nothing of it is left; the reason says what the task or the agent has to do otherwise",
    OutcomeKind.EXPIRED: "submit it again when somebody can answer",
}


def print_outcome(service: Service, view: RunView) -> None:
    """The whole ending on one screen."""
    outcome = view.run.outcome
    if outcome is None:
        return
    out = console()
    style = _STYLES.get(outcome.kind, "red")
    out.print()
    out.rule(f"[bold {style}]{outcome.kind.replace('_', ' ')}[/] · {view.run.id}", style=style)
    line(out, "task", view.run.task.text)
    line(out, "why", outcome.reason, style)
    for agent, result in outcome.results.items():
        _print_result(out, agent, result)
    if outcome.kind is OutcomeKind.SUCCEEDED:
        _print_refused(out, service, view.run.id)
    _print_left(out, outcome)
    _print_diff(out, service, view, outcome)
    _print_where(out, service, view, outcome)


def _print_result(out: Console, agent: str, result: AgentResult) -> None:
    line(out, "agent", agent, "bold cyan")
    line(out, "", result.summary)
    for label, texts in (
        ("made", result.deliverables), ("look at", result.artefacts), ("next", result.next_steps),
        ("blocker", result.blockers), ("advice", result.recommendations),
    ):  # fmt: skip
        for text in texts:
            line(out, label, text, "red" if label == "blocker" else "")


def _print_refused(out: Console, service: Service, run_id: str) -> None:
    """A run may succeed although the gate had to refuse calls: whoever takes its work should know."""
    refused = [entry for entry in service.ledger.stream(run_id=run_id) if entry.kind == "call.blocked"]
    for entry in refused[:_REFUSED]:
        line(
            out,
            "refused",
            f"{entry.actor}: {entry.data.get('call', '')}: {one_line(entry.data.get('reasons', ()))}",
            "red",
        )
    if len(refused) > _REFUSED:
        line(out, "refused", f"{len(refused) - _REFUSED} more: interlock audit show {run_id}", "red")


def _print_left(out: Console, outcome: Outcome) -> None:
    for label, texts, style in (
        ("undone", outcome.undone, "yellow"), ("NOT undone", outcome.not_undone, "red"),
        ("unknown", outcome.unknown, "red"),
    ):  # fmt: skip
        for text in texts:
            line(out, label, text, style)
    for conflict in outcome.conflicts:
        line(out, "conflict", f"{' and '.join(conflict.agents)}: {conflict.what} {' '.join(conflict.paths)}", "red")
        line(out, "advice", conflict.advice)


def _print_diff(out: Console, service: Service, view: RunView, outcome: Outcome) -> None:
    diff = service.runs.diff(view.run.id) if outcome.changed and outcome.branch else ""
    if not diff:
        return
    lines = [visible(text) for text in diff.split("\n") if not text.startswith("index ")]
    out.rule("[dim]the changes[/]", style="dim")
    from rich.text import Text  # noqa: PLC0415

    for text in lines[:_DIFF_LINES]:
        style = "green" if text.startswith("+") else "red" if text.startswith("-") else "dim"
        out.print(Text(text, style=style), no_wrap=True, overflow="ellipsis", crop=True)
    if len(lines) > _DIFF_LINES:
        out.print(f"[dim]… {len(lines) - _DIFF_LINES} more lines[/]")
    out.rule(style="dim")


def _next(outcome: Outcome) -> str:
    if outcome.kind is not OutcomeKind.ESCALATED:
        return _NEXT.get(outcome.kind, "")
    left = outcome.undone or outcome.not_undone or outcome.unknown
    what = "above is what was and was not undone" if left else "the reason is above"
    return f"a person is needed: {what}, the effects are in `interlock show`"


def _print_where(out: Console, service: Service, view: RunView, outcome: Outcome) -> None:
    line(out, "go there", way_to(service.settings.project), "bold")
    if outcome.branch:
        line(out, "review", f"git diff HEAD...{outcome.branch}" if "/" in outcome.branch else outcome.branch, "bold")
        line(out, "take", f"git merge {outcome.branch}")
    if outcome.patch:
        line(out, "patch", outcome.patch, "bold")
    line(out, "next", _next(outcome))
    check = service.ledger.verify()
    whole = f"whole: {check.records} records of {many(check.runs, 'run')}, {many(check.checkpoints, 'checkpoint')}"
    line(out, "ledger", f"NOT whole: {check.problem}" if check.problem else whole, "red" if check.problem else "green")
    line(out, "more", f"interlock show {view.run.id} · interlock audit show {view.run.id}", "dim")


def way_to(project: Path) -> str:
    """The command that goes where the commands of an ending work; empty when that is here."""
    here = Path.cwd()
    if here.is_relative_to(project):
        return ""
    return f"cd {shlex.quote(str(project.relative_to(here) if project.is_relative_to(here) else project))}"
