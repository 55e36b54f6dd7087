"""Percentages of rollouts from a flag provider, over OpenFeature (extra ``flags``)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from interlock.errors import ConfigError, MissingExtraError

FLAG = "interlock.rollout."
"""The flag of an agent is this and its name; its value is a whole number from 0 to 100."""


def percentages(provider: str) -> Callable[[str, str], int | None]:
    """(agent, key) to the percentage that the provider says; None when it has no such flag.

    Args:
        provider: ``module:function`` that makes an OpenFeature provider.

    Raises:
        MissingExtraError: when OpenFeature is not installed.
        ConfigError: when the provider cannot be made.
    """
    try:
        from openfeature import api  # noqa: PLC0415 - an extra
        from openfeature.evaluation_context import EvaluationContext  # noqa: PLC0415 - the same
        from openfeature.exception import ErrorCode  # noqa: PLC0415 - the same
    except ImportError as missing:
        raise MissingExtraError("percentages from a flag provider", "flags") from missing
    api.set_provider(_made(provider), "interlock")
    client = api.get_client("interlock")

    def percentage(agent: str, key: str) -> int | None:
        found = client.get_integer_details(f"{FLAG}{agent}", 0, EvaluationContext(targeting_key=key))
        if found.error_code is ErrorCode.FLAG_NOT_FOUND:
            return None
        return 0 if found.error_code else min(max(found.value, 0), 100)

    return percentage


def _made(provider: str) -> Any:
    module, _, function = provider.partition(":")
    try:
        return getattr(importlib.import_module(module), function)()
    except Exception as problem:
        message = f"rollouts.provider {provider!r} cannot be made: {type(problem).__name__}: {problem}"
        raise ConfigError(message, suggestion="write module:function, as Python imports them") from problem
