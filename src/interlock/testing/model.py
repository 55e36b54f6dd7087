"""A model server that says what a script says: real agents hold whole conversations with it, offline.

``python -m interlock.testing.model SCRIPT.json`` serves on loopback and prints its address; in a test use
:class:`ScriptedModel`. It keeps no conversation: the step is the number of tool results in the request, so that several
agents may talk to it at once and a client that asks again gets the same answer.

A script is a list of steps: ``{"tool": NAME, "args": {…}}`` (a list of those: calls side by side), ``{"text": …}`` (the
end; beside a tool: said before it is called), ``{"error": STATUS}`` (with ``"times": N`` the first N times, then the next step), ``{"hang": SECONDS}``. Behind the
last step comes the text "done". The file may also hold ``{"steps": […], "when": {WORDS: […]}}``: a conversation that
opens with those words has a script of its own (sub-agents do).
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from interlock.testing.dialects import Anthropic, Call, Chat, Dialect, Gemini, Plain, Reply, Responses

Step = Mapping[str, Any] | Sequence[Mapping[str, Any]]

_MAX_BODY = 64 << 20
_NOT_FOUND = 404
_BAD = 400
_CHARACTERS_PER_TOKEN = 4  # a rule of thumb; the figures only have to grow with the text


class ScriptedModel:
    """The server, in this process: ``with ScriptedModel(steps) as server: … server.url``.

    ``requests`` holds what clients have sent, as (path, body) in order; ``headers`` the headers of the same requests.
    """

    def __init__(
        self, steps: Sequence[Step], *, when: Mapping[str, Sequence[Step]] | None = None, port: int = 0
    ) -> None:
        self.steps = list(steps)
        self.when = {words: list(script) for words, script in (when or {}).items()}
        self.requests: list[tuple[str, Plain]] = []
        self.headers: list[dict[str, str]] = []
        self._errors: dict[int, int] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"owner": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """The address without a path: ``http://127.0.0.1:PORT``. OpenAI clients add ``/v1`` to it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; hanging answers end."""
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def noted(self, path: str, body: Plain, headers: Mapping[str, str]) -> None:
        """Keep a request for the test to look at."""
        with self._lock:
            self.requests.append((path, body))
            self.headers.append({name.lower(): value for name, value in headers.items()})

    def answer(self, dialect: Dialect, body: Plain, model: str) -> Reply | int:
        """What comes next in the conversation that this request carries; a number is an HTTP status to fail with."""
        done = dialect.results(body)
        opening = dialect.opening(body)
        script = next((script for words, script in self.when.items() if words in opening), self.steps)
        step = self._step(script, done)
        while isinstance(step, Mapping) and "error" in step:
            if self._fails(step):
                return int(step["error"])
            done += 1
            step = self._step(script, done)
        if isinstance(step, Mapping) and "hang" in step:
            self._stopping.wait(float(step["hang"]))
            step = {"text": "late"}
        return _reply(step, done, model, offered=_offers_tools(body), size=len(json.dumps(body)))

    def _step(self, script: Sequence[Step], number: int) -> Step:
        """Calls side by side bring as many results, so a step's place is counted in results."""
        place = 0
        for step in script:
            if number <= place:
                return step
            place += len(step) if not isinstance(step, Mapping) else 1
        return {"text": "done"}

    def _fails(self, step: Mapping[str, Any]) -> bool:
        with self._lock:
            self._errors[id(step)] = self._errors.get(id(step), 0) + 1
            return self._errors[id(step)] <= int(step.get("times", sys.maxsize))


def _reply(step: Step, number: int, model: str, *, offered: bool, size: int) -> Reply:
    wanted = [step] if isinstance(step, Mapping) else list(step)
    calls = [
        Call(id=f"call_{number}_{index}", tool=str(one["tool"]), args=dict(one.get("args") or {}))
        for index, one in enumerate(wanted)
        if "tool" in one
    ]
    if calls and not offered:  # a question on the side, such as for the conversation's title
        calls = []
    text = str(wanted[0].get("text", "" if calls else "ok"))
    said = json.dumps([call.args for call in calls]) + text
    return Reply(
        number=number, model=model, calls=calls, text=text,
        input_tokens=size // _CHARACTERS_PER_TOKEN, output_tokens=1 + len(said) // _CHARACTERS_PER_TOKEN,
    )  # fmt: skip


def _offers_tools(body: Plain) -> bool:
    return bool(body.get("tools"))


def _route(path: str) -> Dialect | None:
    if path.endswith("/messages"):
        return Anthropic()
    if path.endswith("/chat/completions"):
        return Chat()
    if path.endswith("/responses"):
        return Responses()
    return Gemini() if path.endswith((":generateContent", ":streamGenerateContent")) else None


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    owner: ClassVar[ScriptedModel]

    def do_POST(self) -> None:
        path = self.path.split("?")[0]
        body = self._body()
        if body is None:
            self._send_json({"error": {"type": "invalid_request_error", "message": "not a JSON object"}}, _BAD)
            return
        self.owner.noted(path, body, dict(self.headers.items()))
        dialect = _route(path)
        if path.endswith(("count_tokens", ":countTokens")):
            self._send_json({"input_tokens": 10, "totalTokens": 10})
        elif dialect is None:
            self._send_json({"error": {"type": "not_found_error", "message": path}}, _NOT_FOUND)
        else:
            self._reply(dialect, body, path)

    def _reply(self, dialect: Dialect, body: Plain, path: str) -> None:
        reply = self.owner.answer(dialect, body, str(body.get("model", "scripted")))
        if isinstance(reply, int):
            self._send_json({"type": "error", "error": {"type": "api_error", "message": f"scripted {reply}"}}, reply)
        elif body.get("stream") or path.endswith(":streamGenerateContent"):
            self._send_events(dialect, reply)
        else:
            self._send_json(dialect.whole(reply))

    def do_GET(self) -> None:
        self._send_json({"object": "list", "data": [{"id": "scripted", "object": "model"}], "models": []})

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _body(self) -> Plain | None:
        size = int(self.headers.get("Content-Length") or 0)
        try:
            body = json.loads(self.rfile.read(min(size, _MAX_BODY)) or b"{}")
        except ValueError:
            return None
        return body if isinstance(body, dict) else None

    def _send_json(self, value: Any, status: int = 200) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send_events(self, dialect: Dialect, reply: Reply) -> None:
        lines = []
        for name, data in dialect.events(reply):
            text = data if isinstance(data, str) else json.dumps(data)
            lines.append((f"event: {name}\n" if name else "") + f"data: {text}\n\n")
        self._send(200, "text/event-stream", "".join(lines).encode())

    def _send(self, status: int, kind: str, payload: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)
        except OSError:
            self.close_connection = True  # the client has gone

    def log_message(self, *_: object) -> None:
        """Say nothing: a test's output is its own."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve a script until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m interlock.testing.model", description="A scripted model server.")
    parser.add_argument("script", type=Path, help="a JSON file with the steps")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    chosen = parser.parse_args(argv)
    plain = json.loads(chosen.script.read_text(encoding="utf-8"))
    whole = plain if isinstance(plain, dict) else {"steps": plain}
    with ScriptedModel(whole["steps"], when=whole.get("when"), port=chosen.port) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
