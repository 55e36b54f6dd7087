"""File changes to findings: what a change takes away and what it brings in.

Reads unified diffs, git's extensions of them, the ``*** Begin Patch`` form that coding agents write, and whole new
contents. Lines are judged by which side they are on; a word that a file loses and gets back is no loss.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import re2

from interlock.model.action import Finding, Reading, Scope
from interlock.model.risk import RiskLevel
from interlock.reading import patch_rules as rules
from interlock.reading.normal import encodable, normalise
from interlock.reading.patch_rules import linear
from interlock.reading.path_places import MANIFEST
from interlock.reading.paths import read_path
from interlock.reading.statements import read_sql
from interlock.reading.unified import FileChange, parse_patch

LOW, MEDIUM, HIGH, CRITICAL = RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL

LONGEST = 4_000_000
"""Characters of a whole change; a longer one is blocked."""
LONGEST_FILE = 400_000
"""Characters of one file's changed lines that are read; the rest asks a person."""
_LONGEST_PATH = 4096
HUGE = 3_000
"""Changed lines after which nobody reviews well; noted."""

Secrets = Callable[[str], tuple[Finding, ...]]


def read_patch(diff: str, scope: Scope, *, path: str = "", before: str = "", secrets: Secrets | None = None) -> Reading:
    """What a change would take away, bring in and touch.

    ``diff`` is a patch, or with ``path`` the new content of that file (or of the part that an edit replaces) and
    ``before`` the old one, empty when there was none or it is not known. ``secrets`` finds secrets in added lines.
    Severity: a check, limit, log or constraint taken away or switched off asks a person (high); programs, ``eval``,
    dependencies and skipped tests are noted (medium); an ordinary change has no finding above medium. What is added in
    tests counts one step less. A text that is no patch is high, one over ``LONGEST`` characters critical.
    """
    if len(diff) + len(before) > LONGEST:
        return Reading(findings=(_finding("patch.too_long", CRITICAL, path, f"is longer than {LONGEST} characters"),))
    if path:
        files = [_rewritten(path, before.splitlines(), diff.splitlines())]
        whole: list[Finding] = []
    else:
        files = parse_patch(diff)
        whole = (
            [_finding("patch.unparsed", HIGH, diff, "is no patch, so which files it changes cannot be told")]
            if not files and diff.strip()
            else []
        )
        if not files:
            files = [FileChange(path="", added=diff.splitlines())]
    reading = Reading(findings=tuple(whole))
    taken_in = Counter(line.strip() for change in files for line in change.added)
    for change in files:
        reading += _read_file(change, scope, secrets, taken_in)
    if sum(len(change.added) + len(change.removed) for change in files) > HUGE:
        reading += Reading(
            findings=(_finding("patch.huge", MEDIUM, "", f"changes more than {HUGE} lines: nobody reviews that well"),)
        )
    return Reading(findings=_once(reading.findings), paths=reading.paths)


def _rewritten(path: str, old: list[str], new: list[str]) -> FileChange:
    """The lines that only the old and only the new content have; where they stood does not matter to any rule."""
    gone, come = Counter(old) - Counter(new), Counter(new) - Counter(old)
    return FileChange(path=path, added=_only(new, come), removed=_only(old, gone), around=new, new=not old)


def _only(lines: list[str], counts: Counter[str]) -> list[str]:
    left = counts.copy()
    kept = []
    for line in lines:
        if left[line] > 0:
            left[line] -= 1
            kept.append(line)
    return kept


def _read_file(change: FileChange, scope: Scope, secrets: Secrets | None, taken_in: Counter[str]) -> Reading:
    found: list[Finding] = []
    paths: tuple[str, ...] = ()
    for path in dict.fromkeys(path for path in (change.path, change.old_path) if path):
        place = read_path(path, scope, write=True)
        found += place.findings
        paths += place.paths
    low = change.path[-_LONGEST_PATH:].lower()
    found += _about_the_file(change, low, scope)
    added, removed = "\n".join(change.added), "\n".join(change.removed)
    if len(added) + len(removed) > LONGEST_FILE and not rules.GENERATED_FILES.search(low):
        found.append(_finding("patch.unread", HIGH, change.path, "is too long to be read to its end"))
    added, removed = added[:LONGEST_FILE], removed[:LONGEST_FILE]
    if secrets is not None and added:
        found += secrets(added)
    found += _hidden(added, change.path)
    added, removed = _plain(added), _plain(removed)
    if not rules.PROSE_FILES.search(low) and not rules.GENERATED_FILES.search(low):
        found += _added(added, low)
        if not change.deleted:
            found += _removed(removed, added, low, taken_in)
            found += _numbers(change)
            found += _always_yes(change)
    return Reading(findings=tuple(found), paths=paths)


