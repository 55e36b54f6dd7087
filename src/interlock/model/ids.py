"""Identifiers: a short word for the kind, then time-ordered random text."""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no letter that reads as a digit
_TIME_LETTERS = 8
_RANDOM_LETTERS = 8


def new_id(kind: str) -> str:
    """A new identifier such as ``run_06fh3k2m9qwe4r7t``; later ones sort after earlier ones (to the second)."""
    return f"{kind}_{_base32(int(time.time()), _TIME_LETTERS)}{_base32(secrets.randbits(40), _RANDOM_LETTERS)}"


def _base32(number: int, letters: int) -> str:
    text = ""
    for _ in range(letters):
        number, place = divmod(number, 32)
        text = _ALPHABET[place] + text
    return text
