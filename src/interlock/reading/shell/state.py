"""What an abstract shell knows while it runs: variables, files that it wrote, and what was seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tree_sitter import Node

from interlock.model.action import Finding, Reading, Scope, Span
from interlock.model.risk import RiskLevel
from interlock.reading.shell import holes
from interlock.reading.shell.rules import NO_OPTIONS, Options, Rules, Shape, load, shape

MAX_BYTES = 64 * 1024
MAX_WORLDS = 16
_MAX_VALUES = 8
_TEMPORARY = "/tmp"  # noqa: S108 - a reading, not a use
_WELL_KNOWN = {
    "HOME": "~", "TMPDIR": _TEMPORARY, "TMP": _TEMPORARY, "TEMP": _TEMPORARY, "USER": "user", "LOGNAME": "user", "UID": "1000",
    "EUID": "1000", "RANDOM": "1", "SECONDS": "1", "LINENO": "1", "PPID": "1", "$": "1", "?": "0", "!": "1", "#": "1",
    "-": "", "SHELL": "/bin/bash", "HOSTNAME": "host", "OSTYPE": "linux-gnu", "BASH": "/bin/bash",
    "BASH_VERSION": "5", "0": "bash", "EPOCHSECONDS": "1", "GITHUB_WORKSPACE": ".",
    "VIRTUAL_ENV": "/opt/venv", "JAVA_HOME": "/usr/lib/jvm/java", "GOPATH": "~/go", "CARGO_HOME": "~/.cargo",
    "NVM_DIR": "~/.nvm", "XDG_CONFIG_HOME": "~/.config", "XDG_CACHE_HOME": "~/.cache", "XDG_RUNTIME_DIR": "/run/user/1000",
}  # fmt: skip
_SECRET_NAME = re.compile(r"(?i)(?:secret|token|passw(?:or)?d|api_?key|access_?key|private_?key|credential)")

SqlReader = Callable[[str, str], Reading]
Out = str
"""What something would print, as far as known."""


class TooMuchError(Exception):
    """Raised when a text would take too many steps to follow."""


@dataclass(slots=True)
class Call:
    """One simple command as it would be executed."""

    name: str
    """The program, canonical: ``python`` for ``/usr/bin/python3.11``."""
    argv: list[str]
    args: list[str]
    """``argv`` without the program."""
    stdin: str | None
    """What would be on standard input; None when it is the terminal."""
    form: Shape
    options: Options

    @property
    def text(self) -> str:
        """The command as one line, holes and all; a report shows it as evidence."""
        return " ".join(self.argv)

    def past_options(self) -> list[str]:
        """The arguments after the wrapper's own options."""
        args = self.args
        place = 0
        while place < len(args):
            arg = args[place]
            if arg == "--":
                return args[place + 1 :]
            if not arg.startswith("-") or arg == "-":
                break
            short = len(arg) > 2 and arg[1] != "-" and "-" + arg[-1] in self.options.valued  # noqa: PLR2004 - a cluster
            place += (
                2
                if arg in self.options.valued
                or (short and not any("-" + letter in self.options.valued for letter in arg[1:-1]))
                else 1
            )
        return args[place:]


@dataclass(slots=True)
class Function:
    """A function that the text defines."""

    body: Node
    source: bytes
    called: bool = False


@dataclass(slots=True)
class _Seen:
    findings: dict[Finding, None] = field(default_factory=dict)
    programs: dict[str, None] = field(default_factory=dict)
    statements: dict[str, None] = field(default_factory=dict)
    paths: dict[str, None] = field(default_factory=dict)
    destinations: dict[str, None] = field(default_factory=dict)


