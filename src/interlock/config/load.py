"""From a file, the environment and an option to settings, or to all problems at once.

Later wins: defaults, the built-in environment, the file's top level, the file's ``environments:`` entry. One exception:
the top level cannot loosen what staging and production are built with (:mod:`interlock.config.ladder`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from interlock.config.agents import BUILT_IN_AGENTS
from interlock.config.base import PART
from interlock.config.explain import OF_THE_FILE, dotted, explain, shown
from interlock.config.ladder import BUILT_IN, ORDER, looser, without_looser
from interlock.config.settings import Sections, Settings, source_of
from interlock.config.text import MAX_BYTES, Tree, read_yaml
from interlock.config.text import Path as Way
from interlock.errors import ConfigError, did_you_mean
from interlock.model.decision import Enforcement
from interlock.model.risk import RiskLevel

FILE_NAME = "interlock.yaml"
_NEVER = "security scans are never bypassed; weaken single policies under policies.enforcement instead"
_PASSWORD = re.compile(r"(://[^/@:]*:)[^/@]*@")
_SECRET = re.compile(r"(key|token|secret|password)s?$", re.IGNORECASE)
_LEAVES = ("runner", "matrix")  # replaced whole: half of one runner's options makes no sense for another


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong with the configuration."""

    message: str
    file: str = ""
    line: int | None = None
    suggestion: str = ""

    def __str__(self) -> str:
        return str(ConfigError(self.message, file=self.file, line=self.line, suggestion=self.suggestion))


@dataclass(kw_only=True, slots=True)
class _Draft:
    """What one loading has gathered so far."""

    file: str = ""
    tree: Tree = field(default_factory=lambda: Tree(value=None))
    problems: list[Problem] = field(default_factory=list)

    def add(self, message: str, way: Way = (), suggestion: str = "", line: int | None = None) -> None:
        line = line or (self.tree.line(way) if self.file else None)
        self.problems.append(Problem(message=message, file=self.file, line=line, suggestion=suggestion))

    def place(self, part: Way) -> Callable[[Way], str]:
        """How to name the place of a value inside ``part`` of the file."""
        return lambda way: f"{self.file}:{self.tree.line((*part, *way))}"


def find_project(start: Path) -> Path:
    """The nearest directory at or above ``start`` that holds ``interlock.yaml`` or ``.git``; else ``start`` itself."""
    start = start.resolve()
    for place in (start, *start.parents):
        if (place / FILE_NAME).exists() or (place / ".git").exists():
            return place
    return start


def load_settings(project: Path, *, env: str | None = None, file: Path | None = None) -> Settings:
    """The settings of the project at (or above) ``project``.

    Args:
        project: where to start looking for the project.
        env: the environment's name; else the variable INTERLOCK_ENV, else the file's ``environment:``, else development.
        file: another file than the project's ``interlock.yaml``.

    Raises:
        ConfigError: naming file, line and suggestion of everything that is wrong.
    """
    settings, found = _load(project, env, file)
    if settings is None:
        raise _error(found)
    return settings


def problems(project: Path, *, env: str | None = None, file: Path | None = None) -> tuple[Problem, ...]:
    """Everything that is wrong with the configuration; empty when it can be used."""
    return _load(project, env, file)[1]


def effective(settings: Settings) -> list[tuple[str, Any, str]]:
    """Every setting as dotted key, plain value and source, in the order of definition; passwords are left out."""
    plain = settings.model_dump(mode="json")
    plain = {"environment": plain.pop("environment"), "project": plain.pop("project"), **plain}
    plain["store_url"] = _PASSWORD.sub(r"\1***@", plain["store_url"])
    return [(".".join(way), _without_secrets(value), settings.source(".".join(way))) for way, value in _leaves(plain)]


