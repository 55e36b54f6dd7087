"""Programs that run another one with changed rights, surroundings or arguments."""

from __future__ import annotations

import re
import shlex

from interlock.model.risk import RiskLevel
from interlock.reading.shell import holes
from interlock.reading.shell.assignments import setting
from interlock.reading.shell.machine import Machine
from interlock.reading.shell.places import judge_write
from interlock.reading.shell.registry import WRAPPERS, wraps
from interlock.reading.shell.rules import has_flag
from interlock.reading.shell.shells import BARE_SHELL, SHELLS
from interlock.reading.shell.state import Call

_SLOT = re.compile(r"\{[./#%0-9]*\}")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_ELSEWHERE = frozenset(
    {"docker", "kubectl", "ssh", "tmux", "screen", "ctr", "lxc", "exec", "command", "sudo", "doas", "script"}
)
"""Where a person would open a shell on purpose, or what judges it by itself."""


def wrapper(machine: Machine, call: Call) -> None:
    """Run the command inside a wrapper."""
    special = WRAPPERS.get(call.name)
    here = call.name not in _ELSEWHERE
    machine.wrapped += here
    try:
        if special is not None:
            special(machine, call)
        else:
            _run_inner(machine, call.past_options()[call.options.skip :], call.stdin)
    finally:
        machine.wrapped -= here


def _run_inner(machine: Machine, inner: list[str], stdin: str | None) -> None:
    settings: list[tuple[str, str]] = []
    while inner and (match := _ASSIGNMENT.fullmatch(inner[0])) is not None:
        settings.append((match[1], match[2]))
        inner = inner[1:]
    for name, value in settings:
        setting(machine, name, value)
        machine.variables[name] = (value,)
        machine.exported.add(name)
    if inner:
        machine.execute(inner, stdin)


@wraps("env")
def _env(machine: Machine, call: Call) -> None:
    for place, arg in enumerate(call.args):
        match = re.match(r"^(?:-\w*S|--split-string=?)(.*)", arg, re.DOTALL)
        if (match is not None and not arg.startswith("--s")) or arg.startswith("--split-string"):
            text = (match[1] if match else "") or (call.args[place + 1] if place + 1 < len(call.args) else "")
            rest = call.args[place + (1 if match and match[1] else 2) :]
            if "$" in text:
                machine.run_inside(" ".join([text, *map(shlex.quote, rest)]))
            try:
                words = shlex.split(text)
            except ValueError:
                words = [holes.VARIABLE]
            _run_inner(machine, [*words, *rest], call.stdin)
            return
        if not arg.startswith("-"):
            break
    inner = call.past_options()
    if not [arg for arg in inner if not _ASSIGNMENT.fullmatch(arg)] and not call.args:
        return
    _run_inner(machine, inner, call.stdin)


@wraps("sudo", "doas")
def _sudo(machine: Machine, call: Call) -> None:
    inner = call.past_options()
    if has_flag(call.form, "-e") or has_flag(call.form, "--edit"):
        for path in inner:
            judge_write(machine, path, call.text)
        return
    if not inner and any(has_flag(call.form, flag) for flag in ("-i", "-s", "--login", "--shell")):
        machine.report("shell.privilege.shell", RiskLevel.HIGH, call.text, "A shell with all rights would be opened.")
        machine.execute(["sh"], call.stdin) if call.stdin is not None else None
    elif inner:
        if call.stdin is None and len(inner) == 1 and BARE_SHELL.match(inner[0]):
            machine.report(
                "shell.privilege.shell", RiskLevel.HIGH, call.text, "A shell with all rights would be opened."
            )
        machine.report("shell.privilege.raised", RiskLevel.MEDIUM, call.text, "It runs with another user's rights.")
        _run_inner(machine, inner, call.stdin)


@wraps("xargs")
def _xargs(machine: Machine, call: Call) -> None:
    inner = call.past_options() or ["echo"]
    given = call.stdin if call.stdin is not None else holes.OUTPUT
    mark = None
    for place, arg in enumerate(call.args):
        if arg in {"-I", "-i", "--replace"}:
            mark = call.args[place + 1] if arg == "-I" and place + 1 < len(call.args) else "{}"
        elif arg.startswith("-I") and len(arg) > 2:  # noqa: PLR2004 - the value is attached
            mark = arg[2:]
        elif arg.startswith("--replace="):
            mark = arg.partition("=")[2]
        if not arg.startswith("-") and place and call.args[place - 1] not in call.options.valued:
            break
    lines = given.strip("\n").split("\n") if mark else [given]
    for line in lines[:16]:
        if mark:
            machine.execute([arg.replace(mark, line) for arg in inner], None)
        else:
            machine.execute([*inner, *re.split(r"[\s\0]+", line.strip())] if line.strip() else inner, None)


@wraps("parallel")
def _parallel(machine: Machine, call: Call) -> None:
    inner = call.past_options()
    values: list[str] = []
    if any(arg.startswith(":::") for arg in inner):
        start = next(place for place, arg in enumerate(inner) if arg.startswith(":::"))
        inner, values = inner[:start], [arg for arg in inner[start:] if not arg.startswith(":::")]
    if not inner and not values and call.stdin:
        machine.run_inside(call.stdin)
        return
    if not values:
        values = (call.stdin or holes.OUTPUT).strip("\n").split("\n")
    text = " ".join(inner)
    for value in values[:16]:
        replaced = _SLOT.sub(value.replace("\\", r"\\"), text) if "{" in text else f"{text} {value}"
        _joined(machine, replaced)


def _joined(machine: Machine, text: str) -> None:
    """A command that a program hands to ``sh -c``; a hole in it is an argument, not the command."""
    if text.strip():
        first = text.split(maxsplit=1)[0]
        if holes.open_in(text) and not holes.open_in(first):
            machine.execute(text.split(), None)
        else:
            machine.run_inside(text)


@wraps("watch")
def _shell_text(machine: Machine, call: Call) -> None:
    """``watch``, ``ssh HOST``: the words are joined and handed to a shell."""
    inner = call.past_options()[call.options.skip :]
    if inner:
        if call.stdin is not None and SHELLS & set(inner[:1]):
            machine.execute(inner, call.stdin)
        else:
            _joined(machine, " ".join(inner))


@wraps("busybox")
def _busybox(machine: Machine, call: Call) -> None:
    inner = [arg for arg in call.args if arg not in {"--list", "--install"}]
    if inner and not inner[0].startswith("-"):
        machine.execute(inner, call.stdin)


@wraps("exec")
def _exec(machine: Machine, call: Call) -> None:
    inner = call.past_options()
    if inner:
        machine.execute(inner, call.stdin)


@wraps("command", "builtin")
def _command(machine: Machine, call: Call) -> None:
    """``command -v NAME`` only asks; ``command NAME`` goes past functions."""
    if any(flag in {"-v", "-V"} for flag in call.form.flags[:1]):
        return
    inner = call.past_options()
    if inner:
        function = machine.functions.pop(inner[0], None)
        try:
            machine.execute(inner, call.stdin)
        finally:
            if function is not None:
                machine.functions[inner[0]] = function
