"""Many workers that are killed and paused, and a database that restarts: nothing is lost, nothing happens twice.

The short story is part of every test run; ``make chaos`` tells the long one (CHAOS_RUNS, CHAOS_WORKERS).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from hands import AGENTS, functions
from postgres import PostgresForTests

from interlock.app import build
from interlock.config import load_settings
from interlock.model.ledger import LedgerEntry
from interlock.model.plan import Task
from interlock.model.run import OutcomeKind, RunState
from interlock.service import Service
from interlock.store import queue, schema
from interlock.store.database import Database

HANDS = Path(__file__).parent / "support" / "hands.py"
RUNS = int(os.environ.get("CHAOS_RUNS", "40"))
WORKERS = int(os.environ.get("CHAOS_WORKERS", "2"))
MISCHIEF_S = float(os.environ.get("CHAOS_MISCHIEF_S", "12"))
GAP_S = float(os.environ.get("CHAOS_GAP_S", "2.5"))
"""The longest time between two strokes of mischief."""
PATIENCE_S = float(os.environ.get("CHAOS_PATIENCE_S", "120"))
LIMITS = {"anna": 1, "bert": 2, "cleo": 2, "dora": 3}
MOST = 4

SETTINGS = f"""
limits: {{max_concurrent: {MOST}, per_agent: 3, per_minute: 1000000, max_retries: 5}}
worker: {{lease_s: 3, heartbeat_s: 1, drain_s: 5}}
breaker: {{threshold: 1000, min_calls: 1000, window: 1000}}
recovery:
  transient: {{strategy: retry, attempts: 5, backoff_s: 0.1}}
  crashed: {{strategy: retry, attempts: 5, backoff_s: 0.1}}
workspace: {{isolation: copy}}
agents: {{{", ".join(f"{name}: {{max_concurrent: {cap}}}" for name, cap in LIMITS.items())}}}
"""


class Gang:
    """Worker processes of this test: only those that it started are ever signalled."""

    def __init__(self, project: Path, store_url: str) -> None:
        self._command = [sys.executable, str(HANDS), str(project)]
        self._env = {"HANDS_FAIL_PERCENT": "15", **os.environ, "INTERLOCK_STORE_URL": store_url}
        self._log = (project.parent / "workers.log").open("ab")
        self.members: list[subprocess.Popen[bytes]] = []

    def hire(self) -> None:
        self.members.append(subprocess.Popen(self._command, env=self._env, stdout=subprocess.DEVNULL, stderr=self._log))

    def kill(self, member: subprocess.Popen[bytes]) -> None:
        member.kill()
        member.wait()
        self.members.remove(member)
        self.hire()

    def pause(self, member: subprocess.Popen[bytes], seconds: float) -> None:
        member.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        member.send_signal(signal.SIGCONT)

    def dismiss(self) -> None:
        for member in self.members:
            member.send_signal(signal.SIGCONT)
            member.terminate()
        for member in self.members:
            try:
                member.wait(timeout=30)
            except subprocess.TimeoutExpired:
                member.kill()
                member.wait()
        self._log.close()


@contextmanager
def gang(project: Path, store_url: str, size: int) -> Iterator[Gang]:
    members = Gang(project, store_url)
    try:
        for _ in range(size):
            members.hire()
        yield members
    finally:
        members.dismiss()


def make_project(place: Path) -> Path:
    project = place / "project"
    project.mkdir()
    (project / "README.md").write_text("chaos\n")
    (project / "interlock.yaml").write_text(SETTINGS)
    return project


def make_mischief(team: Gang, postgres: PostgresForTests, dice: random.Random, left: Callable[[], int]) -> Counter[str]:
    """Until all runs have ended, or for MISCHIEF_S; the database restarts after a third of either, and after two."""
    did: Counter[str] = Counter()
    began = time.monotonic()
    while (passed := (time.monotonic() - began) / MISCHIEF_S) < 1 and (unfinished := left()):
        if postgres.can_restart and did["restart"] < 2 and max(passed, 1 - unfinished / RUNS) * 3 > did["restart"] + 1:
            postgres.restart()
            did["restart"] += 1
        member = dice.choice(team.members)
        if dice.random() < 0.5:
            team.kill(member)
            did["kill"] += 1
        else:
            team.pause(member, dice.choice([0.5, 4.5]))
            did["pause"] += 1
        time.sleep(dice.uniform(0.2, 1) * GAP_S)
    return did


def count_unfinished(database: Database) -> int:
    left = sa.select(sa.func.count()).select_from(schema.runs).where(schema.runs.c.state != RunState.ENDED)
    found: int = database.look(lambda conn: conn.execute(left).scalar_one())
    return found


def wait_for_all(service: Service, database: Database) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while count_unfinished(database):
        assert time.monotonic() < give_up, [
            (run.id, run.state, service.runs.view(run.id).attempts) for run in service.runs.unfinished()[:3]
        ]
        time.sleep(0.2)


def assert_limits_held(entries: list[LedgerEntry]) -> None:
    """Over the ledger, which is in the order of the transactions."""
    at_work: dict[str, str] = {}
    for entry in entries:
        attempt = str(entry.data.get("attempt"))
        if entry.kind == "attempt.admitted":
            at_work[attempt] = entry.data["agent"]
            assert len(at_work) <= MOST, entry
            for agent, count in Counter(at_work.values()).items():
                assert count <= LIMITS[agent], entry
        elif entry.kind in {"attempt.succeeded", "attempt.failed", "attempt.waiting"}:
            at_work.pop(attempt, None)
    assert at_work == {}


def test_whatever_is_killed_or_paused_every_task_has_one_outcome_and_no_effect_happens_twice(
    tmp_path: Path, postgres: PostgresForTests, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(os.environ.get("CHAOS_SEED", "7"))  # noqa: S311 - a story, not a secret
    project = make_project(tmp_path)
    with postgres.database() as url:
        monkeypatch.setenv("INTERLOCK_STORE_URL", url)
        service = build(load_settings(project), functions=functions())
        database = Database(url)
        runs = [
            service.runs.submit(Task(text="leave a line", agents=(dice.choice(AGENTS),)), detach=True).id
            for _ in range(RUNS)
        ]
        with gang(project, url, WORKERS) as team:
            did = make_mischief(team, postgres, dice, partial(count_unfinished, database))
            wait_for_all(service, database)
        assert did["kill"] + did["pause"] > 0

        lines = Counter((tmp_path / "outside.log").read_text().split())
        endings: Counter[str] = Counter()
        for run_id in runs:
            outcome = service.runs.find(run_id).outcome
            assert outcome is not None
            endings[outcome.kind] += 1
            assert lines[run_id] <= 1, run_id
            if outcome.kind is OutcomeKind.SUCCEEDED:
                assert lines[run_id] == 1
        entries = list(service.ledger.stream())
        assert Counter(entry.run_id for entry in entries if entry.kind == "run.ended") == Counter(runs)
        ended = Counter(
            entry.data["attempt"] for entry in entries if entry.kind in {"attempt.succeeded", "attempt.failed"}
        )
        assert set(ended.values()) == {1}
        assert_limits_held(entries)
        with database.read() as conn:
            assert queue.list_permits(conn) == []
        assert not service.ledger.verify().problem
        print(f"\n{did} {endings} attempts={len(ended)}")  # noqa: T201 - what the long story tells
        service.close()
        database.close()
