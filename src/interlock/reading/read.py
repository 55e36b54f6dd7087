"""One way in: an action to its reading, by surface and tool. Closed on failure.

A tool's name only says which argument is its main one; arguments of tools that nobody knows are read as everything that
they could be. A reader that raises, an input that is too long or too deep, a time that is over: a critical finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, TypeVar

import re2

from interlock.model.action import Action, Reading, Scope, Surface
from interlock.reading.commands import COMMAND_NAMES, code_line, command_lines, plain_name
from interlock.reading.failed import failure
from interlock.reading.http import read_http
from interlock.reading.patch import read_patch
from interlock.reading.paths import read_path
from interlock.reading.secrets import find_secrets
from interlock.reading.shell import read_shell
from interlock.reading.statements import read_sql
from interlock.reading.text import read_text
from interlock.reading.tools import Kind, looks_like_path, looks_like_sql, looks_like_url, tool_kind, writes

R = TypeVar("R")
T = TypeVar("T")
Values = list[tuple[str, Any]]
"""Single values, each with the nearest key above it."""

MAX_CHARACTERS = 256 * 1024
"""Longest input, in characters over all arguments: nothing longer can be read within a gate's time."""
MAX_DEPTH = 20
"""Deepest nesting of arguments."""
MAX_VALUES = 2000
"""Most values in the arguments of one call."""

Expired = Callable[[], bool]
"""Whether the caller's time for this reading is over; the caller holds the clock."""

_PATH_NAMES = frozenset(
    [
        "path",
        "file",
        "filepath",
        "filename",
        "paths",
        "files",
        "dir",
        "directory",
        "folder",
        "cwd",
        "target",
        "targetpath",
        "source",
        "sourcepath",
        "destination",
        "destinationpath",
        "src",
        "dst",
        "dest",
        "oldpath",
        "newpath",
        "notebookpath",
        "absolutepath",
        "relativepath",
        "root",
        "uri",
        "location",
    ]
)
_SQL_NAMES = frozenset(["sql", "sqlquery", "statement", "statements", "sqlstatement"])
_STATEMENT_NAMES = _SQL_NAMES | frozenset({"command", "queries", "query", "q", "text"})
_OLD_NAMES = ("old_string", "old_str", "oldtext", "old_text", "old", "search")
_NEW_NAMES = (
    "new_string",
    "new_str",
    "newtext",
    "new_text",
    "new",
    "replace",
    "content",
    "contents",
    "file_text",
    "text",
)
_DIFF_NAMES = ("patch", "diff", "input", "changes")
_DIFF = re.compile(r"^(?:diff --git |--- |\*\*\* (?:Begin Patch|Update File|Add File|Delete File)|@@ )", re.MULTILINE)


_EDIT_NAMES = frozenset({*_OLD_NAMES, *_NEW_NAMES, *_DIFF_NAMES, "edits", "command"})
_HTTP_NAMES = frozenset({"url", "headers", "method", "body"})
_MEANINGFUL = _PATH_NAMES | COMMAND_NAMES | _SQL_NAMES
_CLIMBING = re2.compile(r"""[^\s"';|&<>]*\.\.\\[^\s"';|&<>]*""")
_DETOURS = re2.compile(r"(?:\.\.;/){2,}[^\s\"';|&<>]*|\S*\.\.%[eE][fF]%[bB][cC]%8[fF]\S*")
"""Paths that climb by a server's spelling: a parameter that is dropped, a wide slash."""
_GAP = re2.compile(r"(?:\n[+ -]?[ \t\r]*){50,}\n")
"""Many blank lines: they say nothing, and patterns that begin with ``^\\s*`` take quadratic time on them."""
_UNNAMED = "unnamed"
_BARE = re.compile(r"[A-Za-z0-9_-]{0,24}")
_NOTHING = Reading()
_SINGLE = frozenset({str, int, float, bool, type(None)})


class _TooMuchError(ValueError):
    """Raised when an input is beyond what is read."""


def read(action: Action, scope: Scope, *, expired: Expired | None = None) -> Reading:
    """Everything that can be told about an action from its own words.

    Args:
        action: what is about to happen.
        scope: what is known of the place; paths inside its workspace come out relative to it, others as they are.
        expired: asked between readers; when it says yes, the reading ends as failed.

    Never raises: what goes wrong is a critical finding ``gate.failed`` with the reason.
    """
    try:
        return _located(_Dispatch(scope, expired).read(action), scope.workspace)
    except RecursionError:
        return Reading(findings=(failure("it is nested too deeply to be read"),))
    except Exception as problem:  # noqa: BLE001 - closed on failure: what cannot be read is not harmless
        why = (
            str(problem)
            if isinstance(problem, (_TooMuchError, TimeoutError))
            else f"{type(problem).__name__} in a reader"
        )
        return Reading(findings=(failure(why),))


