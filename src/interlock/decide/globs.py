"""Globs over slash-separated relative paths: ``*`` within a name, ``**`` across folders, a folder covers what is in it."""

from __future__ import annotations

import re
from functools import lru_cache


@lru_cache(maxsize=4096)
def pattern(glob: str) -> re.Pattern[str]:
    """The pattern that a whole path must match."""
    glob = glob.removeprefix("./")
    if glob.endswith("/"):
        glob += "**"
    if "/" not in glob:
        glob = "**/" + glob
    out, at = "", 0
    while at < len(glob):
        if glob.startswith("**/", at):
            out, at = out + "(?:[^/]+/)*", at + 3
        elif glob.startswith("**", at):
            out, at = out + ".*", at + 2
        elif glob[at] == "*":
            out, at = out + "[^/]*", at + 1
        elif glob[at] == "?":
            out, at = out + "[^/]", at + 1
        else:
            out, at = out + re.escape(glob[at]), at + 1
    return re.compile(out + r"(?:/.*)?", re.IGNORECASE)


def covers(glob: str, path: str) -> bool:
    """Whether ``glob`` covers ``path``."""
    return pattern(glob).fullmatch(path.removeprefix("./")) is not None


def weight(glob: str) -> int:
    """How particular a glob is: of two that cover a path, the one with more literal characters."""
    return sum(character not in "*?" for character in glob)
