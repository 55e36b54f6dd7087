"""``interlock config``: what is set, where it comes from, and whether it can be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, Json

app = typer.Typer(no_args_is_help=True, help="Show and check the configuration.")


@app.command()
def show(
    env: Env = None,
    config: ConfigFile = None,
    *,
    as_json: Json = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what agents and recovery leave at its default.")
    ] = False,
) -> None:
    """Show every setting and where it comes from."""
    from interlock.config import effective, load_settings  # noqa: PLC0415 - help stays fast

    rows = effective(load_settings(Path.cwd(), env=env, file=config))
    if as_json:
        typer.echo(
            json.dumps([{"key": key, "value": value, "source": source} for key, value, source in rows], indent=2)
        )
        return
    shown = [row for row in rows if everything or not _noise(row)]
    for key, value, source in shown:
        typer.echo(f"{key} = {_text(value)}  ({source})")
    if len(shown) < len(rows):
        typer.echo(f"… and {len(rows) - len(shown)} defaults of agents and recovery: --all shows them")


@app.command()
def schema() -> None:
    """Print the JSON Schema of interlock.yaml, for editors."""
    from interlock.config import json_schema  # noqa: PLC0415 - help stays fast

    typer.echo(json.dumps(json_schema(), indent=2))


@app.command()
def check(env: Env = None, config: ConfigFile = None, *, as_json: Json = False) -> None:
    """Check the configuration for all environments; exit 2 when it cannot be used."""
    from interlock.config import problems  # noqa: PLC0415 - help stays fast

    found = problems(Path.cwd(), env=env, file=config)
    if as_json:
        plain = [
            {"message": item.message, "file": item.file, "line": item.line, "suggestion": item.suggestion}
            for item in found
        ]
        typer.echo(json.dumps({"ok": not found, "problems": plain}, indent=2))
    elif not found:
        typer.echo("the configuration is fine")
    for item in () if as_json else found:
        typer.echo(str(item), err=True)
    if found:
        raise typer.Exit(2)


def _noise(row: tuple[str, Any, str]) -> bool:
    key, value, source = row
    return source == "default" and (
        key.startswith("recovery.") or (key.startswith("agents.") and value in (None, "", [], False))
    )


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) or value == "" else str(value)
