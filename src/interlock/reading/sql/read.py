"""Read SQL: the order of steps. The tree says what is meant, the words say what could be."""

from __future__ import annotations

import logging
import re
import threading
from functools import cache, lru_cache
from typing import Any

from sqlglot import Dialect, exp
from sqlglot.errors import SqlglotError

from interlock.model.action import Reading
from interlock.reading.findings import worst_of_each_kind
from interlock.reading.linear import Linear
from interlock.reading.lookalikes import folded
from interlock.reading.sql.lexical import judge
from interlock.reading.sql.notes import Notes, note
from interlock.reading.sql.scan import first_word, scan, scan_calls
from interlock.reading.sql.tree import judge_tree
from interlock.reading.sql.vocabulary import ASKED_LEADS, CHANGING_LEADS, CRITICAL, HIGH, MEDIUM, WRITING
from interlock.reading.sql.words import (
    Token,
    depth_of,
    joined,
    statements_of,
    without_executable_comments,
    words_of,
)

LONGEST = 64 * 1024
"""Characters; a longer text is blocked, it would hold up the gate."""
DEEPEST = 100
"""Nested brackets; Python's own stack ends near 500 (measured)."""
MOST_STATEMENTS = 2_000
_DEEPEST_TEXT = 3
"""Statements in literals in statements …"""
_CACHED = 4_096
"""Characters; longer texts are not kept, so that the cache stays below some tens of megabytes."""

FIRST_DIALECTS = ("postgres", "mysql")
OTHER_READINGS = ("tsql", "sqlite")
"""Quotes, brackets and backslashes mean other things in these."""
RARE_DIALECTS = (
    "tsql",
    "sqlite",
    "snowflake",
    "bigquery",
    "oracle",
    "clickhouse",
    "spark",
    "duckdb",
    "redshift",
    "teradata",
    "presto",
)
_MYSQL = frozenset({"mysql", "mariadb", "singlestore", "doris", "starrocks", "tidb"})
_BACKSLASH = _MYSQL | {
    "bigquery",
    "snowflake",
    "spark",
    "spark2",
    "hive",
    "databricks",
    "clickhouse",
    "athena",
    "drill",
}
"""Dialects in which a backslash escapes a quote in every literal."""
_PLAIN_NAMES = re.compile(r'"[A-Za-z_][\w ]*"|`[\w ]*`')
_ALIASES = {"postgresql": "postgres", "mariadb": "mysql", "mssql": "tsql", "sqlserver": "tsql", "sqlite3": "sqlite"}
_AMBIGUOUS = re.compile(r"[\\\"`#$\[@]|--|/\*|\|\|")
_BARE_DASHES = re.compile(r"--(?=[^\s-])")
_KNOWN_DIALECTS = frozenset(Dialect.classes)

logging.getLogger("sqlglot").setLevel(logging.CRITICAL + 1)  # it warns with the statement's text, secrets included


def read_sql(text: str, dialect: str = "") -> Reading:
    """Everything that ``text`` would do to a database of ``dialect`` (sqlglot's word; empty: any of the common ones).

    Never raises and never takes a text for harmless because it could not be read. Severities: dropping, truncating,
    changing all rows, running programs and writing the catalogue are critical; deleting some rows, rights, files and
    whatever cannot be understood are high; other changes medium; reads have no findings. Texts over ``LONGEST``
    characters or nested over ``DEEPEST`` brackets are critical.
    """
    word = dialect.strip().lower()
    word = _ALIASES.get(word, word)
    if word not in _KNOWN_DIALECTS:
        word = ""
    return _cached(text, word) if len(text) <= _CACHED else _guarded(text, word)


def warm() -> None:
    """Load every dialect, so that the first statement does not wait for it."""
    for name in (*FIRST_DIALECTS, *OTHER_READINGS, *RARE_DIALECTS):
        _parse_as("SELECT 1", name)


@lru_cache(maxsize=2_048)
def _cached(text: str, dialect: str) -> Reading:
    return _guarded(text, dialect)


