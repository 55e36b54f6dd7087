"""The ports: what the engine needs of the world, each a contract in prose. Adapters repeat nothing of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from interlock.model.action import Labels
from interlock.model.agent import AgentResult, AgentSpec
from interlock.model.decision import Decision
from interlock.model.ledger import LedgerEntry
from interlock.model.plan import Assignment
from interlock.model.risk import RiskLevel
from interlock.model.run import Compensation
from interlock.model.sandbox import Limits, SandboxedCommand, SandboxLevel

Command = Sequence[str]
"""A program and its arguments."""

NETWORK_TOOL = "network"
"""How the gate and policies call a connection that Interlock makes for an agent; ``tools: {network: {undo: nothing}}`` says that
people do not mind them."""


class Clock(Protocol):
    """The time. Rules never read it: they are given it."""

    def now(self) -> datetime:
        """The time now, aware, in UTC."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class CallVerdict:
    """The gate's answer before a tool call."""

    decision: Decision
    effect_id: str
    """What :meth:`Gate.after` wants back; empty when the call may not happen."""
    idempotency_key: str = ""


class Gate(Protocol):
    """The one gate, as an agent's runner sees it: bound to one attempt.

    Every tool call is announced with :meth:`before`; it may take effect only when the verdict is allow; its outcome is
    reported with :meth:`after`. A verdict of confirm is never returned: the gate holds the call until people have
    answered, and then says allow or block. Both are in the ledger, flushed, when the methods return.
    """

    async def before(
        self,
        tool: str,
        args: Mapping[str, Any],
        *,
        labels: Labels | None = None,
        idempotent: bool = False,
        compensation: Compensation | None = None,
    ) -> CallVerdict:
        """Judge a tool call and record the intent. Never raises: whatever goes wrong is a block."""
        ...

    async def after(self, effect_id: str, *, ok: bool, output: str = "", labels: Labels | None = None) -> Decision:
        """Record a call's outcome and judge its result before it flows back. On block the result must not be shown."""
        ...


@runtime_checkable
class Notes(Protocol):
    """A gate that also writes down what needs no judgement."""

    async def note(self, kind: str, data: Mapping[str, Any]) -> None:
        """Write it down."""
        ...


@runtime_checkable
class Parts(Protocol):
    """A gate that also judges results which come in parts."""

    async def more(self, effect_id: str, output: str) -> Decision:
        """Judge a further part of a result whose outcome has been told, before it flows back. Never raises; like ``after``."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One execution of an agent, as a runner gets it."""

    run_id: str
    attempt_id: str
    number: int
    """1 for the first attempt of this assignment."""
    agent: AgentSpec
    assignment: Assignment
    task: str
    workspace: Path
    """The only place to write to."""
    project: Path
    """The user's project; never to be written to."""
    handed_over: Mapping[str, AgentResult] = field(default_factory=dict)
    """Results of the agents that this one depends on."""
    timeout: timedelta = timedelta(seconds=300)
    environment: str = "development"
    risk: RiskLevel = RiskLevel.LOW
    """Of the task as a whole."""


class Runner(Protocol):
    """Runs one agent.

    ``run`` returns the agent's hand-over or raises. It is cancelled when the attempt's time is over, its run is
    cancelled or its worker has lost the lease: then everything that it started (processes, their children) must have
    ended before the cancellation goes on. It writes nothing outside the job's workspace.

    Raises:
        RunnerError: when the agent could not be started, failed, or broke the protocol.
    """

    async def run(self, job: Job, gate: Gate) -> AgentResult:
        """Run the agent to its end."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Integration:
    """What an attempt changed, when it was taken into the run's branch."""

    changed: tuple[str, ...]
    """Paths relative to the project."""
    commit: str
    """The run's branch after it, or a digest of the tree where there is no git."""


class Workspaces(Protocol):
    """Places for attempts to work in, and the run's own line of changes.

    The user's project is never touched before :meth:`deliver`, and then only as configured. All methods are idempotent:
    after a crash they may be called again with the same arguments. A run has one line; attempts start from its head.
    """

    def begin(self, run_id: str) -> str:
        """Start the run's line at the project's present state; returns the base (commit or digest)."""
        ...

    def open(self, run_id: str, attempt_id: str) -> Path:
        """A fresh directory at the head of the run's line. An older one of the same attempt is thrown away."""
        ...

    def diff(self, run_id: str, attempt_id: str) -> str:
        """The attempt's changes so far, new files included, as a unified diff."""
        ...

    def changed(self, run_id: str, attempt_id: str) -> tuple[str, ...]:
        """The paths that the attempt has changed so far, relative to the project."""
        ...

    def integrate(self, run_id: str, attempt_id: str, *, author: str, message: str) -> Integration:
        """Take the attempt's changes into the run's line, whole or not at all.

        Raises:
            ConflictError: when they do not apply on top of what was integrated since the attempt began.
        """
        ...

    def is_integrated(self, run_id: str, attempt_id: str) -> bool:
        """Whether the attempt's changes are in the run's line already."""
        ...

    def discard(self, run_id: str, attempt_id: str) -> None:
        """Throw the attempt's directory away."""
        ...

    def run_diff(self, run_id: str) -> str:
        """All integrated changes of the run as a unified diff."""
        ...

    def deliver(self, run_id: str, *, how: str, target: str = "") -> str:
        """Deliver the run's line: ``review`` (leave the branch), ``merge`` (into the target), ``patch`` (a file).

        Returns where it is: a branch's name or a file's path, empty when nothing changed.

        Raises:
            ConflictError: when ``merge`` does not apply; the target is left untouched.
        """
        ...

    def end(self, run_id: str, *, keep: bool) -> None:
        """Throw away the run's directories; the line itself too, unless ``keep``."""
        ...


