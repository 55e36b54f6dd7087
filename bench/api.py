"""How fast the API and the dashboard answer on a store of a year: 10,000 runs, 1,000,000 records.

``python -m bench.api`` makes the store, starts a server on loopback and measures it from a process of its own on the same
machine, so the figures are those of both together. ``python -m bench.api 1000 50000`` takes a smaller store.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
from bench.api_store import AGENTS, fill

from interlock.app import build
from interlock.config import load_settings
from interlock.model.identity import Being, Role
from interlock.surfaces.serving import Address, bind, make_server, url_of

RUNS, RECORDS, VIEWERS = 10_000, 1_000_000, 200
CONFIG = "environment: development\nserver: {requests_per_minute: 1000000}\nagents:\n" + "".join(
    f'  {name}: {{description: works, runner: {{kind: command, command: ["true"]}}}}\n' for name in AGENTS
)
PAGES = (
    ("/", "first page"), ("/runs", "runs"), ("/agents", "agents"), ("/agents/writer", "one agent"), ("/alerts", "alerts"),
    ("/ledger", "ledger"), ("/ledger?text=nowhere", "ledger, a word that is nowhere"),
)  # fmt: skip


def main(runs: int, records: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        project = Path(place, "project")
        project.mkdir()
        (project / "interlock.yaml").write_text(CONFIG, encoding="utf-8")
        subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
        service = build(load_settings(project))
        _timed(f"make {runs:,} runs with {records:,} records", lambda: fill(service, runs, records))
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
            pages = httpx.Client(base_url=url_of(address, listening), timeout=600, trust_env=False)
            pages.post("/login", data={"secret": secret})
            _timed("first page while nothing is counted yet", lambda: pages.get("/").raise_for_status())
            _timed("count all records (once in a store's life)", service._means.meter.catch_up)
            _timed("verify the ledger", lambda: _whole(service.ledger.verify().problem))
            again = [sys.executable, "-m", "bench.api", "--client", url_of(address, listening), secret]
            subprocess.run(again, check=True)
        finally:
            server.end()
            thread.join(20)
            listening.close()
            service.close()


def _timed(name: str, do: Callable[[], object]) -> None:
    began = time.perf_counter()
    do()
    print(f"{name:<48}{time.perf_counter() - began:>9.2f} s", flush=True)


def _whole(problem: str) -> None:
    assert not problem, problem


def measure(url: str, secret: str) -> None:
    """The client's side."""
    headers = {"authorization": f"Bearer {secret}"}
    client = httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False)
    print(f"{'what, one connection':<40}{'requests/s':>11}{'p50 ms':>9}{'p99 ms':>9}")
    call = {"tool": "shell", "text": "ls -la src"}
    _table("check", 400, lambda _: client.post("/v1/check", json=call))
    _table("status", 300, lambda _: client.get("/v1/status"))
    _table("50 runs", 200, lambda _: client.get("/v1/runs"))
    _table("metrics, ever", 100, lambda _: client.get("/v1/metrics"))
    _table("metrics of a day", 100, lambda _: client.get("/v1/metrics?window_s=86400"))
    _table("metrics for Prometheus", 50, lambda _: client.get("/metrics"))
    submit = {"task": "write the note", "agents": ["writer"]}
    _table(
        "submit (flushed to disk)", 150,
        lambda n: client.post("/v1/runs", json=submit, headers={"idempotency-key": f"k{n}"}),
    )  # fmt: skip
    pages = httpx.Client(base_url=url, timeout=60, trust_env=False)
    pages.post("/login", data={"secret": secret})
    for address, name in PAGES:
        _table(f"page: {name}", 30, lambda _, address=address: pages.get(address))
    asyncio.run(_fan_out(url, headers, client))
    _paint(url, secret)


def _table(name: str, count: int, ask: Callable[[int], httpx.Response]) -> None:
    took = []
    began = time.perf_counter()
    for number in range(count):
        at = time.perf_counter()
        assert ask(number).status_code < 300  # noqa: PLR2004 - success
        took.append((time.perf_counter() - at) * 1000)
    rate = count / (time.perf_counter() - began)
    p99 = sorted(took)[max(0, int(count * 0.99) - 1)]
    print(f"{name:<40}{rate:>11.0f}{statistics.median(took):>9.1f}{p99:>9.1f}", flush=True)


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


def _paint(url: str, secret: str) -> None:
    """When a browser has painted the first page for the first time, from asking for it on."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        print("first paint: there is no chromium here")
        return
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - with a browser only

    paints = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(f"{url}/login")
        page.get_by_label("Your token").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{url}/")
        for _ in range(7):
            page.goto(f"{url}/")
            page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
            paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        browser.close()
    print(f"first paint of the first page: median {statistics.median(paints):.0f} ms, worst {max(paints):.0f} ms")


if __name__ == "__main__":
    if "--client" in sys.argv:
        measure(*sys.argv[2:])
    else:
        sizes = [int(word) for word in sys.argv[1:]] or [RUNS, RECORDS]
        main(*sizes)
