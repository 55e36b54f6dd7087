"""Workspaces: what both kinds promise, then what git adds. Real git, real files, real kills."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from interlock.errors import ConflictError, UsageError, WorkspaceError
from interlock.ports import UndoableWorkspaces
from interlock.sandbox import journal
from interlock.sandbox.copy_workspaces import CopyWorkspaces
from interlock.sandbox.git_workspaces import GitWorkspaces
from interlock.sandbox.workspaces import open_workspaces

RUN = "run_1"
AUTHOR = "analytics-agent <analytics-agent@interlock.invalid>"
GIT_ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{
        f"GIT_{who}_{what}": f"user{'@example.org' * (what == 'EMAIL')}"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}


@pytest.fixture(autouse=True)
def _no_git_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "no-home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


def git(where: Path, *args: str, check: bool = True, stdin: bytes | None = None) -> str:
    done = subprocess.run(["git", *args], cwd=where, env=GIT_ENV, capture_output=True, check=False, input=stdin)
    assert not check or done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8", "replace").strip()


def files_of(root: Path, *, skip: tuple[str, ...] = (".git",)) -> dict[str, str]:
    """Everything below a directory: kind, mode, content."""
    found = {}
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in skip]
        for name in [*files, *(n for n in names if Path(folder, n).is_symlink())]:
            if name in skip:
                continue
            path = Path(folder, name)
            mode = path.lstat().st_mode
            content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
            found[str(path.relative_to(root))] = (
                f"{stat.S_IFMT(mode)}:{mode & 0o100}:{hashlib.sha256(content).hexdigest()}"
            )
    return found


def everything_of_the_user(root: Path) -> dict[str, str]:
    """The user's tree and repository, but for objects and our own branches and work trees."""
    return {
        path: what
        for path, what in files_of(root, skip=()).items()
        if not path.startswith(
            (".git/objects/", ".git/refs/heads/interlock/", ".git/logs/refs/heads/interlock/", ".git/worktrees/")
        )
    }


def fill(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "app.py").write_text("".join(f"line {n}\n" for n in range(1, 21)))
    (root / "readme.md").write_text("hello\n")
    (root / "blob.bin").write_bytes(bytes(range(256)) * 10)
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "er" / "x.txt").write_text("x\n")
    (root / "link").symlink_to("readme.md")


def git_project(root: Path) -> Path:
    fill(root)
    git(root, "init", "--quiet", "--initial-branch=main")
    (root / ".gitignore").write_text("*.log\n.env\n")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "start")
    return root


