"""``interlock undo``: one call taken back."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, Json, console, me, opened, say_json


def undo(
    effect: Annotated[
        str, typer.Argument(metavar="CALL", help="A call's id (eff_…), as `interlock show RUN` lists them.")
    ],
    why: Annotated[str, typer.Option(help="A word of reason, kept in the ledger.")] = "",
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Undo one call of a run.

    In a workspace at work: back to before it; on a branch left for review: its change is taken out.
    """
    with opened(env, config) as service:
        undone = service.runs.undo_call(effect, actor=me(), why=why)
    if as_json:
        say_json(undone)
        return
    out = console()
    out.print(f"undone: {undone.effect.summary}", markup=False)
    for other in undone.also:
        out.print(f"  with it, because it came later: {other.summary}", style="yellow", markup=False)
    if undone.commit:
        out.print(f"  as a commit on the run's branch: {undone.commit[:12]}", markup=False)
    if undone.diff:
        out.print(undone.diff.rstrip("\n"), markup=False)
