"""``interlock approvals``: questions to people, from any terminal."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, Json, ago, console, hanging, me, opened, say_json

app = typer.Typer(no_args_is_help=True, help="See and answer what waits for a person.")

_PAGE = 50

ApprovalId = Annotated[str, typer.Argument(metavar="APPROVAL", help="An approval's id or its end, or its run's.")]
Same = Annotated[bool, typer.Option("--same", help="Also to all open questions that show exactly the same.")]
Note = Annotated[str, typer.Option("--note", help="A word of reason, kept in the ledger.")]


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Also the answered ones.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="How many at most: 50, or with --json all.")
    ] = None,
    after: Annotated[str, typer.Option("--after", help="Go on after the question of that id.")] = "",
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """List what waits for an answer."""
    from interlock.model.approval import ApprovalState  # noqa: PLC0415

    with opened(env, config) as service:
        most = limit or (sys.maxsize if as_json else _PAGE)
        found = service.approvals.list(states=() if every else (ApprovalState.PENDING,), after=after, limit=most)
        waiting = service.approvals.waiting()
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
    if len(found) == most:
        flag = " --all" if every else ""
        out.print(f"{waiting} wait for an answer; go on: interlock approvals list{flag} --after {found[-1].id}")


@app.command()
def show(
    approval_id: Annotated[
        str,
        typer.Argument(
            metavar="[APPROVAL]", help="An approval's id or its end, or its run's; not needed when one waits."
        ),
    ] = "",
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Show exactly what a yes would cover."""
    with opened(env, config) as service:
        waiting = [] if approval_id else service.approvals.list(limit=2)
        approval = waiting[0] if len(waiting) == 1 else service.approvals.find(approval_id) if approval_id else None
    if approval is None:
        list_(env=env, config=config, as_json=as_json)
        return
    if as_json:
        say_json(approval)
        return
    from interlock.surfaces.cli.question import show as show_question  # noqa: PLC0415

    show_question(console(), approval)


@app.command()
def approve(
    approval_id: ApprovalId,
    same: Same = False,
    note: Note = "",
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Say yes, once, to exactly what `approvals show` shows."""
    _vote(approval_id, same=same, approve=True, note=note, env=env, config=config, as_json=as_json)


@app.command()
def deny(
    approval_id: ApprovalId,
    same: Same = False,
    note: Note = "",
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Say no: the run ends, or the agent is told that it may not."""
    _vote(approval_id, same=same, approve=False, note=note, env=env, config=config, as_json=as_json)


def _vote(
    approval_id: str, *, same: bool, approve: bool, note: str, env: Env, config: ConfigFile, as_json: bool
) -> None:
    with opened(env, config) as service:
        if same:
            done = service.approvals.vote_on_same(approval_id, me(), approve=approve, note=note)
        else:
            done = [service.approvals.vote(approval_id, me(), approve=approve, note=note)]
        alive = service.workers.any_living(datetime.now(UTC))
    if as_json:
        say_json(done if same else done[0])
        return
    out = console()
    after = done[0]
    if same:
        out.print(f"your answer counts for {len(done)} questions that show the same")
    missing = after.quorum - len(after.votes)
    if approve and missing > 0:
        out.print(f"your yes counts; {missing} more must agree")
    else:
        out.print(f"{after.state}: {after.id}")
    if not alive:
        out.print(f"nothing executes at the moment; go on with: interlock resume{'' if same else f' {after.run_id}'}")