def _guarded(text: str, dialect: str) -> Reading:
    if len(text) > LONGEST:
        return _refused("sql.unparsed.too_long", f"longer than {LONGEST} characters")
    if depth_of(text) > DEEPEST:
        return _refused("sql.unparsed.too_deep", f"nested deeper than {DEEPEST} brackets")
    try:
        notes = _views(text, dialect, 0)
    except RecursionError:
        return _refused("sql.unparsed.too_deep", "nested too deep for the parser")
    except Exception as error:  # noqa: BLE001 - whatever breaks in a parser must block, not pass
        return _refused("sql.unparsed.crash", f"the parser failed ({type(error).__name__})")
    return Reading(
        findings=worst_of_each_kind(notes.findings),
        statements=tuple(dict.fromkeys(notes.statements)),
        paths=tuple(dict.fromkeys(notes.paths)),
        destinations=tuple(dict.fromkeys(notes.destinations)),
    )


def _refused(kind: str, reason: str) -> Reading:
    return Reading(findings=(note(kind, CRITICAL, "", f"The statement is {reason}."),), statements=("unknown",))


def _views(text: str, dialect: str, depth: int) -> Notes:
    """The text as it stands, and as it could be run or be meant when parts of it are disguised."""
    notes = _read(text, dialect, depth)
    if "/*" in text:
        if not dialect or dialect in _MYSQL:
            opened = without_executable_comments(text)
            if opened != text:
                notes = _read(opened, dialect, depth)
                notes.add("sql.executable_comment", MEDIUM, "MySQL runs what stands in /*! … */ comments")
        else:
            _disguised(notes, without_executable_comments(text), "statements stand in comments that MySQL runs")
        _disguised(notes, joined(text), "words are split by comments")
    if not text.isascii():
        plain = folded(text)
        if plain != text:
            _disguised(notes, plain, "letters are replaced by look-alikes or split by invisible ones")
    if (not dialect or dialect in _MYSQL) and "--" in text and _BARE_DASHES.search(text):
        scan(words_of(_BARE_DASHES.sub(" - - ", text), hash_comments=True), notes, anywhere=False)
    return notes


def _disguised(notes: Notes, text: str, reason: str) -> None:
    """Words alone, and only what is destructive: the text is not run in this form, but somebody means it so."""
    found = Notes(text)
    for piece in statements_of(words_of(text, backslash=True)):
        scan(piece, found, anywhere=False)
    before = {finding.kind for finding in notes.findings}
    for finding in found.findings:
        if finding.kind not in before:
            notes.add("sql.injection.disguise", finding.severity, reason, finding.evidence)
            notes.take(found)
            return


def _read(text: str, dialect: str, depth: int) -> Notes:
    hashes = dialect in _MYSQL
    escapes = {False} if "\\" not in text else {dialect in _BACKSLASH} if dialect else {False, True}
    ways = [words_of(text, backslash=escape, hash_comments=hashes) for escape in sorted(escapes)]
    notes = Notes(text)
    if not any(ways):
        return notes
    notes.deeper = lambda inner: _inner(inner, dialect, depth)
    for pattern, kind, severity, reason in _CLIENT:
        if pattern.search(text):
            notes.add(kind, severity, reason)
    trees = _parse(text, dialect)
    for tree in trees:
        _judge_trees(tree, text, notes, dialect, depth)
    for tokens in ways:
        scan_calls(tokens, notes)
        if trees:
            _second_opinion(tokens, notes)
    if not trees:
        _unparsed(text, ways, notes, dialect, depth)
    return notes


def _second_opinion(tokens: tuple[Token, ...], notes: Notes) -> None:
    """What reads like a destructive statement, and no tree has shown: then the parser has misread it."""
    found = Notes(notes.text)
    for piece in statements_of(tokens):
        scan(piece, found, anywhere=True)
    seen = {finding.kind for finding in notes.findings}
    for finding in found.findings:
        unseen = finding.kind not in seen and finding.kind in _UNDENIABLE
        if unseen or (finding.kind == "sql.delete.where" and not seen & _DELETES):
            notes.findings.append(finding)


