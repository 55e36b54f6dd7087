"""How fast the API answers: requests a second and latencies of check, status and submit, and events to 200 viewers.

``python -m bench.api`` starts a server on loopback over a fresh project with 10,000 runs and measures it from a process of
its own side by side on the same machine, so the figures are those of both together.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from interlock.app import build
from interlock.config import load_settings
from interlock.engine.service import Service
from interlock.model.identity import Being, Role
from interlock.model.plan import Task
from interlock.model.run import Outcome, OutcomeKind, Run, RunState
from interlock.store import rows
from interlock.surfaces.serving import Address, bind, make_server, url_of

RUNS, VIEWERS = 10_000, 200
CONFIG = "environment: development\nserver: {requests_per_minute: 1000000}\nagents: {writer: {description: writes}}\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        project = Path(place, "project")
        project.mkdir()
        (project / "interlock.yaml").write_text(CONFIG, encoding="utf-8")
        subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
        service = build(load_settings(project))
        _fill(service)
        address = Address(host="127.0.0.1", port=0)
        listening = bind(address)
        server = make_server(service, address)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        _, secret = service.identities.create(
            "bench", being=Being.PERSON, role=Role.ADMIN, lifetime=timedelta(hours=1), by="bench"
        )
        while not server.started:
            time.sleep(0.01)
        try:
            subprocess.run([sys.executable, "-m", "bench.api", url_of(address, listening), secret], check=True)
        finally:
            server.end()
            thread.join(20)
            listening.close()
            service.close()


def _fill(service: Service) -> None:
    """Runs that have ended, as they would lie in the store, without their records."""
    start = datetime.now(UTC) - timedelta(days=30)
    with service._means.database.write() as conn:
        for number in range(RUNS):
            at = start + timedelta(minutes=number)
            run = Run(
                id=f"run_bench{number:07}", task=Task(text=f"task {number}", submitted_at=at), environment="development",
                state=RunState.ENDED, outcome=Outcome(kind=OutcomeKind.SUCCEEDED), submitted_at=at, ended_at=at,
            )  # fmt: skip
            rows.insert_run(conn, run)


def measure(url: str, secret: str) -> None:
    """The client's side."""
    headers = {"authorization": f"Bearer {secret}"}
    client = httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False)
    print(f"{'what':<34}{'requests/s':>11}{'p50 ms':>9}{'p99 ms':>9}")
    _table(
        "check, one connection", 400, lambda _: client.post("/v1/check", json={"tool": "shell", "text": "ls -la src"})
    )
    _table("status, one connection", 300, lambda _: client.get("/v1/status"))
    _table("50 of 10,000 runs", 200, lambda _: client.get("/v1/runs"))
    submit = {"task": "write the note", "agents": ["writer"]}
    _table(
        "submit (flushed to disk)",
        150,
        lambda n: client.post("/v1/runs", json=submit, headers={"idempotency-key": f"k{n}"}),
    )
    client.post("/login", data={"secret": secret})
    pages = httpx.Client(base_url=url, timeout=60, trust_env=False)
    pages.post("/login", data={"secret": secret})
    _table("dashboard's first page, 10,000 runs", 50, lambda _: pages.get("/"))
    asyncio.run(_fan_out(url, headers, client))


def _table(name: str, count: int, ask: Callable[[int], httpx.Response]) -> None:
    took = []
    began = time.perf_counter()
    for number in range(count):
        at = time.perf_counter()
        assert ask(number).status_code < 300  # noqa: PLR2004 - success
        took.append((time.perf_counter() - at) * 1000)
    rate = count / (time.perf_counter() - began)
    print(f"{name:<34}{rate:>11.0f}{statistics.median(took):>9.1f}{sorted(took)[int(count * 0.99) - 1]:>9.1f}")


async def _fan_out(url: str, headers: dict[str, str], client: httpx.Client) -> None:
    """From a record's own time until each viewer has it."""
    delays: list[float] = []
    ready = 0
    all_ready = asyncio.Event()

    async def watch(viewer: httpx.AsyncClient) -> None:
        nonlocal ready
        async with viewer.stream("GET", "/v1/events") as answer:
            async for line in answer.aiter_lines():
                if line.startswith(": follow"):
                    ready += 1
                    if ready == VIEWERS:
                        all_ready.set()
                elif line.startswith("data: "):
                    delays.append((time.perf_counter() - sent) * 1000)
                    return

    limits = httpx.Limits(max_connections=VIEWERS + 10)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60, limits=limits, trust_env=False) as viewer:
        watching = [asyncio.create_task(watch(viewer)) for _ in range(VIEWERS)]
        await all_ready.wait()
        await asyncio.sleep(0.5)
        sent = time.perf_counter()
        await asyncio.to_thread(lambda: client.put("/v1/breakers/writer", json={"state": "reset"}))
        await asyncio.gather(*watching)
    print(f"one record to {VIEWERS} viewers: first {min(delays):.0f} ms, last {max(delays):.0f} ms")


if __name__ == "__main__":
    measure(*sys.argv[1:]) if len(sys.argv) > 1 else main()
