"""A question put to a person: what, why, which risk, which plan; and their answer."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlock.surfaces.cli.common import hanging, visible

if TYPE_CHECKING:
    from rich.console import Console

    from interlock.model.approval import Approval


def show(out: Console, approval: Approval) -> None:
    """Print everything that the yes would cover."""
    from rich.text import Text  # noqa: PLC0415

    out.rule(f"[yellow]approval {approval.id}[/]", style="yellow")
    shown = approval.shown
    line(out, "what", what_of(approval))
    for reason in reasons_of(approval):
        line(out, "why", reason, "yellow")
    for finding in _texts(shown.get("findings")):
        line(out, "seen", finding, "red")
    risk = shown.get("risk")
    if isinstance(risk, Mapping):
        line(out, "risk", str(risk.get("level", "")), "red" if risk.get("level") in {"high", "critical"} else "")
        for factor in risk.get("factors", ()):
            line(out, "", f"{factor.get('name')}: {factor.get('evidence')}", "dim")
    elif risk:
        line(out, "risk", str(risk))
    _show_plan(out, shown.get("plan"))
    _show_call(out, shown)
    line(out, "where", str(shown.get("environment", "")))
    others = f"{approval.quorum} people" if approval.quorum > 1 else "one person"
    apart = f", not {approval.requester} who asked for it" if approval.separate else ""
    line(
        out,
        "who",
        f"needs {others}{apart}; {len(approval.votes)} answered; until {approval.expires_at:%Y-%m-%d %H:%M} UTC",
    )
    line(out, "covers", f"exactly this, once ({approval.digest[:19]}…)", "dim")
    out.print(Text())


def reasons_of(approval: Approval) -> list[str]:
    """Why a person is asked, the strictest reason first."""
    return _texts(approval.shown.get("reasons")) or [approval.reason]


def what_of(approval: Approval) -> str:
    """What is asked about, in one line."""
    if approval.subject == "file_change":
        return f"everything that {approval.shown.get('agent') or 'the agent'} has changed, as a patch"
    return str(approval.shown.get("task") or approval.shown.get("call") or approval.subject)


def _show_plan(out: Console, plan: Any) -> None:
    if not isinstance(plan, Mapping):
        return
    for number, phase in enumerate(plan.get("phases", ()), start=1):
        for assignment in phase.get("assignments", ()):
            line(out, f"phase {number}", str(assignment.get("agent", "")), "cyan")


def _show_call(out: Console, shown: Mapping[str, Any]) -> None:
    args = shown.get("args")
    if not isinstance(args, Mapping):
        return
    line(out, "agent", str(shown.get("agent", "")), "cyan")
    for name, value in args.items():
        line(out, str(name), str(value))


def line(out: Console, label: str, text: str, style: str = "") -> None:
    """One labelled line, wrapped under itself."""
    if text:
        hanging(out, f"{label:>10} ", visible(text), style=style, head_style="dim")


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else []


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """A person's answer."""

    voter: str
    approve: bool
    note: str = ""


def _forget_typed_ahead() -> None:
    """What was typed before the question was on the screen answers something else."""
    if sys.stdin.isatty():
        import termios  # noqa: PLC0415 - only where there is a terminal

        termios.tcflush(sys.stdin, termios.TCIFLUSH)


def put(out: Console, approval: Approval, voter: str) -> Answered | None:
    """Show the question and read the answer; None when it is left for later."""
    show(out, approval)
    while True:
        out.print("[bold]y[/] yes, go on · [bold]n[/] no, end it · [bold]l[/] later (default): ", end="")
        sys.stdout.flush()
        _forget_typed_ahead()
        answer = sys.stdin.readline().strip().lower()
        if answer in {"y", "yes"}:
            return Answered(voter=voter, approve=True)
        if answer in {"n", "no"}:
            return Answered(voter=voter, approve=False)
        if answer in {"", "l", "later"}:
            return None
        out.print(f'"{answer}" is no answer; type y, n or l')
