"""Which kind of tool a name means, and what a bare argument looks like."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache

import re2


class Kind(StrEnum):
    """Tools whose main argument is a language that we read."""

    SHELL = "shell"
    SQL = "sql"
    EDIT = "edit"
    READ = "read"
    HTTP = "http"


# The words of agents in use (Claude Code, Codex, Gemini, Copilot, Cursor, Cline, Goose), without case and punctuation.
_NAMES: dict[Kind, str] = {
    Kind.SHELL: "bash shell sh zsh terminal console exec execcommand executecommand executebash executeshell runcommand"
    " runinterminal runterminalcmd runterminalcommand runshellcommand runshell runbash localshell shellcommand containerexec"
    " computerbash shellexec bashtool shelltool commandline developershell unifiedexec",
    Kind.SQL: "sql query executesql runsql sqlquery runquery executequery readquery writequery querydatabase databasequery"
    " pgquery postgresquery mysqlquery sqlitequery sqlexecute dbquery psql",
    Kind.EDIT: "edit write multiedit replace applypatch writefile writetofile createfile editfile strreplaceeditor"
    " strreplacebasededittool strreplace insertedit inserteditintofile replaceinfile notebookedit patch applydiff searchreplace"
    " texteditor appendfile overwritefile savefile",
    Kind.READ: "read readfile readmanyfiles readfiles viewfile view openfile cat getfilecontents fileread glob ls list"
    " listdirectory listdir listfiles grep searchfiles searchfilecontent",
    Kind.HTTP: "http webfetch fetch httprequest httpget httppost curl request fetchurl urlfetch openurl browsernavigate navigate",
}
_LONGEST_NAME = 200
_KINDS = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_DATABASES = re.compile(
    r"postgres|\bpg\b|mysql|maria|sqlite|mssql|sqlserver|oracle|snowflake|bigquery|redshift|duckdb|clickhouse|database|\bdb\b|supabase"
    r"|cockroach|trino|databricks|neon|planetscale"
)
_QUERY_WORDS = re.compile(r"query|sql|execute|statement|select|\brun\b")
_WRITING = re.compile(
    r"writ|edit|creat|delet|remov|move|renam|copy|save|upload|put|set|updat|append|replace|patch|mkdir|trunc|insert|store"
)


def tool_kind(tool: str) -> Kind | None:
    """What a tool's name means, None when it means nothing to us. ``mcp__server__tool`` is read from its end."""
    return _kind(tool) if len(tool) <= _LONGEST_NAME else None


@lru_cache(maxsize=4096)
def _kind(tool: str) -> Kind | None:
    words = [word for word in re.split(r"__|[./:]", tool.lower()) if word]
    if not words:
        return None
    own = re.sub(r"[^a-z0-9]", "", words[-1])
    around = " ".join(words[:-1]).replace("_", " ").replace("-", " ")
    if around and _DATABASES.search(around) and _QUERY_WORDS.search(own):
        return Kind.SQL
    if around and own == "query":
        return None  # a query to whatever that server is; it is read as what it looks like
    return _KINDS.get(own)


def writes(tool: str, kind: Kind | None) -> bool:
    """Whether a tool is taken to change the paths that it is given."""
    if kind in {Kind.READ, Kind.SQL, Kind.HTTP}:
        return False
    return kind is Kind.EDIT or len(tool) > _LONGEST_NAME or _writes(tool)


@lru_cache(maxsize=4096)
def _writes(tool: str) -> bool:
    return bool(_WRITING.search(tool.lower()))


