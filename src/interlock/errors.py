"""Every error that Interlock raises on purpose. Each says what happened and what to do next."""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Iterable
from datetime import datetime
from importlib.metadata import PackageNotFoundError, distribution
from urllib.parse import unquote, urlsplit


class InterlockError(Exception):
    """The root of all errors raised on purpose."""

    exit_code = 1


class ConfigError(InterlockError):
    """Raised when the configuration, a policy or an agent definition is not usable."""

    exit_code = 2

    def __init__(self, message: str, *, file: str = "", line: int | None = None, suggestion: str = "") -> None:
        self.message = message
        self.file = file
        self.line = line
        self.suggestion = suggestion
        place = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(f"{place}{message}" + (f" ({suggestion})" if suggestion else ""))


class UsageError(InterlockError):
    """Raised when a command or a call asks for something that does not exist or makes no sense."""

    exit_code = 2


class PlanError(InterlockError):
    """Raised when no sound plan can be made: unknown agents, cycles, nothing suitable."""

    exit_code = 2


class NotFoundError(UsageError):
    """Raised when a run, an approval or an agent of that name does not exist."""


class ApprovalError(InterlockError):
    """Raised when a vote does not count: expired, used, already cast, own request, changed subject."""

    exit_code = 3


class CircuitOpenError(InterlockError):
    """Raised when an agent's breaker refuses; says when to try again."""

    exit_code = 3

    def __init__(self, agent: str, *, retry_at: datetime | None, reason: str = "") -> None:
        self.agent = agent
        self.retry_at = retry_at
        when = f"try again after {retry_at.isoformat(timespec='seconds')}" if retry_at else "an operator must close it"
        super().__init__(f"the circuit breaker of {agent} is open{f' ({reason})' if reason else ''}: {when}")


class WorkspaceError(InterlockError):
    """Raised when a workspace cannot be made, integrated or delivered."""


class ConflictError(WorkspaceError):
    """Raised when a change does not apply on top of what was integrated meanwhile."""

    def __init__(self, paths: Iterable[str], *, why: str = "the same lines were changed by another agent") -> None:
        self.paths = tuple(paths)
        super().__init__(f"{why}: {', '.join(self.paths)}")


class StoreError(InterlockError):
    """Raised when the store cannot be read or written; nothing was half done.

    ``passing``: it may work in a moment. ``unsure``: the connection broke during the commit, nobody knows whether it was done.
    """

    def __init__(self, message: str, *, passing: bool = False, unsure: bool = False) -> None:
        self.passing = passing
        self.unsure = unsure
        super().__init__(message)


class LedgerError(InterlockError):
    """Raised when the ledger does not verify; names the first bad record."""

    exit_code = 1


class SandboxError(InterlockError):
    """Raised when an agent cannot be contained as its class requires."""


class RunnerError(InterlockError):
    """Raised when an agent could not be started, failed, or broke its protocol.

    ``kind`` is a word of :class:`interlock.model.run.ErrorKind`; ``output`` is the end of what the agent printed.
    """

    def __init__(self, message: str, *, kind: str = "crashed", output: str = "") -> None:
        self.kind = kind
        self.output = output
        super().__init__(message)


class MissingExtraError(InterlockError):
    """Raised when a feature needs an optional part that is not installed."""

    exit_code = 2

    def __init__(self, feature: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f'{feature} needs the extra "{extra}": {_install(extra)}')


def _install(extra: str) -> str:
    """The command that adds an extra from where this Interlock itself came: a registry may hold a stranger's package.

    PEP 610 has ``direct_url.json`` say where a package was installed from; there is none when it was a registry.
    """
    with contextlib.suppress(PackageNotFoundError, ValueError, KeyError, TypeError):
        origin = json.loads(distribution("interlock").read_text("direct_url.json") or "")
        url = str(origin["url"])
        if "dir_info" in origin:
            editable = "-e " if origin["dir_info"].get("editable") else ""
            return f'pip install {editable}"{unquote(urlsplit(url).path)}[{extra}]"'
        vcs = f"{origin['vcs_info']['vcs']}+" if "vcs_info" in origin else ""
        return f'pip install "interlock[{extra}] @ {vcs}{url}"'
    return f'pip install "interlock[{extra}]"'


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean "x"?`` for the nearest known word, empty when none is near."""
    words = list(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    longer = [each for each in words if len(word) > 1 and each.startswith(word)]
    near = near or (longer if len(longer) == 1 else [])
    return f'did you mean "{near[0]}"?' if near else ""
