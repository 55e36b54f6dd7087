"""The forms in which teams keep their agents: Markdown with front matter, lists in JSON or YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from interlock.catalogue.settings import apply_settings, line_of, mined_paths, named, words
from interlock.errors import ConfigError
from interlock.model.agent import AgentSpec

_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_MINED = 20_000
_ASKED = re.compile(r"""\buser:\s*["'“](.{3,300}?)["'”](?=\s|\\n|$)""")
_EXAMPLES = re.compile(r"<example>.*?(?:</example>|\Z)", re.DOTALL)
_KEYWORD_LINE = re.compile(r"^[\W_]*(?:keywords?|triggers?)[\W_]*?:[\W_]*?(\w.{2,400})$", re.IGNORECASE | re.MULTILINE)
_ROUTER = re.compile(r"(?:^|[-_.])orchestrator(?:$|[-_.])")
"""An agent that hands tasks to others is not chosen for one, unless the project says `fallback_only: false`."""
_LARGEST = 1_000_000


def read(file: Path) -> list[AgentSpec]:
    """The agents that a file defines.

    Raises:
        ConfigError: for a file that cannot be read or a bad value.
    """
    text = read_text(file)
    return _markdown(file, text) if file.suffix == ".md" else _listed(file, text)


def read_text(file: Path) -> str:
    """The text of a file of definitions.

    Raises:
        ConfigError: when it cannot be read, is too large or is no text.
    """
    try:
        if file.stat().st_size > _LARGEST:
            raise ConfigError(
                "an agent definition of more than 1 MB", file=str(file), suggestion="is it the right file?"
            )
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError("not UTF-8 text", file=str(file), suggestion="save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(file)) from error


def _markdown(file: Path, text: str) -> list[AgentSpec]:
    front = _FRONT.match(text)
    if front is None:
        if text.lstrip("\ufeff").startswith("---"):
            raise ConfigError("the front matter has no end", file=str(file), line=1, suggestion="close it with ---")
        return []  # a README beside the definitions is no agent
    settings = _front_matter(file, front.group(1))
    if settings.get("kind") == "meta":
        return []
    name = settings.get("name") or file.stem
    line = line_of(front.group(1), "name")
    if not isinstance(name, str):
        raise ConfigError(f"name must be text, not {name!r}", file=str(file), line=line)
    body = text[front.end() :].strip()
    spec = replace(named(name, str(file), line), instructions=body, owns=mined_paths([body[:4000]]))
    if _ROUTER.search(name):
        spec = replace(spec, fallback_only=True)
    spec = apply_settings(spec, settings, file=str(file), strict=False, text=front.group(1))
    return [_mined(spec)]


def _mined(spec: AgentSpec) -> AgentSpec:
    """What people write into the text of a definition: example requests, lines of keywords."""
    asked = [found.strip() for found in _ASKED.findall(f"{spec.description}\n{spec.instructions[:_MINED]}")]
    said = [word for line in _KEYWORD_LINE.findall(spec.instructions[:_MINED]) for word in words(line)]
    plain = re.sub(r"\s+", " ", _EXAMPLES.sub(" ", spec.description.replace("\\n", "\n"))).strip()
    return replace(
        spec,
        description=plain,
        examples=tuple(dict.fromkeys((*spec.examples, *asked))),
        keywords=tuple(dict.fromkeys((*spec.keywords, *(word.strip("`*\"' .") for word in said)))),
    )


def _front_matter(file: Path, text: str) -> dict[str, Any]:
    """YAML; where it is not (people write ``description: Use this: …`` unquoted), plain ``key: value`` lines."""
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        loaded = _plain_lines(text)
        if loaded is None:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 2 if mark else 2
            raise ConfigError(
                f"the front matter is not YAML: {getattr(error, 'problem', error)}",
                file=str(file),
                line=line,
                suggestion="put text with a colon into quotes",
            ) from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(
            "the front matter must be keys and values", file=str(file), line=2, suggestion="name: my-agent"
        )
    return {str(key): value for key, value in loaded.items()}


def _plain_lines(text: str) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key = re.match(r"([A-Za-z][\w\-]*):\s*(.*)$", line)
        if key is None or key.group(2)[:1] in {"[", "{", "&", "*", "!", '"', "'"}:
            return None
        found[key.group(1)] = key.group(2).strip()
    return found or None


def _listed(file: Path, text: str) -> list[AgentSpec]:
    loaded = structured(file, text)
    agents = loaded.get("agents", loaded) if isinstance(loaded, dict) else loaded
    if isinstance(agents, dict):
        agents = [{"name": name, **(settings or {})} for name, settings in agents.items() if name != "matrix"]
    if not isinstance(agents, list):
        raise ConfigError("expected a list of agents", file=str(file), suggestion='{"agents": [{"name": "…"}]}')
    specs = []
    for place, settings in enumerate(agents, start=1):
        if not isinstance(settings, dict) or not isinstance(settings.get("name"), str):
            raise ConfigError(f"agent {place} has no name", file=str(file), suggestion='each agent needs "name"')
        if settings.get("kind") != "meta":
            specs.append(
                apply_settings(named(settings["name"], str(file)), _flat(settings), file=str(file), strict=False)
            )
    return specs


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The form of a described team (limits, triggers, an older router's words) as plain settings.

    A router's words for its few agents are broad; they count as text, not as keywords, because among many agents they say little.
    """
    flat = {key: value for key, value in settings.items() if key not in {"limits", "base_orchestrator", "source"}}
    limits = settings.get("limits")
    if isinstance(limits, dict):
        flat.update({key: limits[key] for key in ("max_concurrent", "priority", "max_retries") if key in limits})
        if "timeout_ms" in limits:
            flat["timeout_s"] = limits["timeout_ms"] / 1000
    base = settings.get("base_orchestrator")
    if isinstance(base, dict):
        flat["base"] = [*(base.get("keywords") or []), *(base.get("triggers") or [])]
    rules = [*flat.pop("base", []), *(settings.get("forbidden_facts") or []), *(settings.get("confirm_facts") or [])]
    if rules and "instructions" not in flat:
        flat["instructions"] = "\n".join(str(rule) for rule in rules)
    return flat


def structured(file: Path, text: str) -> Any:
    """What a JSON or YAML file holds.

    Raises:
        ConfigError: when it is neither.
    """
    try:
        return json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"not JSON: {error.msg}", file=str(file), line=error.lineno) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError("not YAML", file=str(file), line=mark.line + 1 if mark else None) from error
