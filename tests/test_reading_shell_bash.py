"""The shell reader against bash itself: the arguments that bash hands over are the arguments that were judged."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from interlock.model.action import Scope
from interlock.reading.shell import execute, holes, read_shell
from interlock.reading.shell.machine import Machine

BASH = shutil.which("bash")
PIECES = [
    *("a", "'x y'", '"p q"', '"$v"', "$v", "${v}", "$'\\x41'", "''", '""', "\\$v", "'$v'", "${v:-d}", "${u:-d}", "${v:0:1}"),
    *("${v/o/0}", "${v#f}", "${v%o}", "${v^^}", "$(echo z)", "`echo z`", "$(echo 'p q')", '"$(echo "p  q")"', "a#b", "=", "x=1"),
    *('"a\\"b"', '"a\\$v"', "$'a\\tb'", "é", "--", "a{b,c}d", "{}", "\\{a,b\\}", '$"l"', "$'q'\"r\"s", "\\\\", "\\m", "-n", "~"),
]  # fmt: skip


def word(dice: random.Random) -> str:
    return "".join(dice.choice(PIECES) for _ in range(dice.choice([1, 1, 1, 2, 3])))


def command(dice: random.Random) -> str:
    return "mark " + " ".join(word(dice) for _ in range(dice.randint(1, 4)))


def script(dice: random.Random, depth: int = 0) -> str:
    inner = command(dice) if depth > 1 else script(dice, depth + 1)
    quoted = "'" + inner.replace("'", "'\\''") + "'"
    shapes = [
        "{}", "{}; mark b", "true && {}", "( {} )", "{{ {}; }}", "if true; then {}; fi", "f() {{ {}; }}; f", 'echo "$( {} )" >&2',
        "for i in 1; do {}; done", "case a in a) {};; esac", "eval {q}", "bash -c {q}", "bash <<< {q}", "bash <<'E'\n{}\nE\n",
        "cat <<'E' | bash\n{}\nE\n", "true; {} >&2", ">&2 {}", "{} 2>&1 last",
    ]  # fmt: skip
    return dice.choice(shapes).format(inner, q=quoted)


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
@pytest.mark.parametrize("seed", range(8))
def test_what_bash_executes_is_what_was_judged(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[list[str]] = []
    known = execute.known

    def watching(machine: Machine, argv: list[str], stdin: str | None) -> str:
        if argv[0] == "mark":
            judged.append(argv[1:])
        return known(machine, argv, stdin)

    monkeypatch.setattr(execute, "known", watching)
    log = tmp_path / "log"
    mark = tmp_path / "mark"
    mark.write_text('#!/bin/bash\nprintf "%s\\037" "$@" >> "$LOG"; printf "\\036" >> "$LOG"\n')
    mark.chmod(0o755)
    place = tmp_path / "empty"
    place.mkdir()
    environment = {"PATH": f"{tmp_path}:{os.defpath}", "LOG": str(log), "HOME": "/h", "LC_ALL": "C.UTF-8"}
    dice = random.Random(seed)  # noqa: S311 - variety, not secrecy
    for _ in range(12):
        text = f"export v='foo o'; {script(dice)}"
        log.write_text("")
        assert BASH is not None
        subprocess.run([BASH, "-c", text], cwd=place, env=environment, capture_output=True, timeout=20, check=False)
        judged.clear()
        reading = read_shell(text, Scope())
        if any(finding.kind.startswith("shell.unresolved") for finding in reading.findings):
            continue  # refused, which is never too mild
        for line in log.read_text().split("\x1e")[:-1]:
            real = [re.sub("^/h(?=/|$)", "~", arg) for arg in line.split("\x1f")[:-1]]
            assert any(_covers(seen, real) for seen in judged), (text, real, judged)


def _covers(seen: list[str], real: list[str]) -> bool:
    """The same arguments; braces beside a value that is split make more copies in bash than are judged."""
    return any(holes.open_in(arg) for arg in seen) or seen == real or set(seen) == set(real)
