"""Agents as teams define them: Markdown with front matter, JSON or YAML, and the project's configuration on top.

A project's settings win over what a definition says. Front matter keys that are not ours are tolerated (other tools
read the same files); keys of the project's own settings are checked, because a mistyped limit is a limit not kept.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from interlock.errors import ConfigError, did_you_mean
from interlock.model.agent import AgentSpec, OnFailure, Priority, RunnerSpec, Validator
from interlock.model.choosing import Matrix, MatrixDomain, MatrixRule

_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_BACKTICKED_PATH = re.compile(r"`((?:[\w@.\-]+/)+[\w@.\-*]*)`")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,127}")
_MINED = 20_000
_ASKED = re.compile(r"""\buser:\s*["'“](.{3,300}?)["'”](?=\s|\\n|$)""")
_EXAMPLES = re.compile(r"<example>.*?(?:</example>|\Z)", re.DOTALL)
_KEYWORD_LINE = re.compile(r"^[\W_]*(?:keywords?|triggers?)[\W_]*?:[\W_]*?(\w.{2,400})$", re.IGNORECASE | re.MULTILINE)
_ROUTER = re.compile(r"(?:^|[-_.])orchestrator(?:$|[-_.])")
"""An agent that hands tasks to others is not chosen for one, unless the project says `fallback_only: false`."""
_TEXTS = (
    "keywords",
    "capabilities",
    "examples",
    "owns",
    "needs",
    "provides",
    "fallbacks",
    "exclusions",
    "tools",
    "tags",
    "credentials",
)
_WHOLE = ("max_concurrent", "max_retries", "context_tokens")
_FLAGS = ("idempotent", "fallback_only")
SETTINGS = frozenset(
    {*_TEXTS, *_WHOLE, *_FLAGS, "name", "description", "instructions", "model", "priority", "timeout_s"}
    | {"runner", "validators", "rollback", "triggers"}
)
"""The settings of an agent that a project's configuration may carry."""
_DEFINING = frozenset({"runner", "description", "keywords", "capabilities", "examples", "owns"})
"""Settings that make an agent of a name that has no definition."""
_TIDY = {
    "maxConcurrent": "max_concurrent",
    "max-concurrent": "max_concurrent",
    "fallback": "fallbacks",
    "allowed-tools": "tools",
}
_LARGEST = 1_000_000
_MISTYPED = 0.85
"""How alike two names are when one is the other mistyped; less is another agent that this project does not have."""


def load_catalogue(
    directory: Path | None, extra: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[AgentSpec, ...]:
    """The agents in ``directory`` (Markdown, ``agents.json``, ``agents.yaml``) or in one such file, sorted by name.

    ``extra`` holds the project's settings by agent; an agent that only ``extra`` knows is defined by it alone.

    Raises:
        ConfigError: for a file that cannot be read, a bad value, an unknown setting or two agents of one name.
    """
    found: dict[str, AgentSpec] = {}
    for file in _files(directory):
        for spec in _read(file):
            if spec.name in found:
                raise ConfigError(
                    f"two definitions of {spec.name}",
                    file=str(file),
                    suggestion=f"the other is {found[spec.name].source}",
                )
            found[spec.name] = spec
    for name, settings in (extra or {}).items():
        if name not in found and not _DEFINING & set(settings):
            if near := difflib.get_close_matches(name, found, n=1, cutoff=_MISTYPED):
                hint = f'did you mean "{near[0]}"?'
                raise ConfigError(f"agents.{name}: no such agent", file="configuration", suggestion=hint)
            continue  # limits for an agent that this project does not have
        spec = found.get(name) or _named(name, "configuration")
        found[name] = apply_settings(spec, settings, file="configuration", strict=True)
    return tuple(sorted(found.values(), key=lambda spec: spec.name))


def _files(directory: Path | None) -> list[Path]:
    if directory is None:
        return []
    if directory.is_file():
        return [directory]
    if not directory.is_dir():
        raise ConfigError(
            "no such folder of agent definitions",
            file=str(directory),
            suggestion="interlock init looks for .claude/agents",
        )
    lists = [file for file in sorted(directory.iterdir()) if file.name in {"agents.json", "agents.yaml", "agents.yml"}]
    return [*sorted(directory.rglob("*.md")), *lists]


def _read(file: Path) -> list[AgentSpec]:
    try:
        if file.stat().st_size > _LARGEST:
            raise ConfigError(
                "an agent definition of more than 1 MB", file=str(file), suggestion="is it the right file?"
            )
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError("not UTF-8 text", file=str(file), suggestion="save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(file)) from error
    if file.suffix == ".md":
        return _markdown(file, text)
    return _listed(file, text)


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
    line = _line_of(front.group(1), "name")
    if not isinstance(name, str):
        raise ConfigError(f"name must be text, not {name!r}", file=str(file), line=line)
    body = text[front.end() :].strip()
    spec = replace(_named(name, str(file), line), instructions=body, owns=_mined_paths([body[:4000]]))
    if _ROUTER.search(name):
        spec = replace(spec, fallback_only=True)
    spec = apply_settings(spec, settings, file=str(file), strict=False, text=front.group(1))
    return [_mined(spec)]


def _mined(spec: AgentSpec) -> AgentSpec:
    """What people write into the text of a definition: example requests, lines of keywords."""
    asked = [found.strip() for found in _ASKED.findall(f"{spec.description}\n{spec.instructions[:_MINED]}")]
    words = [word for line in _KEYWORD_LINE.findall(spec.instructions[:_MINED]) for word in _words(line)]
    plain = re.sub(r"\s+", " ", _EXAMPLES.sub(" ", spec.description.replace("\\n", "\n"))).strip()
    return replace(
        spec,
        description=plain,
        examples=tuple(dict.fromkeys((*spec.examples, *asked))),
        keywords=tuple(dict.fromkeys((*spec.keywords, *(word.strip("`*\"' .") for word in words)))),
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
    loaded = _structured(file, text)
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
                apply_settings(_named(settings["name"], str(file)), _flat(settings), file=str(file), strict=False)
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


def _structured(file: Path, text: str) -> Any:
    try:
        return json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"not JSON: {error.msg}", file=str(file), line=error.lineno) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError("not YAML", file=str(file), line=mark.line + 1 if mark else None) from error


def _named(name: str, source: str, line: int | None = None) -> AgentSpec:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name an agent", file=source, line=line, suggestion="letters, digits, dots and hyphens"
        )
    return AgentSpec(name=name, source=source)


def apply_settings(
    spec: AgentSpec, settings: Mapping[str, Any], *, file: str, strict: bool, text: str = ""
) -> AgentSpec:
    """``spec`` with ``settings`` on top; ``strict`` refuses unknown keys, ``text`` is where to look for lines.

    Raises:
        ConfigError: for an unknown key or a value that makes no sense.
    """
    changes: dict[str, Any] = {}
    for raw, value in settings.items():
        key = _TIDY.get(raw, raw)
        if key not in SETTINGS:
            if strict:
                raise ConfigError(
                    f"agents.{spec.name}: unknown setting {raw!r}", file=file, suggestion=did_you_mean(raw, SETTINGS)
                )
            continue
        if key == "name" or value is None:
            continue
        try:
            changes.update(_value(key, value))
        except (TypeError, ValueError, KeyError) as error:
            raise ConfigError(
                f"{spec.name}: {key}: {error}", file=file, line=_line_of(text, raw) if text else None
            ) from error
    if "triggers" in changes:
        triggers = changes.pop("triggers")
        changes["keywords"] = tuple(dict.fromkeys((*changes.get("keywords", spec.keywords), *triggers)))
        changes.setdefault("owns", tuple(dict.fromkeys((*spec.owns, *_mined_paths(triggers)))))
    return replace(spec, **changes)


def _value(key: str, value: Any) -> dict[str, Any]:
    if key == "timeout_s":
        return {"timeout": timedelta(seconds=_seconds(value))}
    read: Callable[[Any], Any] = _KINDS.get(key, _text)
    return {key: read(value)}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text, not {value!r}")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"true or false, not {value!r}")
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < _FOREVER:
        raise ValueError(f"seconds above 0, not {value!r}")
    return value


def _words(value: Any) -> tuple[str, ...]:
    """A list, or text with commas as front matter has it (``tools: Read, Bash(git:*)``)."""
    if isinstance(value, str):
        value = re.split(r",\s*(?![^()]*\))", value)
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, (str, int)) for one in value):
        raise TypeError(f"a list of words, not {value!r}")
    return tuple(dict.fromkeys(stripped for one in value if (stripped := str(one).strip())))


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"a whole number of 0 or more, not {value!r}")
    return value