def _without_secrets(value: Any) -> Any:
    """A runner's options without what looks like a key or a password (names of variables stay)."""
    if not isinstance(value, Mapping):
        return value
    return {name: "***" if _SECRET.search(name) else _without_secrets(item) for name, item in value.items()}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``interlock.yaml``, for editors."""
    schema = Sections.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "interlock.yaml"
    schema["description"] = "The configuration of Interlock. Everything is optional."
    for name, part in schema["properties"].items():
        if name != "matrix" and isinstance(part.get("default"), dict):
            del part["default"]  # a section's defaults are those of its keys
    own = {
        "type": "string",
        "enum": list(ORDER),
        "description": "The built-in environment that an own one starts from.",
    }
    schema["$defs"]["Environment"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"extends": own, **schema["properties"]},
        "description": "What is different in this environment.",
    }
    schema["properties"] |= {
        "environment": {
            "type": "string",
            "description": "The environment when neither --env nor INTERLOCK_ENV names one.",
        },
        "strict_ladder": {
            "type": "boolean",
            "default": False,
            "description": "Refuse an environment that is looser than the one before it on the way to production.",
        },
        "environments": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Environment"}},
    }
    return schema


def _error(found: tuple[Problem, ...]) -> ConfigError:
    first = found[0]
    if len(found) == 1:
        return ConfigError(first.message, file=first.file, line=first.line, suggestion=first.suggestion)
    listed = "".join(f"\n  {problem}" for problem in found)
    return ConfigError(f"{len(found)} problems:{listed}", file=first.file, line=first.line)


def _load(project: Path, env: str | None, file: Path | None) -> tuple[Settings | None, tuple[Problem, ...]]:
    root = find_project(project)
    draft = _Draft()
    try:
        _read(draft, root, file)
    except ConfigError as error:
        return None, (Problem(message=error.message, file=error.file, line=error.line, suggestion=error.suggestion),)
    layers = _layers(draft)
    own = {name: layer for name, layer in layers.items() if name}
    name, source = _environment(draft, env, own)
    if draft.problems:
        return None, tuple(draft.problems)
    every = {
        known: _merged(draft, root, known, source if known == name else "default", layers)
        for known in dict.fromkeys((*ORDER, *own, name))
    }
    for known, settings in every.items():
        base = own.get(known, {}).get("extends", known)
        if settings is not None and base == ORDER[-1]:
            _check_production(draft, settings)
        before = every[_before(known, base)]
        if settings is not None and before is not None and (draft.tree.value or {}).get("strict_ladder"):
            _check_ladder(draft, before, settings)
    if draft.problems:
        return None, tuple(dict.fromkeys(draft.problems))
    return every[name], ()


def _before(name: str, base: str) -> str:
    """The environment that must not be tighter than ``name``: one step back, an own one's base, itself at the start."""
    return ORDER[max(0, ORDER.index(name) - 1)] if name in ORDER else base


def _read(draft: _Draft, root: Path, file: Path | None) -> None:
    """Fill the draft with the file, if there is one.

    Raises:
        ConfigError: when it cannot be read at all.
    """
    path = file or root / FILE_NAME
    shown_as = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    if not path.exists():
        if file is not None:
            raise ConfigError(
                "the file does not exist", file=shown_as, suggestion="leave --config out for the defaults"
            )
        if path.with_suffix(".yml").exists():
            raise ConfigError(
                "is not read under this name", file="interlock.yml", suggestion=f"rename it to {FILE_NAME}"
            )
        return
    if not path.is_file():
        raise ConfigError("is not a regular file", file=shown_as)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=shown_as) from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError("is not UTF-8 text", file=shown_as, line=line) from None
    draft.tree = read_yaml(text, file=shown_as)
    draft.file = shown_as
    if draft.tree.value is not None and not isinstance(draft.tree.value, dict):
        draft.add("must hold keys and values, such as `environment: development`")
        draft.tree = Tree(value=None)
    for way, line in draft.tree.duplicates:
        draft.add(f"{dotted(way)} is written twice", suggestion="keep one of them", line=line)


