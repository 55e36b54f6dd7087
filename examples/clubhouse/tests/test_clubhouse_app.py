"""The club's own tests: ``python -m unittest discover tests``."""

from __future__ import annotations

import sqlite3
import tempfile
import unittest
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

from clubhouse import access, backup, charts, database, numbers, panels, seed, web


class WithClub(unittest.TestCase):
    folder: tempfile.TemporaryDirectory[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.path = seed.make(Path(cls.folder.name) / "club.db")

    def setUp(self) -> None:
        copy = tempfile.TemporaryDirectory()
        self.addCleanup(copy.cleanup)
        self.club = Path(copy.name) / "club.db"
        self.club.write_bytes(self.path.read_bytes())
        self.connection = database.connect(self.club, writable=True)
        self.addCleanup(self.connection.close)


class TheDatabase(WithClub):
    def test_it_is_the_same_every_time_and_sound(self) -> None:
        again = seed.make(self.club.with_name("again.db"))
        self.assertTrue(backup.same(self.club, again))
        self.assertEqual(backup.problems(self.club), [])
        self.assertEqual(self.connection.execute("SELECT count(*) FROM measurements").fetchone(), (3600,))

    def test_every_migration_has_a_way_down_to_nothing(self) -> None:
        with closing(sqlite3.connect(":memory:")) as empty:
            database.migrate(empty, database.ROOT / "migrations")
            for one in reversed(database.migrations(database.ROOT / "migrations")):
                self.assertTrue(one.down, one.name)
                database.apply(empty, one.down, to_version=one.number - 1)
            self.assertEqual(empty.execute("SELECT count(*) FROM sqlite_schema").fetchone(), (0,))

    def test_a_failing_migration_changes_nothing(self) -> None:
        with self.assertRaises(sqlite3.OperationalError):
            database.apply(self.connection, "CREATE TABLE x (y);\nINSERT INTO absent VALUES (1);", to_version=9)
        self.assertTrue(backup.same(self.club, self.path))

    def test_undo_prefers_the_way_down_and_falls_back_to_the_backup(self) -> None:
        saved = self.club.with_name("saved.db")
        backup.save(self.club, saved)
        migration = self.club.with_name("003_x.sql")
        for down, way in [("DROP TABLE x;", "taken back"), ("", "restored"), ("DROP TABLE y;", "restored")]:
            migration.write_text(f"-- up\nCREATE TABLE x (y);\n-- down\n{down}\n")
            database.apply(self.connection, "CREATE TABLE x (y);", to_version=3)
            self.assertIn(way, backup.undo(self.club, saved, migration))
            self.assertTrue(backup.same(self.club, saved))

    def test_a_backup_that_cannot_be_read_is_not_restored(self) -> None:
        cut = self.club.with_name("cut.db")
        cut.write_bytes(self.path.read_bytes()[: self.path.stat().st_size // 2])
        self.assertEqual(backup.main(["undo", str(self.club), str(cut)]), 1)
        self.assertTrue(backup.same(self.club, self.path))

    def test_the_check_finds_orphans_and_lost_rows(self) -> None:
        database.apply(
            self.connection,
            "UPDATE coaches SET team_id = 99 WHERE id = 1;\nDELETE FROM measurements WHERE id = 1;",
            to_version=2,
        )
        found = backup.problems(self.club, self.path)
        self.assertEqual(
            found, ["1 rows of coaches point to teams that do not exist", "measurements has 3599 rows, 3600 before"]
        )


class TheNumbers(WithClub):
    def test_percentiles_are_those_of_a_spreadsheet(self) -> None:
        for percent, value in [(0, 1), (25, 1.75), (50, 2.5), (90, 3.7), (100, 4)]:
            self.assertAlmostEqual(numbers.percentile([1, 2, 3, 4], percent), value)

    def test_a_chart_is_well_formed_and_shows_each_team(self) -> None:
        one = numbers.metric(self.connection, "fly_10m")
        text = charts.percentile_bands(one, numbers.bands(self.connection, one.key))
        parsed = ET.fromstring(text)  # noqa: S314 - made a line above
        words = [element.text for element in parsed.iter("{http://www.w3.org/2000/svg}text")]
        self.assertLessEqual({team[0] for team in seed.TEAMS}, set(words))

    def test_nothing_measured_is_nothing_to_draw_but_a_table_shows_it(self) -> None:
        one = numbers.metric(self.connection, "standing_reach")
        with self.assertRaises(charts.NothingToDrawError):
            charts.percentile_bands(one, numbers.bands(self.connection, one.key))
        self.assertIn("–", charts.band_table(one, numbers.bands(self.connection, one.key)))

    def test_every_panel_of_the_dashboard_renders(self) -> None:
        self.assertEqual(len(list(panels.rendered(self.connection))), len(panels.names()))


class ThePages(WithClub):
    def test_each_page_is_for_the_roles_it_names(self) -> None:
        tokens = {
            role: access.issue(self.connection, name)
            for name, role in [seed.COACHES[0], seed.COACHES[1], seed.COACHES[4]]
        }
        for path, (_, roles) in web.ROUTES.items():
            one = path + "fly_10m" if path == "/metrics/" else path
            self.assertEqual(web.answer(self.connection, one, "")[0][:3], "401")
            self.assertEqual(web.answer(self.connection, one, "wrong")[0][:3], "401")
            for role, token in tokens.items():
                self.assertEqual(
                    web.answer(self.connection, one, token)[0][:3], "200" if role in roles else "403", (path, role)
                )

    def test_the_application_serves_a_whole_page(self) -> None:
        said: list[str] = []
        token = access.issue(self.connection, "Rosa Winter")
        body = web.application(self.club)(
            {"PATH_INFO": "/", "HTTP_COOKIE": f"club={token}"}, lambda status, _: said.append(status)
        )
        self.assertEqual(said, ["200 OK"])
        self.assertIn(b"Volleyball women", b"".join(body))

    def test_an_old_token_is_void_and_no_token_is_stored(self) -> None:
        old, new = access.issue(self.connection, "Tom Sommer"), access.issue(self.connection, "Tom Sommer")
        self.assertIsNone(access.role_of(self.connection, old))
        self.assertEqual(access.role_of(self.connection, new), "coach")
        self.assertNotIn(new.encode(), self.club.read_bytes())


if __name__ == "__main__":
    unittest.main()
