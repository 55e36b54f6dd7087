"""One request, judged in a fresh process, as quickly as that is right.

The first call of a session has no past, so it can be judged without the store: that is quick, and is recorded by
whoever opens the store next. Everything else opens the store here. Either way a server is started for the calls to come.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interlock.config import Settings, load_settings
from interlock.decide.reach import Reach, reach
from interlock.engine.judging import Gate, Judged, facts_of, scope_of, summary_of
from interlock.model.action import Action, Surface
from interlock.model.decision import Verdict
from interlock.model.ids import new_id
from interlock.model.session import Session, Spooled
from interlock.policies import policies_of
from interlock.surfaces.hook.client import isolated
from interlock.surfaces.hook.spool import is_new, place_of, session_of, spool

_WORDS = {Verdict.ALLOW: "allow", Verdict.CONFIRM: "ask", Verdict.BLOCK: "deny"}


def answer(request: Mapping[str, Any], project: Path) -> dict[str, Any]:
    """The answer, from the store where the call's session has a past.

    Raises:
        InterlockError: when the configuration or the store is not usable.
    """
    settings = load_settings(project)
    place = place_of(project)
    if not place.is_dir() and not (project / "interlock.yaml").exists():
        return _without_store(request, settings)
    _make(place)
    session = session_of(request)
    alone = not settings.policies.versions  # else the store knows which set of policies judges the session
    first = is_new(place, session) and request["op"] == "before" and alone
    _start_server(project)
    if first:
        action, judged = _judged(request, settings)
        if judged.decision.verdict is not Verdict.CONFIRM:
            spool(place, _spooled(session, action, judged, settings))
            return _said(judged)
    from interlock.surfaces.hook.desk import open_desk  # noqa: PLC0415 - the engine takes half a second to import

    desk = open_desk(project)
    try:
        return desk.answer(request)
    finally:
        desk.service.close()


def _without_store(request: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Somewhere that is no project of ours: judged by the defaults, recorded nowhere; ``ask`` finds its own way."""
    action, judged = _judged(request, settings)
    if request["op"] == "before":
        return _said(judged)
    decision, _ = _gate(settings).judge_result(
        action, judged.reading, scope_of(settings, str(settings.project)), request["output"]
    )
    return {"verdict": _WORDS[decision.verdict], "reason": decision.reason, "granted": False}


def _judged(request: Mapping[str, Any], settings: Settings) -> tuple[Action, Judged]:
    action = Action(
        kind=Surface.TOOL_CALL, tool=request["tool"], args=request["args"], actor=request["agent"],
        agent=request["agent"], environment=settings.environment,
    )  # fmt: skip
    return action, _gate(settings).judge(action, scope_of(settings, str(settings.project)))


def _gate(settings: Settings) -> Gate:
    return Gate(policies_of(settings), settings.environment, settings.tools)


def _said(judged: Judged) -> dict[str, Any]:
    return {"verdict": _WORDS[judged.decision.verdict], "reason": judged.decision.reason, "granted": False}


def _spooled(session: Session, action: Action, judged: Judged, settings: Settings) -> Spooled:
    declared = settings.tools.get(action.tool)
    outside = reach(action, judged.reading, declared.undo if declared else None) is Reach.OUTSIDE
    return Spooled(
        id=new_id("spl"), session=session, tool=action.tool, summary=summary_of(action), digest=action.digest,
        verdict=judged.decision.verdict, outside=outside, facts=facts_of(action, judged.decision),
    )  # fmt: skip


def _make(place: Path) -> None:
    """A private directory that git does not see."""
    place.mkdir(mode=0o700, exist_ok=True)
    if not (place / ".gitignore").exists():
        (place / ".gitignore").write_text("*\n", encoding="utf-8")


def _start_server(project: Path) -> None:
    """Have a server for the next calls, unless INTERLOCK_HOOK_SERVER says ``off``; it ends by itself when it is one too many."""
    if os.environ.get("INTERLOCK_HOOK_SERVER") == "off":
        return
    with contextlib.suppress(OSError):  # a full process table: this call is judged all the same
        log = os.open(place_of(project) / "hook.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            subprocess.Popen(  # it outlives this process on purpose
                isolated("interlock.surfaces.hook.server", str(project)), cwd=project, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(log)
