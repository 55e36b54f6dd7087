"""The hook itself: reads an event, has it judged, answers. Standard library only; whatever goes wrong is a refusal.

It asks, in this order: the gate of the attempt that it runs in (``INTERLOCK_GATE``: the program is an agent of Interlock);
the project's hook server, if one is running; a fresh process. It keeps a deadline of its own, below those of the programs.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time

from interlock.runners import dialects
from interlock.runners.dialects import Answer, Asked, Unreadable

MAX_INPUT = 8 << 20
"""Bytes of one event."""
DEADLINE_S = 5.0
"""Longest time to an answer, in seconds, unless ``--deadline`` says otherwise."""
_MAX_DEADLINE_S = 3600.0
_MARGIN_S = 1.0  # of the deadline, kept for the way back
_MAX_ANSWER = 1 << 20
_SOCKET = "hook"


class Late(Exception):  # noqa: N818 - the deadline
    """The deadline is over, or the program has told us to end."""


def main(argv: list[str]) -> int:
    """Answer one event; returns the exit status."""
    until = time.monotonic() + DEADLINE_S
    given = {"--as": "", "--deadline": str(DEADLINE_S), "--ask": "queue"}
    try:
        _alarm(DEADLINE_S)
        _options(argv, given)
        deadline = min(float(given["--deadline"]), _MAX_DEADLINE_S)
        until = time.monotonic() + deadline
        _alarm(deadline)
        answer = _answer(given, until)
    except BaseException as error:  # noqa: BLE001 - closed on failure: nothing leaves here without an answer
        answer = dialects.refusal(given["--as"], _why(error))
    signal.setitimer(signal.ITIMER_REAL, 0)
    return _say(answer)


def _options(argv: list[str], given: dict[str, str]) -> None:
    words = list(argv)
    while words:
        name, _, value = words.pop(0).partition("=")
        if name not in given:
            raise Unreadable(f"interlock hook has no option {name!r}")
        given[name] = value or (words.pop(0) if words else "")
    if given["--as"] and given["--as"] not in dialects.DIALECTS:
        unknown, given["--as"] = given["--as"], ""
        raise Unreadable(f"--as is one of {', '.join(dialects.DIALECTS)}, not {unknown!r}")


def _alarm(seconds: float) -> None:
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _late)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))


def _late(number: int, _frame: object) -> None:
    raise Late("the deadline is over" if number == signal.SIGALRM else "the check was told to end")


def _why(error: BaseException) -> str:
    if isinstance(error, Unreadable):
        return f"Interlock refuses what it cannot judge: {error}"
    return f"Interlock could not judge this and therefore refuses it ({type(error).__name__}: {error})"[:1000]


def _say(answer: Answer) -> int:
    try:
        if answer.out:
            os.write(1, answer.out.encode() + b"\n")
        if answer.err:
            os.write(2, f"interlock: {answer.err}\n".encode())
    except OSError:
        return dialects.REFUSED
    return answer.code


def _answer(given: dict[str, str], until: float) -> Answer:
    text = _read(until)
    asked = dialects.read(text, given["--as"])
    if not asked.operation:
        return dialects.answer(asked, "allow", "")
    try:
        verdict, reason, granted = _judged(asked, native=given["--ask"] == "native", until=until)
    except BaseException as error:  # noqa: BLE001 - closed on failure, now that the words to say it in are known
        return dialects.answer(asked, "deny", _why(error))
    if verdict == "ask" and not asked.can_ask:
        verdict = "deny"
        reason += "; a person must agree, and there is nobody to ask here: `interlock init` gives this project a queue"
    return dialects.answer(asked, verdict, reason, granted=granted)


def _read(until: float) -> bytes:
    """All of standard input, within bounds of size and time."""
    parts: list[bytes] = []
    size = 0
    while select.select([0], [], [], max(until - time.monotonic(), 0))[0]:
        part = os.read(0, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > MAX_INPUT:
            raise Unreadable(f"the event has more than {MAX_INPUT} bytes")
    raise Late("standard input did not end in time")


def _judged(asked: Asked, *, native: bool, until: float) -> tuple[str, str, bool]:
    gate = os.environ.get("INTERLOCK_GATE")
    if gate:
        return _by_gate(asked, gate, until)
    cwd = asked.cwd or os.getcwd()  # noqa: PTH109 - start-up time: pathlib is not needed for anything else
    project = find_project(cwd)
    request = {
        "op": asked.operation, "agent": asked.dialect, "session": asked.session or f"in {project}", "tool": asked.tool,
        "args": asked.args, "native": native and asked.can_ask, "wait_s": max(until - time.monotonic() - _MARGIN_S, 0),
        **({"ok": asked.ok, "output": asked.output} if asked.operation == "after" else {}),
    }  # fmt: skip
    line = json.dumps(request).encode() + b"\n"
    said = _by_server(project, line, until)
    if said is None:
        said = _by_process(project, line, until)
    return str(said.get("verdict", "deny")), str(said.get("reason", "")), said.get("granted") is True


def find_project(start: str) -> str:
    """The nearest directory at or above ``start`` that holds ``interlock.yaml`` or ``.git``; else ``start`` itself."""
    start = os.path.realpath(start)
    place = start
    while True:
        if any(os.path.exists(f"{place}/{name}") for name in ("interlock.yaml", ".git")):  # noqa: PTH110 - start-up time
            return place
        above = os.path.dirname(place)  # noqa: PTH120 - the same
        if above == place:
            return start
        place = above


def socket_name(environment: str) -> str:
    """The server's socket in ``.interlock``; one for each environment that is named. Empty: the name cannot be one."""
    if environment and not environment.replace("-", "").replace("_", "").isalnum():
        return ""
    return f"{_SOCKET}-{environment}.sock" if environment else f"{_SOCKET}.sock"


