"""Five hook protocols in one: what a program says on standard input, and the answers that it understands.

Standard library only, and little of it: this runs before every tool call. What each program does with an answer was
seen with Claude Code 2.1, Codex 0.169 and Gemini CLI 0.61; Cursor's is as documented; opencode's is that of our plug-in.
All of them let a call pass when a hook fails: so no failure may leave this package without a refusal.
"""

from __future__ import annotations

import json
import shlex

DIALECTS = ("claude", "codex", "gemini", "cursor", "opencode")
REFUSED = 2
"""The exit status that all of them take for a no, when there is text on standard error."""

_BEFORE = frozenset(
    ["PreToolUse", "PermissionRequest", "BeforeTool", "preToolUse", "beforeShellExecution", "beforeMCPExecution", "beforeReadFile", "beforeTabFileRead", "tool.execute.before"]
)  # fmt: skip
_AFTER = frozenset(
    ["PostToolUse", "PostToolUseFailure", "AfterTool", "postToolUse", "postToolUseFailure", "afterShellExecution", "afterMCPExecution", "afterFileEdit", "afterTabFileEdit", "tool.execute.after"]
)  # fmt: skip
# Events that carry no call: nothing to judge. An event that is in none of the three sets is refused.
_NOTHING = frozenset(
    ["SessionStart", "SessionEnd", "Setup", "Stop", "SubagentStart", "SubagentStop", "Notification", "PreCompact", "PostCompact", "UserPromptSubmit", "UserPromptExpansion", "PostToolBatch", "StopFailure", "TaskCreated", "TaskCompleted", "TeammateIdle", "InstructionsLoaded", "ConfigChange", "CwdChanged", "FileChanged", "WorktreeCreate", "WorktreeRemove", "BeforeAgent", "AfterAgent", "BeforeModel", "AfterModel", "BeforeToolSelection", "PreCompress", "beforeSubmitPrompt", "stop", "sessionStart", "sessionEnd", "subagentStart", "subagentStop", "preCompact", "afterAgentResponse", "afterAgentThought"]
)  # fmt: skip
_FAILURES = frozenset({"PostToolUseFailure", "postToolUseFailure"})
_TOOLS = {
    name: word
    for word, names in {
        "shell": "bash shell runshellcommand execcommand unifiedexec localshell shellcommand",
        "edit": "edit write multiedit notebookedit replace writefile applypatch patch",
        "read": "read readfile readmanyfiles glob grep ls list listdirectory searchfilecontent",
        "http": "webfetch",
    }.items()
    for name in names.split()
}
_KEPT = frozenset({"type", "filePath", "file_path", "mode", "status"})
_CAN_ASK = frozenset({"claude", "cursor"})
_ASKS_NOBODY = frozenset({"bypassPermissions", "dontAsk"})


class Unreadable(ValueError):  # noqa: N818 - said to the program, never raised out of this package
    """What came on standard input is not something that can be judged."""


class Asked:
    """One event, in our words."""

    def __init__(self, dialect: str, event: str) -> None:
        self.dialect = dialect
        self.event = event
        self.session = ""
        self.call = ""
        """The program's id of the call, when it has one."""
        self.cwd = ""
        self.tool = ""
        self.args: dict[str, object] = {}
        self.ok = True
        self.response: object = None
        self.mode = ""

    @property
    def operation(self) -> str:
        """``before``, ``after``, or nothing when the event carries no call."""
        return "before" if self.event in _BEFORE else "after" if self.event in _AFTER else ""

    @property
    def can_ask(self) -> bool:
        """Whether the program itself would put a question to the person in front of it."""
        return self.dialect in _CAN_ASK and self.mode not in _ASKS_NOBODY and self.event != "PermissionRequest"

    @property
    def output(self) -> str:
        """All text of the result."""
        return "\n".join(_leaves(self.response))


def read(text: bytes, dialect: str = "") -> Asked:
    """The event that a program has sent; ``dialect`` when it is known who sends it.

    Raises:
        Unreadable: when it cannot be judged, with the reason.
    """
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"what came on standard input is not JSON ({type(error).__name__})") from None
    if not isinstance(plain, dict):
        raise Unreadable("what came on standard input is not a JSON object")
    event = plain.get("hook_event_name")
    if not isinstance(event, str) or event not in _BEFORE | _AFTER | _NOTHING:
        raise Unreadable(f"the event {str(event)[:80]!r} is not known to this version of Interlock")
    asked = Asked(dialect or _dialect(event, plain), event)
    asked.session = _first(plain, "session_id", "conversation_id", "sessionID")
    asked.call = _first(plain, "tool_use_id", "call_id", "callID")
    asked.mode = _first(plain, "permission_mode")
    roots = plain.get("workspace_roots")
    asked.cwd = _first(plain, "cwd") or (str(roots[0]) if isinstance(roots, list) and roots else "")
    if asked.operation:
        _read_call(asked, plain)
    return asked


def _dialect(event: str, plain: dict[str, object]) -> str:
    if event.startswith("tool.execute"):
        return "opencode"
    if event in {"BeforeTool", "AfterTool"}:
        return "gemini"
    if event[0].islower():
        return "cursor"
    return "codex" if "turn_id" in plain else "claude"


def _first(plain: dict[str, object], *names: str) -> str:
    return next((value for name in names if isinstance(value := plain.get(name), str)), "")


