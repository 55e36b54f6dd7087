"""The agents of a project: definitions in a folder or a file, and the project's configuration on top."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interlock.catalogue.formats import read
from interlock.catalogue.settings import apply_settings, named
from interlock.errors import ConfigError
from interlock.model.agent import AgentSpec

_DEFINING = frozenset({"runner", "description", "keywords", "capabilities", "examples", "owns"})
"""Settings that make an agent of a name that has no definition."""
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
        for spec in read(file):
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
        spec = found.get(name) or named(name, "configuration")
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