@pytest.fixture(params=["git", "copy"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def project(kind: str, tmp_path: Path) -> Path:
    root = tmp_path / "project"
    if kind == "git":
        return git_project(root)
    fill(root)
    return root


@pytest.fixture
def spaces(kind: str, project: Path, tmp_path: Path) -> UndoableWorkspaces:
    found = open_workspaces(project, tmp_path / "state", kind)
    found.begin(RUN)
    return found


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return git_project(tmp_path / "project")


@pytest.fixture
def on_git(repo: Path, tmp_path: Path) -> GitWorkspaces:
    found = GitWorkspaces(repo, tmp_path / "state")
    found.begin(RUN)
    return found


def work(spaces: UndoableWorkspaces, attempt: str, change: Callable[[Path], object]) -> tuple[str, ...]:
    """Open, change, integrate, discard."""
    change(spaces.open(RUN, attempt))
    changed = spaces.integrate(RUN, attempt, author=AUTHOR, message=f"work of {attempt}").changed
    spaces.discard(RUN, attempt)
    return changed


def edit(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        text = (root / path).read_text()
        assert old in text
        (root / path).write_text(text.replace(old, new))

    return change


def write(path: str, text: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)

    return change


def many_changes(root: Path) -> None:
    """Every sort of change there is, with names that break careless programs."""
    edit("app.py", "line 3\n", "line three\n")(root)
    (root / "blob.bin").write_bytes(bytes(reversed(range(256))) * 10)
    (root / "readme.md").unlink()
    (root / "readme.md").mkdir()
    (root / "readme.md" / "inside").write_text("a file became a directory\n")
    shutil.rmtree(root / "deep")
    (root / "deep").write_text("a directory became a file\n")
    (root / "link").unlink()
    (root / "link").symlink_to("/etc/passwd")
    (root / "run.sh").chmod(0o644)
    (root / "tool.sh").write_text("#!/bin/sh\necho\n")
    (root / "tool.sh").chmod(0o755)
    for name in (
        "-n",
        "--force",
        "with blank",
        "new\nline",
        'quo"te',
        "grüße",
        "back\\slash",
        "*",
        ":(top)x",
        "a'b",
        "no-end",
    ):
        (root / name).write_text(f"odd {name!r}")
    (root / os.fsdecode(b"bytes-\xff\xfe")).write_text("not UTF-8\n")
    (root / "empty").write_text("")
    (root / "crlf.txt").write_bytes(b"a\r\nb\rc\n")


# what both promise


def test_a_workspace_holds_the_project_and_nothing_of_it_is_the_project(
    spaces: UndoableWorkspaces, project: Path
) -> None:
    before = everything_of_the_user(project)
    place = spaces.open(RUN, "a1")
    assert files_of(place) == files_of(project)
    many_changes(place)
    assert everything_of_the_user(project) == before


def test_nothing_of_the_user_changes_until_merge_is_asked_for(spaces: UndoableWorkspaces, project: Path) -> None:
    before = everything_of_the_user(project)
    work(spaces, "a1", many_changes)
    spaces.run_diff(RUN)
    spaces.deliver(RUN, how="review")
    spaces.deliver(RUN, how="patch")
    spaces.end(RUN, keep=False)
    assert everything_of_the_user(project) == before


def test_every_sort_of_change_arrives_with_merge(spaces: UndoableWorkspaces, project: Path) -> None:
    place = spaces.open(RUN, "a1")
    many_changes(place)
    wanted = files_of(place)
    spaces.integrate(RUN, "a1", author=AUTHOR, message="all")
    assert spaces.deliver(RUN, how="merge")
    assert files_of(project) == wanted


def test_every_sort_of_change_is_in_the_patch(spaces: UndoableWorkspaces, project: Path, tmp_path: Path) -> None:
    place = spaces.open(RUN, "a1")
    many_changes(place)
    wanted = files_of(place)
    spaces.integrate(RUN, "a1", author=AUTHOR, message="all")
    patch = spaces.deliver(RUN, how="patch")
    git(project, "apply", "--whitespace=nowarn", patch)
    assert files_of(project) == wanted


def test_a_patch_of_random_texts_applies(kind: str, tmp_path: Path) -> None:
    dice = random.Random(7)  # noqa: S311 - repeatable, no secret
    for number in range(6):
        root = tmp_path / f"p{number}"

        def scribble(root: Path) -> None:
            for name in ("f0", "f1", "f2", "f3"):
                lines = [dice.choice(["a\n", "b\n", "\n", "c\r\n", "end"]) for _ in range(dice.randrange(30))]
                (root / name).write_text("".join(lines), newline="")

        git_project(root) if kind == "git" else fill(root)
        scribble(root)
        if kind == "git":
            git(root, "add", "--all")
            git(root, "commit", "--quiet", "-m", "more")
        spaces = open_workspaces(root, tmp_path / f"s{number}", kind)
        spaces.begin(RUN)
        place = spaces.open(RUN, "a1")
        scribble(place)
        wanted = files_of(place)
        spaces.integrate(RUN, "a1", author=AUTHOR, message="m")
        git(root, "apply", "--whitespace=nowarn", "--unidiff-zero", spaces.deliver(RUN, how="patch"))
        assert files_of(root) == wanted


def test_nothing_changed_is_nothing_to_deliver(spaces: UndoableWorkspaces) -> None:
    assert work(spaces, "a1", lambda _: None) == ()
    assert [spaces.deliver(RUN, how=how) for how in ("review", "merge", "patch")] == ["", "", ""]
    assert spaces.run_diff(RUN) == ""


def test_changes_that_were_taken_back_are_nothing_to_deliver(spaces: UndoableWorkspaces) -> None:
    work(spaces, "a1", write("new.txt", "x\n"))
    work(spaces, "a2", lambda root: (root / "new.txt").unlink())
    assert spaces.deliver(RUN, how="merge") == ""


def test_attempts_start_from_what_was_integrated(spaces: UndoableWorkspaces) -> None:
    work(spaces, "a1", write("new.txt", "x\n"))
    assert (spaces.open(RUN, "a2") / "new.txt").read_text() == "x\n"


def test_opening_an_attempt_again_throws_the_old_one_away(spaces: UndoableWorkspaces) -> None:
    write("half.txt", "x")(spaces.open(RUN, "a1"))
    assert not (spaces.open(RUN, "a1") / "half.txt").exists()
    assert spaces.changed(RUN, "a1") == ()


def test_changes_to_other_lines_of_one_file_go_together(spaces: UndoableWorkspaces, project: Path) -> None:
    edit("app.py", "line 2\n", "line two\n")(spaces.open(RUN, "a1"))
    edit("app.py", "line 18\n", "line eighteen\n")(spaces.open(RUN, "a2"))
    for attempt in ("a1", "a2"):
        assert spaces.integrate(RUN, attempt, author=AUTHOR, message="m").changed == ("app.py",)
    spaces.deliver(RUN, how="merge")
    text = (project / "app.py").read_text()
    assert "line two\n" in text
    assert "line eighteen\n" in text


@pytest.mark.parametrize(
    ("first", "second", "paths"),
    [
        pytest.param(edit("app.py", "line 2\n", "A\n"), edit("app.py", "line 2\n", "B\n"), ("app.py",), id="same line"),
        pytest.param(write("n.txt", "A\n"), write("n.txt", "B\n"), ("n.txt",), id="both add"),
        pytest.param(
            lambda r: (r / "app.py").unlink(), edit("app.py", "line 2\n", "B\n"), ("app.py",), id="delete and edit"
        ),
        pytest.param(
            lambda r: (r / "blob.bin").write_bytes(b"\0A"),
            lambda r: (r / "blob.bin").write_bytes(b"\0B"),
            ("blob.bin",),
            id="binary",
        ),
    ],
)
def test_the_same_place_changed_twice_is_a_conflict_and_changes_nothing(
    spaces: UndoableWorkspaces,
    first: Callable[[Path], None],
    second: Callable[[Path], None],
    paths: tuple[str, ...],
) -> None:
    first(spaces.open(RUN, "a1"))
    second_place = spaces.open(RUN, "a2")
    second(second_place)
    write("other.txt", "also mine\n")(second_place)
    spaces.integrate(RUN, "a1", author=AUTHOR, message="m")
    line = spaces.run_diff(RUN)
    with pytest.raises(ConflictError) as caught:
        spaces.integrate(RUN, "a2", author=AUTHOR, message="m")
    assert caught.value.paths == paths
    assert spaces.run_diff(RUN) == line
    assert (spaces.open(RUN, "a3") / "other.txt").exists() is False


def test_integrating_twice_is_integrating_once(spaces: UndoableWorkspaces) -> None:
    edit("app.py", "line 2\n", "A\n")(spaces.open(RUN, "a1"))
    first = spaces.integrate(RUN, "a1", author=AUTHOR, message="m")
    diff = spaces.run_diff(RUN)
    work(spaces, "a2", edit("app.py", "A\n", "B\n"))
    again = spaces.integrate(RUN, "a1", author=AUTHOR, message="m")
    assert again == first
    assert "+B" in spaces.run_diff(RUN) != diff


def test_a_message_cannot_claim_another_attempt(spaces: UndoableWorkspaces) -> None:
    write("x", "1")(spaces.open(RUN, "a1"))
    spaces.integrate(RUN, "a1", author="evil\nname <a@b>", message="m\n\nInterlock-Attempt: a2\n interlock-attempt: a2")
    write("y", "2")(spaces.open(RUN, "a2"))
    assert spaces.integrate(RUN, "a2", author=AUTHOR, message="m").changed == ("y",)


def test_begin_deliver_discard_and_end_may_be_repeated(spaces: UndoableWorkspaces, project: Path) -> None:
    base = spaces.begin(RUN)
    work(spaces, "a1", write("x", "1"))
    assert spaces.begin(RUN) == base
    for how in ("review", "patch", "merge"):
        assert spaces.deliver(RUN, how=how) == spaces.deliver(RUN, how=how)
    (project / "x").write_text("edited by the user after the merge")
    spaces.deliver(RUN, how="merge")
    assert (project / "x").read_text() == "edited by the user after the merge"
    for _ in range(2):
        spaces.discard(RUN, "a1")
        spaces.end(RUN, keep=False)


def test_after_the_end_no_directory_of_the_run_is_left(spaces: UndoableWorkspaces, tmp_path: Path) -> None:
    place = spaces.open(RUN, "a1")
    (place / "locked").mkdir()
    (place / "locked" / "f").write_text("x")
    (place / "locked").chmod(0)
    spaces.end(RUN, keep=False)
    assert not place.exists()
    with pytest.raises(WorkspaceError, match="never begun, or has ended"):
        spaces.open(RUN, "a2")


def test_kept_lines_can_be_delivered_later(spaces: UndoableWorkspaces, project: Path) -> None:
    work(spaces, "a1", write("x", "1"))
    spaces.end(RUN, keep=True)
    spaces.deliver(RUN, how="merge")
    assert (project / "x").read_text() == "1"


def test_runs_do_not_see_each_other(spaces: UndoableWorkspaces) -> None:
    spaces.begin("run_2")
    work(spaces, "a1", write("x", "1"))
    assert not (spaces.open("run_2", "b1") / "x").exists()
    spaces.end("run_2", keep=False)
    assert "+1" in spaces.run_diff(RUN)


def test_a_merge_onto_a_project_that_moved_keeps_both(spaces: UndoableWorkspaces, project: Path, kind: str) -> None:
    work(spaces, "a1", edit("app.py", "line 2\n", "line two\n"))
    edit("app.py", "line 18\n", "line eighteen\n")(project)
    if kind == "git":
        git(project, "commit", "--quiet", "--all", "-m", "mine")
    spaces.deliver(RUN, how="merge")
    assert "line two\n" in (project / "app.py").read_text()
    assert "line eighteen\n" in (project / "app.py").read_text()


def test_a_merge_that_does_not_apply_leaves_the_project_untouched(
    spaces: UndoableWorkspaces, project: Path, kind: str
) -> None:
    def change(root: Path) -> None:
        edit("app.py", "line 2\n", "A\n")(root)
        write("fine.txt", "x")(root)

    work(spaces, "a1", change)
    edit("app.py", "line 2\n", "B\n")(project)
    if kind == "git":
        git(project, "commit", "--quiet", "--all", "-m", "mine")
    before = everything_of_the_user(project)
    with pytest.raises(ConflictError) as caught:
        spaces.deliver(RUN, how="merge")
    assert caught.value.paths == ("app.py",)
    assert everything_of_the_user(project) == before


@pytest.mark.parametrize("mine", ["new.txt", "new.txt/inside", "new"])
def test_a_file_of_the_users_in_the_way_is_never_lost(spaces: UndoableWorkspaces, project: Path, mine: str) -> None:
    work(spaces, "a1", write("new.txt" if mine != "new" else "new/x", "theirs"))
    write(mine, "mine")(project)
    before = everything_of_the_user(project)
    with pytest.raises(ConflictError):
        spaces.deliver(RUN, how="merge")
    assert everything_of_the_user(project) == before


def test_a_link_out_of_the_project_is_taken_as_a_link_and_never_followed(
    spaces: UndoableWorkspaces, project: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")

    def change(root: Path) -> None:
        (root / "way-out").symlink_to(outside)
        shutil.rmtree(root / "deep")
        (root / "deep").symlink_to(outside)

    assert work(spaces, "a1", change) == ("deep", "deep/er/x.txt", "way-out")
    spaces.deliver(RUN, how="merge")
    assert (project / "way-out").is_symlink()
    assert (project / "deep").is_symlink()
    assert files_of(outside).keys() == {"precious"}


def test_a_link_of_the_users_is_never_written_through(
    spaces: UndoableWorkspaces, project: Path, tmp_path: Path
) -> None:
    work(spaces, "a1", write("logs/new.txt", "agent"))
    outside = tmp_path / "outside"
    outside.mkdir()
    (project / "logs").symlink_to(outside)
    with pytest.raises(ConflictError):
        spaces.deliver(RUN, how="merge")
    assert list(outside.iterdir()) == []


def test_a_workspace_that_was_replaced_is_refused(spaces: UndoableWorkspaces, project: Path) -> None:
    place = spaces.open(RUN, "a1")
    shutil.rmtree(place)
    place.symlink_to(project)
    with pytest.raises(WorkspaceError, match="replaced"):
        spaces.integrate(RUN, "a1", author=AUTHOR, message="m")
    before = everything_of_the_user(project)
    spaces.discard(RUN, "a1")
    assert everything_of_the_user(project) == before


def test_names_that_are_paths_are_refused(spaces: UndoableWorkspaces) -> None:
    for name in ("", "../x", "a/b", "-rf", "a.lock", "x\n", "ü"):
        with pytest.raises(WorkspaceError, match="cannot name"):
            spaces.open(RUN, name)
        with pytest.raises(WorkspaceError, match="cannot name"):
            spaces.begin(name)


def test_an_unknown_way_of_delivery_is_a_usage_error(spaces: UndoableWorkspaces) -> None:
    work(spaces, "a1", write("x", "1"))
    with pytest.raises(UsageError, match="email"):
        spaces.deliver(RUN, how="email")


def test_diff_and_changed_show_new_files_too(spaces: UndoableWorkspaces) -> None:
    place = spaces.open(RUN, "a1")
    write("new.txt", "hello\n")(place)
    edit("app.py", "line 3\n", "three\n")(place)
    assert spaces.changed(RUN, "a1") == ("app.py", "new.txt")
    diff = spaces.diff(RUN, "a1")
    assert "+hello" in diff
    assert "-line 3\n+three\n" in diff


def test_a_snapshot_is_restored_exactly(spaces: UndoableWorkspaces) -> None:
    place = spaces.open(RUN, "a1")
    write("kept.txt", "1")(place)
    before, snapshot = files_of(place), spaces.snapshot(RUN, "a1")
    many_changes(place)
    after, later = files_of(place), spaces.snapshot(RUN, "a1")
    spaces.restore(RUN, "a1", snapshot)
    assert files_of(place) == before
    spaces.restore(RUN, "a1", later)
    assert files_of(place) == after
    assert len(spaces.integrate(RUN, "a1", author=AUTHOR, message="m").changed) > 15


def test_a_change_of_equal_size_within_one_tick_is_seen(spaces: UndoableWorkspaces) -> None:
    place = spaces.open(RUN, "a1")
    seen = set()
    for number in range(10, 40):
        (place / "app.py").write_text(f"{number}\n")
        seen.add(spaces.snapshot(RUN, "a1"))
    assert len(seen) == 30


def test_attempts_integrated_at_once_are_all_in(spaces: UndoableWorkspaces) -> None:
    names = [f"a{n}" for n in range(5)]
    for name in names:
        write(f"{name}.txt", name)(spaces.open(RUN, name))
    threads = [
        threading.Thread(target=spaces.integrate, args=(RUN, name), kwargs={"author": AUTHOR, "message": "m"})
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    place = spaces.open(RUN, "last")
    assert {f"{name}.txt" for name in names} <= files_of(place).keys()


def test_pipes_and_unreadable_things_do_not_hang_it(spaces: UndoableWorkspaces, kind: str) -> None:
    place = spaces.open(RUN, "a1")
    os.mkfifo(place / "pipe")
    write("x", "1")(place)
    assert spaces.integrate(RUN, "a1", author=AUTHOR, message="m").changed == ("x",)


def test_a_deleted_current_directory_does_not_matter(
    spaces: UndoableWorkspaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert work(spaces, "a1", write("x", "1")) == ("x",)
    monkeypatch.undo()


# kills

KILLED = """
import os, signal, sys
from pathlib import Path
from interlock.sandbox.workspaces import open_workspaces

kind, project, state, method, stop = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], sys.argv[5]
spaces = open_workspaces(project, state, kind)
events = {"subprocess.Popen", "os.rename", "os.replace", "os.remove", "os.link", "open", "os.mkdir", "os.rmdir", "os.symlink"}
count = 0

def hook(event, args):
    global count
    if event not in events or (event == "open" and not (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR))):
        return
    if str(count) == stop or str(args[event == "os.rename"]).endswith(stop):
        os.kill(os.getpid(), signal.SIGKILL)
    count += 1

sys.addaudithook(hook)
if method == "integrate":
    spaces.integrate("run_1", "a1", author="x <x@y>", message="m")
elif method == "open":
    spaces.begin("run_2")
    spaces.open("run_2", "b1")
    spaces.end("run_1", keep=False)
else:
    spaces.deliver("run_1", how="merge")
print(count)
"""


def killed_after(
    kind: str, project: Path, state: Path, method: str, stop: int | str
) -> subprocess.CompletedProcess[str]:
    """Run a method in a process that is killed before its n-th effect, or before it writes or replaces a file of that name."""
    command = [sys.executable, "-c", textwrap.dedent(KILLED), kind, str(project), str(state), method, str(stop)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def spread(total: int, wanted: int) -> Iterator[int]:
    yield from sorted({round(n * (total - 1) / (wanted - 1)) for n in range(wanted)})


@pytest.mark.parametrize("method", ["integrate", "deliver"])
def test_a_kill_at_any_moment_leaves_it_whole_for_the_next_call(kind: str, method: str, tmp_path: Path) -> None:
    start = tmp_path / "start"
    project = git_project(start / "project") if kind == "git" else start / "project"
    if kind == "copy":
        fill(project)

    def prepare(root: Path) -> UndoableWorkspaces:
        shutil.rmtree(tmp_path / "now", ignore_errors=True)
        shutil.copytree(start, root, symlinks=True)
        spaces = open_workspaces(root / "project", root / "state", kind)
        spaces.begin(RUN)
        many_changes(spaces.open(RUN, "a1"))
        work(spaces, "a0", edit("app.py", "line 18\n", "line eighteen\n"))
        if method == "deliver":
            spaces.integrate(RUN, "a1", author="x <x@y>", message="m")
            (root / "project" / "untracked.txt").write_text("mine")
        return spaces

    now = tmp_path / "now"
    prepare(now)
    counted = killed_after(kind, now / "project", now / "state", method, 10**9)
    assert counted.returncode == 0, counted.stderr
    finished = files_of(now / "project")
    if method == "integrate":
        line = open_workspaces(now / "project", now / "state", kind).run_diff(RUN)
    for stop in spread(int(counted.stdout), 14):
        spaces = prepare(now)
        before = files_of(now / "project")
        done = killed_after(kind, now / "project", now / "state", method, stop)
        assert done.returncode == -signal.SIGKILL, (stop, done.stderr)
        if method == "integrate":
            assert files_of(now / "project") == before
            first = spaces.integrate(RUN, "a1", author="x <x@y>", message="m")
            assert first == spaces.integrate(RUN, "a1", author="x <x@y>", message="m")
            assert spaces.run_diff(RUN) == line, stop
        else:
            assert spaces.deliver(RUN, how="merge")
            assert files_of(now / "project") == finished, stop
            if kind == "git":
                assert git(now / "project", "status", "--porcelain") == "?? untracked.txt", stop
                assert git(now / "project", "fsck", "--strict", "--no-dangling") == ""
                assert not list((now / "project" / ".git").glob("*.lock"))


def test_a_kill_while_opening_and_ending_leaves_nothing_behind(kind: str, tmp_path: Path) -> None:
    project = git_project(tmp_path / "project") if kind == "git" else tmp_path / "project"
    if kind == "copy":
        fill(project)
    before, points = everything_of_the_user(project), [10**9]
    while points:
        stop = points.pop()
        spaces = open_workspaces(project, tmp_path / "state", kind)
        spaces.begin(RUN)
        write("x", "1")(spaces.open(RUN, "a1"))
        done = killed_after(kind, project, tmp_path / "state", "open", stop)
        if stop == 10**9:
            assert done.returncode == 0, done.stderr
            points = list(spread(int(done.stdout), 10))
        else:
            assert done.returncode == -signal.SIGKILL
        if len(points) % 2:
            spaces.begin("run_2")
            assert files_of(spaces.open("run_2", "b1")) == files_of(project)
        for run in (RUN, "run_2"):
            spaces.end(run, keep=False)
        assert everything_of_the_user(project) == before
        assert not [f for f in (tmp_path / "state").rglob("*") if f.is_file() and "locks" not in f.parts], stop
        if kind == "git":
            assert len(git(project, "worktree", "list").splitlines()) == 1
            assert git(project, "branch", "--list", "interlock/*") == ""


def test_a_full_disk_takes_the_delivery_back(
    spaces: UndoableWorkspaces, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(spaces, "a1", many_changes)
    before = everything_of_the_user(project)
    place = journal._place
    placed = []

    def full(staged: Path, root: Path, path: str, number: int) -> None:
        placed.append(path)
        if len(placed) == 5:
            raise OSError(errno.ENOSPC, "no space left on device")
        place(staged, root, path, number)

    monkeypatch.setattr(journal, "_place", full)
    with pytest.raises(WorkspaceError, match="no space left"):
        spaces.deliver(RUN, how="merge")
    assert everything_of_the_user(project) == before
    monkeypatch.undo()
    assert spaces.deliver(RUN, how="merge")


def test_what_the_user_does_after_a_crash_is_kept_and_the_rest_is_taken_back(kind: str, tmp_path: Path) -> None:
    project = git_project(tmp_path / "project") if kind == "git" else tmp_path / "project"
    if kind == "copy":
        fill(project)
    before = files_of(project)
    spaces = open_workspaces(project, tmp_path / "state", kind)
    spaces.begin(RUN)
    work(spaces, "a1", many_changes)
    killed_after(kind, project, tmp_path / "state", "deliver", "/project/app.py")
    assert files_of(project) != before
    assert files_of(project)["app.py"] == before["app.py"]
    (project / "app.py").write_text("the user goes on\n")
    with pytest.raises(ConflictError) as caught:
        spaces.deliver(RUN, how="merge")
    assert caught.value.paths == ("app.py",)
    assert (project / "app.py").read_text() == "the user goes on\n"
    git(project, "checkout", "app.py") if kind == "git" else (project / "app.py").write_text(
        "".join(f"line {n}\n" for n in range(1, 21))
    )
    assert files_of(project) == before


# git


def test_what_is_not_committed_is_noted_and_stays_out(repo: Path, tmp_path: Path) -> None:
    (repo / "app.py").write_text("half done\n")
    (repo / "notes.txt").write_text("mine")
    (repo / ".env").write_text("TOKEN=x")
    git(repo, "stash", "push", "--quiet", "--", "app.py")
    (repo / "readme.md").write_text("changed\n")
    (repo / "staged").write_text("staged\n")
    git(repo, "add", "staged")
    before = everything_of_the_user(repo)
    spaces = GitWorkspaces(repo, repo / ".interlock")
    spaces.begin(RUN)
    assert spaces.uncommitted(RUN) == ("readme.md", "staged", "notes.txt")
    place = spaces.open(RUN, "a1")
    assert not {"notes.txt", ".env", "staged"} & files_of(place).keys()
    work(spaces, "a1", write("new.txt", "x"))
    spaces.deliver(RUN, how="merge")
    after = everything_of_the_user(repo)
    moved = {".git/index", ".git/refs/heads/main", ".git/logs/HEAD", ".git/logs/refs/heads/main", "new.txt"}
    assert {
        p for p in before.keys() | after.keys() if before.get(p) != after.get(p) and not p.startswith(".interlock/")
    } <= moved
    assert git(repo, "status", "--porcelain").splitlines() == [
        "M readme.md",
        "A  staged",
        "?? .interlock/",
        "?? notes.txt",
    ]


def test_a_merge_is_refused_when_the_user_changed_a_touched_file(on_git: GitWorkspaces, repo: Path) -> None:
    work(on_git, "a1", edit("app.py", "line 3\n", "three\n"))
    for stage in (False, True):
        (repo / "app.py").write_text("half done\n")
        if stage:
            git(repo, "add", "app.py")
        before = everything_of_the_user(repo)
        with pytest.raises(ConflictError, match="commit, stash or move it") as caught:
            on_git.deliver(RUN, how="merge")
        assert caught.value.paths == ("app.py",)
        assert everything_of_the_user(repo) == before
    git(repo, "checkout", "--quiet", "HEAD", "--", "app.py")
    assert on_git.deliver(RUN, how="merge") == "main"


def test_a_merge_into_a_branch_that_nobody_has_checked_out_moves_only_it(on_git: GitWorkspaces, repo: Path) -> None:
    git(repo, "branch", "release")
    work(on_git, "a1", write("x", "1"))
    before = files_of(repo)
    assert on_git.deliver(RUN, how="merge", target="release") == "release"
    assert files_of(repo) == before
    assert git(repo, "show", "release:x") == "1"
    assert git(repo, "rev-parse", "main") != git(repo, "rev-parse", "release")


def test_line_ends_arrive_as_a_checkout_would_write_them(repo: Path, tmp_path: Path) -> None:
    (repo / ".gitattributes").write_text("*.txt text eol=crlf\n")
    (repo / "doc.txt").write_bytes(b"one\r\ntwo\r\n")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "-m", "crlf")
    spaces = GitWorkspaces(repo, tmp_path / "state")
    spaces.begin(RUN)
    place = spaces.open(RUN, "a1")
    assert (place / "doc.txt").read_bytes() == b"one\r\ntwo\r\n"
    (place / "doc.txt").write_bytes(b"one\r\n2\r\n")
    (place / "new.txt").write_bytes(b"x\n")
    spaces.integrate(RUN, "a1", author=AUTHOR, message="m")
    spaces.deliver(RUN, how="merge")
    assert (repo / "doc.txt").read_bytes() == b"one\r\n2\r\n"
    assert (repo / "new.txt").read_bytes() == b"x\r\n"
    assert git(repo, "status", "--porcelain") == ""


def test_both_kinds_merge_alike(tmp_path: Path) -> None:
    dice = random.Random(11)  # noqa: S311 - repeatable, no secret
    outcomes = set()
    for number in range(8):
        seeds = [dice.random(), dice.random()]
        found: list[tuple[str, object]] = []
        for kind in ("git", "copy"):
            project = tmp_path / f"{kind}{number}"
            git_project(project) if kind == "git" else fill(project)
            spaces = open_workspaces(project, tmp_path / f"{kind}{number}-state", kind)
            spaces.begin(RUN)
            for attempt, seed in zip(("a1", "a2"), seeds, strict=True):
                scramble(spaces.open(RUN, attempt), random.Random(seed))  # noqa: S311 - repeatable, no secret
            spaces.integrate(RUN, "a1", author=AUTHOR, message="m")
            try:
                spaces.integrate(RUN, "a2", author=AUTHOR, message="m")
            except ConflictError as error:
                found.append(("conflict", error.paths))
                continue
            spaces.deliver(RUN, how="merge")
            found.append(("merged", files_of(project, skip=(".git", ".gitignore"))))
        assert found[0] == found[1]
        outcomes.add(found[0][0])
    assert outcomes == {"conflict", "merged"}


def scramble(root: Path, dice: random.Random) -> None:
    """Some changes of lines, files and modes."""
    lines = (root / "app.py").read_text().splitlines(keepends=True)
    at = dice.randrange(0, len(lines), 4)
    lines[at] = f"changed {dice.randrange(3)}\n"
    (root / "app.py").write_text("".join(lines))
    match dice.randrange(5):
        case 0:
            (root / "readme.md").unlink()
        case 1:
            (root / "readme.md").write_text(f"{dice.randrange(3)}\n")
        case 2:
            (root / "run.sh").chmod(0o644)
        case 3:
            write(f"n{dice.randrange(2)}/f", f"{dice.randrange(2)}\n")(root)
        case _:
            shutil.rmtree(root / "deep")


def test_an_attempt_that_was_opened_only_by_half_is_not_taken(
    kind: str, spaces: UndoableWorkspaces, project: Path, tmp_path: Path
) -> None:
    killed_after(kind, project, tmp_path / "state", "open", "deep/er/x.txt" if kind == "copy" else "b1.json")
    spaces.begin("run_2")
    with pytest.raises(WorkspaceError, match="open one first"):
        spaces.integrate("run_2", "b1", author=AUTHOR, message="m")


def test_a_merge_waits_for_nobody_in_the_middle_of_something(on_git: GitWorkspaces, repo: Path) -> None:
    work(on_git, "a1", write("x", "1"))
    (repo / ".git" / "index.lock").write_text("")
    with pytest.raises(WorkspaceError, match=r"index\.lock"):
        on_git.deliver(RUN, how="merge")
    assert (repo / ".git" / "index.lock").exists()
    (repo / ".git" / "index.lock").unlink()
    (repo / ".git" / "MERGE_HEAD").write_text(git(repo, "rev-parse", "HEAD"))
    with pytest.raises(WorkspaceError, match="MERGE_HEAD"):
        on_git.deliver(RUN, how="merge")
    (repo / ".git" / "MERGE_HEAD").unlink()
    with pytest.raises(WorkspaceError, match="no branch nowhere"):
        on_git.deliver(RUN, how="merge", target="nowhere")
    assert on_git.deliver(RUN, how="merge") == "main"


def test_programs_that_the_repository_names_do_not_run(repo: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    touch = f"touch {ran}; cat"
    for hook in (
        "post-checkout",
        "pre-commit",
        "post-merge",
        "reference-transaction",
        "post-index-change",
        "commit-msg",
    ):
        (repo / ".git" / "hooks").mkdir(exist_ok=True)
        file = repo / ".git" / "hooks" / hook
        file.write_text(f"#!/bin/sh\ntouch {ran}\n")
        file.chmod(0o755)
    git(repo, "config", "core.fsmonitor", touch)
    git(repo, "config", "diff.external", touch)
    git(repo, "config", "core.pager", touch)
    git(repo, "config", "diff.x.textconv", touch)
    git(repo, "config", "merge.x.driver", f"touch {ran}; true")
    git(repo, "config", "filter.a=b.clean", touch)
    git(repo, "config", "filter.a=b.smudge", touch)
    git(repo, "config", "filter.p.process", touch)
    git(repo, "config", "filter.p.required", "true")
    (repo / ".git" / "info").mkdir(exist_ok=True)
    (repo / ".git" / "info" / "attributes").write_text("*.py merge=x diff=x\n*.md filter=a=b\n*.bin filter=p\n")
    spaces = GitWorkspaces(repo, tmp_path / "state")
    spaces.begin(RUN)
    edit("app.py", "line 3\n", "three\n")(spaces.open(RUN, "a1"))
    edit("app.py", "line 18\n", "eighteen\n")(spaces.open(RUN, "a2"))
    spaces.diff(RUN, "a1")
    spaces.integrate(RUN, "a1", author=AUTHOR, message="m")
    with pytest.raises(ConflictError):
        spaces.integrate(RUN, "a2", author=AUTHOR, message="m")
    spaces.run_diff(RUN)
    spaces.deliver(RUN, how="merge")
    spaces.end(RUN, keep=False)
    assert not ran.exists()


def test_a_file_that_needs_a_filter_is_refused_not_stored_wrongly(repo: Path, tmp_path: Path) -> None:
    git(repo, "config", "filter.lfs.clean", "false")
    (repo / ".gitattributes").write_text("*.bin filter=lfs\n")
    git(repo, "add", ".gitattributes")
    git(repo, "commit", "--quiet", "-m", "lfs")
    spaces = GitWorkspaces(repo, tmp_path / "state")
    spaces.begin(RUN)
    assert work(spaces, "a1", write("x", "1")) == ("x",)
    (spaces.open(RUN, "a2") / "blob.bin").write_bytes(b"new")
    with pytest.raises(WorkspaceError, match=r"blob\.bin: stored through a git filter"):
        spaces.integrate(RUN, "a2", author=AUTHOR, message="m")


def test_a_changed_git_pointer_is_refused(on_git: GitWorkspaces, tmp_path: Path) -> None:
    evil = git_project(tmp_path / "evil")
    for change in (
        lambda p: (p / ".git").write_text(f"gitdir: {evil}/.git\n"),
        lambda p: (p / ".git").unlink(),
        lambda p: ((p / ".git").unlink(), (p / ".git").symlink_to(evil / ".git")),
        lambda p: ((p / ".git").unlink(), (p / ".git").mkdir()),
    ):
        place = on_git.open(RUN, "a1")
        write("x", "1")(place)
        change(place)
        for call in (lambda: on_git.diff(RUN, "a1"), lambda: on_git.integrate(RUN, "a1", author=AUTHOR, message="m")):
            with pytest.raises(WorkspaceError, match=r"\.git file"):
                call()
        on_git.discard(RUN, "a1")
    assert "worktrees" not in git(evil, "worktree", "list")


@pytest.mark.parametrize(
    "plant",
    [
        lambda repo: git(repo, "config", "core.sshCommand", "evil"),
        lambda repo: git(repo, "config", "alias.status", "!evil"),
        lambda repo: git(repo, "config", "include.path", "/tmp/evil"),
        lambda repo: git(repo, "config", "filter.x.smudge", "evil"),
        write(".git/hooks/pre-commit", "evil"),
    ],
)
def test_planted_programs_are_noticed(on_git: GitWorkspaces, repo: Path, plant: Callable[[Path], object]) -> None:
    write("x", "1")(on_git.open(RUN, "a1"))
    git(repo, "config", "user.name", "someone")
    git(repo, "config", "remote.origin.url", "https://example.org/x.git")
    on_git.diff(RUN, "a1")
    plant(repo)
    with pytest.raises(WorkspaceError, match="names other programs"):
        on_git.integrate(RUN, "a1", author=AUTHOR, message="m")
    on_git.end(RUN, keep=False)
    assert git(repo, "branch", "--list", "interlock/*") == ""


def test_a_branch_that_somebody_moved_is_noticed(on_git: GitWorkspaces, repo: Path) -> None:
    write("x", "1")(on_git.open(RUN, "a1"))
    git(repo, "commit", "--quiet", "--allow-empty", "-m", "other")
    git(repo, "update-ref", f"refs/heads/interlock/{RUN}", "main")
    with pytest.raises(WorkspaceError, match="moved by somebody else"):
        on_git.integrate(RUN, "a1", author=AUTHOR, message="m")
    on_git.end(RUN, keep=False)
    assert git(repo, "rev-parse", f"interlock/{RUN}") == git(repo, "rev-parse", "main")


def test_a_branch_that_somebody_deleted_is_not_begun_anew(on_git: GitWorkspaces, repo: Path) -> None:
    work(on_git, "a1", write("x", "1"))
    git(repo, "branch", "--quiet", "-D", f"interlock/{RUN}")
    calls: tuple[Callable[[], str], ...] = (lambda: on_git.begin(RUN), lambda: on_git.deliver(RUN, how="review"))
    for call in calls:
        with pytest.raises(WorkspaceError, match="deleted by somebody else"):
            call()
    on_git.end(RUN, keep=False)


def test_what_an_agent_commits_or_hides_in_its_index_is_taken_all_the_same(on_git: GitWorkspaces, repo: Path) -> None:
    place = on_git.open(RUN, "a1")
    write("x", "1")(place)
    git(place, "add", "x")
    git(place, "commit", "--quiet", "-m", "by the agent")
    edit("app.py", "line 3\n", "three\n")(place)
    git(place, "update-index", "--assume-unchanged", "app.py")
    git(place, "update-index", "--skip-worktree", "readme.md")
    (place / "readme.md").write_text("hidden\n")
    assert on_git.changed(RUN, "a1") == ("app.py", "readme.md", "x")
    assert on_git.integrate(RUN, "a1", author=AUTHOR, message="m").changed == ("app.py", "readme.md", "x")
    assert git(repo, "log", "--format=%an", "-1", f"interlock/{RUN}") == "analytics-agent"


def test_attributes_that_an_agent_writes_hide_nothing_from_the_diff(on_git: GitWorkspaces) -> None:
    place = on_git.open(RUN, "a1")
    (place / ".gitattributes").write_text("* -diff -text binary\n")
    edit("app.py", "line 3\n", "three\n")(place)
    assert "+three" in on_git.diff(RUN, "a1")
    on_git.integrate(RUN, "a1", author=AUTHOR, message="m")
    assert "+three" in on_git.run_diff(RUN)


def test_a_repository_inside_the_workspace_is_refused(on_git: GitWorkspaces) -> None:
    git_project(on_git.open(RUN, "a1") / "sub")
    with pytest.raises(WorkspaceError, match="made or moved a git repository"):
        on_git.integrate(RUN, "a1", author=AUTHOR, message="m")
    with pytest.raises(WorkspaceError, match="made or moved a git repository"):
        on_git.diff(RUN, "a1")


def test_ignored_files_stay_out(on_git: GitWorkspaces) -> None:
    place = on_git.open(RUN, "a1")
    write("debug.log", "x")(place)
    write("x", "1")(place)
    assert on_git.integrate(RUN, "a1", author=AUTHOR, message="m").changed == ("x",)


def test_a_directory_below_the_repository_is_a_project(tmp_path: Path) -> None:
    top = git_project(tmp_path / "mono")
    project = top / "deep"
    spaces = open_workspaces(project, tmp_path / "state")
    assert isinstance(spaces, GitWorkspaces)
    spaces.begin(RUN)
    place = spaces.open(RUN, "a1")
    assert files_of(place) == files_of(project)
    write("er/new.txt", "1\n")(place)
    assert spaces.integrate(RUN, "a1", author=AUTHOR, message="m").changed == ("er/new.txt",)
    assert "b/er/new.txt" in spaces.run_diff(RUN)
    git(project, "apply", "--check", spaces.deliver(RUN, how="patch"))
    (spaces.open(RUN, "a2").parent / "app.py").write_text("outside")
    with pytest.raises(WorkspaceError, match="outside deep/"):
        spaces.integrate(RUN, "a2", author=AUTHOR, message="m")
    spaces.deliver(RUN, how="merge")
    assert (project / "er" / "new.txt").exists()
    assert git(top, "status", "--porcelain") == ""


def test_a_repository_without_a_commit_says_what_to_do(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "empty")
    with pytest.raises(WorkspaceError, match="commit once"):
        GitWorkspaces(tmp_path / "empty", tmp_path / "state").begin(RUN)


def test_a_detached_head_works_but_a_merge_must_name_its_target(repo: Path, tmp_path: Path) -> None:
    git(repo, "checkout", "--quiet", "--detach")
    spaces = GitWorkspaces(repo, tmp_path / "state")
    spaces.begin(RUN)
    work(spaces, "a1", write("x", "1"))
    with pytest.raises(WorkspaceError, match="say which branch"):
        spaces.deliver(RUN, how="merge")
    assert spaces.deliver(RUN, how="merge", target="main") == "main"
    assert not (repo / "x").exists()


def test_bare_linked_and_submodule_repositories_work(repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), "bare.git")
    git(repo, "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "linked"))
    outer = git_project(tmp_path / "outer")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "--name", "inner", str(repo), "inner")
    git(outer, "commit", "--quiet", "-m", "submodule")
    for number, (where, merged) in enumerate(
        [(tmp_path / "bare.git", None), (tmp_path / "linked", "x"), (outer / "inner", "x"), (outer, "x")]
    ):
        spaces = GitWorkspaces(where, tmp_path / f"state{number}")
        spaces.begin(RUN)
        assert work(spaces, "a1", write("x", "1")) == ("x",)
        assert spaces.deliver(RUN, how="merge")
        if merged:
            assert (where / merged).read_text() == "1"
            assert "x" not in git(where, "status", "--porcelain", "--ignore-submodules")
        spaces.end(RUN, keep=False)
        assert git(where, "branch", "--list", "interlock/*") == ""


def test_the_end_leaves_a_branch_that_somebody_looks_at(on_git: GitWorkspaces, repo: Path) -> None:
    work(on_git, "a1", write("x", "1"))
    git(repo, "checkout", "--quiet", f"interlock/{RUN}")
    on_git.end(RUN, keep=False)
    assert git(repo, "rev-parse", "--abbrev-ref", "HEAD") == f"interlock/{RUN}"
    assert git(repo, "status", "--porcelain") == ""


def test_a_branch_of_that_name_that_is_not_ours_is_not_taken(repo: Path, tmp_path: Path) -> None:
    git(repo, "branch", f"interlock/{RUN}")
    with pytest.raises(WorkspaceError, match="not ours"):
        GitWorkspaces(repo, tmp_path / "state").begin(RUN)


def test_work_trees_of_others_survive(on_git: GitWorkspaces, repo: Path, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    shutil.move(tmp_path / "side", tmp_path / "moved-away-for-a-while")
    on_git.open(RUN, "a1")
    on_git.end(RUN, keep=False)
    assert "refs/heads/side" in git(repo, "worktree", "list", "--porcelain")
    assert "state" not in git(repo, "worktree", "list", "--porcelain")


def test_variables_of_git_in_the_environment_are_not_obeyed(
    on_git: GitWorkspaces, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = git_project(tmp_path / "evil")
    monkeypatch.setenv("GIT_DIR", str(evil / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(evil / ".git" / "index"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    before = everything_of_the_user(evil)
    assert work(GitWorkspaces(repo, tmp_path / "state"), "a1", write("x", "1")) == ("x",)
    assert everything_of_the_user(evil) == before


# choosing, and copies


def test_auto_takes_git_where_there_is_git(repo: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    fill(plain)
    assert isinstance(open_workspaces(repo, tmp_path / "s1"), GitWorkspaces)
    assert isinstance(open_workspaces(plain, tmp_path / "s2"), CopyWorkspaces)
    with pytest.raises(UsageError, match='not "docker"'):
        open_workspaces(plain, tmp_path / "s3", "docker")
    with pytest.raises(WorkspaceError, match="not a git repository"):
        open_workspaces(plain, tmp_path / "s4", "git")
    with pytest.raises(WorkspaceError, match="not a directory"):
        open_workspaces(tmp_path / "none", tmp_path / "s5")


def test_copies_hold_no_version_control_and_take_none(tmp_path: Path) -> None:
    project = tmp_path / "project"
    fill(project)
    git_project(project / "nested")
    spaces = CopyWorkspaces(project, project / ".interlock" / "state", exclude=frozenset({"run.sh"}))
    spaces.begin(RUN)
    place = spaces.open(RUN, "a1")
    assert not (place / "nested" / ".git").exists()
    assert not (place / "run.sh").exists()
    write("nested/.git/hooks/post-checkout", "#!/bin/sh\nevil\n")(place)
    write("x", "1")(place)
    assert spaces.integrate(RUN, "a1", author=AUTHOR, message="m").changed == ("x",)


def test_runs_begin_side_by_side(spaces: UndoableWorkspaces) -> None:
    names = [f"beside-{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(spaces.begin, names))) == 1
    for name in names:
        spaces.end(name, keep=False)
