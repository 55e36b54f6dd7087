"""What governing costs: a governed execution beside a bare DBOS workflow with the same steps, on the same disk, in one run.

usage: python -m bench.road [--runs N]

Both do the same work: a branch, a worktree, a Python function that writes a file, the diff, the commit on the branch, the
delivery. The bare one is one DBOS workflow with these as DBOS steps and nothing else: no assessment, no gate, no
admission, no ledger. Both stores are SQLite in WAL mode with synchronous=FULL.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dbos import DBOS

from interlock.app import build
from interlock.config import load_settings
from interlock.model.plan import Task
from interlock.model.run import RunState
from interlock.ports import Gate, Job
from interlock.sandbox.workspaces import open_workspaces
from interlock.service import Service
from interlock.store.database import Database


def work(workspace: Path) -> None:
    (workspace / "done.txt").write_text("done\n")


async def worker(job: Job, gate: Gate) -> str:
    """Writes the file."""
    work(job.workspace)
    return "done"


def repository(place: Path) -> Path:
    place.mkdir(parents=True)
    for command in (["init", "-q", "-b", "main"], ["-c", "user.name=b", "-c", "user.email=b@example.org", "commit", "-q",
                                                   "--allow-empty", "-m", "start"]):  # fmt: skip
        subprocess.run(["git", *command], cwd=place, check=True)
    (place / "interlock.yaml").write_text("limits: {per_minute: 1000000, max_concurrent: 8, per_agent: 8}\n")
    return place


def governed(place: Path, runs: int) -> tuple[list[float], list[float]]:
    """Seconds from submission to outcome, and from the release of a permit to the next start."""
    service = build(load_settings(repository(place)), functions={"worker": worker})
    service.start()
    try:
        took = timed(runs, lambda: governed_once(service))
        return took, release_to_start(service, runs)
    finally:
        service.close()


def governed_once(service: Service) -> None:
    run = service.runs.submit(Task(text="write the file", agents=("worker",)))
    while service.runs.find(run.id).state is not RunState.ENDED:
        time.sleep(0.002)


def release_to_start(service: Service, runs: int) -> list[float]:
    """Many at once: the time between an end and the next start, from the ledger's own times."""
    submitted = [service.runs.submit(Task(text="write the file", agents=("worker",))) for _ in range(runs)]
    while any(service.runs.find(run.id).state is not RunState.ENDED for run in submitted):
        time.sleep(0.02)
    gaps = []
    waiting_since = None
    after = 0
    while page := service.ledger.entries(after=after):
        for entry in page:
            if entry.kind == "attempt.succeeded":
                waiting_since = entry.at
            elif entry.kind == "attempt.started" and waiting_since is not None:
                gaps.append((entry.at - waiting_since).total_seconds())
                waiting_since = None
        after = page[-1].seq
    return gaps[runs:]


@DBOS.workflow(name="bare")
def bare_workflow(run_id: str) -> str:
    step(_bare.begin, run_id)
    step(_bare.open, run_id)
    step(_bare.run, run_id)
    step(_bare.diff, run_id)
    step(_bare.integrate, run_id)
    return str(step(_bare.deliver, run_id))


def step(what: Callable[[str], object], run_id: str) -> object:
    return DBOS.run_step({"name": what.__name__}, lambda: str(what(run_id)))


class Bare:
    def __init__(self, place: Path) -> None:
        project = repository(place)
        self.spaces = open_workspaces(project, project / ".interlock", "git")

    def begin(self, run_id: str) -> object:
        return self.spaces.begin(run_id)

    def open(self, run_id: str) -> object:
        return self.spaces.open(run_id, f"{run_id}-1")

    def run(self, run_id: str) -> object:
        work(self.spaces.open(run_id, f"{run_id}-1"))
        return "done"

    def diff(self, run_id: str) -> object:
        return self.spaces.diff(run_id, f"{run_id}-1")

    def integrate(self, run_id: str) -> object:
        return self.spaces.integrate(run_id, f"{run_id}-1", author="bare", message="bare").commit

    def deliver(self, run_id: str) -> object:
        place = self.spaces.deliver(run_id, how="review")
        self.spaces.end(run_id, keep=True)
        return place


_bare: Bare


def bare(place: Path, runs: int) -> list[float]:
    """Seconds from enqueueing to the result."""
    global _bare  # noqa: PLW0603 - DBOS workflows are module functions
    _bare = Bare(place)
    database = Database(f"sqlite:///{place}/.interlock/bare.db")
    DBOS(config={"name": "bench", "system_database_engine": database.engine, "executor_id": "bench",
                 "application_version": "1", "log_level": "ERROR", "console_log_level": "ERROR"})  # fmt: skip
    DBOS.launch()
    queue = DBOS.register_queue("bench", polling_interval_sec=0.05)
    time.sleep(1.5)  # DBOS looks for new queues once a second
    counter = iter(range(10**6))
    try:
        return timed(
            runs, lambda: queue.enqueue(bare_workflow, f"bare{next(counter)}").get_result(polling_interval_sec=0.002)
        )
    finally:
        DBOS.destroy()
        database.close()


def timed(runs: int, once: Callable[[], object]) -> list[float]:
    for _ in range(3):
        once()
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        once()
        took.append(time.perf_counter() - began)
    return took


def row(name: str, seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    median = statistics.median(ordered)
    return f"| {name} | {median * 1000:.0f} ms | {p99 * 1000:.0f} ms | {1 / median:.1f} /s |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        plain = bare(Path(name, "bare"), runs)
        ours, gaps = governed(Path(name, "governed"), runs)
        again = bare(Path(name, "again"), runs)
    print("| | median | p99 | one after the other |\n|---|---|---|---|")
    print(row("bare DBOS, the same steps", [*plain, *again]))
    print(row("governed", ours))
    print(row("release of a permit → next start", gaps))
    ratio = statistics.median(ours) / statistics.median([*plain, *again])
    print(f"\ngoverned ÷ bare: {ratio:.2f} (medians of {runs} runs; the bare ones before and after, in one process)")


if __name__ == "__main__":
    main()
