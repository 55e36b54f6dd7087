"""``interlock init``: a first, commented configuration for the project at hand."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from interlock.surfaces.cli.common import Json, git_says

_PLACES = (".claude/agents", ".github/agents", ".codex/agents", ".gemini/agents", ".codex", ".gemini")
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
_SUFFIXES = (".agent.md", ".md")
_MOST_FILES = 500
_MOST_BYTES = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One agent's definition."""

    name: str
    place: str
    file: str


def init(
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace an interlock.yaml that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a first, commented interlock.yaml for this project."""
    from interlock.config import find_project  # noqa: PLC0415 - help stays fast

    root = find_project(Path.cwd())
    agents, passed_over = find_agents(root)
    write(root, template(agents), force=force)
    ignored = ignore_state(root)
    steps = _next_steps(agents, ignored)
    if as_json:
        report = {
            "file": str(root / "interlock.yaml"),
            "agents": [{"name": agent.name, "file": f"{agent.place}/{agent.file}"} for agent in agents],
            "passed_over": passed_over,
            "state_ignored": ignored,
            "next": steps,
        }
        typer.echo(json.dumps(report, indent=2))
        return
    typer.echo(f"wrote {root / 'interlock.yaml'}")
    typer.echo(f"agents found: {', '.join(agent.name for agent in agents) or 'none'}")
    for reason in passed_over:
        typer.echo(f"passed over: {reason}")
    typer.echo("next:")
    for step in steps:
        typer.echo(f"  {step}")


def find_agents(root: Path) -> tuple[list[Found], list[str]]:
    """The agents defined in the known places, by name, and why files were passed over. Broken files break nothing."""
    found: dict[str, Found] = {}
    passed_over: list[str] = []
    for place in _PLACES:
        directory = root / place
        if not directory.is_dir() or not directory.resolve().is_relative_to(root):
            continue
        for path in sorted(directory.glob("*.md"))[:_MOST_FILES]:
            shown = f"{place}/{path.name}" if path.name.isprintable() else f"{place}/{path.name!r}"
            name = _name_in(path, root)
            if name is None:
                passed_over.append(f"{shown} names no usable agent")
            elif name in found:
                passed_over.append(f"{shown} defines {name} again; {found[name].place}/{found[name].file} is taken")
            else:
                found[name] = Found(name=name, place=place, file=path.name)
    return sorted(found.values(), key=lambda agent: agent.name), passed_over


def _name_in(path: Path, root: Path) -> str | None:
    """The agent's name: of the front matter, else the file's own; None when it is not usable."""
    try:
        if not path.is_file() or not path.resolve().is_relative_to(root):
            return None
        with path.open("rb") as stream:
            text = stream.read(_MOST_BYTES).decode("utf-8-sig", errors="replace").replace("\r\n", "\n")
    except OSError:
        return None
    head = text.partition("\n---")[0] if text.startswith("---\n") else ""
    written = re.search(r"^name:[ \t]*(.*)$", head, re.MULTILINE)
    stem = next((path.name.removesuffix(end) for end in _SUFFIXES if path.name.endswith(end)), path.stem)
    name = written[1].strip().strip("\"'") if written else stem
    return name if re.fullmatch(_NAME, name) else None


def write(root: Path, text: str, *, force: bool) -> None:
    """Write ``interlock.yaml``, whole or not at all; never over one that is there, unless ``force``.

    Raises:
        UsageError: when there is one, or it cannot be written.
    """
    from interlock.errors import UsageError  # noqa: PLC0415 - help stays fast

    path = root / "interlock.yaml"
    try:
        if force:
            fresh = root / ".interlock.yaml.new"
            fresh.unlink(missing_ok=True)
            with fresh.open("x", encoding="utf-8") as stream:
                stream.write(text)
            fresh.replace(path)
        else:
            with path.open("x", encoding="utf-8") as stream:
                stream.write(text)
    except FileExistsError:
        raise UsageError(f"{path} is there already: edit it, or use --force to replace it") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def ignore_state(root: Path) -> bool:
    """Tell git to ignore ``.interlock/``, in this clone only; False when that is left to the user."""
    if git_says(root, "check-ignore", "-q", ".interlock/state") is not None:
        return True
    path = git_says(root, "rev-parse", "--git-path", "info/exclude")
    if not path:
        return False
    exclude = root / path
    try:
        exclude.parent.mkdir(parents=True, exist_ok=True)
        before = exclude.read_text("utf-8", errors="surrogateescape") if exclude.exists() else ""
        with exclude.open("a", encoding="utf-8") as stream:
            stream.write(("" if before.endswith("\n") or not before else "\n") + ".interlock/\n")
    except OSError:
        return False
    return True


def _next_steps(agents: list[Found], ignored: bool) -> list[str]:
    steps = [] if ignored else ["add .interlock/ to .gitignore: Interlock keeps its state there"]
    if not agents:
        steps.append(
            "define an agent in interlock.yaml, as the example under agents: shows, or as .claude/agents/NAME.md"
        )
    own = (
        []
        if agents
        else ["or put the gate before the agent that you use yourself: interlock hook install --for claude"]
    )
    return [
        *steps,
        *(["say in interlock.yaml how each agent is run (runner:)"] if agents else []),
        "interlock doctor",
        'interlock plan "what you want done"',
        'interlock run "what you want done"',
        *own,
    ]


def template(agents: list[Found]) -> str:
    """The text of a first ``interlock.yaml``. Of the definitions only checked names get into it."""
    places = list(dict.fromkeys(agent.place for agent in agents))
    main = places[0] if places else _PLACES[0]
    lines = [f"agents_dir: {main}" if agents else f"# agents_dir: {main}"]
    lines += [f"# More definitions are in {place}; agents_dir names one directory." for place in places[1:]]
    lines += ["", *_AGENTS_HEAD, "agents:"]
    for agent in agents:
        lines.append(f"  {agent.name}: {{}}" + ("" if agent.place == main else f"  # defined in {agent.place}"))
    if not agents:
        lines[-1] = "agents: {}"
    return _HEAD + "\n".join(lines) + "\n" + _TAIL


_HEAD = """\
# Interlock: how agents may work on this project. Everything is optional; what is commented out shows the default.
# `interlock config show` says what is in force and why; `interlock config check` finds mistakes.

# development, staging or production; --env and the variable INTERLOCK_ENV come first.
environment: development

# Where the agents are defined (Markdown with front matter).
"""
_AGENTS_HEAD = (
    "# The agents, and what this project adds to the definition of each. For example:",
    "#   some-agent:",
    "#     description: Changes the database.            # not needed where a definition says it",
    '#     runner: {kind: command, command: ["{python}", "{project}/agents/some.py"]}   # or: {kind: claude}, {kind: llm, …}',
    "#     keywords: [migration, index]                  # words of tasks that are its work",
    '#     owns: ["migrations/**"]                       # files that are its own',
    "#     needs: [database-schema-agent]                # whose results it reads",
    "#     fallbacks: [other-agent]                      # who replaces it when it fails",
    "#     timeout_s: 5m",
    "#     validators: [{name: tests, command: [pytest, -q], on_failure: rollback}]",
)
_TAIL = """\

# limits:
#   max_concurrent: 5        # development 5, staging 3, production 2
#   per_agent: 2
#   per_minute: 10
#   timeout_s: 300
#   max_retries: 2

# What may be spent; nothing written means no limit, 0 means nothing may be.
# budgets:
#   tokens_per_run: 200000
#   cost_per_day_usd: 10

# approvals:
#   confirm_at: high         # low, medium, high or critical: the risk from which a person is asked
#   expires_s: 1d

# policies:
#   files: [policies/own.yaml]
#   enforcement: {some-policy: advisory}   # strict, advisory or disabled; production disables nothing

# workspace:
#   deliver: review          # review leaves a branch, merge merges it, patch writes a file

# What is different in one environment. Own ones say what they extend.
# environments:
#   production:
#     limits: {max_concurrent: 1}
#   demo:
#     extends: staging
"""
