"""How far it carries: throughput and latency with several workers beside bare DBOS, and admission under a long queue.

usage: python -m bench.scale [--runs N] [--workers 1,2] [--backlogs 100,10000] [--only sqlite|postgres]

Governed: whole runs (assessment, plan, gates, admission, workspace, ledger) of one attempt each that does nothing, executed
by ``interlock worker`` processes. Bare: DBOS workflows of empty steps on the same kind of store, executed by the same number
of processes: of 11 steps, which together with their enqueueing, claim and end are as many commits (14) as a governed run makes,
counted by ``--commits``; and of 6, as in the figures before ADR 14.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import sqlalchemy as sa
from dbos import DBOS, DBOSClient

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from hands import functions
from parts import Parts, settings_of
from postgres import PostgresForTests

from interlock.app import build
from interlock.config import load_settings
from interlock.engine.durable import Durable
from interlock.model.plan import Task
from interlock.model.run import Attempt, RunState
from interlock.service import Service
from interlock.store import queue, rows
from interlock.store import schema as t
from interlock.store.database import Database, micros

HANDS = Path(__file__).parent.parent / "tests" / "support" / "hands.py"
SETTINGS = """
limits: {max_concurrent: 16, per_agent: 16, per_minute: 1000000}
workspace: {isolation: copy}
"""
STEPS = {"as many commits": 11, "6 steps": 6}
QUEUE = "bare"


@DBOS.workflow(name="bare")
def bare_workflow(steps: int) -> None:
    for number in range(steps):
        DBOS.run_step({"name": f"step{number}"}, lambda: None)


def bare_worker(url: str, name: str) -> None:
    """A process that executes bare workflows until it is killed."""
    database = Database(url)
    DBOS(config={"name": "bench", "system_database_engine": database.engine, "executor_id": name, "application_version": "1",
                 "use_listen_notify": not database.is_sqlite, "log_level": "ERROR", "console_log_level": "ERROR"})  # fmt: skip
    DBOS.launch()
    DBOS.register_queue(QUEUE, polling_interval_sec=0.05)
    time.sleep(3600)


@contextlib.contextmanager
def processes(commands: list[list[str]], env: dict[str, str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    started = [
        subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in commands
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def bare(url: str, workers: int, runs: int, steps: int) -> float:
    """Workflows a second."""
    commands = [
        [sys.executable, "-m", "bench.scale", "--bare-worker", url, f"bare-{number}"] for number in range(workers)
    ]
    tables = Database(url)
    Durable(tables).prepare()
    tables.close()
    with processes(commands[:1], {**os.environ}):
        time.sleep(8)
        with processes(commands[1:], {**os.environ}):
            time.sleep(8 if workers > 1 else 0)
            database = Database(url)
            client = DBOSClient(system_database_engine=database.engine, application_name="bench")
            began = time.perf_counter()
            for number in range(runs):
                client.enqueue({"workflow_name": "bare", "queue_name": QUEUE, "workflow_id": f"w{workers}-{number}",
                                "app_version": "1"}, steps)  # fmt: skip
            status = sa.table("workflow_status", sa.column("status"), schema=None if database.is_sqlite else "dbos")
            left = sa.select(sa.func.count()).select_from(status).where(status.c.status != "SUCCESS")
            wait(lambda: database.look(lambda conn: conn.execute(left).scalar()) == 0)
            took = time.perf_counter() - began
            client.destroy()
            database.close()
    return runs / took


def wait(holds: object, at_most: float = 300) -> None:
    until = time.monotonic() + at_most
    while not holds():  # type: ignore[operator]
        if time.monotonic() > until:
            raise TimeoutError("the benchmark did not end in time")
        time.sleep(0.02)


def governed(place: Path, url: str, workers: int, runs: int) -> tuple[float, list[float], list[float], float]:
    """Attempts a second, submit→start seconds one at a time, release→next start seconds, an idle worker's share of a core."""
    project = place / "project"
    project.mkdir(parents=True)
    (project / "interlock.yaml").write_text(SETTINGS)
    os.environ["INTERLOCK_STORE_URL"] = url
    service = build(load_settings(project), functions=functions())
    env = {**os.environ, "HANDS_FAIL_PERCENT": "0", "HANDS_WORK_MS": "0"}
    service._means.durable.prepare()
    with processes([[sys.executable, str(HANDS), str(project)]] * workers, env) as members:
        wait(lambda: living(service) == workers)
        time.sleep(3)
        idle = cpu(members[0].pid, 4.0)
        latencies = [latency(service) for _ in range(10)]
        began = time.perf_counter()
        ids = [submit(service) for _ in range(runs)]
        wait(lambda: all(service.runs.find(run_id).state is RunState.ENDED for run_id in reversed(ids)))
        rate = runs / (time.perf_counter() - began)
        gaps = release_to_start(service, ids)
    service.close()
    return rate, latencies, gaps, idle


def living(service: Service) -> int:
    with service._means.database.read() as conn:
        return len(queue.list_workers(conn))


def cpu(pid: int, seconds: float) -> float:
    process = psutil.Process(pid)
    before = process.cpu_times()
    time.sleep(seconds)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / seconds


def submit(service: Service, *, detach: bool = True) -> str:
    return service.runs.submit(Task(text="leave a line", agents=("anna",)), detach=detach).id


def latency(service: Service, *, detach: bool = True) -> float:
    run_id = submit(service, detach=detach)
    wait(lambda: service.runs.find(run_id).state is RunState.ENDED)
    entries = {entry.kind: entry.at for entry in service.ledger.entries(run_id=run_id)}
    return (entries["attempt.started"] - entries["task.submitted"]).total_seconds()


