"""Commands for another machine, user, container or terminal; they are read all the same."""

from __future__ import annotations

import re

from interlock.model.risk import RiskLevel
from interlock.reading.shell import holes
from interlock.reading.shell.machine import Machine
from interlock.reading.shell.registry import wraps
from interlock.reading.shell.shells import SHELLS
from interlock.reading.shell.state import Call


@wraps("ssh")
def _ssh(machine: Machine, call: Call) -> None:
    inner = call.past_options()
    if inner:
        machine.seen.destinations[holes.shown(inner[0])] = None
    _remote(machine, call, inner[1:])


def _remote(machine: Machine, call: Call, inner: list[str]) -> None:
    kept = machine.variables.get("PWD")
    machine.variables["PWD"] = ("/remote",)
    try:
        if inner:
            first = inner[0].split()
            if len(inner) == 1 or (first and first[0] not in SHELLS):
                text = " ".join(inner)
                if holes.open_in(text) and first and not holes.open_in(first[0]):
                    machine.execute(text.split(), call.stdin)
                else:
                    machine.run_inside(text)
            else:
                machine.execute(inner, call.stdin)
        elif call.stdin is not None and call.name in {"ssh", "chroot", "su"}:
            machine.execute(["sh"], call.stdin)
    finally:
        if kept is None:
            machine.variables.pop("PWD", None)
        else:
            machine.variables["PWD"] = kept


@wraps("su", "runuser", "script", "flock", "sg")
def _su(machine: Machine, call: Call) -> None:
    """``su -c TEXT`` and its relatives (``runuser``, ``script``, ``flock``, ``sg``)."""
    for place, arg in enumerate(call.args):
        if arg in {"-c", "--command", "--session-command"} and place + 1 < len(call.args):
            machine.run_inside(call.args[place + 1])
            return
        if arg.startswith("--command="):
            machine.run_inside(arg.partition("=")[2])
            return
        if re.fullmatch(r"-\w*c", arg) and place + 1 < len(call.args):
            machine.run_inside(call.args[place + 1])
            return
    inner = call.past_options()[call.options.skip :]
    if call.name == "su":
        machine.report("shell.privilege.shell", RiskLevel.HIGH, call.text, "A shell of another user would be opened.")
        _remote(machine, call, [])
    elif inner:
        machine.execute(inner, call.stdin)


@wraps("docker", "kubectl", "ctr", "lxc")
def _container(machine: Machine, call: Call) -> None:
    """``docker run|exec …``, ``kubectl exec … -- …``: the command runs elsewhere, and is read all the same."""
    args = call.args
    words = call.form.words
    verb = next((word for word in words[:3] if word in {"exec", "run", "debug", "attach"}), None)
    if verb is None:
        return
    if "--" in args and call.name in {"kubectl", "ctr", "lxc", "incus"}:
        _elsewhere(machine, args[args.index("--") + 1 :], call.stdin)
        return
    place = args.index(verb) + 1
    while place < len(args) and args[place].startswith("-"):
        option = args[place]
        if option.startswith("--entrypoint"):
            value = option.partition("=")[2] or (args[place + 1] if place + 1 < len(args) else "")
            if value:
                machine.execute([value, *args[place + 3 :]], call.stdin)
        cluster = len(option) > 2 and option[1] != "-" and "-" + option[-1] in call.options.valued  # noqa: PLR2004 - a cluster
        place += 2 if option in call.options.valued or cluster else 1
    inner = args[place + 1 :]
    _elsewhere(machine, inner[1:] if inner[:1] == ["--"] else inner, call.stdin)


def _elsewhere(machine: Machine, inner: list[str], stdin: str | None) -> None:
    if inner:
        kept = machine.variables.get("PWD")
        machine.variables["PWD"] = ("/container",)
        try:
            machine.execute(inner, stdin)
        finally:
            machine.variables.pop("PWD")
            if kept is not None:
                machine.variables["PWD"] = kept


_KEYS = frozenset({"Enter", "C-m", "ENTER", "KPEnter"})


@wraps("tmux", "screen")
def _terminal(machine: Machine, call: Call) -> None:
    """``tmux send-keys TEXT``, ``screen -dm CMD``, ``screen -X stuff TEXT``."""
    rest = call.past_options()
    if call.name == "tmux":
        rest = machine.call(call.name, rest, None).past_options() if rest else []
    elif rest[:1] == ["stuff"]:
        rest = rest[1:]
    texts_ = [text for text in rest if text not in _KEYS]
    with machine.trial() as aside:
        for text in texts_:
            if re.search(r"[\s$`'\"\\]", text):
                machine.run_inside(text)
                if "\\n" in text or "^M" in text:
                    machine.run_inside(text.replace("\\n", "\n").replace("^M", "\n"))
        if texts_:
            machine.execute(texts_, None)
    machine.seen.findings.update(
        dict.fromkeys(one for one in aside if one.severity >= RiskLevel.HIGH and ".unresolved.syntax" not in one.kind)
    )
