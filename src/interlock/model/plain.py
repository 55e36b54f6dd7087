"""Nouns to plain JSON values and back, for the store, the wire and ``--json``."""

from __future__ import annotations

from typing import Any, TypeVar

T = TypeVar("T")


_adapters: dict[Any, Any] = {}


def _adapter(kind: Any) -> Any:
    if kind not in _adapters:
        from pydantic import TypeAdapter  # noqa: PLC0415 - it takes 0.1 s to import; help and refusals do without it

        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def dump(noun: Any) -> Any:
    """``noun`` as JSON values: dicts, lists, text, integers."""
    return _adapter(type(noun)).dump_python(noun, mode="json")


def load(kind: type[T], plain: Any) -> T:
    """The noun of type ``kind`` that :func:`dump` wrote.

    Raises:
        pydantic.ValidationError: when ``plain`` does not describe such a noun.
    """
    loaded: T = _adapter(kind).validate_python(plain)
    return loaded