def _located(reading: Reading, workspace: str) -> Reading:
    if not reading.paths:
        return reading
    root = workspace.rstrip("/") + "/" if workspace else ""
    paths = tuple(dict.fromkeys([path.removeprefix(root) for path in reading.paths if path != _UNNAMED]))
    return reading if paths == reading.paths else replace(reading, paths=paths)


def together(readings: Sequence[Reading]) -> Reading:
    """All readings as one."""
    told = [it for it in readings if it is not _NOTHING]
    if len(told) < 2:  # noqa: PLR2004 - nothing to join
        return told[0] if told else _NOTHING
    return Reading(
        findings=_union(it.findings for it in told),
        programs=_union(it.programs for it in told),
        statements=_union(it.statements for it in told),
        paths=_union(it.paths for it in told),
        destinations=_union(it.destinations for it in told),
    )


def _union(parts: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(parts)))


class _Dispatch:
    __slots__ = ("expired", "scope")

    def __init__(self, scope: Scope, expired: Expired | None) -> None:
        self.scope = scope
        self.expired = expired

    def read(self, action: Action) -> Reading:
        values, inner = _values(action.args)
        if action.kind is Surface.FILE_CHANGE:
            return self._file_change(action)
        if action.kind is not Surface.TOOL_CALL:
            return self._texts(action, values)
        return self._tool_call(action, values, inner)

    def _texts(self, action: Action, values: Values) -> Reading:
        texts = [value for _, value in values if isinstance(value, str)]
        return together([self._run(read_text, text, action.kind) for text in texts])

    def _tool_call(self, action: Action, values: Values, inner: list[Mapping[str, Any]]) -> Reading:
        kind = tool_kind(action.tool) or (None if action.tool else _nameless(action.text))
        parts: list[Reading] = []
        done: frozenset[str] = frozenset()
        if kind is Kind.EDIT:
            parts, done = [self._file_change(action)], _EDIT_NAMES
        elif kind is Kind.SQL:
            parts, done = self._sql_tool(values)
        elif kind is Kind.HTTP:
            parts, done = [self._run(read_http, action.args, self.scope)], _HTTP_NAMES
        else:
            lines, done = command_lines(action.args, is_shell=kind is Kind.SHELL)
            code, names = code_line(action.tool, action.args)
            parts = [self._command(line) for line in (*lines, *code)]
            done |= names
        for mapping in inner if kind is not Kind.EDIT else ():
            parts += [self._command(line) for line in command_lines(mapping, is_shell=False)[0]]
        read_already = _places(action.args, done) if done else ()
        for name, value in values:
            if isinstance(value, str) and not _is_bare(name, value) and (name, id(value)) not in read_already:
                parts.append(self._unknown(name, value, write=writes(action.tool, kind)))
        parts.append(self._secrets(values))
        return together(parts)

    def _command(self, command: str) -> Reading:
        """A command line, as bash reads it; and paths that climb with backslashes, which only Windows' shells see."""
        climbing = _CLIMBING.findall(command) if "..\\" in command else _DETOURS.findall(command)
        paths = [self._run(read_path, path.replace("..;", ".."), self.scope, write=False) for path in climbing]
        return together([self._run(read_shell, command, self.scope, sql=read_sql), *paths])

    def _file_change(self, action: Action) -> Reading:
        """The path, the change as a patch, and what it adds as text: a line that is taken away hides and leaks nothing."""
        args = action.args
        path = next((value for name, value in args.items() if _is_path_name(name) and isinstance(value, str)), "")
        parts = [self._run(read_path, path, self.scope, write=True)] if path else []
        for diff, added, whole in _changes(args, path):
            where = (path or _UNNAMED) if whole else ""
            parts.append(self._run(read_patch, _GAP.sub("\n", diff), self.scope, path=where, secrets=find_secrets))
            parts.append(self._run(read_text, added, Surface.FILE_CHANGE))
        return together(parts)

    def _sql_tool(self, values: Values) -> tuple[list[Reading], frozenset[str]]:
        found = {
            name: value
            for name, value in values
            if isinstance(value, str) and (plain_name(name) in _STATEMENT_NAMES or looks_like_sql(value))
        }
        texts = [value for name, value in values if name in found and isinstance(value, str)]
        return [self._run(read_sql, text, self.scope.dialect) for text in texts], frozenset(found)

    def _unknown(self, name: str, value: str, *, write: bool) -> Reading:
        """An argument of which nothing is known but its name and its looks."""
        if plain_name(name) in _SQL_NAMES or looks_like_sql(value):
            return self._run(read_sql, value, self.scope.dialect)
        if looks_like_url(value):
            return self._run(read_http, {"url": value}, self.scope)
        if _is_path_name(name) or looks_like_path(value):
            return self._run(read_path, value, self.scope, write=write)
        if plain_name(name) in COMMAND_NAMES:
            return self._command(value)
        return self._run(read_text, value, Surface.TOOL_CALL)

    def _secrets(self, values: Values) -> Reading:
        texts = [value if "\n" in value else f"{name}: {value}" for name, value in values if isinstance(value, str)]
        found = self._run(find_secrets, "\n".join(texts)) if texts else ()
        return Reading(findings=found) if found else _NOTHING

    def _run(self, reader: Callable[..., R], *args: Any, **more: Any) -> R:
        if self.expired is not None and self.expired():
            raise TimeoutError("the time for it was over")
        return reader(*args, **more)


