"""``interlock approvals``: questions to people, from any terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, Json, ago, console, hanging, me, opened, say_json

app = typer.Typer(no_args_is_help=True, help="See and answer what waits for a person.")

ApprovalId = Annotated[str, typer.Argument(metavar="APPROVAL", help="An approval's id or its end, or its run's.")]
Note = Annotated[str, typer.Option("--note", help="A word of reason, kept in the ledger.")]


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Also the answered ones.")] = False,
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """List what waits for an answer."""
    from interlock.model.approval import ApprovalState  # noqa: PLC0415

    with opened(env, config) as service:
        found = service.approvals.list(states=() if every else (ApprovalState.PENDING,))
    if as_json:
        say_json(found)
        return
    from interlock.surfaces.cli.question import reasons_of, what_of  # noqa: PLC0415

    out = console()
    if not found:
        out.print("nothing waits for a person")
    for approval in found:
        hanging(out, "", f"{approval.id}  {approval.state}  {ago(approval.asked_at)}", style="bold")
        hanging(out, "  ", " ".join(what_of(approval).split()))
        first, *more = reasons_of(approval)
        hanging(out, "  ", f"{first} (and {len(more)} more: approvals show)" if more else first, style="yellow")


@app.command()
def show(approval_id: ApprovalId, env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Show exactly what a yes would cover."""
    with opened(env, config) as service:
        approval = service.approvals.find(approval_id)
    if as_json:
        say_json(approval)
        return
    from interlock.surfaces.cli.question import show as show_question  # noqa: PLC0415

    show_question(console(), approval)


@app.command()
def approve(
    approval_id: ApprovalId, note: Note = "", env: Env = None, config: ConfigFile = None, as_json: Json = False
) -> None:
    """Say yes, once, to exactly what `approvals show` shows."""
    _vote(approval_id, approve=True, note=note, env=env, config=config, as_json=as_json)


@app.command()
def deny(
    approval_id: ApprovalId, note: Note = "", env: Env = None, config: ConfigFile = None, as_json: Json = False
) -> None:
    """Say no: the run ends, or the agent is told that it may not."""
    _vote(approval_id, approve=False, note=note, env=env, config=config, as_json=as_json)


def _vote(approval_id: str, *, approve: bool, note: str, env: Env, config: ConfigFile, as_json: bool) -> None:
    with opened(env, config) as service:
        after = service.approvals.vote(approval_id, me(), approve=approve, note=note)
        alive = service.workers.any_living(datetime.now(UTC))
    if as_json:
        say_json(after)
        return
    out = console()
    missing = after.quorum - len(after.votes)
    if approve and missing > 0:
        out.print(f"your yes counts; {missing} more must agree")
    else:
        out.print(f"{after.state}: {after.id}")
    if not alive:
        out.print(f"nothing executes at the moment; go on with: interlock resume {after.run_id}")
