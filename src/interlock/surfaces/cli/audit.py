"""``interlock audit``: what happened, and the proof that nothing is missing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, Json, console, hanging, many, opened, say_json

app = typer.Typer(no_args_is_help=True, help="Read, export and verify the ledger.")


@app.command()
def verify(env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Recompute every hash; exit 1 and name the first bad record when anything was changed, removed or reordered."""
    with opened(env, config) as service:
        result = service.ledger.verify()
    if as_json:
        say_json(result)
    elif result.problem:
        console().print(f"NOT whole: {result.problem}", style="red", markup=False)
    else:
        console().print(
            f"whole: {result.records} records of {many(result.runs, 'run')}, {many(result.checkpoints, 'checkpoint')}, "
            f"{result.anchored} of them outside the database", style="green", markup=False,
        )  # fmt: skip
        if result.taken_back:
            console().print(f"restores from older backups have taken back {result.taken_back} records", markup=False)
    raise typer.Exit(1 if result.problem else 0)


@app.command()
def show(
    run_id: Annotated[
        str, typer.Argument(metavar="[RUN]", help='A run\'s id, its end, or "last"; without one, all.')
    ] = "",
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Show records in order: when, who, what."""
    with opened(env, config) as service:
        wanted = service.runs.find(run_id).id if run_id else ""
        out = None if as_json else console()
        for entry in service.ledger.stream(run_id=wanted):
            if out is None:
                say_json(entry)
                continue
            facts = ", ".join(
                f"{name}={_text(value)}" for name, value in entry.data.items() if value not in ("", [], {}, None)
            )
            hanging(
                out, f"{entry.seq:>6} ", f"{entry.at:%Y-%m-%d %H:%M:%S} {entry.kind} [{entry.actor}] {facts}".rstrip()
            )


def _text(value: object) -> str:
    """A value on one line: text as it is, everything else as JSON."""
    import json  # noqa: PLC0415

    return " ".join(value.split()) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@app.command()
def export(
    file: Annotated[Path | None, typer.Option("--out", "-o", help="A file instead of the terminal.")] = None,
    run_id: Annotated[
        str, typer.Argument(metavar="[RUN]", help='A run\'s id, its end, or "last"; without one, all.')
    ] = "",
    env: Env = None,
    config: ConfigFile = None,
) -> None:
    """Write the records as JSON lines, hashes included, for another tool to keep or to verify."""
    import orjson  # noqa: PLC0415

    from interlock.model.plain import dump  # noqa: PLC0415

    with opened(env, config) as service:
        wanted = service.runs.find(run_id).id if run_id else ""
        lines = (orjson.dumps(dump(entry)).decode() + "\n" for entry in service.ledger.stream(run_id=wanted))
        if file is None:
            sys.stdout.writelines(lines)
        else:
            with file.open("w", encoding="utf-8") as target:
                target.writelines(lines)
