"""Inside a sandbox: ports on loopback that lead to unix sockets outside, for programs that speak HTTP.

Runs as a script of its own (``python -I -S forward.py VARIABLE,…=SOCKET … -- PROGRAM …``), standard library only: a process
of its own forwards, this one becomes the program, with the variables set to the ports' URLs. What a variable holds already
is the path that its URL gets. An agent that ends the forwarder only cuts itself off.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import NoReturn

_CHUNK = 1 << 16
_HERE = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
"""Not the address that services of the machine have: what a proxy leads to is then never mistaken for one of these ports."""


def main(arguments: Sequence[str]) -> NoReturn:
    """Listen, split in two, become the program."""
    place = arguments.index("--")
    doors = [argument.split("=", 1) for argument in arguments[:place]]
    program = list(arguments[place + 1 :])
    listeners = {socket.create_server((_HERE, 0)): path for _, path in doors}
    urls = [f"http://{_HERE}:{listener.getsockname()[1]}" for listener in listeners]
    child = os.fork()
    if child == 0:
        if os.fork() == 0:  # nobody's child: the program waits for its own only
            _forward(listeners)
        os._exit(0)
    os.waitpid(child, 0)
    for listener in listeners:
        listener.close()
    for (names, _), url in zip(doors, urls, strict=True):
        for name in names.split(","):
            os.environ[name] = url + os.environ.get(name, "")
    proxied = any("HTTP_PROXY" in names for names, _ in doors)
    for name in ("NO_PROXY", "no_proxy"):
        others = "" if proxied else os.environ.get(name, "")  # without a network all goes by the proxy, or nowhere
        os.environ[name] = f"{others},{_HERE}".lstrip(",")
    try:
        os.execvp(program[0], program)  # noqa: S606 - this is what a launcher does
    except OSError as error:
        sys.stderr.write(f"interlock: {program[0]} could not be started: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(127)


def _forward(listeners: Mapping[socket.socket, str]) -> NoReturn:
    with open(os.devnull, "r+b") as nothing:  # noqa: PTH123 - pathlib takes too long to load
        for number in (0, 1, 2):  # the program's own are not held open
            os.dup2(nothing.fileno(), number)
    first, *others = listeners.items()
    for door in others:
        threading.Thread(target=_serve, args=door, daemon=True).start()
    _serve(*first)


def _serve(listener: socket.socket, path: str) -> NoReturn:
    while True:
        here, _ = listener.accept()
        there = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            there.connect(path)
        except OSError:
            here.close()
            continue
        for source, target in ((here, there), (there, here)):
            threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK):
            target.sendall(chunk)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main(sys.argv[1:])
