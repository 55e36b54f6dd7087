"""Programs that print or transform text: with constant input their output is known."""

from __future__ import annotations

import base64
import binascii
import codecs
import gzip
import re
import zlib
from collections.abc import Callable

from interlock.model.risk import RiskLevel
from interlock.reading.shell import holes
from interlock.reading.shell.machine import Machine
from interlock.reading.shell.places import Place, everywhere, judge_read, judge_write, seen_at
from interlock.reading.shell.registry import HANDLERS, handles
from interlock.reading.shell.rules import has_flag
from interlock.reading.shell.state import MAX_BYTES, Call
from interlock.reading.shell.words import unescape_ansi

_FORMAT = re.compile(r"%(?:%|[-+ #0]*(?:\*|\d+)?(?:\.(?:\*|\d+))?([a-zA-Z]))")
_ENVIRONMENT_PRINTERS = re.compile(
    r"(?:ssh-agent|brew shellenv|dircolors|opam env|fnm env|mise activate|luarocks path|gpg-agent|keychain|"
    r"\w+ (?:hook|init|activate|env|shellenv|completions?)|[\w-]+ (?:\S+ )?completions?)(?:\s|$)"
)


@handles("echo")
def echo(_: Machine, call: Call) -> str:
    """Print the arguments; ``-e`` undoes escapes, and so does ``sh``'s own echo when a shell reads it."""
    args, escapes, newline = call.args, False, True
    while args and re.fullmatch(r"-[neE]+", args[0]):
        escapes = escapes or "e" in args[0]
        newline = newline and "n" not in args[0]
        args = args[1:]
    text = " ".join(args)
    return (unescape_ansi(text) if escapes else text) + ("\n" if newline else "")


@handles("printf")
def printf(machine: Machine, call: Call) -> str:
    """Fill the format with the arguments, over and over as bash does."""
    args = call.args
    if args[:1] == ["-v"] and len(args) > 2:  # noqa: PLR2004 - a name and a format
        machine.assign(args[1], _formatted(args[2:]))
        return ""
    return _formatted(args[1:] if args[:1] == ["--"] else args)


def _formatted(args: list[str]) -> str:
    if not args:
        return ""
    pattern, values = args[0], list(args[1:])
    text = unescape_ansi(pattern)
    printed = ""
    for _ in range(64):
        before = len(values)
        printed += _FORMAT.sub(lambda match: _value(match, values), text)
        if not values or len(values) == before:
            break
    return printed


def _value(match: re.Match[str], values: list[str]) -> str:
    letter = match[1]
    if letter is None:
        return "%"
    value = values.pop(0) if values else ""
    if letter == "b":
        return unescape_ansi(value)
    if letter == "c":
        return value[:1]
    if letter in "xX" and value.isdigit():
        return format(int(value), letter)
    return value


@handles(
    "cat", "tac", "head", "tail", "more", "less", "nl", "bat", "sort", "uniq", "fold", "strings", "pv", "sponge", "zcat"
)
def cat(machine: Machine, call: Call) -> str:
    """Print files or hand on the input."""
    return _input(machine, call)


def _input(machine: Machine, call: Call) -> str:
    files = [word for word in call.form.words if word != "-"]
    if not files:
        return call.stdin if call.stdin is not None else holes.OUTPUT
    return "".join(judge_read(machine, path, call.text) for path in files)[:MAX_BYTES]


@handles("tee")
def tee(machine: Machine, call: Call) -> str:
    """Hand on the input, and write it into files."""
    content = call.stdin or holes.OUTPUT
    for path in call.form.words:
        judge_write(machine, path, call.text, content=content)
        machine.remember(path, content, append=has_flag(call.form, "-a") or has_flag(call.form, "--append"))
    return content


def _decoded(machine: Machine, call: Call, decode: Callable[[str], bytes]) -> str:
    text = _input(machine, call)
    if holes.open_in(text):
        return holes.worst_of(text)
    try:
        return holes.clean(decode(text).decode("utf-8", "replace"))
    except (ValueError, binascii.Error, EOFError, OSError, zlib.error):
        return holes.OUTPUT


