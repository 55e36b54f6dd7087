"""Admission: no limit is ever passed, by however many at once; who waits is told why. On both stores."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from parts import START, Parts

from interlock.model.agent import AgentResult, AgentSpec, Priority, Usage
from interlock.model.breaker import BreakerState
from interlock.model.run import AgentError, Attempt, AttemptState, ErrorKind
from interlock.store import budgets, queue, rows
from interlock.store import schema as t
from interlock.store.database import micros

Make = Callable[..., Parts]
WIDE = {"max_concurrent": 100, "per_agent": 100, "per_minute": 10_000}
FAILED = AgentError(kind=ErrorKind.CRASHED, message="it broke")


def at_work(parts: Parts) -> list[str]:
    with parts.database.read() as conn:
        return sorted(row.agent for row in queue.running(conn))


def reasons(parts: Parts) -> dict[str, str]:
    return {place.attempt_id: place.reason for place in parts.governor.places()}


def stored(parts: Parts, attempt: Attempt) -> Attempt:
    with parts.database.read() as conn:
        found = rows.find_attempt(conn, attempt.id)
    assert found is not None
    return found


def test_the_limits_for_all_for_one_agent_and_for_a_tag_hold(parts: Make) -> None:
    agents = {
        "anna": AgentSpec(name="anna", max_concurrent=1),
        "bert": AgentSpec(name="bert", tags=("staging",)),
        "cleo": AgentSpec(name="cleo", tags=("staging",)),
    }
    made = parts(agents=agents, limits={"max_concurrent": 4, "per_agent": 2, "per_minute": 100, "tags": {"staging": 2}})
    for agent in ("anna", "bert", "cleo", "dora"):
        for _ in range(3):
            made.queue(made.run(), agent)
    made.governor.admit()
    assert Counter(at_work(made)) == {"anna": 1, "bert": 2, "dora": 1}
    assert made.governor.admit() == []


def test_a_place_that_is_given_back_is_filled_at_once_and_in_order(parts: Make) -> None:
    made = parts(limits={**WIDE, "max_concurrent": 1})
    first, second, third = (made.queue(made.run(), agent) for agent in ("anna", "bert", "cleo"))
    for expected in (first, second, third):
        assert made.governor.admit() == [expected.id]
        made.end(expected)
    assert made.count(t.permits) == 0


def test_0_means_never_wherever_it_is_said(parts: Make) -> None:
    made = parts(agents={"anna": AgentSpec(name="anna", max_concurrent=0), "bert": AgentSpec(name="bert", tags=("shut",))},
                 limits={**WIDE, "tags": {"shut": 0}})  # fmt: skip
    waiting = [made.queue(made.run(), agent) for agent in ("anna", "bert")]
    assert made.governor.admit() == []
    assert all("never" in reasons(made)[each.id] for each in waiting)


def test_no_more_than_the_rate_start_in_any_minute(parts: Make) -> None:
    made = parts(limits={**WIDE, "per_minute": 3})
    for _ in range(8):
        made.queue(made.run())
    started = []
    for second in range(0, 130, 10):
        started += [second] * len(made.governor.admit())
        made.clock.forward(10)
    assert started == [0, 0, 0, 60, 60, 60, 120, 120]


def test_agents_that_exclude_each_other_are_not_at_work_together(parts: Make) -> None:
    made = parts(agents={"anna": AgentSpec(name="anna", exclusions=("bert",))}, limits=WIDE)
    anna, bert = made.queue(made.run(), "anna"), made.queue(made.run(), "bert")
    assert made.governor.admit() == [anna.id]
    made.end(anna)
    assert made.governor.admit() == [bert.id]


def test_the_higher_priority_goes_first_and_waiting_makes_up_for_it(parts: Make) -> None:
    made = parts(limits={**WIDE, "max_concurrent": 1, "ageing_s": 60})
    busy = made.queue(made.run())
    made.governor.admit()
    low = made.queue(made.run(), "bert", priority=Priority.LOW)
    made.clock.forward(50)
    medium = made.queue(made.run(), "cleo")
    made.clock.forward(20)
    late = made.queue(made.run(), "dora")
    for expected, before in ((medium, busy), (low, medium), (late, low)):
        made.end(before)
        assert made.governor.admit() == [expected.id]


def test_submitters_take_turns_inside_a_priority(parts: Make) -> None:
    made = parts(limits={**WIDE, "max_concurrent": 1})
    names = {}
    for submitter in ("ursula", "ursula", "ursula", "victor", "ursula", "victor"):
        run_id = made.run(submitter=submitter)
        attempt = Attempt(
            id=f"{run_id}-1",
            run_id=run_id,
            phase=0,
            assigned="anna",
            agent="anna",
            number=1,
            queued_at=made.clock.now(),
        )
        names[attempt.id] = submitter
        with made.database.write() as conn:
            made.governor.request(conn, attempt, priority=Priority.MEDIUM, submitter=submitter)
        made.clock.forward(1)
    turns = []
    expected = [names[place.attempt_id] for place in made.governor.places()]
    while admitted := made.governor.admit():
        made.clock.forward(1)
        turns += [names[each] for each in admitted]
        with made.database.write() as conn:
            for each in admitted:
                found = rows.find_attempt(conn, each)
                assert found is not None
                made.governor.end(conn, found)
    assert turns == expected == ["ursula", "victor", "ursula", "victor", "ursula", "ursula"]


def test_limits_are_changed_while_everything_runs_and_0_stops_admission(parts: Make) -> None:
    made = parts(limits={**WIDE, "max_concurrent": 1})
    for _ in range(4):
        made.queue(made.run())
    made.governor.admit()
    for most, running in ((3, 3), (0, 3), (None, 3)):
        with made.database.write() as conn:
            queue.set_limit(conn, "max_concurrent", most)
        made.governor.admit()
        assert len(at_work(made)) == running


def test_a_back_off_holds_only_its_own_attempt(parts: Make) -> None:
    made = parts(limits=WIDE)
    run_id = made.run()
    attempt = Attempt(
        id=f"{run_id}-a", run_id=run_id, phase=0, assigned="anna", agent="anna", number=2, queued_at=START
    )
    with made.database.write() as conn:
        made.governor.request(conn, attempt, priority=Priority.CRITICAL, delay=timedelta(seconds=30))
    other = made.queue(made.run())
    assert made.governor.admit() == [other.id]
    made.clock.forward(31)
    assert made.governor.admit() == [attempt.id]


def test_a_breaker_opens_survives_a_restart_and_admits_one_probe(parts: Make) -> None:
    made = parts(limits=WIDE, breaker={"threshold": 2, "cooldown_s": 100})
    for _ in range(2):
        failing = made.queue(made.run())
        made.governor.admit()
        made.end(failing, FAILED)
    refused = made.queue(made.run())
    again = Parts(database=made.database, settings=made.settings, clock=made.clock)
    assert again.governor.admit() == []
    error = stored(made, refused).error
    assert error is not None
    assert error.kind is ErrorKind.CIRCUIT_OPEN
    made.clock.forward(101)
    probes = [made.queue(made.run()) for _ in range(3)]
    assert again.governor.admit() == [probes[0].id]
    made.end(probes[0])
    with made.database.read() as conn:
        assert rows.find_breaker(conn, "anna").state is BreakerState.CLOSED


def test_a_cancelled_probe_gives_its_place_back_and_a_late_result_does_not_count(parts: Make) -> None:
    made = parts(limits=WIDE, breaker={"threshold": 1, "cooldown_s": 100})
    late = made.queue(made.run())
    failing = made.queue(made.run())
    made.governor.admit()
    made.end(failing, FAILED)
    made.clock.forward(101)
    probe = made.queue(made.run())
    assert made.governor.admit() == [probe.id]
    made.end(late, FAILED)
    made.end(probe, AgentError(kind=ErrorKind.CANCELLED, message="cancelled"))
    with made.database.read() as conn:
        breaker = rows.find_breaker(conn, "anna")
    assert (breaker.state, breaker.probes, breaker.openings) == (BreakerState.HALF_OPEN, (), 1)
    assert made.governor.admit() == []
    second = made.queue(made.run())
    assert made.governor.admit() == [second.id]


def test_who_waits_for_a_person_holds_no_permit_and_comes_back_at_its_old_place(parts: Make) -> None:
    made = parts(limits={**WIDE, "max_concurrent": 1})
    asking, other, third = (made.queue(made.run()) for _ in range(3))
    made.governor.admit()
    with made.database.write() as conn:
        made.governor.step_aside(conn, asking, why="a question")
    assert made.governor.admit() == [other.id]
    with made.database.write() as conn:
        made.governor.step_back(conn, asking)
    made.end(other)
    assert made.governor.admit() == [asking.id]
    assert stored(made, third).state is AttemptState.READY


def test_an_end_that_is_told_twice_counts_once(parts: Make) -> None:
    made = parts(limits=WIDE)
    attempt = made.queue(made.run())
    made.governor.admit()
    for _ in range(2):
        made.end(attempt, FAILED)
    with made.database.read() as conn:
        assert rows.find_breaker(conn, "anna").consecutive_failures == 1
    assert [each.kind for each in made.ledger.entries() if "fail" in each.kind] == ["attempt.failed"]


def test_an_estimate_is_unknown_until_enough_forecasts_came_true_or_did_not(parts: Make) -> None:
    made = parts(limits={**WIDE, "max_concurrent": 1})
    attempts = [made.queue(made.run()) for _ in range(14)]
    made.governor.admit()
    assert {place.estimate_ms for place in made.governor.places()} == {None}
    for number in range(12):
        attempt = attempts[number]
        with made.database.write() as conn:
            rows.save_attempt(conn, replace(stored(made, attempt), started_at=made.clock.now()))
        made.clock.forward(7)
        made.end(attempt)
        made.governor.admit()
        made.governor.note_forecasts()
        made.governor.note_forecasts()
    (place,) = made.governor.places()
    assert place.estimate_ms == pytest.approx(7000, abs=100)
    assert place.estimate_p90_ms == pytest.approx(7000, abs=100)


def test_a_budget_that_is_used_up_ends_the_attempt_and_one_that_is_reserved_lets_it_wait(parts: Make) -> None:
    made = parts(limits=WIDE, budgets={"tokens_per_agent_day": 10_000})
    first, second, third = (made.queue(made.run()) for _ in range(3))
    assert made.governor.admit() == [first.id, second.id]
    assert made.governor.admit() == []
    result = AgentResult(usage=Usage(input_tokens=9000, output_tokens=100))
    with made.database.write() as conn:
        made.governor.end(conn, replace(stored(made, first), result=result))
    made.end(second)
    assert made.governor.admit() == [third.id]
    with made.database.write() as conn:
        made.governor.end(conn, replace(stored(made, third), result=result))
        assert budgets.used(conn, ["agent:anna:2030-01-01"])["agent:anna:2030-01-01"]["tokens"] == 18_200
    late = made.queue(made.run())
    assert made.governor.admit() == []
    error = stored(made, late).error
    assert error is not None
    assert error.kind is ErrorKind.BUDGET
    assert "18200 of 10000 tokens" in error.message
    assert made.count(t.reservations) == 0


def test_calls_are_counted_before_they_are_made(parts: Make) -> None:
    made = parts(limits=WIDE, budgets={"calls_per_run": 2})
    attempt = made.queue(made.run())
    made.governor.admit()
    with made.database.write() as conn:
        said = [made.governor.budgets.charge_call(conn, attempt.id) for _ in range(3)]
    assert said[:2] == ["", ""]
    assert "2 of 2 tool calls" in said[2]


def test_work_time_that_is_left_is_all_that_an_attempt_gets(parts: Make) -> None:
    made = parts(limits=WIDE, budgets={"work_per_run_s": 100})
    attempt = made.queue(made.run())
    made.governor.admit()
    with made.database.read() as conn:
        assert made.governor.budgets.time_left(conn, attempt.id) == timedelta(seconds=100)


def test_the_lines_of_a_long_queue_are_found_without_reading_it(parts: Make) -> None:
    made = parts(limits=WIDE)
    attempts = []
    for agent in ("anna", "bert", "anna"):
        attempts.append(made.queue(made.run(), agent))
        made.clock.forward(1)
    with made.database.read() as conn:
        heads = {head.attempt_id for head in queue.heads(conn, micros(made.clock.now()))}
    assert heads == {attempts[0].id, attempts[1].id}


PROCESS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from parts import Parts
from interlock.config import load_settings
from interlock.store.database import Database
from interlock.store import rows
made = Parts(database=Database(sys.argv[1]), settings=load_settings(Path(sys.argv[2])))
made.clock.forward(3600)
for _ in range(400):
    for attempt_id in made.governor.admit():
        with made.database.read() as conn:
            found = rows.find_attempt(conn, attempt_id)
        made.end(found)
"""


