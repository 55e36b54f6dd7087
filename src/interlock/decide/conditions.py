"""Conditions in CEL over declared names, checked when they are loaded.

CEL itself finds an unknown name or a wrong type only when it evaluates, and its comprehensions are not bounded. So
conditions here are checked beforehand: only declared names and a short list of functions, no comprehension, no ternary,
a cap on length, and every part of the condition is tried on a sample of the declared types.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from types import ModuleType
from typing import Any

from interlock.errors import ConfigError, did_you_mean

MAX_CONDITION = 500
"""Longest condition, in characters."""
FUNCTIONS = frozenset({"contains", "startsWith", "endsWith", "matches", "size", "int", "double", "string", "has"})
_LOOPS = frozenset(
    {"map", "filter", "all", "exists", "exists_one", "existsOne", "transformList", "transformMap", "reduce"}
)
_TOKEN = re.compile(
    r"""\s*(?P<text>[rRbB]{0,2}(?:\"\"\"(?s:.*?)\"\"\"|'''(?s:.*?)'''|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))"""
    r"""|\s*(?P<number>\d[\w.]*)|\s*(?P<name>[A-Za-z_]\w*)|\s*(?P<sign>&&|\|\||[=!<>]=|//.*|\S)"""
)
_COMPARE = frozenset({"==", "!=", "<", "<=", ">", ">="})


class Condition:
    """A condition that was checked; ``names`` are the declared names that it may read."""

    __slots__ = ("_program", "names", "source")

    def __init__(self, source: str, names: frozenset[str], program: Any = None) -> None:
        """Keep what is needed; without a ``program`` it is compiled when it is first asked."""
        self.source = source
        self.names = names
        self._program = program

    @classmethod
    def checked_before(cls, source: str, declared: Mapping[str, Any]) -> Condition:
        """A condition that :func:`compile_condition` took where it was read: CEL, slow to load, waits for its first use."""
        words = {word for kind, word in _tokens(source) if kind == "name"}
        return cls(source, frozenset(words & declared.keys()))

    def holds(self, context: Any) -> bool:
        """Whether it holds in this ``cel.Context`` or mapping.

        Raises:
            ValueError: when it cannot be evaluated (a missing key, a value of another type): the caller decides closed.
        """
        if self._program is None:
            self._program = _compiled(self.source)
        try:
            answer = self._program.execute(context)
        except (ValueError, KeyError, TypeError, RuntimeError, IndexError, OverflowError) as problem:
            raise ValueError(f"the condition {self.source!r} could not be evaluated: {problem}") from problem
        if not isinstance(answer, bool):
            message = f"the condition {self.source!r} gave {answer!r}, neither true nor false"
            raise ValueError(message)  # noqa: TRY004 - one error for everything that is not an answer
        return answer


def compile_condition(source: str, declared: Mapping[str, Any], *, dynamic: frozenset[str] = frozenset()) -> Condition:
    """The condition, checked against ``declared``: each name with a sample value of its type.

    Names in ``dynamic`` hold values of any type (a tool's arguments), so parts that read them are not tried.

    Raises:
        ConfigError: says what is wrong, with the nearest declared name where one was misspelt.
    """
    if len(source) > MAX_CONDITION:
        raise ConfigError(f"the condition has {len(source)} characters, {MAX_CONDITION} are the limit")
    tokens = _tokens(source)
    _refuse_loops(source, tokens)
    program = _compiled(source)
    read = frozenset(program.references()["variables"])
    for name in sorted(read - declared.keys()):
        known = ", ".join(sorted(declared))
        raise ConfigError(
            f"the condition {source!r} reads {name!r}, which is not declared",
            suggestion=did_you_mean(name, declared) or f"declared are: {known}",
        )
    for name in sorted(program.references()["functions"]):
        if name.isidentifier() and name not in FUNCTIONS:
            raise ConfigError(
                f"the condition {source!r} calls {name!r}, which is not available",
                suggestion=did_you_mean(name, FUNCTIONS) or f"available are: {', '.join(sorted(FUNCTIONS))}",
            )
    _check_comparisons(source, tokens, declared, dynamic)
    for part in (*_parts(tokens), source):
        _try_out(source, part, declared, dynamic)
    return Condition(source, read, program)


def context(variables: Mapping[str, Any]) -> Any:
    """What conditions are evaluated in."""
    return _cel().Context(variables=dict(variables))


@cache
def _cel() -> Any:
    """CEL, without the command line of its own that it loads with itself: 70 ms of terminal libraries."""
    stub = ModuleType("cel.cli")
    sys.modules.setdefault(stub.__name__, stub)
    try:
        import cel  # noqa: PLC0415 - only for rules that have a condition
    finally:
        if sys.modules[stub.__name__] is stub:
            del sys.modules[stub.__name__]
    return cel


def _compiled(source: str) -> Any:
    try:
        return _cel().compile(source)
    except ValueError as problem:
        said = str(problem).split("\n", maxsplit=1)[0]
        raise ConfigError(f"the condition {source!r} is not valid: {said}") from problem


def _tokens(source: str) -> list[tuple[str, str]]:
    found = [(match.lastgroup or "", match.group(match.lastgroup or 0)) for match in _TOKEN.finditer(source)]
    if any(kind == "sign" and word.startswith("//") for kind, word in found):
        raise ConfigError(f"the condition {source!r} holds a comment", suggestion="use the rule's reason for it")
    return found


def _refuse_loops(source: str, tokens: list[tuple[str, str]]) -> None:
    for (kind, word), (_, after) in zip(tokens, [*tokens[1:], ("", "")], strict=True):
        if kind == "sign" and word in {"?", ":", "{"}:
            raise ConfigError(
                f"the condition {source!r} uses {word!r}: choices and maps are not allowed in conditions",
                suggestion="write && and ||, or two rules",
            )
        if kind == "name" and word in _LOOPS and after == "(":
            raise ConfigError(
                f"the condition {source!r} uses {word}(): loops are not bounded and not allowed",
                suggestion='use `"x" in list`, or `match`, which looks at every element',
            )


def _check_comparisons(
    source: str, tokens: list[tuple[str, str]], declared: Mapping[str, Any], dynamic: frozenset[str]
) -> None:
    """``severity == "high"`` is false for ever in CEL when severity is a number: refuse it."""
    for left, sign, right in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if sign[1] not in _COMPARE:
            continue
        for one, other in ((left, right), (right, left)):
            sample = declared.get(one[1]) if one[0] == "name" and one[1] not in dynamic else None
            if (
                sample is not None
                and other[0] in {"text", "number"}
                and isinstance(sample, str) != (other[0] == "text")
            ):
                raise ConfigError(
                    f"the condition {source!r} compares {one[1]} with {other[1]}, which is of another type",
                    suggestion=f"{one[1]} is like {sample!r}",
                )


def _parts(tokens: list[tuple[str, str]]) -> Iterator[str]:
    """The operands of ``&&`` and ``||``, down to those that hold neither."""
    while len(tokens) > 1 and tokens[0][1] in {"!", "("}:
        if tokens[0] == ("sign", "!"):
            tokens = tokens[1:]
        elif _closing(tokens) == len(tokens) - 1:
            tokens = tokens[1:-1]
        else:
            break
    depth, start, split = 0, 0, False
    for place, (kind, word) in enumerate(tokens):
        if kind != "sign":
            continue
        depth += (word in {"(", "["}) - (word in {")", "]"})
        if depth == 0 and word in {"&&", "||"}:
            yield from _parts(tokens[start:place])
            start, split = place + 1, True
    if split:
        yield from _parts(tokens[start:])
    elif tokens:
        yield " ".join(word for _, word in tokens)


def _closing(tokens: list[tuple[str, str]]) -> int:
    depth = 0
    for place, (kind, word) in enumerate(tokens):
        depth += (kind == "sign") * ((word == "(") - (word == ")"))
        if depth == 0:
            return place
    return -1


def _try_out(source: str, part: str, declared: Mapping[str, Any], dynamic: frozenset[str]) -> None:
    program = _compiled(part)
    if dynamic.intersection(program.references()["variables"]):
        return
    try:
        answer = program.execute(dict(declared))
    except (ValueError, KeyError, TypeError, RuntimeError, IndexError, OverflowError) as problem:
        said = str(problem).split("\n", maxsplit=1)[0]
        raise ConfigError(f"the condition {source!r} does not work: {part!r}: {said}") from problem
    if not isinstance(answer, bool):
        raise ConfigError(
            f"the condition {source!r} holds {part!r}, which is neither true nor false",
            suggestion="compare it with something",
        )
