"""Programs given to interpreters: ``python -c``, ``perl -e``, ``node -e``, …: what they would do, as far as it shows."""

from __future__ import annotations

import ast
import re
import warnings
from fnmatch import fnmatchcase

from interlock.model.action import Scope
from interlock.model.risk import RiskLevel
from interlock.reading.linear import Linear
from interlock.reading.shell import holes
from interlock.reading.shell.databases import judge_sql
from interlock.reading.shell.indirect import opaque
from interlock.reading.shell.machine import Machine
from interlock.reading.shell.places import judge_delete, judge_read, judge_write
from interlock.reading.shell.registry import handles
from interlock.reading.shell.state import Call

_CODE_FLAGS = {
    "python": ("-c",), "pypy": ("-c",), "perl": ("-e", "-E"), "ruby": ("-e",), "node": ("-e", "--eval", "-p", "--print", "-pe"),
    "deno": ("eval",), "bun": ("-e", "--eval"), "php": ("-r", "-B", "-R", "-E"), "lua": ("-e",), "luajit": ("-e",),
    "Rscript": ("-e",), "R": ("-e",), "julia": ("-e", "-E"), "groovy": ("-e",), "scala": ("-e",), "tclsh": (), "jjs": (),
    "jrunscript": ("-e",), "irb": ("-e",), "ghc": ("-e",), "elixir": ("-e",), "erl": ("-eval",), "osascript": ("-e",),
    "ipython": ("-c",), "guile": ("-c",), "gdb": ("-ex", "-eval-command"), "emacs": ("--eval", "-eval"), "expect": ("-c",),
    "octave": ("--eval",), "sage": ("-c",), "swift": ("-e",), "mongosh": ("--eval",), "mongo": ("--eval",), "pwsh-code": (),
}  # fmt: skip
_CLUSTER = re.compile(r"-\w{2,}")
"""Such as ``-ne``, or a flag with its value attached."""
_OPAQUE_MODULES = frozenset({"http.server", "pytest", "pip", "venv", "unittest", "json.tool", "build", "mypy", "ruff"})


def _flag_values(call: Call, flags: tuple[str, ...]) -> list[str]:
    found = []
    args = call.args
    for place, arg in enumerate(args):
        following = args[place + 1] if place + 1 < len(args) else ""
        if arg in flags:
            found.append(following)
        elif not arg.startswith("-"):
            continue
        elif arg.partition("=")[0] in flags and arg.startswith("--"):
            found.append(arg.partition("=")[2])
        elif _CLUSTER.fullmatch(arg):
            letters = {flag[1] for flag in flags if len(flag) == 2}  # noqa: PLR2004 - a dash and a letter
            if arg[-1] in letters:
                found.append(following)
        elif len(arg) > 2 and arg[:2] in flags and arg[0] == "-" and arg[1] != "-":  # noqa: PLR2004 - attached
            found.append(arg[2:])
    return found


@handles(*_CODE_FLAGS)
def interpreter(machine: Machine, call: Call) -> str | None:
    """Code in an argument or on standard input is read; a file or a module is opaque."""
    codes = _flag_values(call, _CODE_FLAGS[call.name])
    if call.name == "deno" and call.form.words[:1] == ("eval",):
        codes = list(call.form.words[1:2])
    for text in codes:
        judge_code(machine, call, text)
    if codes:
        return _printed(call, codes)
    if call.name in {"python", "pypy", "ipython"} and "-m" in call.args[:-1]:
        machine.execute(call.args[call.args.index("-m") + 1 :], call.stdin)
        return None
    if call.name == "bun":
        return opaque(machine, call)
    if call.name == "deno":
        return None  # its files and tasks are judged by the rules
    scripts = call.form.words
    if scripts and scripts[0] not in {"-", "/dev/stdin"}:
        _script(machine, call, scripts[0])
    elif call.stdin is not None:
        judge_code(machine, call, call.stdin)
    elif "-version" not in " ".join(call.args):
        machine.report("shell.interactive", RiskLevel.MEDIUM, call.text, "An interpreter would wait for code.")
    return None


_ANYBODYS = ("/tmp", "/dev/shm", "/var/tmp", "http")  # noqa: S108 - a reading, not a use


