"""What reads and writes files for a model: inside the walls, and held to the workspace there."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import psutil
import pytest
from ways_out import on_rung

from gate_stub import a_job
from interlock.app import contained
from interlock.config import load_settings
from interlock.errors import RunnerError
from interlock.model.sandbox import SandboxedCommand, SandboxLevel
from interlock.runners import filing
from interlock.runners.filer import Filer, NotDoneError
from interlock.runners.filing import Filing
from interlock.runners.places import Places, make_places

WALLS = [SandboxLevel.LANDLOCK, SandboxLevel.BUBBLEWRAP]
PRIVATE = "not yours"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workspace, beside a project that the walls let it read, and a file that they do not."""
    for name in ("work", "project"):
        (tmp_path / name).mkdir()
    (tmp_path / "work" / "a.txt").write_text("hello\n")
    (tmp_path / "project" / "f.txt").write_text(PRIVATE)
    (tmp_path / "private.txt").write_text(PRIVATE)
    return tmp_path / "work"


def inside(place: Path, work: Callable[[Filing], Awaitable[None]]) -> None:
    """Do some work with the process of one attempt, and see that it is gone afterwards."""

    async def whole() -> None:
        places = make_places(a_job(place, project=place.parent / "project"))
        files = Filing(places=places, wrap=contained(load_settings(place.parent)))
        try:
            await work(files)
        finally:
            await files.close()
            places.remove()

    asyncio.run(whole())
    assert filers(place) == []


