"""The one place where adapters meet the engine."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.catalogue import load_catalogue
from interlock.clock import SystemClock
from interlock.config import Settings
from interlock.decide.alerts import load_rules
from interlock.engine.approvals import Approvals
from interlock.engine.choose import Chooser
from interlock.engine.durable import Durable
from interlock.engine.governor import Governor
from interlock.engine.judging import Gate, failed, scope_of
from interlock.engine.ledger import Ledger
from interlock.engine.means import Means
from interlock.engine.meter import Meter
from interlock.engine.pins import Definitions, Pins
from interlock.engine.policy_rollouts import PolicyRollouts
from interlock.engine.rollouts import Percentages, Rollouts
from interlock.engine.validate import Contain
from interlock.engine.worker import worker_name
from interlock.errors import ConfigError, did_you_mean
from interlock.model.action import Action, Surface
from interlock.model.agent import AgentSpec
from interlock.model.decision import Decision
from interlock.model.risk import RiskLevel
from interlock.model.sandbox import Limits, SandboxedCommand, SandboxLevel
from interlock.policies import policies_of
from interlock.ports import AgentFunction, Clock, Notifier, Observer, Runner
from interlock.ports import Gate as GatePort
from interlock.runners.command import CommandRunner
from interlock.runners.credentials import Credential
from interlock.runners.function import FunctionRunner
from interlock.runners.places import Doors, Places, Wrap
from interlock.runners.relay import Relay
from interlock.sandbox.grants import program_paths
from interlock.sandbox.ladder import open_sandbox, probe
from interlock.sandbox.proxy import HostProxy
from interlock.sandbox.workspaces import open_workspaces
from interlock.service import Service
from interlock.store.database import Database

if TYPE_CHECKING:
    from interlock.runners.llm_mcp import Hidden

_LATELY = timedelta(days=7)
"""How far back an agent's record counts when a task's risk is assessed."""
_RUNNERS = ("command", "function", "llm", "claude")


def build(
    settings: Settings, *, functions: Mapping[str, AgentFunction] | None = None, clock: Clock | None = None
) -> Service:
    """Everything put together for one project. ``functions`` are agents that are Python functions, by name.

    Raises:
        ConfigError: when the configuration, a policy or an agent definition is not usable.
        StoreError: when the store cannot be opened.
    """
    clock = clock or SystemClock()
    functions = dict(functions or {})
    catalogue = {spec.name: spec for spec in load_agents(settings, functions)}
    policies = policies_of(settings)
    _make_state_dir(settings.state_dir)
    percentages, notifier, alert_rules = _percentages(settings), _notifier(settings), load_rules(settings.alerts)
    database = Database(settings.store_url)
    database.migrate()
    ledger = Ledger(database, clock, anchor_of(settings.state_dir, database))
    durable = Durable(database)
    of_policies = PolicyRollouts(
        database, ledger, clock, settings, policies, lambda version: policies_of(settings, version)
    )
    rollouts = Rollouts(database, ledger, clock, settings, percentages, of_policies)
    governor = Governor(
        database, ledger, durable, clock, settings, lambda name: catalogue.get(name) or AgentSpec(name=name), rollouts
    )
    meter = Meter(database, ledger, clock, tuple(catalogue))
    gate = Gate(policies, settings.environment, settings.tools)
    return Service(
        Means(
            settings=settings,
            catalogue=catalogue,
            database=database,
            ledger=ledger,
            durable=durable,
            governor=governor,
            approvals=Approvals(
                database, ledger, durable, clock, lifetime=timedelta(seconds=settings.approvals.expires_s)
            ),
            gate=gate,
            chooser=Chooser(settings, catalogue.values(), record=lambda: meter.metrics(_LATELY).agents),
            workspaces=open_workspaces(settings.project, settings.state_dir, settings.workspace.isolation),
            runner_of=lambda spec: runner_of(spec, functions, settings, gate),
            contain=_validating(settings),
            contain_undo=undoing(settings),
            containment=lambda name: "none: a function of this process" if name in functions else probe(),
            meter=meter,
            rollouts=rollouts,
            alert_rules=alert_rules,
            notifier=notifier,
            observers=_observers(settings, ledger),
            clock=clock,
            worker_id=worker_name(),
        )
    )


def _percentages(settings: Settings) -> Percentages | None:
    if not settings.rollouts.provider:
        return None
    from interlock.flags import percentages  # noqa: PLC0415 - an extra

    return percentages(settings.rollouts.provider)


def _notifier(settings: Settings) -> Notifier:
    from interlock.notify.send import AppriseNotifier, Nobody  # noqa: PLC0415 - an extra

    targets = {name: target.get_secret_value() for name, target in settings.notify.targets.items()}
    return AppriseNotifier(targets) if targets else Nobody()


def _observers(settings: Settings, ledger: Ledger) -> Mapping[str, Observer]:
    if not settings.telemetry.otel:
        return {}
    from interlock.telemetry.otel import over_otlp  # noqa: PLC0415 - an extra

    return {"otel": over_otlp(lambda run_id: ledger.stream(run_id=run_id), contents=settings.telemetry.contents)}


def anchor_of(state_dir: Path, database: Database) -> Path:
    """The file that vouches for the ledger outside the database: one for each store that this project has used."""
    if database.is_sqlite:
        return state_dir / "ledger.anchor"
    where = database.engine.url
    name = hashlib.sha256(f"{where.host} {where.port} {where.database} {dict(where.query)}".encode()).hexdigest()[:8]
    return state_dir / f"ledger-{name}.anchor"


def _make_state_dir(place: Path) -> None:
    """A private directory that git does not see: the user's repository looks the same with and without Interlock."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    ignore = place / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")


