"""Is the queue used to the full, are its estimates right, and what do runs cost that wait for a person?

usage: python -m bench.queueing [--tasks N] [--waiting N]

One process on SQLite. Work conservation: tasks of one second each; permits, and agents at work, ÷ the limit, from the ledger's
own times, until the queue is empty. Calibration: several shapes of load; every second each waiting task's estimate
is noted, and afterwards compared with when it was admitted. Waiting: runs that a person must confirm, and nobody does.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from bench.scale import ms, release_to_start

from interlock.app import build
from interlock.config import load_settings
from interlock.model.plan import Task
from interlock.model.run import RunState
from interlock.ports import AgentFunction, Gate, Job
from interlock.service import Service

LIMIT = 4
SETTINGS = f"""
limits: {{max_concurrent: {LIMIT}, per_agent: {LIMIT}, per_minute: 1000000}}
workspace: {{isolation: copy}}
"""


async def second(job: Job, gate: Gate) -> str:
    """Works for one second."""
    await asyncio.sleep(1.0)
    return "done"


async def varied(job: Job, gate: Gate) -> str:
    """Works for 0.3 to 2 s."""
    await asyncio.sleep(0.3 + 1.7 * hashlib.sha256(job.run_id.encode()).digest()[0] / 255)
    return "done"


async def slowing(job: Job, gate: Gate) -> str:
    """Works longer the later it comes: half a second at first, two after a minute."""
    await asyncio.sleep(0.5 + 1.5 * min(1.0, (time.monotonic() - _BEGAN.setdefault("slowing", time.monotonic())) / 60))
    return "done"


async def together(job: Job, gate: Gate) -> str:
    """Works for 0.4 s, and in every other quarter of a minute for 1.6 s, as all others do then."""
    await asyncio.sleep(1.6 if int(time.time() / 15) % 2 else 0.4)
    return "done"


_BEGAN: dict[str, float] = {}
FUNCTIONS: dict[str, AgentFunction] = {"second": second, "varied": varied, "slowing": slowing, "together": together}
SHAPES = {
    "all at once, 0.3 to 2 s": ("varied", 0.0),
    "coming as fast as they are done": ("varied", 0.3),
    "becoming slower": ("slowing", 0.2),
    "slow together": ("together", 0.2),
}
RISKY = "drop all tables of the production database"


def opened(place: Path) -> Service:
    place.mkdir()
    (place / "interlock.yaml").write_text(SETTINGS)
    service = build(load_settings(place), functions=FUNCTIONS)
    service.start()
    return service


def submit(service: Service, agent: str, count: int, text: str = "do it") -> list[str]:
    return [service.runs.submit(Task(text=text, agents=(agent,))).id for _ in range(count)]


def unfinished(service: Service, runs: list[str]) -> bool:
    return any(service.runs.find(run_id).state is not RunState.ENDED for run_id in reversed(runs))


def conservation(service: Service, tasks: int) -> tuple[float, float, list[float]]:
    """Mean share of the places while anybody waited: those that were given away, and those whose agents were at work;
    and the seconds from each release to the start of who got the place.
    """
    runs = submit(service, "second", tasks)
    while unfinished(service, runs):
        time.sleep(0.2)
    mine = set(runs)
    entries = [entry for entry in service.ledger.stream() if entry.run_id in mine]
    at = {kind: {entry.data["attempt"]: entry.at for entry in entries if entry.kind == kind}
          for kind in ("attempt.admitted", "attempt.started", "agent.returned", "attempt.succeeded")}  # fmt: skip
    full = sorted(at["attempt.admitted"].values())[LIMIT - 1]
    empty = max(at["attempt.admitted"].values())

    def share(begin: str, end: str) -> float:
        spans = [(max(full, at[begin][attempt]), min(empty, at[end][attempt])) for attempt in at[begin]]
        used = sum(max(0.0, (until - since).total_seconds()) for since, until in spans)
        return used / (empty - full).total_seconds() / LIMIT

    gaps = release_to_start(service, runs)
    return share("attempt.admitted", "attempt.succeeded"), share("attempt.started", "agent.returned"), gaps


def calibration(service: Service, agent: str, tasks: int, gap_s: float) -> tuple[int, float, float, float]:
    """Estimates noted, and the shares of starts before p50, before p90, and of waiting tasks without an estimate.

    A third at once, the others one every ``gap_s`` seconds.
    """
    runs = submit(service, agent, tasks // 3)
    noted: list[tuple[str, float, int | None, int | None]] = []
    due = time.monotonic()
    while len(runs) < tasks or unfinished(service, runs):
        now = time.time()
        noted += [(place.attempt_id, now, place.estimate_ms, place.estimate_p90_ms) for place in service.queue.places()]
        while len(runs) < tasks and time.monotonic() >= due:
            runs += submit(service, agent, 1)
            due += gap_s
        time.sleep(1.0)
    admitted = {
        entry.data["attempt"]: entry.at.timestamp()
        for entry in service.ledger.stream()
        if entry.kind == "attempt.admitted"
    }
    known = [
        (admitted[attempt] - now, p50, p90) for attempt, now, p50, p90 in noted if p50 is not None and p90 is not None
    ]
    early = sum(took * 1000 <= p50 for took, p50, _ in known) / max(1, len(known))
    inside = sum(took * 1000 <= p90 for took, _, p90 in known) / max(1, len(known))
    return len(known), early, inside, 1 - len(known) / max(1, len(noted))


def waiting(service: Service, count: int) -> None:
    """What runs that wait for a person cost, and how long it takes to see and answer them."""
    process = psutil.Process(os.getpid())
    submit(service, "second", 5, text=RISKY)
    settled(service, 5)
    before = process.memory_info().rss
    submit(service, "second", count, text=RISKY)
    settled(service, count + 5)
    after = process.memory_info().rss
    busy = process.cpu_times()
    time.sleep(5)
    then = process.cpu_times()
    used = (then.user + then.system - busy.user - busy.system) / 5
    each = (after - before) / count / 1024
    print(
        f"{count} runs wait for a person: {each:.1f} KiB and {process.num_threads()} threads for all, {used * 100:.1f} % of a core"
    )
    middle = service.approvals.list(limit=count // 2)[-1]
    print(
        f"a page of 50 from the middle: {took(lambda: service.approvals.list(after=middle.id, limit=51)):.0f} ms; ",
        end="",
    )
    print(f"one by its last letters: {took(lambda: service.approvals.find(middle.id[-8:])):.0f} ms; ", end="")
    print(f"one answer: {took(lambda: service.approvals.vote(middle.id, 'vera', approve=False)):.0f} ms")
    all_ms = took(lambda: service.approvals.vote_on_same(service.approvals.list(limit=1)[0].id, "vera", approve=False))
    print(f"one answer to all others, which show the same: {all_ms / 1000:.1f} s", flush=True)
    began = time.monotonic()
    while service.runs.counts().get("denied", 0) < count + 5:
        time.sleep(0.2)
    print(f"all have ended after another {time.monotonic() - began:.1f} s")


def took(work: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def settled(service: Service, count: int) -> None:
    while service.approvals.waiting() < count:
        time.sleep(0.5)
    time.sleep(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--waiting", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        service = opened(Path(name, "a"))
        held, busy, gaps = conservation(service, given.tasks)
        print(
            f"of {LIMIT} places, {given.tasks} tasks of 1 s: {held:.3f} given away, {busy:.3f} with an agent at work; "
            f"release → next start {ms(gaps)}",
            flush=True,
        )
        for shape, (agent, gap_s) in SHAPES.items():
            known, early, inside, without = calibration(service, agent, given.tasks * 2, gap_s)
            print(
                f"estimates, {shape}: {known}; admitted before p50: {early:.0%}, before p90: {inside:.0%}; "
                f"without one: {without:.0%}",
                flush=True,
            )
        service.close()
        if given.waiting:
            service = opened(Path(name, "b"))
            waiting(service, given.waiting)
            service.close()


if __name__ == "__main__":
    main()
