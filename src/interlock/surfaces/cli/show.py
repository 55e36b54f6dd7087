"""``interlock runs``, ``show``, ``queue``: what is and what was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.model.risk import RiskLevel
from interlock.surfaces.cli.common import ConfigFile, Env, Json, RunId, ago, console, hanging, opened, say_json, span

if TYPE_CHECKING:
    from rich.console import Console

    from interlock.service import RunView

_TASK_WIDTH = 20


def runs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many, newest first.")] = 20,
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""
    with opened(env, config) as service:
        found = service.runs.newest(limit=limit)
    if as_json:
        say_json(found)
        return
    out = console()
    if not found:
        out.print('no runs yet; try: interlock run "…"')
        return
    rows = [("run", "state", "when", "task")]
    for run in found:
        state = run.outcome.kind if run.outcome else run.state
        rows.append((run.id, state.replace("_", " "), ago(run.submitted_at), " ".join(run.task.text.split())))
    widths = [max(len(row[column]) for row in rows) + 2 for column in range(3)]
    for number, row in enumerate(rows):
        head = "".join(f"{text:<{width}}" for text, width in zip(row[:3], widths, strict=True))
        room = max(_TASK_WIDTH, out.width - len(head))
        task = row[3] if len(row[3]) <= room else f"{row[3][: room - 1]}…"
        out.print(head + task, markup=False, soft_wrap=True, style="bold" if number == 0 else "")


def show(run_id: RunId, env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Show one run: state, attempts, effects, questions, outcome."""
    with opened(env, config) as service:
        view = service.runs.view(run_id)
        if as_json:
            say_json({"run": view.run, "attempts": view.attempts, "effects": view.effects, "approvals": view.approvals,
                      "waits_for": view.waits_for})  # fmt: skip
            return
        out = console()
        _show_head(out, view)
        if view.run.outcome is not None:
            from interlock.surfaces.cli.ending import print_outcome  # noqa: PLC0415

            print_outcome(service, view)


def _show_head(out: Console, view: RunView) -> None:
    from interlock.surfaces.cli.question import line  # noqa: PLC0415

    run = view.run
    line(out, "run", f"{run.id}  {run.state}  {run.environment}  {ago(run.submitted_at)}", "bold")
    line(out, "task", run.task.text)
    if run.risk is not None:
        telling = [each.evidence for each in run.risk.factors if each.level > RiskLevel.LOW]
        line(out, "risk", f"{run.risk.level}: {', '.join(telling)}" if telling else str(run.risk.level))
    line(out, "waits for", view.waits_for, "yellow")
    for attempt in view.attempts:
        ended = attempt.ended_at and attempt.started_at
        took = span(round((attempt.ended_at - attempt.started_at).total_seconds() * 1000)) if ended else ""  # type: ignore[operator]
        word = f"failed ({attempt.error.kind}): {attempt.error.message}" if attempt.error else str(attempt.state)
        line(out, f"phase {attempt.phase + 1}", f"{attempt.agent}  attempt {attempt.number}  {word}  {took}",
             "red" if attempt.error else "")  # fmt: skip
    for effect in view.effects:
        line(out, "effect", f"{effect.state}  {effect.id}  {effect.summary}", "dim")


def queue(env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Show what waits for a place, why, and for how long."""
    with opened(env, config) as service:
        places = service.queue.places()
    if as_json:
        say_json(places)
        return
    out = console()
    if not places:
        out.print("nothing waits")
    for place in places:
        when = (
            f"starts in about {span(place.estimate_ms)} (at most {span(place.estimate_p90_ms)} in nine of ten cases)"
            if place.estimate_ms is not None
            else "no estimate: too little has been observed yet"
        )
        hanging(out, f"{place.position:>3}  ", f"{place.agent}  {place.run_id}")
        hanging(out, "     ", f"{place.reason}; {when}")
