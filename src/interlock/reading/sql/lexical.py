"""SQL judged by its words alone: for what no parser reads, and as a second opinion on what one did."""

from __future__ import annotations

import re
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
        begin = _BEGINNINGS.get(token.text)
        begun += begin is not None
        if begun > MOST_BEGINNINGS:
            notes.add("sql.unparsed.too_long", CRITICAL, "holds too many statements without a semicolon to be read")
            return
        if begin is not None and (anywhere or token.text in _UNMISTAKABLE or _can_begin(tokens, place)):
            begin(tokens, place, notes)


def scan_calls(tokens: Words, notes: Notes) -> None:
    """Note every call of a function that leaves the database, by name."""
    for place, token in enumerate(tokens):
        if token.sort not in {Sort.WORD, Sort.QUOTED}:
            if token.sort is Sort.STRING and token.text.lower() == "xp_cmdshell":
                _note_call(known.FUNCTIONS["XP_CMDSHELL"], token, notes)
            continue
        name = token.text.upper()
        follows = _text(tokens, place + 1)
        seen = known.FUNCTIONS.get(name)
        if seen is not None and (follows == "(" or name.startswith(("XP_", "SP_"))):
            if name not in {"EXTRACTVALUE", "UPDATEXML"} or _carries_data(tokens, place):
                _note_call(seen, token, notes)
            if seen[0] == "sql.exec":
                _inside(tokens[place + 1 : place + 8], notes)
        elif name in known.PACKAGES and follows == ".":
            _note_call(known.PACKAGES[name], token, notes)
        elif name in known.FILE_READERS and follows == "(" and _sort(tokens, place + 2) is Sort.STRING:
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


def judge(tokens: Words, notes: Notes) -> None:
    """One statement that no parser understood (or only as a bare command), judged by its words."""
    lead = first_word(tokens)
    before = len(notes.findings)
    if lead == "EXPLAIN":
        _explain(tokens, notes)
        return
    scan(tokens, notes, anywhere=True)
    _scan_settings(tokens, notes)
    if lead in known.ASKED_LEADS:
        _asked(lead, tokens, notes)
    elif lead in known.READ_LEADS:
        notes.statements.append({"SHOW": "show", "DESC": "describe", "DESCRIBE": "describe"}.get(lead, "select"))
        if lead not in {"SHOW", "DESC", "DESCRIBE", "HELP"}:
            _read(tokens, notes, before)
    elif lead in known.NOTED_LEADS:
        notes.statements.append(known.NOTED_LEADS[lead])
        _read(tokens, notes, before)
    elif lead in known.CHANGING_LEADS:
        _changing(lead, tokens, notes)
    elif lead in {"SET", "PRAGMA"}:
        notes.statements.append(lead.lower())
    elif lead in _BEGINNINGS and len(notes.findings) > before:
        pass
    else:
        _not_understood(tokens, notes)


def _not_understood(tokens: Words, notes: Notes) -> None:
    notes.statements.append("unknown")
    words = {token.text for token in tokens if token.sort is Sort.WORD}
    severity = CRITICAL if words & known.DESTRUCTIVE else HIGH
    notes.add("sql.unknown_root", severity, "is no statement that is known to be harmless")


_BEFORE_NAMES = frozenset(words("SELECT DISTINCT BY AND OR NOT WHERE ON , ( = < > + - * /"))
_AFTER_NAMES = frozenset(words("FROM AND OR IS IN AS ASC DESC , ) = < > + - * /")) | {""}


def _read(tokens: Words, notes: Notes, before: int) -> None:
    """A statement whose first word reads: any writing word in it makes it a question."""
    for place, token in enumerate(tokens):
        if token.sort is not Sort.WORD or token.text not in known.WRITING:
            continue
        if token.text == "UPDATE" and _text(tokens, place - 1) in {"FOR", "KEY"}:
            continue
        before_it, after_it = _text(tokens, place - 1), _text(tokens, place + 1)
        if before_it in {"AS", "."} or after_it == "." or (before_it in _BEFORE_NAMES and after_it in _AFTER_NAMES):
            continue  # a name
        if len(notes.findings) == before:
            notes.add("sql.unparsed", HIGH, f"could not be read, and holds the word {token.text}")
        return


