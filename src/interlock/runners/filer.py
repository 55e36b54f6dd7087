"""Reads, lists, searches and writes the files of one workspace, and asks SQLite: for a model, inside its sandbox. Standard library only.

``python filer.py DESCRIPTOR WORKSPACE``: one JSON line a request comes in on the inherited socket, ``{"do": NAME, "args": {…}}``, one
goes out, ``{"ok": …, "output": …}``; the end of the requests is its end. Time limits are kept by who asks: it ends the whole process.

Paths are resolved, links included, and must lie in the workspace; ``.git`` is not for agents. What was resolved is opened
name by name without following links, so that a link put there meanwhile is an error; SQLite opens its file itself, there
the walls alone hold.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

MAX_FILE = 1_000_000
"""Bytes of a file that may be read or written."""
MAX_RESULT = 60_000
"""Characters of a result that go to the model."""
MAX_LINE = 8 * MAX_FILE
"""Bytes of a request or an answer: a whole file, each of its bytes escaped."""
_MAX_ENTRIES = 1000
_MAX_HITS = 200
_MAX_ROWS = 200
_MAX_DEPTH = 100
_SKIPPED = frozenset({".git", "node_modules", "__pycache__", ".venv"})
_OTHER_FILES = frozenset({sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH})
_PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO is not waited for


class NotDoneError(Exception):
    """Raised when a request was not done; the text says why, to the model."""


class Filer:
    """The files below one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def read(self, path: str) -> str:
        """A text file."""
        return cut(self._bytes(self._place(path), path).decode(errors="replace"))

    def names(self, path: str) -> str:
        """The files below a directory."""
        place = self._place(path)
        if not place.is_dir():
            raise NotDoneError(f"{path} is not a directory")
        names = [str(file.relative_to(self.root)) for file in self._files(place, _MAX_ENTRIES + 1)]
        more = "\n… and more" if len(names) > _MAX_ENTRIES else ""
        return "\n".join(names[:_MAX_ENTRIES]) + more or "(nothing)"

    def search(self, pattern: str, path: str) -> str:
        """Lines that match; a pattern that never comes to its end is ended with the process."""
        place = self._place(path)
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise NotDoneError(f"the pattern is not one: {error}") from error
        hits: list[str] = []
        for file in [place] if place.is_file() else self._files(place, 20 * _MAX_ENTRIES):
            hits += self._hits(compiled, file)
            if len(hits) >= _MAX_HITS:
                return cut("\n".join([*hits[:_MAX_HITS], "… and more"]))
        return cut("\n".join(hits)) or "(nothing)"

    def write(self, path: str, content: str) -> str:
        """Write a whole file."""
        self._put(self._place(path), path, content.encode())
        return f"wrote {path}"

    def edit(self, path: str, old: str, new: str) -> str:
        """Replace what is there once; all other bytes stay as they are."""
        place = self._place(path)
        data = self._bytes(place, path)
        found = data.count(old.encode()) if old else 0
        if found != 1:
            raise NotDoneError(f"old_string is there {found} times in {path}; it must be there once")
        self._put(place, path, data.replace(old.encode(), new.encode()))
        return f"wrote {path}"

    def sql(self, database: str, query: str) -> str:
        """One statement; no other file can be attached."""
        place = self._place(database)
        if not place.is_file():
            raise NotDoneError(f"there is no {database}")
        try:
            with closing(sqlite3.connect(place, timeout=5, isolation_level=None)) as connection:
                connection.set_authorizer(_no_other_files)
                return cut(_rows(connection.execute(query)))
        except sqlite3.Error as error:
            raise NotDoneError(f"SQLite: {error}") from error

    def _place(self, path: str) -> Path:
        place = (self.root / path).resolve()
        if not place.is_relative_to(self.root):
            raise NotDoneError(f"{path} lies outside of the workspace")
        if ".git" in map(str.lower, place.relative_to(self.root).parts):
            raise NotDoneError(".git is not for agents: Interlock commits what you change")
        return place

    def _folder(self, place: Path, *, make: bool = False) -> int:
        """A descriptor of a resolved directory; the caller closes it."""
        here = os.open(self.root, os.O_DIRECTORY | os.O_CLOEXEC)
        for name in place.relative_to(self.root).parts:
            above = here
            try:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(name, dir_fd=above)
                here = os.open(name, os.O_DIRECTORY | _PLAIN, dir_fd=above)
            finally:
                os.close(above)
        return here

    def _open(self, place: Path, shown: str, flags: int) -> int:
        """A descriptor of a resolved file that is a plain one; the caller closes it."""
        folder = self._folder(place.parent, make=bool(flags & os.O_CREAT))
        try:
            file = os.open(place.name, flags | _PLAIN, 0o666, dir_fd=folder)
        finally:
            os.close(folder)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise NotDoneError(f"{shown} is not a file")
        return file

    def _bytes(self, place: Path, shown: str) -> bytes:
        if not place.is_file():
            raise NotDoneError(f"{shown} is not a file" if place.exists() else f"there is no {shown}")
        with os.fdopen(self._open(place, shown, os.O_RDONLY), "rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise NotDoneError(f"{shown} has more than {MAX_FILE} bytes: search in it instead")
        return data

    def _put(self, place: Path, shown: str, data: bytes) -> None:
        if len(data) > MAX_FILE:
            raise NotDoneError(f"more than {MAX_FILE} bytes")
        if place.exists() and not place.is_file():
            raise NotDoneError(f"{shown} is not a file")
        with os.fdopen(self._open(place, shown, os.O_WRONLY | os.O_CREAT), "wb") as file:
            file.truncate(0)
            file.write(data)

    def _files(self, place: Path, most: int) -> Iterator[Path]:
        """Files below a directory, links not followed, and not deeper than a hundred directories."""
        waiting = [(place, 0)]
        while waiting:
            folder, depth = waiting.pop()
            names, folders = self._entries(folder)
            yield from (folder / name for name in names[:most])
            most -= len(names)
            if most <= 0:
                return
            if depth < _MAX_DEPTH:
                waiting += [(folder / name, depth + 1) for name in reversed(folders)]

    def _entries(self, folder: Path) -> tuple[list[str], list[str]]:
        try:
            descriptor = self._folder(folder)
        except OSError:
            return [], []
        try:
            with os.scandir(descriptor) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        finally:
            os.close(descriptor)
        found = sorted(each for each in found if each[0] not in _SKIPPED)
        return [name for name, is_dir in found if not is_dir], [name for name, is_dir in found if is_dir]

    def _hits(self, compiled: re.Pattern[str], file: Path) -> list[str]:
        shown = str(file.relative_to(self.root))
        try:
            data = b"\0" if file.is_symlink() else self._bytes(file, shown)
        except (OSError, NotDoneError):
            return []
        if b"\0" in data:
            return []
        lines = re.split(r"\r?\n", data.decode(errors="replace"))
        return [f"{shown}:{number}: {line[:300]}" for number, line in enumerate(lines, 1) if compiled.search(line)]


def cut(text: str) -> str:
    """What is too long loses its middle."""
    if len(text) <= MAX_RESULT:
        return text
    half = MAX_RESULT // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def _no_other_files(what: int, *_: object) -> int:
    return sqlite3.SQLITE_DENY if what in _OTHER_FILES else sqlite3.SQLITE_OK


def _rows(cursor: sqlite3.Cursor) -> str:
    if cursor.description is None:
        return f"{max(cursor.rowcount, 0)} rows changed"
    rows = cursor.fetchmany(_MAX_ROWS + 1)
    lines = ["\t".join(column[0] for column in cursor.description)]
    lines += ["\t".join("NULL" if value is None else str(value) for value in row) for row in rows[:_MAX_ROWS]]
    return "\n".join(lines) + ("\n… and more" if len(rows) > _MAX_ROWS else "")


def _answer(does: dict[str, Callable[..., str]], request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"ok": True, "output": does[request["do"]](**request["args"])}
    except NotDoneError as error:
        return {"ok": False, "output": str(error)}
    except (OSError, ValueError, RuntimeError, OverflowError, MemoryError) as error:  # RuntimeError: links in a circle
        return {"ok": False, "output": f"{type(error).__name__}: {error}"}


def main(descriptor: int, workspace: str) -> None:
    """Answer until nobody asks any more."""
    filer = Filer(Path(workspace))
    does: dict[str, Callable[..., str]] = {
        "read": filer.read, "list": filer.names, "search": filer.search, "write": filer.write, "edit": filer.edit, "sql": filer.sql,
    }  # fmt: skip
    with os.fdopen(descriptor, "rb") as asked, os.fdopen(os.dup(descriptor), "wb") as answered:
        while line := asked.readline(MAX_LINE):
            answer = _answer(does, json.loads(line))
            answer["output"] = answer["output"].encode(errors="replace").decode()  # names need not be UTF-8
            answered.write(json.dumps(answer).encode() + b"\n")
            answered.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
