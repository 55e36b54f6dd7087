"""Where destructive statements begin and dangerous functions are called, by words alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from interlock.model.risk import RiskLevel
from interlock.reading.sql import vocabulary as known
from interlock.reading.sql.notes import Notes
from interlock.reading.sql.truth import always_by_words
from interlock.reading.sql.vocabulary import CRITICAL, HIGH, MEDIUM, words
from interlock.reading.sql.words import Sort, Token

Words = tuple[Token, ...]

_OPENERS: Final = frozenset(
    words("; ( ) BEGIN THEN ELSE DO LOOP ANALYZE ANALYSE VERBOSE IMMEDIATE RETURN EXPLAIN ATOMIC REPEAT FOR")
)
"""What may stand before the first word of a statement inside another text."""
MOST_BEGINNINGS: Final = 200
"""Words that may begin a destructive statement, in a text without a semicolon; reading more would take seconds."""
_UNMISTAKABLE: Final = frozenset({"SHUTDOWN", "INTO", "SONAME"})
"""Words whose form is judged wherever they stand."""


_NAMING: Final = frozenset({Sort.WORD, Sort.QUOTED})
_TELLING_NAMES: Final = frozenset({*known.FUNCTIONS, *known.PACKAGES, *known.FILE_READERS})

BEFORE_NAMES: Final = frozenset(words("SELECT DISTINCT BY AND OR NOT WHERE ON , ( = < > + - * /"))
AFTER_NAMES: Final = frozenset(words("FROM AND OR IS IN AS ASC DESC , ) = < > + - * /")) | {""}


def first_word(tokens: Words) -> str:
    """The first word, past opening brackets and labels; empty when there is none."""
    for token in tokens:
        if token.sort is Sort.WORD:
            return token.text
        if token.text != "(":
            return ""
    return ""


def scan(tokens: Words, notes: Notes, *, anywhere: bool) -> None:
    """Note every destructive statement that begins ``anywhere``, or only where a statement can begin."""
    begun = 0
    for place, token in enumerate(tokens):
        if token.sort is not Sort.WORD:
            continue
        begin = BEGINNINGS.get(token.text)
        begun += begin is not None
        if begun > MOST_BEGINNINGS:
            notes.add("sql.unparsed.too_long", CRITICAL, "holds too many statements without a semicolon to be read")
            return
        if begin is not None and (anywhere or token.text in _UNMISTAKABLE or _can_begin(tokens, place)):
            begin(tokens, place, notes)


def scan_calls(tokens: Words, notes: Notes) -> None:
    """Note every call of a function that leaves the database, by name."""
    for place, token in enumerate(tokens):
        name = token.text.upper()
        if name not in _TELLING_NAMES or token.sort not in _NAMING:
            if token.sort is Sort.STRING and name == "XP_CMDSHELL":
                _note_call(known.FUNCTIONS["XP_CMDSHELL"], token, notes)
            continue
        follows = text_at(tokens, place + 1)
        seen = known.FUNCTIONS.get(name)
        if name == "SYSTEM" and text_at(tokens, place - 1) == "TABLESAMPLE":
            continue
        if seen is not None and (follows == "(" or name.startswith(("XP_", "SP_"))):
            if name not in {"EXTRACTVALUE", "UPDATEXML"} or _carries_data(tokens, place):
                _note_call(seen, token, notes)
            if seen[0] == "sql.exec":
                _inside(tokens[place + 1 : place + 8], notes)
        elif name in known.PACKAGES and follows == ".":
            _note_call(known.PACKAGES[name], token, notes)
        elif name in known.FILE_READERS and follows == "(" and sort_at(tokens, place + 2) is Sort.STRING:
            notes.target(tokens[place + 2].text)
            notes.add("sql.file.query", MEDIUM, "queries a file or an address outside of the database", token.text)


def _inside(arguments: Words, notes: Notes) -> None:
    """Read the statements that stand in literals among a call's first arguments."""
    for token in arguments:
        inner = notes.deeper(token.text) if token.sort is Sort.STRING else None
        if inner is not None:
            notes.take(inner)


def _carries_data(tokens: Words, place: int) -> bool:
    following = {token.text for token in tokens[place : place + 12]}
    return bool(following & {"CONCAT", "SELECT", "CONCAT_WS", "MAKE_SET", "0x7e", "0x0a", "VERSION"})


def _note_call(seen: tuple[str, RiskLevel, str], token: Token, notes: Notes) -> None:
    kind, severity, reason = seen
    notes.add(kind, severity, f"{token.text.lower()} {reason}", token.text)


def _can_begin(tokens: Words, place: int) -> bool:
    if place == 0:
        return True
    before = tokens[place - 1]
    if before.text == ")":
        return tokens[place].text in {"DELETE", "UPDATE"} and tokens[0].text == "WITH"
    return (
        before.text in _OPENERS
        and before.sort in {Sort.WORD, Sort.MARK}
        and not (before.text == "FOR" and tokens[place].text == "UPDATE")
    )


def text_at(tokens: Words, place: int) -> str:
    """The text of the token at ``place``, empty outside."""
    return tokens[place].text if 0 <= place < len(tokens) else ""


def sort_at(tokens: Words, place: int) -> Sort | None:
    """The sort of the token at ``place``, None outside."""
    return tokens[place].sort if 0 <= place < len(tokens) else None


def _rest(tokens: Words, place: int) -> Words:
    """From ``place`` to the end of the statement."""
    for end in range(place, len(tokens)):
        if tokens[end].text == ";" and tokens[end].sort is Sort.MARK:
            return tokens[place:end]
    return tokens[place:]


