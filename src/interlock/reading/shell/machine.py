"""A tiny abstract shell: it runs the text with every program replaced by what is known of it.

Values are texts with holes (:mod:`holes`). Branches keep every value a variable may have, loops over constants see
each constant, pipes hand on what a program would print, and a text that would be executed is read again.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

from interlock.model.action import Scope, Span
from interlock.model.risk import RiskLevel
from interlock.reading.linear import Linear
from interlock.reading.shell import holes, words
from interlock.reading.shell.state import MAX_BYTES, Function, SqlReader, State, TooMuchError

LANGUAGE = Language(tree_sitter_bash.language())
MAX_DEPTH = 8
_AS_ASCII = bytes(byte if 0 < byte < 0x80 else ord(".") for byte in range(256))  # noqa: PLR2004 - ASCII
"""What the parser is shown: same length, same places, and every byte beyond ASCII as a plain character of a word, which is
what bash takes it for. The grammar's scanner asks C's tables about each character and crashes the process on large ones."""
_MAX_NODES = 120
_MAX_STEPS = 3000
_MAX_WORLDS = 16
_REFERENCE = re.compile(r"\$\{?[!#]?([A-Za-z_]\w*|[0-9@*])")
_POSITIONAL = frozenset("123456789@*")
_REDIRECTS = frozenset({"file_redirect", "heredoc_redirect", "herestring_redirect"})
_HOLD_REDIRECTS = _REDIRECTS | {"command_substitution", "process_substitution"}
_BACKWARDS = re.compile(r"(?:^|[\s\\/])\.{2,}\\[\\./\w]\S*")
_ARITHMETIC = Linear(r"\w\[[^\]]*(?:\$\(|`)")
_BEFORE_COMMENT = frozenset({b"", b" ", b"\t", b"\n", b";", b"&", b"|", b"(", b")", b"`"})
_GLOB = re.compile(r"[*?\[]")

Out = str


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
        self._running: list[Function] = []

    # -- running texts ---------------------------------------------------------------------------------------------

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
        outer, self._source = self._source, data
        try:
            return self.walk(root, None)
        finally:
            self._source = outer

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

    # -- values (words.Values) -------------------------------------------------------------------------------------

    def capture(self, node: Node) -> str:
        """What a command substitution prints, trailing newlines removed as the shell does."""
        text = self.source(node)
        self.last_captured = text.lstrip("$(`").rstrip("`) ")
        if text.startswith("`") and "\\" in text:
            return self.capture_text(text[1:-1])
        with self._apart():
            printed = "".join(
                self.walk(child, None) if child.type not in _REDIRECTS else self._input(child)
                for child in node.named_children
            )
        return printed.rstrip("\n")

    def capture_text(self, text: str) -> str:
        """What a command in backticks prints; inside them a backslash protects the inner ones."""
        with self._apart():
            return self.run_again(re.sub(r"\\([$`\\])", r"\1", text)).rstrip("\n")

    def process(self, node: Node) -> str:
        """The path of a process substitution; its content is what the commands print."""
        self._processes += 1
        self.last_captured = self.source(node)[2:-1].strip()
        path = f"/dev/fd/{62 + self._processes}"
        incoming = self._source[node.start_byte : node.start_byte + 1] == b">"
        with self._apart():
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

    # -- walking ---------------------------------------------------------------------------------------------------

    def walk(self, node: Node, stdin: str | None) -> Out:
        """Run a node; returns what it would print."""
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise TooMuchError
        try:
            walker = _WALKERS.get(node.type)
            if walker is not None:
                return walker(self, node, stdin)
            return self._each(node, stdin)
        finally:
            self._nodes -= 1

    def _each(self, node: Node, stdin: str | None) -> Out:
        return "".join([self.walk(child, stdin) for child in node.named_children])[:MAX_BYTES]

    def _program(self, node: Node, stdin: str | None) -> Out:
        printed = self._each(node, stdin)
        for name, function in list(self.functions.items()):
            if not function.called:
                self.call_function(name, [name, holes.VARIABLE], None)
        return printed

    def _nothing(self, node: Node, _: str | None) -> Out:
        before = self._source[: node.start_byte]
        escaped = len(before[:-1]) - len(before[:-1].rstrip(b"\\"))
        if node.type == "comment" and (before[-1:] not in _BEFORE_COMMENT or (escaped % 2 and before[-1:] != b"\n")):
            self.report(
                "shell.unresolved.syntax",
                RiskLevel.CRITICAL,
                self.source(node),
                "What looks like a comment is not one.",
            )
        return ""

    def _list(self, node: Node, stdin: str | None) -> Out:
        steps: list[Node] = []
        while node.type == "list":  # a && b && c is nested to the left; its length is no depth
            first, *rest = node.named_children
            steps[:0] = rest
            node = first
        printed = self.walk(node, stdin)
        with self._maybe():
            return printed + "".join([self.walk(child, stdin) for child in steps])

    def _pipeline(self, node: Node, stdin: str | None) -> Out:
        flowing = stdin
        for place, child in enumerate(node.named_children):
            if child.type == "comment":
                continue
            if place:
                with self._apart():
                    flowing = self.walk(child, flowing)
            else:
                flowing = self.walk(child, flowing)
        return flowing or ""

    def _subshell(self, node: Node, stdin: str | None) -> Out:
        with self._apart():
            return self._each(node, stdin)

    def _conditional(self, node: Node, stdin: str | None) -> Out:
        with self._maybe():
            printed = ""
            for child in node.named_children:
                if child.type in {"word", "string", "simple_expansion", "concatenation", "raw_string"}:
                    words.fields(child, self)
                else:
                    printed += self.walk(child, stdin)
            return printed

    def _loop(self, node: Node, stdin: str | None) -> Out:
        with self._maybe():
            before = dict(self.variables)
            printed = self._each(node, stdin)
            if self.variables != before:
                printed += self._each(node, stdin)
            return printed

    def _for(self, node: Node, stdin: str | None) -> Out:
        variable = node.child_by_field_name("variable")
        values = [
            value
            for group in words.adjacent(node.children_by_field_name("value"))
            for value in words.fields(group[0], self, *group[1:])
        ] or self.arrays.get("@", [holes.VARIABLE])
        name = self.source(variable) if variable is not None else "_"
        with self._maybe():
            for _ in range(2):
                before = dict(self.variables)
                self.variables[name] = tuple(dict.fromkeys(values)) if len(values) <= _MAX_WORLDS else (holes.VARIABLE,)
                body = node.child_by_field_name("body")
                printed = self.walk(body, stdin) if body is not None else ""
                if {**self.variables, name: ()} == {**before, name: ()}:
                    break
        return printed

    def _define(self, node: Node, _: str | None) -> Out:
        name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
        if name is not None and body is not None:
            self.functions[self.source(name)] = Function(body, self._source)
        return ""

    def call_function(self, name: str, argv: list[str], stdin: str | None) -> Out:
        """Run a function's body with these arguments."""
        function = self.functions[name]
        function.called = True
        if any(one is function for one in self._running):
            text = function.source[function.body.start_byte : function.body.end_byte].decode("utf-8", "replace")
            if re.search(rf"{re.escape(name)}\s*(?:\|\s*{re.escape(name)}|&(?!&))", text):
                self.report("shell.system.fork_bomb", RiskLevel.CRITICAL, text, "A function that starts itself twice.")
            return ""
        outer, self._source = self._source, function.source
        kept, arguments = dict(self.variables), self.arrays.get("@")
        self._running.append(function)
        self.variables.update({str(place): (value,) for place, value in enumerate(argv)})
        self.arrays["@"] = self.arrays["*"] = argv[1:]
        try:
            return self.walk(function.body, stdin)
        finally:
            self._running.pop()
            self._source = outer
            for place in range(len(argv)):
                self.variables.pop(str(place), None)
            self.variables.update({key: value for key, value in kept.items() if key.isdigit()})
            self.arrays.pop("@", None)
            self.arrays.pop("*", None)
            if arguments is not None:
                self.arrays["@"] = self.arrays["*"] = arguments

    # -- commands --------------------------------------------------------------------------------------------------

    def _worlds(self, *nodes: Node) -> Iterator[dict[str, str]]:
        """Each combination of the values that the variables in a command may have."""
        text = " ".join([self.source(node) for node in nodes])
        if "\\" in text and (found := _BACKWARDS.search(text)) is not None:
            self.report(
                "shell.path.traversal", RiskLevel.HIGH, found[0], "A path climbs out in another system's spelling."
            )
        if "$" not in text:
            yield {}
            return
        names = {match[1] for match in _REFERENCE.finditer(text)}
        choices: list[list[tuple[str, str]]] = []
        for name in sorted(names):
            values = self.variables.get(name, ())
            if (not values and name in _POSITIONAL and not self._running and name not in self.arrays) or (
                not values and f"${{{name}:+" in text
            ):
                values = ("", holes.VARIABLE)
            if len(values) > 1 and name not in self._world:
                choices.append([(name, value) for value in values])
        combinations = itertools.product(*choices)
        size = 1
        for choice in choices:
            size *= len(choice)
        if size > _MAX_WORLDS:
            yield {choice[0][0]: holes.VARIABLE for choice in choices}
            return
        for combination in combinations:
            yield dict(combination)

    def _command(self, node: Node, stdin: str | None, extra: Sequence[Node] = ()) -> Out:
        printed: dict[str, None] = {}
        outer = self._world
        for world in self._worlds(node, *extra):
            self._world = {**outer, **world} if world or outer else outer
            try:
                printed[self._command_once(node, stdin, extra)] = None
            finally:
                self._world = outer
        return next(iter(printed)) if len(printed) == 1 else "\n".join(printed)

    def _command_once(self, node: Node, stdin: str | None, extra: Sequence[Node]) -> Out:
        argv: list[str] = []
        settings: list[tuple[str, str]] = []
        redirects: list[Node] = []
        pieces: list[Node] = []
        end = -1
        children = node.children
        holders = [child for child in children if child.type in _HOLD_REDIRECTS]
        for child in (*(children if node.type == "command" else [node]), *self._extra(holders), *extra):
            kind = child.type
            if kind == "variable_assignment":
                settings.append(self._assignment(child))
                end = child.end_byte
            elif kind in _REDIRECTS:
                redirects.append(child)
            elif kind == "subshell":
                self.report(
                    "shell.unresolved.syntax", RiskLevel.CRITICAL, self.source(node), "This is not a shell command."
                )
                self.walk(child, None)
            else:
                pieces.append(child)
                if child.start_byte == end:
                    self.report(
                        "shell.unresolved.syntax",
                        RiskLevel.CRITICAL,
                        self.source(node),
                        "Where a value ends is unclear.",
                    )
        for group in words.adjacent(pieces):
            if not argv:
                self._check_name(group[0])
            argv.extend(words.fields(group[0], self, *group[1:]))
        if redirects:
            return self._redirected_by(redirects, stdin, lambda given: self._start(node, argv, settings, given))
        return self._start(node, argv, settings, stdin)

    def _check_name(self, node: Node) -> None:
        text = self.source(node)
        if _GLOB.search(text) is None and "(" not in text:
            return
        inner = node.children[0].type if node.type == "command_name" else node.type
        if _GLOB.search(text) and text not in {"[", "[["} and inner in {"word", "concatenation"}:
            bare = re.sub(r"'[^']*'|\"[^\"]*\"|\\.", "", text)
            if _GLOB.search(bare):
                self.report("shell.unresolved.name", RiskLevel.CRITICAL, text, "Which program runs depends on files.")
        if "(" in text and inner in {"word", "concatenation"}:
            bare = re.sub(r"\$\(.*\)|'[^']*'|\"[^\"]*\"|\\.|`[^`]*`", "", text, flags=re.DOTALL)
            if "(" in bare:
                self.report("shell.unresolved.syntax", RiskLevel.CRITICAL, text, "This is not a shell command.")

    def _start(self, node: Node, argv: list[str], settings: list[tuple[str, str]], stdin: str | None) -> Out:
        outer = self._span
        if self.depth == 0 and outer is None:
            start = len(self._source[: node.start_byte].decode("utf-8", "replace"))
            self._span = Span(start=start, end=start + len(self.source(node)))
        kept = {name: self.variables.get(name) for name, _ in settings}
        try:
            for name, value in settings:
                self.setting(name, value)
                self.variables[name] = (value,)
                self.exported.add(name)
            return self.execute(argv, stdin) if argv else ""
        finally:
            for name, values in kept.items():
                if values is None:
                    self.variables.pop(name, None)
                else:
                    self.variables[name] = values
            self._span = outer

    def execute(self, argv: list[str], stdin: str | None) -> Out:
        """Run a simple command; returns what it would print."""
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise TooMuchError
        return self._execute(self, argv, stdin)

    # -- assignments -----------------------------------------------------------------------------------------------

    def _assignment(self, node: Node) -> tuple[str, str]:
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        text = words.joined(value, self) if value is not None and value.type != "array" else ""
        return (self.source(name) if name is not None else "_"), text

    def _assign(self, node: Node, _: str | None) -> Out:
        name_node, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        name = self.source(name_node) if name_node is not None else "_"
        outer = self._world
        for world in self._worlds(node):
            self._world = {**outer, **world}
            try:
                self._assign_once(node, name, value)
            finally:
                self._world = outer
        return ""

    def _assign_once(self, node: Node, name: str, value: Node | None) -> None:
        if value is not None and value.type == "array":
            groups = words.adjacent(value.named_children)
            self.arrays[name] = [text for group in groups for text in words.fields(group[0], self, *group[1:])]
            return
        text = words.joined(value, self) if value is not None else ""
        if "[" in name:
            self.arrays.setdefault(name.partition("[")[0], []).append(text)
            return
        operator = self.source(node)[len(name) : len(name) + 2]
        if operator == "+=":
            text = self.lookup(name) + text if name in self.variables else text
        self.setting(name, text)
        self.assign(name, text)

    def setting(self, name: str, value: str) -> None:
        """Judge a variable that programs, or the shell itself, act on."""
        if "[" in value and _ARITHMETIC.search(value):
            self.report(
                "shell.unresolved.arithmetic", RiskLevel.HIGH, value, "An index that is a command: arithmetic runs it."
            )
        rule = self.rules.tables["environment"].get(name)
        if rule is None:
            return
        if rule == "command":
            if value and value not in {"cat", "less", "more", "true", ":"}:
                with self.trial() as aside:
                    self.run_inside(value)
                for finding in aside:
                    if finding.severity >= RiskLevel.HIGH:
                        self.seen.findings[finding] = None
        elif rule == "path":
            first = value.split(":", maxsplit=1)[0]
            if first in {"", "."} or first.startswith(("/tmp", "/var/tmp", "./", "/dev/shm")):  # noqa: S108 - a reading, not a use
                self.report(
                    "shell.persistence.path", RiskLevel.HIGH, f"{name}={value}", "Programs would come from there."
                )
        else:
            self.report("shell.persistence.preload", RiskLevel.HIGH, f"{name}={value}", rule)

    def _declare(self, node: Node, stdin: str | None) -> Out:
        text = self.source(node)
        exports = text.startswith("export") or " -x" in text
        for child in node.named_children:
            if child.type == "variable_assignment":
                self._assign(child, stdin)
                name = child.child_by_field_name("name")
                if exports and name is not None:
                    self.exported.add(self.source(name))
            elif child.type == "variable_name":
                self.exported.update({self.source(child)} if exports else ())
            elif child.type in {"concatenation", "string", "command_substitution", "simple_expansion"}:
                words.fields(child, self)
        self.seen.programs[self.source(node.children[0])] = None
        return ""

    def _unset(self, node: Node, _: str | None) -> Out:
        for child in node.named_children:
            self.assign(self.source(child), "")
        return ""

    # -- redirections ----------------------------------------------------------------------------------------------

    def _redirected(self, node: Node, stdin: str | None) -> Out:
        body = node.child_by_field_name("body")
        return self._with(body, [child for child in node.named_children if child.type in _REDIRECTS], stdin)

    def _with(self, body: Node | None, redirects: list[Node], stdin: str | None) -> Out:
        """The grammar hangs a redirection on a whole list or pipeline; to bash it belongs to the last command."""
        if body is not None and body.type in {"list", "pipeline"}:
            first, last = body.named_children[:-1], body.named_children[-1]
            if body.type == "list":
                printed = "".join([self.walk(child, stdin) for child in first])
                with self._maybe():
                    return printed + self._with(last, redirects, stdin)
            flowing = stdin
            for child in first:
                flowing = self.walk(child, flowing)
            with self._apart():
                return self._with(last, redirects, flowing)
        if body is not None and body.type == "negated_command":
            return self._with(body.named_children[-1], redirects, stdin)
        extra = [
            child
            for redirect in redirects
            for child in redirect.children_by_field_name("argument")
            if not _swallowed(redirect, child)
        ]

        def start(given: str | None) -> Out:
            pieces = [*self._extra(redirects), *extra]
            if body is not None and body.type != "command":
                return self.walk(body, given)
            command = body if body is not None else _first_word(pieces)
            return self._command(command, given, pieces) if command is not None else ""

        return self._redirected_by(redirects, stdin, start)

    @staticmethod
    def _extra(redirects: list[Node]) -> list[Node]:
        """Words after a redirection's target: the grammar counts them to it, to bash they are arguments."""
        found: list[Node] = []
        for redirect in redirects:
            for one in (redirect, *redirect.named_children):
                if one.type == "file_redirect":
                    destinations = one.children_by_field_name("destination")
                    found += destinations[len(next(words.adjacent(destinations), [])) :]
        return found

    def _redirected_by(self, redirects: list[Node], stdin: str | None, start: Callable[[str | None], Out]) -> Out:
        outputs: list[tuple[str, str]] = []
        rest: list[Node] = []
        for redirect in redirects:
            if redirect.type == "file_redirect":
                operator, target = self._target(redirect)
                if operator.startswith("<") and not operator.endswith("&"):
                    stdin = self.read_file(target)
                elif operator not in {"<&", ""}:
                    outputs.append((operator, target))
            else:
                stdin = self._input(redirect)
                rest += [c for c in redirect.named_children if c.type in {"pipeline", "list"} or c in _right(redirect)]
                outputs += [self._target(one) for one in redirect.named_children if one.type == "file_redirect"]
        printed = start(stdin)
        for operator, target in outputs:
            self.redirect_to(target, printed, append=">>" in operator)
            if not operator.startswith("2"):
                printed = "" if target not in {"/dev/stdout", "/dev/stderr", "/dev/tty"} else printed
        for node in rest:
            printed = self._after_heredoc(node, printed)
        return printed

    def _after_heredoc(self, node: Node, printed: str) -> Out:
        before = self._source[: node.start_byte].rstrip()
        if node.type == "pipeline" or before.endswith(b"|"):
            return self._pipeline(node, printed) if node.type == "pipeline" else self.walk(node, printed)
        return self.walk(node, None)

    def _target(self, node: Node) -> tuple[str, str]:
        operator = next((child.type for child in node.children if not child.is_named), "")
        descriptor = node.child_by_field_name("descriptor")
        destinations = node.children_by_field_name("destination")
        first = next(words.adjacent(destinations), [])
        found = words.fields(first[0], self, *first[1:]) if first else []
        target = found[0] if found else ""
        if operator in {">&", "<&"} and (target.isdigit() or target in {"", "-"}):
            return "<&", target
        prefix = "2" if descriptor is not None and self.source(descriptor) not in {"0", "1"} else ""
        return prefix + operator, target

    def _input(self, redirect: Node) -> str:
        if redirect.type == "file_redirect":
            return self.read_file(self._target(redirect)[1])
        if redirect.type == "herestring_redirect":
            return "".join(words.joined(child, self) for child in redirect.named_children) + "\n"
        start = next((child for child in redirect.children if child.type == "heredoc_start"), None)
        body = next((child for child in redirect.children if child.type == "heredoc_body"), None)
        if start is None or body is None:
            return ""
        delimiter = self.source(start)
        if any(_swallowed(redirect, child) for child in redirect.named_children):
            return self._swallowed_body(redirect, start, delimiter)
        if any(char in delimiter for char in "'\"\\"):
            text = self.source(body)
        else:
            text = words.quoted_text(body, self, body.start_byte, body.end_byte, heredoc=True)
        self._check_heredoc(redirect, start, body, re.sub(r"['\"\\]", "", delimiter))
        return re.sub(r"(?m)^\t+", "", text) if self.source(redirect).startswith("<<-") else text

    def _swallowed_body(self, redirect: Node, start: Node, delimiter: str) -> str:
        """The grammar takes a first line that begins with a backslash for arguments; to bash it is the body."""
        end = next((child.start_byte for child in redirect.children if child.type == "heredoc_end"), redirect.end_byte)
        text = self.slice(start.end_byte, end).partition("\n")[2]
        if any(char in delimiter for char in "'\"\\"):
            return text
        self.visit(redirect)
        text = re.sub(r"\\\n", "", text)
        return re.sub(r"(?<!\\)\$(?:\{[^}]*\}|\([^)]*\)|\w+)|(?<!\\)`[^`]*`", holes.VARIABLE, text).replace("\\$", "$")

    def _check_heredoc(self, redirect: Node, start: Node, body: Node, delimiter: str) -> None:
        """Whether the here-document ends where bash would end it: a difference would hide commands."""
        lines = self.slice(body.start_byte, body.end_byte).split("\n")
        dashed = self.source(redirect).startswith("<<-")
        if any((line.lstrip("\t") if dashed else line) == delimiter for line in lines[:-1]):
            self.report(
                "shell.unresolved.syntax", RiskLevel.CRITICAL, self.source(start), "The here-document's end is unclear."
            )

    def read_file(self, path: str) -> str:
        """The content of a file, as far as known; reading it is judged."""
        from interlock.reading.shell.places import judge_read  # noqa: PLC0415 - the two need each other

        if path in self.files:
            return self.files[path]
        return judge_read(self, path, f"< {path}")

    def redirect_to(self, path: str, content: str, *, append: bool) -> None:
        """Standard output goes into a file; writing it is judged and what was written remembered."""
        from interlock.reading.shell.places import judge_write  # noqa: PLC0415 - the two need each other

        judge_write(self, path, f"> {path}", content=content)
        self.remember(path, content, append=append)


