"""Where a hook's requests are judged with everything that the store knows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from interlock.app import build
from interlock.config import load_settings
from interlock.model.decision import Verdict
from interlock.model.session import Session, SessionVerdict
from interlock.service import Service
from interlock.surfaces.hook.spool import is_new, place_of, session_of, take_in

_WORDS = {Verdict.ALLOW: "allow", Verdict.CONFIRM: "ask", Verdict.BLOCK: "deny"}


class Desk:
    """Answers requests of :mod:`interlock.surfaces.hook.client` for one project."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._place = place_of(service.settings.project)
        self._known: set[Session] = set()

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one request. Raises only for requests that our own client would not send."""
        session = session_of(request)
        if session not in self._known:
            is_new(self._place, session)  # from now on it has a past
            self._known.add(session)
        if request["op"] == "after":
            said = self.service.sessions.after(
                session, request["tool"], request["args"], ok=bool(request["ok"]), output=request["output"]
            )
        else:
            wait = timedelta(seconds=float(request["wait_s"]))
            said = self.service.sessions.before(
                session, request["tool"], request["args"], wait=wait, elsewhere=bool(request["native"])
            )
        return answer_of(said)


def answer_of(said: SessionVerdict) -> dict[str, Any]:
    """The answer as it goes over the wire."""
    return {"verdict": _WORDS[said.decision.verdict], "reason": said.decision.reason, "granted": said.granted}


def open_desk(project: Path) -> Desk:
    """The project's desk, with the spool taken in.

    Raises:
        InterlockError: when the configuration or the store is not usable.
    """
    service = build(load_settings(project))
    try:
        take_in(place_of(project), service.sessions.take_in)
    except BaseException:
        service.close()
        raise
    return Desk(service)
