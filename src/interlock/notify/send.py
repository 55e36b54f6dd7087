"""Telling people through apprise (extra ``notify``): mail, Slack, Teams, webhooks and a hundred others by one URL each."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Mapping, Sequence

from interlock.errors import ConfigError, MissingExtraError
from interlock.reading.secrets import redact

_VARIABLE = "env:"
_LONGEST = 4000


class Nobody:
    """There is nobody to tell (:class:`interlock.ports.Notifier`)."""

    def tell(self, targets: Sequence[str], title: str, body: str) -> str:  # noqa: ARG002 - the port's arguments
        """Say that nobody was told."""
        return "nobody is configured: name targets under notify.targets in interlock.yaml"


class AppriseNotifier:
    """Tells the named targets (:class:`interlock.ports.Notifier`).

    Raises:
        MissingExtraError: when apprise is not installed.
    """

    def __init__(self, targets: Mapping[str, str]) -> None:
        if importlib.util.find_spec("apprise") is None:
            raise MissingExtraError("telling people", "notify")
        self._targets = targets

    def tell(self, targets: Sequence[str], title: str, body: str) -> str:
        """See :meth:`interlock.ports.Notifier.tell`."""
        problems = []
        for name in targets or self._targets:
            try:
                problem = self._tell_one(name, redact(title), redact(body)[:_LONGEST])
            except Exception as error:  # noqa: BLE001 - a notifier that breaks is a problem to record, never one to obey
                problem = f"{type(error).__name__}"  # no text: it may hold the URL with its password
            if problem:
                problems.append(f"{name}: {problem}")
        return "; ".join(problems)

    def _tell_one(self, name: str, title: str, body: str) -> str:
        import apprise  # noqa: PLC0415 - it takes 0.3 s to import, and most processes tell nobody

        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # its errors show whole URLs, passwords included
        if name not in self._targets:
            return "there is no such target"
        sender = apprise.Apprise()
        if not sender.add(url_of(self._targets[name])):
            return "apprise does not understand its URL"
        kind = apprise.NotifyType.WARNING
        return "" if sender.notify(body=body, title=title, notify_type=kind, body_format="text") else "it was not taken"


def url_of(target: str) -> str:
    """The URL of a target: written out, or in the variable that it names.

    Raises:
        ConfigError: when the variable is not set.
    """
    if not target.startswith(_VARIABLE):
        return target
    name = target.removeprefix(_VARIABLE)
    if not os.environ.get(name):
        message = f"the variable {name} is not set, and notify.targets needs it"
        raise ConfigError(message)
    return os.environ[name]
