"""What every sandboxed process may see: the system's programs, this Python, and the few settings that programs need."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
"""Programs and libraries; nothing that belongs to a user."""
SETTINGS = (
    "alternatives", "ca-certificates", "crypto-policies", "group", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
    "localtime", "mime.types", "nsswitch.conf", "os-release", "passwd", "pki/ca-trust", "pki/tls/certs", "protocols",
    "services", "ssl/certs", "ssl/openssl.cnf", "timezone",
)  # fmt: skip
"""Of /etc only these: the rest holds keys, hashes and the configuration of services."""
NETWORK_SETTINGS = ("gai.conf", "host.conf", "resolv.conf")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
FACTS = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems", "/proc/loadavg", "/proc/uptime",
         "/proc/version", "/proc/sys/kernel/osrelease", "/proc/sys/vm/overcommit_memory", "/sys/devices/system/cpu")  # fmt: skip
"""Where /proc is shared with all processes: nothing of others, whose command lines may hold secrets."""
LAUNCHER = Path(__file__).with_name("launcher.py")
FORWARDER = Path(__file__).with_name("forward.py")

_INHERITED = frozenset({"PATH", "LANG", "LANGUAGE", "TZ", "TERM", "COLORTERM", "NO_COLOR"})


def readable_paths(*, network: bool) -> list[Path]:
    """The paths that exist on this machine and may be read by all."""
    settings = [Path("/etc", name) for name in (*SETTINGS, *(NETWORK_SETTINGS if network else ()))]
    python = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent, LAUNCHER, FORWARDER]
    return [path for path in (*map(Path, SYSTEM), *settings, *python) if path.exists()]


def program_paths(program: str) -> list[Path]:
    """What a program needs to be read besides the system's: itself, and the environment that it is installed in (Python's, npm's)."""
    found = shutil.which(program)
    if found is None:
        return []
    paths = [Path(found).absolute().parent, Path(found).resolve().parent]
    for folder in list(paths):
        settings = folder.parent / "pyvenv.cfg"
        if settings.is_file():
            home = re.search(r"^home\s*=\s*(.+)$", settings.read_text(encoding="utf-8"), re.MULTILINE)
            paths += [folder.parent, *([Path(home[1].strip()).resolve().parent] if home else [])]
        paths += [parent for parent in folder.parents if parent.name == "node_modules"]
    return [path for path in dict.fromkeys(paths) if path.parent != path and path != Path.home()]


def environment(scratch: Path, added: Mapping[str, str]) -> dict[str, str]:
    """The environment by allow-list; ``added`` is what the caller grants by name."""
    ours = {name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith("LC_")}
    ours.setdefault("PATH", os.defpath)
    ours["GIT_CONFIG_NOSYSTEM"] = "1"  # the machine's git configuration may hold credentials, and is not granted
    return {**ours, "HOME": str(scratch / "home"), "TMPDIR": str(scratch / "tmp"), **added}
