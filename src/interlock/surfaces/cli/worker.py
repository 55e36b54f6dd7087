"""``interlock worker``: a process that executes any run of the store, until it is told to stop."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING

from interlock.surfaces.cli.common import ConfigFile, Env, Json, opened, say_json

if TYPE_CHECKING:
    from types import FrameType

    from interlock.service import Service


def worker(env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Execute what `interlock run --detach` has submitted.

    Also what dead processes have left; until SIGTERM or Ctrl-C.

    Start as many as you like, on as many hosts: the store's limits, breakers and approvals count for all of them together.
    A run stays on the host that took it, where its workspace is. The first signal lets the agents at work finish
    (worker.drain_s); a second one ends them, and another worker of this place goes on with them.
    """
    with opened(env, config) as service:
        service.start(shared=True)
        serve(service, as_json=as_json)


def serve(service: Service, *, as_json: bool = False) -> None:
    """Stay until a signal; then drain. Closing the service afterwards hands over what is left."""
    stop = threading.Event()
    hurry = threading.Event()

    def told(_number: int, _frame: FrameType | None) -> None:
        (hurry if stop.is_set() else stop).set()

    before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        _say("working", service, as_json=as_json)
        stop.wait()
        _say("stopping", service, as_json=as_json)
        service.drain(hurry)
        _say("stopped", service, as_json=as_json)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(what: str, service: Service, *, as_json: bool) -> None:
    at_work = service.at_work()
    if as_json:
        say_json({"worker": service.worker_id, "state": what, "at_work": at_work})
        return
    left = {
        "working": "",
        "stopping": f": {at_work} agents at work may finish",
        "stopped": f": {at_work} agents left to others",
    }
    sys.stderr.write(f"{service.worker_id} {what}{left[what]}\n")
