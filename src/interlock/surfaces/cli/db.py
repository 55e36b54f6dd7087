"""``interlock db``: what compensations of databases need. Name them in a call's compensation or an agent's rollback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from interlock.surfaces.cli.common import Json, say_json

app = typer.Typer(no_args_is_help=True, help="Save, check and bring back a database of yours: SQLite or Postgres.")

Where = Annotated[
    str, typer.Argument(metavar="DATABASE", help="A file, a URL (sqlite:///…, postgresql://…), or env:NAME of one.")
]
File = Annotated[Path, typer.Argument(metavar="BACKUP", help="The backup's file.")]


@app.command()
def backup(
    database: Where,
    file: File,
    table: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Postgres: only these tables.")] = None,
    as_json: Json = False,
) -> None:
    """Save a database, also while others write to it."""
    from interlock.databases import open_database  # noqa: PLC0415 - help does without it

    _say(open_database(database).backup(file, tuple(table or ())), as_json, f"saved to {file}: ")


@app.command()
def restore(
    database: Where,
    file: File,
    down: Annotated[
        Path | None,
        typer.Option(metavar="SQL", help="The reverse migration, tried first; of a file with '-- down', that part."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring a database back to a backup: by its reverse migration if that restores everything, else from the file."""
    from interlock.databases import open_database  # noqa: PLC0415 - help does without it

    _say(open_database(database).restore(file, down), as_json)


@app.command()
def validate(
    database: Where,
    like: Annotated[Path | None, typer.Option(metavar="BACKUP", help="Also: as much in it as in this backup.")] = None,
    as_json: Json = False,
) -> None:
    """Check a database: every table readable, no orphaned foreign keys, counts as in the backup. Exit 1 when not."""
    from interlock.databases import open_database  # noqa: PLC0415 - help does without it

    found = open_database(database).problems(like)
    if as_json:
        say_json({"sound": not found, "problems": found})
    else:
        typer.echo("\n".join(found) or "sound")
    raise typer.Exit(1 if found else 0)


def _say(what: str, as_json: bool, before: str = "") -> None:
    if as_json:
        say_json({"done": what})
    else:
        typer.echo(before + what)
