"""The command line's root: every command under its name, errors as sentences, exit codes as designed.

0 done · 1 failed · 2 usage or configuration · 3 blocked or denied · 4 waiting for a person · 5 queued
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from interlock import __version__
from interlock.surfaces.cli import (
    agents,
    alerts,
    approvals,
    assess,
    audit,
    breakers,
    check,
    config,
    db,
    demo,
    doctor,
    health,
    hook,
    init,
    limits,
    mcp,
    mcp_gateway,
    metrics,
    plan,
    policy,
    rollout,
    run,
    serve,
    show,
    store,
    tokens,
    undo,
    worker,
)

app = typer.Typer(
    name="interlock",
    help="A safe orchestrator for AI agents: it assesses, plans, asks, limits, checks every call, rolls back, and proves it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"interlock {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


app.command()(init.init)
app.command()(run.run)
app.command()(plan.plan)
app.command()(assess.assess)
app.command()(check.check)
app.add_typer(agents.app, name="agents")
app.command()(show.runs)
app.command()(show.show)
app.command()(show.queue)
app.command()(metrics.metrics)
app.command()(health.health)
app.command()(doctor.doctor)
app.add_typer(alerts.app, name="alerts")
app.add_typer(rollout.app, name="rollout")
app.command()(metrics.top)
app.add_typer(approvals.app, name="approvals")
app.add_typer(breakers.app, name="breakers")
app.add_typer(store.app, name="store")
app.add_typer(limits.app, name="limits")
app.add_typer(audit.app, name="audit")
app.add_typer(policy.app, name="policy")
app.add_typer(config.app, name="config")
app.add_typer(hook.app, name="hook")
app.add_typer(mcp_gateway.app, name="mcp-gateway")
app.command()(run.resume)
app.command()(run.cancel)
app.command()(serve.serve)
app.add_typer(tokens.app, name="tokens")
app.command()(mcp.mcp)
app.command("follow")(run.follow_run)
app.command()(worker.worker)
app.command()(undo.undo)
app.add_typer(db.app, name="db")
app.command()(demo.demo)


def main() -> None:
    """Run the command line; whatever goes wrong is a sentence on stderr and an exit code, never a traceback."""
    from interlock.errors import InterlockError  # noqa: PLC0415

    try:
        app(prog_name="interlock")
    except InterlockError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted; `interlock resume` goes on with what was under way", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
    except Exception as error:
        if os.environ.get("INTERLOCK_TRACE"):
            raise
        _fail(f"something in Interlock broke ({type(error).__name__}: {error}); INTERLOCK_TRACE=1 shows where", 1)


def _fail(message: str, code: int) -> None:
    from interlock.reading.secrets import redact  # noqa: PLC0415

    sys.stderr.write(f"interlock: {redact(message)}\n")
    sys.exit(code)