@handles("base64", "gbase64", "basenc")
def base64_(machine: Machine, call: Call) -> str:
    """Encode or decode."""
    if any(has_flag(call.form, flag) for flag in ("-d", "-D", "--decode")):
        return _decoded(machine, call, lambda text: base64.b64decode("".join(text.split()) + "=="))
    return _decoded(machine, call, lambda text: base64.b64encode(text.encode()))


@handles("base32")
def base32(machine: Machine, call: Call) -> str:
    """Decode; what it encodes is of no use to a shell."""
    if has_flag(call.form, "-d") or has_flag(call.form, "--decode"):
        return _decoded(machine, call, lambda text: base64.b32decode("".join(text.split())))
    return holes.worst_of(_input(machine, call))


@handles("xxd", "hexdump", "od")
def xxd(machine: Machine, call: Call) -> str:
    """``xxd -r -p`` decodes; dumps hand on where their bytes came from."""
    if call.name == "xxd" and has_flag(call.form, "-r"):
        return _decoded(machine, call, lambda text: bytes.fromhex("".join(text.split()).replace("0x", "")))
    return holes.worst_of(_input(machine, call))


@handles("rev")
def rev(machine: Machine, call: Call) -> str:
    """Every line backwards."""
    return "\n".join(line[::-1] for line in _input(machine, call).split("\n"))


@handles("gzip", "gunzip", "bzip2", "xz", "openssl", "gpg")
def packed(machine: Machine, call: Call) -> str | None:
    """Packing hides content but not where it came from."""
    if call.name in {"openssl", "gpg"}:
        return holes.worst_of(
            call.stdin,
            *[holes.SECRET for path in call.args if path in machine.files and holes.SECRET in machine.files[path]],
        )
    if call.stdin and not holes.open_in(call.stdin) and has_flag(call.form, "-d"):
        return _decoded(machine, call, lambda text: gzip.decompress(text.encode("latin-1")))
    return holes.worst_of(_input(machine, call))


@handles("tr")
def tr(_: Machine, call: Call) -> str:
    """Translate or delete characters."""
    text = call.stdin or holes.OUTPUT
    sets = [_characters(unescape_ansi(word)) for word in call.form.words]
    if has_flag(call.form, "-c") or not sets or not all(sets):
        return holes.worst_of(text)
    if has_flag(call.form, "-d"):
        return "".join(char for char in text if char not in sets[0])
    if len(sets) > 1:
        target = sets[1] + sets[1][-1] * max(0, len(sets[0]) - len(sets[1]))
        return text.translate({ord(old): new for old, new in zip(sets[0], target, strict=False)})
    return text


def _characters(text: str) -> str:
    named = {"[:upper:]": "A-Z", "[:lower:]": "a-z", "[:digit:]": "0-9", "[:space:]": " \t\n", "[:alpha:]": "A-Za-z"}
    for name, plain in named.items():
        text = text.replace(name, plain)
    if "[:" in text:
        return ""
    return re.sub(
        r"(.)-(.)",
        lambda match: "".join(map(chr, range(ord(match[1]), min(ord(match[2]), ord(match[1]) + 256) + 1))),
        text,
    )


@handles("sed")
def sed(machine: Machine, call: Call) -> str:
    """Simple substitutions are carried out; anything else leaves a hole."""
    script = call.form.words[0] if call.form.words else ""
    text = call.stdin
    match = re.fullmatch(r"s(.)((?:(?!\1).)*)\1((?:(?!\1).)*)\1(g?)", script)
    if match and text and not holes.open_in(text) and not any(char in match[2] for char in ".*[]^$\\"):
        old, new = match[2], match[3].replace("&", match[2])
        return "\n".join(line.replace(old, new, -1 if match[4] else 1) for line in text.split("\n"))
    if script in {"", "p", "1p"} and text is not None:
        return text
    given = any(flag in {"-e", "-f", "--expression", "--file"} for flag in call.form.flags)
    for path in call.form.words if given else call.form.words[1:]:
        judge_read(machine, path, call.text)
        if has_flag(call.form, "-i") or has_flag(call.form, "--in-place"):
            judge_write(machine, path, call.text)
    for match in re.finditer(r"(?:^|[;}\s\d/])[wW]\s+([/~.\w][^;\s]*)$", script):
        judge_write(machine, match[1], call.text)
    return holes.worst_of(text)