def _plain(text: str) -> str:
    """``text`` as a reader's eye takes it: a word of look-alike letters is the word."""
    return normalise(encodable(text))


def _about_the_file(change: FileChange, low: str, scope: Scope) -> list[Finding]:
    found = []
    if change.binary:
        found.append(_finding("patch.binary", MEDIUM, change.path, "changes a binary file, which nobody can review"))
    if change.deleted:
        guards = rules.GUARD_FILES.search(low) and not (rules.TEST_FILES.search(low) or rules.PROSE_FILES.search(low))
        kind = "patch.file.deleted.security" if guards else "patch.file.deleted"
        found.append(_finding(kind, HIGH if guards else MEDIUM, change.path, "deletes a file"))
        if rules.TEST_FILES.search(low):
            found.append(_finding("patch.test.removed", MEDIUM, change.path, "deletes tests"))
    if MANIFEST.search(low):
        found.append(
            _finding("patch.dependency", MEDIUM, change.path, "changes which dependencies are used, or how it is built")
        )
    if change.mode.startswith("120"):
        for target in change.added:
            directory = change.path.rpartition("/")[0]
            aim = target if target.startswith("/") else f"{directory}/{target}".lstrip("/")
            led = read_path(aim, scope, write=True)
            found += led.findings
            found.append(
                _finding(
                    "patch.symlink",
                    led.severity.at_least(MEDIUM),
                    f"{change.path} -> {target}",
                    "makes a symbolic link",
                )
            )
    elif change.mode.startswith("160"):
        found.append(_finding("patch.submodule", MEDIUM, change.path, "takes in another repository"))
    elif change.mode.endswith("755") and not change.new:
        found.append(_finding("patch.executable", MEDIUM, change.path, "makes a file executable"))
    return found


def _code(text: str) -> str:
    """``text`` without whole-line comments: a check that is commented out is gone."""
    return "\n".join(line for line in text.split("\n") if not _COMMENT.match(line))


_COMMENT = re.compile(r"\s*(?:#(?!\[|include|define|if|!)|//|\*(?:\s|/|$)|/\*|<!--|--\s|;;|\"\"\"|REM\s)")


def _added(text: str, low: str) -> list[Finding]:
    found = []
    code = _code(text)
    in_tests = rules.TEST_FILES.search(low) is not None
    for rule in rules.ADDED:
        searched = text if rule.kind == "patch.check.silenced" else code
        if searched and rule.concerns(low) and (match := rule.pattern.search(searched)) is not None:
            severity = MEDIUM if in_tests and rule.severity is HIGH else rule.severity
            found.append(_finding(rule.kind, severity, _line(searched, match), rule.reason))
    if low.endswith(".sql") and code.strip():
        for finding in read_sql(code).findings:
            if finding.severity >= HIGH and not finding.kind.startswith(
                ("sql.unparsed", "sql.unknown_root", "sql.exec")
            ):
                kind = f"patch.{finding.kind}"
                found.append(_finding(kind, HIGH, finding.evidence, f"holds a statement that {finding.reason}"))
    return found


def _removed(removed: str, added: str, low: str, taken_in: Counter[str]) -> list[Finding]:
    """Words that the file loses. One that comes in elsewhere as the same line was moved: noted only."""
    found = []
    gone, come = _code(removed), _code(added)
    for rule in rules.REMOVED:
        if not gone or not rule.concerns(low):
            continue
        lost = Counter(match.group().lower() for match in rule.pattern.finditer(gone))
        lost.subtract(Counter(match.group().lower() for match in rule.pattern.finditer(come)))
        words = [word for word, count in lost.items() if count > 0]
        if not words:
            continue
        line = _first_use(rule.pattern, gone, words)
        if line:
            severity = MEDIUM if taken_in[line] or rules.TEST_FILES.search(low) else rule.severity
            found.append(_finding(rule.kind, severity, line, rule.reason))
    return found