def _explain(tokens: Words, notes: Notes) -> None:
    """Judge what EXPLAIN explains; only ANALYZE runs it."""
    place = 1
    runs = False
    while place < len(tokens):
        text = tokens[place].text
        if text == "(":
            closing = next((i for i in range(place, len(tokens)) if tokens[i].text == ")"), len(tokens) - 1)
            inside = [token.text for token in tokens[place:closing]]
            if "SELECT" in inside or "WITH" in inside:
                break
            runs = runs or bool({"ANALYZE", "ANALYSE"} & set(inside))
            place = closing
        elif text in {"ANALYZE", "ANALYSE"}:
            runs = True
        elif text in _STARTS:
            break
        place += 1
    notes.statements.append("explain")
    inner = Notes(notes.text)
    if place < len(tokens):
        judge(tokens[place:], inner)
    if runs:
        notes.take(inner)
        return
    for finding in inner.findings:
        notes.add(finding.kind, min(finding.severity, MEDIUM), "is only explained, not run", finding.evidence)


def _asked(lead: str, tokens: Words, notes: Notes) -> None:
    kind_of_statement, kind, reason = known.ASKED_LEADS[lead]
    texts = [token.text for token in tokens]
    second = texts[1] if len(texts) > 1 else ""
    if lead == "ALTER":
        kind_of_statement = f"alter_{second.lower()}" if second.isidentifier() else "alter"
        _alter(texts, notes)
        if second in {"TABLE", "VIEW", "INDEX", "SEQUENCE", "MATERIALIZED"} and not known.ALTER_ASKED & set(texts[2:]):
            notes.statements.append(kind_of_statement)
            notes.add("sql.alter", MEDIUM, "changes a definition")
            return
    elif lead == "COPY":
        _copy(tokens, notes)
    elif lead == "LOAD" and "SELECT" in texts[:2]:
        reason = "reads a file into a table"
    elif lead == "DBCC" and second in {"CHECKDB", "OPENTRAN", "SHOW_STATISTICS", "CHECKTABLE"}:
        notes.statements.append("admin")
        return
    notes.statements.append(kind_of_statement)
    for token in tokens:
        if token.sort is Sort.STRING and lead in {
            "COPY",
            "ATTACH",
            "LOAD",
            "BACKUP",
            "RESTORE",
            "EXPORT",
            "IMPORT",
            "UNLOAD",
        }:
            notes.target(token.text)
    if lead == "GRANT" and "ALL" in texts[:3]:
        kind = "sql.grant.all"
    if lead == "COPY" and not _copies_a_server_file(tokens):
        notes.add("sql.copy", MEDIUM, "moves data between a table and a client or a store")
        return
    notes.add(kind, HIGH, reason)


def _alter(texts: list[str], notes: Notes) -> None:
    line = " ".join(texts)
    if re.search(r"\bDISABLE (?:TRIGGER|RULE|ROW LEVEL|CONSTRAINT|KEYS)|\bNOCHECK CONSTRAINT|\bNO FORCE ROW", line):
        notes.add("sql.protection.off", HIGH, "switches triggers, rules or row-level security off")
    if len(texts) > 1 and texts[1] in {"USER", "ROLE", "LOGIN", "GROUP", "SERVER", "AUTHORIZATION"}:
        notes.add("sql.auth_table", HIGH, "changes who may log in or what they may do")
    if len(texts) > 1 and texts[1] == "SYSTEM":
        notes.add("sql.admin", HIGH, "changes the server's settings")


def _copy(tokens: Words, notes: Notes) -> None:
    for place, token in enumerate(tokens):
        if token.text == "PROGRAM" and token.sort is Sort.WORD and _text(tokens, place - 1) in {"TO", "FROM"}:
            notes.add("sql.copy_program", CRITICAL, "runs a program on the database's machine")


def _copies_a_server_file(tokens: Words) -> bool:
    return any(
        token.sort is Sort.STRING
        and _text(tokens, place - 1) in {"FROM", "TO"}
        and "://" not in token.text
        and not token.text.startswith("@")
        and _text(tokens, 1) != "INTO"
        for place, token in enumerate(tokens)
    )


