"""Programs that run other programs: shells, wrappers, remote shells, interpreters, schedulers."""

from __future__ import annotations

import re
import shlex

from interlock.model.risk import RiskLevel
from interlock.reading.shell import code, databases, filing, holes, network, texts
from interlock.reading.shell.machine import Machine
from interlock.reading.shell.places import judge_write
from interlock.reading.shell.registry import HANDLERS, handles
from interlock.reading.shell.rules import has_flag
from interlock.reading.shell.state import Call

SHELLS = frozenset(
    {"sh", "bash", "zsh", "dash", "ksh", "ash", "mksh", "rbash", "fish", "csh", "tcsh", "pwsh", "powershell"}
)
_BARE_SHELL = re.compile(
    r"^\s*(?:exec\s+)?(?:sudo\s+)?(?:\S*/)?(?:ba|z|da|k|c|tc|a|fi|mk)?sh\b(?!\S)(?:\s+-\w+)*\s*(?:[<>0-9&\s#;].*)?$",
    re.DOTALL,
)
_SLOT = re.compile(r"\{[./#%0-9]*\}")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_SIZE_PREFIX = re.compile(r"^\d+(?:\.\d+)?[smhd]?$")
_ = (code, databases, filing, network, texts)  # imported for the handlers that they register


def bypasses_functions(_: Machine) -> bool:
    """Functions always come first; ``command`` and ``builtin`` go past them through :func:`wrapper`."""
    return False


# -- shells --------------------------------------------------------------------------------------------------------


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
    names = [word for word in call.form.words if re.fullmatch(r"\w+", word)] or ["REPLY"]
    for name in names:
        values = lines if len(names) == 1 else [holes.worst_of(text)]
        machine.variables[name] = tuple(dict.fromkeys(values[:8]))
    return ""


# -- wrappers ------------------------------------------------------------------------------------------------------


_ELSEWHERE = frozenset(
    {"docker", "kubectl", "ssh", "tmux", "screen", "ctr", "lxc", "exec", "command", "sudo", "doas", "script"}
)
"""Where a person would open a shell on purpose, or what judges it by itself."""


def _past_options(call: Call) -> list[str]:
    """The arguments after the wrapper's own options."""
    args = call.args
    place = 0
    while place < len(args):
        arg = args[place]
        if arg == "--":
            return args[place + 1 :]
        if not arg.startswith("-") or arg == "-":
            break
        short = len(arg) > 2 and arg[1] != "-" and "-" + arg[-1] in call.options.valued  # noqa: PLR2004 - a cluster
        place += (
            2
            if arg in call.options.valued
            or (short and not any("-" + letter in call.options.valued for letter in arg[1:-1]))
            else 1
        )
    return args[place:]


def wrapper(machine: Machine, call: Call) -> None:
    """Run the command inside a wrapper."""
    special = _SPECIAL.get(call.name)
    here = call.name not in _ELSEWHERE
    machine.wrapped += here
    try:
        if special is not None:
            special(machine, call)
        else:
            _run_inner(machine, _past_options(call)[call.options.skip :], call.stdin)
    finally:
        machine.wrapped -= here


def _run_inner(machine: Machine, inner: list[str], stdin: str | None) -> None:
    settings: list[tuple[str, str]] = []
    while inner and (match := _ASSIGNMENT.fullmatch(inner[0])) is not None:
        settings.append((match[1], match[2]))
        inner = inner[1:]
    for name, value in settings:
        machine.setting(name, value)
        machine.variables[name] = (value,)
        machine.exported.add(name)
    if inner:
        machine.execute(inner, stdin)


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
    inner = _past_options(call)
    if not [arg for arg in inner if not _ASSIGNMENT.fullmatch(arg)] and not call.args:
        return
    _run_inner(machine, inner, call.stdin)


