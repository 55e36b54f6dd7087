"""Finds and explains a bad set-up: each finding says what was seen and what to do. Nothing is changed."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from interlock.app import build, runner_of
from interlock.config import Settings, load_settings, problems
from interlock.errors import ConfigError, InterlockError, StoreError
from interlock.model.agent import AgentSpec
from interlock.model.decision import Enforcement
from interlock.model.run import RunState
from interlock.model.sandbox import SandboxLevel
from interlock.policies import examine_file
from interlock.sandbox.ladder import probe
from interlock.service import Service

OLDEST_GIT = (2, 38)
"""Since then ``git merge-tree --write-tree`` merges without touching a work tree."""
_GIT_S = 10
_ROOM = 1 << 20
"""With fewer free bytes than that a store cannot even be opened."""
_SANE_YEAR = 2025


class Grade(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not as well or as safely as it could."""
    PROBLEM = "problem"
    """Something will not work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at."""

    grade: Grade
    subject: str
    seen: str
    advice: str = ""


Findings = Iterator[Finding]


def examine(start: Path, *, env: str | None = None, file: Path | None = None) -> list[Finding]:
    """Everything about the project at ``start``. Never raises: what breaks while it looks is a finding too."""
    wrong = problems(start, env=env, file=file)
    if wrong:
        return [
            _problem("configuration", str(each), "Correct it; interlock config check says when it is right")
            for each in wrong
        ]
    settings = load_settings(start, env=env, file=file)
    found = _from_outside(settings)
    try:
        service = build(settings)
    except StoreError as error:
        return [*found, _problem("store", str(error), _reach(settings))]
    except OSError as error:
        advice = f"Give it to the account that runs Interlock ({settings.state_dir} must be a directory of its own)"
        return [*found, _problem("state", f"{error.filename}: {error.strerror}", advice)]
    except InterlockError as error:
        said = {finding.seen for finding in found if finding.grade is Grade.PROBLEM}
        last = _problem("start", str(error), "Correct it first; the rest cannot be looked at before")
        return found if str(error) in said else [*found, last]
    try:
        return [*found, *_from_inside(service)]
    finally:
        service.close()


def examine_running(service: Service) -> list[Finding]:
    """The same about a service that runs, as it was configured when it was put together."""
    return [*_from_outside(service.settings), *_from_inside(service)]


def _from_outside(settings: Settings) -> list[Finding]:
    found = [_ok("configuration", f"{settings.environment}, {settings.project}")]
    for look in (_git, _sandbox, _policies, _uncommitted, _notify, _clock, _state):
        found += _looked(look.__name__.strip("_"), partial(look, settings))
    return found


def _from_inside(service: Service) -> list[Finding]:
    found: list[Finding] = []
    for look in (_agents, _store, _workers, _ledger_clock):
        found += _looked(look.__name__.strip("_"), partial(look, service))
    return found


def _reach(settings: Settings) -> str:
    """What to do about a store that cannot be used. Its URL may hold a password, so only the place is said."""
    url = sa.make_url(settings.store_url)
    if url.get_backend_name() == "sqlite":
        place = next((each for each in settings.state_dir.parents if each.exists()), settings.project)
        if shutil.disk_usage(place).free < _ROOM:
            return "Make room: the disk is full, and what cannot be recorded is not done"
        return f"See that {url.database} and its directory belong to this account and can be written: nothing starts until then"
    where = f"{url.host or 'localhost'}:{url.port or 5432}/{url.database or ''}"
    return f"See that PostgreSQL answers at {where} and lets {url.username or 'this account'} in: nothing starts until then"


def _looked(subject: str, look: Callable[[], Findings]) -> list[Finding]:
    try:
        return list(look())
    except Exception as error:  # noqa: BLE001 - a doctor who faints helps nobody
        return [_problem(subject, f"could not be looked at: {type(error).__name__}: {error}", "Report this")]


def _ok(subject: str, seen: str) -> Finding:
    return Finding(grade=Grade.OK, subject=subject, seen=seen)


def _warning(subject: str, seen: str, advice: str) -> Finding:
    return Finding(grade=Grade.WARNING, subject=subject, seen=seen, advice=advice)