def _ours(path: str, scope: Scope) -> bool:
    """Whether a path belongs to the workspace or to what the project grants, wherever on the machine that is."""
    if ".." in path.split("/"):
        return False
    inside = bool(scope.workspace) and path.startswith(scope.workspace.rstrip("/") + "/")
    return inside or any(fnmatchcase(path, glob) for glob in scope.granted)


def _script(machine: Machine, call: Call, path: str) -> None:
    content = machine.files.get(path, holes.OUTPUT) if path.startswith("/dev/fd/") else machine.written(path)
    if content is not None:
        judge_code(machine, call, content)
    elif path.startswith(_ANYBODYS) and not _ours(path, machine.scope):
        machine.report(
            "shell.opaque.script", RiskLevel.HIGH, call.text, "A script from a place that anybody writes to."
        )
    else:
        machine.report("shell.opaque.script", RiskLevel.MEDIUM, call.text, "What the script does is not visible here.")


_EDITOR_CODE = re.compile(r"^\s*:?(py3?|python3?|lua|perl|ruby)\s+(.+)", re.DOTALL)


@handles("vim", "gimp")
def editor(machine: Machine, call: Call) -> None:
    """Editors carry interpreters."""
    for place, arg in enumerate(call.args):
        text = arg[2:] if arg.startswith("-c") and len(arg) > 2 else arg  # noqa: PLR2004 - attached
        match = _EDITOR_CODE.match(text)
        if match is not None:
            language = "python" if match[1].startswith("py") else match[1]
            judge_code(machine, machine.call(language, call.argv, call.stdin), match[2])
        elif call.name == "gimp" and place and call.args[place - 1] == "-b":
            judge_code(machine, machine.call("python", call.argv, call.stdin), arg)


def _printed(call: Call, codes: list[str]) -> str:
    """Constants that a one-line program prints (``print("rm -rf /")``): they may be handed to a shell."""
    if call.name in {"python", "pypy"} and len(codes) == 1:
        match = re.fullmatch(r"\s*print\((['\"])((?:(?!\1)[^\\])*)\1\)\s*", codes[0])
        if match is not None:
            return match[2] + "\n"
    match = re.fullmatch(
        r"\s*(?:print|puts|say|echo|console\.log)\s*\(?\s*(['\"])((?:(?!\1)[^\\$])*)\1\)?;?\s*", codes[0]
    )
    return match[2] + "\n" if match is not None else holes.worst_of(call.stdin, *codes)


def judge_code(machine: Machine, call: Call, text: str) -> None:
    """Report what a program's text would do."""
    if holes.DOWNLOAD in text:
        machine.report(
            "shell.unresolved.download", RiskLevel.CRITICAL, call.text, "What was fetched would be executed unseen."
        )
        return
    if holes.open_in(text):
        level = RiskLevel.HIGH
        machine.report(
            "shell.unresolved.code", level, call.text, "Code that is only known when it runs would be executed."
        )
        text = re.sub(r"[\x00-\x03]", "x", text)
    if re.search(r"(?:[\"']\s*(?:x|\*)\s*|repeat\()\d{3,}", text):
        machine.report(
            "shell.code.padding",
            RiskLevel.HIGH,
            call.text,
            "It makes a long run of one character, as overflow attacks do.",
        )
    if call.name in {"python", "pypy", "ipython"} and _python(machine, call, text):
        return
    _by_pattern(machine, call, text)


# A program and its arguments as a list of texts: system("rm", "-rf", x), spawn('rm', ['-rf', x]).
_LISTED = Linear(
    r"""\b(?:system|exec|execFile|execFileSync|execvp?|popen|spawn|spawnSync|Popen|run)\s*\(?\s*\[?\s*((?:"[^"]*"|'[^']*')\s*,\s*\[?\s*(?:"[^"]*"|'[^']*')[^()\n]{0,400})"""
)
_WORDS = re.compile(r"""\"([^\"]*)\"|'([^']*)'""")


