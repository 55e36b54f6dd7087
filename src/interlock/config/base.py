"""What all sections of the settings share: frozen, unknown keys refused, durations with their units."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, WithJsonSchema

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,3})?) ?(ms|s|m|h|d)")
_YEAR_S = 366 * 86400


def _seconds(value: Any) -> Any:
    """A number of seconds, or text such as ``90s``, ``5m``, ``1.5h``, ``2d``."""
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value.strip())
    if not found:
        raise ValueError('must be a number of seconds or text such as "90s", "5m", "2h"')
    amount = round(float(found[1]) * _UNITS[found[2]], 3)
    return int(amount) if amount == int(amount) else amount


def _command(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError('must be a list such as ["pytest", "-q"]: no shell reads it')  # noqa: TRY004 - pydantic's form
    return value


_AS_DURATION = WithJsonSchema(
    {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": f"^{_DURATION.pattern}$"}]}
)
Seconds = Annotated[int, BeforeValidator(_seconds), Field(strict=True, ge=0, le=_YEAR_S), _AS_DURATION]
Fraction = Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=_YEAR_S), _AS_DURATION]
Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
Tokens = Annotated[int, Field(strict=True, ge=0, le=10**12)]
Money = Annotated[Decimal, Field(ge=0, le=10**6, max_digits=13, decimal_places=6)]
Word = Annotated[str, Field(min_length=1, max_length=200)]
Command = Annotated[tuple[Word, ...], BeforeValidator(_command), Field(min_length=1)]


PART = "part"
"""The validation context of one layer of a file: what only the merged whole can break is not judged yet."""


class _Described(BaseModel):
    """Attribute docstrings are the schema's descriptions: read when a schema is wanted, which no command but one does."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema)["properties"]
        for key, text in meanings(cls).items():
            properties[key].setdefault("description", text)
        return schema


def meanings(section: type[BaseModel]) -> dict[str, str]:
    """What each key of a section means: the docstring under it."""
    found: dict[str, str] = {}
    for owner in reversed(section.__mro__):
        if issubclass(owner, _Described):
            for key, text in pairwise(_classes(owner.__module__)[owner.__name__]):
                if isinstance(key, ast.AnnAssign) and isinstance(text, ast.Expr):
                    found[ast.unparse(key.target)] = inspect.cleandoc(ast.literal_eval(text.value))
    return found


@cache
def _classes(module: str) -> dict[str, list[ast.stmt]]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}


class Section(_Described):
    """A part of the settings: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RunnerSettings(_Described):
    """How an agent is run: ``kind`` names the adapter, all other keys are the adapter's own options."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: Literal["command", "function", "llm", "claude"] = "command"
    """A program, a Python function given to the library, a model behind an API, or Claude Code."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The adapter's own options; it checks them itself."""
        return dict(self.model_extra or {})
