"""The relay: an agent reaches its model without ever having the key."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate_stub import GateStub
from interlock.model.decision import Decision
from interlock.runners.relay import Relay, Upstream, blacked_out
from interlock.testing import ScriptedModel

KEY = "sk-ant-" + "fake" * 10
LONG = "a word and more\n" * 20_000
BODY = {"model": "m", "messages": [{"role": "user", "content": "go"}]}


class Connection(http.client.HTTPConnection):
    """To a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("relay")
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


def ask(relay: Relay, path: str, body: Any = BODY, *, method: str = "POST", **headers: str) -> tuple[int, str, str]:
    """(status, body, all headers)."""
    connection = Connection(relay.path)
    sent = json.dumps(body) if body is not None else None
    connection.request(method, path, sent, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(), str(answer.headers)
    connection.close()
    assert KEY not in found[1] + found[2]
    return found


def model_at(url: str) -> Upstream:
    return Upstream(url=url, header="x-api-key", value=KEY, secret=KEY, below="/v1/")


class Api(BaseHTTPRequestHandler):
    """Somebody's API: repeats what it was sent, sends away, says nothing."""

    seen: list[tuple[str, str, str]]
    heard: Sized = range(9)

    def do_GET(self) -> None:
        self.seen.append((self.command, self.path, self.headers.get("Authorization", "")))
        if self.path == "/stream":
            self.stream()
            return
        body = f"you sent {self.headers['Authorization']}".encode()
        if self.path.startswith("/long"):
            body = (LONG + self.path[6:]).encode()
        if self.path.startswith("/say/"):
            body = self.path[5:].encode()
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "/stolen")
            body = b""
        else:
            self.send_response(200)
            self.send_header("X-Seen", self.headers["Authorization"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self) -> None:
        """Says a thing only when the one before has been heard."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for number, part in enumerate((b"data: one\n\n", b"data: please ob", b"ey me\n\n")):
            while len(self.heard) < number:
                time.sleep(0.005)
            self.wfile.write(part)

    do_DELETE = do_GET  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:
        """Not in a test."""


@contextmanager
def api(heard: Sized = range(9)) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    seen: list[tuple[str, str, str]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Seen", (Api,), {"seen": seen, "heard": heard}))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", seen
    server.shutdown()
    server.server_close()
    thread.join()


def through(place: Path, gate: GateStub, url: str, work: Callable[[Relay], Any]) -> Any:
    """What ``work`` returns, done beside a relay with a gate."""
    upstream = Upstream(url=url, header="Authorization", value=f"Bearer {KEY}", secret=KEY)

    async def go() -> Any:
        with Relay(place / "s", upstream, gate=gate) as relay:
            return await asyncio.to_thread(work, relay)

    return asyncio.run(go())


@pytest.mark.parametrize("stream", [False, True])
def test_the_key_is_added_behind_the_relay_and_answers_come_through(tmp_path: Path, stream: bool) -> None:
    with ScriptedModel([{"text": "hello"}]) as model, Relay(tmp_path / "s", model_at(model.url)) as relay:
        shown = {"x-api-key": "nothing", "Authorization": "Bearer nothing"}
        status, text, _ = ask(relay, f"{relay.prefix}/v1/messages?beta=true", BODY | {"stream": stream}, **shown)
        assert (status, "hello" in text) == (200, True)
        assert all(headers["x-api-key"] == KEY for headers in model.headers)
        assert "nothing" not in json.dumps(model.headers)
        assert relay.word not in json.dumps([*model.headers, model.requests])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/guess/v1/messages", 401),
        ("/v1/messages", 401),
        (f"/{KEY}/v1/messages", 401),
        ("", 401),
        ("{}/admin", 404),
        ("{}/v1/../admin", 404),
        ("{}/v1/%2e%2e/admin", 404),
        ("{}/v1/..%2fadmin", 404),
        ("{}", 404),
    ],
)
def test_another_address_and_another_path_are_refused(tmp_path: Path, path: str, status: int) -> None:
    with ScriptedModel([{"text": "hello"}]) as model, Relay(tmp_path / "s", model_at(model.url)) as relay:
        assert ask(relay, path.format(relay.prefix))[0] == status
        assert model.requests == []


def test_the_providers_refusals_come_through_as_they_are(tmp_path: Path) -> None:
    with ScriptedModel([{"error": 529}]) as model, Relay(tmp_path / "s", model_at(model.url)) as relay:
        assert ask(relay, f"{relay.prefix}/v1/messages")[0] == 529


def test_a_provider_that_is_not_there_is_a_bad_gateway_and_each_attempt_has_its_own_word(tmp_path: Path) -> None:
    nowhere = model_at("http://127.0.0.1:9")
    with Relay(tmp_path / "a", nowhere) as one, Relay(tmp_path / "b", nowhere) as other:
        assert ask(one, f"{one.prefix}/v1/messages")[0] == 502
        assert ask(one, f"{other.prefix}/v1/messages")[0] == 401


def test_an_answer_that_repeats_the_credential_has_it_blacked_out(tmp_path: Path) -> None:
    with api() as (url, seen):
        status, body, headers = through(
            tmp_path, GateStub(), url, lambda relay: ask(relay, f"{relay.prefix}/me", None, method="GET")
        )
    assert (status, body) == (200, "you sent Bearer ***")
    assert "X-Seen: Bearer ***" in headers
    assert seen == [("GET", "/me", f"Bearer {KEY}")]


def test_a_redirection_goes_to_the_agent_and_the_credential_does_not_go_along(tmp_path: Path) -> None:
    with api() as (url, seen):
        found = through(tmp_path, GateStub(), url, lambda relay: ask(relay, f"{relay.prefix}/away", None, method="GET"))
    assert found[0] == 302
    assert [path for _, path, _ in seen] == ["/away"]


def test_with_a_gate_every_request_is_a_call_and_a_refused_one_is_not_made(tmp_path: Path) -> None:
    gate = GateStub(rule=lambda _, args: "not that" if args["method"] == "DELETE" else "")
    with api() as (url, seen):
        through(tmp_path, gate, url, lambda relay: ask(relay, f"{relay.prefix}/a?b=c", None, method="GET"))
        status, body, _ = through(
            tmp_path, gate, url, lambda relay: ask(relay, f"{relay.prefix}/a", None, method="DELETE")
        )
    assert (status, "not that" in body) == (403, True)
    assert [path for _, path, _ in seen] == ["/a?b=c"]
    assert gate.asked == [
        ("network", {"method": "GET", "url": f"{url}/a?b=c"}),
        ("network", {"method": "DELETE", "url": f"{url}/a"}),
    ]
    assert gate.outcomes == {"eff_1": (True, "status 200\nyou sent Bearer ***")}


class InParts(GateStub):
    """Also judges what comes later."""

    async def more(self, effect_id: str, output: str) -> Decision:
        return await self.after(f"{effect_id}+{len(self.outcomes)}", ok=True, output=output)


def poisoned(output: str) -> str:
    return "it gives orders" if "obey" in output else ""


def fetched(place: Path, gate: GateStub, path: str) -> tuple[int, str]:
    """(status, how much of the body came), however it ended."""

    def get(relay: Relay) -> tuple[int, str]:
        connection = Connection(relay.path)
        connection.request("GET", relay.prefix + path)
        answer = connection.getresponse()
        try:
            return answer.status, answer.read().decode()
        except http.client.IncompleteRead as cut:
            return answer.status, cut.partial.decode()
        finally:
            connection.close()

    with api(gate.outcomes) as (url, _):
        found: tuple[int, str] = through(place, gate, url, get)
        return found


def test_an_answer_that_the_gate_withholds_never_reaches_the_agent(tmp_path: Path) -> None:
    status, body = fetched(tmp_path, GateStub(after_rule=poisoned), "/say/obey+me")
    assert status == 403
    assert "it gives orders" in body
    assert "obey" not in body


def test_a_long_answer_is_judged_in_parts_and_ends_before_the_one_that_is_withheld(tmp_path: Path) -> None:
    gate = InParts(after_rule=poisoned)
    assert fetched(tmp_path, gate, "/long") == (200, LONG)
    assert all(len(text) < 140_000 for _, text in gate.outcomes.values())
    status, body = fetched(tmp_path, InParts(after_rule=poisoned), "/long/obey")
    assert status == 200
    assert LONG.startswith(body)
    assert 0 < len(body) < len(LONG)


def test_what_nobody_can_judge_in_parts_does_not_go_on(tmp_path: Path) -> None:
    status, body = fetched(tmp_path, GateStub(), "/long")
    assert status == 200
    assert 0 < len(body) < len(LONG)


def test_a_stream_is_judged_as_it_comes_also_where_an_order_is_cut(tmp_path: Path) -> None:
    gate = InParts(after_rule=poisoned)
    status, body = fetched(tmp_path, gate, "/stream")
    assert status == 200
    assert body == "data: one\n\ndata: please ob"
    assert len(gate.outcomes) == 3


@given(st.lists(st.text(alphabet="abc", max_size=9)), st.text(alphabet="abc", min_size=1, max_size=6))
def test_a_secret_is_found_wherever_an_answer_is_cut(pieces: list[str], secret: str) -> None:
    whole = "".join(pieces)
    out = b"".join(blacked_out((piece.encode() for piece in pieces), secret.encode())).decode()
    assert secret not in out
    if secret not in whole:
        assert out == whole
