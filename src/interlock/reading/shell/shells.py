"""Shells, and what makes one read a text: scripts, ``eval``, ``source``, ``trap``, aliases, ``read``."""

from __future__ import annotations

import re

from interlock.model.risk import RiskLevel
from interlock.reading.shell import holes, texts
from interlock.reading.shell.machine import Machine
from interlock.reading.shell.registry import handles
from interlock.reading.shell.state import Call

SHELLS = frozenset(
    {"sh", "bash", "zsh", "dash", "ksh", "ash", "mksh", "rbash", "fish", "csh", "tcsh", "pwsh", "powershell"}
)
BARE_SHELL = re.compile(
    r"^\s*(?:exec\s+)?(?:sudo\s+)?(?:\S*/)?(?:ba|z|da|k|c|tc|a|fi|mk)?sh\b(?!\S)(?:\s+-\w+)*\s*(?:[<>0-9&\s#;].*)?$",
    re.DOTALL,
)


@handles(*sorted(SHELLS))
def shell(machine: Machine, call: Call) -> str:
    """``sh -c TEXT``, ``sh FILE``, or the text on standard input."""
    args = call.args
    place = 0
    command: int | None = None
    stdin_named = False
    while place < len(args) and args[place][:1] in {"-", "+"} and len(args[place]) > 1:
        flag = args[place]
        if flag in {"-c", "--command", "-Command", "-command"} or (
            flag[1] != "-" and "c" in flag[1:] and flag[0] == "-"
        ):
            command = place + 1
        stdin_named = stdin_named or flag == "-s"
        place += 2 if flag in {"-o", "+o", "-O", "+O", "--rcfile", "--init-file"} else 1
        if flag == "--":
            break
    if flag_encoded := next(
        (arg for arg in args if re.match(r"(?i)^-e(?:nc|ncodedcommand)?$", arg) and "p" in call.name), None
    ):
        machine.report("shell.unresolved.code", RiskLevel.CRITICAL, call.text, f"{flag_encoded} hides a command.")
        return holes.OUTPUT
    if command is not None:
        rest = args[place:] if place >= command else args[command:]
        return machine.run_inside(rest[0], rest[1:] or ["sh"]) if rest else holes.OUTPUT
    if place < len(args) and not stdin_named and args[place] not in {"-", "/dev/stdin"}:
        content = machine.written(args[place])
        return run_script(machine, call, content, args[place:])
    return _from_stdin(machine, call)


def _from_stdin(machine: Machine, call: Call) -> str:
    if call.stdin is None:
        level = RiskLevel.HIGH if machine.wrapped else RiskLevel.MEDIUM
        machine.report("shell.interactive", level, call.text, "An interactive shell would wait for commands.")
        return holes.OUTPUT
    if call.stdin == holes.OUTPUT:
        machine.report(
            "shell.pipe_to_shell", RiskLevel.CRITICAL, call.text, "A shell would execute what a program prints."
        )
        return holes.OUTPUT
    return machine.run_inside(call.stdin)


def run_script(machine: Machine, call: Call, content: str | None, argv: list[str]) -> str:
    """Run a file: what the text wrote into it is read, any other file is opaque."""
    path = argv[0]
    if path.startswith("/dev/fd/"):
        content = machine.files.get(path, holes.OUTPUT)
    if content is None:
        outside = path.startswith(("/tmp", "/dev/shm", "/var/tmp", "http://", "https://", "\\\\"))  # noqa: S108 - a reading, not a use
        level = RiskLevel.HIGH if outside or holes.open_in(path) else RiskLevel.MEDIUM
        machine.report(
            "shell.opaque.script", level, call.text, f"What {holes.shown(path, 40)} does is not visible here."
        )
        return holes.OUTPUT
    if content == holes.OUTPUT:
        machine.report(
            "shell.unresolved.code", RiskLevel.HIGH, call.text, "A script would run whose content is not visible here."
        )
        return holes.OUTPUT
    return machine.run_inside(content, argv)


@handles("eval")
def evaluate(machine: Machine, call: Call) -> str:
    """The arguments are a command."""
    args = call.args[1:] if call.args[:1] == ["--"] else call.args
    text = " ".join(args)
    if text == holes.OUTPUT and machine.last_captured is not None and texts.prints_settings(machine.last_captured):
        machine.report(
            "shell.opaque.settings", RiskLevel.MEDIUM, call.text, "Settings that a program prints are taken over."
        )
        return ""
    return machine.run_again(text)


@handles("source", ".")
def source(machine: Machine, call: Call) -> str:
    """A file is executed here."""
    if not call.args:
        return ""
    path = call.args[0]
    if path in {"/dev/stdin", "/proc/self/fd/0", "/dev/fd/0"} and call.stdin is not None:
        return machine.run_again(call.stdin)
    if path.startswith("/dev/fd/") and machine.files.get(path) == holes.OUTPUT:
        known = machine.last_captured is not None and texts.prints_settings(machine.last_captured)
        level = RiskLevel.MEDIUM if known else RiskLevel.CRITICAL
        machine.report("shell.opaque.settings", level, call.text, "What a program prints is executed.")
        return ""
    content = machine.written(path) if not path.startswith("/dev/fd/") else machine.files.get(path)
    if content is not None and content != holes.OUTPUT:
        return machine.run_again(content)
    return run_script(machine, call, content, call.args)


@handles("trap")
def trap(machine: Machine, call: Call) -> str:
    """The first argument is run later."""
    words = [arg for arg in call.args if arg not in {"--", "-"} and not re.fullmatch(r"-[lp]", arg)]
    if len(words) > 1:
        machine.run_again(words[0])
    return ""


@handles("alias")
def alias(machine: Machine, call: Call) -> str:
    """Remembered as a command; what it would run is judged when it is used, and once now."""
    for arg in call.args:
        name, equals, value = arg.partition("=")
        if equals:
            with machine.trial() as aside:
                machine.run_again(value)
            machine.seen.findings.update(dict.fromkeys(one for one in aside if one.severity >= RiskLevel.HIGH))
            machine.aliases[name] = value
    return ""


@handles("read", "mapfile", "readarray")
def read(machine: Machine, call: Call) -> str:
    """Variables get the input."""
    text = (call.stdin or holes.OUTPUT).strip("\n")
    lines = text.split("\n")
    if call.name != "read" and len(lines) > 1:
        lines = [holes.worst_of(text) or holes.VARIABLE]  # an array of words that are only known when it runs
    names = [word for word in call.form.words if re.fullmatch(r"\w+", word)] or ["REPLY"]
    for name in names:
        values = lines if len(names) == 1 else [holes.worst_of(text)]
        machine.variables[name] = tuple(dict.fromkeys(values[:8]))
    return ""
