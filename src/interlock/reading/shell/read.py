"""The one entry point of the shell reader."""

from __future__ import annotations

import re
from collections.abc import Callable

from interlock.model.action import Finding, Reading, Scope
from interlock.model.risk import RiskLevel
from interlock.reading.shell import holes, windows
from interlock.reading.shell.databases import judge_sql
from interlock.reading.shell.execute import execute
from interlock.reading.shell.machine import Machine
from interlock.reading.shell.state import MAX_BYTES, TooMuchError

_SQL = re.compile(
    r"\s*(?:SELECT|INSERT|UPDATE|DELETE|DROP|ALTER|CREATE|GRANT|REVOKE|TRUNCATE|WITH|MERGE|REPLACE)\s+[\w*(\"`]"
)
_CONTINUED = re.compile(r"\S\\\n\S")
_STRANGE = re.compile(r"[\x00-\x06\x0e-\x1a\x1c-\x1f]|\r(?!\n)")


def read_shell(text: str, scope: Scope, *, sql: Callable[[str, str], Reading] | None = None, depth: int = 0) -> Reading:
    """What a text would do if a shell executed it.

    Never raises: a text that cannot be read (syntax, length over 64 kB, more than 8 nestings, a program name that is
    only known when it runs, an error in the reader) is a critical finding that says so.

    Args:
        text: the command line or script.
        scope: where it would run.
        sql: reads the statements that database clients are given, as ``(statement, dialect)``; without it they are unresolved.
        depth: how many texts this one is nested in.
    """
    if len(text) > MAX_BYTES:
        return _refused("shell.unresolved.length", text[:80], "The command is longer than 64 kB and was not read.")
    if not text.isprintable() and _STRANGE.search(text) is not None:
        return _refused("shell.unresolved.control", text[:80], "The command holds control characters.")
    machine = Machine(scope, sql, depth, execute)
    try:
        _read(machine, text)
    except (TooMuchError, RecursionError):
        return machine.reading() + _refused("shell.unresolved.size", text, "The command is too entangled to follow.")
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in the reader is a block, never an allow
        return machine.reading() + _refused(
            "shell.unresolved.error", text, f"The reader failed: {type(error).__name__}."
        )
    return machine.reading()


def _read(machine: Machine, text: str) -> None:
    text = text.replace("\r\n", "\n") if "\r" in text else text
    if _SQL.match(text) is not None and ("\n" not in text.strip() or ";" in text):
        call = machine.call("sql", ["sql", text], None)
        judge_sql(machine, call, text, machine.scope.dialect)
        return
    windows.judge(machine, text)
    machine.run(text)
    if (
        "\\\n" in text and _CONTINUED.search(text) is not None
    ):  # the parser splits a word there, bash joins it: both are read
        machine.run(text.replace("\\\n", ""))


def _refused(kind: str, evidence: str, reason: str) -> Reading:
    finding = Finding(
        detector="shell", kind=kind, severity=RiskLevel.CRITICAL, evidence=holes.shown(evidence), reason=reason
    )
    return Reading(findings=(finding,))
