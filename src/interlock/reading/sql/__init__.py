"""SQL to findings: :func:`read_sql`."""

from __future__ import annotations

from interlock.model.action import Reading


def read_sql(text: str, dialect: str = "") -> Reading:
    """Everything that ``text`` would do to a database; see :func:`interlock.reading.sql.read.read_sql`."""
    from interlock.reading.sql.read import read_sql as read  # noqa: PLC0415 - the parser takes 0.3 s to load: a hook counts

    return read(text, dialect)


def warm() -> None:
    """Load the dialects now; see :func:`interlock.reading.sql.read.warm`."""
    from interlock.reading.sql.read import warm as load  # noqa: PLC0415 - as above

    load()


__all__ = ["read_sql", "warm"]
