"""``interlock agents``: the catalogue, what was learned about it, and why an agent would be chosen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.errors import InterlockError, NotFoundError, did_you_mean
from interlock.surfaces.cli import choosing
from interlock.surfaces.cli.common import ConfigFile, Env, Json, opened

app = typer.Typer(no_args_is_help=True, help="Look at the agents, and learn who does what from history.")

_RUNS = 1000
"""How many of the newest runs are looked through for outcomes that have not taught yet."""
Agents = Annotated[Path | None, typer.Option(help="Another catalogue: a folder or a file of agents.")]


def _said(function: Callable[..., None]) -> Callable[..., None]:
    """Errors raised on purpose end a command with a sentence and their exit code."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except InterlockError as problem:
            typer.echo(f"interlock: {problem}", err=True)
            raise typer.Exit(problem.exit_code) from problem

    return run


@app.command("list")
@_said
def list_(agents: Agents = None, env: Env = None, config: ConfigFile = None, *, as_json: Json = False) -> None:
    """List the agents of the catalogue."""
    project = choosing.load_project(agents=agents, env=env, config=config)
    if as_json:
        choosing.print_json([{"name": spec.name, "description": spec.description} for spec in project.agents])
        return
    for spec in project.agents:
        typer.echo(spec.name + ("  (only replaces others)" if spec.fallback_only else ""))
        for line in choosing.wrapped("  ", "  ", spec.description)[:2] if spec.description else ():
            typer.echo(line)
    if not project.agents:
        typer.echo("no agents: put definitions into .claude/agents, or run `interlock init`")


@app.command()
@_said
def show(
    name: str, agents: Agents = None, env: Env = None, config: ConfigFile = None, *, as_json: Json = False
) -> None:
    """Show everything about one agent."""
    from interlock.model.plain import dump  # noqa: PLC0415 - help stays fast

    project = choosing.load_project(agents=agents, env=env, config=config)
    spec = next((one for one in project.agents if one.name == name), None)
    if spec is None:
        raise NotFoundError(
            f"there is no agent {name!r} {did_you_mean(name, [one.name for one in project.agents])}".strip()
        )
    plain = dump(spec)
    if as_json:
        choosing.print_json(plain)
        return
    for key, value in plain.items():
        if value not in ("", [], None, False):
            for line in choosing.wrapped(f"{key:<15}", " " * 15, _said_of(getattr(spec, key))):
                typer.echo(line)
    taught = project.chooser.memory.lessons.get(name, 0) if project.chooser.memory else 0
    typer.echo(f"{'learned from':<15}{taught} past tasks")


def _said_of(value: Any) -> str:
    """A part of a definition in a person's words."""
    import shlex  # noqa: PLC0415 - help stays fast

    from interlock.model.agent import RunnerSpec, Validator  # noqa: PLC0415 - the same

    if isinstance(value, Validator):
        return f"{value.name}: {shlex.join(value.command)}, else {value.on_failure}"
    if isinstance(value, RunnerSpec):
        return f"{value.kind}  " + "  ".join(f"{name}={_said_of(it)}" for name, it in value.options.items())
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g} s"
    if isinstance(value, (list, tuple)):
        return ("; " if value and isinstance(value[0], (Validator, tuple)) else ", ").join(map(_said_of, value))
    said = str(value)
    return said.splitlines()[0] + " …" if "\n" in said else said


@app.command()
@_said
def learn(
    repo: Annotated[Path | None, typer.Argument(help="The repository; this project's by default.")] = None,
    agents: Agents = None,
    env: Env = None,
    config: ConfigFile = None,
    *,
    fresh: Annotated[bool, typer.Option("--fresh", help="Read the whole history again.")] = False,
    as_json: Json = False,
) -> None:
    """Learn who does what from the git history and from runs that succeeded."""
    from dataclasses import replace  # noqa: PLC0415 - help stays fast

    from interlock import history  # noqa: PLC0415 - the same
    from interlock.model.choosing import Memory  # noqa: PLC0415 - the same

    project = choosing.load_project(agents=agents, env=env, config=config)
    before = project.chooser.memory or Memory()
    since = replace(before, head="", catalogue="") if fresh else before
    memory = history.learn(repo or project.settings.project, project.agents, since)
    commits = memory.total
    if agents is None and project.has_store:
        with opened(env, config) as service:
            memory = history.learn_outcomes(memory, service.runs.newest(limit=_RUNS), project.agents)
    history.save_memory(project.chooser.memory_file, memory)
    report = {
        "file": str(project.chooser.memory_file),
        "lessons": memory.total,
        "new": memory.total - before.total,
        "from_runs": memory.total - commits,
        "agents": dict(sorted(memory.lessons.items())),
        "head": memory.head,
    }
    if as_json:
        choosing.print_json(report)
        return
    typer.echo(
        f"{report['new']} new lessons ({report['from_runs']} from runs), {memory.total} in all, up to {memory.head[:10]}"
    )
    for name, count in sorted(memory.lessons.items(), key=lambda pair: (-pair[1], pair[0])):
        typer.echo(f"  {count:>6}  {name}")
    typer.echo(f"kept in {project.chooser.memory_file}: commit it to share it")


@app.command()
@_said
def why(
    text: Annotated[str, typer.Argument(help="A task in words.")],
    name: Annotated[str | None, typer.Argument(help="An agent; the best ones by default.")] = None,
    agents: Agents = None,
    env: Env = None,
    config: ConfigFile = None,
    *,
    as_json: Json = False,
) -> None:
    """Say why an agent would be chosen or not: which words, which past tasks."""
    from interlock import history  # noqa: PLC0415 - help stays fast
    from interlock.decide.learn import alike  # noqa: PLC0415 - the same
    from interlock.model.plan import Task  # noqa: PLC0415 - the same

    project = choosing.load_project(agents=agents, env=env, config=config)
    selection = project.chooser.select(Task(text=text))
    memory = project.chooser.memory
    wanted = [match for match in selection.matches if name in {None, match.agent}]
    if not wanted:
        known = [one.name for one in project.agents]
        if name is not None and name not in known:
            raise NotFoundError(
                f"there is no agent {name!r}: {did_you_mean(name, known) or 'known: ' + ', '.join(known)}"
            )
        raise NotFoundError(f"no word of this task speaks for {name or 'any agent'}")
    report: list[dict[str, Any]] = [
        {
            "agent": match.agent,
            "chosen": match.agent in selection.primary,
            "score": match.score,
            "words": list(match.evidence),
            "past": [
                f"{one.ref[:20] if '_' in one.ref else one.ref[:10]} {history.subject_of(project.settings.project, one.ref) or one.subject}"
                for one in (alike(text, memory, match.agent) if memory else ())
            ],
        }
        for match in wanted
    ]
    if as_json:
        choosing.print_json(report)
        return
    typer.echo(selection.reason)
    for one in report:
        typer.echo(f"{'chosen' if one['chosen'] else 'not   '}  {one['agent']}  {one['score']}/1000")
        for line in choosing.wrapped("        words  ", " " * 15, ", ".join(map(str, one["words"]))):
            typer.echo(line)
        for past in one["past"]:
            typer.echo(f"        past   {past}"[:80])