def _swallowed(redirect: Node, child: Node) -> bool:
    """Whether a word of a here-document's line in truth stands on a later line."""
    start = redirect.start_point.row
    if (
        child.type in {"heredoc_start", "heredoc_body", "heredoc_end", "pipeline"}
        or redirect.type != "heredoc_redirect"
    ):
        return False
    return child.start_point.row > start or (child.text or b"")[:1] == b"\n"


def _first_word(pieces: list[Node]) -> Node | None:
    """``>a >b rm x``: the command's name is among the words that the parser counts to a redirection."""
    return pieces.pop(0) if pieces else None


def _right(redirect: Node) -> list[Node]:
    return redirect.children_by_field_name("right")


_WALKERS: dict[str, Callable[[Machine, Node, str | None], Out]] = {
    "program": Machine._program,  # noqa: SLF001 - the table of the class itself
    "command": Machine._command,  # noqa: SLF001 - the same
    "list": Machine._list,  # noqa: SLF001 - the same
    "pipeline": Machine._pipeline,  # noqa: SLF001 - the same
    "subshell": Machine._subshell,  # noqa: SLF001 - the same
    "redirected_statement": Machine._redirected,  # noqa: SLF001 - the same
    "variable_assignment": Machine._assign,  # noqa: SLF001 - the same
    "declaration_command": Machine._declare,  # noqa: SLF001 - the same
    "unset_command": Machine._unset,  # noqa: SLF001 - the same
    "function_definition": Machine._define,  # noqa: SLF001 - the same
    "if_statement": Machine._conditional,  # noqa: SLF001 - the same
    "case_statement": Machine._conditional,  # noqa: SLF001 - the same
    "case_item": Machine._conditional,  # noqa: SLF001 - the same
    "while_statement": Machine._loop,  # noqa: SLF001 - the same
    "c_style_for_statement": Machine._loop,  # noqa: SLF001 - the same
    "for_statement": Machine._for,  # noqa: SLF001 - the same
    "comment": Machine._nothing,  # noqa: SLF001 - the same
    "heredoc_body": Machine._nothing,  # noqa: SLF001 - the same
    "command_substitution": lambda machine, node, _: machine.capture(node),
    "process_substitution": lambda machine, node, _: machine.process(node),
}
