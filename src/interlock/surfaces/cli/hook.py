"""`interlock hook`: the gate for Claude Code, Codex, Gemini CLI, Cursor and opencode as people run them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="The gate for agents that you run yourself.",
    epilog="Without a subcommand it answers one event on standard input: [--as PROGRAM] [--deadline SECONDS] [--ask queue|native].",
)

For = Annotated[str, typer.Option("--for", metavar="PROGRAM", help="claude, codex, gemini, cursor or opencode.")]
User = Annotated[bool, typer.Option("--user/--project", help="For all of your projects, or for this one.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the change, make none.")]


@app.callback(invoke_without_command=True, context_settings={"ignore_unknown_options": True})
def _event(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        from interlock.surfaces.hook.client import main  # noqa: PLC0415 - help does without it

        raise typer.Exit(main(context.args))


@app.command()
def install(
    program: For,
    user: User = False,
    dry_run: DryRun = False,
    deadline: Annotated[
        float, typer.Option(min=1, max=3600, help="Seconds that a call is held at most, also for a person's answer.")
    ] = 5.0,
    native: Annotated[
        bool, typer.Option("--native-ask", help="Claude and Cursor: let the program itself ask you what needs a yes.")
    ] = False,
) -> None:
    """Put the hook into a program's settings; the file as it was is kept beside it."""
    _change(program, user=user, dry_run=dry_run, deadline_s=deadline, native=native)
    if program == "codex" and not dry_run:
        typer.echo("codex runs hooks only once you have trusted them: start it and answer its question, or use /hooks")


@app.command()
def uninstall(program: For, user: User = False, dry_run: DryRun = False) -> None:
    """Take the hook out of a program's settings; nothing else in them changes."""
    _change(program, user=user, dry_run=dry_run, remove=True)


@app.command()
def serve(
    idle: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="End after so long without a call.")] = 1800,
) -> None:
    """Answer this project's hooks in milliseconds until idle. Hooks start it by themselves when they need it."""
    from interlock.config import find_project  # noqa: PLC0415 - help does without it
    from interlock.surfaces.hook.server import serve as run  # noqa: PLC0415 - the same

    if not run(find_project(Path.cwd()), idle_s=idle):
        sys.stderr.write("interlock: a hook server is already running here\n")


def _change(program: str, *, user: bool, dry_run: bool, **how: Any) -> None:
    from interlock.config import find_project  # noqa: PLC0415 - help does without it
    from interlock.runners.hook_settings import apply, plan  # noqa: PLC0415 - the same

    base = Path.home() if user else find_project(Path.cwd())
    change = plan(program, base, user=user, **how)
    if not change.diff:
        typer.echo(f"nothing to change in {change.file}")
        return
    typer.echo(change.diff, nl=False)
    if dry_run:
        return
    backup = apply(change)
    typer.echo(f"changed {change.file}" + (f"; as it was: {backup}" if backup else ""))
