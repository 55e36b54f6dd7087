"""Commands in unusual places: options of other programs, task files, tables of what runs later."""

from __future__ import annotations

import re

from interlock.model.risk import RiskLevel
from interlock.reading.shell import holes
from interlock.reading.shell.machine import Machine
from interlock.reading.shell.registry import handles
from interlock.reading.shell.rules import has_flag
from interlock.reading.shell.shells import BARE_SHELL
from interlock.reading.shell.state import Call


def hidden_command(machine: Machine, call: Call, text: str) -> None:
    """A command inside an option or a script of a program that is not a shell."""
    text = text.strip()
    if not text:
        return
    if BARE_SHELL.match(text):
        machine.report("shell.escape", RiskLevel.HIGH, call.text, f"{call.name} would open a shell.")
        return
    machine.report("shell.escape.command", RiskLevel.MEDIUM, call.text, f"{call.name} would run a command of its own.")
    machine.run_inside(text)
    if "\\" in text:
        machine.run_inside(re.sub(r"\\([\"'\\$`])", r"\1", text))


@handles(
    "make",
    "just",
    "task",
    "npm",
    "yarn",
    "pnpm",
    "rake",
    "gradle",
    "mvn",
    "tox",
    "nox",
    "invoke",
    "ant",
    "bazel",
    "npx",
    "ninja",
)
def opaque(machine: Machine, call: Call) -> None:
    """What these run stands in files that are not visible here."""
    machine.report("shell.opaque.task", RiskLevel.MEDIUM, call.text, f"What {call.name} runs is not visible here.")
    words = call.form.words
    if call.name in {"npx", "bun", "pnpm", "yarn", "npm"} and words[:1] and words[0] in {"exec", "dlx", "x"}:
        words = words[1:]
    elif call.name != "npx":
        return
    if words:
        machine.execute(list(call.argv[call.argv.index(words[0]) :]), call.stdin)


@handles("at", "batch")
def at(machine: Machine, call: Call) -> None:
    """What comes in is run later."""
    if call.stdin is not None and not any(has_flag(call.form, flag) for flag in ("-l", "-c", "-r", "-d")):
        machine.run_inside(call.stdin)


@handles("crontab")
def crontab(machine: Machine, call: Call) -> None:
    """A new table of commands that run by themselves."""
    if has_flag(call.form, "-l"):
        return
    machine.report(
        "shell.persistence.cron", RiskLevel.HIGH, call.text, "Commands would run by themselves from then on."
    )
    for line in (call.stdin or "").split("\n"):
        match = re.match(r"^(?:@\w+|(?:\S+\s+){5})(.+)$", line.strip())
        if match is not None and not holes.open_in(match[1]):
            machine.run_inside(match[1])
