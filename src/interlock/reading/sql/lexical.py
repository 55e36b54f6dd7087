"""One SQL statement judged by its words: for what no parser reads, or only as a bare command."""

from __future__ import annotations

import re

from interlock.reading.sql import vocabulary as known
from interlock.reading.sql.notes import Notes
from interlock.reading.sql.scan import AFTER_NAMES, BEFORE_NAMES, BEGINNINGS, Words, first_word, scan, text_at
from interlock.reading.sql.vocabulary import CRITICAL, HIGH, MEDIUM, words
from interlock.reading.sql.words import Sort


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
    elif lead in BEGINNINGS and len(notes.findings) > before:
        pass
    else:
        _not_understood(tokens, notes)


def _not_understood(tokens: Words, notes: Notes) -> None:
    notes.statements.append("unknown")
    words = {token.text for token in tokens if token.sort is Sort.WORD}
    severity = CRITICAL if words & known.DESTRUCTIVE else HIGH
    notes.add("sql.unknown_root", severity, "is no statement that is known to be harmless")


def _read(tokens: Words, notes: Notes, before: int) -> None:
    """A statement whose first word reads: any writing word in it makes it a question."""
    for place, token in enumerate(tokens):
        if token.sort is not Sort.WORD or token.text not in known.WRITING:
            continue
        if token.text == "UPDATE" and text_at(tokens, place - 1) in {"FOR", "KEY"}:
            continue
        before_it, after_it = text_at(tokens, place - 1), text_at(tokens, place + 1)
        if before_it in {"AS", "."} or after_it == "." or (before_it in BEFORE_NAMES and after_it in AFTER_NAMES):
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
    elif (lead == "REINDEX" and "CONCURRENTLY" in texts) or (
        lead == "DBCC" and second in {"CHECKDB", "OPENTRAN", "SHOW_STATISTICS", "CHECKTABLE"}
    ):
        notes.statements.append(kind_of_statement)
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
    if lead == "COPY" and (_copies_out(tokens) or not _copies_a_server_file(tokens)):
        _copied(tokens, notes)
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
        if token.text == "PROGRAM" and token.sort is Sort.WORD and text_at(tokens, place - 1) in {"TO", "FROM"}:
            notes.add("sql.copy_program", CRITICAL, "runs a program on the database's machine")


def _copied(tokens: Words, notes: Notes) -> None:
    if _copies_out(tokens):
        notes.add("sql.exfiltration", HIGH, "writes what the database holds to another place")
    else:
        notes.add("sql.copy", MEDIUM, "moves data between a table and a client or a store")


def _copies_out(tokens: Words) -> bool:
    """``COPY INTO 's3://…' FROM t``, ``COPY t TO 's3://…'``: rows leave for an address."""
    return any(
        token.sort is Sort.STRING
        and "://" in token.text
        and (text_at(tokens, place - 1) == "TO" or (place == 2 and text_at(tokens, 1) == "INTO"))  # noqa: PLR2004 - COPY INTO place
        for place, token in enumerate(tokens)
    )


def _copies_a_server_file(tokens: Words) -> bool:
    return any(
        token.sort is Sort.STRING
        and text_at(tokens, place - 1) in {"FROM", "TO"}
        and "://" not in token.text
        and not token.text.startswith("@")
        and text_at(tokens, 1) != "INTO"
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
    if lead == "VACUUM" and {"FULL", "RETAIN"} & set(texts):
        what = "rewrites a table while others wait" if "FULL" in texts else "removes the history of a table"
        notes.add("sql.maintenance.locking", HIGH, what)
        return
    if lead == "REPLACE" and "SELECT" in texts:
        notes.add("sql.insert.overwrite", HIGH, "replaces every row that is there already")
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
    **dict.fromkeys(
        ("SERVER", "SUBSCRIPTION", "PUBLICATION", "LINK"), ("sql.network", "connects the database with another")
    ),
    **dict.fromkeys(("ASSEMBLY", "LIBRARY", "LANGUAGE", "ALIAS"), ("sql.exec", "loads code into the database")),
    "DIRECTORY": ("sql.file", "opens a directory of the machine to the database"),
    **dict.fromkeys(("RULE", "EVENT", "JOB"), ("sql.exec", "runs later, or instead of other statements")),
}


def _create(texts: list[str], notes: Notes) -> None:
    line = " ".join(texts[:12])
    match = _CREATED.match(line)
    what = match[1] if match else ""
    if what == "DATABASE" and "LINK" in texts[:5]:
        what = "LINK"
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


_STARTS = (
    known.READ_LEADS
    | known.NOTED_LEADS.keys() - {"ANALYZE", "ANALYSE"}
    | known.CHANGING_LEADS.keys()
    | known.ASKED_LEADS.keys()
    | BEGINNINGS.keys() - {"INTO", "SONAME"}
) - {"TABLE", "FROM", "FOR", "EXPLAIN"}
