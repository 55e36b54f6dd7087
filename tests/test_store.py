"""The store: opened by one URL, migrated without harm, kept small, and honest when it is full, silent or restarting."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from hands import functions
from parts import SetClock
from postgres import PostgresForTests

from interlock.app import build
from interlock.config import load_settings
from interlock.engine import durable, executor, news
from interlock.engine.ledger import Ledger
from interlock.engine.run import RunLine
from interlock.engine.shadow import Course
from interlock.errors import NotFoundError, StoreError
from interlock.model.agent import Priority
from interlock.model.plan import Task
from interlock.model.run import AttemptState, OutcomeKind, Run, RunState
from interlock.service import Service
from interlock.store import queue, rows
from interlock.store import schema as t
from interlock.store.database import AT_WORK, Database, Turns

HANDS = Path(__file__).parent / "support" / "hands.py"
PATIENCE_S = 60
QUICK = {
    "limits": {"max_concurrent": 4, "per_agent": 4, "per_minute": 10_000},
    "worker": {"lease_s": 3, "heartbeat_s": 1, "drain_s": 20},
    "workspace": {"isolation": "copy"},
}


@pytest.fixture
def opened(tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Service]]:
    """Makes a project's service on the store; they are closed at the end."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.setenv("INTERLOCK_STORE_URL", store_url)
    services: list[Service] = []

    def make(**sections: Any) -> Service:
        (project / "interlock.yaml").write_text(yaml.safe_dump({**QUICK, **sections}))
        services.append(build(load_settings(project), functions=functions()))
        return services[-1]

    yield make
    for service in services:
        service.close()


def until(holds: Callable[[], Any]) -> Any:
    give_up = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < give_up, "it did not come true in time"
        time.sleep(0.05)
    return found


def submit(service: Service, *, detach: bool = False) -> Run:
    return service.runs.submit(Task(text="leave a line", agents=("anna",)), detach=detach)


def ended(service: Service, run: Run) -> OutcomeKind:
    found: Run = until(lambda: (now := service.runs.find(run.id)).state is RunState.ENDED and now)
    assert found.outcome is not None
    return found.outcome.kind


