"""Git as a careful program runs it: nothing that a repository names is executed, nothing is inherited, nothing is guessed.

A repository may be hostile: its configuration can name programs (filters, merge drivers, hooks, monitors), and an agent
without walls can write there. So every call gets an environment of its own, overrides each key that names a program,
and says itself where the repository, the work tree and the index are; the `.git` that lies in an agent's directory is
never followed.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from interlock.errors import WorkspaceError

MINIMUM = (2, 38)
"""The first version whose ``merge-tree`` merges without a work tree."""

_INHERITED = ("PATH", "HOME", "XDG_CONFIG_HOME", "TMPDIR", "TZ", "SYSTEMROOT")
_FIXED = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "false",
}
_OVERRIDES = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    "core.splitIndex": "false",
    "core.sparseCheckout": "false",
    "core.trustctime": "true",
    "core.checkStat": "default",
    "core.pager": "cat",
    "core.quotePath": "true",
    "core.fsync": "committed,reference",
    "core.fsyncMethod": "batch",
    "core.bigFileThreshold": "32m",  # larger files are named in diffs, not shown: a diff is held in memory
    "protocol.file.allow": "never",
    "protocol.ext.allow": "never",
    "commit.gpgsign": "false",
    "i18n.commitEncoding": "UTF-8",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "advice.detachedHead": "false",
}
_NEUTRAL = (
    (re.compile(r"filter\..*\.(clean|smudge|process)", re.DOTALL), ""),
    (re.compile(r"filter\..*\.required", re.DOTALL), "false"),
    (re.compile(r"merge\..*\.driver", re.DOTALL), "false"),  # `false` fails: both sides changed is then a conflict
    (re.compile(r"diff\..*\.(command|textconv)", re.DOTALL), ""),
    (re.compile(r"hook\..*\.enabled", re.DOTALL), "false"),
)
_PROGRAMS = re.compile(
    r"(filter|hook|trailer|credential|gpg|pager|alias|difftool|mergetool|extensions|include|includeif)\..*"
    r"|merge\..*\.driver|diff\.external|diff\..*\.(command|textconv)|remote\..*\.(uploadpack|receivepack|vcs|proxy)"
    r"|core\.(fsmonitor|hookspath|sshcommand|gitproxy|pager|editor|askpass|worktree|attributesfile|alternaterefscommand)"
    r"|sequence\.editor|uploadpack\.packobjectshook",
    re.DOTALL,
)
"""Keys by which a repository's own configuration makes git run something, now or when the user next types a command."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GitFailure:
    """What a git command said when it did not succeed."""

    code: int
    said: str


class GitError(WorkspaceError):
    """Raised when a git command failed; ``failure`` has its code and words."""

    def __init__(self, command: Sequence[str], failure: GitFailure) -> None:
        self.failure = failure
        super().__init__(f"git {command[0]} failed ({failure.code}): {failure.said or 'it said nothing'}")