def _layers(draft: _Draft) -> dict[str, dict[str, Any]]:
    """The file's top level (under the name "") and its environments, each checked and normalised by itself."""
    value: dict[str, Any] = draft.tree.value or {}
    top = {key: item for key, item in value.items() if key not in OF_THE_FILE}
    layers = {"": _checked(draft, top, ())}
    if not isinstance(value.get("strict_ladder", False), bool):
        draft.add("strict_ladder must be true or false", ("strict_ladder",))
    environments = value.get("environments") or {}
    if not isinstance(environments, dict):
        draft.add("environments must hold one entry per environment", ("environments",))
        environments = {}
    for name, entry in environments.items():
        way: Way = ("environments", name)
        if not isinstance(entry, dict) and entry is not None:
            draft.add(f"{dotted(way)} must hold keys and values", way)
            continue
        part = dict(entry or {})
        base = part.pop("extends", None)
        _check_base(draft, name, base, way)
        layers[name] = _checked(draft, part, way) | {"extends": base or name}
    return layers


def _check_base(draft: _Draft, name: str, base: Any, way: Way) -> None:
    if name in ORDER:
        if base is not None:
            draft.add(f"{name} is built in and extends nothing", (*way, "extends"), "remove the line")
    elif base is None:
        near = did_you_mean(name, ORDER)
        draft.add(f"the own environment {name!r} must say what it extends", way, near or "add `extends: production`")
    elif base not in ORDER:
        near = did_you_mean(str(base), ORDER) or f"one of {', '.join(ORDER)}"
        draft.add(f"{dotted((*way, 'extends'))} must name a built-in environment", (*way, "extends"), near)


def _checked(draft: _Draft, part: dict[str, Any], way: Way) -> dict[str, Any]:
    """One layer, validated by itself; what it does not say is not in the result."""
    for key in [key for key in part if key in ("bypass_security_scans", "bypassSecurityScans")]:
        draft.add(f"{dotted((*way, key))} does not exist", (*way, key), _NEVER)
        del part[key]
    try:
        layer = Sections.model_validate(_without_empty(part, Sections), context=PART)
    except ValidationError as error:
        for message, here, suggestion in explain(error, way):
            draft.add(message, here, suggestion)
        return {}
    return layer.model_dump(exclude_unset=True)