def _changing(lead: str, tokens: Words, notes: Notes) -> None:
    texts = [token.text for token in tokens]
    kind = known.CHANGING_LEADS[lead]
    if lead == "CREATE":
        _create(texts, notes)
        return
    notes.statements.append(kind)
    if lead == "MERGE" and "DELETE" in texts:
        notes.add("sql.delete.where", HIGH, "deletes the rows that match")
    if lead == "VACUUM" and "INTO" in texts:
        notes.add("sql.file", HIGH, "writes the database to a file")
        return
    if lead == "DETACH" and {"PERMANENTLY", "DELETE"} & set(texts):
        notes.add("sql.unknown_root", HIGH if "DELETE" not in texts else CRITICAL, "takes data out of reach")
        return
    if lead == "INSERT" and "DIRECTORY" in texts[:4]:
        notes.add("sql.file", HIGH, "writes files")
        return
    notes.add(f"sql.{kind}", MEDIUM, "adds rows or tidies up")


_CREATED = re.compile(
    r"CREATE (?:OR (?:REPLACE|ALTER|REFRESH) )?(?:(?:GLOBAL|LOCAL|TEMPORARY|TEMP|UNLOGGED|EXTERNAL|UNIQUE|CLUSTERED|"
    r"NONCLUSTERED|MATERIALIZED|FOREIGN|TRANSIENT|RECURSIVE|SECURE|PUBLIC|CONSTRAINT|TRUSTED|FULLTEXT|SPATIAL|VIRTUAL|"
    r"COLUMNSTORE|BITMAP|HYBRID|DYNAMIC|ICEBERG) )*([A-Z_]+)"
)
_CREATED_ASKED: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        ("USER", "ROLE", "LOGIN", "GROUP", "CREDENTIAL"), ("sql.auth_table", "makes somebody who may log in")
    ),
    **dict.fromkeys(("SERVER", "SUBSCRIPTION", "PUBLICATION"), ("sql.network", "connects the database with another")),
    **dict.fromkeys(("ASSEMBLY", "LIBRARY", "LANGUAGE", "ALIAS"), ("sql.exec", "loads code into the database")),
    **dict.fromkeys(("RULE", "EVENT", "JOB"), ("sql.exec", "runs later, or instead of other statements")),
}


def _create(texts: list[str], notes: Notes) -> None:
    line = " ".join(texts[:12])
    match = _CREATED.match(line)
    what = match[1] if match else ""
    notes.statements.append(f"create_{what.lower()}" if what else "create")
    everything = set(texts)
    if what == "ALIAS" or (what in {"FUNCTION", "PROCEDURE"} and everything & _UNTRUSTED_LANGUAGES):
        notes.add("sql.exec.program", CRITICAL, "puts native or untrusted code into the database")
    elif what in _CREATED_ASKED:
        kind, reason = _CREATED_ASKED[what]
        notes.add(kind, HIGH, reason)
    elif what == "EXTENSION" and {text.upper() for text in texts} & _DANGEROUS_EXTENSIONS:
        notes.add("sql.exec", HIGH, "lets the database reach files, programs or other machines")
    else:
        notes.add("sql.create", MEDIUM, "makes a new object")


_UNTRUSTED_LANGUAGES = words("C PLPYTHONU PLPYTHON3U PLPERLU PLSH PLTCLU PLJAVAU INTERNAL SONAME")
_DANGEROUS_EXTENSIONS = words(
    "DBLINK FILE_FDW POSTGRES_FDW ADMINPACK PLPYTHONU PLPYTHON3U PLPERLU PLSH HTTP PG_CRON AWS_S3"
)


def _scan_settings(tokens: Words, notes: Notes) -> None:
    """SET and PRAGMA, by words: global settings, and those that switch a protection off."""
    texts = [token.text.upper() for token in tokens]
    if not texts or texts[0] not in {"SET", "PRAGMA", "ALTER"}:
        return
    if texts[0] == "PRAGMA" and "WRITABLE_SCHEMA" in texts:
        notes.add("sql.catalogue_write", HIGH, "makes the catalogue itself writable")
    for place, text in enumerate(texts):
        off = known.PROTECTION_SETTINGS.get(text)
        if off and any(value in off for value in texts[place + 1 : place + 4]):
            notes.add("sql.protection.off", HIGH, f"switches {text.lower()} off")
    if texts[0] == "SET":
        _set(texts, notes)


