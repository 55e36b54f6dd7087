"""What the club's agents share: the club's own code, and how they read a task."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the project's own code, as people reviewed it; never the workspace's

from clubhouse.numbers import Metric  # noqa: E402 - found through the line above
from interlock import agent  # noqa: E402 - the same

_SHOWING = re.compile(r"(?i)\b(charts?|graphs?|plot|draw|percentiles?|dashboard)\b")
_PARAMETER = re.compile(r"^\s*([a-z_]+):\s*(\S.*?)\s*$")


def database(job: agent.Job) -> Path:
    """The live database. It is the project's, not the workspace's: only gated calls may change it."""
    return job.project / "var" / "club.db"


def parameters(task: str) -> dict[str, str]:
    """The ``name: value`` lines that follow a line ``params:`` in a task."""
    _, _, after = task.partition("\nparams:\n")
    found = {}
    for line in after.splitlines():
        match = _PARAMETER.fullmatch(line)
        if match is None:
            break
        found[match[1]] = match[2]
    return found


def asked_metric(job: agent.Job) -> Metric | None:
    """The metric that the task names by its title or key, None when it names none."""
    rows = job.sql(database(job), "SELECT key, title, unit, lower_is_better FROM metrics", idempotent=True)
    known = [Metric(key, title, unit, bool(lower)) for key, title, unit, lower in rows]
    text = job.task.lower()
    named = [one for one in known if one.title.lower() in text or one.key in text]
    return max(named, key=lambda one: len(one.title)) if named else None


def no_metric(job: agent.Job) -> None:
    """Nothing to show: fine when the task asks for nothing to be shown, else a question for a person."""
    if _SHOWING.search(job.task):
        job.fail("unknown", "the task asks for a chart and names no metric of the club: which one is meant?")
    job.done(summary="the task asks for nothing to be shown: the dashboard stays as it is")


def add_panel(job: agent.Job, name: str, source: str) -> str:
    """Write a panel's module and put it on the dashboard; its path."""
    path = f"clubhouse/panels/{name}.py"
    job.write(path, source)
    order = job.read("clubhouse/panels/order.txt")
    if name not in order.split():
        job.write("clubhouse/panels/order.txt", f"{order.rstrip()}\n{name}\n")
    return path


def own_tests(job: agent.Job) -> str:
    """Run the project's tests in the workspace; the last lines when they fail, else nothing."""
    done = job.shell([sys.executable, "-m", "unittest", "discover", "-s", "tests"], idempotent=True)
    return "" if done.returncode == 0 else "\n".join(done.stderr.strip().splitlines()[-5:])
