"""Where a path leads, and what reading, writing or deleting there means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import unquote

from interlock.model.risk import RiskLevel
from interlock.reading.shell import holes

if TYPE_CHECKING:
    from interlock.reading.shell.machine import Machine

_TEMPORARY = ("/tmp", "/var/tmp", "/private/tmp", "/dev/shm")  # noqa: S108 - a reading, not a use
_HARMLESS = frozenset({"/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/zero", "/dev/full", "-", ""})
_DEVICE = re.compile(r"^/dev/(?!null$|std|tty|zero$|full$|fd/|shm|u?random$|pts/)|^/sys/|^/proc/(?!self/fd)|^\\\\\.\\")
_SYSTEM = re.compile(r"^/(?:etc|usr|bin|sbin|lib\w*|boot|var|opt|root|srv|System|Library|Applications|Windows)(?:/|$)")
_CLIMBS = 3


class Place(StrEnum):
    """Where a path leads."""

    NOWHERE = "nowhere"
    DEVICE = "device"
    ROOT = "root"
    SYSTEM = "system"
    HOME = "home"
    OUTSIDE = "outside"
    TEMPORARY = "temporary"
    TEMPORARY_ROOT = "temporary_root"
    WORKSPACE_ROOT = "workspace_root"
    INSIDE = "inside"
    UNKNOWN = "unknown"


def resolve(path: str, directory: str, workspace: str = "") -> str:
    """``path`` as seen from ``directory``; relative to the workspace when it lies in it, with leading ``..`` otherwise."""
    path = path.removeprefix("file://")
    joined = path if path.startswith(("/", "~")) else f"{directory}/{path}"
    parts: list[str] = []
    absolute = joined.startswith("/")
    for part in joined.split("/"):
        if part in {"", "."}:
            continue
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part != ".." or not absolute:
            parts.append(part)
    result = ("/" if absolute else "") + "/".join(parts)
    if workspace and not absolute and result.startswith(".."):
        result = resolve(result, workspace)
    if workspace and (result == workspace or result.startswith(workspace.rstrip("/") + "/")):
        return result[len(workspace.rstrip("/")) :].lstrip("/") or "."
    return result or ("/" if absolute else "..") if joined.startswith("~") or absolute else result or "."


_IN_TEMPORARY = re.compile(r"(?:/private)?(?:/var)?/tmp/*(?:$|(?<=/)(.+))|/dev/shm/*(?:$|(?<=/)(.+))", re.DOTALL)


def place_of(path: str) -> Place:
    """The place of a resolved path."""
    if path in _HARMLESS:
        return Place.NOWHERE
    head = path.split("/", 2)[1] if path.startswith("/") and path != "/" else path.split("/", 1)[0]
    if holes.open_in(head):
        return Place.UNKNOWN
    if path in {"/", "/*", "/.*", "/.."} or re.fullmatch(r"/\*.*|[A-Za-z]:[\\/]*\*?", path):
        return Place.ROOT
    if path.startswith(_TEMPORARY) and (match := _IN_TEMPORARY.match(path)) is not None:
        return Place.TEMPORARY if (match[1] or match[2]) else Place.TEMPORARY_ROOT
    if _DEVICE.search(path):
        return Place.DEVICE
    if _SYSTEM.search(path):
        return Place.SYSTEM
    if path.startswith(("~", "/home", "/Users")):
        return Place.HOME
    if path.startswith("/") or path.split("/", maxsplit=1)[0] == ".." or re.match(r"[A-Za-z]:[\\/]", path):
        return Place.OUTSIDE
    return Place.WORKSPACE_ROOT if path in {".", "*", ".*", "**", ".git", "{*,.*}", "..?*"} else Place.INSIDE


def everywhere(machine: Machine, path: str) -> Iterator[str]:
    """The path resolved from every directory that the shell may be in."""
    for directory in machine.directories():
        yield resolve(path, directory, machine.scope.workspace)


def seen_at(machine: Machine, path: str) -> Place:
    """The place of a resolved path, where what the project grants outside of the workspace counts as inside of it."""
    place = place_of(path)
    granted = machine.scope.granted
    if not granted or place in {Place.NOWHERE, Place.INSIDE, Place.UNKNOWN, Place.WORKSPACE_ROOT}:
        return place
    if holes.open_in(path) or ".." in path.split("/"):
        return place
    return Place.INSIDE if any(fnmatchcase(path, glob) for glob in granted) else place


def built(machine: Machine, path: str) -> bool:
    """Whether the path lies in something that a build makes again."""
    names = machine.rules.sets["build_dirs"]
    parts = path.split("/")
    return any(
        part in names or part.endswith((".egg-info", ".dist-info")) or part.startswith("cmake-build-") for part in parts
    )


def protected(machine: Machine, path: str) -> bool:
    """Whether only people change this file."""
    return any(
        fnmatchcase(path, glob) or fnmatchcase(path.rsplit("/", maxsplit=1)[-1], glob)
        for glob in machine.scope.protected
    )


_RECURSIVE = {
    Place.ROOT: (RiskLevel.CRITICAL, "Everything on the machine would be deleted."),
    Place.SYSTEM: (RiskLevel.CRITICAL, "A directory of the system would be deleted."),
    Place.DEVICE: (RiskLevel.CRITICAL, "Device files would be deleted."),
    Place.HOME: (RiskLevel.CRITICAL, "Files in a home directory would be deleted."),
    Place.OUTSIDE: (RiskLevel.CRITICAL, "A directory outside the workspace would be deleted."),
    Place.WORKSPACE_ROOT: (RiskLevel.CRITICAL, "The whole workspace would be deleted."),
    Place.UNKNOWN: (RiskLevel.CRITICAL, "What would be deleted is only known when it runs."),
    Place.TEMPORARY_ROOT: (RiskLevel.HIGH, "All temporary files would be deleted."),
    Place.INSIDE: (RiskLevel.HIGH, "A directory of the workspace would be deleted."),
    Place.TEMPORARY: (RiskLevel.MEDIUM, "Temporary files would be deleted."),
}
_SINGLE = {
    **_RECURSIVE,
    Place.HOME: (RiskLevel.HIGH, "A file in a home directory would be deleted."),
    Place.OUTSIDE: (RiskLevel.HIGH, "A file outside the workspace would be deleted."),
    Place.WORKSPACE_ROOT: (RiskLevel.HIGH, "Every file of the directory would be deleted."),
    Place.UNKNOWN: (RiskLevel.HIGH, "Which file would be deleted is only known when it runs."),
    Place.INSIDE: (RiskLevel.MEDIUM, "A file of the workspace would be deleted."),
    Place.TEMPORARY_ROOT: (RiskLevel.MEDIUM, "A temporary file would be deleted."),
}


def judge_delete(machine: Machine, path: str, evidence: str, *, recursive: bool) -> None:
    """Report what deleting this path means."""
    for found in dict.fromkeys(everywhere(machine, path)):
        machine.seen.paths[holes.shown(found)] = None
        place = place_of(found)
        if place is Place.NOWHERE:
            continue
        level, reason = (_RECURSIVE if recursive else _SINGLE)[place]
        if seen_at(machine, found) is not place:
            level, reason = (
                RiskLevel.HIGH,
                "What the project lends its agents would be deleted: no workspace holds a copy.",
            )
        if place is Place.INSIDE and built(machine, found) and not holes.open_in(found):
            level, reason = RiskLevel.MEDIUM, "A build's output would be deleted."
        elif place in {Place.TEMPORARY, Place.INSIDE} and holes.open_in(found):
            level = RiskLevel.HIGH
        if protected(machine, found):
            level, reason = level.at_least(RiskLevel.HIGH), "A protected file would be deleted."
        kind = (
            "shell.unresolved.target"
            if place is Place.UNKNOWN
            else f"shell.delete.{'recursive' if recursive else 'file'}"
        )
        machine.report(kind, level, evidence, reason)


def judge_write(machine: Machine, path: str, evidence: str, *, content: str = "") -> None:
    """Report what writing this path means."""
    patterns = machine.rules.patterns
    for found in dict.fromkeys(everywhere(machine, path)):
        if found.startswith(("/dev/tcp/", "/dev/udp/")):
            _socket(machine, found, evidence, content)
            continue
        place = seen_at(machine, found)
        if place is Place.NOWHERE or found.startswith("/dev/fd/"):
            continue
        machine.seen.paths[holes.shown(found)] = None
        if (traversal := traverses(path)) is not None:
            machine.report("shell.path.traversal", RiskLevel.HIGH, evidence, traversal)
        if patterns["persistence"].search(found):
            machine.report(
                "shell.persistence.file", RiskLevel.HIGH, evidence, "What is written there runs later by itself."
            )
        elif place in {Place.DEVICE, Place.SYSTEM, Place.ROOT}:
            level = RiskLevel.CRITICAL if place is Place.DEVICE or patterns["vital"].search(found) else RiskLevel.HIGH
            machine.report("shell.write.system", level, evidence, "A file of the system would be written.")
        elif place in {Place.HOME, Place.OUTSIDE}:
            level = RiskLevel.HIGH
            machine.report("shell.write.outside", level, evidence, "A file outside the workspace would be written.")
        elif place is Place.UNKNOWN:
            machine.report(
                "shell.write.unresolved", RiskLevel.MEDIUM, evidence, "Where it writes is only known when it runs."
            )
        if protected(machine, found):
            machine.report("shell.write.protected", RiskLevel.HIGH, evidence, "Only people change this file.")


def _socket(machine: Machine, path: str, evidence: str, content: str) -> None:
    host = path.split("/")[3] if path.count("/") >= 3 else ""  # noqa: PLR2004 - /dev/tcp/host
    machine.seen.destinations[holes.shown(host)] = None
    level = RiskLevel.CRITICAL if holes.open_in(content) else RiskLevel.HIGH
    machine.report("shell.network.socket", level, evidence, "The shell itself would talk to another machine.")


def secret_file(machine: Machine, path: str) -> bool:
    """Whether a path names a credential."""
    patterns = machine.rules.patterns
    return bool(patterns["secret_files"].search(path)) and not patterns["not_secret"].search(path)


def judge_read(machine: Machine, path: str, evidence: str) -> str:
    """Report what reading this path means; returns what is known of its content."""
    if path in {"-", ""}:
        return holes.OUTPUT
    if path == "/dev/null":
        return ""
    if path.startswith(("/dev/tcp/", "/dev/udp/")):
        _socket(machine, path, evidence, holes.OUTPUT)
        return holes.DOWNLOAD
    if path.startswith("/dev/fd/"):
        return machine.files.get(path, holes.OUTPUT)
    written = machine.written(path)
    result = written if written is not None else holes.OUTPUT
    for found in dict.fromkeys(everywhere(machine, path)):
        machine.seen.paths[holes.shown(found)] = None
        if (
            secret_file(machine, found)
            or (found != path and secret_file(machine, path))
            or _globbed_secret(machine, found)
        ):
            machine.report("shell.credentials.read", RiskLevel.HIGH, evidence, "A credential would be read.")
            result = holes.SECRET
        elif machine.rules.patterns["accounts"].search(found):
            machine.report(
                "shell.read.accounts", RiskLevel.HIGH, evidence, "The machine's accounts or settings would be read."
            )
    return result


def _globbed_secret(machine: Machine, path: str) -> bool:
    """``/etc/shad?w``: a pattern that covers a credential."""
    if not any(char in path for char in "*?["):
        return False
    pattern = re.sub(r"[\x00-\x03]", "*", path)
    literal = re.sub(r"\[[^\]]*\]|[*?]", "", pattern).strip("/~.")
    if len(literal) < 3:  # noqa: PLR2004 - shorter patterns cover everything
        return bool(re.match(r"/[^/]*[?\[][^/]*/", pattern))
    samples = machine.rules.sets["secret_samples"]
    return any(fnmatchcase(sample, pattern) or fnmatchcase(sample.split("/")[-1], pattern) for sample in samples)


_ENCODED = re.compile(
    r"(?:%2e|%252e|%c0%ae|%c0%2e|%e0%80%ae|%25c0%25ae|%uff0e|%u002e|\.)(?:%00)?"
    r"(?:%2e|%252e|%c0%ae|%c0%2e|%e0%80%ae|%25c0%25ae|%uff0e|%u002e|\.)(?:%00)?"
    r"(?:%2f|%5c|%252f|%255c|%c0%af|%c0%5c|%c0%2f|%c1%9c|%c1%1c|%c1%8s|%c1%af|%c0%9v|%c0%qf|%u2215|%u2216|%uf025|"
    r"%25c1%259c|%25c0%25af|%e0%80%af|%bg%qf|0x2f|0x5c|[\\/]|%)",
    re.IGNORECASE,
)
_OVERLONG = re.compile(r"%(?:25)?(?:c0|c1|e0%80|f0%80|u22|uff)", re.IGNORECASE)


def traverses(word: str) -> str | None:
    """Why a word looks like a way out of a directory; None when it does not."""
    if ".." not in word and "%" not in word:
        return None
    if "%00" in word and "/" in word:
        return "A path is cut short by a zero byte."
    if "%" in word or "0x" in word:
        if _ENCODED.search(word) and (re.search(r"(?i)%2e|%25|%c0|%c1|%e0|%u|%5c|%2f|%00|0x", word)):
            return "A path climbs out of its directory in an encoded form."
        if _OVERLONG.search(word) and re.search(r"[\\/]|\.\.", word):
            return "A path is written in an encoding that no honest program uses."
        word = unquote(word)
    if word.startswith(("http://", "https://")) and "/.." not in word:
        return None
    if re.search(r"(?:^|[\\/])\.{2,}\\", word):
        return "A path climbs out of its directory in another system's spelling."
    climbs = len(re.findall(r"(?:^|[\\/:=])\.\.+(?=[\\/]|$)", word))
    if climbs >= _CLIMBS or (
        climbs and re.search(r"(?i)(?:etc/|passwd|shadow|boot\.ini|win\.ini|winnt|/proc/|\.ssh)", word)
    ):
        return "A path climbs far out of its directory."
    return None