def _without_empty(part: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Leave out sections of which everything is commented out: YAML calls them null."""
    result = {}
    for key, value in part.items():
        inner = _model_of(model, key)
        if value is None and (inner is not None or key in ("agents", "environments", "enforcement")):
            continue
        if key == "agents" and isinstance(value, dict):
            value = {name: {} if agent is None else agent for name, agent in value.items()}  # noqa: PLW2901 - the same thing
        result[key] = _without_empty(value, inner) if inner is not None and isinstance(value, dict) else value
    return result


def _model_of(model: type[BaseModel] | None, key: str | int) -> type[BaseModel] | None:
    """The section that ``key`` of ``model`` holds, if it holds one."""
    known = model.model_fields.get(str(key)) if model is not None else None
    kind = known.annotation if known is not None else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _environment(draft: _Draft, env: str | None, own: Mapping[str, Any]) -> tuple[str, str]:
    """The chosen environment and where the choice comes from."""
    variable = os.environ.get("INTERLOCK_ENV")
    written = (draft.tree.value or {}).get("environment")
    if env:
        name, source = env, "option --env"
    elif variable:
        name, source = variable, "variable INTERLOCK_ENV"
    elif written is not None:
        name, source = str(written), f"{draft.file}:{draft.tree.line(('environment',))}"
    else:
        return "development", "default"
    known = tuple(dict.fromkeys((*ORDER, *own)))
    if name not in known:
        suggestion = did_you_mean(name, known) or f"one of {', '.join(known)}"
        if source.startswith(("option", "variable")):
            message = f"unknown environment {shown(name)} ({source})"
            draft.problems.append(Problem(message=message, suggestion=suggestion))
        else:
            draft.add(f"unknown environment {shown(name)}", ("environment",), suggestion)
    return name, source


def _merged(
    draft: _Draft, root: Path, name: str, source: str, layers: Mapping[str, Mapping[str, Any]]
) -> Settings | None:
    """All layers for one environment as settings; problems that only the whole can have go to the draft."""
    base = str(layers.get(name, {}).get("extends", name))
    sources: dict[str, str] = {"environment": source}
    values = Sections().model_dump()
    values["agents"] = {agent: said.model_dump(exclude_unset=True) for agent, said in BUILT_IN_AGENTS.items()}
    _put(values, BUILT_IN[base], sources, lambda _way: f"environment {base} (built in)")
    _put(values, without_looser(base, layers[""]), sources, draft.place(()))
    for entry in dict.fromkeys((base, name)):
        part = {key: value for key, value in layers.get(entry, {}).items() if key != "extends"}
        where: Way = ("environments", entry)
        _put(values, part, sources, draft.place(where))
    if url := os.environ.get("INTERLOCK_STORE_URL"):
        values["store_url"], sources["store_url"] = url, "variable INTERLOCK_STORE_URL"
    values["state_dir"] = root / values["state_dir"]
    values["store_url"] = values["store_url"] or f"sqlite:///{values['state_dir']}/interlock.db"
    try:
        settings = Settings.model_validate({"environment": name, "project": root, **values})
    except ValidationError as error:
        for message, here, suggestion in explain(error, ()):
            _blame(draft, sources, dotted(here), f"{message} (in {name})", suggestion)
        return None
    settings._sources = sources  # noqa: SLF001 - set once, by the only maker
    return settings


def _put(
    values: dict[str, Any],
    layer: Mapping[str, Any],
    sources: dict[str, str],
    source: Callable[[Way], str],
    way: Way = (),
) -> None:
    """Lay ``layer`` over ``values`` and note where each leaf comes from."""
    for key, value in layer.items():
        here = (*way, key)
        if isinstance(value, Mapping) and value and key not in _LEAVES:
            inner = values[key] = dict(values.get(key) or {})
            _put(inner, value, sources, source, here)
        elif not (isinstance(value, Mapping) and values.get(key) and key not in _LEAVES):
            values[key] = value
            sources[".".join(map(str, here))] = source(here)


def _check_production(draft: _Draft, settings: Settings) -> None:
    """Whatever a file says, production asks for high risk and disables no policy."""
    plain = {"policies.enforcement": "strict or advisory", "approvals.confirm_at": "high or below"}
    chosen = {f"policies.enforcement.{name}": said for name, said in settings.policies.enforcement.items()}
    for version, values in settings.policies.versions.items():
        here = f"policies.versions.{version}.enforcement"
        chosen |= {f"{here}.{name}": said for name, said in (values.enforcement or {}).items()}
    for key, enforcement in chosen.items():
        if enforcement is Enforcement.DISABLED:
            _blame(draft, settings.sources, key, f"{key}: production disables no policy", plain["policies.enforcement"])
    if settings.approvals.confirm_at > RiskLevel.HIGH:
        key = "approvals.confirm_at"
        _blame(draft, settings.sources, key, f"{key}: production asks a person for high risk", plain[key])


def _check_ladder(draft: _Draft, before: Settings, after: Settings) -> None:
    for key in looser(before.model_dump(), after.model_dump()):
        message = f"{key} is looser in {after.environment} than in {before.environment}, and strict_ladder is on"
        _blame(draft, after.sources, key, message, "tighten it, or turn strict_ladder off")


def _blame(draft: _Draft, sources: Mapping[str, str], key: str, message: str, suggestion: str) -> None:
    """A problem of the merged whole, at the line that the key's value came from."""
    _, _, line = source_of(sources, key).rpartition(":")
    draft.add(message, suggestion=suggestion, line=int(line) if line.isdigit() else None)


def _leaves(value: Any, way: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping) and value and (not way or way[-1] not in _LEAVES):
        for key, item in value.items():
            yield from _leaves(item, (*way, key))
    else:
        yield way, value
