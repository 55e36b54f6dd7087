"""The documents are true: what they name exists, what they show works, and the reference is what the code says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from interlock.config import load_settings
from interlock.config.settings import Sections
from interlock.policies import examine_file
from interlock.reading.secrets import redact
from interlock.surfaces.cli import main

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/**/*.md"),
        *ROOT.glob("examples/**/.claude/**/*.md"),
    ]
)
NAMES = [str(path.relative_to(ROOT)) for path in DOCS]
SPEC = ROOT / "docs" / "spec.md"
ENV = {**os.environ, "PYTHONPATH": str(Path(main.__file__).parents[3])}
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, *languages: str) -> list[str]:
    return [text for language, text in _FENCE.findall(read(name)) if language in languages]


@cache
def commands() -> dict[str, set[str]]:
    """Every command that can be typed, and its options, as the real command line has them."""
    found: dict[str, set[str]] = {}

    def walk(command: Any, words: str) -> None:
        inner = getattr(command, "commands", {})
        found[words] = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
        for name, each in inner.items():
            walk(each, f"{words} {name}".strip())

    walk(typer.main.get_command(main.command_line()), "")
    return found


def problem_with(line: str) -> str:
    """Why ``interlock …`` could not be typed like that; empty when it can."""
    try:
        words = shlex.split(line.replace("…", "X"), comments=True)
    except ValueError:
        return f"cannot be split: {line}"
    words = words[
        : next((place for place, word in enumerate(words) if word in {"|", ">", "&&", ";", "·", "--"}), len(words))
    ]
    command, rest = "", words[1:]
    while rest and f"{command} {rest[0]}".strip() in commands():
        command = f"{command} {rest.pop(0)}".strip()
    if not command and rest and rest[0] not in {"--help", "-h", "--version"}:
        return f"there is no command in: {line}"
    known = commands()[command] | {"--help", "-h"}
    wrong = [word for word in rest if word.startswith("-") and len(word) > 1 and word.partition("=")[0] not in known]
    return f"{', '.join(wrong)} unknown in: {line}" if wrong else ""


def typed_commands(name: str) -> list[str]:
    """Every ``interlock …`` that a document shows: in blocks, one a line, and in `back-ticks`."""
    text = read(name)
    found = []
    for _, block in _FENCE.findall(text):
        for line in block.splitlines():
            at = re.search(r"(?:^|\$ |\| |bin/|:\s+)(interlock [a-z].*)", line)
            if at and not re.match(r"\s*[>#\"']", line):
                found.append(at[1].replace("[OPTIONS]", "").replace("[", "").replace("]", "").split("   (")[0])
    plain = _FENCE.sub("", text)
    found.extend(re.findall(r"`(interlock [a-z][^`]*)`", plain))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_relative_link_leads_somewhere(name: str) -> None:
    text = _FENCE.sub("", read(name))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (ROOT / name).parent / path if path else ROOT / name
        assert there.exists(), f"{name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
            assert anchor in slugs, f"{name}: {target}"


@pytest.mark.parametrize("name", NAMES)
def test_every_command_that_is_shown_can_be_typed(name: str) -> None:
    for line in typed_commands(name):
        assert not problem_with(line), name


def test_the_check_of_commands_can_fail() -> None:
    assert problem_with("interlock rnu x")
    assert problem_with("interlock run --no-such-option x")
    assert not problem_with('interlock run "a --b task" --json')
    assert typed_commands("README.md")


@pytest.mark.parametrize("name", NAMES)
def test_every_make_target_that_is_shown_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    shown = re.findall(r"(?:^|`|\$ )\s*make ([a-z]+)(?=\s|`|$)", read(name), re.MULTILINE)
    if name == "README.md":
        assert {"run", "test"} <= set(shown)
    if name.startswith(("README", "CONTRIBUTING", "docs/quickstart")):
        assert set(shown) <= targets


@pytest.mark.parametrize("name", NAMES)
def test_no_document_holds_a_machines_path_a_registrys_address_or_a_secret(name: str) -> None:
    text = read(name)
    assert not re.search(r"(?<![\w.])/(work|tmp|home|root|Users|private|data)/\w", text), name
    assert not re.search(r"https?://[^\s)]*(pypi|npmjs|registry|artifactory|nexus|pythonhosted|mirror)", text), name
    for line in text.splitlines():
        assert redact(line) == line, f"{name}: {line}"


def rows() -> list[list[str]]:
    lines = [line for line in SPEC.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "requirement"]


def test_every_test_that_the_threat_model_names_exists() -> None:
    text = read("docs/threat-model.md")
    named = re.findall(r"`(tests/\w+\.py)::(\w+)`", text)
    assert len(re.findall(r"^### ASI\d\d ", text, re.MULTILINE)) == 10
    assert len(named) > 30
    assert [f"{path}::{name}" for path, name in named if f"def {name}(" not in read(path)] == []


def test_every_requirement_has_a_row_that_is_held_or_says_not_yet() -> None:
    sections = re.findall(r"^## (\d+)\.", SPEC.read_text(encoding="utf-8"), re.MULTILINE)
    assert sections == [str(number) for number in range(1, 14)]
    for row in rows():
        assert len(row) == 4, row
        assert row[3] or "not yet" in row[1], f"nothing holds: {row[0]}"


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:60])
def test_what_a_requirement_names_exists(row: list[str]) -> None:
    for named in re.findall(r"`([^`]+)`", row[1]):
        if "/" in named:
            assert (ROOT / named).is_file(), named
    for line in re.findall(r"`(interlock[^`]*)`", row[2]):
        assert not problem_with(line)
    for test in re.findall(r"`([^`]+)`", row[3]):
        file, _, function = test.partition("::")
        assert re.search(rf"^(async )?def {function}\(", read(file), re.MULTILINE), test


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "README.md", "docs/adr/README.md"])
def test_files_that_are_named_in_text_exist(name: str) -> None:
    for named in re.findall(r"`((?:src|docs|tests|tools|bench|examples)/[\w./-]+)`", read(name)):
        assert (ROOT / named).exists(), named


def test_every_decision_is_in_the_list() -> None:
    listed = set(re.findall(r"\((\d{4}[^)]+)\)", read("docs/adr/README.md")))
    assert listed == {path.name for path in (ROOT / "docs" / "adr").glob("0*.md")}
    for name in listed:
        text = read(f"docs/adr/{name}")
        assert all(f"**{word}.**" in text for word in ("Context", "Decision", "Consequences")), name


def test_the_reference_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.reference", "--check"],
        cwd=ROOT,
        env=ENV,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nrun: python -m tools.reference"


def _configurations() -> list[tuple[str, str]]:
    found = []
    for name in NAMES:
        for text in blocks(name, "yaml"):
            loaded = yaml.safe_load(text)
            known = {*Sections.model_fields, "environment", "environments", "strict_ladder"}
            if isinstance(loaded, dict) and set(loaded) <= known and not isinstance(loaded.get("policies"), list):
                found.append((name, text))
    return found


@pytest.mark.parametrize(("name", "text"), _configurations())
def test_every_configuration_that_is_shown_is_valid(tmp_path: Path, name: str, text: str) -> None:
    assert name
    (tmp_path / "interlock.yaml").write_text(text, encoding="utf-8")
    load_settings(tmp_path, env="development")


def _policies() -> list[tuple[str, str]]:
    return [
        (name, text) for name in NAMES for text in blocks(name, "yaml")
        if isinstance(loaded := yaml.safe_load(text), dict) and (isinstance(loaded.get("policies"), list) or "rules" in loaded)
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "text"), _policies())
def test_every_policy_that_is_shown_is_sound_and_its_cases_hold(tmp_path: Path, name: str, text: str) -> None:
    assert name
    file = tmp_path / "shown.yaml"
    file.write_text(text, encoding="utf-8")
    _, complaints = examine_file(file)
    assert not complaints
    if "tests:" in text:
        done = interlock(tmp_path, "policy", "test", str(file))
        assert done.returncode == 0, done.stdout + done.stderr


def interlock(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "interlock", *words], cwd=place, env=ENV, capture_output=True, text=True, check=False
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "README").write_text("a project\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "--all"], [*who, "commit", "-qm", "as it is"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


def test_the_librarys_first_lines_run(repository: Path) -> None:
    text = blocks("docs/how-to/library.md", "python")[0]
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=repository, env=ENV, capture_output=True, text=True, check=False
    )
    assert done.stdout.split()[:1] == ["succeeded"], done.stdout + done.stderr


def test_the_quickstart_is_what_happens(repository: Path) -> None:
    program = blocks("docs/quickstart.md", "python")[0]
    (repository / "agents").mkdir()
    (repository / "agents" / "notes.py").write_text(program)
    assert interlock(repository, "init").returncode == 0
    (repository / "interlock.yaml").write_text(blocks("docs/quickstart.md", "yaml")[0])
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "add", "--all"], cwd=repository, check=True)
    subprocess.run(["git", *who, "commit", "-qm", "an agent"], cwd=repository, check=True)
    for line in typed_commands("docs/quickstart.md"):
        words = shlex.split(line.replace("…", "X"), comments=True)[1:]
        if words[0] in {"init", "demo"}:
            continue
        done = interlock(repository, *words)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    shown = interlock(repository, "show", "last").stdout
    assert "the notes are written" in shown
    assert not (repository / "NOTES.md").exists()