def _problem(subject: str, seen: str, advice: str) -> Finding:
    return Finding(grade=Grade.PROBLEM, subject=subject, seen=seen, advice=advice)


def _run_git(project: Path, *args: str) -> str | None:
    """What git says; None when it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(project), *args], capture_output=True, text=True, timeout=_GIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _git(settings: Settings) -> Findings:
    isolation = settings.workspace.isolation
    needed = isolation == "git"
    say = _problem if needed else _warning
    if shutil.which("git") is None:
        if needed or (isolation == "auto" and (settings.project / ".git").exists()):
            yield _problem(
                "git", "git is not on PATH, and this is a repository", "Install git, or workspace.isolation: copy"
            )
        else:
            yield _warning("git", "git is not on PATH", "Nothing to do: agents work on copies of the project")
        return
    version = _run_git(settings.project, "--version") or ""
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    if numbers < OLDEST_GIT:
        yield _problem(
            "git", version or "its version is unknown", f"Install git {'.'.join(map(str, OLDEST_GIT))} or newer"
        )
    elif _run_git(settings.project, "rev-parse", "--is-inside-work-tree") is None:
        yield say("git", f"{settings.project} is no git repository", "git init, or workspace.isolation: copy")
    elif _run_git(settings.project, "rev-parse", "HEAD") is None:
        yield _problem("git", "the repository has no commit yet", "Commit something: agents start from a commit")
    else:
        yield _ok("git", version)


def _sandbox(settings: Settings) -> Findings:
    level, asked = probe(), SandboxLevel(settings.sandbox.minimum)
    if level < asked:
        advice = f"{_INSTALL[asked]}, or lower sandbox.minimum: no agent starts until then"
        yield _problem("sandbox", f"this machine holds {level}, asked for is {asked}", advice)
    elif level < SandboxLevel.LANDLOCK:
        yield _warning("sandbox", f"this machine holds {level}: agents can read and write what you can", _SANDBOX)
    else:
        yield _ok("sandbox", f"this machine holds {level}, asked for is {asked}")


_INSTALL = {
    SandboxLevel.BUBBLEWRAP: "Install bubblewrap, and allow it user namespaces",
    SandboxLevel.LANDLOCK: "Use a kernel with landlock (5.13 or newer), or install bubblewrap",
    SandboxLevel.RLIMITS: "Use Linux: nothing holds agents here",
    SandboxLevel.NONE: "",
}
_SANDBOX = "Install bubblewrap, or use a kernel with landlock (5.13 or newer)"


def _policies(settings: Settings) -> Findings:
    sound = 0
    for name in settings.policies.every_file:
        path = Path(settings.project, name)
        try:
            _, wrong = examine_file(path)
        except ConfigError as error:
            wrong = (error,)
        for each in wrong:
            yield _problem("policies", str(each), f"Correct it; interlock policy lint {name} says when it is right")
        sound += not wrong
    for name, enforcement in settings.policies.enforcement.items():
        if enforcement is not Enforcement.STRICT:
            yield _warning("policies", f"{name} is {enforcement}", "It does not protect; make it strict when you can")
    if sound == len(settings.policies.every_file):
        yield _ok("policies", f"{len(settings.policies.packs)} packs, {sound} own files")


def _uncommitted(settings: Settings) -> Findings:
    files = ["interlock.yaml", *settings.policies.every_file, settings.agents_dir]
    changed = _run_git(settings.project, "status", "--porcelain", "--", *files)
    if changed:
        names = ", ".join(line[2:].strip() for line in changed.splitlines()[:5])
        advice = "Commit them: what decides about agents should have been reviewed, and have a history"
        yield _warning("uncommitted", f"not committed: {names}", advice)


def _notify(settings: Settings) -> Findings:
    wanted = [
        name
        for name, rule in settings.alerts.rules.items()
        if rule.enabled and {"notify", "escalate"} & set(rule.actions)
    ]
    if wanted and not settings.notify.targets:
        advice = "Name somebody under notify.targets, or nobody will hear of them"
        yield _warning("notify", f"{', '.join(wanted)} tell people, and nobody is configured", advice)
    for name, target in settings.notify.targets.items():
        variable = target.get_secret_value().removeprefix("env:")
        if target.get_secret_value().startswith("env:") and not os.environ.get(variable):
            advice = "Set it where the workers run"
            yield _problem("notify", f"target {name} needs the variable {variable}, which is not set", advice)


def _clock(_: Settings) -> Findings:
    now = datetime.now(UTC)
    if now.year < _SANE_YEAR:
        yield _problem("clock", f"it says {now:%Y-%m-%d}", "Set the clock: leases and approvals expire by it")


def _state(settings: Settings) -> Findings:
    place = settings.state_dir
    if not place.exists():
        return
    mode = stat.S_IMODE(place.stat().st_mode)
    if mode & 0o077:
        yield _warning("state", f"{place} is open to others (mode {mode:o})", f"chmod 700 {place}")
    if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
        yield _problem("state", f"{place} cannot be written", "Give it to the account that runs Interlock")


def _agents(service: Service) -> Findings:
    specs = [spec for spec in service.catalogue.values() if spec.runner is not None or spec.source]
    if not specs:
        where = service.settings.agents_dir
        yield _problem(
            "agents", "there is none", f"Define one under agents: in interlock.yaml, or put definitions into {where}"
        )
        return
    bad = 0
    for spec in specs:
        for finding in _runner(spec, service.settings):
            bad += 1
            yield finding
    if not bad:
        yield _ok("agents", f"{len(specs)}, and what runs them is there")


def _runner(spec: AgentSpec, settings: Settings) -> Findings:
    subject = f"agent {spec.name}"
    if spec.runner is None:
        advice = 'runner: {kind: command, command: ["{python}", "{project}/agents/it.py"]}'
        yield _problem(subject, "nothing says how it is run", f"Say it in interlock.yaml: {advice}")
        return
    try:
        runner_of(spec, {}, settings)
    except InterlockError as error:
        yield _problem(subject, str(error), "Correct it; until then no task that needs it is taken on")
        return
    command = spec.runner.options.get("command") or ()
    if spec.runner.kind != "command" or isinstance(command, str) or not command:
        return
    program = str(command[0])
    if not program.startswith("{") and shutil.which(program, path=_path(settings)) is None:
        yield _problem(subject, f"{program} is not found", "Install it, or correct the agent's runner")
    if len(command) > 1 and str(command[1]).endswith((".py", ".sh")):
        script = Path(str(command[1]).replace("{project}", str(settings.project)))
        if "{" not in str(script) and not (settings.project / script).exists():
            yield _problem(subject, f"{script} is not there", "Correct the agent's runner")


def _path(settings: Settings) -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), str(settings.project)])


def _store(service: Service) -> Findings:
    for check in service.health.system().checks:
        if check.name == "workers" or (check.name == "ledger" and check.ok):
            continue
        if check.ok:
            yield _ok(check.name, check.evidence)
        else:
            grade = _problem if check.name in {"store", "ledger"} else _warning
            yield grade(check.name, check.evidence, check.recommendation)


def _workers(service: Service) -> Findings:
    facts = service.health.facts()
    if facts.dead_workers:
        advice = "interlock resume takes over what they have left"
        yield _warning("workers", f"{facts.dead_workers} have gone without signing off", advice)
    unfinished = [run for run in service.runs.unfinished() if run.state is not RunState.WAITING]
    if unfinished and not facts.living_workers:
        seen = f"{len(unfinished)} runs have not ended, and nothing executes"
        yield _problem("workers", seen, "Start a worker: interlock resume")


def _ledger_clock(service: Service) -> Findings:
    newest = next(iter(service.ledger.entries(after=service.ledger.newest() - 1, limit=1)), None)
    ahead = (newest.at - datetime.now(UTC)).total_seconds() if newest else 0
    if ahead > 1:
        seen = f"it is {ahead:.0f} s behind the newest ledger record: it has jumped back, or machines disagree"
        yield _problem("clock", seen, "Synchronise the clocks (NTP)")
