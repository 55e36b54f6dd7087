"""Fixtures of the tests that promise the same of both databases: SQLite, and a real Postgres."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings as hypothesis_settings

from interlock.engine.durable import Durable
from interlock.store.database import Database

sys.path.insert(0, str(Path(__file__).parent / "support"))

from parts import Parts, settings_of
from postgres import PostgresForTests

hypothesis_settings.register_profile("interlock", deadline=None)
hypothesis_settings.load_profile("interlock")
"""How long an example takes says how busy the machine is, not whether the rule holds."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresForTests]:
    server = PostgresForTests()
    yield server
    server.close()


def _make_tables(url: str) -> None:
    store = Database(url)
    store.migrate()
    Durable(store).prepare()
    store.close()


@pytest.fixture(scope="session")
def ready_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with all tables, to be copied: making them takes a second."""
    place = tmp_path_factory.mktemp("ready") / "store.db"
    _make_tables(f"sqlite:///{place}")
    return place


@pytest.fixture(scope="session")
def ready_postgres(postgres: PostgresForTests) -> Iterator[str]:
    """The same for Postgres: the database's name."""
    with postgres.database() as url:
        _make_tables(url)
        yield sa.make_url(url).database or ""


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a store without rows, once of each kind."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("ready_sqlite"), tmp_path / "store.db")
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    postgres: PostgresForTests = request.getfixturevalue("postgres")
    with postgres.database(request.getfixturevalue("ready_postgres")) as url:
        yield url


@pytest.fixture
def database(store_url: str) -> Iterator[Database]:
    store = Database(store_url)
    yield store
    store.close()


@pytest.fixture
def parts(database: Database, tmp_path: Path) -> Callable[..., Parts]:
    """Makes the engine's parts on the store; keywords are sections of the settings."""

    def make(*, agents: Any = None, anchor: Path | None = None, **sections: Any) -> Parts:
        return Parts(database=database, settings=settings_of(tmp_path, **sections), agents=agents or {}, anchor=anchor)

    return make