def _one_of(kind: Any, value: Any) -> Any:
    try:
        return kind(value)
    except ValueError:
        known = [word.value for word in kind]
        hint = did_you_mean(str(value), known)
        raise ValueError(f"one of {', '.join(known)}, not {value!r}" + (f"; {hint}" if hint else "")) from None


def _list(value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"a list, not {value!r}")
    return list(value)


def _command(value: Any) -> tuple[str, ...]:
    if isinstance(value, (list, tuple)) and value and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise TypeError(f"a command is a list of words, not {value!r}")


def _runner(value: Any) -> RunnerSpec:
    if isinstance(value, str):
        return RunnerSpec(kind=value)
    if not isinstance(value, dict):
        raise TypeError(f"a kind or a mapping, not {value!r}")
    options = dict(value)
    kind = options.pop("kind", "command")
    if not isinstance(kind, str):
        raise TypeError(f"kind is text, not {kind!r}")
    inner = options.pop("options", None)
    return RunnerSpec(kind=kind, options={**options, **(inner if isinstance(inner, dict) else {})})


def _validator(value: Any) -> Validator:
    if not isinstance(value, dict):
        raise TypeError(f"a mapping with name and command, not {value!r}")
    known = {"name", "command", "on_failure", "timeout_s"}
    for key in value:
        if key not in known:
            raise ValueError(f"unknown key {key!r} {did_you_mean(str(key), known)}".strip())
    command = _command(value.get("command"))
    return Validator(
        name=str(value.get("name") or command[0]),
        command=command,
        on_failure=_one_of(OnFailure, value.get("on_failure", "rollback")),
        timeout=timedelta(seconds=_seconds(value.get("timeout_s", 60))),
    )


