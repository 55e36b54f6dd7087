"""A process that walks the road once on a project, and can be told to kill itself at any commit.

usage: road.py PROJECT submit|resume [CRASH]      CRASH: before:N or after:N (the N-th write commit), or inside:effect
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from interlock.app import build
from interlock.config import load_settings
from interlock.model.plan import Task
from interlock.model.run import Compensation, RunState
from interlock.ports import Gate, Job
from interlock.store.database import Database

PROJECT = Path(sys.argv[1])
CRASH = sys.argv[3] if len(sys.argv) > 3 else ""
OUTSIDE = PROJECT.parent / "outside.log"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash_at_commit(when: str, number: int) -> None:
    """Kill this process right before or right after its N-th write transaction is committed."""
    original = Database.write
    seen = 0

    @contextlib.contextmanager
    def write(self: Database) -> Iterator[sa.Connection]:
        nonlocal seen
        seen += 1
        mine = seen
        with original(self) as conn:
            yield conn
            if when == "before" and mine == number:
                die()
        if when == "after" and mine == number:
            die()

    Database.write = write  # type: ignore[method-assign]


async def first(job: Job, gate: Gate) -> str:
    """Takes the first step: writes a file, and a line in a log outside, which can be taken back."""
    (job.workspace / "first.txt").write_text("first\n")
    undo = Compensation(command=("{python}", "-c", f"open({str(OUTSIDE)!r}, 'a').write('undone\\n')"))
    call = await gate.before("journal", {"line": "one"}, compensation=undo)
    if not call.effect_id:
        return f"blocked: {call.decision.reason}"
    with OUTSIDE.open("a") as log:
        log.write("one\n")
    if CRASH == "inside:effect":
        die()
    await gate.after(call.effect_id, ok=True, output="written")
    return "first step done"


async def second(job: Job, gate: Gate) -> str:
    """Takes the second step: changes what the first one wrote, and leaves a line outside that cannot be taken back."""
    text = (job.workspace / "first.txt").read_text()
    (job.workspace / "second.txt").write_text(text + "second\n")
    call = await gate.before("journal", {"line": "two"}, idempotent=False)
    if not call.effect_id:
        return f"blocked: {call.decision.reason}"
    with OUTSIDE.open("a") as log:
        log.write("two\n")
    await gate.after(call.effect_id, ok=True, output="written")
    return "second step done"


def main() -> None:
    if CRASH and not CRASH.startswith("inside"):
        when, _, number = CRASH.partition(":")
        crash_at_commit(when, int(number))
    service = build(load_settings(PROJECT), functions={"first": first, "second": second})
    service.start()
    if sys.argv[2] == "submit":
        service.runs.submit(Task(text="take both steps", agents=("first", "second"), idempotency_key="the-only-one"))
    until = time.monotonic() + 60
    while service.runs.unfinished() and time.monotonic() < until:
        time.sleep(0.02)
    service.close()
    left = [run for run in service.runs.newest() if run.state is not RunState.ENDED]
    sys.exit(3 if left else 0)


if __name__ == "__main__":
    main()