_IMPORT = re.compile(r"(?:from\s+\S+\s+)?import\b|(?:const|let|var)\s.*\brequire\(|use\s|#include\b|using\s")


def _first_use(pattern: Any, text: str, words: list[str]) -> str:
    """The first line with a lost word that is no import: an import alone guards nothing."""
    done = 0
    for match in pattern.finditer(text):
        if match.start() < done or match.group().lower() not in words:
            continue
        line = _line(text, match)
        if not _IMPORT.match(line):
            return line
        done = (text.find("\n", match.end()) + 1) or len(text)  # the same line again says the same
    return ""


_NUMBER = re.compile(r"\d[\d_]*")


def _numbers_in(line: str) -> list[int]:
    """The first numbers of a line; what has more than 18 digits is no limit."""
    return [int(number.replace("_", "")[:18]) for number in _NUMBER.findall(line)[:16]]


def _numbers(change: FileChange) -> list[Finding]:
    """Limits that were made laxer: the same line with another number."""
    before: dict[str, list[int]] = {}
    for line in change.removed:
        before.setdefault(_NUMBER.sub("0", line.strip()), _numbers_in(line))
    found = []
    for line in change.added:
        old, new = before.get(_NUMBER.sub("0", line.strip())), _numbers_in(line)
        if not old or len(old) != len(new) or old == new:
            continue
        fell = any(n < o for o, n in zip(old, new, strict=True))
        rose = any(n > o for o, n in zip(old, new, strict=True))
        if (fell and linear(rules.LOWERED).search(line)) or (rose and linear(rules.RAISED).search(line)):
            found.append(_finding("patch.limit.weakened", HIGH, line, "makes a limit laxer that keeps attackers out"))
    return found


_DEFINES = r"\b(?:def|function|func|fn|public|private|const|async|static)\b|=>"
_SAYS_YES = re2.compile(r"(?:\breturn|=>)\s*(?:true|True|1|nil|next\(\))\s*[;})]*\s*$")


def _always_yes(change: FileChange) -> list[Finding]:
    """An added ``return True`` right below a function that decides who may do what."""
    added = {line.strip() for line in change.added}
    for place, line in enumerate(change.around):
        if not linear(rules.YES_FUNCTIONS).search(line) or not linear(_DEFINES).search(line):
            continue
        for following in change.around[place : place + 3]:
            if _SAYS_YES.search(following) and following.strip() in added:
                return [_finding("patch.auth.bypass", HIGH, following, "makes a check always say yes")]
    return []


def _hidden(text: str, path: str) -> list[Finding]:
    if text.isascii():
        return []
    if re.search("[\u202a-\u202e\u2066-\u2069]", text):
        return [_finding("patch.hidden.bidi", HIGH, path, "holds characters that make code look like other code")]
    if re.search("[\u200b\u2060\ufeff\U000e0000-\U000e007f]", text):
        return [_finding("patch.hidden.invisible", MEDIUM, path, "holds characters that nobody sees")]
    return []


def _line(text: str, match: Any) -> str:
    begin = text.rfind("\n", 0, match.start()) + 1
    end = text.find("\n", match.end())
    return text[begin : end if end >= 0 else len(text)].strip()


def _finding(kind: str, severity: RiskLevel, evidence: str, reason: str) -> Finding:
    short = " ".join(re.sub(r"([\"'])[^\"'\n]{12,}\1", r"\1…\1", evidence[:300]).split())[:100]
    return Finding(detector="patch", kind=kind, severity=severity, evidence=short, reason=f"The change {reason}.")


def _once(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """One finding per kind and evidence at most three times, worst first."""
    seen: Counter[str] = Counter()
    kept = []
    for finding in sorted(findings, key=lambda finding: -finding.severity.rank):
        seen[finding.kind] += 1
        if seen[finding.kind] <= 3:  # noqa: PLR2004 - more of the same says nothing new
            kept.append(finding)
    return tuple(kept)
