"""What the rungs of the sandbox hold on this machine, and what they cost: `python -m bench.sandbox` prints Markdown.

Every cell is tried for real, now; a cell that differs from what is claimed is marked.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from interlock.model.sandbox import SandboxLevel
from interlock.sandbox.escapes import ESCAPES, claimed, held
from interlock.sandbox.ladder import Ladder, holds
from interlock.sandbox.launcher import landlock_abi

REPEATS = 25
WORDS = {True: "held", False: "**gets out**", None: "held (the kernel has no such thing)"}


def main() -> None:
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
