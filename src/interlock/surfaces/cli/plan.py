"""``interlock plan``: who would do a task, in which order, and why. Nothing runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.decide.plan import how_somebody
from interlock.errors import InterlockError, PlanError, UsageError, did_you_mean
from interlock.surfaces.cli import choosing
from interlock.surfaces.cli.common import ConfigFile, Env, Json

if TYPE_CHECKING:
    from interlock.model.plan import Plan, Selection


def plan(
    text: Annotated[str | None, typer.Argument(help="The task in words; - reads standard input.")] = None,
    *,
    jsonl: Annotated[
        str | None, typer.Option(help='Plan each {"text": …} line of this file; - reads standard input.')
    ] = None,
    agents: Annotated[Path | None, typer.Option(help="Another catalogue: a folder or a file of agents.")] = None,
    agent: Annotated[list[str] | None, typer.Option(help="Insist on this agent; may be repeated.")] = None,
    correct: Annotated[str | None, typer.Option(help="Teach: these agents (a,b) were the right ones.")] = None,
    prompts: Annotated[bool, typer.Option("--prompts", help="Show each agent's own prompt.")] = False,
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Show which agents suit a task, in which order, and why."""
    try:
        project = choosing.load_project(agents=agents, env=env, config=config)
        insist = _known(tuple(agent or ()), project)
        if jsonl is not None:
            raise typer.Exit(choosing.stream(jsonl, lambda row: answer(row["text"], project, insist)))
        if text is None:
            raise UsageError("give a TEXT, or --jsonl with a file")
        said = choosing.task_text(text)
        if correct is not None:
            _correct(said, correct, project)
            return
        if as_json:
            choosing.print_json(answer(said, project, insist, full=True))
        else:
            _show(said, project, insist, prompts=prompts)
    except InterlockError as problem:
        typer.echo(f"interlock: {problem}", err=True)
        raise typer.Exit(problem.exit_code) from problem


def _known(names: tuple[str, ...], project: choosing.Project) -> tuple[str, ...]:
    there = [spec.name for spec in project.agents]
    for name in names:
        if name not in there:
            raise UsageError(
                f"there is no agent {name!r}: {did_you_mean(name, there) or 'known are ' + ', '.join(there)}"
            )
    return names


def make(text: str, project: choosing.Project, insist: tuple[str, ...] = ()) -> tuple[Selection, Plan | None]:
    """The selection and the plan for a task; no plan when nothing suits.

    Raises:
        PlanError: when the agents chosen cannot be put into an order.
    """
    from interlock.model.plan import Task  # noqa: PLC0415 - help stays fast

    task = Task(text=text, agents=insist)
    selection = project.chooser.select(task)
    return selection, None if selection.abstained else project.chooser.plan(task, selection)


def answer(text: str, project: choosing.Project, insist: tuple[str, ...] = (), *, full: bool = False) -> dict[str, Any]:
    """The answer as the design's contract has it; ``full`` adds the evidence and the prompts."""
    selection, made = make(text, project, insist)
    phases = [[one.agent for one in phase.assignments] for phase in made.phases] if made else []
    said: dict[str, Any] = {
        "primary": list(selection.primary),
        "fallback": {name: list(others) for name, others in selection.fallback.items()},
        "exclusions": [list(pair) for pair in selection.exclusions],
        "phases": phases,
        "scores": {match.agent: match.score for match in selection.matches},
        "abstained": selection.abstained,
        "emergency": selection.emergency,
        "reason": selection.reason,
    }
    if full:
        said["evidence"] = {match.agent: list(match.evidence) for match in selection.matches}
        said["prompts"] = {one.agent: one.prompt for phase in made.phases for one in phase.assignments} if made else {}
        said["digest"] = made.digest if made else ""
    return said


def _correct(text: str, correct: str, project: choosing.Project) -> None:

    names = _known(tuple(name.strip() for name in correct.split(",") if name.strip()), project)
    if not names:
        raise UsageError("--correct needs the agents that were right, separated by commas")
    if not project.chooser.correct(text, names):
        typer.echo("this correction is already known")
        return
    typer.echo(f"learned: this is for {', '.join(names)} (kept in {project.chooser.memory_file.name})")


def _show(text: str, project: choosing.Project, insist: tuple[str, ...], *, prompts: bool) -> None:
    selection, made = make(text, project, insist)
    if made is None:
        typer.echo(f"nobody suits: {selection.reason}")
        for match in selection.matches[:2]:
            typer.echo(f"  best guess  {match.agent} ({match.score}/1000)  {', '.join(match.evidence[:3])}")
        raise PlanError(how_somebody(agent.name for agent in project.agents))
    why = {match.agent: match for match in selection.matches}
    if selection.emergency:
        typer.echo("EMERGENCY: " + selection.reason)
    for number, phase in enumerate(made.phases, start=1):
        side = "  (side by side)" if len(phase.assignments) > 1 else ""
        typer.echo(f"phase {number}{side}")
        for one in phase.assignments:
            typer.echo(f"  {one.agent}  {why[one.agent].score}/1000, priority {one.priority}")
            notes = {
                "part": one.part,
                "why": ", ".join(why[one.agent].evidence[:4]) or selection.reason,
                "after": ", ".join(one.needs),
                "else": ", ".join(one.fallbacks),
            }
            for head, said in notes.items():
                for line in choosing.wrapped(f"    {head:<7}", " " * 11, said) if said else ():
                    typer.echo(line)
            if prompts:
                typer.echo("\n".join("    | " + line for line in one.prompt.splitlines()))
    for first, second in made.exclusions:
        typer.echo(f"never at once: {first} and {second}")
    typer.echo(f"because: {selection.reason}")