def _set(texts: list[str], notes: Notes) -> None:
    line = " ".join(texts)
    if re.match(r"SET (?:GLOBAL|PERSIST|PERSIST_ONLY|@ ?@ ?(?:GLOBAL|PERSIST))\b(?! TRANSACTION)", line):
        notes.add("sql.set.global", HIGH, "changes the server's settings for everybody")
    elif re.match(r"SET (?:LOCAL |SESSION )?(?:ROLE|AUTHORIZATION|SESSION AUTHORIZATION)\b", line):
        notes.add("sql.set.role", HIGH, "acts with another role's rights")
    elif re.match(r"SET (?:DEFAULT ROLE|PASSWORD)\b", line):
        notes.add("sql.auth_table", HIGH, "changes who may log in or what they may do")


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


def _text(tokens: Words, place: int) -> str:
    return tokens[place].text if 0 <= place < len(tokens) else ""


def _sort(tokens: Words, place: int) -> Sort | None:
    return tokens[place].sort if 0 <= place < len(tokens) else None


def _rest(tokens: Words, place: int) -> Words:
    """From ``place`` to the end of the statement."""
    for end in range(place, len(tokens)):
        if tokens[end].text == ";" and tokens[end].sort is Sort.MARK:
            return tokens[place:end]
    return tokens[place:]


def _drop(tokens: Words, place: int, notes: Notes) -> None:
    follows = _text(tokens, place + 1)
    lead = first_word(tokens)
    if lead == "ALTER" and place > 0:
        notes.add("sql.alter.drop", HIGH, "drops a part of a table, with its data")
        return
    if follows not in known.OBJECTS and not (place == 0 and _sort(tokens, place + 1) in {Sort.WORD, Sort.QUOTED}):
        return
    if lead in {"GRANT", "REVOKE", "DENY"}:
        return
    what = follows
    if what in {"MATERIALIZED", "TEMPORARY", "TEMP", "EXTERNAL", "FOREIGN", "GLOBAL", "UNIQUE", "CONCURRENTLY"}:
        what = _text(tokens, place + 2) if what != "FOREIGN" else "TABLE"
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
    follows = _text(tokens, place + 1)
    if place > 0 and (follows == "(" or first_word(tokens) in {"GRANT", "REVOKE", "DENY", "ALTER"}):
        if first_word(tokens) == "ALTER" and follows != "(":
            notes.add("sql.truncate", CRITICAL, "removes all rows of a partition")
        return
    if follows == "TABLE" or place == 0 or _can_begin(tokens, place):
        notes.statements.append("truncate")
        notes.add("sql.truncate", CRITICAL, "removes all rows")


def _delete(tokens: Words, place: int, notes: Notes) -> None:
    follows, before = _text(tokens, place + 1), _text(tokens, place - 1)
    if before in _BEFORE_NAMES | {"AS", "."} and first_word(tokens) in {"SELECT", "FROM"}:
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
    before = _text(tokens, place - 1)
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
    if _text(tokens, place - 1) in {"AS", ".", ","} or _text(tokens, place + 1) not in {
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
    if _text(tokens, place + 1) in {"OUTFILE", "DUMPFILE"}:
        if _sort(tokens, place + 2) is Sort.STRING:
            notes.target(tokens[place + 2].text)
        notes.add("sql.file", HIGH, "writes a file on the database's machine")


def _library(tokens: Words, place: int, notes: Notes) -> None:
    if _sort(tokens, place + 1) is Sort.STRING:
        notes.add("sql.exec.program", CRITICAL, "loads a library into the database")


_BEGINNINGS: dict[str, Callable[[Words, int, Notes], None]] = {
    "DROP": _drop,
    "TRUNCATE": _truncate,
    "DELETE": _delete,
    "UPDATE": _update,
    "SHUTDOWN": _shutdown,
    "INTO": _outfile,
    "SONAME": _library,
}
_STARTS = (
    known.READ_LEADS
    | known.NOTED_LEADS.keys() - {"ANALYZE", "ANALYSE"}
    | known.CHANGING_LEADS.keys()
    | known.ASKED_LEADS.keys()
    | _BEGINNINGS.keys() - {"INTO", "SONAME"}
) - {"TABLE", "FROM", "FOR", "EXPLAIN"}

__all__ = ["drop_note", "first_word", "judge", "scan", "scan_calls"]