_UNDENIABLE = frozenset(
    {"sql.drop", "sql.truncate", "sql.delete.all", "sql.update.all", "sql.shutdown", "sql.file", "sql.exec.program"}
)
_DELETES = frozenset({"sql.delete.all", "sql.delete.tautology", "sql.delete.where"})


def _judge_trees(trees: list[exp.Expr], text: str, notes: Notes, dialect: str, depth: int) -> None:
    """Each tree beside its own words. Where they do not match one to one, the words of all of them count for each."""

    def deeper(inner: str) -> Notes | None:
        return _inner(inner, dialect, depth)

    pieces = statements_of(words_of(text, backslash="\\" in text)) if len(trees) != 1 or ";" in text else []
    matched = len(pieces) == len(trees)
    for place, tree in enumerate(trees):
        own = text[pieces[place][0].start : pieces[place][-1].end] if matched else text
        here = Notes(own, deeper)
        judge_tree(tree, here)
        notes.take(here)
    for piece in () if matched or len(pieces) <= 1 else pieces:
        here = Notes(text[piece[0].start : piece[-1].end], deeper)
        judge(piece, here)
        notes.take(here)


def _inner(text: str, dialect: str, depth: int) -> Notes | None:
    """Read a literal that holds a statement; None for any other text."""
    tokens = words_of(text)
    lead = first_word(tokens)
    if len(tokens) < 2 or lead not in _STATEMENT_WORDS:  # noqa: PLR2004 - one word is no statement
        return None
    if depth >= _DEEPEST_TEXT:
        notes = Notes(text)
        notes.add("sql.unparsed.too_deep", CRITICAL, "statements are nested in literals too deep")
        return notes
    return _views(text, dialect, depth + 1)


_STATEMENT_WORDS = (
    (WRITING - {"INTO", "OUTFILE", "DUMPFILE", "INFILE"})
    | ASKED_LEADS.keys()
    | CHANGING_LEADS.keys()
    | {
        "BEGIN",
        "DECLARE",
        "SET",
        "SELECT",
        "WITH",
    }
)


def _parse(text: str, dialect: str) -> list[list[exp.Expr]]:
    """One list of statements for each dialect that reads the text; empty when none does."""
    if dialect:
        tree = _parse_as(text, dialect)
        return [tree] if tree is not None else []
    ambiguous = _AMBIGUOUS.search(_PLAIN_NAMES.sub("", text)) is not None
    found = []
    for name in (*FIRST_DIALECTS, *OTHER_READINGS) if ambiguous else FIRST_DIALECTS:
        tree = _parse_as(text, name)
        if tree is not None:
            found.append(tree)
            if not ambiguous and not _is_bare_command(tree):
                return found
    if found:
        return found
    for name in RARE_DIALECTS:
        tree = _parse_as(text, name)
        if tree is not None:
            return [tree]
    return []


def _is_bare_command(trees: list[exp.Expr]) -> bool:
    return any(isinstance(tree, exp.Command) for tree in trees)


@cache
def _dialect(name: str) -> Dialect:
    """The dialect of that name, made once: its parsers keep nothing between texts."""
    return Dialect.get_or_raise(name)


def _tokens(text: str, dialect: str) -> list[Any]:
    """The parser's tokens. A tokenizer forgets its last text; making one costs as much as its work on a short text."""
    own: dict[str, Any] = _OWN.__dict__
    if dialect not in own:
        own[dialect] = _dialect(dialect).tokenizer()
    tokens: list[Any] = own[dialect].tokenize(text)
    return tokens


_OWN = threading.local()
"""This thread's tokenizers, by dialect."""


def _parse_as(text: str, dialect: str) -> list[exp.Expr] | None:
    try:
        trees = _dialect(dialect).parser().parse(_tokens(text, dialect), text)
        return [tree for tree in trees if tree is not None and not isinstance(tree, exp.Semicolon)]
    except (SqlglotError, ValueError, AttributeError, TypeError, KeyError, IndexError, AssertionError):
        return None  # not this dialect; whatever no dialect reads is judged by its words


