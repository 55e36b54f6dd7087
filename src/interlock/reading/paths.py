"""Paths to findings: where a path leads, whatever its spelling, and what is kept there.

Nothing here touches a file system. Symbolic links are resolved by the caller, who knows the machine, and handed in.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
import unicodedata
from functools import lru_cache

from interlock.model.action import Finding, Reading, Scope
from interlock.model.risk import RiskLevel
from interlock.reading.findings import worst_of_each_kind
from interlock.reading.path_places import COMMON, CREDENTIALS, SCRATCH, TEMPLATES, WRITTEN, Place

MEDIUM, HIGH, CRITICAL = RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL

LONGEST = 4096
"""Characters, Linux' PATH_MAX; nothing longer is a path."""
DEEP_CLIMB = 3
"""Steps upwards after which a plain ``../`` in a text is no neighbourly reference any more."""


def read_path(path: str, scope: Scope, *, write: bool, resolved: str = "") -> Reading:
    """What reading, or with ``write`` changing or removing, the file at ``path`` would touch.

    Relative paths count from ``scope.workspace``. ``resolved`` is the absolute path after symbolic links as the caller's
    machine sees it, empty when unknown: it is judged as well, and leaving the workspace through a link is said. Severity:
    secret stores, disguised traversal, system files on write and ``scope.protected`` on write are critical; leaving the
    workspace, other credentials, CI and git files on write are high; lockfiles are medium.
    """
    if len(path) > LONGEST:
        return Reading(findings=(_finding("paths.too_long", CRITICAL, path, "is longer than any path can be"),))
    plain = decode(path)
    findings = [*_disguises(path, plain)]
    place, odd = _placed(plain, scope.workspace)
    findings += odd
    outside = _outside(place, scope)
    if not odd and climbs(plain):
        findings.append(_finding("paths.traversal", HIGH, path, "climbs out of the directory that it starts from"))
    elif outside is True or (outside is None and place.startswith("/")):
        findings += _abroad(place, scope, write=write)
    findings += _kept_there(place, scope, write=write)
    if resolved:
        findings += _linked(resolved, place, scope, write=write)
    return Reading(
        findings=worst_of_each_kind(findings), paths=(place.removeprefix("/") if place.startswith("/~") else place,)
    )


def traversal(text: str) -> tuple[Finding, ...]:
    """Signs of path traversal anywhere in a text that is no path by itself, such as a command line.

    Every encoding that read_path knows is critical; deep climbs, backslashes and climbs to well-known targets are high;
    one or two plain ``../`` are medium, unless they name the program that would run.
    """
    if len(text) > 16 * LONGEST:
        text = text[: 16 * LONGEST]
    findings: list[Finding] = []
    for number, word in enumerate(re.split(r"[\s'\"`|<>()=,]+", text)):
        if not _SUSPECT.search(word) and word.isascii():
            continue
        plain = decode(word[:LONGEST])
        findings += _disguises(word[:LONGEST], plain)
        steps = climbs(plain)
        kept = credential(posixpath.normpath(plain.replace("\\", "/"))) if ".." in plain else None
        if kept is not None:
            findings.append(_finding("paths.traversal", HIGH, word, "leads by steps upwards to what attacks look for"))
        elif steps:
            odd = steps >= DEEP_CLIMB or "\\" in word or "//" in word
            reason = f"climbs {steps} directories up" if number else "of the program is outside of this directory"
            findings.append(_finding("paths.traversal", HIGH if odd or number == 0 else MEDIUM, word, reason))
    return worst_of_each_kind(findings)


_SUSPECT = re.compile(r"\.\.|[%\\]|&#|0x")


def credential(path: str) -> Finding | None:
    """The finding for a place that holds credentials or the like, None for any other path."""
    low = _plain_ends(_lower(decode(path)).split("\0", 1)[0])
    if TEMPLATES.search(low):
        return None
    for place in CREDENTIALS:
        if place.pattern.search(low):
            return _finding(place.kind, place.severity, path, place.reason)
    return None


def matches(path: str, globs: tuple[str, ...]) -> str:
    """The first of ``globs`` that covers ``path`` (relative, ``/``), empty when none. Upper and lower case are the same."""
    low = path.lower().strip("/")
    return next((glob for glob in globs if _glob(glob).fullmatch(low)), "")


@lru_cache(maxsize=1024)
def _glob(glob: str) -> re.Pattern[str]:
    """``**`` any directories, ``*`` within one, ``?`` one character; a directory covers what is in it."""
    low = glob.lower().removeprefix("./").strip("/")
    pattern = ""
    for part in re.findall(r"\*\*/|/\*\*|\*\*|\*|\?|[^*?/]+|/", low):
        pattern += {"**/": "(?:.*/)?", "/**": "(?:/.*)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part) or re.escape(
            part
        )
    return re.compile(rf"{pattern}(?:/.*)?", re.DOTALL)


