"""The command line, put together from the commands that are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Annotated

import typer

from interlock import __version__


def assemble(homes: Mapping[str, str]) -> typer.Typer:
    """The command line with these commands: their names, and ``module.function`` or ``module.group`` beside this module."""
    app = typer.Typer(
        name="interlock",
        help="A safe orchestrator for AI agents: it assesses, plans, asks, limits, checks every call, rolls back, and proves it.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name, home in homes.items():
        module, _, what = home.partition(".")
        found = getattr(import_module(f"interlock.surfaces.cli.{module}"), what)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"interlock {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass
