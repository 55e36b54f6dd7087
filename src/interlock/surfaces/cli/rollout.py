"""``interlock rollout``: a new version of an agent, or of the policies, for a share of the work first, then for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, Json, console, hanging, me, opened, say_json

if TYPE_CHECKING:
    from rich.console import Console

    from interlock.engine.rollouts import RolloutView
    from interlock.model.rollout import Judgements, Rollout

app = typer.Typer(no_args_is_help=True, help="Try new versions of agents and policies on a share.")

Agent = Annotated[str, typer.Argument(metavar="AGENT", help="Its name, or `policies`.")]


@app.command()
def start(
    agent: Agent,
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="Its name under versions: or policies.versions: in interlock.yaml.")
    ],
    steps: Annotated[str, typer.Option("--steps", help="Percentages on the way, such as 5,25,50.")] = "",
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Give a version of an agent to the first step's share of the executions.

    For `policies`: the version judges every call beside the present set, and nobody obeys it until you promote it. One that
    only tightens is in force at once, unless --steps says otherwise (0 is judging beside).
    """
    try:
        wanted = [int(each) for each in steps.split(",") if each.strip()]
    except ValueError as bad:
        raise typer.BadParameter("steps are whole percentages, such as 5,25,50") from bad
    with opened(env, config) as service:
        _said(service.rollouts.start(agent, version, me(), steps=wanted), as_json)


@app.command()
def status(
    agent: Annotated[str, typer.Argument(metavar="[AGENT]")] = "",
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Show the rollouts and what the evidence says."""
    with opened(env, config) as service:
        views = service.rollouts.views(agent)
    if as_json:
        say_json(views)
        return
    out = console()
    for view in views:
        _print(out, view.rollout, short=view.rollout.state == "running")
        if view.judgements is not None:
            _show_judgements(view, view.judgements)
            continue
        found = view.comparison
        out.print(
            f"  {found.canary_runs} new and {found.stable_runs} stable executions, {found.pairs} pairs", markup=False
        )
        for each in found.evidence:
            out.print(f"  {each.name}: {each.seen}; worse {each.worse:.2g}, fine {each.fine:.2g}", markup=False)
        if view.rollout.state == "running":
            hanging(out, "  → ", f"{view.next}: {view.why}")
    if not views:
        out.print("no rollouts")


@app.command()
def promote(
    agent: Agent,
    fully: Annotated[bool, typer.Option("--fully", help="To everybody, not only the next step.")] = False,
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Take the next step, whatever the evidence says; after the last one, everybody gets the version."""
    with opened(env, config) as service:
        _said(service.rollouts.promote(agent, me(), fully=fully), as_json)


@app.command()
def abort(
    agent: Agent,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the ledger.")] = "",
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Give everybody the stable version again; a promoted version can be taken back too."""
    with opened(env, config) as service:
        _said(service.rollouts.abort(agent, me(), reason), as_json)


@app.command()
def resume(agent: Agent, env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Let the evidence decide again, after a pause."""
    with opened(env, config) as service:
        _said(service.rollouts.resume(agent, me()), as_json)


def _show_judgements(view: RolloutView, found: Judgements) -> None:
    out = console()
    under_way = view.rollout.state in {"running", "paused"}
    if not (found.calls or under_way):
        return
    out.print(
        f"  {found.calls} calls of {found.runs} runs judged by both sets, {found.canary_calls} of them by the new one for real",
        markup=False,
    )
    out.print(
        f"  {found.tighter} would be tighter, {found.looser} looser, {found.errors} errors, {found.left_out} not compared",
        markup=False,
    )
    for each in view.comparison.evidence:
        out.print(f"  {each.name}: {each.seen}", markup=False)
    for example in found.examples:
        way = "tighter" if example.tighter else "looser "
        hanging(out, f"    {way} {example.old} → {example.new}  ", f"{example.agent}: {example.call}")
        hanging(out, "            ", example.why, head_style="dim", style="dim")
    if under_way:
        hanging(out, "  → ", f"{view.next}: {view.why}")


def _said(rollout: Rollout, as_json: bool) -> None:
    if as_json:
        say_json(rollout)
    else:
        _print(console(), rollout)


def _print(out: Console, rollout: Rollout, *, short: bool = False) -> None:
    from interlock.model.rollout import POLICIES  # noqa: PLC0415 - help stays fast

    stable = rollout.stable or ("as configured" if rollout.agent == POLICIES else "as defined")
    said = f"{rollout.agent}: {rollout.canary} for {rollout.percent} %, else {stable}"
    hanging(out, f"{rollout.state:<10}", said if short else f"{said} ({rollout.reason})")
