"""``interlock check``: the gate's judgement of one text, or of many lines of JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.errors import InterlockError, UsageError, did_you_mean
from interlock.surfaces.cli.common import ConfigFile, Env, Json, console
from interlock.surfaces.cli.judging import EXIT_CODES, Bench, action_of, as_json, decide, make_bench, show

if TYPE_CHECKING:
    from typing import BinaryIO

MAX_LINE = 4 * 1024 * 1024
"""Longest line of JSON, in bytes; the gate itself refuses much less."""


def check(
    text: Annotated[str | None, typer.Argument(help="What to judge; - reads standard input.")] = None,
    *,
    surface: Annotated[
        str,
        typer.Option(help="task, plan, prompt, tool_call, tool_result, agent_output, file_change or tool_definition."),
    ] = "tool_call",
    tool: Annotated[str, typer.Option(help="The tool that would be called, such as shell, sql or edit.")] = "",
    args: Annotated[str | None, typer.Option(help="The tool's arguments as a JSON object, instead of TEXT.")] = None,
    jsonl: Annotated[str | None, typer.Option(help="Judge each line of this file; - reads standard input.")] = None,
    env: Env = None,
    config: ConfigFile = None,
    as_json_: Json = False,
) -> None:
    """Judge a text or a tool call, and say why.

    Exit codes: 0 allow, 3 block, 4 confirm; with --jsonl 0, or 1 when a line was malformed.
    """
    try:
        bench = make_bench(config=config, env=env)
        _refuse_mistyped(tool, bench)
        if jsonl is not None:
            raise typer.Exit(_many(jsonl, bench))
        raise typer.Exit(_one(_row(text, args, surface, tool), bench, as_json_=as_json_))
    except InterlockError as problem:
        typer.echo(f"interlock: {problem}", err=True)
        raise typer.Exit(problem.exit_code) from problem


def _refuse_mistyped(tool: str, bench: Bench) -> None:
    """A guard that asks about "shel" would have its commands judged as no commands at all."""
    from interlock.reading.tools import Kind, tool_kind  # noqa: PLC0415 - help needs none

    if tool and tool not in bench.tools and tool_kind(tool) is None and (near := did_you_mean(tool, Kind)):
        raise UsageError(f"there is no tool {tool!r}: {near} One of your own by that name is declared under tools:")


def _row(text: str | None, args: str | None, surface: str, tool: str) -> dict[str, Any]:
    import orjson  # noqa: PLC0415 - help needs none

    if (text is None) == (args is None):
        raise UsageError("give a TEXT, or --args with a JSON object, or --jsonl with a file")
    if args is None:
        said = sys.stdin.read() if text == "-" else text
        return {"surface": surface, "tool": tool, "text": said}
    try:
        return {"surface": surface, "tool": tool, "args": orjson.loads(args)}
    except orjson.JSONDecodeError as problem:
        raise UsageError(f"--args is not JSON: {problem}") from problem


def _one(row: dict[str, Any], bench: Bench, *, as_json_: bool) -> int:
    decision = decide(action_of(row, environment=bench.environment), bench)
    if as_json_:
        sys.stdout.write(_line(as_json(decision)))
    else:
        show(decision, console())
    return EXIT_CODES[decision.verdict]


def _many(source: str, bench: Bench) -> int:
    if source == "-":
        return _stream(sys.stdin.buffer, bench)
    try:
        with Path(source).open("rb") as lines:
            return _stream(lines, bench)
    except OSError as problem:
        raise UsageError(f"{source} cannot be read: {problem.strerror}") from problem


def _stream(lines: BinaryIO, bench: Bench) -> int:
    """Answer line by line, in order, each written out before the next is read."""
    bad = False
    for answer in answers(_lines(lines), bench):
        bad = bad or "error" in answer
        sys.stdout.write(_line(answer))
        sys.stdout.flush()
    return 1 if bad else 0


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """Lines, of which one too long comes as its beginning only: it is refused, and memory stays bounded."""
    while line := source.readline(MAX_LINE + 1):
        yield line
        while len(line) > MAX_LINE and not line.endswith(b"\n"):
            line = source.readline(MAX_LINE + 1)


def answers(lines: Iterable[bytes], bench: Bench) -> Iterator[dict[str, Any]]:
    """One answer a line; a malformed one gets ``{"error": …}``, an empty one nothing."""
    import orjson  # noqa: PLC0415 - help needs none

    for line in lines:
        if not line.strip():
            continue
        if len(line) > MAX_LINE:
            yield {"error": f"the line is longer than {MAX_LINE:,} bytes"}
            continue
        try:
            yield as_json(decide(action_of(orjson.loads(line), environment=bench.environment), bench))
        except orjson.JSONDecodeError as problem:
            yield {"error": f"not JSON: {problem}"}
        except InterlockError as problem:
            yield {"error": str(problem)}
        except Exception as problem:  # noqa: BLE001 - one bad line must not end the stream, nor pass for an answer
            yield {"error": f"{type(problem).__name__}: the line could not be judged"}


def _line(answer: dict[str, Any]) -> str:
    import orjson  # noqa: PLC0415 - help needs none

    try:
        return orjson.dumps(answer).decode() + "\n"
    except (TypeError, ValueError):
        import json  # noqa: PLC0415 - only for text that is not valid Unicode

        return json.dumps(answer) + "\n"
