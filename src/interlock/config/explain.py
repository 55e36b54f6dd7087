"""What is wrong with a configuration, in the words of somebody who writes YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from interlock.config.settings import Sections
from interlock.config.text import Path
from interlock.errors import did_you_mean

OF_THE_FILE = ("environment", "environments", "strict_ladder")
"""Keys that a file has besides the settings."""
_SHOWN = 80


def explain(error: ValidationError, way: Path) -> Iterator[tuple[str, Path, str]]:
    """Each of pydantic's errors about the part at ``way``: what is wrong, where, and what to write instead."""
    for item in error.errors(include_url=False):
        inner: Path = tuple(item["loc"])
        here = (*way, *inner)
        if item["type"] == "extra_forbidden":
            known = [*_known(inner[:-1]), *((OF_THE_FILE if not way else ("extends",)) if len(inner) == 1 else ())]
            near = did_you_mean(str(inner[-1]), known)
            yield f"unknown key {dotted(here)}", here, near or f"known: {', '.join(known)}"
        else:
            yield f"{dotted(here)}: {_said(item)}" if here else _said(item), here, _nearest_word(item)


def _said(item: Mapping[str, Any]) -> str:
    """One error of pydantic in the words of somebody who writes YAML."""
    kind, text = str(item["type"]), str(item["msg"])
    if kind == "value_error":
        return text.removeprefix("Value error, ")
    words = {
        "tuple_type": "must be a list such as [a, b]",
        "mapping_type": "must hold keys and values",
        "dict_type": "must hold keys and values",
        "model_type": "must hold keys and values",
        "model_attributes_type": "must hold keys and values",
        "string_type": "must be text; put it in quotes",
        "missing": "is missing",
    }
    said = words.get(kind) or text.replace("Input should be", "must be")
    return said if kind == "missing" else f"{said}, not {shown(item['input'])}"


def _nearest_word(item: Mapping[str, Any]) -> str:
    if item["type"] not in {"enum", "literal_error"} or not isinstance(item["input"], str):
        return ""
    return did_you_mean(item["input"], re.findall(r"'([^']+)'", item["ctx"]["expected"]))


def _known(way: Path) -> list[str]:
    """The keys that the section at ``way`` knows."""
    model: type[BaseModel] | None = Sections
    for key in way:
        if model is None or isinstance(key, int):
            continue
        known = model.model_fields.get(key)
        model = _section_in(known.annotation) if known is not None else model
    return list(model.model_fields) if model is not None else []


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section that an annotation such as ``Mapping[str, AgentSettings]`` or ``X | None`` is about."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_section_in, get_args(annotation))), None)


def dotted(way: Path) -> str:
    """A way as people write it: ``agents.x.timeout_s``; what does not print is escaped."""
    return ".".join(part if isinstance(part, str) and part.isprintable() else repr(part) for part in way)[:200]


def shown(value: Any) -> str:
    """A value as an error may show it: short, and without control characters."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
