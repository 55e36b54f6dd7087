"""Database clients: the SQL that they are given is handed to the SQL reader."""

from __future__ import annotations

import re

from interlock.model.risk import RiskLevel
from interlock.reading.shell import holes
from interlock.reading.shell.machine import Machine
from interlock.reading.shell.registry import handles
from interlock.reading.shell.state import Call

_CLIENTS: dict[str, tuple[str, tuple[str, ...], int]] = {
    # program: (dialect in sqlglot's words, options that carry a statement, first positional statement or -1)
    "psql": ("postgres", ("-c", "--command"), -1),
    "mysql": ("mysql", ("-e", "--execute"), -1),
    "sqlite3": ("sqlite", ("-cmd",), 1),
    "sqlite": ("sqlite", (), 1),
    "duckdb": ("duckdb", ("-c", "-s", "-cmd"), 1),
    "clickhouse-client": ("clickhouse", ("-q", "--query", "--multiquery"), -1),
    "sqlcmd": ("tsql", ("-Q", "-q"), -1),
    "bq": ("bigquery", (), 1),
    "snowsql": ("snowflake", ("-q", "--query"), -1),
    "snow": ("snowflake", ("-q", "--query"), -1),
    "trino": ("trino", ("--execute",), -1),
    "presto": ("presto", ("--execute",), -1),
    "hive": ("hive", ("-e",), -1),
    "beeline": ("hive", ("-e",), -1),
    "spark-sql": ("spark", ("-e",), -1),
    "impala-shell": ("hive", ("-q", "--query"), -1),
    "cqlsh": ("", ("-e", "--execute"), -1),
    "cockroach": ("postgres", ("-e", "--execute"), -1),
    "usql": ("", ("-c", "--command"), -1),
    "isql": ("", (), -1),
    "sqlplus": ("oracle", (), -1),
    "pgcli": ("postgres", (), -1),
    "mycli": ("mysql", ("-e", "--execute"), -1),
    "litecli": ("sqlite", ("-e", "--execute"), -1),
    "turso": ("sqlite", (), 3),
    "wrangler": ("sqlite", ("--command",), -1),
}
_FILES = ("-f", "--file", "-i", "-init", "--init-file", "--queries-file")
_DANGEROUS = re.compile(
    r"(?i)\b(?:drop|truncate|delete|alter|grant|revoke|update|insert|replace|shutdown|copy|load|outfile|attach|exec|call)\b"
)


@handles(*_CLIENTS)
def client(machine: Machine, call: Call) -> str:
    """Statements in options, in arguments and on standard input."""
    dialect, options, first = _CLIENTS[call.name]
    statements: list[str] = []
    args = call.args
    for place, arg in enumerate(args):
        following = args[place + 1] if place + 1 < len(args) else ""
        for option in options:
            if arg == option or (re.fullmatch(r"-\w+", arg) and option[1] in "ceq" and arg.endswith(option[1:])):
                statements.append(following)
            elif option.startswith("--") and arg.startswith(option + "="):
                statements.append(arg.partition("=")[2])
            elif len(option) == 2 and len(arg) > 2 and arg.startswith(option) and arg[2] != "-":  # noqa: PLR2004 - attached
                statements.append(arg[2:])
        if arg in _FILES or arg.startswith("--file="):
            path = following if arg in _FILES else arg.partition("=")[2]
            statements.extend(_file(machine, call, path))
    if first >= 0 and (call.name != "bq" or "query" in call.form.words):
        statements.extend(call.form.words[first:])
    if not statements and call.stdin is not None:
        statements.append(call.stdin)
    for text in dict.fromkeys(statements):
        judge_sql(machine, call, text, dialect)
    return holes.OUTPUT


def _file(machine: Machine, call: Call, path: str) -> list[str]:
    content = machine.written(path)
    if path == "-":
        return [call.stdin or holes.OUTPUT]
    if content is not None:
        return [content]
    machine.report(
        "shell.opaque.sql", RiskLevel.MEDIUM, call.text, "The statements stand in a file that is not visible here."
    )
    return []


def judge_sql(machine: Machine, call: Call, text: str, dialect: str) -> None:
    """Hand statements to the SQL reader; what a client itself would run goes to the shell."""
    lines = []
    for line in text.split("\n"):
        meta = line.strip()
        if re.match(r"^(?:\\!|\.(?:shell|system)\b|system\s|!\s*\w)", meta):
            command = re.sub(r"^(?:\\!|\.(?:shell|system)|system|!)\s*", "", meta)
            machine.report(
                "shell.escape.command", RiskLevel.MEDIUM, call.text, f"{call.name} would run a command of its own."
            )
            if re.fullmatch(r"(?:\S*/)?(?:ba|z|da)?sh", command.strip()) or not command.strip():
                machine.report("shell.escape", RiskLevel.HIGH, call.text, f"{call.name} would open a shell.")
            else:
                machine.run_inside(command)
        elif meta.startswith(("\\", ".")) and call.name in {
            "psql",
            "sqlite3",
            "sqlite",
            "duckdb",
            "pgcli",
            "usql",
            "mysql",
        }:
            _meta(machine, call, meta)
        else:
            lines.append(line)
    statement = "\n".join(lines).strip()
    if not statement:
        return
    if not re.sub(r"[\x00-\x03\s]", "", statement):
        machine.report(
            "shell.unresolved.sql", RiskLevel.HIGH, call.text, "Which statements run is only known when they run."
        )
        return
    if holes.open_in(statement):
        level = RiskLevel.HIGH if holes.DOWNLOAD in statement else RiskLevel.MEDIUM
        machine.report("shell.unresolved.sql", level, call.text, "A part of the statement is only known when it runs.")
        statement = re.sub(r"[\x00-\x03]+", "1", statement)
    if machine.sql is not None:
        machine.include(machine.sql(statement, dialect))
    else:
        level = RiskLevel.HIGH if _DANGEROUS.search(statement) else RiskLevel.MEDIUM
        machine.report("shell.unresolved.sql", level, call.text, "The statement is not read here.")


def _meta(machine: Machine, call: Call, meta: str) -> None:
    if re.search(r"(?i)\bprogram\b|\|\s*\w|^\\o\s*\||^\\g\s*\||^\.(?:output|once|excel|import)\s+['\"]?\|", meta):
        command = re.search(r"(?:program\s+|\|\s*)['\"]?([^'\"]+)", meta, re.IGNORECASE)
        machine.report(
            "shell.escape.command", RiskLevel.HIGH, call.text, f"{call.name} would run a command of its own."
        )
        if command is not None:
            machine.run_inside(command[1])
    elif re.match(r"^(?:\\i|\\ir|\.read|\\\.|\.load)\b", meta):
        machine.report(
            "shell.opaque.sql", RiskLevel.MEDIUM, call.text, "The statements stand in a file that is not visible here."
        )