@pytest.fixture
def hired(opened: Any, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts worker processes on the project; whatever happens they are gone at the end."""
    processes: list[subprocess.Popen[bytes]] = []

    log = (tmp_path / "workers.log").open("wb")

    def hire(**env: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, str(HANDS), str(tmp_path / "project")], env={**os.environ, **env},
            stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
        processes.append(process)
        return process

    yield hire
    for process in processes:
        process.kill()
        process.wait()
    log.close()


def test_a_store_of_an_older_version_gets_what_it_lacks_and_keeps_what_it_has(database: Database) -> None:
    with database.write() as conn:
        conn.execute(t.limits.insert().values(name="kept", most=7))
        conn.execute(sa.text("ALTER TABLE il_worker DROP COLUMN place"))
        conn.execute(sa.text("DROP INDEX il_attempt_line"))
        conn.execute(sa.text("DROP TABLE il_budget"))
    database.migrate()
    with database.read() as conn:
        assert queue.limits(conn) == {"kept": 7}
        assert queue.list_workers(conn) == []
        assert conn.execute(sa.select(t.budgets)).all() == []


def test_a_store_of_a_newer_version_is_refused(database: Database) -> None:
    with database.write() as conn:
        conn.execute(t.version.update().values(version=t.VERSION + 1))
    with pytest.raises(StoreError, match="upgrade Interlock"):
        database.migrate()


def test_an_old_run_is_archived_and_the_ledger_still_verifies_and_finds_tampering(
    opened: Callable[..., Service], database: Database, tmp_path: Path
) -> None:
    service = opened()
    service.start()
    old, other = submit(service), submit(service)
    assert {ended(service, old), ended(service, other)} == {OutcomeKind.SUCCEEDED}
    waiting = service.runs.submit(Task(text="drop all tables of the production database", agents=("anna",)))
    until(service.approvals.list)
    before = service.ledger.verify()
    assert service.storage.collect(1, actor="otto").runs == 0
    assert service.storage.collect(0, actor="otto", dry=True).runs == 2
    sealed = service.storage.collect(0, actor="otto")
    assert (sealed.runs, len(sealed.files)) == (2, 1)
    after = service.ledger.verify()
    assert after.problem == ""
    assert after.records == before.records + 1
    with pytest.raises(NotFoundError):
        service.runs.find(old.id)
    assert service.runs.find(waiting.id).state is RunState.WAITING
    assert not [problem for problem in service.storage.problems() if "MiB" not in problem]
    assert service.storage.collect(0, actor="otto").runs == 0
    (file,) = (tmp_path / "project" / ".interlock" / "archive").iterdir()
    file.write_bytes(file.read_bytes().replace(b"anna", b"bert", 1))
    assert any("archive" in problem for problem in service.storage.problems())
    with database.write() as conn:
        conn.execute(t.ledger.update().where(t.ledger.c.run_id == waiting.id).values(body=b""))
    assert "was changed" in service.ledger.verify().problem


def test_runs_left_for_anybody_are_executed_by_any_worker_and_what_it_leaves_by_another(
    opened: Callable[..., Service], hired: Callable[..., subprocess.Popen[bytes]]
) -> None:
    service = opened()
    first = submit(service, detach=True)
    worker = hired()
    assert ended(service, first) is OutcomeKind.SUCCEEDED
    runs = [submit(service, detach=True) for _ in range(3)]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=PATIENCE_S) == 0
    hired()
    assert {ended(service, run) for run in runs} == {OutcomeKind.SUCCEEDED}
    lines = (service.settings.project.parent / "outside.log").read_text().split()
    assert sorted(lines) == sorted([first.id, *(run.id for run in runs)])


def test_a_worker_that_is_told_to_stop_lets_its_agent_finish(
    opened: Callable[..., Service], hired: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    service = opened()
    finished = tmp_path / "finished"
    worker = hired(HANDS_UNTIL=str(finished))
    run = submit(service, detach=True)
    until(lambda: any(entry.kind == "effect.intended" for entry in service.ledger.entries(run_id=run.id)))
    worker.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    finished.touch()
    assert worker.wait(timeout=PATIENCE_S) == 0
    kinds = [entry.kind for entry in service.ledger.entries(run_id=run.id)]
    assert "attempt.succeeded" in kinds
    assert "attempt.resumed" not in kinds


def test_a_paused_worker_that_wakes_up_late_changes_nothing_any_more(
    opened: Callable[..., Service], hired: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    service = opened()
    finished = tmp_path / "finished"
    slow = hired(HANDS_UNTIL=str(finished))
    run = submit(service, detach=True)
    until(lambda: any(entry.kind == "effect.intended" for entry in service.ledger.entries(run_id=run.id)))
    slow.send_signal(signal.SIGSTOP)
    hired()
    outcome = ended(service, run)
    before = [entry.kind for entry in service.ledger.entries()]
    finished.touch()
    slow.send_signal(signal.SIGCONT)
    time.sleep(2)
    assert outcome is OutcomeKind.ESCALATED  # the line was written, nobody saw its outcome, and it is not repeated
    assert (service.settings.project.parent / "outside.log").read_text().split() == [run.id]
    assert [entry.kind for entry in service.ledger.entries()] == before
    assert service.ledger.verify().problem == ""


def test_an_attempt_that_kills_its_workers_is_given_up(opened: Callable[..., Service], monkeypatch: Any) -> None:
    service = opened(recovery={"crashed": {"strategy": "manual"}})
    service.start()
    monkeypatch.setattr("interlock.engine.attempt.MAX_RESUMES", 0)

    claim = queue.claim_permit

    def as_if_resumed(conn: sa.Connection, attempt_id: str, worker: str) -> Any:
        claim(conn, attempt_id, worker)
        return claim(conn, attempt_id, worker)

    monkeypatch.setattr(queue, "claim_permit", as_if_resumed)
    run = submit(service)
    assert ended(service, run) is OutcomeKind.ESCALATED
    outcome = service.runs.find(run.id).outcome
    assert outcome is not None
    assert "died" in outcome.reason


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_a_full_disk_stops_what_is_new_with_a_clear_error_and_loses_nothing(opened: Callable[..., Service]) -> None:
    service = opened()
    service.start()
    engine = service._means.database.engine

    most = [0]  # one listener with a number that changes: a thread may be walking through the listeners at any moment
    sa.event.listen(engine, "checkout", lambda conn, *_: conn.execute(f"PRAGMA max_page_count={most[0]}"))

    def allow(pages: int) -> None:
        with engine.connect() as conn:
            most[0] = conn.exec_driver_sql("PRAGMA page_count").scalar_one() + pages

    allow(3)
    taken: list[Run] = []

    def submit_many() -> None:
        for _ in range(500):
            taken.append(submit(service))  # noqa: PERF401 - what was taken before the error counts

    with pytest.raises(StoreError, match=r"nothing was changed: .*full: make room") as refused:
        submit_many()
    assert not refused.value.passing
    time.sleep(0.5)
    allow(100_000)
    assert {ended(service, run) for run in taken} == {OutcomeKind.SUCCEEDED}
    assert service.ledger.verify().problem == ""


def test_a_store_that_is_away_for_a_moment_blocks_no_run(
    opened: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = opened()
    answers = iter([True, True])
    course = service.rollouts.policies.course

    def away_at_first(run_id: str = "") -> Course:
        if next(answers, False):
            raise StoreError("the store could not be read: it restarts", passing=True)
        return course(run_id)

    monkeypatch.setattr(service.rollouts.policies, "course", away_at_first)
    run = submit(service, detach=True)
    service.start(shared=True)
    assert ended(service, run) is OutcomeKind.SUCCEEDED
    assert not next(answers, False), "it was away"


@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
def test_a_run_survives_a_restart_of_postgres(opened: Callable[..., Service], postgres: PostgresForTests) -> None:
    if not postgres.can_restart:
        pytest.skip("the server that INTERLOCK_TEST_PG_URL names is not ours to restart")
    service = opened()
    service.start()
    asking = service.runs.submit(Task(text="drop all tables of the production database", agents=("anna",)))
    until(service.approvals.list)
    runs = [submit(service) for _ in range(3)]
    postgres.restart()
    assert {ended(service, run) for run in runs} == {OutcomeKind.SUCCEEDED}
    (question,) = service.approvals.list()
    service.approvals.vote(question.id, "vera", approve=True)
    assert ended(service, asking) is OutcomeKind.SUCCEEDED
    assert service.ledger.verify().problem == ""


@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
def test_a_writer_that_is_paused_in_its_transaction_does_not_stop_the_others(database: Database) -> None:
    entered = threading.Event()
    failed: list[StoreError] = []

    def sleeper() -> None:
        try:
            with database.write() as conn:
                entered.set()
                time.sleep(7)
                conn.execute(sa.select(1))
        except StoreError as problem:
            failed.append(problem)

    thread = threading.Thread(target=sleeper)
    thread.start()
    entered.wait()
    database.transact(lambda conn: queue.set_limit(conn, "max_concurrent", 1))
    thread.join()
    assert failed
    assert not failed[0].unsure


def test_the_servers_clock_is_the_clock_of_leases(database: Database) -> None:
    from parts import START

    with database.read() as conn:
        shared = database.time(conn, START)
    assert (shared == START) == database.is_sqlite
    assert shared.utcoffset() == timedelta()


def test_work_is_begun_because_the_ledger_says_so_and_not_because_a_poll_comes_round(
    opened: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "_QUEUE_POLL_S", 3600.0)
    service = opened()
    service.start()
    assert ended(service, submit(service)) is OutcomeKind.SUCCEEDED


def test_who_holds_a_permit_writes_first_and_the_others_in_the_order_in_which_they_came() -> None:
    turns, order = Turns(), list[str]()
    waiting = threading.Barrier(2)

    def write(name: str, at_work: bool) -> None:
        AT_WORK.set(at_work)
        waiting.wait()
        with turns.mine(60):
            order.append(name)

    threads = []
    with turns.mine(60):
        for name, at_work in (("a", False), ("b", False), ("c", True), ("d", True), ("e", False)):
            threads.append(threading.Thread(target=write, args=(name, at_work)))
            threads[-1].start()
            waiting.wait()
            until(lambda: len(turns._first) + len(turns._rest) == len(threads))
    for thread in threads:
        thread.join()
    assert order == ["c", "d", "a", "b", "e"]


def test_a_turn_that_never_comes_is_not_waited_for_for_ever() -> None:
    turns = Turns()
    with turns.mine(60):
        with turns.mine(0.05):
            pass
        assert not turns._rest
    with turns.mine(60):
        pass


def test_a_bell_ends_one_wait_and_the_end_ends_all() -> None:
    bell = durable.Bell()
    bell.ring()
    assert not bell.wait(60)
    assert not bell.wait(0.01), "it has rung once"
    bell.set()
    assert bell.wait(60)
    assert bell.wait(60)


def test_news_of_another_process_arrive_each_record_once_and_in_order(database: Database) -> None:
    heard: list[news.Item] = []
    reader = news.News(database, heard.append)
    reader.start()
    other = Database(database.url)
    ledger = Ledger(other, SetClock(), None)
    try:
        for number in range(20):
            with other.write() as conn:
                ledger.append(conn, "run", f"kind.{number}", {}, actor="x")
        until(lambda: len(heard) >= 20)
        assert heard == [news.Item(run_id="run", kind=f"kind.{number}") for number in range(20)]
    finally:
        reader.stop()
        other.close()


def test_what_a_listener_makes_of_the_news_stops_no_news(store_url: str) -> None:
    database = Database(store_url)
    heard: list[str] = []

    def tell(item: news.Item) -> None:
        heard.append(item.kind)
        if heard == ["one"]:
            raise ValueError("a listener's mistake")

    reader = news.News(database, tell)
    reader.start()
    ledger = Ledger(database, SetClock(), None)
    try:
        for kind in ("one", "two"):
            with database.write() as conn:
                ledger.append(conn, "run", kind, {}, actor="x")
        until(lambda: "two" in heard)
        assert heard == ["one", "one", "two"], "it was told again, and then went on"
    finally:
        reader.stop()
        database.close()


def test_a_body_that_dbos_has_given_up_is_begun_again(opened: Callable[..., Service]) -> None:
    service = opened()
    run = submit(service, detach=True)
    service._means.durable.client.cancel_workflow(run.id)
    service.start(shared=True)
    assert ended(service, run) is OutcomeKind.SUCCEEDED


def test_a_body_whose_run_was_taken_over_writes_nothing_more(
    opened: Callable[..., Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = tmp_path / "finish"
    monkeypatch.setattr("hands.UNTIL", str(finish))
    service = opened()
    service.start()
    run = submit(service)
    until(lambda: "effect.intended" in kinds_of(service, run))
    status = service._means.durable._table("workflow_status")

    def take_over(conn: sa.Connection) -> None:
        queue.set_home(conn, run.id, "wrk_other", "")
        conn.execute(sa.update(status).where(status.c.workflow_uuid == run.id).values(executor_id="wrk_other"))

    service._means.database.transact(take_over)
    finish.touch()
    until(lambda: "attempt.succeeded" in kinds_of(service, run))
    time.sleep(1.5)
    assert kinds_of(service, run)[-1] == "attempt.succeeded"
    service._means.durable.resume([run.id])
    assert ended(service, run) is OutcomeKind.SUCCEEDED


def test_a_body_that_has_ended_without_its_run_is_begun_again(opened: Callable[..., Service]) -> None:
    service = opened()
    run = submit(service, detach=True)
    status = service._means.durable._table("workflow_status")
    gone = sa.update(status).where(status.c.workflow_uuid == run.id).values(status="SUCCESS")
    service._means.database.transact(lambda conn: conn.execute(gone))
    service.start(shared=True)
    assert ended(service, run) is OutcomeKind.SUCCEEDED


def test_an_old_body_of_a_parked_run_does_not_make_it_its_own(opened: Callable[..., Service]) -> None:
    """It was paused while others took over, parked the run and ended: what it began must not count."""
    service = opened()
    service.start()
    run = service.runs.submit(RISKY)
    (question,) = until(service.approvals.list)
    until(lambda: body_of(service, run) == "SUCCESS")
    old = RunLine(service._means)
    with pytest.raises(durable.Lost):
        asyncio.run(old(run.id))
    service.approvals.vote(question.id, "vera", approve=True)
    assert ended(service, run) is OutcomeKind.SUCCEEDED


def kinds_of(service: Service, run: Run) -> list[str]:
    return [entry.kind for entry in service.ledger.stream(run_id=run.id)]


def body_of(service: Service, run: Run) -> str:
    """What DBOS says of the run's body."""
    status = service._means.durable._table("workflow_status")
    query = sa.select(status.c.status).where(status.c.workflow_uuid == run.id)
    return str(service._means.database.look(lambda conn: conn.execute(query).scalar()))


RISKY = Task(text="drop all tables of the production database", agents=("anna",))


@pytest.mark.parametrize(
    ("approve", "kind"), [(True, OutcomeKind.SUCCEEDED), (False, OutcomeKind.DENIED), (None, OutcomeKind.CANCELLED)]
)
def test_a_run_that_waits_for_a_person_has_no_body_until_it_is_answered(
    opened: Callable[..., Service], approve: bool | None, kind: OutcomeKind
) -> None:
    service = opened()
    service.start()
    run = service.runs.submit(RISKY)
    (question,) = until(service.approvals.list)
    until(lambda: body_of(service, run) == "SUCCESS")
    if approve is None:
        service.runs.cancel(run.id, "otto")
    else:
        service.approvals.vote(question.id, "vera", approve=approve)
    assert ended(service, run) is kind


def test_an_answer_that_comes_before_the_body_has_gone_is_heard(opened: Callable[..., Service]) -> None:
    """The answer is given in the very moment of the question, often while the body still writes its last lines."""
    service = opened()
    service.start()
    asked = [service.runs.submit(RISKY) for _ in range(10)]
    answered: set[str] = set()

    def all_answered() -> bool:
        for question in service.approvals.list():
            service.approvals.vote(question.id, "vera", approve=True)
            answered.add(question.run_id)
        return len(answered) == len(asked)

    until(all_answered)
    assert {ended(service, run) for run in asked} == {OutcomeKind.SUCCEEDED}


def test_a_question_expires_by_itself_and_its_run_ends(opened: Callable[..., Service]) -> None:
    service = opened(approvals={"expires_s": 1})
    service.start()
    assert ended(service, service.runs.submit(RISKY)) is OutcomeKind.EXPIRED


def test_a_run_is_answered_while_nobody_executes_and_goes_on_in_the_next_process(
    opened: Callable[..., Service],
) -> None:
    first = opened()
    first.start()
    run = first.runs.submit(RISKY)
    (question,) = until(first.approvals.list)
    first.close()
    second = opened()
    second.approvals.vote(question.id, "vera", approve=True)
    second.start()
    assert ended(second, run) is OutcomeKind.SUCCEEDED


def test_a_run_that_waits_for_a_place_has_no_body_until_it_had_one(
    opened: Callable[..., Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = tmp_path / "finish"
    monkeypatch.setattr("hands.UNTIL", str(finish))
    service = opened(limits={"max_concurrent": 1, "per_agent": 4, "per_minute": 10_000})
    service.start()
    runs = [submit(service) for _ in range(3)]
    until(lambda: sorted(body_of(service, run) for run in runs) == ["PENDING", "SUCCESS", "SUCCESS"])
    finish.touch()
    assert [ended(service, run) for run in runs] == [OutcomeKind.SUCCEEDED] * 3


def test_one_answer_counts_for_all_questions_that_show_the_same_and_for_no_other(
    opened: Callable[..., Service],
) -> None:
    service = opened()
    service.start()
    same = [service.runs.submit(RISKY) for _ in range(3)]
    other = service.runs.submit(Task(text="drop the users table of the production database", agents=("anna",)))
    questions = until(lambda: len(found := service.approvals.list()) == 4 and found)
    one = next(question for question in questions if question.run_id == same[0].id)
    done = service.approvals.vote_on_same(one.id, "vera", approve=False)
    assert {question.run_id for question in done} == {run.id for run in same}
    assert [question.run_id for question in service.approvals.list()] == [other.id]
    assert {ended(service, run) for run in same} == {OutcomeKind.DENIED}


def test_an_execution_that_was_too_slow_counts_for_its_breaker(opened: Callable[..., Service]) -> None:
    service = opened(breaker={"slow_s": 1, "slow_rate_percent": 50, "min_calls": 1, "window": 1})
    service.start()
    governor, database = service._means.governor, service._means.database
    run = submit(service)
    assert ended(service, run) is OutcomeKind.SUCCEEDED
    with database.write() as conn:
        (attempt,) = rows.attempts_of(conn, run.id)
        again = replace(attempt, id=f"{attempt.id}-again", state=AttemptState.RUNNING, error=None)
        governor.request(conn, again, priority=Priority.LOW)
        queue.grant(conn, again.id, again.agent, generation=rows.find_breaker(conn, again.agent).generation)
        governor.end(conn, again, worked=timedelta(seconds=1))
    with database.read() as conn:
        assert rows.find_breaker(conn, "anna").reason == "1 of the last 1 attempts took 1 s or longer"


def test_several_processes_that_find_an_empty_store_at_once_can_all_put_work_into_it(
    tmp_path: Path, postgres: PostgresForTests
) -> None:
    """Half of DBOS's tables is not a store: who comes while they are made waits until they are there."""

    def first_run(url: str, name: str) -> None:
        database = Database(url)
        door = durable.Durable(database)
        try:
            door.prepare()
            with database.write() as conn:
                door.start_run(conn, name, durable.SHARED)
        except (StoreError, sa.exc.SQLAlchemyError) as problem:
            failed.append(str(problem))
        finally:
            door.shut_down()
            database.close()

    with postgres.database() as of_postgres:
        for url in (f"sqlite:///{tmp_path / 'empty.db'}", of_postgres):
            failed: list[str] = []
            threads = [threading.Thread(target=first_run, args=(url, f"run{number}")) for number in range(4)]
            for number, thread in enumerate(threads):
                thread.start()
                time.sleep(0.05 * number)
            for thread in threads:
                thread.join()
            assert failed == []