def test_several_processes_that_admit_at_once_never_pass_a_limit(parts: Make, store_url: str, tmp_path: Path) -> None:
    made = parts(limits={"max_concurrent": 2, "per_agent": 1, "per_minute": 1000})
    for number in range(30):
        made.queue(made.run(), ("anna", "bert", "cleo")[number % 3])
    support = str(Path(__file__).parent / "support")
    command = [sys.executable, "-c", PROCESS, store_url, str(tmp_path), support]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        assert process.wait(timeout=120) == 0, process.stderr.read() if process.stderr else ""
        if process.stderr:
            process.stderr.close()
    working: dict[str, str] = {}
    most = 0
    for entry in made.ledger.entries():
        if entry.kind == "attempt.admitted":
            working[entry.data["attempt"]] = entry.data["agent"]
            assert max(Counter(working.values()).values()) <= 1
            most = max(most, len(working))
        elif entry.kind == "attempt.succeeded":
            working.pop(entry.data["attempt"])
    assert most <= 2
    assert not working
    assert not made.ledger.verify().problem
    with made.database.read() as conn:
        assert queue.heads(conn, micros(made.clock.now())) == []


@pytest.mark.parametrize("kind", ["max_concurrent", "agent:anna", "tag:staging"])
def test_every_kind_of_limit_can_be_set_by_hand(parts: Make, kind: str) -> None:
    made = parts(agents={"anna": AgentSpec(name="anna", tags=("staging",))}, limits=WIDE)
    for _ in range(3):
        made.queue(made.run())
    with made.database.write() as conn:
        queue.set_limit(conn, kind, 1)
    assert len(made.governor.admit()) == 1