# --- spelling -------------------------------------------------------------------------------------------------------

_SLASHES = dict.fromkeys("∕⁄⧸／", "/") | dict.fromkeys("∖⧵＼", "\\") | dict.fromkeys("．․﹒。", ".")
_LOOKS = str.maketrans(_SLASHES)
_ENTITIES = {"&sol;": "/", "&bsol;": "\\", "&period;": ".", "&percnt;": "%"}


def decode(path: str) -> str:
    """``path`` with every known encoding of its dots and slashes undone, backslashes kept."""
    for _ in range(5):
        before = path
        if "%" in path:
            path = _percent(path)
        if "\\" in path:
            path = re.sub(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4}))", lambda m: chr(int(m[1] or m[2], 16)), path)
        if "&" in path:
            path = re.sub(
                r"&#(?:x([0-9a-fA-F]{1,4})|(\d{1,5}));?", lambda m: chr(int(m[1], 16) if m[1] else int(m[2])), path
            )
            for entity, char in _ENTITIES.items():
                path = path.replace(entity, char)
        if "0x" in path:
            path = re.sub(r"0x(2e|2f|5c)", lambda m: chr(int(m[1], 16)), path, flags=re.IGNORECASE)
        if not path.isascii():
            path = unicodedata.normalize("NFKC", path.translate(_LOOKS)).translate(_LOOKS)
            path = "".join(c for c in path if unicodedata.category(c) != "Cf")
        if path == before:
            break
    return path


_OVERLONG = re.compile(r"%(?:c([01])|e0%[48]0|f0%80%80|f8%80%80%80|fc%80%80%80%80)%([0-9a-f]{2})", re.IGNORECASE)


