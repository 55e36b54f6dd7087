"""An agent without a network, and the one way out that it has: granted hosts, through the proxy, written down by the gate."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from interlock.app import build
from interlock.config import load_settings
from interlock.model.action import Labels
from interlock.model.decision import Decision, Verdict
from interlock.model.plan import Task
from interlock.model.run import Compensation, OutcomeKind, RunState
from interlock.model.sandbox import SandboxLevel
from interlock.ports import CallVerdict
from interlock.sandbox.ladder import Ladder, holds
from interlock.sandbox.proxy import HostProxy, _is_local


class Gated:
    """A gate that says what it is told and keeps what it was asked."""

    def __init__(self, verdict: Verdict = Verdict.ALLOW) -> None:
        self.verdict = verdict
        self.asked: list[tuple[str, str]] = []
        self.told: list[bool] = []
        self.said: list[str] = []
        self.noted: list[str] = []

    async def note(self, kind: str, data: Mapping[str, Any]) -> None:
        assert data["host"]
        self.noted.append(kind)

    async def before(
        self,
        tool: str,
        args: Mapping[str, Any],
        *,
        labels: Labels | None = None,
        idempotent: bool = False,
        compensation: Compensation | None = None,
    ) -> CallVerdict:
        del labels, idempotent, compensation
        assert tool == "network"
        self.asked.append((args["method"], args["url"]))
        return CallVerdict(decision=Decision(verdict=self.verdict, reasons=("no",)), effect_id="eff")

    async def after(self, effect_id: str, *, ok: bool, output: str = "", labels: Labels | None = None) -> Decision:
        del labels
        assert effect_id == "eff"
        self.told.append(ok)
        self.said.append(output)
        return Decision(verdict=Verdict.ALLOW, reasons=())


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"{self.headers['Host']} {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def spoken(path: Path, hosts: tuple[str, ...], request: bytes, gate: Gated | None = None) -> bytes:
    """What the proxy answers to these bytes."""

    async def go() -> bytes:
        async with HostProxy(gate or Gated(), path, hosts):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(request)
            await writer.drain()
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            return answer

    return asyncio.run(go())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "p"


def test_a_granted_host_is_reached_and_the_gate_is_asked_and_told(path: Path, port: int) -> None:
    gate = Gated()
    answer = spoken(
        path, ("127.0.0.1",), f"GET http://127.0.0.1:{port}/a?b=c HTTP/1.1\r\nHost: x\r\n\r\n".encode(), gate
    )
    assert answer.endswith(f"127.0.0.1:{port} /a?b=c".encode())
    assert gate.asked == [("GET", f"http://127.0.0.1:{port}/a?b=c")]
    assert gate.told == [True]


def test_a_tunnel_to_a_granted_host_passes_bytes_as_they_are(path: Path, port: int) -> None:
    request = f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\nGET / HTTP/1.0\r\nHost: inner\r\n\r\n".encode()
    answer = spoken(path, ("127.0.0.1",), request)
    assert answer.startswith(b"HTTP/1.1 200 Connection established\r\n\r\n")
    assert answer.endswith(b"inner /")


def test_the_server_is_told_the_host_that_was_judged_and_no_other(path: Path, port: int) -> None:
    request = f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: secret.example\r\nhost: other.example\r\n\r\n".encode()
    assert spoken(path, ("127.0.0.1",), request).endswith(f"127.0.0.1:{port} /".encode())


@pytest.mark.parametrize("hosts", [("example.org",), ("27.0.0.1",), ()])
def test_a_host_that_is_not_granted_is_refused_whatever_the_gate_says(
    path: Path, port: int, hosts: tuple[str, ...]
) -> None:
    gate = Gated()
    for request in (f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\n\r\n", f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n"):
        assert spoken(path, hosts, request.encode(), gate).startswith(b"HTTP/1.1 403")
    assert gate.asked == []  # a person who was asked would keep the agent waiting for a no
    assert gate.noted == ["network.refused"] * 2


def test_what_the_gate_refuses_is_not_connected_to(path: Path, port: int) -> None:
    answer = spoken(path, ("127.0.0.1",), f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode(), Gated(Verdict.BLOCK))
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"Interlock: no" in answer


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET https://127.0.0.1/ HTTP/1.1\r\n\r\n",
        b"GET file:///etc/passwd HTTP/1.1\r\n\r\n",
        b"GET http://user@127.0.0.1/ HTTP/1.1\r\n\r\n",
        b"CONNECT 127.0.0.1 HTTP/1.1\r\n\r\n",
        b"CONNECT 127.0.0.1:99999 HTTP/1.1\r\n\r\n",
        b"CONNECT granted@127.0.0.1:80 HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_request_for_a_proxy_is_refused_and_the_gate_not_asked(path: Path, request_: bytes) -> None:
    gate = Gated()
    assert spoken(path, ("127.0.0.1",), request_, gate).startswith(b"HTTP/1.1 400")
    assert gate.asked == []


def test_a_name_that_no_host_can_have_is_said_to_be_out_of_reach(path: Path) -> None:
    gate = Gated()
    name = "a" * 70 + ".example.org"
    answer = spoken(path, ("*.example.org",), f"GET http://{name}/ HTTP/1.1\r\n\r\n".encode(), gate)
    assert b"502" in answer.split(b"\r\n")[0]
    assert gate.told == [False]


def test_a_tunnel_that_the_end_of_the_attempt_cuts_has_happened_as_far_as_it_went(path: Path) -> None:
    gate = Gated()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        await reader.read()
        writer.close()

    async def go() -> None:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with HostProxy(gate, path, ("127.0.0.1",)):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\nhello".encode())
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(5) == b"hello"
        writer.close()
        server.close()

    asyncio.run(go())
    assert (gate.told, gate.said) == ([True], ["5 bytes sent, 5 received"])


def test_a_host_that_is_down_is_said_to_be(path: Path, port: int) -> None:
    gate = Gated()
    assert spoken(path, ("127.0.0.1",), b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n", gate).startswith(b"HTTP/1.1 502")
    assert gate.told == [False]


def test_a_granted_name_that_leads_to_this_machine_is_refused(
    path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *rest, **more: real("127.0.0.1", *rest, **more))
    answer = spoken(path, ("example.org",), f"CONNECT example.org:{port} HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("169.254.169.254", True), ("0.0.0.0", True), ("::ffff:127.0.0.1", True),  # noqa: S104 - read, not bound
     ("localhost", True), ("a.localhost", True), ("example.org", False), ("192.0.2.1", False)],
)  # fmt: skip
def test_addresses_of_this_machine_are_told_from_others(host: str, local: bool) -> None:
    assert _is_local(host) is local


# Inside the walls

needs_bubblewrap = pytest.mark.skipif(
    sys.platform != "linux" or not holds(SandboxLevel.BUBBLEWRAP), reason="bubblewrap does not hold on this machine"
)

INSIDE = """
import json, os, socket, sys, urllib.request, urllib.error
port, other = int(sys.argv[1]), int(sys.argv[2])
def tried(action):
    try:
        return str(action())
    except urllib.error.HTTPError as error:
        return f"refused {error.code}"
    except OSError as error:
        return "failed"
