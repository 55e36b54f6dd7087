"""A worker process on a host of its own: its agent says, many times a second, that it is at work, until it may be done.

usage: far_hands.py PROJECT      Beside the project: at-work.log, which all hosts write to; done, the file that ends the work.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from pathlib import Path

from interlock.app import build
from interlock.config import load_settings
from interlock.ports import AgentFunction, Gate, Job
from interlock.surfaces.cli.worker import serve


async def dig(job: Job, gate: Gate) -> str:
    """Says where it is at work; nothing outside its workspace is asked for, so it may be begun again."""
    beside = job.project.parent
    with (beside / "at-work.log").open("a", buffering=1) as log:
        while True:
            log.write(f"{time.monotonic():.3f} {socket.gethostname()} {job.attempt_id}\n")
            if (beside / "done").exists():
                return f"dug on {socket.gethostname()}"
            await asyncio.sleep(0.05)


def functions() -> dict[str, AgentFunction]:
    return {"digger": dig}


def main() -> None:
    service = build(load_settings(Path(sys.argv[1])), functions=functions())
    service.start(shared=True)
    try:
        serve(service, as_json=True)
    finally:
        service.close()


if __name__ == "__main__":
    main()