def _by_pattern(machine: Machine, call: Call, text: str) -> None:
    patterns = machine.rules.patterns
    for match in patterns["code_commands"].finditer(text):
        _command(machine, call, next((group for group in match.groups() if group), ""))
    for match in _LISTED.finditer(text):
        machine.execute([first or second for first, second in _WORDS.findall(match[1])], None)
    rest = patterns["code_commands"].without(text)
    for name, kind, reason in (
        ("code_delete", "shell.code.delete", "The code would delete files."),
        ("code_network", "shell.code.network", "The code would talk to other machines."),
        ("code_process", "shell.code.process", "The code would start programs."),
        ("code_dynamic", "shell.code.dynamic", "The code would run code that it makes itself."),
        ("code_database", "shell.code.database", "The code would delete data."),
    ):
        if patterns[name].search(rest):
            machine.report(kind, RiskLevel.HIGH, call.text, reason)
    writes = patterns["code_writes"].search(text) is not None
    for match in patterns["code_paths"].finditer(text):
        path = match[1]
        judge_read(machine, path, call.text)
        if writes:
            judge_write(machine, path, call.text)


def _command(machine: Machine, call: Call, text: str) -> None:
    if not text.strip() or re.match(r"^\s*(?:\S*/)?(?:ba|z|da|k|c)?sh\b(?:\s+-i\w*)?\s*$", text):
        machine.report("shell.code.shell", RiskLevel.HIGH, call.text, "The code would open a shell.")
        return
    machine.report("shell.code.command", RiskLevel.MEDIUM, call.text, "The code would run a command.")
    machine.run_inside(re.sub(r"\\([\"'\\$`])", r"\1", text) if call.name != "python" else text)


# -- Python: its own parser says more ------------------------------------------------------------------------------

_RUNS = re.compile(
    r"^(?:os\.(?:system|popen)|subprocess\.\w+|commands\.get\w*|pty\.spawn|os\.(?:exec|spawn)\w+|asyncio\.create_subprocess_\w+)$"
)
_DELETES = re.compile(r"(?:^|\.)(?:rmtree|unlink|removedirs|rmdir|remove_tree|send2trash)$|^os\.remove$")
_TALKS = re.compile(
    r"^(?:socket|urllib|requests|httpx|http\.client|ftplib|smtplib|aiohttp|paramiko|telnetlib|xmlrpc|websockets?|urllib3)(?:\.|$)"
)
_SENDS = re.compile(
    r"(?:^|\.)(?:post|put|delete|patch|urlopen|connect|sendall|sendto|create_connection|sendmail|storbinary)$"
)
_DYNAMIC = re.compile(
    r"^(?:exec|eval|compile|__import__|importlib\.import_module|getattr|globals|vars|builtins\.\w+|marshal\.loads|pickle\.loads|ctypes\.\w+|os\.(?:dup2|fork|kill\w*|setuid|chown|chmod|rename\w*|replace|truncate|symlink|link|putenv))$"
)


