"""What all commands share: their options, the project's service, how errors and results are said."""

from __future__ import annotations

import contextlib
import getpass
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from interlock.config import Settings
    from interlock.service import Service

Env = Annotated[
    str | None, typer.Option("--env", metavar="NAME", help="Environment: development, staging, production …")
]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Another file than interlock.yaml.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON value for programs instead of text for people.")]
_COLUMNS = 80
"""How wide lines are where nobody says how wide the screen is."""
_NARROWEST = 20
_GIT_SECONDS = 10
RunId = Annotated[str, typer.Argument(metavar="RUN", help='A run\'s id, its end, or "last".')]


def load(env: str | None, config: Path | None) -> Settings:
    """The settings of the project here."""
    from interlock.config import load_settings  # noqa: PLC0415 - help does without it

    return load_settings(Path.cwd(), env=env, file=config)


@contextlib.contextmanager
def opened(env: str | None, config: Path | None, *, execute: bool = False) -> Iterator[Service]:
    """The project's service; ``execute`` makes this process a worker."""
    from interlock.app import build  # noqa: PLC0415 - the engine takes half a second to import

    service = build(load(env, config))
    try:
        if execute:
            service.start()
        yield service
    finally:
        service.close()


def git_says(root: Path, *args: str) -> str | None:
    """The output of a git command without its last newline, None when it failed."""
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(root), *args]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.removesuffix("\n")


def me() -> str:
    """Who is at the keyboard: the operating system's account. The command line knows no better identity."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def at_terminal() -> bool:
    """Whether a person can be asked here."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def console(*, stderr: bool = False) -> Console:
    """A console that reads well at 80 columns, without colour, and in a pipe; what agents wrote cannot steer the screen."""
    from interlock.surfaces.cli.screen import Screen  # noqa: PLC0415 - rich is not needed for --json

    target = sys.stderr if stderr else sys.stdout
    columns = os.environ.get("COLUMNS", "")
    width = None if target.isatty() else max(_COLUMNS, int(columns) if columns.isdigit() else _COLUMNS)
    return Screen(stderr=stderr, highlight=False, width=width, soft_wrap=False)


def visible(text: str) -> str:
    """Control and direction characters written out: a person must see what is there, and the terminal must not obey it."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t\u00a0" else f"\\u{ord(char):04x}" for char in text)


def hanging(out: Console, head: str, text: str, *, style: str = "", head_style: str = "") -> None:
    """``text`` after ``head``, further lines under the first one; no line ends in blanks."""
    from rich.text import Text  # noqa: PLC0415

    room = max(_NARROWEST, out.width - len(head))
    for number, part in enumerate(Text(text).wrap(out, room) or [Text()]):
        part.rstrip()
        part.stylize(style)
        whole = Text.assemble((head if number == 0 else " " * len(head), head_style), part)
        whole.rstrip()
        out.print(whole, soft_wrap=True)


def say_json(value: Any) -> None:
    """Print a noun, a list of nouns or plain values as one line of JSON."""
    import orjson  # noqa: PLC0415

    sys.stdout.write(orjson.dumps(plain(value)).decode() + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """Nouns as plain values."""
    import dataclasses  # noqa: PLC0415

    from interlock.model.plain import dump  # noqa: PLC0415

    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return dump(value) if dataclasses.is_dataclass(value) else value


def many(count: int, noun: str) -> str:
    """A number of things, in the singular where it is one."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def ago(at: datetime | None) -> str:
    """How long ago, in the largest fitting unit."""
    if at is None:
        return ""
    seconds = max(0, int((datetime.now(UTC) - at).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def span(milliseconds: int | None) -> str:
    """A duration for people."""
    if milliseconds is None:
        return "unknown"
    if milliseconds < 1000:  # noqa: PLR2004 - a second
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"  # noqa: PLR2004 - a minute
