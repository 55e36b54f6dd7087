"""Programs that delete, move, overwrite or search files."""

from __future__ import annotations

import re

from interlock.model.risk import RiskLevel
from interlock.reading.shell import holes
from interlock.reading.shell.machine import Machine
from interlock.reading.shell.places import (
    Place,
    everywhere,
    judge_delete,
    judge_read,
    judge_write,
    place_of,
    resolve,
    seen_at,
)
from interlock.reading.shell.registry import handles
from interlock.reading.shell.rules import has_flag
from interlock.reading.shell.state import Call

_FIND_RUNS = frozenset({"-exec", "-execdir", "-ok", "-okdir"})
_NARROWING = frozenset({"-empty"})


@handles("rm", "unlink", "rmdir", "srm", "trash", "rimraf", "del-cli")
def rm(machine: Machine, call: Call) -> None:
    """Deleting, graded by where."""
    recursive = call.name == "rimraf" or any(has_flag(call.form, flag) for flag in ("-r", "-R", "--recursive"))
    if any(flag.startswith("--no-preserve") for flag in call.form.flags):
        machine.report(
            "shell.delete.root", RiskLevel.CRITICAL, call.text, "The guard against deleting / is switched off."
        )
    for path in call.form.words:
        judge_delete(machine, path, call.text, recursive=recursive)


@handles("find", "fd", "fdfind")
def find(machine: Machine, call: Call) -> str:
    """What ``find`` starts for each file, and ``-delete``."""
    args = call.args
    starts = _starts(args) if call.name == "find" else ["."]
    for place, arg in enumerate(args):
        if arg in _FIND_RUNS or (call.name != "find" and arg in {"-x", "-X", "--exec", "--exec-batch"}):
            _for_each(machine, call, args[place + 1 :], starts)
        elif arg == "-delete":
            level = RiskLevel.CRITICAL if _leaves_workspace(machine, starts) else RiskLevel.HIGH
            machine.report("shell.delete.found", level, call.text, "Every file that is found would be deleted.")
        elif arg in {"-fprint", "-fprint0", "-fprintf", "-fls"} and place + 1 < len(args):
            judge_write(machine, args[place + 1], call.text)
    if any(arg in {"-perm", "-4000", "-u=s"} for arg in args) and any(
        re.search(r"[-/]?(?:[46]000|u=s|g=s)", arg) for arg in args
    ):
        machine.report(
            "shell.recon.setuid", RiskLevel.HIGH, call.text, "It looks for programs that run with another's rights."
        )
    return holes.OUTPUT


def _starts(args: list[str]) -> list[str]:
    starts = []
    for arg in args:
        if (arg.startswith("-") and arg not in {"-H", "-L", "-P"}) or arg in {"(", "!"}:
            break
        if not arg.startswith("-"):
            starts.append(arg)
    return starts or ["."]


def _for_each(machine: Machine, call: Call, rest: list[str], starts: list[str]) -> None:
    end = next((place for place, arg in enumerate(rest) if arg in {";", "+"}), len(rest))
    inner = rest[:end]
    if not inner:
        return
    found = [f"{start.rstrip('/') or '/'}/found" if start != "/" else "/found" for start in starts]
    if not any("{}" in arg for arg in inner):
        inner = [*inner, "{}"] if call.name != "find" else inner
    machine.wrapped += 1
    for path in found:
        machine.execute([arg.replace("{}", path) for arg in inner], None)
    machine.wrapped -= 1
    if inner[0].rpartition("/")[2] in {"rm", "unlink", "shred"} and _leaves_workspace(machine, starts):
        machine.report(
            "shell.delete.found", RiskLevel.CRITICAL, call.text, "Every file that is found would be deleted."
        )
    elif "rm" in machine.seen.programs and any(has in inner for has in ("-rf", "-fr", "-r", "-R", "--recursive")):
        machine.report("shell.delete.found", RiskLevel.HIGH, call.text, "Everything that is found would be deleted.")


def _leaves_workspace(machine: Machine, starts: list[str]) -> bool:
    """Whether a search that begins there sees more than the workspace, temporary files and what is granted."""
    inside = {Place.INSIDE, Place.TEMPORARY, Place.WORKSPACE_ROOT}
    return any(seen_at(machine, path) not in inside for start in starts for path in everywhere(machine, start))


@handles("mv")
def mv(machine: Machine, call: Call) -> None:
    """Moving to nowhere is deleting; moving from outside takes files away."""
    words = call.form.words
    if len(words) < 2:  # noqa: PLR2004 - source and target
        return
    if words[-1] == "/dev/null":
        machine.report("shell.delete.moved", RiskLevel.CRITICAL, call.text, "What is moved to /dev/null is gone.")
    for path in words[:-1]:
        for found in everywhere(machine, path):
            place = place_of(found)
            if place in {Place.ROOT, Place.SYSTEM, Place.HOME, Place.OUTSIDE, Place.DEVICE, Place.WORKSPACE_ROOT}:
                level = RiskLevel.CRITICAL if place in {Place.ROOT, Place.SYSTEM} else RiskLevel.HIGH
                machine.report(
                    "shell.move.outside", level, call.text, "Files outside the workspace would be moved away."
                )
    content = machine.written(words[0])
    if content is not None:
        machine.remember(words[-1], content)


@handles("cp", "ln", "install")
def cp(machine: Machine, call: Call) -> None:
    """A copy of what the text wrote is what the text wrote; a link to a credential reads it."""
    words = call.form.words
    if len(words) >= 2:  # noqa: PLR2004 - source and target
        content = machine.written(words[0])
        if content is None:
            content = judge_read(machine, words[0], call.text)
        if content != holes.OUTPUT:
            machine.remember(words[-1], content)
        if words[0] == "/dev/null":
            machine.report("shell.write.emptied", RiskLevel.HIGH, call.text, "A file would be emptied.")


@handles("dd")
def dd(machine: Machine, call: Call) -> str:
    """``of=`` writes, ``if=`` reads."""
    read = holes.worst_of(call.stdin)
    for arg in call.args:
        if arg.startswith("of="):
            judge_write(machine, arg[3:], call.text)
            target = next(iter(everywhere(machine, arg[3:])))
            level = RiskLevel.CRITICAL if place_of(target) is Place.UNKNOWN else RiskLevel.MEDIUM
            machine.report("shell.write.raw", level, call.text, "Raw bytes would overwrite a file or a device.")
        elif arg.startswith("if="):
            read = judge_read(machine, arg[3:], call.text)
    return read


@handles("cd", "pushd", "chdir")
def cd(machine: Machine, call: Call) -> str:
    """Where later relative paths begin."""
    words = call.form.words
    target = words[0] if words else "~"
    if target == "-" or holes.open_in(target):
        target = holes.VARIABLE
    machine.move([resolve(target, directory, machine.scope.workspace) for directory in machine.directories()])
    return ""
