"""Hosts with a name and a network of their own on one machine, and a real Postgres that they reach over a cable.

A host is a process that sleeps inside new namespaces and ends by itself: whatever becomes of the test, its network goes with it.
The machine's own network is never touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from postgres import server_at

_LIFE_S = 300
_TOOLS = ("unshare", "nsenter", "ip", "setpriv")


def why_not() -> str:
    """Why this machine cannot have hosts on it; empty when it can."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if sys.platform != "linux" or missing:
        return f"network namespaces need Linux and {', '.join(missing or _TOOLS)}"
    probe = "ip link add il-probe-0 type veth peer name il-probe-1"
    made = subprocess.run(["unshare", "--net", "--uts", "sh", "-c", probe], capture_output=True, text=True, check=False)
    return f"this process may not make networks: {made.stderr.strip()}" if made.returncode or os.geteuid() else ""


@dataclass(kw_only=True)
class Host:
    """One host. ``cut`` pulls its cable out of the hub, ``join`` puts it back."""

    name: str
    life: subprocess.Popen[bytes]
    cable: str = ""
    hub: Host | None = None
    store_url: str = ""
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def inside(self, *command: str) -> list[str]:
        """The command that runs this one on the host."""
        return ["nsenter", "-t", str(self.life.pid), "--net", "--uts", "--", *command]

    def run(self, *command: str) -> None:
        subprocess.run(self.inside(*command), check=True, capture_output=True)

    def start(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        env = {**os.environ, "INTERLOCK_STORE_URL": self.store_url}
        with log.open("ab") as out:
            process = subprocess.Popen(self.inside(*command), env=env, stdout=out, stderr=out)
        self.started.append(process)
        return process

    def cut(self) -> None:
        self._cable("down")

    def join(self) -> None:
        self._cable("up")

    def _cable(self, how: str) -> None:
        assert self.hub is not None
        self.hub.run("ip", "link", "set", self.cable, how)

    def end(self) -> None:
        """End everything on it: the hub's Postgres in order, workers at once."""
        for process in self.started:
            process.send_signal(signal.SIGINT if self.hub is None else signal.SIGKILL)
        for process in self.started:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.life.kill()
        self.life.wait()


@dataclass(kw_only=True)
class Company:
    """Hosts around one store: ``url`` is for this process, which reaches it through a socket in the file system."""

    url: str
    hosts: tuple[Host, ...]


@contextlib.contextmanager
def company(*names: str) -> Iterator[Company]:
    """A hub with a Postgres and a host for each name, each on a cable and in a network of its own."""
    place = Path(tempfile.mkdtemp(prefix="interlock-hosts-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        hub = _host("hub")
        stack.callback(hub.end)
        url = _postgres(place, hub)
        hosts = []
        for number, name in enumerate(names, start=1):
            host = _host(name)
            stack.callback(host.end)
            _connect(hub, host, number)
            hosts.append(host)
        yield Company(url=url, hosts=tuple(hosts))


def _host(name: str) -> Host:
    sleep = f"import socket, time; socket.sethostname({name!r}); print(flush=True); time.sleep({_LIFE_S})"
    life = subprocess.Popen(["unshare", "--net", "--uts", sys.executable, "-c", sleep], stdout=subprocess.PIPE)
    assert life.stdout is not None
    life.stdout.readline()
    life.stdout.close()
    host = Host(name=name, life=life)
    host.run("ip", "link", "set", "lo", "up")
    return host


def _connect(hub: Host, host: Host, number: int) -> None:
    host.hub, host.cable = hub, f"cable{number}"
    hub.run("ip", "link", "add", host.cable, "type", "veth", "peer", "name", "up0", "netns", str(host.life.pid))
    hub.run("ip", "addr", "add", f"10.77.{number}.1/24", "dev", host.cable)
    hub.run("ip", "link", "set", host.cable, "up")
    host.run("ip", "addr", "add", f"10.77.{number}.2/24", "dev", "up0")
    host.run("ip", "link", "set", "up0", "up")
    host.store_url = f"postgresql://postgres@10.77.{number}.1:5432/postgres"


def _postgres(place: Path, hub: Host) -> str:
    """A server on the hub; returns its URL for this process."""
    data = place / "data"
    server = server_at(data, start=False)
    server.ensure_pgdata_inited()
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 10.77.0.0/16 trust\n")
    program = str(server.bin_path / "postgres")
    command = [program, "-D", str(data), "-k", str(data), "-c", "listen_addresses=*", "-c", "fsync=off"]
    if server.system_user is not None:
        command = ["setpriv", f"--reuid={server.system_user}", "--clear-groups", "--", *command]
    started = hub.start(*command, log=place / "postgres.log")
    url = f"postgresql+psycopg://postgres@/postgres?host={data}"
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    give_up = time.monotonic() + 20
    while True:
        try:
            engine.connect().close()
        except sa.exc.OperationalError:
            if started.poll() is not None or time.monotonic() > give_up:
                raise AssertionError((place / "postgres.log").read_text()) from None
            time.sleep(0.1)
        else:
            return url