class Git:
    """One repository, found from ``project``.

    Raises:
        WorkspaceError: when git is missing or too old, or ``project`` is not in a repository.
    """

    def __init__(self, project: Path, scratch: Path) -> None:
        self.project = project.absolute()
        self.scratch = scratch
        """An empty directory: where commands run that need no work tree."""
        scratch.mkdir(parents=True, exist_ok=True)
        self._overrides: dict[str, str] = dict(_OVERRIDES)
        self.filters: frozenset[str] = frozenset()
        self._require_version()
        self.bare = self._here("rev-parse", "--is-bare-repository") == "true"
        self.common = Path(self._here("rev-parse", "--path-format=absolute", "--git-common-dir"))
        self.prefix = "" if self.bare else self._here("rev-parse", "--show-prefix")
        self.top = None if self.bare else Path(self._here("rev-parse", "--show-toplevel"))
        """The top of the user's work tree, None for a bare repository."""
        self.own = Path(self._here("rev-parse", "--absolute-git-dir"))
        """The git directory of the user's work tree: the common one, unless the work tree is a linked one."""
        self.programs()

    def programs(self) -> str:
        """Override the programs that the configuration names; returns a digest of those that the repository itself names.

        In the digest are its own settings and its hooks, which an agent without walls could plant, not the user's or the machine's.
        """
        listed = self._execute(
            ["config", "--list", "-z", "--show-scope", "--includes"],
            cwd=self.scratch,
            env={"GIT_DIR": str(self.common)},
        )
        told = hashlib.sha256(_hooks(self.common / "hooks"))
        overrides, filters = dict(_OVERRIDES), set()
        words = listed.split(b"\0")
        for scope, item in sorted(zip(words[::2], words[1::2], strict=False)):
            key = os.fsdecode(item.partition(b"\n")[0])
            if scope == b"command":  # our own overrides
                continue
            if scope in {b"local", b"worktree"} and _PROGRAMS.fullmatch(key):
                told.update(item + b"\0")
            overrides.update((key, neutral) for pattern, neutral in _NEUTRAL if pattern.fullmatch(key))
            if key.startswith("filter."):
                filters.add(key.removeprefix("filter.").rpartition(".")[0])
            if key.startswith("hook."):
                overrides[f"{key.rpartition('.')[0]}.enabled"] = "false"
        self._overrides, self.filters = overrides, frozenset(filters)
        return told.hexdigest()

    def run(
        self,
        *args: str,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        work_tree: Path | None = None,
        git_dir: Path | None = None,
        index: Path | None = None,
        objects: Path | None = None,
        bare: bool = True,
        accept: Iterable[int] = (0,),
    ) -> bytes:
        """Run one command and return what it printed.

        Without ``work_tree`` the repository counts as bare (unless told otherwise), so that no attribute file of a work tree is obeyed. With
        ``objects`` new objects go there instead of into the repository.

        Raises:
            GitError: when the exit code is not in ``accept``.
        """
        where = {"GIT_DIR": str(git_dir or self.common), **(env or {})}
        extra = {}
        if work_tree is None and bare:
            extra["core.bare"] = "true"
        elif work_tree is not None:
            where["GIT_WORK_TREE"] = str(work_tree)
        if index is not None:
            where["GIT_INDEX_FILE"] = str(index)
        if objects is not None:
            extra["core.fsync"] = "none"  # looked at, not kept
            where["GIT_OBJECT_DIRECTORY"] = str(objects)
            where["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = _quoted(self.common / "objects")
        return self._execute(
            list(args), cwd=work_tree or self.scratch, env=where, extra=extra, stdin=stdin, accept=accept
        )

    def text(self, *args: str) -> str:
        """As :meth:`run`, for commands that print one line."""
        return os.fsdecode(self.run(*args).removesuffix(b"\n"))

    def works(self, *args: str) -> bool:
        """Whether the command exits with 0; 1 is no, anything else raises."""
        try:
            self.run(*args)
        except GitError as error:
            if error.failure.code == 1:
                return False
            raise
        return True

    def resolve(self, name: str) -> str:
        """The object id of ``name``, empty when there is none."""
        return os.fsdecode(
            self.run("rev-parse", "--quiet", "--verify", "--end-of-options", name, accept=(0, 1, 128))
        ).strip()

    def compare_and_swap(self, ref: str, *, old: str, new: str, why: str) -> bool:
        """Move ``ref`` from ``old`` to ``new``, durably; False when it was not at ``old``. An empty ``old``: it is new."""
        try:
            self.run("update-ref", "--create-reflog", "-m", why, ref, new, old or "0" * len(new))
        except GitError:
            if self.resolve(ref) == old:
                raise
            return False
        return True

    def work_trees(self) -> list[dict[str, str]]:
        """All work trees of the repository, as ``git worktree list --porcelain`` describes them."""
        trees: list[dict[str, str]] = []
        for block in os.fsdecode(self.run("worktree", "list", "--porcelain", "-z", bare=False)).split("\0\0"):
            fields = [line.partition(" ") for line in block.split("\0") if line]
            if fields:
                trees.append({key: value for key, _, value in fields})
        if self.top is not None and self.own == self.common:
            trees[0]["worktree"] = str(
                self.top
            )  # git guesses it from the place of the repository: wrong in a submodule
        return trees

    def git_dir_of(self, work_tree: Path) -> Path:
        """The git directory of a work tree of the user's."""
        return Path(self._here("rev-parse", "--absolute-git-dir", cwd=work_tree))

    def _here(self, *args: str, cwd: Path | None = None) -> str:
        try:
            return os.fsdecode(self._execute(list(args), cwd=cwd or self.project, env={}).removesuffix(b"\n"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise WorkspaceError(f"{cwd or self.project} is not a directory: {error}") from error

    def _require_version(self) -> None:
        try:
            said = self._execute(["--version"], cwd=self.scratch, env={}).decode()
        except FileNotFoundError as error:
            raise WorkspaceError("git is not installed: install it, or use copies (isolation: copy)") from error
        found = re.search(r"(\d+)\.(\d+)", said)
        if not found or (int(found[1]), int(found[2])) < MINIMUM:
            wanted = ".".join(str(part) for part in MINIMUM)
            raise WorkspaceError(
                f"git {wanted} or newer is needed, this is {said.strip()!r}; or use copies (isolation: copy)"
            )

    def _execute(
        self,
        args: list[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        extra: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        accept: Iterable[int] = (0,),
    ) -> bytes:
        done = subprocess.run(
            ["git", *args],
            cwd=cwd,
            env={**_environment({**self._overrides, **(extra or {})}), **env},
            input=stdin if stdin is not None else b"",
            capture_output=True,
            check=False,
        )
        if done.returncode not in accept:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise GitError(args, GitFailure(code=done.returncode, said=said[-2000:]))
        return done.stdout


def readable(path: bytes) -> str:
    """A path for people and records: text that is always valid UTF-8."""
    return path.decode("utf-8", "backslashreplace")


def _hooks(folder: Path) -> bytes:
    """The repository's hooks, but for the samples that git itself puts there."""
    told = b""
    if not folder.is_dir():
        return told
    for hook in sorted(folder.iterdir()):
        if hook.suffix != ".sample" and (hook.is_file() or hook.is_symlink()):
            content = os.fsencode(hook.readlink()) if hook.is_symlink() else hook.read_bytes()
            told += os.fsencode(hook.name) + hashlib.sha256(content).digest() + bytes([hook.lstat().st_mode >> 6 & 1])
    return told


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Everything a git process gets: overrides travel as variables, where a key may hold any character."""
    env = {name: os.environ[name] for name in _INHERITED if name in os.environ} | _FIXED
    env["GIT_CONFIG_COUNT"] = str(len(settings))
    for number, (key, value) in enumerate(settings.items()):
        env[f"GIT_CONFIG_KEY_{number}"] = key
        env[f"GIT_CONFIG_VALUE_{number}"] = value
    return env


def _quoted(path: Path) -> str:
    """A path for a colon-separated list of git's, where C quoting is known."""
    text = str(path)
    if not re.search(r'[:"\\\n]', text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
