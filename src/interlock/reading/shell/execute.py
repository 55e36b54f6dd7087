"""One command: which program it is, what it starts in turn, and what the rules say of it."""

from __future__ import annotations

import posixpath
import re
import shlex
from functools import lru_cache

from interlock.model.risk import RiskLevel
from interlock.reading.linear import Linear
from interlock.reading.normal import normalise
from interlock.reading.paths import credential
from interlock.reading.shell import code, databases, elsewhere, filing, holes, network, texts, wrappers
from interlock.reading.shell.control import call_function
from interlock.reading.shell.indirect import hidden_command
from interlock.reading.shell.machine import Machine
from interlock.reading.shell.places import judge_read, judge_write, traverses
from interlock.reading.shell.registry import HANDLERS
from interlock.reading.shell.rules import load
from interlock.reading.shell.shells import SHELLS, run_script
from interlock.reading.shell.state import Call

_VERSIONED = re.compile(
    r"(python|pypy|pip|perl|ruby|node|php|lua|gcc|clang|bash|gawk|psql|tclsh|irb|gem)(?:-?\d[\d.]*)$"
)
_EXEC_FLAG = re.compile(r"^(?:-c|-e|-x|-S|--?(?:exec|eval|command|cmd|run|shell|script|execute|call)(?:-?\w*)?)$")
_KEYWORDS = frozenset({"!", "then", "do", "else", "elif", "{", "if", "while", "until"})
_ARITHMETIC = Linear(r"\w\[[^\]]*(?:\$\(|`)")
_COUNTS = frozenset({"let", "test", "read", "printf", "unset", "declare", "typeset", "export"})
_HELP = frozenset({"--help", "--version"})
_FLAG_VERB = re.compile(
    r"^--(?:delete|remove|purge|destroy|drop|wipe|erase|uninstall|terminate|reset-offsets|nuke|format|truncate)(?:-\w+)*$"
)
_GUESSED = ("shell.unresolved.syntax", "shell.unresolved.name")
_RUNS = frozenset({"run", "exec", "--", "x", "tool"})
_SHELL_PATH = re.compile(r"(?:^|[\s,=\"'{(])/(?:usr/)?bin/(?:ba|z|da|k)?sh(?![\w/.-])")
_VERB_PLACES = 5
_DRY = frozenset({"--dry-run", "--dryrun", "--what-if", "--check", "--simulate", "--no-act", "--noop"})
_SWITCHES = frozenset(
    {"--yes", "--force", "--quiet", "--verbose", "--json", "--all", "--recursive", "--now", "--debug"}
)
_ = (code, databases, elsewhere, filing, texts)  # imported for the programs that they register


def canonical(word: str, machine: Machine) -> str:
    """The program's own name: no folder, no version, no ``.exe``, no other spelling."""
    name = word.rsplit("/", 1)[-1].rsplit("\\", 1)[-1]
    if name.lower().endswith((".exe", ".cmd")):
        name = name[:-4].lower()
    if not name.isalpha() and (versioned := _VERSIONED.match(name)) is not None:
        name = versioned[1]
    return machine.rules.tables["same"].get(name, name)


def execute(machine: Machine, argv: list[str], stdin: str | None) -> str:
    """Run one simple command in the abstract shell; returns what it would print."""
    while argv and (not argv[0].strip() or argv[0] in _KEYWORDS):
        argv = argv[1:]
    if not argv:
        return ""
    word = argv[0]
    if holes.open_in(word):
        return _unresolved(machine, argv, stdin)
    if word in machine.functions:
        machine.seen.programs[word] = None
        return call_function(machine, word, argv, stdin)
    if word in machine.aliases:
        text = machine.aliases.pop(word)
        try:
            return machine.run_again(" ".join([text, *map(shlex.quote, argv[1:])]))
        finally:
            machine.aliases[word] = text
    return known(machine, argv, stdin)


