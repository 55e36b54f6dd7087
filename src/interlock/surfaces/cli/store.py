"""``interlock store``: the database behind it all: brought up to date, looked after, kept small."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, Json, console, me, opened, say_json

app = typer.Typer(no_args_is_help=True, help="Look after the store.")


@app.command()
def migrate(env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Create what is missing. Only adds: older programs that run meanwhile do not notice."""
    with opened(env, config) as service:
        version = service.migrate()
    if as_json:
        say_json({"version": version})
    else:
        console().print(f"the store has version {version}")


@app.command()
def check(env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Say what is wrong with the store: ledger, archives, lost work, disk. Exit code 1 when anything is."""
    with opened(env, config) as service:
        found = service.problems()
    if as_json:
        say_json({"problems": found})
    else:
        for problem in found or ["all is well"]:
            console().print(problem, markup=False)
    raise typer.Exit(1 if found else 0)


@app.command()
def gc(
    days: Annotated[int | None, typer.Option("--days", min=0, help="Instead of retention_days.")] = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only say how many runs it would be.")] = False,
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Archive and remove runs that ended long ago. The ledger still verifies; runs that have not ended stay."""
    with opened(env, config) as service:
        sealed = service.collect(days, actor=me(), dry=dry)
    if as_json:
        say_json(sealed)
    elif dry:
        console().print(f"{sealed.runs} runs would be archived")
    else:
        console().print(f"{sealed.runs} runs with {sealed.records} records archived in {len(sealed.files)} files")
