"""A question put to a person: what, why, which risk, which plan; and their answer."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlock.model.approval import Approval

if TYPE_CHECKING:
    from rich.console import Console


def show(out: Console, approval: Approval) -> None:
    """Print everything that the yes would cover."""
    from rich.text import Text  # noqa: PLC0415

    out.rule(f"[yellow]approval {approval.id}[/]", style="yellow")
    shown = approval.shown
    line(out, "what", str(shown.get("task") or shown.get("call") or shown.get("subject") or ""))
    for reason in _texts(shown.get("reasons")) or [approval.reason]:
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
    from rich.padding import Padding  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    if not text:
        return
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=9, justify="right", style="dim")
    grid.add_column(overflow="fold")
    grid.add_row(label, Text(_visible(text), style=style))
    out.print(Padding(grid, (0, 0)))


def _visible(text: str) -> str:
    """Control and direction characters shown as what they are: the approver must see what will be executed."""
    return "".join(char if char.isprintable() or char in "\n\t" else f"\\u{ord(char):04x}" for char in text)


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else []


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """A person's answer."""

    voter: str
    approve: bool
    note: str = ""


def put(out: Console, approval: Approval, voter: str) -> Answered | None:
    """Show the question and read the answer; None when it is left for later."""
    show(out, approval)
    while True:
        out.print("[bold]y[/]es, go on · [bold]n[/]o, end it · [bold]l[/]ater (default): ", end="")
        sys.stdout.flush()
        answer = sys.stdin.readline().strip().lower()
        if answer in {"y", "yes"}:
            return Answered(voter=voter, approve=True)
        if answer in {"n", "no"}:
            return Answered(voter=voter, approve=False)
        if answer in {"", "l", "later"}:
            return None
        out.print(f'"{answer}" is no answer; type y, n or l')