class UndoableWorkspaces(Workspaces, Protocol):
    """Workspaces that can also take an attempt back to where it stood before a call."""

    def uncommitted(self, run_id: str) -> tuple[str, ...]:
        """What lay in the project when the run began but is not in its workspaces; for the caller to say so."""
        ...

    def snapshot(self, run_id: str, attempt_id: str) -> str:
        """The attempt's files as they are now, under a name for :meth:`restore`. Ignored files are not in it."""
        ...

    def restore(self, run_id: str, attempt_id: str, tree: str) -> None:
        """Bring the attempt's files back to a snapshot of the same attempt."""
        ...

    def compare(self, run_id: str, old: str, new: str) -> str:
        """What leads from one snapshot of the run to another, as a unified diff."""
        ...

    def revert(self, run_id: str, attempt_id: str, *, before: str, after: str, message: str) -> Integration:
        """Take what led from one snapshot to another out of the run's line again, as a change on top of it.

        An empty ``after`` is what the attempt has handed in.

        Raises:
            ConflictError: when later changes build upon it.
            WorkspaceError: when the attempt is not in the line, or these workspaces cannot do it.
        """
        ...


class Sandbox(Protocol):
    """Walls around a whole agent process and all that it starts.

    Inside, it may write to the workspace, ``scratch`` and what ``write`` grants only, read these, the system's programs and what ``read`` names,
    connect to the unix sockets that ``sockets`` names, and to the network only if told so. Its environment is an allow-list of
    ours (PATH, language, time zone, terminal; HOME and TMPDIR in ``scratch``) and what ``env`` adds. How far that holds is
    what ``level`` says, which was found by trying to break out.
    """

    @property
    def level(self) -> SandboxLevel:
        """What this sandbox has been seen to hold."""
        ...

    def wrap(
        self,
        argv: Command,
        *,
        workspace: Path,
        scratch: Path,
        write: Sequence[Path] = (),
        read: Sequence[Path] = (),
        sockets: Sequence[Path] = (),
        network: bool = False,
        proxy: Path | None = None,
        relays: Mapping[str, Path] | None = None,
        keep: Sequence[Path] = (),
        lasting: bool = False,
        env: Mapping[str, str] | None = None,
        limits: Limits | None = None,
    ) -> SandboxedCommand:
        """The command to run instead of ``argv``. ``scratch`` is made if it is missing; its owner removes it.

        ``proxy`` is the unix socket of an HTTP proxy, which a program without a network finds in ``HTTP_PROXY`` and the like.
        Only the level bubblewrap has it: the others have no loopback of their own that could be opened to nothing else.
        ``relays`` are unix sockets of HTTP servers: the program finds a URL that leads there in the variable of that name (what
        ``env`` says of it is the URL's path). ``keep`` is what stays as it is inside what may be written to, on the level
        bubblewrap: the lower ones cannot take back a part of what they grant. ``lasting``: what the program writes is meant to
        last, so that writing to what is not granted fails everywhere; else it has a /tmp of its own, which is thrown away.

        Raises:
            SandboxError: when the command or a path cannot be used, or a relay cannot be reached on this level.
        """
        ...


class Observer(Protocol):
    """Told what has happened (an exporter of traces, a dashboard). One that raises is logged and counted, never obeyed."""

    def __call__(self, entry: LedgerEntry) -> None:
        """Take note of a committed ledger entry. Entries come in order; after a crash some may come again."""
        ...


class Notifier(Protocol):
    """Tells people: mail, chat, webhooks."""

    def tell(self, targets: Sequence[str], title: str, body: str) -> str:
        """Tell the targets of these names; none named: all.

        Returns what went wrong and for whom, empty when all were told. Never raises, takes seconds at most, and shows no secret.
        """
        ...


AgentFunction = Callable[[Job, Gate], Awaitable[AgentResult | str | None]]
"""A Python function as an agent."""