def release_to_start(service: Service, ids: list[str]) -> list[float]:
    """From the end that gave a permit back to the start of the attempt that got it."""
    gaps, since = [], None
    given: dict[str, datetime] = {}
    mine = set(ids)
    for entry in service.ledger.stream():
        if entry.run_id not in mine:
            continue
        if entry.kind == "attempt.succeeded":
            since = entry.at
        elif entry.kind == "attempt.admitted" and since is not None:
            given[entry.data["attempt"]], since = since, None
        elif entry.kind == "attempt.started" and entry.data["attempt"] in given:
            gaps.append((entry.at - given[entry.data["attempt"]]).total_seconds())
    return gaps


def commits(place: Path, url: str) -> float:
    """Commits that change something in one governed run of one agent, DBOS's own included."""
    project = place / "project"
    project.mkdir(parents=True)
    (project / "interlock.yaml").write_text(SETTINGS)
    os.environ["INTERLOCK_STORE_URL"] = url
    service = build(load_settings(project), functions=functions())
    changed: set[int] = set()
    count = [0]

    def looked(conn: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip()[:6].upper() in {"INSERT", "UPDATE", "DELETE"}:
            changed.add(id(conn))

    def committed(conn: sa.Connection) -> None:
        if id(conn) in changed:
            changed.remove(id(conn))
            count[0] += 1

    sa.event.listen(service._means.database.engine, "before_cursor_execute", looked)
    sa.event.listen(service._means.database.engine, "commit", committed)
    service.start()
    latency(service, detach=False)
    before = count[0]
    for _ in range(10):
        latency(service, detach=False)
    made = (count[0] - before) / 10
    service.close()
    return made


def admission(place: Path, url: str, backlog: int) -> list[float]:
    """Seconds of one admission with that many attempts waiting: 4 agents, 5 submitters, 4 priorities."""
    place.mkdir(parents=True)
    made = Parts(database=Database(url), settings=settings_of(place, limits={"max_concurrent": 1, "per_minute": 10**6}))
    made.database.migrate()
    made.durable.prepare()
    run_id = made.run()
    now = datetime.now(UTC)
    made.clock.at = now
    words = ("low", "medium", "high", "critical")
    for start in range(0, backlog, 2000):
        made_rows = []
        for number in range(start, min(start + 2000, backlog)):
            attempt = Attempt(id=f"a{number}", run_id=run_id, phase=0, assigned="x", agent=f"agent{number % 4}", number=1,
                              queued_at=now)  # fmt: skip
            made_rows.append({
                "id": attempt.id, "run_id": run_id, "phase": 0, "assigned": "x", "agent": attempt.agent, "number": 1,
                "state": "ready", "attempt": rows.text_of(attempt), "priority": words[number % 3], "queued_at": micros(now),
                "rank": micros(now + timedelta(milliseconds=number)), "not_before": 0, "submitter": f"s{number % 5}",
            })  # fmt: skip
        with made.database.write() as conn:
            conn.execute(t.attempts.insert(), made_rows)
    took = []
    for _ in range(25):
        began = time.perf_counter()
        (admitted,) = made.governor.admit()
        took.append(time.perf_counter() - began)
        with made.database.write() as conn:
            found = rows.find_attempt(conn, admitted)
            assert found is not None
            made.governor.end(conn, found)
    made.database.close()
    return took


def ms(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return (
        f"{statistics.median(ordered) * 1000:.0f} / {ordered[len(ordered) * 9 // 10] * 1000:.0f} ms" if ordered else "-"
    )


def main() -> None:
    if sys.argv[1:2] == ["--bare-worker"]:
        bare_worker(sys.argv[2], sys.argv[3])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--backlogs", default="100,10000")
    parser.add_argument("--only", default="")
    parser.add_argument("--commits", action="store_true", help="count the commits of a run, too")
    given = parser.parse_args()
    server = PostgresForTests() if given.only != "sqlite" else None
    kinds = [kind for kind in ("sqlite", "postgres") if not given.only or kind == given.only]
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        count = iter(range(1000))

        def fresh(kind: str) -> str:
            if kind == "sqlite" or server is None:
                return f"sqlite:///{name}/{next(count)}.db"
            return stack.enter_context(server.database())

        print("| store | waiting | one admission, p50 / p90 |\n|---|---|---|")
        for kind in kinds:
            for backlog in map(int, given.backlogs.split(",")):
                took = admission(Path(name, f"a{next(count)}"), fresh(kind), backlog)
                print(f"| {kind} | {backlog} | {ms(took)} |", flush=True)
        if given.commits:
            print(f"\ncommits of one run of one agent: {commits(Path(name, 'c'), fresh(kinds[0])):.1f}", flush=True)
        print("\n| store | workers | runs/s | of bare DBOS, as many commits | of 6 empty steps | submit → start "
              "| release → next start | idle worker |")  # fmt: skip
        print("|---|---|---|---|---|---|---|---|")
        for kind in kinds:
            for workers in map(int, given.workers.split(",")):
                plain = {name: bare(fresh(kind), workers, given.runs, steps) for name, steps in STEPS.items()}
                rate, latencies, gaps, idle = governed(Path(name, f"g{next(count)}"), fresh(kind), workers, given.runs)
                shares = " | ".join(f"{rate / each:.2f} ({each:.1f}/s)" for each in plain.values())
                print(f"| {kind} | {workers} | {rate:.1f} | {shares} | {ms(latencies)} | {ms(gaps)} "
                      f"| {idle * 100:.1f} % of a core |", flush=True)  # fmt: skip
    if server is not None:
        server.close()


if __name__ == "__main__":
    main()
