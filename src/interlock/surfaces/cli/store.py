"""``interlock store``: the database behind it all: brought up to date, looked after, kept small."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, Json, console, me, opened, say_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.engine.backups import Restored

app = typer.Typer(no_args_is_help=True, help="Look after the store.")


@app.command()
def migrate(env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Create what is missing. Only adds: older programs that run meanwhile do not notice."""
    with opened(env, config) as service:
        version = service.storage.migrate()
    if as_json:
        say_json({"version": version})
    else:
        console().print(f"the store has version {version}")


@app.command()
def check(env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Say what is wrong with the store: ledger, archives, lost work, disk. Exit code 1 when anything is."""
    with opened(env, config) as service:
        found = service.storage.problems()
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
        sealed = service.storage.collect(days, actor=me(), dry=dry)
    if as_json:
        say_json(sealed)
    elif dry:
        console().print(f"{sealed.runs} runs would be archived")
    else:
        console().print(f"{sealed.runs} runs with {sealed.records} records archived in {len(sealed.files)} files")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file; nothing is ever overwritten.")],
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Copy the store to one file while others work, verified. It holds tasks and outputs: keep it as safe as the store."""
    with opened(env, config) as service:
        made = service.storage.backup(file, actor=me())
    if as_json:
        say_json({"file": str(made.file), "digest": made.digest, "records": made.records})
        return
    out = console()
    out.print(f"{made.file}: {made.records} records, verified", markup=False)
    out.print(f"digest {made.digest}", markup=False, soft_wrap=True)
    out.print("keep the digest elsewhere: `interlock store restore FILE --digest …` compares it", markup=False)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `interlock store backup` wrote.")],
    replace: Annotated[bool, typer.Option("--replace", help="Put it in the place of what is there.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Nothing happened since: unfinished runs go on, as after a crash.")
    ] = False,
    digest: Annotated[str, typer.Option("--digest", help="What the backup said when it was made.")] = "",
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Fill the store from a backup, of this database or another. Runs that had not ended are left to a person."""
    with opened(env, config) as service:
        done = service.storage.restore(file, actor=me(), replace_it=replace, resume=resume, digest=digest)
        check = service.ledger.verify()
    if as_json:
        facts = {name: getattr(done, name) for name in ("restore", "records", "taken_back", "differs")}
        say_json({
            **facts, "made_at": done.made_at.isoformat(), "escalated": done.escalated, "resumed": done.resumed,
            "replaced": str(done.replaced or ""), "problem": check.problem,
        })  # fmt: skip
    else:
        for line in _told(done, check.problem):
            console().print(line, markup=False)
    raise typer.Exit(1 if check.problem else 0)


def _told(done: Restored, problem: str) -> Iterator[str]:
    yield f"restored {done.records} records from a backup of {done.made_at:%Y-%m-%d %H:%M} UTC"
    if done.taken_back:
        yield f"{done.taken_back} later records that ledger.anchor knows of are gone; the ledger says so"
    if done.differs:
        yield f"it differs from ledger.anchor from checkpoint {done.differs} on; the ledger says so"
    if done.replaced:
        yield f"what was here before: {done.replaced}"
    if done.escalated:
        yield f"{len(done.escalated)} runs had not ended and are escalated: look what they did, then submit them again"
    if done.resumed:
        yield f"{len(done.resumed)} runs go on with the next worker"
    yield f"NOT whole: {problem}" if problem else "the ledger is whole"
