"""Fixed patterns that take linear time on any text: RE2 reads long texts, ``re`` short ones, where it is the faster."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, cast

import re2

_SHORT = 128
"""Characters up to which ``re`` is used: even a pattern of cubic time takes milliseconds there."""
_LONGEST_PLAIN = 4096
"""What is read, from the end, by a pattern that RE2 does not have (look-around); Linux' PATH_MAX."""


class Linear:
    """One pattern, compiled when first used. Both engines prefer the leftmost match and the first alternative."""

    __slots__ = ("_long", "_short", "flags", "source")

    def __init__(self, source: str, flags: str = "") -> None:
        """Keep the source; ``flags`` are letters as in ``(?is)``."""
        self.source = source
        self.flags = flags
        self._short: re.Pattern[str] | None = None
        self._long: Any = None

    def check(self) -> None:
        """Compile it.

        Raises:
            re.error: when it is no pattern.
        """
        self._engine("")

    def search(self, text: str) -> re.Match[str] | None:
        """The first match anywhere."""
        if self._short is not None and len(text) <= _SHORT:
            return self._short.search(text)
        engine = self._engine(text)
        if engine is self._short and len(text) > _LONGEST_PLAIN:
            text = text[-_LONGEST_PLAIN:]
        return cast("re.Match[str] | None", engine.search(text))

    def in_any(self, texts: Iterable[str]) -> bool:
        """Whether any of the texts has a match."""
        short = self._short
        for text in texts:
            found = short.search(text) if short is not None and len(text) <= _SHORT else self.search(text)
            if found is not None:
                return True
        return False

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        """All matches, in order."""
        return cast("Iterator[re.Match[str]]", self._engine(text).finditer(text))

    def without(self, text: str) -> str:
        """``text`` without its matches."""
        return cast("str", self._engine(text).sub("", text))

    def _engine(self, text: str) -> Any:
        if len(text) <= _SHORT:
            if self._short is None:
                self._short = re.compile(self._whole())
            return self._short
        if self._long is None:
            options = re2.Options()
            options.log_errors = False
            try:
                self._long = re2.compile(self._whole(), options)
            except re2.error:  # look-around, which is used on words and paths only
                self._short = self._long = self._short or re.compile(self._whole())
        return self._long

    def _whole(self) -> str:
        return f"(?{self.flags}){self.source}" if self.flags else self.source
