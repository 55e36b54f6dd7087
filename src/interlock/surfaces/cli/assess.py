"""``interlock assess``: how dangerous a task is, and why."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.errors import InterlockError, UsageError
from interlock.surfaces.cli import choosing
from interlock.surfaces.cli.common import ConfigFile, Env, Json, opened

if TYPE_CHECKING:
    from interlock.model.risk import RiskAssessment


def assess(
    text: Annotated[str | None, typer.Argument(help="The task in words; - reads standard input.")] = None,
    *,
    jsonl: Annotated[
        str | None, typer.Option(help='Assess each {"text": …} line of this file; - reads standard input.')
    ] = None,
    classifier: Annotated[str | None, typer.Option(help="contextual, or lexical: the literal rules.")] = None,
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Say what a task risks, and why."""
    try:
        with _assessor(classifier, env, config) as judge:
            if jsonl is not None:
                raise typer.Exit(choosing.stream(jsonl, lambda row: answer(judge(row["text"]))))
            if text is None:
                raise UsageError("give a TEXT, or --jsonl with a file")
            assessed = judge(choosing.task_text(text))
        if as_json:
            choosing.print_json(answer(assessed))
        else:
            _show(assessed)
    except InterlockError as problem:
        typer.echo(f"interlock: {problem}", err=True)
        raise typer.Exit(problem.exit_code) from problem


@contextlib.contextmanager
def _assessor(
    classifier: str | None, env: str | None, config: Path | None
) -> Iterator[Callable[[str], RiskAssessment]]:
    """What assesses a task as a run would: by its words, who would do it, and (where something has run) their record."""
    from interlock.decide import risk  # noqa: PLC0415 - help stays fast
    from interlock.model.plan import Task  # noqa: PLC0415 - the same

    project = choosing.load_project(env=env, config=config)
    if classifier is not None:
        if classifier not in {"contextual", "lexical"}:
            raise UsageError(f"unknown classifier {classifier!r}: contextual or lexical")
        facts = replace(project.chooser.facts(), classifier=classifier)
        yield lambda said: risk.assess(said, facts)
    elif project.has_store:
        with opened(env, config) as service:
            yield lambda said: service.plans.assess(Task(text=said))
    else:
        yield lambda said: project.chooser.assess(Task(text=said))


def answer(assessed: RiskAssessment) -> dict[str, Any]:
    """The answer as the design's contract has it."""
    return {
        "level": str(assessed.level),
        "factors": [
            {"name": one.name, "level": str(one.level), "evidence": one.evidence, "reason": one.reason}
            for one in assessed.factors
        ],
        "mitigation_required": assessed.mitigation_required,
        "confirmation_required": assessed.confirmation_required,
    }


def _show(assessed: RiskAssessment) -> None:
    need = "a person must confirm" if assessed.confirmation_required else "no confirmation needed"
    typer.echo(f"risk {assessed.level}: {need}")
    for one in assessed.factors:
        head = f"  {one.level!s:<9}"
        for line in choosing.wrapped(head, " " * len(head), f"{one.name}: {one.evidence}. {one.reason}"):
            typer.echo(line)
    if not assessed.factors:
        typer.echo("  nothing in the task speaks of danger")
