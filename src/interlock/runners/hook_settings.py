"""Our hook in the settings of other programs: put in, found again, taken out; nothing else of theirs is touched."""

from __future__ import annotations

import difflib
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.errors import UsageError
from interlock.runners import dialects

MARK = "surfaces/hook/start.py"
"""What is in every command of ours and in nobody else's."""
_SPARE_S = 5
"""Seconds that the program waits longer than our own deadline."""
START = Path(__file__).parents[1] / MARK
"""The program that hooks run."""
_CLOSED = "interlock: the check did not say yes, or could not run: refused"
_LINE = f"""\
python=$0 start=$1; shift
{{ true <"$python" && true <"$start"; }} 2>/dev/null || {{ python=$INTERLOCK_PYTHON start=$INTERLOCK_HOOK; }}
"$python" -I -S "$start" "$@" || {{ echo "{_CLOSED}" >&2; exit {dialects.REFUSED}; }}"""

Plain = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What would become of one file. ``after`` is None when nothing would be left of it."""

    file: Path
    before: str | None
    after: str | None

    @property
    def diff(self) -> str:
        """For people; empty when nothing changes."""
        return "".join(
            difflib.unified_diff(
                (self.before or "").splitlines(keepends=True), (self.after or "").splitlines(keepends=True),
                str(self.file), str(self.file),
            )
        )  # fmt: skip


def command(dialect: str, *, deadline_s: float, native: bool) -> str:
    """The shell command of our hook. Should even Python be gone, or be killed, the shell says no in words that all know.

    Settings travel, by git for one: where this installation is not to be seen, as in the sandbox of an agent that another
    one runs, it is that one's hook (:func:`surroundings`).
    """
    words = [sys.executable, str(START), "--as", dialect, "--deadline", f"{deadline_s:g}"]
    words += ["--ask", "native"] if native else []
    return shlex.join(["sh", "-c", _LINE, *words])


def surroundings() -> dict[str, str]:
    """The variables by which hooks find this installation inside the sandbox of an agent that it runs."""
    return {"INTERLOCK_PYTHON": sys.executable, "INTERLOCK_HOOK": str(START)}


def plan(
    dialect: str, base: Path, *, user: bool, deadline_s: float = 5.0, native: bool = False, remove: bool = False
) -> Change:
    """What putting our hook in, or taking it out, would change. ``base``: the project, or the user's home.

    Raises:
        UsageError: when the program is unknown, or its settings cannot be read: nothing was changed.
    """
    if dialect not in dialects.DIALECTS:
        raise UsageError(f"there is no hook for {dialect!r}; there are: {', '.join(dialects.DIALECTS)}")
    file = _file(dialect, base, user=user)
    before = _read(file)
    line = command(dialect, deadline_s=deadline_s, native=native)
    if dialect == "opencode":
        return Change(file=file, before=before, after=None if remove else _plugin(line))
    settings = _settings(file, before)
    hooks = settings.get("hooks", {})
    kept = _without_ours(file, hooks)
    if not remove:
        for event, entry in _ENTRIES[dialect](line, deadline_s + _SPARE_S).items():
            kept.setdefault(event, []).append(entry)
    after = {**settings, "hooks": kept}
    if not kept and (hooks != {} or "hooks" not in settings):
        del after["hooks"]
    if dialect == "cursor" and not remove:
        after.setdefault("version", 1)
    gone = not after or (dialect == "cursor" and after == {"version": 1})
    if after == settings:
        return Change(file=file, before=before, after=before)
    text = None if remove and gone else json.dumps(after, indent=2, ensure_ascii=False) + "\n"
    return Change(file=file, before=before, after=text)


def apply(change: Change) -> Path | None:
    """Make the change, whole or not at all; returns where the file as it was is kept, None when there was nothing to keep.

    Raises:
        UsageError: when the file has changed since; nothing was changed.
    """
    if change.before == change.after:
        return None
    if _read(change.file) != change.before:
        raise UsageError(f"{change.file} has changed meanwhile; look again")
    backup = _backup(change) if change.before is not None else None
    if change.after is None:
        change.file.unlink(missing_ok=True)
        return backup
    change.file.parent.mkdir(parents=True, exist_ok=True)
    target = change.file.resolve()  # many keep their settings elsewhere and link to them
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
        file.write(change.after)
        os.fchmod(descriptor, target.stat().st_mode & 0o777 if target.exists() else 0o644)
        os.fsync(descriptor)
    Path(name).replace(target)
    return backup


def _backup(change: Change) -> Path:
    number = 1
    while True:
        place = change.file.with_name(f"{change.file.name}.before-interlock-{number}")
        try:
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            number += 1
            continue
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            file.write(change.before or "")
        return place


def _file(dialect: str, base: Path, *, user: bool) -> Path:
    if dialect == "codex" and user and base == Path.home() and os.environ.get("CODEX_HOME"):
        return Path(os.environ["CODEX_HOME"], "hooks.json")
    if dialect == "opencode":
        return base / (".config/opencode" if user else ".opencode") / "plugin" / "interlock.js"
    names = {"claude": "settings.json", "codex": "hooks.json", "gemini": "settings.json", "cursor": "hooks.json"}
    return base / f".{dialect}" / names[dialect]


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read ({error}); nothing was changed") from None


def _settings(file: Path, text: str | None) -> Plain:
    if text is None or not text.strip():
        return {}
    try:
        plain = json.loads(text)
    except ValueError as error:
        why = f"{file} is not JSON ({error}); nothing was changed"
        raise UsageError(f"{why}. If it holds comments, take them out or add the hook by hand") from None
    if not isinstance(plain, dict) or not isinstance(plain.get("hooks", {}), dict):
        raise UsageError(f"{file}: its hooks are not an object of events; nothing was changed")
    return plain


def _without_ours(file: Path, hooks: Mapping[str, Any]) -> dict[str, list[Any]]:
    """All entries but ours; events that held ours alone are gone."""
    kept = {}
    for event, entries in hooks.items():
        if not isinstance(entries, list):
            raise UsageError(f"{file}: the hooks of {event} are not a list; nothing was changed")
        others = [entry for entry in entries if MARK not in json.dumps(entry)]
        if others or not entries:
            kept[event] = others
    return kept


def _claude(line: str, timeout_s: float) -> dict[str, Plain]:
    hook = {"type": "command", "command": line, "timeout": round(timeout_s), "onFailure": "block"}
    return {event: {"matcher": "*", "hooks": [hook]} for event in ("PreToolUse", "PostToolUse", "PostToolUseFailure")}


def _codex(line: str, timeout_s: float) -> dict[str, Plain]:
    hook = {"type": "command", "command": line, "timeout": round(timeout_s)}
    return {event: {"matcher": "*", "hooks": [hook]} for event in ("PreToolUse", "PostToolUse")}


def _gemini(line: str, timeout_s: float) -> dict[str, Plain]:
    hook = {"type": "command", "name": "interlock", "command": line, "timeout": round(timeout_s * 1000)}
    return {event: {"matcher": ".*", "hooks": [hook]} for event in ("BeforeTool", "AfterTool")}


def _cursor(line: str, timeout_s: float) -> dict[str, Plain]:
    hook: Plain = {"command": line, "timeout": round(timeout_s), "failClosed": True}
    special = ("beforeShellExecution", "beforeMCPExecution", "beforeReadFile")
    told = ("afterShellExecution", "afterMCPExecution", "afterFileEdit")
    return {**dict.fromkeys((*special, *told), hook), "preToolUse": {**hook, "matcher": "Write|Delete"}}


_ENTRIES: dict[str, Callable[[str, float], dict[str, Plain]]] = {
    "claude": _claude, "codex": _codex, "gemini": _gemini, "cursor": _cursor,
}  # fmt: skip


def _plugin(line: str) -> str:
    return _PLUGIN.replace("COMMAND", json.dumps(line)).replace("MARK", MARK)


_PLUGIN = """\
// Interlock's gate for opencode (MARK). `interlock hook uninstall --for opencode` takes it out.
import { spawnSync } from "node:child_process"

const judge = (event) => {
  const run = spawnSync("sh", ["-c", COMMAND], { input: JSON.stringify(event), encoding: "utf8" })
  let said
  try { said = JSON.parse(run.stdout) } catch { said = {} }
  if (run.status !== 0 || said.decision === "deny" || (event.hook_event_name === "tool.execute.before" && said.decision !== "allow"))
    throw new Error("interlock: " + (said.reason || "the check could not be made, so the call is refused"))
}

const calls = new Map()

export const Interlock = async ({ directory }) => ({
  "tool.execute.before": async (input, output) => {
    calls.set(input.callID, output.args)
    judge({ hook_event_name: "tool.execute.before", cwd: directory, session_id: input.sessionID, call_id: input.callID, tool: input.tool, args: output.args })
  },
  "tool.execute.after": async (input, output) => {
    const args = calls.get(input.callID) ?? {}
    calls.delete(input.callID)
    try {
      judge({ hook_event_name: "tool.execute.after", cwd: directory, session_id: input.sessionID, call_id: input.callID, tool: input.tool, args, output: output.output })
    } catch (error) {
      output.output = `[withheld: ${error.message}]`
    }
  },
})
"""