def filers(place: Path) -> list[psutil.Process]:
    """The processes that work on these files, whatever stands in front of them."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else []
        except psutil.Error:
            continue
        if str(place) in words and any(word.endswith("filer.py") for word in words):
            found.append(process)
    return found


def worker(place: Path) -> psutil.Process:
    """The innermost of them: it does the work."""
    return next(one for one in filers(place) if one.cmdline()[3].endswith("filer.py"))


def walls_of(process: psutil.Process) -> str:
    return Path("/proc", str(process.pid), "status").read_text()


@pytest.mark.parametrize("level", WALLS)
def test_no_way_out_leads_through_the_file_tools(
    level: SandboxLevel, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_rung(level, monkeypatch)
    monkeypatch.setenv("THE_SECRET", PRIVATE)
    (place / "link").symlink_to(place.parent / "private.txt")
    (place / "there").symlink_to(place.parent / "project")
    (place / "environ").symlink_to("/proc/self/environ")
    (place / "round").symlink_to("round")
    (place / ".GIT").mkdir()
    os.mkfifo(place / "fifo")
    with (place / "huge").open("wb") as file:
        file.truncate(10 << 30)
    ways = ["link", "there/f.txt", "there/new.txt", "environ", "round", "fifo", "huge", "/proc/self/environ", "/etc/passwd",
            "../private.txt", ".GIT/config", "a.txt/x", "x" * 300, "nul\0", "\ud800"]  # fmt: skip

    async def work(files: Filing) -> None:
        for path in ways:
            assert not (await files.ask("read", path=path))[0], path
            assert not (await files.ask("edit", path=path, old=PRIVATE, new="mine"))[0], path
            assert not (await files.ask("sql", database=path, query="create table t (n)"))[0], path
            if path != "huge":
                assert not (await files.ask("write", path=path, content="mine"))[0], path
            assert PRIVATE not in (await files.ask("search", pattern=".*", path=path))[1], path
        assert await files.ask("search", pattern="not|hello", path=".") == (True, "a.txt:1: hello")
        listed = (await files.ask("list", path="."))[1].splitlines()
        assert [name for name in listed if "f.txt" in name or "passwd" in name] == []
        assert "Seccomp:\t2" in walls_of(worker(place))  # it has worked behind them, not beside them

    inside(place, work)
    assert (place.parent / "private.txt").read_text() == (place.parent / "project" / "f.txt").read_text() == PRIVATE
    assert [path.name for path in (place.parent / "project").iterdir()] == ["f.txt"]


ASKS: list[Callable[[Filer], str]] = [
    lambda filer: filer.read("d/f.txt"),
    lambda filer: filer.edit("d/f.txt", PRIVATE, "mine"),
    lambda filer: filer.write("d/f.txt", "mine"),
    lambda filer: filer.write("d/new.txt", "mine"),
    lambda filer: filer.names("d"),
    lambda filer: filer.search(".", "d"),
]


@pytest.mark.parametrize("number", range(len(ASKS)))
@pytest.mark.parametrize("swapped", ["the directory", "the file"])
def test_a_link_put_there_between_check_and_use_is_not_followed(number: int, swapped: str, place: Path) -> None:
    """Without any walls: this holds by itself."""

    class Late(Filer):
        def _place(self, path: str) -> Path:
            found = super()._place(path)
            if not (place / "old").exists():
                victim = place / "d" if swapped == "the directory" else place / "d" / "f.txt"
                victim.rename(place / "old")
                target = place.parent / "project"
                victim.symlink_to(target if swapped == "the directory" else target / "f.txt")
            return found

    (place / "d").mkdir()
    (place / "d" / "f.txt").write_text("fine")
    try:
        said = ASKS[number](Late(place))
    except (OSError, NotDoneError) as error:
        said = str(error)
    assert PRIVATE not in said
    if swapped == "the directory":
        assert "f.txt" not in said.splitlines()
    assert (place.parent / "project" / "f.txt").read_text() == PRIVATE
    assert [path.name for path in (place.parent / "project").iterdir()] == ["f.txt"]


def test_a_very_deep_directory_is_searched_as_deep_as_is_sensible(place: Path) -> None:
    here = os.open(place, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        assert Filer(place).search("hello", ".") == "a.txt:1: hello"
        assert Filer(place).names(".") == "a.txt"
    finally:
        subprocess.run(["rm", "-rf", place / "d"], check=True)


def test_a_name_that_is_no_text_can_be_listed_and_its_file_found(place: Path) -> None:
    Path(os.fsdecode(bytes(place) + b"/odd\xff")).write_text("here\n")

    async def work(files: Filing) -> None:
        assert await files.ask("list", path=".") == (True, "a.txt\nodd?")
        assert await files.ask("search", pattern="here", path=".") == (True, "odd?:1: here")

    inside(place, work)


def test_an_edit_changes_nothing_else(place: Path) -> None:
    (place / "odd.txt").write_bytes(b"one\r\ntwo\xff\n")
    assert Filer(place).edit("odd.txt", "one", "three") == "wrote odd.txt"
    assert (place / "odd.txt").read_bytes() == b"three\r\ntwo\xff\n"


def test_a_dead_process_is_a_failed_call_and_nothing_is_done_without_one(place: Path) -> None:
    async def work(files: Filing) -> None:
        assert (await files.ask("read", path="a.txt"))[0]
        first = worker(place)
        os.kill(first.pid, signal.SIGKILL)
        with pytest.raises(RunnerError, match="no answer from inside the sandbox"):
            await files.ask("write", path="b.txt", content="x")
        assert not (place / "b.txt").exists()
        assert (await files.ask("write", path="b.txt", content="x"))[0]
        assert worker(place).pid != first.pid

    inside(place, work)


def test_a_search_that_does_not_end_is_ended(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "evil.txt").write_text("a" * 60 + "!")

    async def work(files: Filing) -> None:
        assert (await files.ask("read", path="a.txt"))[0]
        monkeypatch.setattr(filing, "LIMIT_S", 1)
        with pytest.raises(RunnerError, match="not finished after 1 s"):
            await files.ask("search", pattern="(a+)+$", path=".")
        assert filers(place) == []

    inside(place, work)


@pytest.mark.parametrize(
    "said", ["", "[]", '{"ok": 1, "output": ""}', '{"ok": true}', "no JSON", "[" * 100_000, '{"ok": true, "output": "'], ids=range(7)
)  # fmt: skip
def test_what_does_not_speak_as_agreed_is_a_failed_call(said: str, place: Path) -> None:
    program = "import os, sys; os.read(int(sys.argv[1]), 1); os.write(int(sys.argv[1]), sys.argv[2].encode())"

    async def whole() -> None:
        places = make_places(a_job(place))

        def wrap(argv: Sequence[str], env: Mapping[str, str], _: Places) -> SandboxedCommand:
            odd = (sys.executable, "-c", program, argv[-2], said + "\n")
            return SandboxedCommand(walls=(), program=odd, env=env, level=SandboxLevel.NONE)

        files = Filing(places=places, wrap=wrap)
        try:
            with pytest.raises(RunnerError, match="no answer"):
                await files.ask("read", path="a.txt")
        finally:
            await files.close()
            places.remove()

    asyncio.run(whole())


KILLED = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from gate_stub import a_job
from interlock.app import contained
from interlock.config import load_settings
from interlock.runners.filing import Filing
from interlock.runners.places import Places, make_places
async def main():
    place = Path(sys.argv[1])
    files = Filing(places=make_places(a_job(place)), wrap=contained(load_settings(place.parent)))
    print(await files.ask("read", path="a.txt"), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_it_goes_when_the_worker_is_killed(place: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(place), str(Path(__file__).parent)]
    env = {**os.environ, "TMPDIR": str(place.parent)}  # what it leaves behind goes with the test
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as killed:
        assert killed.stdout is not None
        assert "hello" in killed.stdout.readline()
        assert worker(place)
        killed.kill()
    psutil.wait_procs(filers(place), timeout=60)
    assert filers(place) == []
