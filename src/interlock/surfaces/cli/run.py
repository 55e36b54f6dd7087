"""``interlock run``, ``resume``, ``cancel``: a task under way, live."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, Json, RunId, console, git_says, hanging, me, opened, say_json

if TYPE_CHECKING:
    from pathlib import Path

    from interlock.model.plan import Task
    from interlock.model.run import Run
    from interlock.service import Service
    from interlock.surfaces.cli.live import Answer, Told

_CODES = {
    "succeeded": 0, "blocked": 3, "denied": 3, "expired": 3, "failed": 1, "rolled_back": 1, "escalated": 1, "cancelled": 1,
}  # fmt: skip
WAITING, QUEUED = 4, 5
_NAMED = 3


def run(  # noqa: PLR0917 - a command's options
    task: Annotated[str, typer.Argument(help="What is to be done, in words.")],
    agent: Annotated[
        list[str] | None, typer.Option("--agent", "-a", help="Insist on this agent; may be repeated.")
    ] = None,
    priority: Annotated[str | None, typer.Option("--priority", help="low, medium, high or critical.")] = None,
    key: Annotated[str, typer.Option("--key", help="Idempotency key: the same key is the same run.")] = "",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for a place in the queue: exit 5.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave it to any `interlock worker`; print its id and return.")
    ] = False,
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Have a task done safely, up to a branch for review.

    Exit code 0 done, 1 failed or undone, 3 blocked or denied, 4 waiting for a person, 5 queued.
    """
    from interlock.model.agent import Priority  # noqa: PLC0415
    from interlock.model.plan import Task  # noqa: PLC0415

    urgency = Priority(_known(priority, [each.value for each in Priority])) if priority else None
    made = Task(text=task, submitter=me(), agents=tuple(agent or ()), priority=urgency, idempotency_key=key)
    if detach:
        _detached(made, env, config, as_json=as_json)
        return
    with opened(env, config, execute=True) as service:
        submitted = service.runs.submit(made)
        if not as_json:
            _say_what_they_do_not_see(service)
        code = follow(service, submitted.id, as_json=as_json, no_wait=no_wait)
    raise typer.Exit(code)


def _say_what_they_do_not_see(service: Service) -> None:
    """Agents start from the last commit: what the user has changed since is not there for them."""
    if service.settings.workspace.isolation == "copy":
        return
    said = git_says(
        service.settings.project, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"
    )
    changed = [each[3:] for each in (said or "").splitlines()]
    if changed:
        names = ", ".join(changed[:_NAMED]) + (f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else "")
        hanging(
            console(), "  note  ", f"agents start from the last commit, without your changes of {names}", style="yellow"
        )


def _detached(task: Task, env: str | None, config: Path | None, *, as_json: bool) -> None:
    with opened(env, config) as service:
        submitted = service.runs.submit(task, detach=True)
        alone = not service.workers.any_shared()
    if as_json:
        say_json({"run": submitted})
        return
    typer.echo(submitted.id)
    if alone:
        typer.echo("no `interlock worker` is there yet; it starts when one comes", err=True)


def follow_run(run_id: RunId, env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Watch a run that other processes execute.

    Until it ends or waits for a person; exit codes as for `run`.
    """
    with opened(env, config) as service:
        code = follow(service, service.runs.find(run_id).id, as_json=as_json)
    raise typer.Exit(code)


def _known(word: str, known: list[str]) -> str:
    from interlock.errors import UsageError, did_you_mean  # noqa: PLC0415

    if word not in known:
        raise UsageError(f"there is no priority {word!r}; {did_you_mean(word, known) or 'known: ' + ', '.join(known)}")
    return word


def resume(
    run_id: Annotated[
        str, typer.Argument(metavar="[RUN]", help="A run; without one, every run that has not ended.")
    ] = "",
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Go on with runs that a crash or a wait for a person has left."""
    code = 0
    with opened(env, config, execute=True) as service:
        left = [service.runs.find(run_id)] if run_id else service.runs.unfinished()
        if not left and not as_json:
            console().print("nothing is left to resume")
        if run_id and left[0].state == "ended" and not as_json:
            from interlock.surfaces.cli.ending import print_outcome  # noqa: PLC0415

            console().print(f"{left[0].id} has already ended; nothing is left to do")
            print_outcome(service, service.runs.view(left[0].id))
            raise typer.Exit(_CODES[left[0].outcome.kind] if left[0].outcome else 1)
        for each in left:
            service.runs.claim(each.id)
            code = max(code, follow(service, each.id, as_json=as_json))
    raise typer.Exit(code)


def cancel(run_id: RunId, env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """End a run cleanly: agents ended, effects undone."""
    with opened(env, config, execute=True) as service:
        cancelled = service.runs.cancel(run_id, me())
        code = follow(service, cancelled.id, as_json=as_json)
    raise typer.Exit(0 if code == 1 else code)


def follow(
    service: Service, run_id: str, *, as_json: bool = False, no_wait: bool = False, answer: Answer | None = None
) -> int:
    """Show a run until it has ended or waits for somebody who is not here; returns the exit code."""
    from interlock.surfaces.cli.live import Watcher  # noqa: PLC0415

    watcher = Watcher(service, run_id, quiet=as_json, answer=answer)
    try:
        with watcher:
            waiting = watcher.watch(no_wait=no_wait)
    except KeyboardInterrupt:
        waiting = _cancelled(service, run_id, watcher.told, quiet=as_json)
    view = service.runs.view(run_id)
    if as_json:
        say_json({"run": view.run, "attempts": view.attempts, "waits_for": view.waits_for})
    elif waiting:
        _say_how_to_go_on(service, view.run, waiting)
    else:
        from interlock.surfaces.cli.ending import print_outcome  # noqa: PLC0415

        print_outcome(service, view)
    if waiting:
        return waiting
    return _CODES[view.run.outcome.kind] if view.run.outcome else 1


def _cancelled(service: Service, run_id: str, told: Told, *, quiet: bool) -> int:
    """Ctrl-C: cancel, and wait for the clean end; a second one leaves it to ``interlock resume``."""
    from interlock.errors import UsageError  # noqa: PLC0415
    from interlock.surfaces.cli.live import Watcher  # noqa: PLC0415

    if not quiet:
        sys.stderr.write("\ncancelling: agents end, what they did is undone (Ctrl-C again: leave at once)\n")
    with contextlib.suppress(UsageError):
        service.runs.cancel(run_id, me())
    with Watcher(service, run_id, quiet=quiet, told=told) as watcher:
        return watcher.watch(ask=False)


def _say_how_to_go_on(service: Service, run: Run, waiting: int) -> None:
    out = console()
    if waiting == QUEUED:
        place = next((each for each in service.queue.places() if each.run_id == run.id), None)
        where = f" at place {place.position}: {place.reason}" if place else ""
        out.print(f"\n[bold]{run.id}[/] is queued{where}\n  go on:  interlock resume {run.id}")
        return
    asked = [each for each in service.approvals.list() if each.run_id == run.id]
    out.print(f"\n[bold]{run.id}[/] waits for a person; nothing runs meanwhile")
    for approval in asked:
        out.print(f"  look:   interlock approvals show {approval.id}")
        out.print(f"  answer: interlock approvals approve {approval.id}   (or: deny)")
    out.print(f"  go on:  interlock resume {run.id}")
