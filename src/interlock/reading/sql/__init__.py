"""SQL to findings: :func:`read_sql`."""

from interlock.reading.sql.read import read_sql

__all__ = ["read_sql"]