class State:
    """What is known at one moment of a reading."""

    def __init__(self, scope: Scope, sql: SqlReader | None, depth: int) -> None:
        self.scope = scope
        self.sql = sql
        self.rules: Rules = load()
        self.depth = depth
        self.seen = _Seen()
        self.variables: dict[str, tuple[str, ...]] = {}
        self.arrays: dict[str, list[str]] = {}
        self.functions: dict[str, Function] = {}
        self.aliases: dict[str, str] = {}
        self.exported: set[str] = set()
        self.files: dict[str, str] = {}
        """What the text itself wrote into files."""
        self.ifs = " \t\n"
        self.last_captured: str | None = None
        """The source of the substitution that was expanded last."""
        self.raw = b""
        """The text that is being run; the places of nodes count in it."""
        self.world: dict[str, str] = {}
        """The value of each variable of which several are possible, in the command that is being run."""
        self.branch = 0
        self.span: tuple[int, int] | None = None
        """Where the outermost command that is being run stands in the text."""

    def report(self, kind: str, level: RiskLevel, evidence: str, reason: str) -> None:
        """Note a finding."""
        span = Span(start=self.span[0], end=self.span[1]) if self.span else None
        finding = Finding(
            detector="shell", kind=kind, severity=level, evidence=holes.shown(evidence), reason=reason, span=span
        )
        self.seen.findings[finding] = None

    def include(self, reading: Reading) -> None:
        """Take over what another reader saw."""
        self.seen.findings.update(dict.fromkeys(reading.findings))
        self.seen.programs.update(dict.fromkeys(reading.programs))
        self.seen.statements.update(dict.fromkeys(reading.statements))
        self.seen.paths.update(dict.fromkeys(reading.paths))
        self.seen.destinations.update(dict.fromkeys(reading.destinations))

    def reading(self) -> Reading:
        """Everything seen so far."""
        return Reading(
            findings=tuple(self.seen.findings),
            programs=tuple(self.seen.programs),
            statements=tuple(self.seen.statements),
            paths=tuple(self.seen.paths),
            destinations=tuple(self.seen.destinations),
        )

    @contextmanager
    def trial(self) -> Iterator[list[Finding]]:
        """Findings made inside are put aside into the list instead of being reported."""
        kept, aside = self.seen.findings, list[Finding]()
        self.seen.findings = {}
        try:
            yield aside
        finally:
            aside.extend(self.seen.findings)
            self.seen.findings = kept

    def source(self, node: Node) -> str:
        """The text of a node."""
        return self.raw[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def slice(self, start: int, end: int) -> str:
        """The text between two byte offsets."""
        return self.raw[start:end].decode("utf-8", "replace")

    def lookup(self, name: str) -> str:
        """A variable's value in the present world."""
        if name in self.world:
            return self.world[name]
        values = self.variables.get(name)
        if values is not None:
            return values[0] if len(values) == 1 else holes.VARIABLE
        if name == "IFS":
            return self.ifs
        if name == "PWD":
            return "."
        known = _WELL_KNOWN.get(name)
        if known is not None:
            return known
        return holes.SECRET if _SECRET_NAME.search(name) and name.isupper() else holes.VARIABLE

    def array(self, name: str) -> list[str] | None:
        """An array's elements; None when the name is not a known array."""
        return self.arrays.get(name)

    def prompt(self, text: str) -> None:
        """Judge a value that is expanded again, as ``${x@P}`` does."""
        if "$" in text or "`" in text or holes.open_in(text):
            self.report("shell.unresolved.code", RiskLevel.CRITICAL, text, "A value would be expanded as commands.")

    @contextmanager
    def apart(self) -> Iterator[None]:
        """A subshell: what it assigns is only a possibility outside, and its directory is its own."""
        here = self.variables.get("PWD")
        self.branch += 1
        try:
            yield
        finally:
            self.branch -= 1
            if here is None:
                self.variables.pop("PWD", None)
            else:
                self.variables["PWD"] = here

    @contextmanager
    def maybe(self) -> Iterator[None]:
        """What may or may not be run: what it assigns is only a possibility."""
        self.branch += 1
        try:
            yield
        finally:
            self.branch -= 1

    def assign(self, name: str, value: str) -> None:
        """Set a variable; in a branch the old value stays possible."""
        if name == "IFS":
            self.ifs = value if not holes.open_in(value) else " \t\n"
        old = self.variables.get(name, (self.lookup(name),) if name == "PWD" else ())
        if not self.branch and not self.world:
            old = ()
        values = tuple(dict.fromkeys((*old, value)))
        self.variables[name] = values if len(values) <= _MAX_VALUES else (holes.VARIABLE,)
        self.arrays.pop(name, None)

    def directories(self) -> tuple[str, ...]:
        """Every directory that the shell may be in."""
        return self.variables.get("PWD", (".",))

    def move(self, places: list[str]) -> None:
        """Change directory; in a branch the old one stays possible."""
        old = self.directories() if self.branch or self.world else ()
        self.variables["PWD"] = tuple(dict.fromkeys((*old, *places)))[:_MAX_VALUES]

    def call(self, name: str, argv: list[str], stdin: str | None) -> Call:
        """A command with its arguments told apart."""
        options = self.rules.options.get(name, NO_OPTIONS)
        args = argv[1:]
        return Call(name, argv, args, stdin, shape(args, options), options)

    def remember(self, path: str, content: str, *, append: bool = False) -> None:
        """Remember what the text wrote into a file; in a branch both contents are possible."""
        path = path.removeprefix("./")
        old = self.files.get(path, "") if append or self.branch else ""
        self.files[path] = (old + ("\n" if old and not old.endswith("\n") else "") + content)[:MAX_BYTES]

    def written(self, path: str) -> str | None:
        """What the text itself wrote into a file; None when it did not."""
        return self.files.get(path.removeprefix("./"))
