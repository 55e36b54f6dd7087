"""Hosts that lose the network in the middle of an attempt, for real: names and networks of their own, Postgres over a cable."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from far_hands import functions
from hosts import Company, Host, company, why_not

from interlock.app import build
from interlock.config import load_settings
from interlock.model.plan import Task
from interlock.model.run import OutcomeKind, RunState
from interlock.service import Service
from interlock.store import queue

WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "hosts can be made")

FAR_HANDS = Path(__file__).parent / "support" / "far_hands.py"
LEASE_S = 4


@pytest.fixture
def two_hosts() -> Iterator[Company]:
    with company("north", "south") as made:
        yield made


class Site:
    """A project that both hosts see, and what their agents say of themselves."""

    def __init__(self, folder: Path, url: str, monkeypatch: pytest.MonkeyPatch, *, place: str, at_once: int) -> None:
        self.project = folder / "project"
        self.project.mkdir()
        (self.project / "interlock.yaml").write_text(
            f"limits: {{max_concurrent: {at_once}, per_agent: {at_once}, per_minute: 1000}}\n"
            f"worker: {{lease_s: {LEASE_S}, heartbeat_s: 1, place: {place!r}}}\n"
            "workspace: {isolation: copy}\n"
        )
        self.log, self.done, self.said = folder / "at-work.log", folder / "done", folder / "workers.log"
        self.log.touch()
        monkeypatch.setenv("INTERLOCK_STORE_URL", url)
        self.service: Service = build(load_settings(self.project), functions=functions())

    def open(self, host: Host) -> None:
        """Start a worker there, and wait until it lives."""
        before = self.workers()
        host.start(sys.executable, str(FAR_HANDS), str(self.project), log=self.said)
        self.until(lambda: self.workers() > before)

    def workers(self) -> int:
        with self.service._means.database.read() as conn:
            return len(queue.list_workers(conn))

    def submit(self) -> str:
        return self.service.runs.submit(Task(text="dig a hole", agents=("digger",)), detach=True).id

    def at_work(self) -> list[tuple[float, str, str]]:
        lines = (line.split() for line in self.log.read_text().splitlines())
        return [(float(at), host, attempt) for at, host, attempt in lines]

    def digs(self, host: Host) -> bool:
        """Whether an agent there has said so in the last quarter of a second."""
        return any(where == host.name and time.monotonic() - at < 0.25 for at, where, _ in self.at_work()[-10:])

    def until(self, holds: Callable[[], bool]) -> None:
        give_up = time.monotonic() + 25
        while not holds():
            assert time.monotonic() < give_up, self.said.read_text()[-3000:]
            time.sleep(0.1)

    def ended(self, run_id: str) -> bool:
        return self.service.runs.find(run_id).state is RunState.ENDED

    def assert_one_success(self, run_id: str) -> None:
        outcome = self.service.runs.find(run_id).outcome
        assert outcome is not None
        assert outcome.kind is OutcomeKind.SUCCEEDED
        kinds = [entry.kind for entry in self.service.ledger.entries(run_id=run_id)]
        assert [kinds.count(kind) for kind in ("attempt.admitted", "attempt.succeeded", "run.ended")] == [1, 1, 1]

    def assert_in_order(self) -> None:
        assert not self.service.ledger.verify().problem
        with self.service._means.database.read() as conn:
            assert queue.list_permits(conn) == []


def turns(said: list[tuple[float, str, str]]) -> list[tuple[str, str]]:
    """Who was at work, one after the other: (host, attempt)."""
    return [key for key, _ in itertools.groupby(sorted(said), key=lambda each: each[1:])]


def test_the_attempt_of_a_host_that_was_cut_off_goes_on_at_the_other_host_of_its_place_and_never_at_both(
    tmp_path: Path, two_hosts: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    north, south = two_hosts.hosts
    site = Site(tmp_path, two_hosts.url, monkeypatch, place="shared", at_once=1)
    site.open(north)
    first = site.submit()
    site.until(lambda: site.digs(north))
    site.open(south)
    second = site.submit()
    north.cut()
    site.until(lambda: site.digs(south))
    assert not site.digs(north)
    north.join()
    site.done.touch()
    site.until(lambda: site.ended(first) and site.ended(second))
    time.sleep(1)  # for what the host that is back might still do
    for run_id in (first, second):
        site.assert_one_success(run_id)
    one, two = (f"{site.service.runs.view(run_id).attempts[0].id}" for run_id in (first, second))
    seen = turns(site.at_work())
    assert seen[:2] == [("north", one), ("south", one)]
    assert [attempt for _, attempt in seen] == [one, one, two]
    site.assert_in_order()
    site.service.close()


def test_the_run_of_a_place_that_was_cut_off_waits_for_it_while_others_go_on(
    tmp_path: Path, two_hosts: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    north, south = two_hosts.hosts
    site = Site(tmp_path, two_hosts.url, monkeypatch, place="", at_once=2)
    site.open(north)
    first = site.submit()
    site.until(lambda: site.digs(north))
    site.open(south)
    north.cut()
    site.until(lambda: not site.digs(north))
    second = site.submit()
    site.until(lambda: site.digs(south))
    site.done.touch()
    site.until(lambda: site.ended(second))
    assert not site.ended(first)
    site.done.unlink()
    north.join()
    site.until(lambda: site.digs(north))
    site.done.touch()
    site.until(lambda: site.ended(first))
    for run_id in (first, second):
        site.assert_one_success(run_id)
    assert {host for _, host, attempt in site.at_work() if attempt.startswith(first)} == {"north"}
    site.assert_in_order()
    site.service.close()