def known(machine: Machine, argv: list[str], stdin: str | None) -> str:
    """Run a program whose name is known, past functions and aliases."""
    name = canonical(argv[0], machine)
    machine.seen.programs[name] = None
    call = machine.call(name, argv, stdin)
    _suspicious_words(machine, call)
    if _asks_for_help(call, machine):
        return holes.OUTPUT
    handler = HANDLERS.get(name)
    printed: str | None = None
    if call.options.wrapper:
        wrappers.wrapper(machine, call)
        judge(machine, call)
        prints_environment = name == "env" and not call.form.words
        return holes.SECRET if prints_environment else holes.worst_of(stdin, *argv)
    if handler is not None:
        printed = handler(machine, call)
    elif (content := machine.written(argv[0])) is not None:
        run_script(machine, call, content, argv)
    if name not in machine.rules.sets["mention"]:
        judge(machine, call)
    return printed if printed is not None else holes.worst_of(stdin, *argv)


def _unresolved(machine: Machine, argv: list[str], stdin: str | None) -> str:
    word = argv[0]
    reason = "Which program runs is only known when it runs."
    machine.report("shell.unresolved.name", RiskLevel.CRITICAL, " ".join(argv), reason)
    base = word.rsplit("/", 1)[-1]
    if base and not holes.open_in(base):
        return known(machine, [base, *argv[1:]], stdin)
    if len(argv) > 1 and not holes.open_in(argv[1]):
        with machine.trial() as aside:
            execute(machine, argv[1:], stdin)
        machine.seen.findings.update(dict.fromkeys(one for one in aside if one.severity >= RiskLevel.HIGH))
    return holes.OUTPUT


def _asks_for_help(call: Call, machine: Machine) -> bool:
    """Only help or a version is asked for, and no option could have swallowed the word."""
    args = call.args
    if not args or call.options.wrapper or call.name in machine.rules.sets["runs_arguments"]:
        return False
    if args[0] in _HELP or (len(args) == 1 and args[0] in {"-h", "-V", "help", "version"}):
        return not any(one.startswith("-") for one in args[1:])
    return args[-1] == "--help" and not args[-2].startswith("-") and "--" not in args


def judge(machine: Machine, call: Call) -> None:
    """Everything that rules and general knowledge say of a command."""
    rules = machine.rules.programs.get(call.name)
    if rules is not None:
        for rule in rules.applying(call.form, call.options):
            machine.report(rule.kind, rule.level, call.text, rule.why)
    _verbs(machine, call)
    told = rules is not None or call.options.wrapper or call.name in HANDLERS
    if not told and call.name not in machine.rules.sets["known"]:
        _unknown(machine, call)
    elif call.name in machine.rules.sets["runners"]:
        _inner_commands(machine, call)
    _files(machine, call)
    _carried(machine, call)
    network.judge(machine, call)


def _verbs(machine: Machine, call: Call) -> None:
    """Tools that speak in verbs: ``tool noun delete``, ``tool delete-noun``, ``--delete``."""
    sets = machine.rules.sets
    verbless = call.name in sets["known"] and call.name not in sets["verbs_apply"]
    if verbless or call.name in sets["no_verbs"] or call.name in HANDLERS:
        return
    if _DRY & call.form.excuses:
        return
    for word in _spoken(call):
        if "/" not in word and _is_verb(word) and not _only_looks(word, call):
            special = call.name in sets["verbs_apply"]
            kind = "shell.remote.destructive" if special else "shell.program.destructive"
            machine.report(kind, RiskLevel.HIGH, call.text, f"The program is told to {holes.shown(word, 40)}.")
            return
    if any(_FLAG_VERB.match(flag.partition("=")[0]) for flag in call.form.flags):
        machine.report(
            "shell.program.destructive", RiskLevel.HIGH, call.text, "The program is told to remove something."
        )


