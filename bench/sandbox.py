"""What the rungs of the sandbox hold on this machine, and what they and workspaces cost: `python -m bench.sandbox` prints Markdown.

`python -m bench.sandbox files` measures the workspaces alone.

Every cell is tried for real, now; a cell that differs from what is claimed is marked.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from interlock.model.sandbox import SandboxLevel
from interlock.sandbox.escapes import ESCAPES, claimed, held
from interlock.sandbox.git_workspaces import GitWorkspaces
from interlock.sandbox.ladder import Ladder, holds
from interlock.sandbox.launcher import landlock_abi

REPEATS = 25
SIZES = (300, 3_000, 30_000)
ROUNDS = 5
WORDS = {True: "held", False: "**gets out**", None: "held (the kernel has no such thing)"}


def main() -> None:
    if sys.argv[1:] != ["files"]:
        rungs()
    print("\n| files | worktree, ms | first snapshot | with a change | without |\n|---|---|---|---|---|")
    for size in SIZES:
        print(f"| {size:,} | " + " | ".join(f"{ms:.0f}" for ms in workspaces(size).values()) + " |", flush=True)


def rungs() -> None:
    levels = [level for level in SandboxLevel if level is SandboxLevel.NONE or holds(level)]
    root, abi = os.getuid() == 0, landlock_abi()
    print(
        f"Linux {'.'.join(platform.release().split('.')[:2])}, landlock ABI {abi}, run as {'root' if root else 'an ordinary user'}.\n"
    )
    print(f"| tried from inside | {' | '.join(levels)} |\n|---|{'---|' * len(levels)}")
    for escape in ESCAPES:
        cells = []
        for level in levels:
            found = held(escape, level)
            broken = found is False and claimed(escape, level, root=root, abi=abi)
            cells.append(WORDS[found] + (" (**not as claimed**)" if broken else ""))
        print(f"| {escape.name} | {' | '.join(cells)} |")
    print(f"\n| start of `true`, median of {REPEATS} | {' | '.join(levels)} |\n|---|{'---|' * len(levels)}")
    print(f"| ms | {' | '.join(f'{cost(level):.0f}' for level in levels)} |")


def workspaces(files: int) -> dict[str, float]:
    """Milliseconds in a repository of so many files: the least of the rounds, except for what happens once."""
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as name:
        project = Path(name, "project")
        for number in range(files):
            file = project / f"d{number // 100}" / f"f{number}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{number}\n" * 20)
        for words in (
            ["init", "-q"],
            ["add", "."],
            ["-c", "user.name=b", "-c", "user.email=b@example.org", "commit", "-qm", "0"],
        ):
            subprocess.run(["git", *words], cwd=project, check=True)
        spaces = GitWorkspaces(project, Path(name, "state"))
        spaces.begin("r")
        opened = [timed(lambda number=number: spaces.open("r", f"a{number}")) for number in range(ROUNDS)]
        place = spaces.open("r", "a")
        first = timed(lambda: spaces.snapshot("r", "a"))
        changed = []
        for number in range(ROUNDS):
            (place / "d0" / "f0.txt").write_text(f"changed {number}\n")
            changed.append(timed(lambda: spaces.snapshot("r", "a")))
        same = [timed(lambda: spaces.snapshot("r", "a")) for _ in range(ROUNDS)]
        return {"worktree": min(opened), "first snapshot": first, "with a change": min(changed), "without": min(same)}


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


def cost(level: SandboxLevel) -> float:
    """Median milliseconds from start to end of a program that does nothing."""
    with tempfile.TemporaryDirectory() as name:
        command = Ladder(level).wrap(["true"], workspace=Path(name), scratch=Path(name, "scratch"))
        times = []
        for _ in range(REPEATS):
            begun = time.perf_counter()
            subprocess.run(command.argv, env=dict(command.env), cwd=name, check=True)
            times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


if __name__ == "__main__":
    main()