def get(url):
    return urllib.request.urlopen(url, timeout=20).read().decode()
def direct():
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    return "out"
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("192.0.2.1", 53))
        s.send(b"x")
    return "out"
print(json.dumps({
    "granted": tried(lambda: get(f"http://127.0.0.1:{port}/hello")),
    "other": tried(lambda: get(f"http://localhost:{port}/hello")),
    "direct": tried(direct),
    "udp": tried(udp),
    "names": tried(lambda: socket.getaddrinfo("example.org", 80)),
}))
"""


def held(port: int) -> dict[str, str]:
    return {
        "granted": f"127.0.0.1:{port} /hello",
        "other": "refused 403",
        "direct": "failed",
        "udp": "failed",
        "names": "failed",
    }


@needs_bubblewrap
def test_from_inside_only_the_granted_host_is_reached_and_only_through_the_proxy(tmp_path: Path, port: int) -> None:
    (tmp_path / "work").mkdir()
    gate = Gated()

    async def go() -> subprocess.CompletedProcess[str]:
        async with HostProxy(gate, tmp_path / "p", ("127.0.0.1",)):
            box = Ladder(SandboxLevel.BUBBLEWRAP).wrap(
                [sys.executable, "-I", "-S", "-c", INSIDE, str(port), "0"],
                workspace=tmp_path / "work", scratch=tmp_path / "scratch", proxy=tmp_path / "p",
            )  # fmt: skip
            return await asyncio.to_thread(
                subprocess.run, box.argv, env=dict(box.env), cwd=tmp_path / "work", capture_output=True, text=True, check=False
            )  # fmt: skip

    done = asyncio.run(go())
    assert json.loads(done.stdout or "{}") == held(port), done.stderr
    assert len(gate.asked) == 1
    assert gate.noted == ["network.refused"]


@pytest.mark.parametrize("level", [SandboxLevel.RLIMITS, SandboxLevel.LANDLOCK])
def test_on_the_lower_rungs_a_proxy_opens_nothing(tmp_path: Path, level: SandboxLevel) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "p").touch()
    places = {"workspace": tmp_path / "work", "scratch": tmp_path / "scratch"}
    assert Ladder(level).wrap(["x"], **places, proxy=tmp_path / "p") == Ladder(level).wrap(["x"], **places)  # type: ignore[arg-type]


@needs_bubblewrap
def test_an_agent_without_a_network_reaches_granted_hosts_and_the_ledger_says_so(tmp_path: Path, port: int) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "agent.py").write_text(INSIDE)
    (project / "interlock.yaml").write_text(
        yaml.safe_dump(
            {
                "agents": {
                    "worker": {
                        "description": "Works.",
                        "runner": {"kind": "command", "command": ["{python}", "{project}/agent.py", str(port), "0"]},
                    }
                },
                "sandbox": {"network": False, "minimum": "bubblewrap"},
                "scope": {"hosts": ["127.0.0.1"]},
                "tools": {"network": {"undo": "nothing"}},
            }
        )
    )
    service = build(load_settings(project))
    service.start()
    try:
        run = service.runs.submit(Task(text="do the work", agents=("worker",)))
        give_up = time.monotonic() + 90
        while (view := service.runs.view(run.id)).run.state is not RunState.ENDED:
            assert time.monotonic() < give_up, view
            time.sleep(0.05)
        entries = [
            entry
            for entry in service.ledger.stream(run_id=run.id)
            if "network" in f"{entry.kind} {entry.data.get('tool')}"
        ]
    finally:
        service.close()
    assert view.run.outcome is not None
    assert view.run.outcome.kind is OutcomeKind.SUCCEEDED, view.run.outcome
    assert json.loads(view.run.outcome.results["worker"].summary) == held(port)
    told = [entry.kind for entry in entries]
    assert told.index("effect.intended") < told.index("effect.done")  # the second connection may be refused in between
    assert [entry.data["host"] for entry in entries if entry.kind == "network.refused"] == ["localhost"]
