"""A real server on loopback over a small project, for the tests of API and dashboard."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from interlock.app import build
from interlock.config import load_settings
from interlock.model.approval import Approval
from interlock.model.identity import Being, Role
from interlock.model.run import RunState
from interlock.ports import AgentFunction, Gate, Job
from interlock.service import Service
from interlock.surfaces.serving import Address, Ends, bind, make_server, url_of

CONFIG = """
environment: development
limits: {per_minute: 1000}
agents:
  writer: {capabilities: [writes a text file]}
  mailer: {capabilities: [sends mail]}
tools:
  mail: {undo: irreversible}
"""

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u202egnp.exe"


async def writer(job: Job, _gate: Gate) -> str:
    """Writes a text file."""
    (job.workspace / "note.txt").write_text("a note\n")
    return "the note is written"


async def mailer(_job: Job, gate: Gate) -> str:
    """Sends mail."""
    call = await gate.before("mail", {"to": "club@example.org", "text": "the training is at six"})
    if not call.effect_id:
        return f"not sent: {call.decision.reason}"
    await gate.after(call.effect_id, ok=True, output="sent")
    return "sent"


async def breaker(_job: Job, _gate: Gate) -> str:
    """Breaks things."""
    raise RuntimeError("this agent always fails")


async def rogue(job: Job, gate: Gate) -> str:
    """Says things that would run in a careless page."""
    (job.workspace / "<img src=x onerror=alert(1)>.html").write_text(f"{HOSTILE}\n")
    call = await gate.before("mail", {"to": HOSTILE, "text": f"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-{HOSTILE}\n+{HOSTILE}"})
    if call.effect_id:
        await gate.after(call.effect_id, ok=True, output=HOSTILE)
    return HOSTILE


AGENTS: dict[str, AgentFunction] = {"writer": writer, "mailer": mailer, "breaker": breaker, "rogue": rogue}


@dataclass(kw_only=True)
class Served:
    """The running server."""

    service: Service
    server: Ends
    url: str
    clients: list[httpx.Client] = field(default_factory=list)

    def token(self, name: str, role: Role, *, lifetime: timedelta = timedelta(days=1)) -> str:
        being = Being.PROGRAM if "/" in name else Being.PERSON
        return self.service.identities.create(name, being=being, role=role, lifetime=lifetime, by="test")[1]

    def client(self, name: str = "ann", role: Role = Role.ADMIN) -> httpx.Client:
        return self.anybody(authorization=f"Bearer {self.token(name, role)}")

    def anybody(self, **headers: str) -> httpx.Client:
        made = httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)
        self.clients.append(made)
        return made

    def submit(self, client: httpx.Client, text: str, *agents: str) -> str:
        answer = client.post("/v1/runs", json={"task": text, "agents": list(agents)})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def ended(self, run_id: str) -> Any:
        return self._until(lambda: self.service.runs.view(run_id), lambda view: view.run.state is RunState.ENDED)

    def asked(self, run_id: str) -> Approval:
        found = self._until(lambda: [one for one in self.service.approvals.list() if one.run_id == run_id], bool)
        return found[0]  # type: ignore[no-any-return]

    def agreed(self, run_id: str) -> Any:
        """Say yes to whatever the run asks, to its end."""

        def look() -> Any:
            for one in self.service.approvals.list():
                if one.run_id == run_id:
                    self.service.approvals.vote(one.id, "the test", approve=True)
            return self.service.runs.view(run_id)

        return self._until(look, lambda view: view.run.state is RunState.ENDED)

    @staticmethod
    def _until(look: Any, good: Any) -> Any:
        until = time.monotonic() + 30
        while True:
            seen = look()
            if good(seen):
                return seen
            assert time.monotonic() < until, f"it did not come to that: {seen}"
            time.sleep(0.05)


def make_project(place: Path, config: str = CONFIG) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    (place / "interlock.yaml").write_text(config, encoding="utf-8")
    (place / "README.md").write_text("A small project.\n", encoding="utf-8")
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for words in (["init", "--quiet", "--initial-branch", "main"], ["add", "--all"], [*who, "commit", "-qm", "start"]):
        subprocess.run(["git", *words], cwd=place, check=True, capture_output=True)
    return place


@contextlib.contextmanager
def serving(
    place: Path, config: str = CONFIG, *, worker: bool = True, address: Address | None = None
) -> Iterator[Served]:
    """Serve a fresh project until the block ends."""
    service = build(load_settings(make_project(place, config)), functions=AGENTS)
    address = address or Address(host="127.0.0.1", port=0)
    listening = bind(address)
    if worker:
        service.start()
    server = make_server(service, address)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    served = Served(service=service, server=server, url=url_of(address, listening))
    try:
        served._until(lambda: server.started, bool)
        yield served
    finally:
        for client in served.clients:
            client.close()
        server.end()
        thread.join(timeout=30)
        listening.close()
        service.close()
