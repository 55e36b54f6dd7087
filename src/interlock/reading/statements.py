"""The SQL reader, loaded with the first statement: its parser and dialects take longer to load than all the rest together."""

from __future__ import annotations

from interlock.model.action import Reading


def read_sql(text: str, dialect: str = "") -> Reading:
    """See :func:`interlock.reading.sql.read.read_sql`. An error of loading it is the caller's, who is closed on failure."""
    from interlock.reading.sql.read import read_sql as read  # noqa: PLC0415 - loading it takes a third of a second

    return read(text, dialect)


def warm() -> None:
    """Load the SQL reader and its dialects now, so that the first statement does not wait for it."""
    from interlock.reading.sql.read import warm as load  # noqa: PLC0415 - the same

    load()
