"""Inside a sandbox without a network: a port on its own loopback that leads to the proxy's unix socket, for HTTP clients.

Runs as a script of its own (``python -I -S forward.py SOCKET PROGRAM …``), standard library only: a process of its own
forwards, this one becomes the program, with the variables set that HTTP clients look at. An agent that ends the forwarder
only cuts itself off.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

_CHUNK = 1 << 16
_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def main(arguments: Sequence[str]) -> NoReturn:
    """Listen, split in two, become the program."""
    path, *program = arguments
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    child = os.fork()
    if child == 0:
        if os.fork() == 0:  # nobody's child: the program waits for its own only
            _forward(listener, path)
        os._exit(0)
    os.waitpid(child, 0)
    listener.close()
    for name in _VARIABLES:
        os.environ[name] = os.environ[name.lower()] = url
    for name in ("NO_PROXY", "no_proxy"):
        os.environ.pop(name, None)
    try:
        os.execvp(program[0], program)  # noqa: S606 - this is what a launcher does
    except OSError as error:
        sys.stderr.write(f"interlock: {program[0]} could not be started: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(127)


def _forward(listener: socket.socket, path: str) -> NoReturn:
    with open(os.devnull, "r+b") as nothing:  # noqa: PTH123 - pathlib takes too long to load
        for number in (0, 1, 2):  # the program's own are not held open
            os.dup2(nothing.fileno(), number)
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
