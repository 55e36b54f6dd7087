"""``interlock assess``: how dangerous a task is, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.errors import InterlockError, UsageError
from interlock.surfaces.cli import choosing
from interlock.surfaces.cli.common import ConfigFile, Env, Json

if TYPE_CHECKING:
    from interlock.model.choosing import RiskFacts
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
        facts = _facts(classifier, env, config)
        if jsonl is not None:
            raise typer.Exit(choosing.stream(jsonl, lambda row: answer(row["text"], facts)))
        if text is None:
            raise UsageError("give a TEXT, or --jsonl with a file")
        from interlock.decide import risk  # noqa: PLC0415 - help stays fast

        said = choosing.task_text(text)
        if as_json:
            choosing.print_json(answer(said, facts))
        else:
            _show(risk.assess(said, facts))
    except InterlockError as problem:
        typer.echo(f"interlock: {problem}", err=True)
        raise typer.Exit(problem.exit_code) from problem


def _facts(classifier: str | None, env: str | None, config: Path | None) -> RiskFacts:
    from interlock.model.choosing import RiskFacts  # noqa: PLC0415 - help stays fast

    settings = choosing.read_settings(env=env, config=config)
    chosen = classifier or str(getattr(getattr(settings, "risk", None), "classifier", "contextual"))
    if chosen not in {"contextual", "lexical"}:
        raise UsageError(f"unknown classifier {chosen!r}: contextual or lexical")
    return RiskFacts(
        classifier=chosen,
        environment=str(getattr(settings, "environment", env or "development")),
        protected=tuple(getattr(getattr(settings, "workspace", None), "protected", ())),
    )


def answer(text: str, facts: RiskFacts) -> dict[str, Any]:
    """The answer as the design's contract has it."""
    from interlock.decide import risk  # noqa: PLC0415 - help stays fast

    assessed = risk.assess(text, facts)
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