_WANTS_SECRETS = re.compile(r"(?i)pass(?!ed|ing)|secret|token|credential|api.?key|AKIA|private.?key|\bkey\b|aws_|BEGIN")


@handles("grep", "egrep", "fgrep", "rg", "ag", "ack")
def grep(machine: Machine, call: Call) -> str:
    """Some of the input; looking for secrets where they are is reading them."""
    wanted = _WANTS_SECRETS.search(" ".join(call.args)) is not None
    outside = {Place.ROOT, Place.SYSTEM, Place.HOME, Place.OUTSIDE}
    if wanted and call.stdin is not None and holes.SECRET in call.stdin:
        machine.report("shell.credentials.print", RiskLevel.HIGH, call.text, "A credential would be printed.")
    elif wanted and any(
        seen_at(machine, found) in outside for path in call.form.words[1:] for found in everywhere(machine, path)
    ):
        machine.report(
            "shell.credentials.search", RiskLevel.HIGH, call.text, "It looks for credentials on the machine."
        )
    return holes.worst_of(call.stdin)


@handles("printenv", "history", "set", "declare", "export")
def environment(_: Machine, call: Call) -> str:
    """The environment and the history hold credentials."""
    return holes.SECRET if not call.form.words else holes.OUTPUT


@handles("cut", "awk", "jq", "yq", "column", "wc", "paste")
def filtered(_: Machine, call: Call) -> str:
    """Some of the input, which part is not followed."""
    return holes.worst_of(call.stdin)


@handles("pwd")
def pwd(machine: Machine, _: Call) -> str:
    """The directory."""
    return machine.lookup("PWD") + "\n"


@handles("which", "command_v")
def which(_: Machine, call: Call) -> str:
    """A program's path stands for the program."""
    return " ".join(call.form.words) + "\n"


@handles("mktemp")
def mktemp(_: Machine, call: Call) -> str:
    """A fresh temporary path."""
    return "/tmp/mktemp.1\n" if not call.form.words else f"/tmp/{call.form.words[0].rsplit('/', 1)[-1]}\n"  # noqa: S108 - a value, not a use


@handles("date", "nproc", "hostname", "whoami", "id", "uname", "seq", "arch", "uuidgen")
def facts(_: Machine, call: Call) -> str:
    """Short facts: safe in a path, and still data when sent away."""
    return f"{call.name}-1{holes.OUTPUT}" if call.name in {"id", "uname", "hostname", "whoami"} else "1\n"


@handles("basename")
def basename(_: Machine, call: Call) -> str:
    """The last part of a path."""
    words = call.form.words
    return (
        words[0].rstrip("/").rsplit("/", 1)[-1].removesuffix(words[1] if len(words) > 1 else "") if words else ""
    ) + "\n"


@handles("dirname")
def dirname(_: Machine, call: Call) -> str:
    """A path without its last part; the script's own folder is taken for the workspace."""
    word = call.form.words[0] if call.form.words else ""
    return (word.rstrip("/").rpartition("/")[0] or ".") + "\n"


@handles("rot13", "caesar")
def rot13(machine: Machine, call: Call) -> str:
    """The oldest disguise."""
    return codecs.encode(_input(machine, call), "rot13")


def prints_settings(text: str) -> bool:
    """Whether a command is one of those whose output is made to be evaluated (``ssh-agent -s``, ``direnv hook``)."""
    return _ENVIRONMENT_PRINTERS.match(text) is not None and text.split(maxsplit=1)[0] not in HANDLERS
