"""Whether a WHERE limits anything: a condition that does not look at the row is none."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

from sqlglot import exp

from interlock.reading.sql.words import Sort, Token

_COMPARE: dict[type[exp.Expr], Callable[[float, float], bool]] = {
    exp.EQ: operator.eq,
    exp.NEQ: operator.ne,
    exp.GT: operator.gt,
    exp.GTE: operator.ge,
    exp.LT: operator.lt,
    exp.LTE: operator.le,
}
_LOOKS_AT_THE_ROW = (exp.Column, exp.Table, exp.Placeholder, exp.Parameter, exp.SessionParameter, exp.Var, exp.Command)
_WILDCARDS = re.compile(r"%+")
_FALSE_TEXTS = frozenset({"", "f", "false", "n", "no", "off"})
_KEY = re.compile(r"(?:\w*_)?(?:id|uuid|guid|pk|rowid)", re.IGNORECASE)


def always(condition: exp.Expr | None, table: str = "") -> bool:
    """Whether ``condition`` holds for every row (of ``table``), NULLs aside. A doubt about a constant is a yes."""
    if condition is None:
        return True
    if isinstance(condition, (exp.Paren, exp.Where)):
        return always(condition.this, table)
    if isinstance(condition, exp.And):
        return all(always(part, table) for part in condition.flatten())
    if isinstance(condition, exp.Or):
        parts = list(condition.flatten())
        return any(always(part, table) for part in parts) or _complementary(parts)
    if isinstance(condition, exp.Xor):
        return False
    if isinstance(condition, exp.Not):
        return _always_not(condition.this, table)
    if condition.args.get("negate"):
        return _always_not(_affirmed(condition), table)
    known = _constant(condition)
    if known is not None:
        return known
    return _same_on_both_sides(condition) or _keeps_every_key(condition, table)


def _affirmed(condition: exp.Expr) -> exp.Expr:
    """``x IS NULL`` for ``x IS NOT NULL``."""
    plain = condition.copy()
    plain.set("negate", None)
    return plain


def _always_not(condition: exp.Expr, table: str) -> bool:
    if isinstance(condition, exp.Paren):
        return _always_not(condition.this, table)
    if isinstance(condition, exp.Not):
        return always(condition.this, table)
    if condition.args.get("negate"):
        return always(_affirmed(condition), table)
    if isinstance(condition, exp.Is) and isinstance(condition.expression, exp.Null):
        return _is_key(condition.this) or not _looks_at_the_row(condition)
    if isinstance(condition, (exp.NEQ, exp.LT, exp.GT)) and _same(condition.this, condition.expression):
        return True
    known = _constant(condition)
    return known is False


def never(condition: exp.Expr) -> bool:
    """Whether ``condition`` is a constant that is plainly false, such as ``1 = 0``."""
    while isinstance(condition, (exp.Paren, exp.Where)):
        condition = condition.this
    return _constant(condition) is False


def literal_tautology(condition: exp.Expr) -> bool:
    """Whether ``condition`` is two literals found equal, the mark of an injection (``'a'='a'``)."""
    while isinstance(condition, exp.Paren):
        condition = condition.this
    return (
        isinstance(condition, (exp.EQ, exp.Like))
        and isinstance(condition.this, exp.Literal)
        and isinstance(condition.expression, exp.Literal)
        and condition.this.this == condition.expression.this
    )


def _constant(condition: exp.Expr) -> bool | None:
    """The value of a condition without columns; None when it looks at the row."""
    if isinstance(condition, exp.Boolean):
        return bool(condition.this)
    if isinstance(condition, exp.Null):
        return False
    if isinstance(condition, exp.Literal):
        value = _number(condition)
        return condition.this.strip().lower() not in _FALSE_TEXTS if value is None else value != 0.0
    if _looks_at_the_row(condition):
        return None
    compare = _COMPARE.get(type(condition))
    if compare is not None:
        left, right = _number(condition.this), _number(condition.expression)
        if left is not None and right is not None:
            return compare(left, right)
        if _is_text(condition.this) and _is_text(condition.expression):
            same = condition.this.this == condition.expression.this
            return same if isinstance(condition, exp.EQ) else not same if isinstance(condition, exp.NEQ) else True
    return True


def _number(node: exp.Expr) -> float | None:
    if isinstance(node, exp.Paren):
        return _number(node.this)
    if isinstance(node, exp.Neg):
        value = _number(node.this)
        return None if value is None else -value
    if isinstance(node, exp.Literal):
        try:
            return float(node.this)
        except ValueError:
            return None
    return None


def _is_text(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and bool(node.is_string)


def _looks_at_the_row(condition: exp.Expr) -> bool:
    """Whether a column, a table or a parameter is in it; ``EXISTS (SELECT 1)`` says nothing about the row."""
    return condition.find(*_LOOKS_AT_THE_ROW) is not None


def _same_on_both_sides(condition: exp.Expr) -> bool:
    if isinstance(condition, (exp.EQ, exp.GTE, exp.LTE, exp.NullSafeEQ)):
        return _same(condition.this, condition.expression)
    if isinstance(condition, (exp.Like, exp.ILike)):
        pattern = condition.expression
        return _is_text(pattern) and _WILDCARDS.fullmatch(pattern.this) is not None
    if isinstance(condition, exp.In):
        return any(_same(condition.this, item) for item in condition.expressions)
    if isinstance(condition, exp.Between):
        return _same(condition.this, condition.args.get("low")) and _same(condition.this, condition.args.get("high"))
    return False


def _same(left: exp.Expr, right: exp.Expr | None) -> bool:
    if isinstance(left, exp.Column) and isinstance(right, exp.Column):
        return left.name.lower() == right.name.lower() and (
            left.table.lower() == right.table.lower() or not left.table or not right.table
        )
    return left == right


def _is_key(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and _KEY.fullmatch(node.name) is not None


def _keeps_every_key(condition: exp.Expr, table: str) -> bool:
    """``id > 0``, ``id <> -1``, ``id IN (SELECT id FROM the same table)``, ``LENGTH(x) >= 0``."""
    if isinstance(condition, (exp.GT, exp.GTE, exp.NEQ)):
        edge = _number(condition.expression)
        if edge is None:
            return False
        if isinstance(condition.this, (exp.Length, exp.Abs)):
            return edge < 0 or (edge == 0 and isinstance(condition, exp.GTE))
        return edge <= (1 if isinstance(condition, exp.GTE) else 0) and _is_key(condition.this)
    if isinstance(condition, exp.In) and table:
        query = condition.args.get("query")
        select = query.this if isinstance(query, exp.Subquery) else query
        return isinstance(select, exp.Select) and _whole_table(select, table)
    return False


def _whole_table(select: exp.Select, table: str) -> bool:
    limits = ("where", "limit", "group", "having", "joins", "offset", "sample")
    source = select.args.get("from_")
    return (
        source is not None
        and isinstance(source.this, exp.Table)
        and source.this.name.lower() == table.lower()
        and not any(select.args.get(name) for name in limits)
    )


def _complementary(parts: list[exp.Expr]) -> bool:
    """``x IS NULL OR x IS NOT NULL``."""
    plain = [part.unnest() for part in parts]
    denied = [part.this.unnest() for part in plain if isinstance(part, exp.Not)]
    denied += [_affirmed(part) for part in plain if part.args.get("negate")]
    return any(part in denied for part in plain)


def always_by_words(tokens: tuple[Token, ...]) -> bool:
    """The same question for a condition that no parser reads: the plain forms only."""
    arms: list[list[Token]] = [[]]
    for token in tokens:
        if token.text in {"ORDER", "LIMIT", "RETURNING", "OPTION"}:
            break
        if token.text == "OR":
            arms.append([])
        elif token.text not in {"(", ")"}:
            arms[-1].append(token)
    return any(_arm_always(arm) for arm in arms)


def _arm_always(arm: list[Token]) -> bool:
    if len(arm) == 1:
        return arm[0].text == "TRUE" or (arm[0].sort is Sort.NUMBER and arm[0].text.strip("0.") != "")
    if len(arm) == 3 and arm[1].text == "=":  # noqa: PLR2004 - left, sign, right
        return arm[0].text == arm[2].text and arm[0].sort is arm[2].sort
    if len(arm) == 3 and arm[1].text == "LIKE":  # noqa: PLR2004 - left, sign, right
        return arm[2].text.strip("%") == ""
    return False
