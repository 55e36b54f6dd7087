"""The decision matrices of a project, as the data they are kept in."""

from __future__ import annotations

from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from interlock.catalogue.formats import read_text, structured
from interlock.catalogue.settings import one_of, words
from interlock.errors import ConfigError, did_you_mean
from interlock.model.agent import Priority
from interlock.model.choosing import Matrix, MatrixDomain, MatrixRule

_CARRIED = ("matrix.yaml", "matrix.yml", "agents.json", "agents.yaml", "agents.yml")
"""Where a folder of definitions carries a matrix: as a file of its own, or under ``matrix:`` beside the agents."""


def load_matrices(directory: Path | None = None, configured: Any = None) -> tuple[Matrix, ...]:
    """The decision matrices of a project: what its configuration says, else its catalogue's, else the original system's.

    ``directory`` is the folder or file of the catalogue: an ordering that it states is kept as a last matrix.

    Raises:
        ConfigError: for a matrix that cannot be understood.
    """
    if configured is not None:
        return _parsed(configured, "configuration")
    files = _lists(directory) if directory else []
    own = [one for file, held in files if held.get("matrix") is not None for one in _parsed(held["matrix"], str(file))]
    if not own:
        shipped = yaml.safe_load((resources.files("interlock") / "data" / "matrix.yaml").read_text(encoding="utf-8"))
        own = list(_parsed(shipped, "data/matrix.yaml"))
    return (*own, *(ordering for file, held in files for ordering in _ordering(file, held)))


def _parsed(value: Any, file: str) -> tuple[Matrix, ...]:
    return tuple(parse_matrix(one, file=file) for one in (value if isinstance(value, list) else [value]))


def _lists(directory: Path) -> list[tuple[Path, dict[str, Any]]]:
    """What is said of all agents together, by file."""
    found = []
    for file in [directory] if directory.is_file() else [directory / name for name in _CARRIED]:
        if file.suffix not in {".json", ".yaml", ".yml"} or not file.is_file():
            continue
        held = structured(file, read_text(file))
        if file.stem == "matrix":
            held = {"matrix": held}
        if isinstance(held, dict):
            found.append((file, held))
    return found


def _ordering(file: Path, held: dict[str, Any]) -> list[Matrix]:
    facts = held.get("ordering")
    pairs = tuple((str(one["before"]), str(one["after"])) for one in facts or () if isinstance(one, dict))
    return [Matrix(name=f"ordering of {file.name}", agents=(), order=pairs)] if pairs else []


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
            rules=tuple(MatrixRule(**{key: words(held) for key, held in rule.items()}) for rule in rules),
            domains=tuple(MatrixDomain(agent=str(one["agent"]), words=words(one["words"])) for one in domains),
            order=tuple((str(before), str(after)) for before, after in order),
            kinds={str(kind): words(said) for kind, said in kinds.items()},
        )
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError(f"matrix: {error}", file=file) from error


def _matrix_value(key: str, value: Any) -> Any:
    if key in {"name", "emergency_agent"}:
        return str(value)
    if key == "exactly":
        return bool(value)
    return one_of(Priority, value) if key == "emergency_priority" else words(value)


def _checked(kind: Any, value: Any, file: str, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be keys and values, not {value!r}", file=file)
    known = {one.name for one in fields(kind)}
    for key in value:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}", file=file, suggestion=did_you_mean(str(key), known))
    return dict(value)