def _sudo(machine: Machine, call: Call) -> None:
    inner = _past_options(call)
    if has_flag(call.form, "-e") or has_flag(call.form, "--edit"):
        for path in inner:
            judge_write(machine, path, call.text)
        return
    if not inner and any(has_flag(call.form, flag) for flag in ("-i", "-s", "--login", "--shell")):
        machine.report("shell.privilege.shell", RiskLevel.HIGH, call.text, "A shell with all rights would be opened.")
        machine.execute(["sh"], call.stdin) if call.stdin is not None else None
    elif inner:
        if call.stdin is None and len(inner) == 1 and _BARE_SHELL.match(inner[0]):
            machine.report(
                "shell.privilege.shell", RiskLevel.HIGH, call.text, "A shell with all rights would be opened."
            )
        machine.report("shell.privilege.raised", RiskLevel.MEDIUM, call.text, "It runs with another user's rights.")
        _run_inner(machine, inner, call.stdin)


def _xargs(machine: Machine, call: Call) -> None:
    inner = _past_options(call) or ["echo"]
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


def _parallel(machine: Machine, call: Call) -> None:
    inner = _past_options(call)
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


def _shell_text(machine: Machine, call: Call) -> None:
    """``watch``, ``ssh HOST``: the words are joined and handed to a shell."""
    inner = _past_options(call)[call.options.skip :]
    if inner:
        if call.stdin is not None and SHELLS & set(inner[:1]):
            machine.execute(inner, call.stdin)
        else:
            _joined(machine, " ".join(inner))


def _ssh(machine: Machine, call: Call) -> None:
    inner = _past_options(call)
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
    inner = _past_options(call)[call.options.skip :]
    if call.name == "su":
        machine.report("shell.privilege.shell", RiskLevel.HIGH, call.text, "A shell of another user would be opened.")
        _remote(machine, call, [])
    elif inner:
        machine.execute(inner, call.stdin)


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


def _terminal(machine: Machine, call: Call) -> None:
    """``tmux send-keys TEXT``, ``screen -dm CMD``, ``screen -X stuff TEXT``."""
    rest = _past_options(call)
    if call.name == "tmux":
        rest = _past_options(machine.call(call.name, rest, None)) if rest else []
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


def _busybox(machine: Machine, call: Call) -> None:
    inner = [arg for arg in call.args if arg not in {"--list", "--install"}]
    if inner and not inner[0].startswith("-"):
        machine.execute(inner, call.stdin)


def _exec(machine: Machine, call: Call) -> None:
    inner = _past_options(call)
    if inner:
        machine.execute(inner, call.stdin)


def _command(machine: Machine, call: Call) -> None:
    """``command -v NAME`` only asks; ``command NAME`` goes past functions."""
    if any(flag in {"-v", "-V"} for flag in call.form.flags[:1]):
        return
    inner = _past_options(call)
    if inner:
        function = machine.functions.pop(inner[0], None)
        try:
            machine.execute(inner, call.stdin)
        finally:
            if function is not None:
                machine.functions[inner[0]] = function


_SPECIAL = {
    "env": _env,
    "sudo": _sudo,
    "doas": _sudo,
    "xargs": _xargs,
    "parallel": _parallel,
    "watch": _shell_text,
    "ssh": _ssh,
    "su": _su,
    "runuser": _su,
    "script": _su,
    "flock": _su,
    "sg": _su,
    "docker": _container,
    "kubectl": _container,
    "ctr": _container,
    "lxc": _container,
    "tmux": _terminal,
    "screen": _terminal,
    "busybox": _busybox,
    "exec": _exec,
    "command": _command,
    "builtin": _command,
}


# -- commands in unusual places ------------------------------------------------------------------------------------


def hidden_command(machine: Machine, call: Call, text: str) -> None:
    """A command inside an option or a script of a program that is not a shell."""
    text = text.strip()
    if not text:
        return
    if _BARE_SHELL.match(text):
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
    "bun",
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


__all__ = ["HANDLERS", "SHELLS", "bypasses_functions", "hidden_command", "run_script", "wrapper"]