def _only_looks(word: str, call: Call) -> bool:
    """A noun that is also a verb, with a verb behind it that only reads: ``gh release view``."""
    words = call.form.words
    place = words.index(word) + 1 if word in words else 0
    return word not in _CLEAR_VERBS and 0 < place < len(words) and words[place] in _LOOKS


_LOOKS = frozenset({"view", "list", "ls", "show", "get", "status", "describe", "info", "download"})
_CLEAR_VERBS = frozenset({"delete", "remove", "rm", "destroy", "purge", "drop", "wipe", "kill", "stop", "terminate"})


@lru_cache(maxsize=4096)
def _is_verb(word: str) -> bool:
    return load().patterns["verb"].search(word) is not None


def _spoken(call: Call) -> list[str]:
    """The words that may be verbs: the first ones that are not the value of an option after the first word."""
    found = [call.name.rsplit(".", 1)[-1]] if "." in call.name else []
    before = ""
    for arg in call.form.args:
        value = bool(found) and before.startswith("--") and "=" not in before and before not in _SWITCHES
        if not arg.startswith("-") and not value and before not in call.options.valued:
            found.append(arg)
        before = arg
        if len(found) >= _VERB_PLACES:
            break
    return found


def _unknown(machine: Machine, call: Call) -> None:
    """A program that nobody told us about: noted, and its arguments are tried as commands."""
    if not call.name.isascii() and normalise(call.name).isascii():
        reason = "The program's name is written in letters that pass for others."
        machine.report("shell.unresolved.name", RiskLevel.HIGH, call.text, reason)
    machine.report(
        "shell.program.unknown", RiskLevel.MEDIUM, call.text, f"{call.name} is not a program that is known here."
    )
    if "/" in call.argv[0] and (kept := credential(posixpath.normpath(call.argv[0]))) is not None:
        machine.report("shell.credentials.read", RiskLevel.HIGH, call.text, f"It names what {kept.reason}.")
    if any(_SHELL_PATH.search(arg) for arg in call.args):
        machine.report("shell.escape", RiskLevel.HIGH, call.text, f"{call.name} would open a shell.")
    _inner_commands(machine, call)


def _inner_commands(machine: Machine, call: Call) -> None:
    """Arguments that look like commands are tried as such: a wrapper that nobody knows is still a wrapper."""
    rules = machine.rules
    with machine.trial() as aside:
        runs = next((place for place, arg in enumerate(call.args, 2) if arg in _RUNS), 0)
        if runs and call.name in rules.sets["runners"]:
            execute(machine, [arg for arg in call.argv[runs:] if arg != "--"], call.stdin)
        for place, arg in enumerate(call.args, 1):
            before = call.argv[place - 1]
            if arg.startswith("-") and "=" in arg:
                before, _, arg = arg.partition("=")  # noqa: PLW2901 - an option and its value in one word
            if _EXEC_FLAG.match(before) and not holes.open_in(arg):
                machine.run_inside(arg)
            name = canonical(arg, machine)
            options = rules.options.get(name)
            runs = name in rules.programs or name in SHELLS or name in HANDLERS
            if runs or (options is not None and options.wrapper):
                known(machine, call.argv[place:], call.stdin)
                break
    for finding in aside:
        if finding.severity >= RiskLevel.HIGH and not finding.kind.startswith(_GUESSED):
            machine.seen.findings[finding] = None


def _suspicious_words(machine: Machine, call: Call) -> None:
    if call.name in _COUNTS and any("[" in word and _ARITHMETIC.search(word) for word in call.args):
        machine.report(
            "shell.unresolved.arithmetic",
            RiskLevel.CRITICAL,
            call.text,
            "An index that is a command: arithmetic runs it.",
        )
    if call.name in machine.rules.sets["mention"] or call.name in machine.rules.sets["patterns_first"]:
        return
    for word in call.argv:
        if (".." in word or "%" in word) and (reason := traverses(word)) is not None:
            machine.report("shell.path.traversal", RiskLevel.HIGH, word, reason)


