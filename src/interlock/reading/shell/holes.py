"""Values of the abstract shell: texts with holes, where a hole remembers what would fill it.

The holes are control characters that no honest command carries; :mod:`interlock.reading.shell.machine` refuses a
text that contains one, and decoders replace them, so a hole in a value was always put there by the reader.
"""

from __future__ import annotations

import re

VARIABLE = "\x00"
"""The value of a variable that the text does not set."""
OUTPUT = "\x01"
"""What a program prints, or what a local file holds."""
SECRET = "\x02"  # noqa: S105 - a marker, not a password
"""Something that came out of a credential."""
DOWNLOAD = "\x03"
"""Something that came over the network."""

_BRACE_MARKS = "\x04\x05\x06"
CONTROL = re.compile(r"[\x00-\x06]")
_HOLES = re.compile(r"[\x00-\x03]")


def open_in(text: str) -> bool:
    """Whether ``text`` has a hole: its value is not wholly known."""
    return not text.isprintable() and _HOLES.search(text) is not None


def worst_of(*texts: str | None) -> str:
    """The most telling hole in ``texts`` (secret before download before output), :data:`OUTPUT` when there is none."""
    joined = "".join(filter(None, texts))
    for hole in (SECRET, DOWNLOAD):
        if hole in joined:
            return hole
    return OUTPUT


def shown(text: str, limit: int = 120) -> str:
    """``text`` as evidence: holes as an ellipsis, white space folded, cut to ``limit`` characters."""
    plain = " ".join((text if text.isprintable() else CONTROL.sub("…", text)).split())
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def clean(text: str) -> str:
    """``text`` without characters that could be taken for holes."""
    return CONTROL.sub("?", text)
