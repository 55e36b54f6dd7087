"""The command line's root: every command under its name, errors as sentences, exit codes as designed.

0 done · 1 failed · 2 usage or configuration · 3 blocked or denied · 4 waiting for a person · 5 queued
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from interlock.errors import InterlockError, UsageError, did_you_mean

if TYPE_CHECKING:
    import typer

HOMES = {
    "init": "init.init",
    "run": "run.run",
    "plan": "plan.plan",
    "assess": "assess.assess",
    "check": "check.check",
    "agents": "agents.app",
    "runs": "show.runs",
    "show": "show.show",
    "queue": "show.queue",
    "metrics": "metrics.metrics",
    "health": "health.health",
    "doctor": "doctor.doctor",
    "alerts": "alerts.app",
    "rollout": "rollout.app",
    "top": "metrics.top",
    "approvals": "approvals.app",
    "breakers": "breakers.app",
    "store": "store.app",
    "limits": "limits.app",
    "audit": "audit.app",
    "policy": "policy.app",
    "config": "config.app",
    "hook": "hook.app",
    "mcp-gateway": "mcp_gateway.app",
    "resume": "run.resume",
    "cancel": "run.cancel",
    "serve": "serve.serve",
    "tokens": "tokens.app",
    "mcp": "mcp.mcp",
    "follow": "run.follow_run",
    "worker": "worker.worker",
    "undo": "undo.undo",
    "db": "db.app",
    "demo": "demo.demo",
}
"""Each command and the function, or the group of commands, in this package that it is; in the order of the help."""


def command_line(*names: str) -> typer.Typer:
    """The command line with the commands of these names, or with all of them."""
    from interlock.surfaces.cli.root import assemble  # noqa: PLC0415 - a mistyped command needs none of it

    return assemble({name: HOMES[name] for name in names or HOMES})


def _asked(words: list[str]) -> typer.Typer:
    """The command line as far as these words need it: a command does not load what others need.

    Raises:
        UsageError: when the first word is no command.
    """
    if not words or words[0].startswith("-"):
        return command_line()
    if words[0] not in HOMES:
        near = did_you_mean(words[0], HOMES)
        raise UsageError(f"there is no command {words[0]!r} ({near or 'interlock --help shows all of them'})")
    return command_line(words[0])


def main() -> None:
    """Run the command line; whatever goes wrong is a sentence on stderr and an exit code, never a traceback."""
    try:
        _asked(sys.argv[1:])(prog_name="interlock")
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
