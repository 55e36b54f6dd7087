"""The settings of one agent: what may be said of it, and how each setting is read and checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from interlock.errors import ConfigError, did_you_mean
from interlock.model.agent import AgentSpec, OnFailure, Priority, RunnerSpec, Validator

_BACKTICKED_PATH = re.compile(r"`((?:[\w@.\-]+/)+[\w@.\-*]*)`")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,127}")
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
_TIDY = {
    "maxConcurrent": "max_concurrent",
    "max-concurrent": "max_concurrent",
    "fallback": "fallbacks",
    "allowed-tools": "tools",
}


def named(name: str, source: str, line: int | None = None) -> AgentSpec:
    """An agent that has nothing but its name.

    Raises:
        ConfigError: when it cannot be a name.
    """
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
                f"{spec.name}: {key}: {error}", file=file, line=line_of(text, raw) if text else None
            ) from error
    if "triggers" in changes:
        triggers = changes.pop("triggers")
        changes["keywords"] = tuple(dict.fromkeys((*changes.get("keywords", spec.keywords), *triggers)))
        changes.setdefault("owns", tuple(dict.fromkeys((*spec.owns, *mined_paths(triggers)))))
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


def words(value: Any) -> tuple[str, ...]:
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


def one_of(kind: Any, value: Any) -> Any:
    """The word of the enumeration ``kind`` that ``value`` is; raises ValueError with the nearest one."""
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
        on_failure=one_of(OnFailure, value.get("on_failure", "rollback")),
        timeout=timedelta(seconds=_seconds(value.get("timeout_s", 60))),
    )


_FOREVER = 10_000_000
_KINDS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys((*_TEXTS, "triggers"), words),
    **dict.fromkeys(_WHOLE, _whole),
    **dict.fromkeys(_FLAGS, _flag),
    "priority": lambda value: one_of(Priority, value),
    "runner": _runner,
    "validators": lambda value: tuple(_validator(one) for one in _list(value)),
    "rollback": lambda value: tuple(_command(one) for one in _list(value)),
}
"""How each setting is read; all others are text."""


def mined_paths(texts: Iterable[str]) -> tuple[str, ...]:
    """Paths that a definition names in back-ticks: where an agent says it works."""
    return tuple(dict.fromkeys(path for text in texts for path in _BACKTICKED_PATH.findall(str(text))))


def line_of(text: str, key: str) -> int | None:
    """The line of a file on which the front matter ``text`` says ``key``."""
    found = re.search(rf"^{re.escape(key)}\s*:", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 2 if found else None
