"""The dashboard's panels: a module each, with ``render(connection) -> str``; order.txt says which and in what order."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

ORDER = Path(__file__).with_name("order.txt")


def names() -> list[str]:
    return [line.strip() for line in ORDER.read_text(encoding="utf-8").splitlines() if line.strip()]


def rendered(connection: sqlite3.Connection) -> Iterator[str]:
    for name in names():
        if not name.isidentifier():
            raise ValueError(f"{ORDER.name}: {name!r} is not the name of a panel")
        yield import_module(f"{__name__}.{name}").render(connection)
