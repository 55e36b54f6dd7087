"""The one place where adapters meet the engine."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from interlock.catalogue import load_catalogue
from interlock.clock import SystemClock
from interlock.config import Settings
from interlock.decide.alerts import load_rules
from interlock.engine.approvals import Approvals
from interlock.engine.choose import Chooser
from interlock.engine.durable import Durable
from interlock.engine.governor import Governor
from interlock.engine.judging import Gate
from interlock.engine.ledger import Ledger
from interlock.engine.means import Means
from interlock.engine.meter import Meter
from interlock.engine.policy_rollouts import PolicyRollouts
from interlock.engine.rollouts import Percentages, Rollouts
from interlock.engine.service import Service
from interlock.engine.validate import Contain
from interlock.engine.worker import worker_name
from interlock.errors import ConfigError, did_you_mean
from interlock.model.agent import AgentSpec
from interlock.model.sandbox import Limits, SandboxLevel
from interlock.policies import policies_of
from interlock.ports import AgentFunction, Clock, Notifier, Observer, Runner
from interlock.runners.command import CommandRunner, Places, Proxy, Wrap
from interlock.runners.function import FunctionRunner
from interlock.sandbox.ladder import open_sandbox, probe
from interlock.sandbox.proxy import HostProxy
from interlock.sandbox.workspace import open_workspaces
from interlock.store.database import Database

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
    database = Database(settings.store_url)
    database.migrate()
    ledger = Ledger(database, clock, anchor_of(settings.state_dir, database))
    durable = Durable(database)
    of_policies = PolicyRollouts(
        database, ledger, clock, settings, policies, lambda version: policies_of(settings, version)
    )
    rollouts = Rollouts(database, ledger, clock, settings, _percentages(settings), of_policies)
    governor = Governor(
        database, ledger, durable, clock, settings, lambda name: catalogue.get(name) or AgentSpec(name=name), rollouts
    )
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
            gate=Gate(policies, settings.environment, settings.tools, clock),
            chooser=Chooser(settings, catalogue),
            workspaces=open_workspaces(settings.project, settings.state_dir, settings.workspace.isolation),
            runner_of=lambda spec: runner_of(spec, functions, settings),
            contain=_validating(settings),
            containment=lambda name: "none: a function of this process" if name in functions else probe(),
            meter=Meter(database, ledger, clock, tuple(catalogue)),
            rollouts=rollouts,
            alert_rules=load_rules(settings.alerts),
            notifier=_notifier(settings),
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


def runner_of(spec: AgentSpec, functions: Mapping[str, AgentFunction], settings: Settings) -> Runner:
    """The adapter that runs this agent.

    Raises:
        ConfigError: when it has none, or an unknown one.
        MissingExtraError: when it needs an extra that is not installed.
    """
    if spec.name in functions:
        return FunctionRunner(functions[spec.name])
    if spec.runner is None:
        message = f"{spec.name} has no runner: say in interlock.yaml how it is run"
        raise ConfigError(message, suggestion='runner: {kind: command, command: ["{python}", "agents/it.py"]}')
    if spec.runner.kind == "command":
        return CommandRunner(spec.runner.options, wrap=_contained(settings), proxy=_proxied(settings))
    if spec.runner.kind == "llm":
        from interlock.runners.llm import LlmRunner  # noqa: PLC0415 - loads what only an extra brings

        return LlmRunner(spec, spec.runner.options)
    if spec.runner.kind == "claude":
        from interlock.runners.claude import ClaudeRunner  # noqa: PLC0415 - the same

        return ClaudeRunner(spec, spec.runner.options)
    message = f"{spec.name}: there is no runner {spec.runner.kind!r}"
    raise ConfigError(message, suggestion=did_you_mean(spec.runner.kind, _RUNNERS) or f"known: {', '.join(_RUNNERS)}")


def _validating(settings: Settings) -> Contain:
    """The same walls for a validator: it reads the project, writes the workspace, and has no gate to talk to."""
    inside = _boxed(settings)

    def contain(argv: Sequence[str], workspace: Path, scratch: Path) -> tuple[Sequence[str], Mapping[str, str]]:
        return inside(argv, {}, workspace=workspace, scratch=scratch, read=(settings.project,))

    return contain


def _proxied(settings: Settings) -> Proxy | None:
    """The way to the granted hosts for agents that have no network."""
    hosts = settings.scope.hosts
    if settings.sandbox.network or not hosts:
        return None
    return lambda gate, path: HostProxy(gate, path, hosts)


def _contained(settings: Settings) -> Wrap:
    """This machine's best sandbox in front of an agent's program."""
    inside = _boxed(settings)

    def wrap(argv: Sequence[str], env: Mapping[str, str], places: Places) -> tuple[Sequence[str], Mapping[str, str]]:
        return inside(
            argv,
            env,
            workspace=places.workspace,
            scratch=places.scratch,
            write=places.writes,
            read=(places.project, Path(__file__).parent),
            sockets=(places.gate,),
            proxy=places.proxy,
        )

    return wrap


def _boxed(settings: Settings) -> Callable[..., tuple[Sequence[str], Mapping[str, str]]]:
    """Puts this machine's best sandbox in front of a program."""
    limits = Limits()
    if settings.sandbox.memory_mb:
        limits = replace(limits, memory=settings.sandbox.memory_mb << 20)
    if settings.sandbox.processes:
        limits = replace(limits, processes=settings.sandbox.processes)
    passed = {name: os.environ[name] for name in settings.sandbox.pass_env if name in os.environ}

    def inside(argv: Sequence[str], env: Mapping[str, str], **places: Any) -> tuple[Sequence[str], Mapping[str, str]]:
        box = open_sandbox(SandboxLevel(settings.sandbox.minimum)).wrap(
            argv, network=settings.sandbox.network, env={**passed, **env}, limits=limits, **places
        )
        return box.argv, box.env

    return inside