def _python(machine: Machine, call: Call, text: str) -> bool:
    """Judge Python by its syntax tree; False when it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    names = _python_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            _python_call(machine, call, node, names)
        elif isinstance(node, ast.Attribute) and node.attr in _INSIDES:
            machine.report("shell.code.dynamic", RiskLevel.HIGH, call.text, "The code reaches into the interpreter.")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _PATH.fullmatch(node.value):
            judge_read(machine, node.value, call.text)
    if "*" in names:
        machine.report("shell.code.dynamic", RiskLevel.HIGH, call.text, f"Names from {names['*']} are not followed.")
    return True


_INSIDES = frozenset({"__subclasses__", "__globals__", "__builtins__", "__mro__"})
_PATH = re.compile(r"[^\n]*/[^\n]*|\.env[\w.]*")


def _python_names(tree: ast.Module) -> dict[str, str]:
    """What each imported or renamed name stands for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                top = one.name.split(".", maxsplit=1)[0]
                names[one.asname or top] = one.name if one.asname else top
        elif isinstance(node, ast.ImportFrom):
            names.update({(one.asname or one.name): f"{node.module}.{one.name}" for one in node.names})
        elif isinstance(node, ast.Assign) and isinstance(node.value, (ast.Attribute, ast.Name)):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    names[target.id] = _dotted(node.value, names)
    return names


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, names)}.{node.attr}"
    if isinstance(node, ast.Call):
        function = _dotted(node.func, names)
        if (
            function in {"__import__", "importlib.import_module"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            return str(node.args[0].value)
        return f"{function}()"
    return "?"


def _literal(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant):
        return node.value.decode("utf-8", "replace") if isinstance(node.value, bytes) else str(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _literal(node.left), _literal(node.right)
        return left + right if left is not None and right is not None else None
    return None


def _python_call(machine: Machine, call: Call, node: ast.Call, names: dict[str, str]) -> None:
    name = _dotted(node.func, names)
    if _RUNS.match(name):
        _python_runs(machine, call, node)
    elif _DELETES.search(name):
        target = _literal(node.args[0]) if node.args else None
        if target is None:
            machine.report("shell.code.delete", RiskLevel.HIGH, call.text, "The code would delete files.")
        else:
            machine.report(
                "shell.code.delete",
                RiskLevel.HIGH if "tree" in name else RiskLevel.MEDIUM,
                call.text,
                "The code would delete files.",
            )
            judge_delete(machine, target, call.text, recursive="tree" in name)
    elif _TALKS.match(name):
        level = (
            RiskLevel.HIGH
            if _SENDS.search(name) or name.startswith(("socket", "ftplib", "smtplib", "paramiko"))
            else RiskLevel.MEDIUM
        )
        machine.report("shell.code.network", level, call.text, "The code would talk to another machine.")
    elif name.endswith((".execute", ".executescript", ".executemany")):
        statement = _literal(node.args[0]) if node.args else None
        if statement is not None:
            judge_sql(machine, call, statement, "")
    elif _DYNAMIC.match(name):
        _python_dynamic(machine, call, node, name)
    elif name in {"open", "io.open", "codecs.open"} or name.endswith((".write_text", ".write_bytes")):
        _python_open(machine, call, node, name)


def _python_runs(machine: Machine, call: Call, node: ast.Call) -> None:
    first = node.args[0] if node.args else next((one.value for one in node.keywords if one.arg == "args"), None)
    if isinstance(first, (ast.List, ast.Tuple)):
        parts = [_literal(one) for one in first.elts]
        if parts and parts[0] is not None:
            machine.report("shell.code.command", RiskLevel.MEDIUM, call.text, "The code would run a command.")
            machine.execute([part if part is not None else holes.VARIABLE for part in parts], None)
            if len(parts) == 1 and parts[0].rsplit("/", 1)[-1] in {"sh", "bash", "zsh"}:
                machine.report("shell.code.shell", RiskLevel.HIGH, call.text, "The code would open a shell.")
            return
    text = _literal(first) if first is not None else None
    if text is None:
        machine.report(
            "shell.code.process", RiskLevel.HIGH, call.text, "The code would run a command that is not visible here."
        )
    else:
        _command(machine, call, text)


def _python_dynamic(machine: Machine, call: Call, node: ast.Call, name: str) -> None:
    text = _literal(node.args[0]) if node.args else None
    if name in {"exec", "eval", "compile"} and text is not None:
        judge_code(machine, call, text)
    elif (name in {"__import__", "importlib.import_module"} and text is not None) or (
        name == "getattr"
        and len(node.args) > 1
        and _literal(node.args[1]) not in {None, "system", "popen", "exec", "remove"}
    ):
        return
    else:
        level = RiskLevel.CRITICAL if name in {"exec", "eval"} else RiskLevel.HIGH
        machine.report("shell.code.dynamic", level, call.text, f"What {name} does here is not visible.")


def _python_open(machine: Machine, call: Call, node: ast.Call, name: str) -> None:
    path = _literal(node.args[0]) if node.args else None
    mode_node = (
        node.args[1] if len(node.args) > 1 else next((one.value for one in node.keywords if one.arg == "mode"), None)
    )
    mode = (_literal(mode_node) if mode_node is not None else "r") or "w"
    if "write_" in name or any(letter in mode for letter in "wax+"):
        if path is not None and name in {"open", "io.open", "codecs.open"}:
            judge_write(machine, path, call.text)
    elif path is not None:
        judge_read(machine, path, call.text)
