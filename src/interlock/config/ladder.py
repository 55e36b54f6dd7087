"""The built-in environments, and which way is tighter.

The way to production leads from development over staging; values may only become tighter on it unless somebody says
otherwise in the very environment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from interlock.model.decision import Enforcement
from interlock.model.risk import RiskLevel

ORDER = ("development", "staging", "production")
"""The way to production."""

BUILT_IN: Mapping[str, Mapping[str, Any]] = {
    "development": {"verbose": True, "limits": {"max_concurrent": 5}, "breaker": {"threshold": 5}},
    "staging": {"verbose": False, "limits": {"max_concurrent": 3}, "breaker": {"threshold": 3}},
    "production": {
        "verbose": False,
        "limits": {"max_concurrent": 2},
        "breaker": {"threshold": 2},
        "approvals": {"confirm_at": RiskLevel.HIGH, "critical_quorum": 2, "separate_requester": True},
        "policies": {
            "packs": (
                "defaults",
                "databases",
                "git",
                "cloud",
                "kubernetes",
                "secrets",
                "forbidden-operations",
                "production",
            ),
        },
    },
}
"""The user's numbers (spec 12)."""

_CONTAINMENT = ("none", "rlimits", "landlock", "bubblewrap")
_ENFORCEMENT = (Enforcement.DISABLED, Enforcement.ADVISORY, Enforcement.STRICT)


def _smaller(value: Any) -> float:
    return -math.inf if value is None else -float(value)


STRICTNESS: Mapping[str, Callable[[Any], float]] = {
    "limits.max_concurrent": _smaller,
    "limits.per_agent": _smaller,
    "limits.per_minute": _smaller,
    "limits.timeout_s": _smaller,
    "limits.max_retries": _smaller,
    "budgets.tokens_per_run": _smaller,
    "budgets.tokens_per_day": _smaller,
    "budgets.cost_per_run_usd": _smaller,
    "budgets.cost_per_day_usd": _smaller,
    "breaker.threshold": _smaller,
    "breaker.failure_rate_percent": _smaller,
    "approvals.confirm_at": lambda level: -RiskLevel(level).rank,
    "approvals.expires_s": _smaller,
    "approvals.quorum": float,
    "approvals.critical_quorum": float,
    "approvals.separate_requester": float,
    "sandbox.minimum": _CONTAINMENT.index,
    "sandbox.network": _smaller,
}
"""The keys of which one value is tighter than another: the greater number is the tighter one."""


def get(values: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key, None when there is none."""
    found: Any = values
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def without_looser(base: str, layer: Mapping[str, Any]) -> dict[str, Any]:
    """A file's top level as it counts on top of a built-in environment.

    Development takes it as it is. Staging and production keep their own value where the file's is looser, and all
    their policy packs: who means it says it under ``environments:``.
    """
    kept = {key: dict(value) if isinstance(value, Mapping) else value for key, value in layer.items()}
    if base == ORDER[0]:
        return kept
    for key, strictness in STRICTNESS.items():
        section, _, name = key.partition(".")
        mine = BUILT_IN[base].get(section, {}).get(name)
        if mine is not None and name in kept.get(section, {}) and strictness(kept[section][name]) < strictness(mine):
            del kept[section][name]
    packs = get(kept, "policies.packs")
    if packs is not None:
        kept["policies"]["packs"] = tuple(dict.fromkeys((*packs, *(get(BUILT_IN[base], "policies.packs") or ()))))
    return kept


def looser(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """The dotted keys that are looser in ``after``, an environment one step further on the way, than in ``before``."""
    for key, strictness in STRICTNESS.items():
        if strictness(get(after, key)) < strictness(get(before, key)):
            yield key
    if set(get(before, "policies.packs")) - set(get(after, "policies.packs")):
        yield "policies.packs"
    names = {**get(before, "policies.enforcement"), **get(after, "policies.enforcement")}
    for name in names:
        was, now = (get(side, "policies.enforcement").get(name, Enforcement.STRICT) for side in (before, after))
        if _ENFORCEMENT.index(now) < _ENFORCEMENT.index(was):
            yield f"policies.enforcement.{name}"
