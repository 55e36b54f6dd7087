"""A tiny abstract shell: it runs the text with every program replaced by what is known of it.

Values are texts with holes (:mod:`holes`). Branches keep every value a variable may have, loops over constants see
each constant, pipes hand on what a program would print, and a text that would be executed is read again. Here is what
runs a text and each node of its tree; what a node means is in :mod:`control`, :mod:`simple`, :mod:`assignments` and
:mod:`redirections`, what a program does in :mod:`execute`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

from interlock.model.action import Scope
from interlock.model.risk import RiskLevel
from interlock.reading.shell import assignments, control, holes, redirections, simple
from interlock.reading.shell.state import MAX_BYTES, Function, Out, SqlReader, State, TooMuchError

LANGUAGE = Language(tree_sitter_bash.language())
MAX_DEPTH = 8
_AS_ASCII = bytes(byte if 0 < byte < 0x80 else ord(".") for byte in range(256))  # noqa: PLR2004 - ASCII
"""What the parser is shown: same length, same places, and every byte beyond ASCII as a plain character of a word, which is
what bash takes it for. The grammar's scanner asks C's tables about each character and crashes the process on large ones."""
_MAX_NODES = 120
_MAX_STEPS = 3000

Executor = Callable[["Machine", list[str], str | None], Out]


class Machine(State):
    """Runs texts."""

    def __init__(self, scope: Scope, sql: SqlReader | None, depth: int, executor: Executor) -> None:
        super().__init__(scope, sql, depth)
        self.wrapped = 0
        """How many programs of this machine the present command was started by."""
        self._execute = executor
        self._nodes = 0
        self._steps = 0
        self._processes = 0
        self.running: list[Function] = []

    # -- running texts -------------------------------------------------------------------------------------------------

    def run(self, text: str) -> Out:
        """Read a text that the shell would execute; returns what it would print."""
        data = text.encode("utf-8", "surrogatepass")
        if self.depth > MAX_DEPTH:
            self.report("shell.unresolved.depth", RiskLevel.CRITICAL, text, "Commands are nested too deeply to follow.")
            return holes.OUTPUT
        if len(data) > MAX_BYTES:
            self.report("shell.unresolved.length", RiskLevel.CRITICAL, text[:80], "The command is too long to be read.")
            return holes.OUTPUT
        if b"\0" in data:
            self.report(
                "shell.unresolved.nul", RiskLevel.CRITICAL, text[:80], "It holds NUL, which no shell reads as written."
            )
        root = Parser(LANGUAGE).parse(data.translate(_AS_ASCII)).root_node
        if root.has_error:
            self.report(
                "shell.unresolved.syntax",
                RiskLevel.CRITICAL,
                text,
                "The command cannot be parsed; what it does is open.",
            )
        outer, self.raw = self.raw, data
        try:
            return self.walk(root, None)
        finally:
            self.raw = outer

    def run_inside(self, text: str, positional: Sequence[str] = ()) -> Out:
        """Read a text that another shell (``sh -c``, a script, ``ssh``) would execute."""
        if holes.open_in(text):
            return self._run_open(text)
        kept = dict(self.variables)
        for name, values in kept.items():
            if name not in self.exported and name != "PWD":  # what is not exported is unset inside, as a rule
                self.variables[name] = tuple(dict.fromkeys((*values, "")))
        bound = {str(place): (value,) for place, value in enumerate(positional)}
        self.variables.update(bound)
        arguments = self.arrays.get("@")
        if positional:
            self.arrays["@"] = self.arrays["*"] = list(positional[1:])
        self.depth += 1
        try:
            return self.run(text)
        finally:
            self.depth -= 1
            self.variables = kept
            if arguments is None:
                self.arrays.pop("@", None)
                self.arrays.pop("*", None)
            else:
                self.arrays["@"] = self.arrays["*"] = arguments

    def run_again(self, text: str) -> Out:
        """Read a text that this same shell would execute, with its variables."""
        if holes.open_in(text):
            return self._run_open(text)
        self.depth += 1
        try:
            return self.run(text)
        finally:
            self.depth -= 1

    def _run_open(self, text: str) -> Out:
        """A text with holes: what is known of it is read, and the hole is said."""
        if holes.DOWNLOAD in text:
            kind, reason = "shell.unresolved.download", "What was fetched over the network would be executed unseen."
        else:
            kind, reason = "shell.unresolved.code", "A text that is only known when it runs would be executed."
        self.report(kind, RiskLevel.CRITICAL, text, reason)
        known = re.sub(r"[\x00-\x03]+", "__unknown__", text)
        return self.run_inside(known) if known.strip("_unkow \n") else holes.OUTPUT

    # -- values (words.Values) -----------------------------------------------------------------------------------------

    def capture(self, node: Node) -> str:
        """What a command substitution prints, trailing newlines removed as the shell does."""
        text = self.source(node)
        self.last_captured = text.lstrip("$(`").rstrip("`) ")
        if text.startswith("`") and "\\" in text:
            return self.capture_text(text[1:-1])
        with self.apart():
            printed = "".join(
                self.walk(child, None) if child.type not in redirections.REDIRECTS else redirections.given(self, child)
                for child in node.named_children
            )
        return printed.rstrip("\n")

    def capture_text(self, text: str) -> str:
        """What a command in backticks prints; inside them a backslash protects the inner ones."""
        with self.apart():
            return self.run_again(re.sub(r"\\([$`\\])", r"\1", text)).rstrip("\n")

    def process(self, node: Node) -> str:
        """The path of a process substitution; its content is what the commands print."""
        self._processes += 1
        self.last_captured = self.source(node)[2:-1].strip()
        path = f"/dev/fd/{62 + self._processes}"
        incoming = self.raw[node.start_byte : node.start_byte + 1] == b">"
        with self.apart():
            printed = "".join(self.walk(child, holes.OUTPUT if incoming else None) for child in node.named_children)
        self.files[path] = printed
        return path

    def visit(self, node: Node) -> None:
        """Judge the commands inside an expression whose value does not matter."""
        for child in node.named_children:
            if child.type == "command_substitution":
                self.capture(child)
            elif child.type == "process_substitution":
                self.process(child)
            elif child.named_child_count:
                self.visit(child)

    # -- walking -------------------------------------------------------------------------------------------------------

    def walk(self, node: Node, stdin: str | None) -> Out:
        """Run a node; returns what it would print."""
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise TooMuchError
        try:
            walker = _WALKERS.get(node.type)
            if walker is not None:
                return walker(self, node, stdin)
            return control.each(self, node, stdin)
        finally:
            self._nodes -= 1

    def execute(self, argv: list[str], stdin: str | None) -> Out:
        """Run a simple command; returns what it would print."""
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise TooMuchError
        if argv:
            self.variables["_"] = (argv[-1],)
        return self._execute(self, argv, stdin)


_WALKERS: dict[str, Callable[[Machine, Node, str | None], Out]] = {
    "program": control.program,
    "list": control.sequence,
    "pipeline": control.pipeline,
    "subshell": control.subshell,
    "if_statement": control.conditional,
    "case_statement": control.conditional,
    "case_item": control.conditional,
    "while_statement": control.loop,
    "c_style_for_statement": control.loop,
    "for_statement": control.for_each,
    "function_definition": control.define,
    "comment": control.comment,
    "heredoc_body": control.comment,
    "command": simple.command,
    "redirected_statement": simple.redirected,
    "variable_assignment": assignments.assign,
    "declaration_command": assignments.declare,
    "unset_command": assignments.unset,
    "command_substitution": lambda machine, node, _: machine.capture(node),
    "process_substitution": lambda machine, node, _: machine.process(node),
}