def _files(machine: Machine, call: Call) -> None:
    """Arguments that are paths: what reading or writing them means."""
    sets = machine.rules.sets
    name, named = call.name, list(call.form.words)
    if name in sets["stat_only"] or name in sets["mention"]:
        return
    writes, named = _written(machine, call, named)
    for path in writes:
        if ":" not in path.split("/", maxsplit=1)[0] and "://" not in path:
            judge_write(machine, path, call.text)
    if name in sets["patterns_first"]:
        named = named[1:]
    for path in (*named, *_option_paths(call)):
        if "/" in path or path.startswith((".", "~", "id_")) or path in sets["secret_samples"]:
            judge_read(machine, path, call.text)


def _written(machine: Machine, call: Call, named: list[str]) -> tuple[list[str], list[str]]:
    """The paths that a command writes, and those that it reads."""
    sets, name = machine.rules.sets, call.name
    writes: list[str] = []
    if name in sets["writes_all"]:
        writes, named = named, []
    elif name in sets["writes_last"] and len(named) > 1:
        target = _option_value(call, "-t", "--target-directory")
        writes, named = ([target], named) if target else ([named[-1]], named[:-1])
    elif name in sets["mode_then_files"]:
        writes, named = named[1:], []
    for option in machine.rules.tables["writes_option"].get(name, "").split():
        if value := _option_value(call, option):
            writes.append(value)
    return writes, named


def _option_value(call: Call, *options: str) -> str:
    for place, arg in enumerate(call.args):
        for option in options:
            if arg == option and place + 1 < len(call.args):
                return call.args[place + 1]
            if option.startswith("--") and arg.startswith(option + "="):
                return arg[len(option) + 1 :]
            if not option.startswith("--") and arg.startswith(option) and len(arg) > len(option) and arg[1] != "-":
                return arg[len(option) :]
    return ""


def _option_paths(call: Call) -> list[str]:
    """Values of options: ``--file=/etc/shadow``, ``-d @.env``; keys that log in are not read by the command's user."""
    found = []
    for place, arg in enumerate(call.args):
        before = call.args[place - 1] if place else ""
        if before in {
            "-i",
            "--identity",
            "--key",
            "--private-key",
            "--cert",
            "--cacert",
            "--env-file",
            "-E",
            "--kubeconfig",
        }:
            continue
        if "=" in arg:
            found.append(arg.split("=", 1)[1].lstrip("@"))
        elif arg.startswith("@") or before in call.options.valued or (before.startswith("-") and "/" in arg):
            found.append(arg.lstrip("@"))
    return found


def _carried(machine: Machine, call: Call) -> None:
    """Options and arguments of a program that hold a command of their own."""
    carried = machine.rules.carried.get(call.name, ()) if call.form.flags else ()
    heads = tuple([option.partition("=")[0] for option in carried])
    for option in carried if heads and any(flag.startswith(heads) for flag in call.form.flags) else ():
        value = _carried_value(call, option)
        if value and value not in {
            "less",
            "cat",
            "more",
            "ssh",
            "gzip",
            "zstd",
            "pigz",
            "xz",
            "bzip2",
            "true",
            "pbzip2",
            "lz4",
        }:
            hidden_command(machine, call, value)
    escape = machine.rules.escapes.get(call.name)
    if escape is None:
        return
    for text in (*call.args, call.stdin or ""):
        for match in escape.finditer(text):
            hidden_command(machine, call, next((group for group in match.groups() if group), "sh"))


def _carried_value(call: Call, option: str) -> str:
    if "=" in option and not option.endswith("="):
        flag, _, key = option.partition("=")
        for value in (_option_value(call, flag).lstrip("="), *call.args):
            if value.lower().startswith(key.lower()):
                return value[len(key) :].lstrip("= ")
        return ""
    if option.endswith("="):
        return next((arg[len(option) :] for arg in call.args if arg.startswith(option)), "")
    return _option_value(call, option)
