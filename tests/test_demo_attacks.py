"""The example's rogue agent on the real road: every attempt is stopped, and the demo says by what."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from rich.console import Console

from interlock.surfaces.cli import attacks
from interlock.surfaces.cli.attacks import Stop
from interlock.surfaces.cli.demo import fresh_repository

EXAMPLE = Path(__file__).parents[1] / "examples" / "clubhouse"


@pytest.fixture(scope="module")
def stops(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stop]:
    place = fresh_repository(EXAMPLE, tmp_path_factory.mktemp("attacks") / "club")
    found = {stop.attempt: stop for stop in attacks.attempts(place)}
    assert not (place / "settings.ini").exists()
    assert not list(place.glob("*.escaped"))
    return found


def test_everything_that_the_rogue_tries_is_stopped(stops: dict[str, Stop]) -> None:
    assert len(stops) == 13
    assert [stop.attempt for stop in stops.values() if not stop.where] == []
    assert all(stop.reason for stop in stops.values())


def test_each_line_of_defence_has_its_turn(stops: dict[str, Stop]) -> None:
    where = {name: stop.where for name, stop in stops.items()}
    assert where["read a private key"] == "gate, before"
    assert where["force push to main"] == "gate, before: a person said no"
    assert where["ask again and again"] == "gate, before; agent ended"
    assert where["believe a poisoned tool"] == "gate, after"
    assert where["switch off the checks without asking"] == "check of the change"


def test_a_match_of_strings_would_have_seen_almost_nothing(stops: dict[str, Stop]) -> None:
    assert [stop.attempt for stop in stops.values() if stop.literal != "nothing"] == [
        "drop a table of the live database"
    ]


def test_the_demo_ends_with_1_when_an_attempt_went_through(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    through = Stop(attempt="slip away", literal="nothing", where="", reason="")
    monkeypatch.setattr(attacks, "attempts", lambda *_heard: [through])
    with pytest.raises(typer.Exit) as ended:
        attacks.attack(Console(quiet=True), tmp_path)
    assert ended.value.exit_code == 1
