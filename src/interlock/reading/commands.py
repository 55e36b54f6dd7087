"""The command lines that a tool's arguments mean: text, lists of words, a program and its arguments, code; where they run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

COMMAND_NAMES = frozenset(
    {"argv", "bash", "cmd", "cmdline", "command", "commandline", "commands", "exec", "script", "shell"}
)
"""Names that mean a command in any tool, without case, dashes and underscores."""
_SHELL_NAMES = COMMAND_NAMES | frozenset({"chars", "code", "input", "keys", "keystrokes", "stdin", "text"})
"""Names that mean a command in a shell tool."""
_PROGRAM_NAMES = ("command", "cmd", "program", "executable", "file")
_ARGUMENT_NAMES = ("args", "arguments", "params", "parameters", "argv")
_ARGUMENTS = frozenset(_ARGUMENT_NAMES)
_TELLING = COMMAND_NAMES | frozenset(_PROGRAM_NAMES)
_LONGEST_NAME = 64
_PLACE_NAMES = frozenset({"cwd", "dir", "directory", "workdir", "workingdir", "workingdirectory"})
_SETTING_NAMES = frozenset({"env", "environment"})
_AROUND = _PLACE_NAMES | _SETTING_NAMES
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_INTERPRETERS = {
    "python": ("python3", "-c"),
    "jupyter": ("python3", "-c"),
    "codeinterpreter": ("python3", "-c"),
    "javascript": ("node", "-e"),
    "nodejs": ("node", "-e"),
}
_CODE_NAMES = frozenset({"code", "source", "script", "program", "text", "input", "cell"})


def plain_name(name: str) -> str:
    """A name without case, dashes and underscores; a long one, which means nothing, as it is."""
    return _plain(name) if len(name) <= _LONGEST_NAME else name


@lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def command_lines(args: Mapping[str, Any], *, is_shell: bool) -> tuple[list[str], frozenset[str]]:
    """Each command line with its place and variables in front, and the names of the arguments that were used for them.

    Args:
        args: a tool's arguments.
        is_shell: whether the tool is known to run what it is given; then a text under any name is a command when no
            argument has a name for one.

    Raises:
        ValueError: when a shell's command is neither text nor a list of words.
    """
    plain = {name: plain_name(str(name)) for name in args}
    if not is_shell and _TELLING.isdisjoint(plain.values()):
        return [], frozenset()
    names = _SHELL_NAMES if is_shell else COMMAND_NAMES
    found: dict[str, str] = {}
    for name, value in args.items():
        if plain[name] not in names:
            continue
        line = value if isinstance(value, str) else joined(value)
        if line is not None:
            found[name] = line
        elif is_shell:
            raise ValueError("the command of a shell is neither text nor a list of words")
    whole, used = ([], []) if _ARGUMENTS.isdisjoint(args) else _program(args)
    if is_shell and not found and not whole:
        found = {name: value for name, value in args.items() if isinstance(value, str)}
    before = "" if _AROUND.isdisjoint(plain.values()) else _before(args)
    lines = [f"{before}{line}" for line in (*whole, *found.values())]
    return lines, frozenset({*found, *used})


def code_line(tool: str, args: Mapping[str, Any]) -> tuple[list[str], frozenset[str]]:
    """The code of a tool that is named after a language, as the command line that would run it."""
    program = _interpreter(tool) if len(tool) <= _LONGEST_NAME else ()
    if not program:
        return [], frozenset()
    code = {
        name: value for name, value in args.items() if isinstance(value, str) and plain_name(str(name)) in _CODE_NAMES
    }
    return [shlex.join([*program, value]) for value in code.values()], frozenset(code)


@lru_cache(maxsize=4096)
def _interpreter(tool: str) -> tuple[str, ...]:
    own = plain_name(tool)
    return next((program for word, program in _INTERPRETERS.items() if word in own), ())


def joined(value: Any) -> str | None:
    """A list of words as one command line in which each word stays one word; None for anything else."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(word, str) for word in value):
        return shlex.join(value)
    return None


def _program(args: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """A program under one name and its arguments as a list under another."""
    rest = next((name for name in _ARGUMENT_NAMES if joined(args.get(name)) is not None), None)
    head = next((name for name in _PROGRAM_NAMES if isinstance(args.get(name), str) and args[name]), None)
    if rest is None or head is None:
        return [], []
    return [f"{args[head]} {joined(args[rest])}"], [rest]


def _before(args: Mapping[str, Any]) -> str:
    lines = []
    for name, value in args.items():
        plain = plain_name(str(name))
        if plain in _PLACE_NAMES and isinstance(value, str) and value:
            lines.append(f"cd {shlex.quote(value)}")
        if plain in _SETTING_NAMES and isinstance(value, Mapping):
            pairs = [(str(key), str(item)) for key, item in value.items()]
            lines += [f"export {key}={shlex.quote(item)}" for key, item in pairs if _VARIABLE.fullmatch(key)]
    return "".join(f"{line}\n" for line in lines)
