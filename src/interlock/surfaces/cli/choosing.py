"""What ``plan``, ``assess`` and ``agents`` share: the project's agents, and lines of JSON in and out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.errors import InterlockError, UsageError

if TYPE_CHECKING:
    from typing import BinaryIO

    from interlock.config import Settings
    from interlock.engine.choose import Chooser
    from interlock.model.agent import AgentSpec

MAX_LINE = 4 * 1024 * 1024
"""Longest line of JSON, in bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """The project around the working directory, and who chooses for it."""

    settings: Settings
    chooser: Chooser

    @property
    def agents(self) -> tuple[AgentSpec, ...]:
        """The agents that may be chosen."""
        return self.chooser.agents

    @property
    def has_store(self) -> bool:
        """Whether anything has ever run here."""
        return self.settings.state_dir.exists()


def load_project(*, agents: Path | None = None, env: str | None = None, config: Path | None = None) -> Project:
    """The project around the working directory; ``agents`` names another catalogue.

    A catalogue given by hand is judged by itself: the project's own additions and memory are for the project's agents.

    Raises:
        ConfigError: when the configuration, a definition or the memory is not usable.
    """
    from interlock.catalogue import load_catalogue  # noqa: PLC0415 - help stays fast
    from interlock.config import load_settings  # noqa: PLC0415 - pydantic takes its time
    from interlock.engine.choose import Chooser  # noqa: PLC0415 - the same

    settings = load_settings(Path.cwd(), env=env, file=config)
    place = agents or Path(settings.project, settings.agents_dir)
    there = agents is not None or place.exists() or settings.source("agents_dir") != "default"
    said = {} if agents else settings.agents
    extra = {name: one.model_dump(mode="json", exclude_unset=True) for name, one in said.items()}
    catalogue = load_catalogue(place if there else None, extra)
    return Project(settings=settings, chooser=Chooser(settings, catalogue, elsewhere=agents))


def stream(source: str, answer: Callable[[Any], dict[str, Any]]) -> int:
    """Answer each line of ``source`` (a file, or - for standard input); 1 when a line was malformed, else 0."""
    if source == "-":
        return _stream(sys.stdin.buffer, answer)
    try:
        with Path(source).open("rb") as lines:
            return _stream(lines, answer)
    except OSError as problem:
        raise UsageError(f"{source} cannot be read: {problem.strerror}") from problem


def _stream(lines: BinaryIO, answer: Callable[[Any], dict[str, Any]]) -> int:
    import orjson  # noqa: PLC0415 - help needs none

    bad = False
    for line in _lines(lines):
        if not line.strip():
            continue
        said = _answered(line, answer)
        bad = bad or "error" in said
        sys.stdout.write(orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE).decode())
        sys.stdout.flush()
    return 1 if bad else 0


def _answered(line: bytes, answer: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    import orjson  # noqa: PLC0415 - help needs none

    if len(line) > MAX_LINE:
        return {"error": f"the line is longer than {MAX_LINE:,} bytes"}
    try:
        row = orjson.loads(line)
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            return {"error": 'a line is a JSON object with "text"'}
        return answer(row)
    except orjson.JSONDecodeError as problem:
        return {"error": f"not JSON: {problem}"}
    except InterlockError as problem:
        return {"error": str(problem)}
    except Exception as problem:  # noqa: BLE001 - one bad line must not end the stream, nor pass for an answer
        return {"error": f"{type(problem).__name__}: the line could not be judged"}


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """Lines, of which one too long comes as its beginning only: it is refused, and memory stays bounded."""
    while line := source.readline(MAX_LINE + 1):
        yield line
        while len(line) > MAX_LINE and not line.endswith(b"\n"):
            line = source.readline(MAX_LINE + 1)


def task_text(text: str) -> str:
    """The task that ``text`` is, or that standard input holds.

    Raises:
        UsageError: when there is none.
    """
    said = sys.stdin.read() if text == "-" else text
    if not said.strip():
        raise UsageError("the task is empty; say what is to be done")
    return said


def print_json(value: Any) -> None:
    """``value`` as indented JSON."""
    import orjson  # noqa: PLC0415 - help needs none

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())


def wrapped(first: str, rest: str, text: str) -> Sequence[str]:
    """``text`` at 80 columns, the first line after ``first``, further ones after ``rest``."""
    import textwrap  # noqa: PLC0415 - help needs none

    return textwrap.wrap(text, 80, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False) or [first]
