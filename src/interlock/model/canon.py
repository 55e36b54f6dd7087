"""Canonical bytes and digests: two equal values always have the same digest.

Hashed records hold no floats (their text form is not portable), only integers below 2^53 and ASCII keys; under these
limits sorted orjson output is RFC 8785 (JCS) canonical JSON.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import orjson

_MAX_INTEGER = 2**53 - 1


def canonical(value: Any) -> bytes:
    """Canonical JSON bytes of ``value``.

    Raises:
        ValueError: for a float, an integer beyond 2^53, or a key that is not ASCII text.
    """
    return orjson.dumps(_checked(value), option=orjson.OPT_SORT_KEYS)


def digest(value: Any) -> str:
    """``sha256:`` and the hexadecimal SHA-256 of the canonical bytes of ``value``."""
    return "sha256:" + hashlib.sha256(canonical(value)).hexdigest()


def _checked(value: Any) -> Any:
    kind = type(value)  # exact types first: every decision hashes, and almost every value is one of these
    if kind is str or kind is bool or value is None:
        return value
    if kind is list:
        return [item if type(item) is str else _checked(item) for item in value]
    if kind is dict:
        return {_key(key): item if type(item) is str else _checked(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        if abs(value) > _MAX_INTEGER:
            message = f"{value} is beyond 2^53 and has no canonical JSON form"
            raise ValueError(message)
        return value
    return _rare(value)


def _rare(value: Any) -> Any:
    if isinstance(value, timedelta):
        return round(value.total_seconds() * 1000)
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, Mapping):
        return {_key(key): _checked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_checked(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_checked(item) for item in value), key=canonical)
    message = f"{type(value).__name__} has no canonical form; use text or an integer"
    raise ValueError(message)


def _key(key: Any) -> str:
    if isinstance(key, str) and key.isascii():
        return str(key)
    message = f"a canonical key is ASCII text, not {key!r}"
    raise ValueError(message)