def load_agents(settings: Settings, functions: Mapping[str, AgentFunction] | None = None) -> tuple[AgentSpec, ...]:
    """The catalogue: the team's definitions and functions, with what the configuration adds."""
    directory: Path | None = Path(settings.project, settings.agents_dir)
    if directory and not directory.exists() and settings.source("agents_dir") == "default":
        directory = None  # a project may define its agents in interlock.yaml, or as functions, alone
    extra = {name: agent.model_dump(mode="json", exclude_unset=True) for name, agent in settings.agents.items()}
    for name, function in (functions or {}).items():
        extra[name] = {"description": inspect.getdoc(function) or "", **extra.get(name, {})}
    return load_catalogue(directory, extra)


def runner_of(
    spec: AgentSpec, functions: Mapping[str, AgentFunction], settings: Settings, gate: Gate | None = None
) -> Runner:
    """The adapter that runs this agent. ``gate`` judges what MCP servers say of their tools; without it none is shown.

    Raises:
        ConfigError: when it has none, or an unknown one.
        MissingExtraError: when it needs an extra that is not installed.
    """
    if spec.name in functions:
        return FunctionRunner(functions[spec.name])
    if spec.runner is None:
        message = f"{spec.name} has no runner: say in interlock.yaml how it is run"
        raise ConfigError(message, suggestion='runner: {kind: command, command: ["{python}", "agents/it.py"]}')
    wrap, doors = contained(settings), doors_of(spec, settings)
    if spec.runner.kind == "command":
        return CommandRunner(spec.runner.options, wrap=wrap, doors=doors)
    if spec.runner.kind == "llm":
        from interlock.runners.llm import LlmRunner  # noqa: PLC0415 - loads what only an extra brings

        return LlmRunner(
            spec,
            spec.runner.options,
            wrap=wrap,
            doors=doors,
            secret_of=secrets_of(settings),
            hidden=_hidden(settings, gate),
        )
    if spec.runner.kind == "claude":
        from interlock.runners.claude import ClaudeRunner  # noqa: PLC0415 - the same

        return ClaudeRunner(spec, spec.runner.options, wrap=wrap, doors=doors, secret_of=secrets_of(settings))
    message = f"{spec.name}: there is no runner {spec.runner.kind!r}"
    raise ConfigError(message, suggestion=did_you_mean(spec.runner.kind, _RUNNERS) or f"known: {', '.join(_RUNNERS)}")


def _validating(settings: Settings) -> Contain:
    """The same walls for a validator: it reads the project, writes the workspace, and has no gate to talk to."""
    inside = _boxed(settings)

    def contain(argv: Sequence[str], workspace: Path, scratch: Path) -> tuple[Sequence[str], Mapping[str, str]]:
        box = inside(argv, {}, workspace=workspace, scratch=scratch, read=(settings.project,))
        return box.argv, box.env

    return contain


def beside(
    settings: Settings, env: Mapping[str, str], *, write: Sequence[Path] = (), read: Sequence[Path] = ()
) -> Contain:
    """Walls for programs that work on the project itself and not in a workspace: compensations, MCP servers.

    They may write to the project, but not to what vouches for it; ``write`` and ``read`` grant more.
    """
    inside = _boxed(settings)
    kept = [settings.project / name for name in (".git", "interlock.yaml", "interlock-pins.json")]
    kept = [path for path in (*kept, settings.state_dir) if not any(path.is_relative_to(more) for more in write)]

    def contain(argv: Sequence[str], workspace: Path, scratch: Path) -> tuple[Sequence[str], Mapping[str, str]]:
        there = [path for path in write if path.exists()]
        box = inside(
            argv,
            env,
            workspace=workspace,
            scratch=scratch,
            read=(Path(__file__).parent, *read),
            write=there,
            keep=kept,
            lasting=True,
        )
        return box.argv, box.env

    return contain