def as_diff(path: str, old: str, new: str) -> str:
    """A replacement inside a file as a unified diff, so that it is judged as a change."""
    before, after = old.splitlines(), new.splitlines()
    head = f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1,{len(before)} +1,{len(after)} @@\n"
    return head + "".join(f"-{line}\n" for line in before) + "".join(f"+{line}\n" for line in after)


def _changes(args: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, bool]]:
    """Each change: a diff or, when the last is true, a whole new content; and the text that it adds."""
    for name in (*_DIFF_NAMES, "text"):
        value = args.get(name)
        if isinstance(value, str) and value and (name != "text" or _DIFF.search(value)):
            added = [line[1:] for line in value.splitlines() if line.startswith("+") and not line.startswith("+++")]
            yield value, "\n".join(added), False
            return
    edits = args.get("edits")
    for change in edits if isinstance(edits, (list, tuple)) else (args,):
        if not isinstance(change, Mapping):
            continue
        old, new = _first(change, _OLD_NAMES), _first(change, _NEW_NAMES)
        if old:
            yield as_diff(path or _UNNAMED, old, new), new, False
        elif new:
            yield new, new, True


def _values(args: Mapping[str, Any]) -> tuple[Values, list[Mapping[str, Any]]]:
    """Every single value with the nearest key above it, and the mappings inside; refuses what is too much to be parsed."""
    values: Values = []
    inner: list[Mapping[str, Any]] = []
    _gather(args, "", 0, values, inner)
    characters = 0
    for name, value in values:
        characters += len(name) + (len(value) if isinstance(value, str) else 0)
    if characters > MAX_CHARACTERS:
        raise _TooMuchError(f"it is longer than {MAX_CHARACTERS:,} characters")
    return values, inner[1:]


def _gather(value: Any, name: str, depth: int, values: Values, inner: list[Mapping[str, Any]]) -> None:
    if depth > MAX_DEPTH:
        raise _TooMuchError(f"its arguments are nested deeper than {MAX_DEPTH}")
    if not isinstance(value, (dict, Mapping, list, tuple)):
        values.append((name, value))
        return
    if len(values) + len(value) > MAX_VALUES:
        raise _TooMuchError(f"it has more than {MAX_VALUES:,} values")
    if isinstance(value, (list, tuple)):
        for item in value:
            _gather(item, name, depth + 1, values, inner)
        return
    inner.append(value)
    for key, item in value.items():
        if type(item) in _SINGLE:
            values.append((str(key), item))
        else:
            _gather(item, str(key), depth + 1, values, inner)


def _places(args: Mapping[str, Any], names: Iterable[str]) -> set[tuple[str, int]]:
    """Which values stand under these arguments."""
    values: Values = []
    for name in names:
        _gather(args.get(name), name, 0, values, [])
    return {(name, id(value)) for name, value in values}


def _first(args: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((value for name in names if isinstance(value := args.get(name), str) and value), "")


def _nameless(text: str) -> Kind:
    """A call of a tool without a name is taken for the worse of what its text could be."""
    return Kind.SQL if looks_like_sql(text) else Kind.SHELL


def _is_bare(name: str, value: str) -> bool:
    """Whether a value is one plain word under a name that gives it no meaning: there is nothing to read in it."""
    return _BARE.fullmatch(value) is not None and plain_name(name) not in _MEANINGFUL


def _is_path_name(name: str) -> bool:
    return plain_name(name) in _PATH_NAMES