# English says "update the docs" and "select a file" too: a second word of the grammar must follow.
_SQL = re2.compile(
    r"(?is)^(?:\s|\(|;|--[^\n]*\n|/\*.*?\*/)*(?:"
    r"select\b.*\bfrom\b\s*[\w\"'`\[(]|select\s+[\w.]+\s*\(|select\s+(?:@@|'|\d)|with\s+(?:recursive\s+)?[\w\"`]+\s*(?:\([^)]*\)\s*)?as\s*(?:not\s+materialized\s*|materialized\s*)?\("
    r"|insert\s+(?:ignore\s+|or\s+\w+\s+)?(?:into|overwrite)\b|replace\s+into\b|merge\s+into\b|delete\s+from\b|delete\b.*\bfrom\b.*\bwhere\b"
    r"|update\s+(?:only\s+)?[\w.\"`\[\]]+(?:\s+(?:as\s+)?\w+)?\s+set\s+[\w.\"`\[\]]+\s*="
    r"|(?:drop|alter|create|truncate|rename|comment\s+on)\s+(?:or\s+replace\s+|temp\w*\s+|unique\s+|global\s+|external\s+|materialized\s+|foreign\s+)*"
    r"(?:table|database|schema|index|view|user|role|function|procedure|trigger|sequence|type|extension|policy|tablespace|login|column|event|server|publication|subscription|owned)\b"
    r"|truncate\s+[\w.\"`]+\s*(?:;|$|cascade|restart)|grant\s+.+\s(?:on|to)\s|revoke\s+.+\s(?:on|from)\s|exec(?:ute)?\s+(?:immediate\s|[\w.\[\]]*(?:sp_|xp_))"
    r"|copy\s+[\w.\"(]+.*\b(?:from|to)\b\s*(?:'|program|stdin|stdout)|load\s+data\b|attach\s+(?:database\s+)?'|pragma\s+\w+|vacuum\b\s*(?:full|into|;|$)|call\s+\w+\s*\("
    r"|do\s+\$|begin\s*;|start\s+transaction|set\s+(?:global|session|local)\s+\w+|shutdown\s*(?:;|$|with)|kill\s+\d+"
    r")"
)
_SQL_FIRST = frozenset(
    [
        "select",
        "with",
        "insert",
        "replace",
        "merge",
        "delete",
        "update",
        "drop",
        "alter",
        "create",
        "truncate",
        "rename",
        "comment",
        "grant",
        "revoke",
        "exec",
        "execute",
        "copy",
        "load",
        "attach",
        "pragma",
        "vacuum",
        "call",
        "do",
        "begin",
        "start",
        "set",
        "shutdown",
        "kill",
    ]
)
# A value that ends a statement and begins another one: `x'; DROP TABLE users --`.
_STACKED = re2.compile(
    r"(?i)['\")\d]\s*;\s*(?:drop|truncate|alter)\s+(?:table|database|schema|user)\b|['\")\d]\s*;\s*(?:delete\s+from|insert\s+into|update\s+\w+\s+set|exec\s+\w|shutdown\b)"
)
_COMMENT = re2.compile(r"(?s)/\*!\d*|/\*.*?\*/|\*/|--[^\n]*")
_ENGLISH = re2.compile(
    r"(?is)^.*?\bfrom\s+(?:the|an?|this|that|these|those|your|my|our|his|her|their|each|it|them|us|me|you)\b"
)
_FIRST = re.compile(r"[\s(;]*([A-Za-z]+)")
_PATH = re2.compile(
    r"^(?:~|/|\.{1,2}(?:/|\\|$)|[A-Za-z]:[\\/]|\\\\|file:)|\.\.(?:/|\\|%2f|%5c)|(?i:%2e%2e)|^[\w.@+-]+(?:[/\\][\w.@+-]+)+$"
)


def looks_like_sql(text: str) -> bool:
    """Whether a text is, by its first words, a statement of SQL and not English, or breaks out of one."""
    if "/*" in text or "--" in text:
        text = _COMMENT.sub(" ", text)
    if ";" in text and _STACKED.search(text):
        return True
    first = _FIRST.match(text)
    if first is None or first.group(1).lower() not in _SQL_FIRST:
        return False
    return bool(_SQL.search(text)) and not _ENGLISH.match(text)


def looks_like_path(text: str) -> bool:
    """Whether a text is, by its looks, a path: one line that is rooted, climbs, or is words between slashes."""
    if "/" not in text and "\\" not in text and "%" not in text and not text.startswith(("~", "..")):
        return False
    return "\n" not in text and bool(_PATH.search(text))


def looks_like_url(text: str) -> bool:
    """Whether a text is a URL of the web."""
    return text[:8].lower().startswith(("http://", "https://")) and not any(letter.isspace() for letter in text.strip())
