"""SQL is read as SQL: what destroys is blocked, what is unclear is asked, what reads is left alone."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from interlock.model.action import Reading
from interlock.model.risk import RiskLevel
from interlock.reading.sql import read_sql
from interlock.reading.sql import tree as sql_tree

LOW, MEDIUM, HIGH, CRITICAL = RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL

BLOCKED = {
    "sql.drop": [
        "DROP TABLE t",
        "drop database x",
        "DROP SCHEMA s CASCADE",
        "DROP TABLE IF EXISTS a, b",
        "DROP TABLE IF EXISTS #tmp",
        "DROP USER x",
        "DROP TRIGGER guard ON t",
        "DROP OWNED BY x",
        "SELECT 1; DROP TABLE x; SELECT 2",
        "SELECT 1\nGO\nDROP TABLE x",
        "SELECT 1 DROP TABLE x",
        "IF 1=1 DROP TABLE a",
        "IF OBJECT_ID('x') IS NOT NULL DROP TABLE x",
        "BEGIN TRY DROP TABLE x END TRY BEGIN CATCH END CATCH",
        "EXECUTE IMMEDIATE 'DROP TABLE x'",
        "EXEC('DROP TABLE x')",
        "EXEC sp_MSforeachtable 'DROP TABLE ?'",
        "PREPARE s FROM 'DROP TABLE x'; EXECUTE s",
        "DO $$ BEGIN EXECUTE 'drop table x'; END $$",
        "CREATE TABLE y AS SELECT 1; DROP TABLE x",
        "DROP # x\nTABLE t",
        "DROP -- x\nTABLE t",
        "DROP\u00a0TABLE t",
    ],
    "sql.truncate": [
        "TRUNCATE t",
        "TRUNCATE TABLE a, b CASCADE",
        "BEGIN TRUNCATE TABLE a; END",
        "ALTER TABLE t TRUNCATE PARTITION p",
    ],
    "sql.delete.all": [
        "DELETE FROM t",
        "DELETE FROM ONLY t",
        "DELETE t FROM t",
        "DELETE FROM t USING u",
        "DELETE FROM t LIMIT 1000",
        "DELETE QUICK FROM t",
        "DELETE FROM t -- WHERE id = 1",
        "DELETE FROM t /* WHERE id = 1 */",
        "WITH x AS (DELETE FROM a RETURNING *) SELECT * FROM x",
        "WITH a AS (SELECT 1), b AS (DELETE FROM t) SELECT 1",
        "EXPLAIN ANALYZE DELETE FROM a",
        "EXPLAIN (ANALYZE, BUFFERS) DELETE FROM a",
        "COPY (DELETE FROM t RETURNING *) TO STDOUT",
        "CREATE PROCEDURE p() AS BEGIN DELETE FROM a; END",
        "CREATE FUNCTION f() RETURNS void AS $$ DELETE FROM a; $$ LANGUAGE sql",
        "CREATE TRIGGER x AFTER INSERT ON y BEGIN DELETE FROM a; END",
        "CREATE TABLE a AS WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
        "EXEC sp_executesql N'DELETE FROM t'",
        "DO $$ BEGIN DELETE FROM a; END $$",
        "WHILE 1=1 DELETE FROM t",
        "SELECT * FROM a DELETE FROM b",
    ],
    "sql.update.all": [
        "UPDATE t SET a = 1",
        "UPDATE t SET a = 1 FROM b",
        "WITH x AS (UPDATE t SET a = 1 RETURNING *) SELECT 1",
    ],
    "sql.catalogue_write": [
        "INSERT INTO mysql.user VALUES (1)",
        "DELETE FROM sqlite_master WHERE name = 'x'",
        "UPDATE pg_catalog.pg_authid SET rolsuper = true WHERE rolname = 'x'",
    ],
    "sql.copy_program": [
        "COPY a TO PROGRAM 'curl x'",
        "SELECT 1; COPY a FROM PROGRAM 'id'",
        ";COPY a FROM PROGRAM 'id';",
    ],
    "sql.exec.program": [
        "EXEC xp_cmdshell 'dir'",
        "EXEC [master].[dbo].[xp_cmdshell] 'dir'",
        "EXEC sp_configure 'xp_cmdshell', 1",
        "SELECT load_extension('x.so')",
        "SELECT sys_eval('id')",
        "CREATE FUNCTION f RETURNS STRING SONAME 'x.so'",
        "CREATE FUNCTION f() RETURNS int AS '/tmp/x.so', 'f' LANGUAGE C",
        "SELECT 1;\n\\! rm -rf /",
        ".shell rm -rf /",
    ],
    "sql.shutdown": ["SHUTDOWN", "SYSTEM SHUTDOWN", "SELECT 1 SHUTDOWN", "SHUTDOWN WITH NOWAIT"],
}

ALWAYS_TRUE = [
    "1=1", "1", "'1'", "TRUE", "NOT FALSE", "2 > 1", "'a' = 'a'", "'x' <> 'y'", "id = id", "u.id = u.id", "name LIKE '%'", "name LIKE '%%'", "id IS NOT NULL", "x IS NULL OR x IS NOT NULL", "a = 'x' OR TRUE",
    "(id = 3 OR 1 = 1)", "1=1 AND 2=2", "NOT (1 = 0)", "id > 0", "id >= 0", "id <> 0", "EXISTS (SELECT 1)", "(SELECT 1) = 1", "id IN (SELECT id FROM t)", "a IN (a)", "id BETWEEN id AND id", "1 IN (1, 2)", "5 BETWEEN 1 AND 9",
    "length(name) >= 0", "now() > '2000-01-01'", "COALESCE(NULL, 1) = 1", "((1))", "1 = 1 -- and id = 3",
]  # fmt: skip

LIMITED = [
    "id = 5", "active = false", "a >= b AND a <= c", "a BETWEEN b AND c", "id IN (1, 2)", "id IN (SELECT id FROM other)", "id IN (SELECT id FROM t WHERE old)", "NOT EXISTS (SELECT 1 FROM m WHERE m.id = t.id)", "created < now()",
    "name LIKE 'a%'", "name NOT LIKE '%'", "id IS NULL", "id > 1000", "(a = 1 OR b = 2) AND c", "id = 3 AND 1 = 1", "x = ?", "x = :x", "count > 0",
]  # fmt: skip

ASKED = {
    "sql.delete.where": ["DELETE FROM t WHERE id = 5", "MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN DELETE"],
    "sql.alter.drop": [
        "ALTER TABLE t DROP COLUMN a",
        "ALTER TABLE t DROP CONSTRAINT c",
        "ALTER TABLE t DROP IF EXISTS PARTITION (d = 'x')",
    ],
    "sql.drop.definition": ["DROP INDEX i", "DROP VIEW v", "DROP FUNCTION f"],
    "sql.grant": ["GRANT SELECT ON t TO u"],
    "sql.grant.all": ["GRANT ALL ON *.* TO x"],
    "sql.auth_table": [
        "CREATE USER x",
        "ALTER ROLE x SUPERUSER",
        "SET PASSWORD = 'x'",
        "ALTER TABLE users ADD COLUMN admin BOOLEAN",
        "UPDATE users SET password = 'x' WHERE id = 1",
        "UPDATE user_roles SET x = 1 WHERE y = 2",
        "EXEC sp_addsrvrolemember 'x', 'sysadmin'",
    ],
    "sql.file": [
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_catalog.pg_read_file('/etc/passwd')",
        "SELECT \"pg_read_file\"('/etc/passwd')",
        "SELECT LOAD_FILE('/etc/passwd')",
        "SELECT ARRAY[lo_import('/etc/passwd')]",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "COPY (SELECT 1) TO '/tmp/x'",
        "SELECT 1; COPY t FROM '/etc/passwd'",
        "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE a",
        "ATTACH DATABASE 'x.db' AS y",
        "VACUUM INTO '/tmp/x'",
        "\\copy t to '/tmp/x'",
    ],
    "sql.network": [
        "SELECT * FROM dblink('host=x', 'select 1') AS t(a int)",
        "SELECT UTL_HTTP.REQUEST('http://x') FROM dual",
    ],
    "sql.protection.off": [
        "PRAGMA foreign_keys = OFF",
        "SET foreign_key_checks = 0",
        "SET session_replication_role = replica",
        "SET row_security = off",
        "ALTER TABLE x DISABLE TRIGGER ALL",
        "ALTER TABLE x DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE x NOCHECK CONSTRAINT ALL",
    ],
    "sql.catalogue_write": ["PRAGMA writable_schema = 1"],
    "sql.set.global": ["SET GLOBAL general_log = 1", "SELECT 1; SET GLOBAL max_connections = 1"],
    "sql.exec": [
        "CALL do_something()",
        "EXEC my_proc",
        "EXECUTE s",
        "CREATE EXTENSION dblink",
        "EXEC (CHAR(68) + CHAR(82))",
    ],
    "sql.injection.time": [
        "SELECT pg_sleep(10)",
        "SELECT * FROM t WHERE id = 1 AND SLEEP(5)",
        "SELECT 1; WAITFOR DELAY '0:0:5'",
    ],
    "sql.injection.tautology": ["SELECT * FROM users WHERE name = '' OR '1'='1'", "' OR 1=1 --"],
    "sql.injection.union": ["' UNION SELECT null, null --", "1 UNION SELECT name, secret FROM users"],
    "sql.injection.disguise": ["SELECT U&\"\\0070g_read_file\"('/x')"],
    "sql.unknown_root": ["hello", "delimiter //", "admin'--"],
}

READS = [
    "SELECT 1", "SELECT * FROM users WHERE id = 5", "WITH a AS (SELECT 1) SELECT * FROM a", "VALUES (1, 2)", "SHOW TABLES", "SHOW CREATE TABLE t", "DESCRIBE t", "EXPLAIN SELECT * FROM t", "EXPLAIN ANALYZE SELECT * FROM t",
    "SELECT 1 -- drop table x", "SELECT 'DROP TABLE x'", 'SELECT "drop" FROM t', "SELECT 1 AS delete, 2 AS alter", "SELECT update, delete FROM t", "SELECT drop FROM t", "SELECT `truncate` FROM `update`", "SELECT TRUNCATE(a, 0) FROM t",
    "SELECT REPLACE(a, 'x', 'y') FROM t", "SELECT * FROM t FOR UPDATE", "SELECT * FROM t FOR NO KEY UPDATE", "SELECT * FROM t WHERE 1 = 1", "SELECT * FROM t WHERE a = 'delete from x'", "SELECT a FROM b UNION SELECT c FROM d",
    "SELECT TOP 10 * FROM t WITH (NOLOCK)", "SELECT * EXCEPT (a) FROM t", "FROM t SELECT a", "SELECT * FROM t FINAL PREWHERE x = 1 SETTINGS max_threads = 1", "SELECT q'[it's]' FROM dual", "PRAGMA table_info(t)", "BEGIN", "COMMIT",
    "SET x = 1", "USE db", "SELECT E'it\\'s'", "SELECT 'a\\'b'", "SELECT 1 /* drop table x */", "SELECT name FROM t WHERE name = 'Ольга'", "SELECT имя FROM таблица", "SELECT ?", "SELECT :a", "SELECT a -- it's\nFROM t",
    "SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY a)", "SELECT FOO BAR BAZ FROM QUX QUUX CORGE", "SELECT * FROM t OPTION (RECOMPILE)", "SELECT create_date, drop_date FROM t", "SELECT INSERT('abc', 1, 2, 'x')",
    "EXPLAIN FORMAT=JSON SELECT 1", "SELECT a FROM t WHERE deleted_at IS NULL", "", "  ", ";", "-- only a comment",
]  # fmt: skip

NOTED = [
    "INSERT INTO t VALUES (1)", "INSERT INTO users (name, password) VALUES ('a', 'b')", "INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = 1", "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = 1",
    "INSERT INTO notes VALUES ('it''s; DROP TABLE x')", "CREATE TABLE t (a INT REFERENCES b (c) ON DELETE CASCADE ON UPDATE SET NULL)", "CREATE TABLE t AS SELECT 1", "CREATE INDEX i ON t (a)", "CREATE VIEW v AS SELECT 1",
    "CREATE TABLE users (id int, password text, is_admin bool)", "UPDATE t SET a = 1 WHERE id = 5", "ALTER TABLE t ADD COLUMN a INT", "ALTER TABLE t RENAME TO u", "SELECT * INTO x FROM y", "VACUUM t", "EXPLAIN DELETE FROM t",
    "COMMENT ON TABLE t IS 'drop table x'", "MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN UPDATE SET y = 1 WHEN NOT MATCHED THEN INSERT (x) VALUES (1)", "REPLACE INTO t VALUES (1)", "SELECT * FROM read_csv('x.csv')",
    "COPY t FROM STDIN", "COPY INTO t FROM 's3://b/x'", "CREATE TRIGGER x BEFORE INSERT ON y FOR EACH ROW EXECUTE FUNCTION f()", "SELECT /*!40001 SQL_NO_CACHE */ * FROM t",
]  # fmt: skip

DISGUISED = [
    "/*!50000DROP*/ TABLE x",
    "/*!DROP*/ /*!TABLE*/ x",
    "/*M!100100 TRUNCATE*/ TABLE x",
    "SELECT 1 /*!; DROP TABLE x*/",
    "DR/**/OP TABLE x",
    "DROP/**/TABLE/*y*/t",
    "dRoP   TaBlE\n\tx",
    "DR\u200bOP TABLE t",
    "ＤＲＯＰ ＴＡＢＬＥ t",
    "\u0422RUNC\u0410TE TABLE t",
    "SELECT 1; \u0442run\u0441ate table t",
    "SELECT '\\'; DROP TABLE x; -- '",
    "SELECT 5--1; DROP TABLE x",
    "/* /* */ DROP TABLE x",
    "'; shutdown --",
    "10; DROP TABLE users --",
    "x'; DROP TABLE users; --",
    "1'; EXEC xp_cmdshell('dir'); --",
    "DROP%20TABLE%20users",
    "select 'drop table x' \\gexec",
]


def kinds(reading: Reading) -> set[str]:
    return {finding.kind for finding in reading.findings}


def table(cases: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(kind, text) for kind, texts in cases.items() for text in texts]


@pytest.mark.parametrize(("kind", "text"), table(BLOCKED))
def test_what_destroys_is_critical_wherever_it_hides(kind: str, text: str) -> None:
    reading = read_sql(text)
    assert reading.severity is CRITICAL
    assert kind in kinds(reading)


@pytest.mark.parametrize(("kind", "text"), table(ASKED))
def test_what_only_a_person_can_judge_is_high_and_not_blocked(kind: str, text: str) -> None:
    reading = read_sql(text)
    assert reading.severity is HIGH
    assert kind in kinds(reading)


@pytest.mark.parametrize("text", READS)
def test_a_plain_read_has_no_finding_in_any_dialect(text: str) -> None:
    assert read_sql(text).findings == ()


@pytest.mark.parametrize("text", NOTED)
def test_ordinary_changes_are_noted_and_disturb_nobody(text: str) -> None:
    assert read_sql(text).severity is MEDIUM


@pytest.mark.parametrize("text", DISGUISED)
def test_a_disguise_does_not_help(text: str) -> None:
    assert read_sql(text).severity is CRITICAL


@pytest.mark.parametrize("condition", ALWAYS_TRUE)
@pytest.mark.parametrize("verb", ["DELETE FROM t", "UPDATE t SET a = 1"])
def test_a_where_that_does_not_look_at_the_row_is_none(verb: str, condition: str) -> None:
    assert read_sql(f"{verb} WHERE {condition}").severity is CRITICAL


@pytest.mark.parametrize("condition", LIMITED)
def test_a_where_that_looks_at_the_row_is_believed(condition: str) -> None:
    assert read_sql(f"DELETE FROM t WHERE {condition}").severity is HIGH  # noqa: S608 - the statement is what is tested
    assert read_sql(f"UPDATE t SET a = 1 WHERE {condition}").severity is MEDIUM  # noqa: S608 - the statement is what is tested


def test_the_dialect_decides_what_a_quote_is() -> None:
    backslash = "SELECT '\\'; DROP TABLE x; -- '"
    assert read_sql(backslash, "postgres").severity is CRITICAL
    assert read_sql(backslash, "mysql").severity is LOW
    assert read_sql(backslash, "MariaDB").severity is LOW
    assert read_sql(backslash, "no such dialect").severity is CRITICAL


@pytest.mark.parametrize("dialect", ["postgres", "mysql", "sqlite", "tsql", "snowflake", "bigquery", "oracle"])
def test_naming_the_dialect_opens_no_way(dialect: str) -> None:
    for _, text in table(BLOCKED):
        assert read_sql(text, dialect).severity >= HIGH, text


def test_statements_are_named_for_policies() -> None:
    assert read_sql("WITH x AS (DELETE FROM a WHERE b = 1 RETURNING *) SELECT * FROM x").statements == (
        "select",
        "delete",
    )
    assert read_sql("DROP TABLE a; DROP VIEW b").statements == ("drop_table", "drop_view")
    assert read_sql("ALTER TABLE a ADD COLUMN b INT").statements == ("alter_table",)


def test_files_and_addresses_that_a_statement_names_are_told() -> None:
    assert read_sql("SELECT 1 INTO OUTFILE '/srv/x.php'").paths == ("/srv/x.php",)
    assert read_sql("SELECT * FROM read_csv('https://example.org/x.csv')").destinations == (
        "https://example.org/x.csv",
    )


def test_evidence_holds_no_literal() -> None:
    password = "hunter" + "2"
    for before, after in (
        ("CREATE USER x PASSWORD '", "'"),
        ("DELETE FROM t WHERE a = '", "'"),
        ("frobnicate '", "' x"),
    ):
        text = before + password + after
        assert not any(password in finding.evidence + finding.reason for finding in read_sql(text).findings)


def test_the_parser_never_logs_the_text(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        read_sql("GRANT ALL ON secret_table TO secret_role; DO $$ BEGIN x; END $$")
    assert caplog.text == ""


@pytest.mark.parametrize(
    "text",
    [
        "SELECT " + "(" * 50_000,
        "SELECT " + "(" * 90 + "NOT " * 20_000 + "1",
        "SELECT " + "CASE WHEN 1 THEN " * 3_000 + "1",
        "SELECT 1 " * 20_000,
        "[" * 1_000,
    ],
)
def test_what_would_break_the_parser_is_blocked(text: str) -> None:
    assert read_sql(text).severity is CRITICAL


def test_a_crash_inside_is_a_block_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(sql_tree._HANDLERS, exp.Select, broken)
    reading = read_sql("SELECT this_text_is_not_in_the_cache FROM t")
    assert reading.severity is CRITICAL
    assert "ZeroDivisionError" in reading.findings[0].reason


PARTS = [*(text for _, text in table(BLOCKED)), *(text for _, text in table(ASKED))]
AROUND = [
    "{}",
    "SELECT 1; {}",
    "{}; SELECT 1",
    "-- note\n{}",
    "/* note */ {}",
    "{} -- note",
    "{}\n/* note */",
    "\n\t {} \n",
    ";{};",
    "SELECT 'a'; {}",
    "BEGIN; {}; COMMIT",
]


@settings(max_examples=400, deadline=None)
@given(
    part=st.sampled_from(PARTS),
    around=st.sampled_from(AROUND),
    case=st.sampled_from([str, str.upper, str.lower, str.swapcase]),
)
def test_harmless_company_or_another_case_never_lowers_a_severity(part: str, around: str, case: type[str]) -> None:
    if "\n\\" in part or part.startswith((".", "\\")):
        around = "{}"  # a client's command ends the line that it begins
    assert read_sql(around.format(case(part))).severity >= read_sql(part).severity


@settings(max_examples=200, deadline=None)
@given(first=st.sampled_from(PARTS + READS + NOTED), second=st.sampled_from(PARTS))
def test_two_statements_are_as_bad_as_the_worse(first: str, second: str) -> None:
    if "\\" not in first + second and "--" not in first and first.count("'") % 2 == 0 and not second.startswith("."):
        assert read_sql(f"{first};\n{second}").severity >= read_sql(second).severity


PIECES = """SELECT DROP TABLE DELETE FROM WHERE UPDATE SET t a 1 = ( ) ; ' \" ` -- /* */ /*! $$ \\ , . AND OR NOT NULL EXEC GRANT
ALTER COPY TO PROGRAM # @ [ ] CASE WHEN END BEGIN \0 é Т U& E' 0x \u200b"""
WORDS = st.sampled_from([*PIECES.split(), "\n", " "])


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.text(max_size=80), st.lists(WORDS, max_size=25).map(" ".join), st.lists(WORDS, max_size=25).map("".join)
    )
)
def test_any_text_gets_a_reading(text: str) -> None:
    reading = read_sql(text)
    assert isinstance(reading, Reading)
    assert all(finding.detector == "sql" and finding.kind.startswith("sql.") for finding in reading.findings)
    assert not any(finding.kind == "sql.unparsed.crash" for finding in reading.findings)
