"""Policies from files: the packs that ship with Interlock, and a team's own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.config import PolicySettings, read_yaml
from interlock.decide.policy_load import PolicyFile, examine
from interlock.errors import ConfigError, InterlockError, did_you_mean

if TYPE_CHECKING:
    from interlock.config import Settings
    from interlock.decide.policy import PolicySet
    from interlock.model.decision import Enforcement

PACKS = (
    "defaults",
    "databases",
    "git",
    "cloud",
    "kubernetes",
    "secrets",
    "production",
    "forbidden-operations",
    "literal",
)
"""The packs, by name. ``literal`` is the seed's six patterns on every surface, kept for comparison only."""
DEFAULT_PACKS: tuple[str, ...] = PolicySettings().packs
"""What is on when a configuration names none."""


def load_policies(
    packs: Sequence[str],
    files: Sequence[Path],
    overrides: Mapping[str, Enforcement],
    *,
    no_accept_in: Collection[str] = ("production",),
) -> PolicySet:
    """The policies of these packs and files, compiled, with the enforcement of some set otherwise.

    Raises:
        ConfigError: for an unknown pack or policy, an unreadable file, or anything wrong in one, with file and line.
    """
    from interlock.decide.policy import PolicySet  # noqa: PLC0415 - RE2 and CEL are loaded when policies are

    sources = [read_pack(name) for name in dict.fromkeys(packs)] + [read_file(path) for path in files]
    policies = [policy for source in sources for policy in source.policies]
    compiled = PolicySet.compile(policies, no_accept_in=no_accept_in)
    return compiled.with_enforcement(overrides) if overrides else compiled


def policies_of(settings: Settings, version: str = "") -> PolicySet:
    """The policies of a project as its files are now; of one of its ``policies.versions`` when that is named.

    Raises:
        ConfigError: as :func:`load_policies`.
    """
    said = settings.policies
    packs, files, enforcement = said.packs, said.files, said.enforcement
    if version:
        new = said.versions[version]
        packs = (*packs, *new.packs)
        files = files if new.files is None else new.files
        enforcement = enforcement if new.enforcement is None else new.enforcement
    return load_policies(packs, [Path(settings.project, file) for file in files], enforcement)


def pack_text(name: str) -> str:
    """The YAML text of a pack.

    Raises:
        ConfigError: when there is no such pack.
    """
    if name not in PACKS:
        hint = did_you_mean(name, PACKS) or f"there are: {', '.join(PACKS)}"
        raise ConfigError(f"there is no policy pack {name!r}", suggestion=hint)
    return (resources.files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")


def read_pack(name: str) -> PolicyFile:
    """A pack by its name.

    Raises:
        ConfigError: when there is no such pack.
    """
    return _sound(examine_text(pack_text(name), f"{name}.yaml", shipped=True))


def read_file(path: Path) -> PolicyFile:
    """The policies of a file.

    Raises:
        ConfigError: when it cannot be read, or the first thing that is wrong in it.
    """
    return _sound(examine_file(path))


def examine_file(path: Path) -> tuple[PolicyFile, tuple[ConfigError, ...]]:
    """What could be read of a file, and everything that is wrong in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
        return PolicyFile(file=str(path)), (ConfigError(f"the policy file cannot be read: {why}", file=str(path)),)
    return examine_text(text, str(path))


def examine_text(text: str, file: str, *, shipped: bool = False) -> tuple[PolicyFile, tuple[ConfigError, ...]]:
    """What could be read of a policy file's text, and everything that is wrong in it (see :func:`examine`)."""
    try:
        tree = read_yaml(text, file=file)
    except ConfigError as problem:
        return PolicyFile(file=file), (problem,)
    twice = tuple(
        ConfigError(f"the key {path[-1]!r} is there twice", file=file, line=line) for path, line in tree.duplicates
    )
    found, complaints = examine(tree.value, file=file, marks=tree.lines, shipped=shipped)
    return found, (*twice, *complaints)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lint:
    """What is wrong with policy files, and how much is in them."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    policies: int
    rules: int


def lint(files: Iterable[tuple[PolicyFile, tuple[ConfigError, ...]]]) -> Lint:
    """Everything that is wrong with what :func:`examine_file` has read, together: also rules that can change nothing."""
    from interlock.decide.policy import PolicySet, complaints  # noqa: PLC0415 - help needs none

    files = tuple(files)
    errors = [str(problem) for _, wrong in files for problem in wrong]
    policies = [policy for found, _ in files for policy in found.policies]
    places = {rule: f"{found.file}:{line}: " for found, _ in files for rule, line in found.lines.items()}
    warnings: list[str] = []
    try:
        PolicySet.compile(policies)
    except InterlockError as problem:
        errors.append(str(problem))
    else:
        warnings += [f"{places.get(it.rule_id, '')}{it.rule_id}: {it.message}" for it in complaints(policies)]
    return Lint(
        errors=tuple(errors), warnings=tuple(warnings), policies=len(policies),
        rules=sum(len(policy.rules) for policy in policies),
    )  # fmt: skip


def _sound(read: tuple[PolicyFile, tuple[ConfigError, ...]]) -> PolicyFile:
    found, complaints = read
    if complaints:
        raise complaints[0]
    return found
