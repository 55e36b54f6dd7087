"""The gate's wire: newline-delimited JSON on a unix socket, for one attempt's agent.

``{"op": "before", "tool": …, "args": {…}, "labels"?, "idempotent"?, "compensation"?}`` is answered by
``{"verdict": "allow" | "block", "effect": …, "key": …, "reason": …}``; ``{"op": "after", "effect": …, "ok": …, "output"?,
"labels"?}`` by ``{"verdict": …, "reason": …}``. One request at a time on a connection, several connections at once.
Hooks, which keep nothing between the two, give the ``call`` a name of their own instead: then one that is announced or
reported twice (a program may have our hook in two of its settings) is one call and gets one answer.
Whatever is not understood, too long or goes wrong is answered with block: no path through this module allows by accident.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson

from interlock.model.action import Confidentiality, Integrity, Labels
from interlock.model.decision import Verdict
from interlock.model.run import Compensation
from interlock.ports import Gate

MAX_LINE = 1_000_000
"""Bytes of one request. A gate reads what it judges; nobody reviews a megabyte."""
MAX_CONNECTIONS = 32
_DRAIN_S = 10.0
_REASONS_KEPT = 20
_NAMES_KEPT = 1000

_log = logging.getLogger(__name__)


class _BadRequest(ValueError):  # noqa: N818 - said to the agent, never raised out of this module
    """A request that is not understood."""


@dataclass(kw_only=True, slots=True)
class _Named:
    """A call that a hook has named: what was asked and answered, and the same for what was reported of it."""

    request: str
    before: asyncio.Future[dict[str, Any]]
    after: dict[str, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)


class GateServer:
    """Serves one attempt's gate on a socket. Use as ``async with``; counts what it saw."""

    def __init__(self, gate: Gate, path: Path) -> None:
        self._gate = gate
        self._path = path
        self._server: asyncio.Server | None = None
        self._asking: set[asyncio.Task[Any]] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self.calls = 0
        self.blocks: deque[str] = deque(maxlen=_REASONS_KEPT)
        """The last reasons of what was blocked."""
        self._named: dict[str, _Named] = {}
        self.open: dict[str, bool] = {}
        """Allowed calls whose outcome was not reported: effect and whether it may be repeated."""

    async def __aenter__(self) -> Self:
        """Listen; the socket can be used by this user only."""
        self._server = await asyncio.start_unix_server(self._connected, path=self._path, limit=MAX_LINE)
        self._path.chmod(0o600)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening. Outcomes on their way are still recorded; questions nobody waits for are dropped."""
        if self._server is not None:
            self._server.close()
        for task in self._asking:
            task.cancel()
        if self._handlers:
            late = (await asyncio.wait(self._handlers, timeout=_DRAIN_S))[1]
            for handler in late:
                handler.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        with suppress(OSError):
            self._path.unlink()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this in a task
        self._handlers.add(task)
        try:
            if len(self._handlers) > MAX_CONNECTIONS:
                await _send(writer, self._refused("too many connections"))
            else:
                await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            _log.debug("an agent's connection ended early")
        finally:
            self._handlers.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError:
                await _send(writer, self._refused(f"a request may have {MAX_LINE} bytes at most"))
                return
            answer = await self.answer(line)
            try:
                await _send(writer, answer)
            except OSError:
                await self._undelivered(answer)
                return

    async def answer(self, line: bytes) -> dict[str, Any]:
        """The answer to one request. Never raises, except when it is cancelled."""
        try:
            return await self._dispatch(_request(line))
        except _BadRequest as error:
            return self._refused(f"not understood: {error}")
        except Exception as error:  # noqa: BLE001 - closed on failure: whatever goes wrong is a block
            _log.exception("the gate failed")
            return self._refused(f"the gate failed ({type(error).__name__})")

    async def _dispatch(self, request: dict[str, Any]) -> dict[str, Any]:
        operation = request.pop("op", None)
        call = _taken(request, "call", str, default="")
        if operation == "before":
            return await (self._before_named(call, request) if call else self._asked(request))
        if operation == "after":
            return await (self._after_named(call, request) if call else self._after(request))
        raise _BadRequest(f"op is before or after, not {operation!r}"[:200])

    async def _asked(self, request: dict[str, Any]) -> dict[str, Any]:
        task = asyncio.ensure_future(self._before(request))
        self._asking.add(task)
        try:
            return await task
        finally:
            self._asking.discard(task)

    async def _before_named(self, call: str, request: dict[str, Any]) -> dict[str, Any]:
        """The answer of the same call that is still under way; a call that has ended, or differs, is a new one."""
        known, same = self._named.get(call), _digest(request)
        if known is None or known.request != same or not self._is_under_way(known):
            known = _Named(request=same, before=asyncio.ensure_future(self._asked(request)))
            self._named.pop(call, None)
            self._named[call] = known
            if len(self._named) > _NAMES_KEPT:
                del self._named[next(iter(self._named))]
        return await asyncio.shield(known.before)

    def _is_under_way(self, known: _Named) -> bool:
        if not known.before.done():
            return True
        if known.after or known.before.cancelled() or known.before.exception() is not None:
            return False
        return known.before.result()["effect"] in self.open

    async def _after_named(self, call: str, request: dict[str, Any]) -> dict[str, Any]:
        known, said = self._named.get(call), _digest(request)
        if known is None:
            raise _BadRequest("no such call was announced in this attempt")
        if said not in known.after:
            answer = await known.before
            known.after[said] = asyncio.ensure_future(self._after({"effect": answer["effect"], **request}))
        return await asyncio.shield(known.after[said])

    async def _before(self, request: dict[str, Any]) -> dict[str, Any]:
        tool = _taken(request, "tool", str)
        args = _taken(request, "args", dict)
        labels = _labels(request.pop("labels", None))
        idempotent = _taken(request, "idempotent", bool, default=False)
        compensation = _compensation(request.pop("compensation", None))
        _nothing_left(request)
        if not tool:
            raise _BadRequest("tool is empty")
        self.calls += 1
        verdict = await self._gate.before(tool, args, labels=labels, idempotent=idempotent, compensation=compensation)
        decision = verdict.decision
        if decision.verdict is not Verdict.ALLOW or not verdict.effect_id:
            return self._refused(decision.reason or "not allowed")
        self.open[verdict.effect_id] = idempotent
        return {
            "verdict": "allow",
            "effect": verdict.effect_id,
            "key": verdict.idempotency_key,
            "reason": decision.reason,
        }

    async def _after(self, request: dict[str, Any]) -> dict[str, Any]:
        effect = _taken(request, "effect", str)
        ok = _taken(request, "ok", bool)
        output = _taken(request, "output", str, default="")
        labels = _labels(request.pop("labels", None))
        _nothing_left(request)
        if effect not in self.open:
            raise _BadRequest("no such effect is open in this attempt")
        decision = await self._gate.after(effect, ok=ok, output=output, labels=labels)
        self.open.pop(effect, None)
        if decision.verdict is Verdict.ALLOW:
            return {"verdict": "allow", "reason": decision.reason}
        return self._refused(decision.reason or "the result was not allowed")

    def _refused(self, reason: str) -> dict[str, Any]:
        self.blocks.append(reason)
        return {"verdict": "block", "effect": "", "key": "", "reason": reason}

    async def _undelivered(self, answer: Mapping[str, Any]) -> None:
        """A yes that nobody could hear: the call has not happened, and the ledger should know."""
        effect = answer.get("effect")
        if answer["verdict"] == "allow" and effect in self.open:
            try:
                await self._gate.after(effect, ok=False, output="the agent was gone before it could act")
            except Exception:  # noqa: BLE001 - closed on failure
                _log.exception("the gate failed")  # the effect stays open, so it will be said to be unknown
            else:
                self.open.pop(effect, None)


def _request(line: bytes) -> dict[str, Any]:
    try:
        request = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _BadRequest(f"a request is one JSON object a line ({error})") from None
    if not isinstance(request, dict):
        raise _BadRequest("a request is one JSON object a line")
    return request


def _digest(request: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _taken(request: dict[str, Any], name: str, kind: type, **default: Any) -> Any:
    """The value of a field, of exactly this type (True is not a number, 1 is not True)."""
    if name not in request:
        if "default" in default:
            return default["default"]
        raise _BadRequest(f"{name} is missing")
    value = request.pop(name)
    if type(value) is not kind:
        raise _BadRequest(f"{name} must be {kind.__name__}, not {type(value).__name__}")
    return value


def _nothing_left(request: Mapping[str, Any]) -> None:
    if request:
        raise _BadRequest(f"unknown field {next(iter(request))!r}"[:200])


def _labels(value: Any) -> Labels | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _BadRequest("labels must be an object")
    value = dict(value)
    try:
        labels = Labels(
            integrity=Integrity(value.pop("integrity", Integrity.TRUSTED)),
            confidentiality=Confidentiality(value.pop("confidentiality", Confidentiality.PUBLIC)),
        )
    except ValueError as error:
        raise _BadRequest(f"labels: {error}") from None
    _nothing_left(value)
    return labels


def _compensation(value: Any) -> Compensation | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _BadRequest("compensation must be an object")
    value = dict(value)
    command = _words(value.pop("command", None), "compensation.command")
    validate = _words(value.pop("validate", []), "compensation.validate")
    _nothing_left(value)
    if not command:
        raise _BadRequest("compensation.command is empty")
    return Compensation(command=command, validate=validate)


def _words(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise _BadRequest(f"{name} must be a list of texts")
    return tuple(value)


async def _send(writer: asyncio.StreamWriter, answer: Mapping[str, Any]) -> None:
    writer.write(orjson.dumps(answer) + b"\n")
    await writer.drain()