def _read_call(asked: Asked, plain: dict[str, object]) -> None:
    event = asked.event
    native = _first(plain, "tool_name", "tool")
    args = plain.get("tool_input", plain.get("args", {}))
    if isinstance(args, str):  # Cursor sends those of MCP tools as text
        args = _parsed(args)
    if event in {"beforeShellExecution", "afterShellExecution"}:
        native, args = "shell", {"command": plain.get("command"), "cwd": plain.get("cwd", "")}
    elif event in {"beforeReadFile", "beforeTabFileRead"}:
        native, args = "read", {"file_path": plain.get("file_path")}
    elif event in {"afterFileEdit", "afterTabFileEdit"}:
        native, args = "edit", {"file_path": plain.get("file_path"), "edits": plain.get("edits")}
    elif event in {"beforeMCPExecution", "afterMCPExecution"}:
        native = f"mcp__cursor__{native}" if native else ""
    if not native or not isinstance(args, dict):
        raise Unreadable(f"the event {event} names no tool or no arguments")
    asked.tool, asked.args = _plain_tool(native, args)
    asked.ok = event not in _FAILURES
    known = ("tool_response", "tool_output", "output", "result_json", "result", "error")
    asked.response = next((plain[name] for name in known if name in plain), None)
    if isinstance(asked.response, dict) and asked.response.get("error"):
        asked.ok = False


def _parsed(text: str) -> object:
    try:
        return json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {"text": text}


def _plain_tool(native: str, args: dict[str, object]) -> tuple[str, dict[str, object]]:
    """The tool in our words, its arguments as the readers know them."""
    bare = "".join(letter for letter in native.lower() if letter.isalnum())
    word = _TOOLS.get(bare, native)
    if bare == "applypatch":
        patch = next((args[name] for name in ("patch", "input", "command") if isinstance(args.get(name), str)), None)
        return ("edit", {"patch": patch}) if patch else (word, args)
    if word == "shell":
        command = args.get("command", args.get("cmd"))
        if isinstance(command, list) and all(isinstance(part, str) for part in command):
            command = shlex.join(str(part) for part in command)
        if isinstance(command, str):
            args = {
                **{name: value for name, value in args.items() if name not in {"cmd", "command"}},
                "command": command,
            }
    return word, args


def _leaves(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [] if value is None or isinstance(value, bool) else [str(value)]


class Answer:
    """What goes back to the program."""

    def __init__(self, plain: dict[str, object] | None, *, said: str = "", code: int = 0) -> None:
        self.out = json.dumps(plain) if plain is not None else ""
        self.err = said
        self.code = code


def answer(asked: Asked, verdict: str, reason: str, *, granted: bool = False) -> Answer:
    """The answer to an event. ``verdict`` is allow, ask or deny; anything else counts as deny.

    An allow is silence where silence lets the program's own permissions decide: a gate only tightens. Only what a person
    has approved (``granted``) is said to be allowed.
    """
    if not asked.operation:
        return Answer({"continue": True} if asked.event == "beforeSubmitPrompt" else None)
    if asked.operation == "after":
        return _after(asked, verdict, reason)
    if asked.dialect in {"gemini", "opencode"}:
        return Answer({"decision": "allow"} if verdict == "allow" else {"decision": "deny", "reason": reason})
    if asked.dialect == "cursor":
        word = verdict if verdict in {"allow", "ask"} else "deny"
        said: dict[str, object] = {"user_message": reason, "agent_message": reason} if word != "allow" else {}
        return Answer({"permission": word, **said})
    return _like_claude(asked, verdict, reason, granted)


def _like_claude(asked: Asked, verdict: str, reason: str, granted: bool) -> Answer:
    if verdict == "allow" and not granted:
        return Answer(None)
    word = verdict if verdict in {"allow", "ask"} else "deny"
    if asked.event == "PermissionRequest":
        decision: dict[str, object] = {"behavior": word if word == "allow" else "deny"}
        if word != "allow":
            decision["message"] = reason
        return Answer({"hookSpecificOutput": {"hookEventName": asked.event, "decision": decision}})
    specific = {"hookEventName": asked.event, "permissionDecision": word, "permissionDecisionReason": reason}
    return Answer({"hookSpecificOutput": specific})


def _after(asked: Asked, verdict: str, reason: str) -> Answer:
    if verdict == "allow":
        return Answer({} if asked.dialect in {"gemini", "cursor", "opencode"} else None)
    if asked.dialect in {"gemini", "opencode"}:
        return Answer({"decision": "deny", "reason": reason})
    if asked.dialect == "cursor":
        return Answer({})  # these events only tell; the result has already been seen
    said: dict[str, object] = {"decision": "block", "reason": reason}
    if asked.dialect == "claude" and asked.event == "PostToolUse":
        blank = _blanked(asked.response, f"[withheld: {reason}]")
        said["hookSpecificOutput"] = {"hookEventName": asked.event, "updatedToolOutput": blank}
    return Answer(said)


def _blanked(value: object, instead: str) -> object:
    """A result of the same shape without its texts: the program takes no other shape."""
    if isinstance(value, str):
        return instead if value else value
    if isinstance(value, dict):
        return {name: item if name in _KEPT else _blanked(item, instead) for name, item in value.items()}
    if isinstance(value, list):
        return [_blanked(item, instead) for item in value]
    return value


def refusal(dialect: str, reason: str) -> Answer:
    """The no when not even the event could be read: in the program's words where it is known, and in those that all know."""
    plain: dict[str, object] | None = None
    if dialect in {"claude", "codex"}:
        specific = {"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": reason}
        plain = {"hookSpecificOutput": specific}
    elif dialect in {"gemini", "opencode"}:
        plain = {"decision": "deny", "reason": reason}
    elif dialect == "cursor":
        plain = {"permission": "deny", "user_message": reason, "agent_message": reason}
    return Answer(plain, said=reason, code=REFUSED)
