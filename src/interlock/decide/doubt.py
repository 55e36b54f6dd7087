"""A doubt: the words of a clause are more like those of dangerous tasks than of harmless ones.

The rules of :mod:`interlock.decide.danger` know deeds and things; people find other words. Naive Bayes over stems, learned
from examples that everybody can read, raises what the rules pass over to medium, never higher: a reason to look, not to stop.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from importlib import resources
from typing import Any

import yaml

from interlock.decide import words
from interlock.decide.clause import Clause
from interlock.model.risk import Factor, RiskLevel

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SMOOTHING = 0.5
_LEAST = 0.5
"""Log-odds above which a clause is doubtful; `python -m bench.choosing` prints what it catches, cross-validated."""
_ELSEWHERE = ("screen", "parser", "writing", "code", "testing")
"""What a clause is about when its words say little about danger."""
_TELLING = 3
_EMPTY = words.FUNCTION_WORDS - words.word_set("all any every last now only own same still until without who")
"""Words that say nothing of danger; those of extent and haste do."""

Weigh = Callable[[Iterable[str]], dict[str, float]]


def doubt(clause: Clause) -> list[Factor]:
    """A medium factor when the words of ``clause`` sound dangerous, else nothing."""
    if clause.mention or clause.labelled or clause.has(*_ELSEWHERE):
        return []
    said = {words.stem(word): word for word in words.raw_words(clause.said)}
    weights = known()(said)
    if sum(weights.values()) <= _LEAST:
        return []
    telling = sorted(weights, key=lambda term: (-weights[term], term))[:_TELLING]
    return [
        Factor(
            name="doubt",
            level=RiskLevel.MEDIUM,
            evidence=", ".join(said[term] for term in telling),
            reason="Its words are more like those of dangerous tasks than of harmless ones.",
        )
    ]


@cache
def known() -> Weigh:
    """What the examples teach."""
    return learned(*examples())


def examples() -> tuple[list[str], list[str]]:
    """The dangerous tasks and the harmless ones of ``rules/doubt.yaml``."""
    listed = yaml.load(resources.files(__package__).joinpath("rules/doubt.yaml").read_text("utf-8"), Loader=_LOADER)  # noqa: S506 - a safe loader
    return listed["dangerous"], listed["harmless"]


def learned(dangerous: list[str], harmless: list[str]) -> Weigh:
    """A function from stems to their log-odds of danger; words of no example say nothing."""
    bad, good = _counts(dangerous), _counts(harmless)
    many, few = len(dangerous) + 2 * _SMOOTHING, len(harmless) + 2 * _SMOOTHING
    odds = {
        term: math.log((bad[term] + _SMOOTHING) / many) - math.log((good[term] + _SMOOTHING) / few)
        for term in bad.keys() | good.keys()
    }
    return lambda terms: {term: odds[term] for term in terms if term in odds}


def _counts(texts: Iterable[str]) -> Counter[str]:
    return Counter(term for text in texts for term in set(words.stems(text)) - _EMPTY)