_FOREVER = 10_000_000
_KINDS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys((*_TEXTS, "triggers"), _words),
    **dict.fromkeys(_WHOLE, _whole),
    **dict.fromkeys(_FLAGS, _flag),
    "priority": lambda value: _one_of(Priority, value),
    "runner": _runner,
    "validators": lambda value: tuple(_validator(one) for one in _list(value)),
    "rollback": lambda value: tuple(_command(one) for one in _list(value)),
}
"""How each setting is read; all others are text."""


def _mined_paths(texts: Iterable[str]) -> tuple[str, ...]:
    """Paths that a definition names in back-ticks: where an agent says it works."""
    return tuple(dict.fromkeys(path for text in texts for path in _BACKTICKED_PATH.findall(str(text))))


def _line_of(text: str, key: str) -> int | None:
    found = re.search(rf"^{re.escape(key)}\s*:", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 2 if found else None


def load_matrices(directory: Path | None = None, configured: Any = None) -> tuple[Matrix, ...]:
    """The decision matrices of a project: its own ``matrix:`` first, else the shipped ones of the original system.

    ``directory`` is the folder or file of the catalogue: an ordering that it states is kept as a last matrix.

    Raises:
        ConfigError: for a matrix that cannot be understood.
    """
    if configured is not None:
        given = configured if isinstance(configured, list) else [configured]
        return tuple(parse_matrix(one, file="configuration") for one in given)
    shipped = yaml.safe_load((resources.files("interlock") / "data" / "matrix.yaml").read_text(encoding="utf-8"))
    matrices = [parse_matrix(one, file="data/matrix.yaml") for one in shipped]
    return (*matrices, *(_ordering(directory) if directory else ()))


def _ordering(directory: Path) -> list[Matrix]:
    found = []
    for file in [directory] if directory.is_file() else [directory / "agents.json", directory / "agents.yaml"]:
        if file.suffix in {".json", ".yaml", ".yml"} and file.is_file():
            loaded = _structured(file, file.read_text(encoding="utf-8"))
            facts = loaded.get("ordering") if isinstance(loaded, dict) else None
            pairs = tuple((str(one["before"]), str(one["after"])) for one in facts or () if isinstance(one, dict))
            if pairs:
                found.append(Matrix(name=f"ordering of {file.name}", agents=(), order=pairs))
    return found


def parse_matrix(value: Any, *, file: str) -> Matrix:
    """A matrix from its YAML form.

    Raises:
        ConfigError: naming the key that is unknown or has a bad value.
    """
    settings = _checked(Matrix, value, file, "matrix")
    rules = [_checked(MatrixRule, one, file, "matrix.rules") for one in settings.pop("rules", [])]
    domains = [_checked(MatrixDomain, one, file, "matrix.domains") for one in settings.pop("domains", [])]
    order = settings.pop("order", [])
    kinds = settings.pop("kinds", {})
    try:
        return Matrix(
            **{key: _matrix_value(key, held) for key, held in {"name": "matrix", "agents": [], **settings}.items()},
            rules=tuple(MatrixRule(**{key: _words(held) for key, held in rule.items()}) for rule in rules),
            domains=tuple(MatrixDomain(agent=str(one["agent"]), words=_words(one["words"])) for one in domains),
            order=tuple((str(before), str(after)) for before, after in order),
            kinds={str(kind): _words(said) for kind, said in kinds.items()},
        )
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError(f"matrix: {error}", file=file) from error


def _matrix_value(key: str, value: Any) -> Any:
    if key in {"name", "emergency_agent"}:
        return str(value)
    if key == "exactly":
        return bool(value)
    return _one_of(Priority, value) if key == "emergency_priority" else _words(value)


def _checked(kind: Any, value: Any, file: str, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be keys and values, not {value!r}", file=file)
    known = {one.name for one in fields(kind)}
    for key in value:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}", file=file, suggestion=did_you_mean(str(key), known))
    return dict(value)
