"""The last step before an agent's program: raises the walls around itself, then becomes the program.

Runs as a script of its own (``python -I -S launcher.py SPEC PROGRAM …``), because code between fork and exec in a process
with threads is not safe; so it uses the standard library only. Numbers are Linux's (``linux/landlock.h``,
``linux/seccomp.h``, ``linux/prctl.h``, the system call tables). If a wall that SPEC asks for cannot be raised, the program
does not start: exit 126.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

CANNOT_CONTAIN, NOT_FOUND = 126, 127

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER = 1, 38, 22, 24, 36
_CAPABILITY_VERSION_3 = 0x20080522
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read file, read directory
_FILE_ONLY = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # what may be granted on something that is not a directory
_ALL_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_ABI, _SCOPE_ABI = 4, 6

# name: numbers on x86_64 and aarch64, None where there is none
_DENIED: dict[str, tuple[int | None, int]] = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "setns": (308, 268), "unshare": (272, 97), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225),
    "acct": (163, 89), "quotactl": (179, 60), "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266), "open_by_handle_at": (304, 265), "syslog": (103, 116), "vhangup": (153, 58),
    "iopl": (172, -1), "ioperm": (173, -1),
}  # fmt: skip
_MISSING: dict[str, tuple[int, int]] = {
    # said not to exist, so that callers fall back: flags of clone3 cannot be read, io_uring does I/O past these rules
    "clone3": (435, 435), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
}  # fmt: skip
_SOCKET, _CLONE, _IOCTL = (41, 198), (56, 220), (16, 29)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_NEW_NAMESPACES = 0x7E020000 | 0x00000080
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_UNIX, _INET, _INET6 = 1, 2, 10
_LOAD, _EQUAL, _GREATER_EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_X32 = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


class CannotContainError(Exception):
    """Raised when a wall cannot be raised."""


def main(arguments: Sequence[str]) -> NoReturn:
    """Raise the walls that the first argument (JSON) asks for, then become the rest."""
    spec, program = json.loads(arguments[0]), list(arguments[1:])
    _supervise()
    try:
        _contain(spec)
    except (CannotContainError, OSError, ValueError) as error:
        _leave(CANNOT_CONTAIN, f"interlock: the walls could not be raised: {error}")
    try:
        os.execvp(program[0], program)  # noqa: S606 - this is what a launcher does
    except OSError as error:
        _leave(NOT_FOUND, f"interlock: {program[0]} could not be started: {error.strerror}")


def _contain(spec: dict[str, Any]) -> None:
    for name, value in spec["rlimits"].items():
        which = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(which)
        wanted = value + _tasks_of(os.getuid()) if name == "NPROC" and os.getuid() else value
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(which, (most, most))
    if sys.platform != "linux":
        return
    _drop_privileges()
    if spec["landlock"] is not None:
        _landlock(spec["landlock"])
    wall = spec["seccomp"]
    try:
        _seccomp(seccomp_filter(inet=wall["inet"], unix=wall["unix"]))
    except CannotContainError:
        if wall["required"]:
            raise


def _tasks_of(user: int) -> int:
    """How many tasks the user has already: the kernel counts them all together."""
    count = 0
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - pathlib takes too long to load
        with contextlib.suppress(OSError, KeyError, IndexError):
            lines = dict(line.split(b":\t", 1) for line in _read(f"/proc/{name}/status").splitlines() if b":\t" in line)
            count += int(lines[b"Threads"]) if int(lines[b"Uid"].split()[0]) == user else 0
    return count


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib takes too long to load
        return file.read()


def _drop_privileges() -> None:
    """No capabilities, and none to be had from set-user-id programs."""
    for number in range(64):
        _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    if _libc.capset(header, struct.pack("6I", *[0] * 6)) != 0:
        raise CannotContainError(f"capset: {os.strerror(ctypes.get_errno())}")
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise CannotContainError(f"no_new_privs: {os.strerror(ctypes.get_errno())}")


def landlock_abi() -> int:
    """The version of landlock in this kernel, 0 without."""
    return max(0, int(_libc.syscall(ctypes.c_long(_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint(1))))


def _landlock(grants: dict[str, list[str]]) -> None:
    abi = landlock_abi()
    if abi < 1:
        raise CannotContainError("this kernel has no landlock")
    everything = _ALL_BY_ABI[min(abi, max(_ALL_BY_ABI))]
    network = 3 if abi >= _NET_ABI and not grants["network"] else 0  # bind and connect of TCP
    scope = 3 if abi >= _SCOPE_ABI else 0  # abstract sockets, signals
    fields = [everything, network, scope][: 3 if abi >= _SCOPE_ABI else 2 if abi >= _NET_ABI else 1]
    attributes = struct.pack(f"{len(fields)}Q", *fields)
    ruleset = _called(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0))
    for kind, rights in (("read", _READ), ("write", everything), ("device", 1 << 1 | 1 << 2 | (everything & 1 << 15))):
        for path in grants[kind]:
            _grant(ruleset, path, rights)
    _called(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0))
    os.close(ruleset)


def _grant(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        allowed = rights if os.path.isdir(path) else rights & _FILE_ONLY  # noqa: PTH112 - pathlib takes too long to load
        rule = struct.pack("=Qi", allowed, place)
        _called(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint(0))
    finally:
        os.close(place)


def _called(number: int, *arguments: Any) -> int:
    answer = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if answer < 0:
        raise CannotContainError(f"landlock ({number}): {os.strerror(ctypes.get_errno())}")
    return answer


def seccomp_filter(*, inet: bool, unix: bool) -> bytes:
    """The rules that deny calls which reach into other processes, the kernel or the network; the answer is an error, not a kill.

    Raises:
        CannotContainError: when there is no table of system calls for this machine.
    """
    if os.uname().machine not in _ARCHITECTURES:
        raise CannotContainError(f"no table of system calls for {os.uname().machine}")
    column, architecture = _ARCHITECTURES[os.uname().machine]
    code = _Filter()
    code.add(_LOAD, 4)
    code.add(_EQUAL, architecture, yes=1)
    code.add(_RETURN, _KILL)
    code.add(_LOAD, 0)
    if column == 0:
        code.test(_GREATER_EQUAL, _X32, errno.ENOSYS)
    for table, answer in ((_DENIED, errno.EPERM), (_MISSING, errno.ENOSYS)):
        for numbers in table.values():
            number = numbers[column]
            if number is not None and number >= 0:
                code.test(_EQUAL, number, answer)
    code.argument(_CLONE[column], 0, [(_ANY_BIT, _NEW_NAMESPACES, False)])
    code.argument(_IOCTL[column], 1, [(_EQUAL, _TIOCSTI, False), (_EQUAL, _TIOCLINUX, False)])
    families = ([_UNIX] if unix else []) + ([_INET, _INET6] if inet else [])
    code.argument(_SOCKET[column], 0, [(_EQUAL, family, True) for family in families], otherwise=errno.EPERM)
    code.add(_RETURN, _ALLOW)
    return code.code


def _seccomp(code: bytes) -> None:
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    if _libc.prctl(_PR_SET_SECCOMP, 2, ctypes.c_char_p(program), 0, 0) != 0:
        raise CannotContainError(f"seccomp: {os.strerror(ctypes.get_errno())}")


class _Filter:
    """A program of classic BPF."""

    def __init__(self) -> None:
        self.code = b""

    def add(self, operation: int, value: int, *, yes: int = 0, no: int = 0) -> None:
        self.code += struct.pack("HBBI", operation, yes, no, value)

    def test(self, operation: int, value: int, answer: int) -> None:
        """Where the test holds the call fails with ``answer``."""
        self.add(operation, value, no=1)
        self.add(_RETURN, _ERRNO | answer)

    def argument(self, number: int, place: int, tests: list[tuple[int, int, bool]], *, otherwise: int = 0) -> None:
        """Judge one argument (its low half: these are all 32 bits wide) of one call."""
        inside = 1 + 2 * len(tests) + 1
        self.add(_EQUAL, number, no=inside)
        self.add(_LOAD, 16 + 8 * place)
        for operation, value, good in tests:
            self.add(operation, value, no=1)
            self.add(_RETURN, _ALLOW if good else _ERRNO | errno.EPERM)
        self.add(_RETURN, _ERRNO | otherwise if otherwise else _ALLOW)


def _supervise() -> None:
    """Split in two: the child goes on and becomes the program, this one outlives it and ends all that it has started.

    Without a process namespace a program can leave its group and its parent; as the adopter of orphans we find it all.
    """
    if sys.platform != "linux":
        return
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(CANNOT_CONTAIN)
        return
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, _ender(parent))
    code = _wait_for(child)
    _end_descendants(parent)
    os._exit(code)


def _wait_for(child: int) -> int:
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _ender(me: int) -> Callable[[int, Any], None]:
    def end(number: int, _: Any) -> None:
        _end_descendants(me)
        os._exit(128 + number)

    return end


def _end_descendants(root: int) -> None:
    """Stop them all before killing, so that none can fork away; again until none is left.

    A look through /proc may miss one whose parent dies meanwhile: only that we have no child any more says that all are gone.
    """
    for _ in range(1000):
        found = _descendants(root)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in found:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, number)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            if not found:
                return


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - pathlib takes too long to load
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, parent = _read(f"/proc/{name}/stat").rpartition(b")")[2].split()[:2]
            if state != b"Z":
                children.setdefault(int(parent), []).append(int(name))
    found, due = [], [root]
    while due:
        below = children.get(due.pop(), [])
        found += below
        due += below
    return found


def _leave(code: int, words: str) -> NoReturn:
    sys.stderr.write(words + "\n")
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