def _percent(path: str) -> str:
    path = re.sub(r"%u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), path)
    path = _OVERLONG.sub(_short_form, path)
    path = re.sub(r"%([0-7][0-9a-fA-F])", lambda m: chr(int(m[1], 16)), path)
    return re.sub(r"(?:%[89a-fA-F][0-9a-fA-F])+", _utf8, path)


def _short_form(match: re.Match[str]) -> str:
    low = int(match[2], 16)
    if match[1] == "1":
        return chr(0x40 | (low & 0x3F))
    return chr(low & 0x3F if low >= 0x80 else low)  # noqa: PLR2004 - continuation bytes begin at 0x80


def _utf8(match: re.Match[str]) -> str:
    try:
        return bytes.fromhex(match[0].replace("%", "")).decode()
    except UnicodeDecodeError:
        return match[0]


def climbs(plain: str) -> int:
    """How many directories a decoded path climbs above the one where it starts, 0 for none."""
    depth = lowest = 0
    for segment in re.split(r"[/\\]+", plain.split("\0", 1)[0]):
        name = _OVERLOOKED.sub("", segment).split(";", 1)[0]
        if name == "..":
            depth -= 1
            lowest = min(lowest, depth)
        elif name not in {"", "."}:
            depth += 1
    return -lowest


_OVERLOOKED = re.compile(r"[\x00-\x20\x7f%]")
"""Characters that sloppy programs drop from names."""
_NEVER_UTF8 = re.compile(
    r"%(?:25)*(?:c[01]|e0%(?:25)*[48]0|f[08c](?:%(?:25)*80){2,4})%(?:25)*(?:[89ab][0-9a-f]|2[ef]|[15]c|9v|8s|qf)",
    re.IGNORECASE,
)
"""Overlong forms: no program writes them but to get past another one."""
_UNREADABLE = re.compile(r"\.\.(?:%\w\w)+")
_DOTS = re.compile(r"(?:^|[/\\])\.\.;|(?:^|[/\\])\.{3}[/\\]+\.{3}[/\\]|(?<!\.)\.{4,}[/\\]|\.\.\.[/\\]+\.\.\.")


def _disguises(path: str, plain: str) -> list[Finding]:
    found = []
    if "\0" in plain:
        found.append(
            _finding(
                "paths.traversal.null", CRITICAL, path, "holds a null byte, after which many programs stop reading"
            )
        )
    if plain != path and (climbs(plain) > climbs(path) or (".." in plain and ".." not in path)):
        found.append(_finding("paths.traversal.encoded", CRITICAL, path, "hides steps upwards in an encoding"))
    elif _UNREADABLE.search(plain) or _NEVER_UTF8.search(path):
        found.append(_finding("paths.traversal.encoded", CRITICAL, path, "hides its separators in a broken encoding"))
    if _DOTS.search(plain):
        found.append(
            _finding("paths.traversal.dots", CRITICAL, path, "is made so that a filter turns it into steps upwards")
        )
    if re.search(r"[\x01-\x1f\x7f]", path) or any(unicodedata.category(c) == "Cf" for c in path if c > "\x7f"):
        found.append(_finding("paths.hidden", HIGH, path, "holds characters that nobody sees"))
    return found


# --- place ----------------------------------------------------------------------------------------------------------

_HOME = re.compile(
    r"^(?:~(?=[/\\]|$)|\$\{?HOME\}?(?=[/\\]|$)|%(?:USERPROFILE|HOMEPATH)%(?=[/\\]|$)|\$env:USERPROFILE(?=[/\\]|$))"
)


def _placed(plain: str, workspace: str) -> tuple[str, list[Finding]]:
    """The path in one spelling (absolute when that can be told), and what is odd about how it was given."""
    raw = plain.split("\0", 1)[0]
    found = []
    scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]+):(?=//|[^\\/]*:)", raw)
    if raw.lower().startswith("file:"):
        raw = "/" + re.sub(r"^file:/*(?:localhost/+)?", "", raw, flags=re.IGNORECASE)
    elif scheme:
        found.append(_finding("paths.scheme", HIGH, raw, f"is no file's path: {scheme[1]} is read by another program"))
    elif re.match(r"\\\\|//[?.]/", raw):
        found.append(
            _finding("paths.network", HIGH, raw, "leads to another machine, or past the path rules of Windows")
        )
    elif re.match(r"~[\w.-]+", raw):
        found.append(_finding("paths.home", HIGH, raw, "is another person's home"))
    raw = raw.replace("\\", "/")
    if _HOME.match(raw):
        raw = _HOME.sub("/~", raw)
    drive = re.match(r"[a-zA-Z]:", raw)
    absolute = raw.startswith("/") or drive is not None
    if not absolute and workspace:
        raw = posixpath.join(workspace, raw)
    normal = posixpath.normpath(raw) if raw else workspace
    if normal.startswith("//"):
        normal = normal[1:]
    return _plain_ends(normal), found


def _plain_ends(path: str) -> str:
    """Without what Windows overlooks at the end of names: dots, spaces, streams."""
    path = re.sub(r"::\$\w+$", "", path)
    return "/".join(part.rstrip(" .") or part for part in path.split("/"))


def _outside(place: str, scope: Scope) -> bool | None:
    """Whether ``place`` is out of the workspace and of what is granted besides; None when that cannot be told."""
    if not scope.workspace:
        return None
    root = posixpath.normpath(scope.workspace.replace("\\", "/"))
    inside = place == root or place.startswith(root.rstrip("/") + "/")
    return not inside and not any(fnmatch.fnmatchcase(place, glob) for glob in scope.granted)


def _abroad(place: str, scope: Scope, *, write: bool) -> list[Finding]:
    if write:
        severity = MEDIUM if SCRATCH.search(place) or not scope.workspace else HIGH
    elif COMMON.search(place):
        return []
    else:
        severity = HIGH if scope.workspace else MEDIUM
    return [_finding("paths.outside", severity, place, "is outside of the workspace")]


def _kept_there(place: str, scope: Scope, *, write: bool) -> list[Finding]:
    found = []
    kept = credential(place)
    if kept is not None:
        found.append(kept)
    if not write:
        return found
    root = posixpath.normpath(scope.workspace) if scope.workspace else ""
    inside = place.removeprefix(root) if root and _outside(place, scope) is False else place
    glob = matches(inside, scope.protected)
    if glob:
        found.append(_finding("paths.protected", CRITICAL, place, f"is protected by {glob}: only people change it"))
    low = _lower(inside if inside != place else place)
    found += [_written(kind, place) for kind in WRITTEN if kind.pattern.search(low)]
    return found


def _written(kind: Place, place: str) -> Finding:
    return _finding(kind.kind, kind.severity, place, kind.reason)


def _linked(resolved: str, place: str, scope: Scope, *, write: bool) -> list[Finding]:
    real = posixpath.normpath(resolved.replace("\\", "/"))
    if real == place:
        return []
    found = _kept_there(real, scope, write=write)
    if _outside(real, scope) is True and _outside(place, scope) is False:
        severity = CRITICAL if write else HIGH
        found.append(_finding("paths.symlink", severity, f"{place} -> {real}", "leaves the workspace through a link"))
    return found


def _lower(path: str) -> str:
    return path.replace("\\", "/").lower()


def _finding(kind: str, severity: RiskLevel, evidence: str, reason: str) -> Finding:
    shown = "".join(c if c.isprintable() else "�" for c in evidence)
    short = shown if len(shown) <= 100 else f"{shown[:99]}…"  # noqa: PLR2004 - a line on a screen
    return Finding(detector="paths", kind=kind, severity=severity, evidence=short, reason=f"The path {reason}.")
