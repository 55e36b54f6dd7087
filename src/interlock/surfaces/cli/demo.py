"""``interlock demo``: the example project's tasks, run for real in a fresh repository of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.surfaces.cli.common import console, me
from interlock.surfaces.cli.question import Answered, show

if TYPE_CHECKING:
    from rich.console import Console

    from interlock.model.approval import Approval

_DEFAULT = "success"


def demo(
    project: Annotated[Path, typer.Argument(help="The example project.")] = Path("examples/clubhouse"),
    task: Annotated[str, typer.Option("--task", help="One of its tasks (tasks/NAME.yaml).")] = _DEFAULT,
    every: Annotated[bool, typer.Option("--all", help="All of its tasks, one after the other.")] = False,
    into: Annotated[Path, typer.Option("--into", help="Where the fresh repository is made.")] = Path(".interlock/demo"),
    attacks: Annotated[bool, typer.Option("--attacks", help="Let an agent misbehave, and show what stops it.")] = False,
) -> None:
    """Run the example project's tasks in a fresh copy.

    Exit code 1 when one ends other than expected, or its ledger is not whole.
    """
    from interlock.errors import UsageError, did_you_mean  # noqa: PLC0415

    tasks = {path.stem: path for path in sorted((project / "tasks").glob("*.yaml"))}
    if not tasks:
        raise UsageError(f"{project} has no tasks; run it from Interlock's own directory, or name the example project")
    if task not in tasks:
        raise UsageError(f"there is no task {task!r}: {did_you_mean(task, tasks) or ', '.join(tasks)}")
    out = console()
    if attacks:
        from interlock.surfaces.cli.attacks import attack  # noqa: PLC0415

        attack(out, fresh_repository(project, into / "attacks"))
        return
    surprises = [name for name in (tasks if every else [task]) if not _play(out, project, tasks[name], into)]
    if surprises:
        out.print(f"not as expected: {', '.join(surprises)}", style="red", markup=False)
        raise typer.Exit(1)


def _play(out: Console, project: Path, file: Path, into: Path) -> bool:
    """One task; whether it ended as its file says."""
    import yaml  # noqa: PLC0415

    wanted: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    place = fresh_repository(project, into / file.stem)
    for command in wanted.get("prepare", ()):
        _run([sys.executable if word == "{python}" else word for word in command], place)
    out.rule(f"[bold]{file.stem}[/]: expected to end as [bold]{wanted['expected']}[/]")
    out.print(f"project: {place}\ntask:    {wanted['text'].strip()}", markup=False, style="dim")
    ended, problem = _execute(place, wanted)
    good = ended == str(wanted["expected"])
    out.print(f"ended as {ended}, as expected" if good else f"ended as {ended}, expected {wanted['expected']}",
              style="green" if good else "red")  # fmt: skip
    return good and not problem


def _execute(place: Path, wanted: dict[str, Any]) -> tuple[str, str]:
    """How the task ended, and what is wrong with the ledger afterwards."""
    from interlock.app import build  # noqa: PLC0415
    from interlock.config import load_settings  # noqa: PLC0415
    from interlock.model.plan import Task  # noqa: PLC0415
    from interlock.surfaces.cli.run import follow  # noqa: PLC0415

    service = build(load_settings(place))
    try:
        service.start()
        run = service.runs.submit(Task(text=wanted["text"], submitter=me()))
        follow(service, run.id, answer=_say_yes if wanted.get("approve") else None)
        ended = service.runs.find(run.id)
        return (ended.outcome.kind if ended.outcome else ended.state), service.ledger.verify().problem
    finally:
        service.close()


def _say_yes(out: Console, approval: Approval) -> Answered:
    show(out, approval)
    out.print("the demo says yes here, as its task file tells it to", style="yellow")
    return Answered(voter="demo", approve=True, note="told so by the demo's task file")


def fresh_repository(project: Path, place: Path) -> Path:
    """A copy of the project as a repository of its own with one commit; an older copy is thrown away."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(project, place, ignore=shutil.ignore_patterns("__pycache__", "var", ".interlock"))
    place = place.resolve()
    _run(["git", "init", "--quiet", "--initial-branch", "main"], place)
    _run(["git", "add", "--all"], place)
    who = ["-c", "user.name=Clubhouse", "-c", "user.email=club@example.org"]
    _run(["git", *who, "commit", "--quiet", "--message", "The clubhouse as it is"], place)
    _run([sys.executable, "-m", "clubhouse.seed"], place)
    return place


def _run(command: list[str], place: Path) -> None:
    from interlock.errors import UsageError  # noqa: PLC0415

    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-500:]}")