def _by_server(project: str, line: bytes, until: float) -> dict[str, object] | None:
    """What the running server says; None when there is none."""
    name = socket_name(os.environ.get("INTERLOCK_ENV", ""))
    place = f"{project}/.interlock"
    try:
        if not name or os.lstat(f"{place}/{name}").st_uid != os.getuid():
            return None
        os.chdir(place)  # a socket's whole path is often too long
        connection = _connected(name, until)
    except OSError:
        return None
    with connection:
        return _exchange(connection, line, until)


def _connected(path: str, until: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(max(until - time.monotonic(), 0.01))
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _exchange(connection: socket.socket, line: bytes, until: float) -> dict[str, object]:
    connection.settimeout(max(until - time.monotonic(), 0.01))
    connection.sendall(line)
    return _object(_line(connection, until))


def _line(connection: socket.socket, until: float) -> bytes:
    said = b""
    while not said.endswith(b"\n"):
        connection.settimeout(max(until - time.monotonic(), 0.01))
        part = connection.recv(1 << 16)
        if not part or len(said) > _MAX_ANSWER:
            raise OSError("the answer was cut off")
        said += part
    return said


def _object(text: bytes) -> dict[str, object]:
    said = json.loads(text)
    if not isinstance(said, dict) or "verdict" not in said:
        raise ValueError("the answer makes no sense")
    return said


def isolated(module: str, *args: str) -> list[str]:
    """The command for one of our modules in a fresh process that takes nothing from the project that it runs in."""
    root = os.path.abspath(f"{__file__}/../../../..")  # noqa: PTH100 - start-up time
    code = f"import sys; sys.path.insert(0, {root!r}); from {module} import main; sys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-I", "-c", code, *args]


def _by_process(project: str, line: bytes, until: float) -> dict[str, object]:
    import subprocess  # noqa: PLC0415 - the warm way does without it

    left = max(until - time.monotonic() - _MARGIN_S / 2, 0.01)
    done = subprocess.run(
        isolated("interlock.surfaces.hook.cold", project), input=line, capture_output=True, timeout=left, check=False
    )
    if done.returncode != 0:
        raise OSError(done.stderr.decode(errors="replace").strip()[-500:] or f"status {done.returncode}")
    return _object(done.stdout)


def _by_gate(asked: Asked, gate: str, until: float) -> tuple[str, str, bool]:
    """Ask the attempt's own gate. It knows by the call's name which effect a result belongs to, and a call that two hooks announce."""
    name = asked.call or f"{asked.tool} {json.dumps(asked.args, sort_keys=True)}"
    request: dict[str, object] = {
        "op": "before",
        "call": f"{asked.session} {name}",
        "tool": asked.tool,
        "args": asked.args,
    }
    if asked.operation == "after":
        request = {"op": "after", "call": request["call"], "ok": asked.ok, "output": asked.output}
    with _connected(gate, until) as connection:
        said = _exchange(connection, json.dumps(request).encode() + b"\n", until)
    return ("allow" if said["verdict"] == "allow" else "deny"), str(said.get("reason", "")), False
