"""All benchmarks, one after the other: ``make bench``, or ``python -m bench NAME …`` for some of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SKIPPED = {"__main__", "api_store", "choosing_history", "choosing_pictures", "peer_agt"}


def main() -> int:
    known = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in SKIPPED)
    wanted = sys.argv[1:] or known
    unknown = set(wanted) - set(known)
    if unknown:
        print(f"there is no benchmark {', '.join(sorted(unknown))}; known: {', '.join(known)}")
        return 2
    codes = []
    for name in wanted:
        print(f"\n## {name}\n", flush=True)
        codes.append(subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
