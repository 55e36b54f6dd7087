"""Words with an order: the order of definition is the order of strictness."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class OrderedWord(StrEnum):
    """A word that compares by its place in the definition, not by its letters."""

    @property
    def rank(self) -> int:
        """The place in the definition, 0 first."""
        return _ranks(type(self))[self.value]

    def __lt__(self, other: str) -> bool:
        return self.rank < type(self)(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= type(self)(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > type(self)(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= type(self)(other).rank

    def at_least(self, floor: Self) -> Self:
        """The stricter of this word and ``floor``."""
        return max(self, floor)


_RANKS: dict[type[OrderedWord], dict[str, int]] = {}


def _ranks(kind: type[OrderedWord]) -> dict[str, int]:
    ranks = _RANKS.get(kind)
    if ranks is None:
        ranks = _RANKS[kind] = {word.value: place for place, word in enumerate(kind)}
    return ranks
