"""The table of programs whose behaviour is code rather than a rule."""

from __future__ import annotations

from collections.abc import Callable

from interlock.reading.shell.machine import Machine
from interlock.reading.shell.state import Call

Handler = Callable[[Machine, Call], str | None]
"""Judges a call; returns what it would print, None when nothing special is known of it."""
HANDLERS: dict[str, Handler] = {}


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Register a handler for these programs."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register


Wrapper = Callable[[Machine, Call], None]
"""Runs the command inside a call."""
WRAPPERS: dict[str, Wrapper] = {}


def wraps(*names: str) -> Callable[[Wrapper], Wrapper]:
    """Register how these wrappers find the command inside them; others run what follows their options."""

    def register(wrapper: Wrapper) -> Wrapper:
        WRAPPERS.update(dict.fromkeys(names, wrapper))
        return wrapper

    return register