def undoing(settings: Settings) -> Contain:
    """Walls for what puts back what is outside of the workspaces."""
    env = {name: os.environ[name] for name in settings.rollback_env if name in os.environ}
    return beside(settings, env, write=[Path(settings.project, name).resolve() for name in settings.rollback_paths])


def doors_of(spec: AgentSpec, settings: Settings) -> Doors:
    """What leads out for this agent: to the granted hosts when it has no network, to what it has credentials for.

    Raises:
        ConfigError: when it names a credential that there is not, or that has no URL.
    """
    credentials = [credential_of(settings, name) for name in spec.credentials]
    for credential in credentials:
        if not credential.url:
            hint = "url and variable say where requests with it go, and how the agent finds the way"
            raise ConfigError(f"{spec.name}: the credential {credential.name} has no url", suggestion=hint)
    hosts = () if settings.sandbox.network else settings.scope.hosts or ()

    @asynccontextmanager
    async def doors(gate: GatePort, places: Places) -> AsyncIterator[Places]:
        async with AsyncExitStack() as stack:
            if hosts:
                places = replace(places, proxy=places.sockets / "proxy")
                await stack.enter_async_context(HostProxy(gate, places.sockets / "proxy", hosts))
            for number, credential in enumerate(credentials):
                upstream = await asyncio.to_thread(credential.upstream)
                relay = stack.enter_context(Relay(places.sockets / str(number), upstream, gate=gate))
                places = replace(
                    places,
                    relays={**places.relays, credential.variable: relay.path},
                    variables={**places.variables, credential.variable: relay.prefix},
                )
            yield places

    return doors


def secrets_of(settings: Settings) -> Callable[[str], str]:
    """Looks up the secret of a credential by its name."""
    return lambda name: credential_of(settings, name).value()


def credential_of(settings: Settings, name: str) -> Credential:
    """A credential of the configuration.

    Raises:
        ConfigError: when there is none of that name, or agents could read it.
    """
    said = settings.credentials.get(name)
    if said is None:
        hint = did_you_mean(name, tuple(settings.credentials)) or "name it under credentials: in interlock.yaml"
        raise ConfigError(f"there is no credential {name!r}", suggestion=hint)
    file = Path(settings.project, said.file).expanduser().resolve() if said.file else None
    if file is not None and file.is_relative_to(settings.project.resolve()):
        raise ConfigError(f"credentials.{name}: agents may read the project, and {said.file} lies in it")
    if said.env in settings.sandbox.pass_env:
        raise ConfigError(f"credentials.{name}: sandbox.pass_env hands {said.env} to every agent")
    return Credential(
        name=name, env=said.env, file=file, command=said.command, url=said.url, header=said.header, variable=said.variable
    )  # fmt: skip


def _hidden(settings: Settings, gate: Gate | None) -> Hidden:
    """Why tools of MCP servers are hidden, by the pins that the gateway uses too."""

    def judged(tool: str, text: str) -> Decision:
        action = Action(kind=Surface.TOOL_DEFINITION, tool=tool, args={"text": text}, environment=settings.environment)
        if gate is None:
            return failed(action, "there is no gate to judge it")
        return gate.judge(action, scope_of(settings, "")).decision

    return Definitions(Pins(settings), judged).reasons


def contained(settings: Settings) -> Wrap:
    """This machine's best sandbox in front of an agent's program; a machine that has none good enough for the risk refuses."""
    inside = _boxed(settings)

    def wrap(argv: Sequence[str], env: Mapping[str, str], places: Places) -> SandboxedCommand:
        return inside(
            argv,
            env,
            workspace=places.workspace,
            scratch=places.scratch,
            write=places.writes,
            read=(places.project, Path(__file__).parent, *places.reads, *program_paths(argv[0])),
            keep=places.keeps,
            sockets=(places.gate,) if places.gate else (),
            proxy=places.proxy,
            relays=places.relays,
            risk=places.risk,
            guarded=places.guarded,
        )

    return wrap


def _boxed(settings: Settings) -> Callable[..., SandboxedCommand]:
    """Puts this machine's best sandbox in front of a program."""
    limits = Limits()
    if settings.sandbox.memory_mb:
        limits = replace(limits, memory=settings.sandbox.memory_mb << 20)
    if settings.sandbox.processes:
        limits = replace(limits, processes=settings.sandbox.processes)
    passed = {name: os.environ[name] for name in settings.sandbox.pass_env if name in os.environ}

    def inside(
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        risk: RiskLevel = RiskLevel.LOW,
        guarded: bool = False,
        **places: Any,
    ) -> SandboxedCommand:
        least = settings.sandbox.level_for(risk)
        return open_sandbox(max(least, SandboxLevel.LANDLOCK) if guarded else least).wrap(
            argv, network=settings.sandbox.network, env={**passed, **env}, limits=limits, **places
        )

    return inside
