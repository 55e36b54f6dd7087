"""What starts does not load what only others need: a third of a second for each of DBOS, SQLAlchemy and what judges."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import interlock

ROOT = Path(interlock.__file__).parents[1]
COMMAND = "from interlock.__main__ import main"
COLD = """import json, pathlib
from interlock.surfaces.hook.once import answer
call = {"op": "before", "agent": "claude", "session": "s", "tool": "shell", "args": {"command": "ls"}, "native": False, "wait_s": 1}
def main():
    assert answer(call, pathlib.Path.cwd())["verdict"] == 'allow'"""
TELL = """
import sys
try:
    main()
finally:
    print(*sys.modules, file=sys.__stderr__)"""
ENGINE = ("dbos", "sqlalchemy", "interlock.app")


@pytest.mark.parametrize(
    ("words", "code", "needless"),
    [
        ("", "import interlock\nmain = int", ("pydantic", "typing", *ENGINE)),
        ("", "from interlock.surfaces.hook.client import main as hook\nmain = lambda: hook([])", ("typing", "pydantic", "subprocess", "asyncio", *ENGINE)),
        ("", COLD, ("asyncio", "typer", "rich", "sqlglot", "psutil", *ENGINE)),
        ("rns", COMMAND, ("typer", "pydantic", "asyncio", *ENGINE)),
        ("--help", COMMAND, ("pydantic", "asyncio", "rich", "yaml", "re2", *ENGINE)),
        ("check ls --tool shell", COMMAND, ("asyncio", "sqlglot", "interlock.surfaces.cli.run", *ENGINE)),
        ("runs --json", COMMAND, ("dbos", "sqlalchemy.orm", "psycopg", "sqlglot", "rich", "apprise")),
    ],
    ids=["import interlock", "warm hook", "cold hook", "typo", "help", "check", "runs"],
)  # fmt: skip
def test_what_starts_does_not_load_what_it_does_not_need(
    tmp_path: Path, words: str, code: str, needless: tuple[str, ...]
) -> None:
    (tmp_path / "interlock.yaml").write_text("limits: {}\n")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "INTERLOCK_HOOK_SERVER": "off"}
    done = subprocess.run(
        [sys.executable, "-c", code + TELL, *words.split()],
        cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == (2 if words == "rns" else 0), done.stderr
    loaded = set(done.stderr.split())
    assert "interlock" in loaded
    assert loaded.isdisjoint(needless), sorted(loaded.intersection(needless))
