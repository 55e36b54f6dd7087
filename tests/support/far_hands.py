"""A worker process on a host of its own: its agent says, many times a second, that it is at work, until it may be done.

usage: far_hands.py PROJECT      Beside the project: at-work.log, which all hosts write to; done, the file that ends the work.
"""

from __future__ import annotations

import asyncio
import socket
import time

from hands import main

from interlock.ports import AgentFunction, Gate, Job


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


if __name__ == "__main__":
    main(functions())
