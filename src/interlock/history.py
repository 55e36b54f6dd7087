"""Learning from a repository: its commits, through the ``owns`` globs of the agents, are labelled examples for free.

Git is only read, with a scrubbed environment and without the repository's own programs (hooks, signature checkers,
file watchers). What is kept of a commit is its id, its agents and the stems of its subject and of the names of its files.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from interlock.decide import learn as rules
from interlock.decide.globs import pattern, weight
from interlock.errors import ConfigError, UsageError
from interlock.model.agent import AgentSpec
from interlock.model.canon import digest
from interlock.model.choosing import Lesson, Memory
from interlock.model.plain import dump, load
from interlock.model.run import Run

MEMORY_FILE = ".interlock-memory.json"
"""Where what was learned is kept, relative to the project; made to be committed."""
MOST_COMMITS = 20_000
_SECONDS = 120
_SAFE = ("core.fsmonitor=false", "core.hooksPath=/dev/null", "log.showSignature=false", "core.quotePath=false",
         "core.attributesFile=/dev/null", "diff.external=", "protocol.allow=never")  # fmt: skip


def learn(repo: Path, catalogue: Sequence[AgentSpec], since: Memory | None = None) -> Memory:
    """What the history of ``repo`` teaches about the agents of ``catalogue``.

    Goes on from ``since`` when it was made with the same ``owns`` globs and its last commit is still in the history;
    otherwise reads afresh. Corrections, and what runs taught, are kept in any case.

    Raises:
        UsageError: when no agent owns files, or ``repo`` is no git repository that can be read.
    """
    owned = _owned(catalogue)
    mark = digest([list(pair) for pair in sorted(owned)])
    head = _git(repo, "rev-parse", "--verify", "--quiet", "HEAD").strip()
    if not head:
        raise UsageError(f"{repo} has no commits yet: there is nothing to learn from")
    start = since if since is not None and since.catalogue == mark and _contains(repo, since.head) else None
    if start is None:
        start = rules.anew(since)
    fresh = list(lessons(repo, catalogue, after=start.head))
    return replace(rules.teach(start, fresh), head=head, catalogue=mark)


def learn_outcomes(memory: Memory, runs: Iterable[Run], catalogue: Sequence[AgentSpec]) -> Memory:
    """What runs that succeeded teach, the given ones newest first; those that have taught already are passed over."""
    known = {lesson.ref for lesson in memory.outcomes}
    owner = owner_of((glob, spec.name) for spec in catalogue for glob in spec.owns)
    told = [rules.of_run(run, owner) for run in runs if run.id not in known]
    return rules.teach(memory, [lesson for lesson in reversed(told) if lesson is not None], origin="outcomes")


def _contains(repo: Path, commit: str) -> bool:
    return _is_commit(commit) and _run(repo, "merge-base", "--is-ancestor", commit, "HEAD").returncode == 0


def _owned(catalogue: Sequence[AgentSpec]) -> tuple[tuple[str, str], ...]:
    owned = tuple((glob, spec.name) for spec in catalogue if not spec.fallback_only for glob in spec.owns)
    if not owned:
        raise UsageError("no agent says which files it owns: add `owns:` with globs to the agents in the configuration")
    return owned


def lessons(repo: Path, catalogue: Sequence[AgentSpec], *, after: str = "") -> Iterator[Lesson]:
    """One lesson for each commit (after the commit ``after``) that touched owned files, oldest first.

    Raises:
        UsageError: when no agent owns files, or ``repo`` cannot be read.
    """
    out = _git(
        repo, "log", "--no-merges", "--no-renames", "--no-textconv", "--no-ext-diff", "--name-only", "--reverse", "-z",
        f"--max-count={MOST_COMMITS}", "--format=%x01%H%x02%s%x02", f"{after}..HEAD" if after else "HEAD", "--",
    )  # fmt: skip
    owner = owner_of(_owned(catalogue))
    for record in out.split("\x01")[1:]:
        commit, _, rest = record.partition("\x02")
        subject, _, names = rest.partition("\x02")
        files = [name.strip("\n") for name in names.split("\0") if name.strip("\n")]
        if not files or len(files) > rules.MOST_FILES or subject.startswith("Revert "):
            continue
        agents = rules.sharing(files, owner)
        told = rules.subject_of(subject, files)
        if agents and told:
            yield Lesson(ref=commit, agents=agents, subject=told)


def subject_of(repo: Path, commit: str) -> str:
    """What a commit said it did, empty when there is no such commit here."""
    if not _is_commit(commit):
        return ""
    done = _run(repo, "log", "-1", "--format=%s", commit, "--")
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""


def _is_commit(said: str) -> bool:
    return bool(said) and all(digit in "0123456789abcdef" for digit in said)


def owner_of(owned: Iterable[tuple[str, str]]) -> Callable[[str], tuple[str, ...]]:
    """A function from a path to the agents whose most particular (glob, agent) covers it; quick for many paths."""
    compiled = [(pattern(glob), weight(glob), name) for glob, name in owned]

    @lru_cache(maxsize=100_000)
    def owner(path: str) -> tuple[str, ...]:
        best: dict[str, int] = {}
        for shape, particular, name in compiled:
            if particular >= best.get(name, 0) and shape.fullmatch(path):
                best[name] = particular
        top = max(best.values(), default=0)
        return tuple(sorted(name for name, particular in best.items() if particular == top))

    return owner


def _git(repo: Path, *args: str) -> str:
    done = _run(repo, *args)
    if done.returncode not in {0, 1}:
        why = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise UsageError(f"git cannot read {repo}: {why[0] if why else 'it failed'}")
    return done.stdout.decode("utf-8", "replace")


def _run(repo: Path, *args: str) -> subprocess.CompletedProcess[bytes]:
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_PAGER": "cat",
    }
    safe = [part for setting in _SAFE for part in ("-c", setting)]
    try:
        return subprocess.run(
            ["git", "--no-pager", *safe, "-C", str(repo), *args],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise UsageError("git is not installed, or the folder does not exist: " + str(repo)) from error
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"git needed more than {_SECONDS} s to read {repo}") from error


def load_memory(file: Path) -> Memory | None:
    """What was learned, None when there is no such file.

    Raises:
        ConfigError: when the file is not what :func:`save_memory` wrote.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - slow to import, and most projects have no memory yet

    try:
        return load(Memory, json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ValidationError) as error:
        reason = "it is not a memory of this version" if isinstance(error, ValidationError) else str(error)
        raise ConfigError(
            f"what was learned cannot be read: {reason}", file=str(file), suggestion="delete it and learn again"
        ) from error


def correct(file: Path, text: str, agents: Sequence[str]) -> Memory | None:
    """Learn that these agents are the right ones for such a task; None when that is known already.

    Raises:
        UsageError: for no agent.
        ConfigError: when the file cannot be used.
    """
    if not agents:
        raise UsageError("say which agents were right")
    ref = "correction:" + digest({"text": text, "agents": sorted(agents)})[7:19]
    memory = load_memory(file) or Memory()
    if any(lesson.ref == ref for lesson in memory.corrections):
        return None
    taught = rules.correct(memory, text, tuple(agents), ref=ref)
    save_memory(file, taught)
    return taught


def save_memory(file: Path, memory: Memory) -> None:
    """Write what was learned, whole or not at all, in an order that gives small differences in git."""
    text = json.dumps(dump(memory), sort_keys=True, indent=0, ensure_ascii=False) + "\n"
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