def _drop(tokens: Words, place: int, notes: Notes) -> None:
    follows = text_at(tokens, place + 1)
    lead = first_word(tokens)
    if lead == "ALTER" and place > 0:
        notes.add("sql.alter.drop", HIGH, "drops a part of a table, with its data")
        return
    if follows not in known.OBJECTS and not (place == 0 and sort_at(tokens, place + 1) in {Sort.WORD, Sort.QUOTED}):
        return
    if lead in {"GRANT", "REVOKE", "DENY"}:
        return
    what = follows
    if what in {"MATERIALIZED", "TEMPORARY", "TEMP", "EXTERNAL", "FOREIGN", "GLOBAL", "UNIQUE", "CONCURRENTLY"}:
        what = text_at(tokens, place + 2) if what != "FOREIGN" else "TABLE"
    drop_note(what, " ".join(token.text for token in tokens[place : place + 6]), notes)


def drop_note(what: str, evidence: str, notes: Notes) -> None:
    """Note that an object of the sort ``what`` is dropped."""
    notes.statements.append(f"drop_{what.lower()}" if what.isidentifier() else "drop")
    guarded = any(name in evidence.upper() for name in known.AUDIT_NAMES)
    if what in known.REBUILT and not guarded:
        notes.add("sql.drop.definition", HIGH, f"drops a definition ({what.lower()})", evidence)
    else:
        notes.add("sql.drop", CRITICAL, f"drops a {what.lower() or 'n object'} for good", evidence)


def _truncate(tokens: Words, place: int, notes: Notes) -> None:
    follows = text_at(tokens, place + 1)
    if place > 0 and (follows == "(" or first_word(tokens) in {"GRANT", "REVOKE", "DENY", "ALTER"}):
        if first_word(tokens) == "ALTER" and follows != "(":
            notes.add("sql.truncate", CRITICAL, "removes all rows of a partition")
        return
    if follows == "TABLE" or place == 0 or _can_begin(tokens, place):
        notes.statements.append("truncate")
        notes.add("sql.truncate", CRITICAL, "removes all rows")


def _delete(tokens: Words, place: int, notes: Notes) -> None:
    follows, before = text_at(tokens, place + 1), text_at(tokens, place - 1)
    if before in BEFORE_NAMES | {"AS", "."} and first_word(tokens) in {"SELECT", "FROM"}:
        return  # a column of that name
    clause = before in {"ON", "AFTER", "BEFORE", "OF", "OR", "GRANT", ","} or follows in {"ON", "OR", ",", "ROWS"}
    if clause and place > 0 and follows != "FROM":
        return
    if follows != "FROM" and not (place == 0 or _can_begin(tokens, place) or first_word(tokens) == "ALTER"):
        return
    notes.statements.append("delete")
    if before == "THEN" and any(token.text == "MERGE" for token in tokens[:place]):
        notes.add("sql.delete.where", HIGH, "deletes the rows that match")
        return
    _limited("delete", tokens, place, notes)


def _update(tokens: Words, place: int, notes: Notes) -> None:
    before = text_at(tokens, place - 1)
    rest = _rest(tokens, place + 1)
    if before in {"ON", "DO", "KEY", "FOR", "AFTER", "BEFORE", "OR", "OF", ",", "GRANT"} and place > 0:
        return
    if not any(token.text == "SET" for token in rest[:12]):
        return
    if before == "THEN" and any(token.text == "MERGE" for token in tokens[:place]):
        return
    notes.statements.append("update")
    _limited("update", tokens, place, notes)


def _limited(verb: str, tokens: Words, place: int, notes: Notes) -> None:
    rest = _rest(tokens, place)
    evidence = " ".join(token.text if token.sort is not Sort.STRING else "'…'" for token in rest[:12])
    where = next((i for i, token in enumerate(rest) if token.text == "WHERE" and token.sort is Sort.WORD), None)
    if where is None:
        notes.add(f"sql.{verb}.all", CRITICAL, f"{verb}s every row of a table: there is no WHERE", evidence)
    elif always_by_words(rest[where + 1 :]):
        notes.add(f"sql.{verb}.tautology", CRITICAL, f"{verb}s every row: its WHERE is always true", evidence)
    else:
        notes.add(f"sql.{verb}.where", HIGH, f"{verb}s the rows that match", evidence)


def _shutdown(tokens: Words, place: int, notes: Notes) -> None:
    if text_at(tokens, place - 1) in {"AS", ".", ","} or text_at(tokens, place + 1) not in {
        "",
        ";",
        "WITH",
        "IMMEDIATE",
        "ABORT",
    }:
        return
    notes.statements.append("shutdown")
    notes.add("sql.shutdown", CRITICAL, "stops the database server")


def _outfile(tokens: Words, place: int, notes: Notes) -> None:
    if text_at(tokens, place + 1) in {"OUTFILE", "DUMPFILE"}:
        if sort_at(tokens, place + 2) is Sort.STRING:
            notes.target(tokens[place + 2].text)
        notes.add("sql.file", HIGH, "writes a file on the database's machine")


def _library(tokens: Words, place: int, notes: Notes) -> None:
    if sort_at(tokens, place + 1) is Sort.STRING:
        notes.add("sql.exec.program", CRITICAL, "loads a library into the database")


BEGINNINGS: dict[str, Callable[[Words, int, Notes], None]] = {
    "DROP": _drop,
    "TRUNCATE": _truncate,
    "DELETE": _delete,
    "UPDATE": _update,
    "SHUTDOWN": _shutdown,
    "INTO": _outfile,
    "SONAME": _library,
}