def _unparsed(text: str, ways: list[tuple[Token, ...]], notes: Notes, dialect: str, depth: int) -> None:
    """Judge each statement on its own, so that one strange one does not hide or condemn the others."""
    for tokens in ways:
        pieces = statements_of(tokens)
        if len(pieces) > MOST_STATEMENTS:
            notes.add("sql.unparsed.too_long", CRITICAL, f"holds more than {MOST_STATEMENTS} statements")
            return
        for piece in pieces:
            own = text[piece[0].start : piece[-1].end]
            trees = _parse(own, dialect) if len(pieces) > 1 else []
            here = Notes(own)
            if trees:
                for tree in trees:
                    _judge_trees(tree, own, here, dialect, depth)
                _second_opinion(piece, here)
            else:
                here.deeper = notes.deeper
                judge(piece, here)
                _injected(own, here, dialect, depth)
                for token in piece:
                    inner = _inner(token.text, dialect, depth) if token.sort == "string" else None
                    if inner is not None and first_word(piece) not in {"SELECT", "INSERT", "WITH", "VALUES"}:
                        here.take(inner)
            notes.take(here)


_CLIENT = (
    (
        Linear(
            flags="im",
            source=r"^\s*(?:\\!|\.(?:shell|system)\b)|\\(?:g|gx|o|w|copy\b[^\n|]{0,400})\s*\||\\copy\b[^\n]{0,400}\bprogram\b",
        ),
        "sql.exec.program",
        CRITICAL,
        "runs a program through the database's client",
    ),
    (Linear(r"\\gexec\b"), "sql.exec", CRITICAL, "runs every line of the result as a statement"),
    (
        Linear(
            flags="m",
            source=r"^\s*\.(?:read|import|output|once|excel|load|restore|backup|save|clone|open|archive)\b|^\s*\\(?:i|ir|o|w|copy|lo_\w+)\b",
        ),
        "sql.file",
        HIGH,
        "reads or writes a file through the database's client",
    ),
    (Linear(flags="i", source=r"\bU&[\"'][^\"']*\\"), "sql.injection.disguise", HIGH, "spells names with escapes"),
)
"""Commands of psql, mysql and sqlite3 themselves, which no SQL parser knows, and escapes that hide names."""

_INJECTION = (
    (
        Linear(flags="is", source=r"\bunion\b(?:\s|/\*(?:[^*]|\*+[^*/])*\*+/|\()+(?:all\s+|distinct\s+)?select\b"),
        "sql.injection.union",
    ),
    (
        Linear(flags="i", source=r"\bor\b\s*\(?\s*['\"]?(\w+)['\"]?\s*(?:=|like)\s*['\"]?(\w+)"),
        "sql.injection.tautology",
    ),
    (Linear(flags="i", source=r"^\s*[\w@.]*['\"]\s*\)*\s*(?:;|--|#|/\*|or\b|and\b|\|\|)"), "sql.injection.break_out"),
)


def _injected(text: str, notes: Notes, dialect: str, depth: int) -> None:
    reads = text.lstrip(" (\n\t").upper().startswith(("SELECT", "WITH", "FROM", "VALUES"))
    for pattern, kind in _INJECTION:
        if reads and kind == "sql.injection.union":
            continue
        if kind == "sql.injection.tautology":
            fits = any(match[1].lower() == match[2].lower() for match in pattern.finditer(text))
        else:
            fits = pattern.search(text) is not None
        if not fits:
            continue
        notes.add(kind, HIGH, "has the form of a text that is to be put into a statement")
        if kind == "sql.injection.break_out" and depth < _DEEPEST_TEXT:
            # As the statement around it would read it: its first quote closes a literal that is not here.
            notes.take(_views(re.sub("['\"]", " ; ", text, count=1), dialect, depth + 1))
