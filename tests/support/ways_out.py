"""A stage with things that are not the agent's, and a program that tries from inside to get at them: one for every kind of agent."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from interlock.model.sandbox import SandboxLevel
from interlock.sandbox import ladder

PROGRAM = """
import json, os, socket, subprocess, sys
C = json.load(open(sys.argv[1]))
def tried(action):
    try:
        return bool(action())
    except OSError:
        return False
def write(path):
    with open(path, "w") as file:
        return file.write("pwned") > 0
def through(kind, where):
    with socket.socket(kind, socket.SOCK_STREAM) as connection:
        connection.settimeout(3)
        connection.connect(where)
    return True
def environments():
    texts = []
    for name in os.listdir("/proc"):
        try:
            texts.append(open(f"/proc/{name}/environ").read())
        except (OSError, UnicodeDecodeError):
            pass
    return C["secret"] in "".join([*texts, *os.environ.values()])
out = {
    "read a private file": tried(lambda: open(C["private"]).read()),
    "write a file outside": tried(lambda: write(C["outside"] + "/new")),
    "write to the project": tried(lambda: write(C["project"] + "/app.py")),
    "plant a git hook": tried(lambda: write(C["project"] + "/.git/hooks/post-commit")),
    "read the password hashes": tried(lambda: open("/etc/shadow").read()),
    "find the secret in an environment": tried(environments),
    "end another process": tried(lambda: os.kill(C["neighbour"], 9) is None),
}
if not C["network"]:
    out["connect to a port on the machine"] = tried(lambda: through(socket.AF_INET, ("127.0.0.1", C["port"])))
    out["ask a name server"] = tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)))
subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({C['nap']})"], start_new_session=True,
                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("TRIED", json.dumps({"got out": sorted(name for name, done in out.items() if done), "tried": len(out)}))
"""


@dataclass(kw_only=True)
class Stage:
    """What is where, and what is asserted afterwards."""

    place: Path
    workspace: Path
    project: Path
    nap: float
    port: int
    neighbour: int
    secret: str

    def command(self, *, network: bool) -> str:
        """A shell command that tries every way out; its files lie in the workspace."""
        facts = {
            "private": str(self.place / "outside" / "private"), "outside": str(self.place / "outside"),
            "project": str(self.project), "port": self.port, "neighbour": self.neighbour, "nap": self.nap,
            "secret": self.secret, "network": network,
        }  # fmt: skip
        (self.workspace / "facts.json").write_text(json.dumps(facts))
        (self.workspace / "try.py").write_text(PROGRAM)
        return f"{sys.executable} {self.workspace / 'try.py'} {self.workspace / 'facts.json'}"

    def nothing_got_out(self, said: str) -> None:
        """From what the program printed, and from what is to be seen."""
        line = next((line for line in said.splitlines() if line.startswith("TRIED ")), "")
        assert line, f"it was not tried: {said}"
        found: dict[str, Any] = json.loads(line.removeprefix("TRIED "))
        assert found["tried"] >= 7
        assert found["got out"] == []
        assert [path.name for path in (self.place / "outside").iterdir()] == ["private"]
        assert (self.project / "app.py").read_text() == "ours\n"
        assert psutil.pid_exists(self.neighbour)
        assert self.asleep() == []

    def asleep(self) -> list[int]:
        """What was left behind and still runs."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.status() != psutil.STATUS_ZOMBIE and f"time.sleep({self.nap})" in " ".join(
                    process.cmdline()
                ):
                    found.append(process.pid)
        return found


@contextmanager
def stage(place: Path) -> Iterator[Stage]:
    """A project that is not the workspace, a private file, a neighbour, a port, a secret in our own environment."""
    workspace, project, outside = place / "work", place / "project", place / "outside"
    for folder in (workspace, project / ".git" / "hooks", outside):
        folder.mkdir(parents=True)
    (outside / "private").write_text("private")
    (project / "app.py").write_text("ours\n")
    secret = "-".join(["very", "private", str(os.getpid()), place.name])
    env = {**os.environ, "THE_SECRET": secret}
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], env=env, stdin=subprocess.PIPE) as neighbour,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        try:
            yield Stage(
                place=place, workspace=workspace, project=project, nap=60 + os.getpid() / 1e6, secret=secret,
                port=listener.getsockname()[1], neighbour=neighbour.pid,
            )  # fmt: skip
        finally:
            neighbour.kill()


def on_rung(level: SandboxLevel, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the machine could do no better; where it cannot do this, a skip, and a failure where releases are tested."""
    if sys.platform != "linux" or not ladder.holds(level):
        if os.environ.get("CI") == "true":
            pytest.fail(
                f"{level} does not hold here: the machine that tests releases needs it (apt install bubblewrap)"
            )
        pytest.skip(f"{level} does not hold on this machine")
    monkeypatch.setattr(ladder, "probe", lambda: level)
