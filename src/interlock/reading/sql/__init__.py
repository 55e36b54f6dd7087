"""SQL to findings: :func:`read_sql`. The parser takes 0.3 s to load, so that waits for the first statement: a hook counts."""

from __future__ import annotations

from interlock.model.action import Reading


def read_sql(text: str, dialect: str = "") -> Reading:
    """Everything that ``text`` would do to a database; see :func:`interlock.reading.sql.read.read_sql`."""
    from interlock.reading.sql.read import read_sql as read  # noqa: PLC0415 - see above

    return read(text, dialect)


def warm() -> None:
    """Load what the first statement would; see :func:`interlock.reading.sql.read.warm`."""
    from interlock.reading.sql.read import warm as load  # noqa: PLC0415 - see above

    load()


__all__ = ["read_sql", "warm"]
