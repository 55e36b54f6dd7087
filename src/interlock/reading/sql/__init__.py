"""SQL to findings: :func:`read_sql`."""

from interlock.reading.sql.read import read_sql, warm

__all__ = ["read_sql", "warm"]
