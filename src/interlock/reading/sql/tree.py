"""SQL judged by its syntax tree: every statement in it, wherever it hides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlglot import exp

from interlock.model.risk import RiskLevel
from interlock.reading.sql import vocabulary as known
from interlock.reading.sql.lexical import judge
from interlock.reading.sql.notes import Notes
from interlock.reading.sql.scan import drop_note
from interlock.reading.sql.truth import always, literal_tautology, never
from interlock.reading.sql.vocabulary import CRITICAL, HIGH, MEDIUM
from interlock.reading.sql.words import words_of


def judge_tree(root: exp.Expr, notes: Notes) -> None:
    """Note what the statement ``root`` and all statements in it do."""
    if not isinstance(root, _ROOTS):
        _words_of_all(root, notes)
    for node in root.walk():
        handler = _HANDLERS.get(type(node))
        if handler is not None:
            handler(node, notes)


def _select(node: Any, notes: Notes) -> None:
    notes.statements.append("select")
    into = node.args.get("into")
    if into is not None:
        notes.add("sql.create", MEDIUM, "writes the result into a new table or variable")
    source = node.args.get("from_") or node.args.get("from")
    table = source.this if source is not None else None
    if isinstance(table, exp.Table) and table.name.upper() in known.PASSWORD_TABLES.get(table.db.upper(), ()):
        named = {column.name.upper() for column in node.expressions}
        if node.is_star or named & known.PASSWORD_COLUMNS:
            notes.add("sql.credentials", HIGH, "reads the passwords of the database's own users")


def _describe(node: Any, notes: Notes) -> None:
    style = str(node.args.get("style") or "").upper()
    inner = node.this
    if inner is None or isinstance(inner, exp.Table):
        notes.statements.append("describe")
        return
    notes.statements.append("explain")
    if "ANALYZE" not in style:
        # Only explained: what the walk finds below is not run. The tree is cut here, and judged on its own.
        found = Notes(notes.text, notes.deeper)
        judge_tree(inner, found)
        node.set("this", None)
        for finding in found.findings:
            notes.add(finding.kind, min(finding.severity, MEDIUM), "is only explained, not run", finding.evidence)


def _table_names(node: exp.Expr) -> list[tuple[str, str]]:
    """(schema, name) of the tables that a writing statement names first."""
    this = node.this
    if isinstance(this, exp.Schema):
        this = this.this
    tables = [this, *node.args.get("tables", [])] if node.args.get("tables") else [this]
    return [(table.db.upper(), table.name.upper()) for table in tables if isinstance(table, exp.Table)]


def _catalogue(node: exp.Expr, notes: Notes) -> None:
    for schema, name in _table_names(node):
        if name in known.CATALOGUES or schema in known.CATALOGUE_SCHEMAS or (name.startswith("PG_") and not schema):
            notes.add("sql.catalogue_write", CRITICAL, f"writes into the database's own catalogue ({name.lower()})")


def _columns_set(node: exp.Expr) -> list[str]:
    return [
        part.this.name.upper()
        for part in node.args.get("expressions") or ()
        if isinstance(part, exp.EQ) and isinstance(part.this, exp.Column)
    ]


def _delete(node: Any, notes: Notes) -> None:
    notes.statements.append("delete")
    _catalogue(node, notes)
    _limited("delete", node, notes, HIGH)
    _auth_table(node, notes)


def _update(node: Any, notes: Notes) -> None:
    if isinstance(node.parent, exp.When):
        return
    notes.statements.append("update")
    _catalogue(node, notes)
    _limited("update", node, notes, MEDIUM)
    _auth_table(node, notes)
    if set(_columns_set(node)) & known.AUTH_COLUMNS:
        notes.add("sql.auth_table", HIGH, "changes a column that decides who may do what")


def _auth_table(node: exp.Expr, notes: Notes) -> None:
    if any(name in known.AUTH_TABLES for _, name in _table_names(node)):
        notes.add("sql.auth_table", HIGH, "changes a table that decides who may do what")


def _limited(verb: str, node: Any, notes: Notes, severity: RiskLevel) -> None:
    where = node.args.get("where")
    names = _table_names(node)
    table = names[0][1] if names else ""
    evidence = f"{verb.upper()} {table.lower()}"
    if where is None:
        notes.add(f"sql.{verb}.all", CRITICAL, f"{verb}s every row of a table: there is no WHERE", evidence)
    elif always(where.this, table):
        notes.add(f"sql.{verb}.tautology", CRITICAL, f"{verb}s every row: its WHERE is always true", evidence)
    else:
        low = MEDIUM if never(where.this) else severity
        notes.add(f"sql.{verb}.where", low, f"{verb}s the rows that match", f"{evidence} WHERE …")


def _insert(node: Any, notes: Notes) -> None:
    if isinstance(node.parent, exp.When):
        return
    notes.statements.append("insert")
    if isinstance(node.this, exp.Directory):
        notes.add("sql.file", HIGH, "writes files")
    _catalogue(node, notes)
    if isinstance(node.this, (exp.Anonymous, exp.Func)) or (
        isinstance(node.this, exp.Table) and isinstance(node.this.this, exp.Func)
    ):
        notes.add("sql.exfiltration", HIGH, "writes rows to another place than a table")
    if node.args.get("overwrite"):
        notes.add("sql.insert.overwrite", HIGH, "replaces the rows of a table or partition")
        return
    notes.add("sql.insert", MEDIUM, "adds rows")
    columns = {column.name.upper() for column in node.this.expressions} if isinstance(node.this, exp.Schema) else set()
    if any(name in known.AUTH_TABLES for _, name in _table_names(node)) or columns & known.AUTH_COLUMNS - {"PASSWORD"}:
        notes.add("sql.auth_table.insert", MEDIUM, "adds to a table that decides who may do what")


def _merge(node: Any, notes: Notes) -> None:
    notes.statements.append("merge")
    _catalogue(node, notes)
    removes = any(
        isinstance(when.args.get("then"), exp.Var) and when.args["then"].name.upper() == "DELETE"
        for when in node.find_all(exp.When)
    )
    if (
        not removes
        and always(node.args.get("on"))
        and any("UPDATE" in when.sql().upper() for when in node.find_all(exp.When))
    ):
        notes.add("sql.update.tautology", CRITICAL, "updates every row: the condition of its MERGE is always true")
    elif not removes:
        notes.add("sql.merge", MEDIUM, "adds and changes rows")
    elif always(node.args.get("on")):
        notes.add("sql.delete.tautology", CRITICAL, "deletes every row: the condition of its MERGE is always true")
    else:
        notes.add("sql.delete.where", HIGH, "deletes the rows that match")


def _create(node: Any, notes: Notes) -> None:
    what = str(node.args.get("kind") or "").upper()
    notes.statements.append(f"create_{what.lower().replace(' ', '_')}")
    _catalogue(node, notes)
    if what in {"FUNCTION", "PROCEDURE", "TRIGGER"}:
        language = node.find(exp.LanguageProperty)
        name = language.name.upper() if language is not None else ""
        if name in {"C", "INTERNAL"} or name.endswith(("PYTHONU", "PYTHON3U", "PERLU", "PLSH", "TCLU")):
            notes.add("sql.exec.program", CRITICAL, "puts native or untrusted code into the database")
        for literal in node.find_all(exp.Literal, exp.Heredoc, exp.RawString):
            _deeper(literal.name, notes)
    if node.args.get("replace") and what in {"TABLE", "DATABASE", "SCHEMA"}:
        notes.add("sql.create.replace", HIGH, "replaces a table, and what it holds, when it exists")
    else:
        notes.add("sql.create", MEDIUM, f"makes a new {what.lower() or 'object'}")


def _deeper(text: str, notes: Notes) -> None:
    inner = notes.deeper(text)
    if inner is not None:
        notes.take(inner)


def _drop(node: Any, notes: Notes) -> None:
    if isinstance(node.parent, exp.Alter):
        return
    what = str(node.args.get("kind") or "").upper()
    names = " ".join(table.name for table in node.args.get("tables") or () if isinstance(table, exp.Expr))
    drop_note("MATERIALIZED" if node.args.get("materialized") else what, f"DROP {what} {names}", notes)


def _truncate(_node: Any, notes: Notes) -> None:
    notes.statements.append("truncate")
    notes.add("sql.truncate", CRITICAL, "removes all rows")


def _alter(node: Any, notes: Notes) -> None:
    notes.statements.append(f"alter_{str(node.args.get('kind') or '').lower()}")
    _catalogue(node, notes)
    actions = node.args.get("actions") or []
    for action in actions:
        if isinstance(action, (exp.Drop, exp.DropPartition)) or type(action).__name__.startswith("Drop"):
            notes.add("sql.alter.drop", HIGH, "drops a part of a table, with its data")
        elif isinstance(action, exp.Command):
            judge(words_of(f"ALTER TABLE x {action.this} {action.args.get('expression') or ''}"), notes)
    named = {identifier.name.upper() for action in actions for identifier in action.find_all(exp.Identifier)}
    if named & known.AUTH_COLUMNS or any(name in known.AUTH_TABLES for _, name in _table_names(node)):
        notes.add("sql.auth_table", HIGH, "changes a table or column that decides who may do what")
    notes.add("sql.alter", MEDIUM, "changes the definition of a table")


def _grant(node: Any, notes: Notes) -> None:
    notes.statements.append("grant")
    everything = any(privilege.name.upper().startswith("ALL") for privilege in node.find_all(exp.GrantPrivilege))
    notes.add("sql.grant.all" if everything else "sql.grant", HIGH, "gives rights")


def _revoke(_node: Any, notes: Notes) -> None:
    notes.statements.append("revoke")
    notes.add("sql.grant.revoke", HIGH, "takes rights away")


def _by_words(node: Any, notes: Notes) -> None:
    """A statement that sqlglot only knows by its first word."""
    text = f"{node.this} {_text(node.args.get('expression'))}"
    for backslash in {False, "\\" in text}:
        tokens = words_of(text, backslash=backslash)
        judge(tokens, notes)
    for token in tokens:
        if token.sort == "string":
            _deeper(token.text, notes)


def _text(value: object) -> str:
    return value.name if isinstance(value, exp.Literal) else str(value or "")


def _words_of_all(_node: Any, notes: Notes) -> None:
    """A statement whose words say more than its tree does: SET, PRAGMA, COPY, EXEC, ATTACH, LOAD."""
    tokens = words_of(notes.text)
    judge(tokens, notes)
    for token in tokens:
        if token.sort == "string":
            _deeper(token.text, notes)


def _named(statement: str) -> Callable[[Any, Notes], None]:
    def handler(_node: Any, notes: Notes) -> None:
        notes.statements.append(statement)

    return handler


def _noted(statement: str, reason: str) -> Callable[[Any, Notes], None]:
    def handler(_node: Any, notes: Notes) -> None:
        notes.statements.append(statement)
        notes.add(f"sql.{statement}", MEDIUM, reason)

    return handler


def _kill(_node: Any, notes: Notes) -> None:
    notes.statements.append("kill")
    notes.add("sql.admin", HIGH, "ends another session")


def _or(node: Any, notes: Notes) -> None:
    if literal_tautology(node.this) or literal_tautology(node.expression):
        notes.add(
            "sql.injection.tautology", HIGH, "a condition is made true for every row, as injections do", "OR x = x"
        )


def _union(node: Any, notes: Notes) -> None:
    if not isinstance(node.this.unnest(), (exp.Query, exp.Values)):
        notes.add(
            "sql.injection.union", HIGH, "continues a statement that is not there, as injections do", "… UNION SELECT"
        )
    right = node.expression
    columns = right.expressions if isinstance(right, exp.Select) else []
    commented = any(mark in notes.text for mark in ("--", "#", "/*"))
    if (
        commented
        and len(columns) > 1
        and all(isinstance(column, exp.Null) for column in columns)
        and right.args.get("from_") is None
    ):
        notes.add(
            "sql.injection.union", HIGH, "probes for the number of columns, as injections do", "UNION SELECT NULL, …"
        )


Handler = Callable[[Any, Notes], None]

_HANDLERS: dict[type[exp.Expr], Handler] = {
    exp.Select: _select,
    exp.Values: _named("values"),
    exp.Describe: _describe,
    exp.Delete: _delete,
    exp.Update: _update,
    exp.Insert: _insert,
    exp.Merge: _merge,
    exp.Create: _create,
    exp.Drop: _drop,
    exp.TruncateTable: _truncate,
    exp.Alter: _alter,
    exp.Grant: _grant,
    exp.Revoke: _revoke,
    exp.Command: _by_words,
    exp.Set: _words_of_all,
    exp.Pragma: _words_of_all,
    exp.Copy: _words_of_all,
    exp.Execute: _words_of_all,
    exp.Attach: _words_of_all,
    exp.LoadData: _words_of_all,
    exp.Export: _words_of_all,
    exp.Kill: _kill,
    exp.Or: _or,
    exp.Union: _union,
    exp.Show: _named("show"),
    exp.Use: _named("use"),
    exp.Transaction: _named("transaction"),
    exp.Commit: _named("transaction"),
    exp.Rollback: _named("transaction"),
    exp.Declare: _named("cursor"),
    exp.Comment: _noted("maintenance", "changes a comment"),
    exp.Analyze: _noted("maintenance", "collects statistics"),
    exp.Cache: _named("maintenance"),
    exp.Uncache: _named("maintenance"),
    exp.Refresh: _named("maintenance"),
    exp.Detach: _words_of_all,
}

_ROOTS = (
    exp.Query,
    exp.Values,
    *(kind for kind in _HANDLERS if kind not in {exp.Or, exp.Union}),
    *(
        getattr(exp, name)
        for name in ("IfBlock", "WhileBlock", "Block", "EndStatement", "Summarize", "Pivot")
        if hasattr(exp, name)
    ),
)
