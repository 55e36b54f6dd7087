"""The words of SQL that matter, as data. Severity: critical blocks, high asks a person, medium is noted.

Sources: the manuals of PostgreSQL, MySQL/MariaDB, SQL Server, Oracle, SQLite, ClickHouse, DuckDB and H2 on functions and
statements that leave the database (files, processes, network) or change its catalogue, users and protections.
"""

from __future__ import annotations

from interlock.model.risk import RiskLevel


def words(text: str) -> frozenset[str]:
    """The words of a list that is easier to read without quotes."""
    return frozenset(text.split())


LOW, MEDIUM, HIGH, CRITICAL = RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL

REBUILT = words(
    "INDEX VIEW FUNCTION PROCEDURE SEQUENCE TYPE DOMAIN STATISTICS SYNONYM AGGREGATE OPERATOR MACRO ALIAS COMMENT "
    "COLLATION CAST DICTIONARY STAGE STREAM TASK PIPE"
)
"""Objects that hold no data and guard nothing: dropping one asks a person, dropping any other is blocked."""

OBJECTS = REBUILT | words(
    "TABLE TABLES DATABASE SCHEMA COLUMN CONSTRAINT USER ROLE LOGIN GROUP POLICY TRIGGER RULE TABLESPACE KEYSPACE "
    "PARTITION OWNED EXTENSION SERVER CATALOG WAREHOUSE ASSEMBLY PROFILE PUBLICATION SUBSCRIPTION EVENT CREDENTIAL "
    "MATERIALIZED TEMPORARY TEMP EXTERNAL FOREIGN GLOBAL UNIQUE IF PRIMARY CONCURRENTLY DYNAMIC TRANSIENT"
)
"""What may stand after DROP when it is a statement and not a name."""

FUNCTIONS: dict[str, tuple[str, RiskLevel, str]] = {
    **dict.fromkeys(
        words(
            "XP_CMDSHELL XP_REGWRITE XP_REGDELETEKEY XP_SERVICECONTROL SP_OACREATE SP_OAMETHOD SP_EXECUTE_EXTERNAL_SCRIPT "
            "SYS_EXEC SYS_EVAL DO_SYSTEM EXECUTABLE SHELLEXEC LO_EXPORT LOAD_EXTENSION"
        ),
        ("sql.exec.program", CRITICAL, "runs a program, or writes a file, on the database's machine"),
    ),
    **dict.fromkeys(
        words(
            "PG_READ_FILE PG_READ_BINARY_FILE PG_LS_DIR PG_STAT_FILE PG_LS_LOGDIR PG_LS_WALDIR LO_IMPORT LOAD_FILE READFILE "
            "WRITEFILE BFILENAME XP_DIRTREE XP_FILEEXIST XP_SUBDIRS XP_REGREAD PG_FILE_WRITE PG_FILE_UNLINK PG_FILE_RENAME "
            "FN_XE_FILE_TARGET_READ_FILE FN_GET_AUDIT_FILE FILE_WRITE CSVWRITE OPENROWSET LO_UNLINK LO_PUT LO_FROM_BYTEA"
        ),
        ("sql.file", HIGH, "reads or writes files of the database's machine"),
    ),
    **dict.fromkeys(
        words(
            "DBLINK DBLINK_EXEC DBLINK_CONNECT DBLINK_SEND_QUERY OPENQUERY OPENDATASOURCE HTTPURITYPE HTTP_GET HTTP_POST "
            "POSTGRES_EXECUTE MYSQL_EXECUTE"
        ),
        ("sql.network", HIGH, "lets the database talk to another machine"),
    ),
    **dict.fromkeys(
        words(
            "SP_EXECUTESQL QUERY_TO_XML DATABASE_TO_XML QUERY_TO_XMLSCHEMA CURSOR_TO_XML SP_CONFIGURE SP_ADDEXTENDEDPROC "
            "SP_ADDLINKEDSERVER SP_START_JOB SP_ADD_JOB SP_MSFOREACHTABLE SP_MSFOREACHDB SYSTEM FTS3_TOKENIZER"
        ),
        ("sql.exec", HIGH, "runs a statement given as text, or reconfigures the server"),
    ),
    **dict.fromkeys(
        words("SP_ADDSRVROLEMEMBER SP_ADDROLEMEMBER SP_ADDLOGIN SP_DROPLOGIN SP_PASSWORD SP_GRANTDBACCESS"),
        ("sql.auth_table", HIGH, "changes who may log in or what they may do"),
    ),
    **dict.fromkeys(
        words("PG_TERMINATE_BACKEND PG_CANCEL_BACKEND PG_RELOAD_CONF PG_ROTATE_LOGFILE SET_CONFIG PG_PROMOTE"),
        ("sql.admin", HIGH, "ends sessions or changes the server's settings"),
    ),
    **dict.fromkeys(
        words("PG_SLEEP PG_SLEEP_FOR PG_SLEEP_UNTIL SLEEP BENCHMARK"),
        ("sql.injection.time", HIGH, "makes the database wait: a time-based injection, or a stalled server"),
    ),
    **dict.fromkeys(
        words("EXTRACTVALUE UPDATEXML"),
        ("sql.injection.error", HIGH, "is how data is carried out in error messages"),
    ),
}
"""Functions and procedures by name, wherever they are called."""

PACKAGES: dict[str, tuple[str, RiskLevel, str]] = {
    "UTL_FILE": ("sql.file", HIGH, "reads or writes files of the database's machine"),
    "UTL_HTTP": ("sql.network", HIGH, "lets the database talk to another machine"),
    "UTL_TCP": ("sql.network", HIGH, "lets the database talk to another machine"),
    "UTL_SMTP": ("sql.network", HIGH, "lets the database send mail"),
    "UTL_INADDR": ("sql.network", HIGH, "lets the database ask for host names"),
    "DBMS_LDAP": ("sql.network", HIGH, "lets the database talk to another machine"),
    "DBMS_SCHEDULER": ("sql.exec.program", CRITICAL, "schedules programs on the database's machine"),
    "DBMS_JAVA": ("sql.exec.program", CRITICAL, "runs Java with the database's rights"),
    "DBMS_PIPE": ("sql.injection.time", HIGH, "makes the database wait"),
    "DBMS_LOCK": ("sql.injection.time", HIGH, "makes the database wait"),
    "DBMS_XMLQUERY": ("sql.exec", HIGH, "runs a statement given as text"),
    "DBMS_JOB": ("sql.exec", HIGH, "schedules statements"),
    "DBMS_XMLGEN": ("sql.exec", HIGH, "runs a statement given as text"),
}
"""Oracle's packages, as the word before the dot."""

FILE_READERS = words(
    "READ_CSV READ_CSV_AUTO READ_PARQUET READ_JSON READ_JSON_AUTO READ_TEXT READ_BLOB READ_NDJSON PARQUET_SCAN CSVREAD "
    "FILE URL S3 GLOB SQLITE_SCAN HDFS"
)
"""Table functions whose purpose is to query files and URLs: noted, their targets are in paths and destinations."""

CATALOGUES = words(
    "SQLITE_MASTER SQLITE_SCHEMA SQLITE_TEMP_MASTER PG_AUTHID PG_SHADOW PG_USER PG_ROLES PG_CLASS PG_PROC PG_ATTRIBUTE "
    "PG_DATABASE PG_AUTH_MEMBERS PG_LARGEOBJECT PG_TRIGGER PG_CONSTRAINT PG_NAMESPACE"
)
CATALOGUE_SCHEMAS = words("PG_CATALOG INFORMATION_SCHEMA MYSQL PERFORMANCE_SCHEMA SYS SYSIBM SYSCAT")

PASSWORD_TABLES = {
    "MYSQL": words("USER GLOBAL_PRIV"),
    "SYS": words("USER$ SQL_LOGINS SYSLOGINS"),
    "PG_CATALOG": words("PG_SHADOW PG_AUTHID"),
    "": words("PG_SHADOW PG_AUTHID SYSLOGINS DBA_USERS"),
}
"""Where the servers keep their users' passwords, by schema."""

PASSWORD_COLUMNS = words("PASSWORD PASSWD ROLPASSWORD AUTHENTICATION_STRING PASSWORD_HASH SPARE4")

AUTH_TABLES = words(
    "ROLES ROLE PERMISSIONS PERMISSION USER_ROLES USER_ROLE ROLE_PERMISSIONS USER_PERMISSIONS PRIVILEGES GRANTS ACL "
    "AUTH_USER AUTH_GROUP AUTH_PERMISSION CREDENTIALS API_KEYS API_TOKENS ACCESS_TOKENS MFA_DEVICES"
)
"""Tables about who may do what; names of the common frameworks."""

AUTH_COLUMNS = words(
    "PASSWORD PASSWD PASSWORD_HASH HASHED_PASSWORD ENCRYPTED_PASSWORD PWD ADMIN IS_ADMIN SUPERUSER IS_SUPERUSER IS_STAFF "
    "ROLE ROLES ROLE_ID USER_ROLE PERMISSIONS PERMISSION PRIVILEGES PRIVILEGE MFA_ENABLED MFA_SECRET OTP_SECRET "
    "TOTP_SECRET TWO_FACTOR_ENABLED TWO_FACTOR_SECRET EMAIL_VERIFIED AUTHENTICATION_STRING API_KEY"
)
"""Columns that decide who may do what."""

AUDIT_NAMES = ("AUDIT", "SECURITY_LOG", "EVENT_LOG", "ACCESS_LOG", "LEDGER")

PROTECTION_SETTINGS: dict[str, tuple[str, ...]] = {
    "FOREIGN_KEY_CHECKS": ("0", "OFF", "FALSE"),
    "FOREIGN_KEYS": ("0", "OFF", "FALSE", "NO"),
    "UNIQUE_CHECKS": ("0", "OFF", "FALSE"),
    "SQL_SAFE_UPDATES": ("0", "OFF", "FALSE"),
    "SQL_LOG_BIN": ("0", "OFF", "FALSE"),
    "ROW_SECURITY": ("OFF", "0", "FALSE"),
    "SESSION_REPLICATION_ROLE": ("REPLICA", "LOCAL"),
    "IGNORE_CHECK_CONSTRAINTS": ("1", "ON", "TRUE", "YES"),
    "TRUSTED_SCHEMA": ("1", "ON", "TRUE", "YES"),
    "CELL_SIZE_CHECK": ("0", "OFF", "FALSE", "NO"),
    "GENERAL_LOG": ("0", "1", "OFF", "ON"),
    "LOG_STATEMENT": ("NONE",),
}
"""Settings whose value switches a protection off."""

READ_LEADS = words("SELECT WITH VALUES TABLE SHOW DESCRIBE DESC EXPLAIN FROM HELP SUMMARIZE PIVOT UNPIVOT")
"""First words of statements that read."""

NOTED_LEADS: dict[str, str] = {
    **dict.fromkeys(words("BEGIN START COMMIT ROLLBACK SAVEPOINT RELEASE END ABORT"), "transaction"),
    **dict.fromkeys(words("DECLARE FETCH CLOSE OPEN DEALLOCATE MOVE PRINT"), "cursor"),
    **dict.fromkeys(words("USE LIST LS"), "use"),
    **dict.fromkeys(words("ANALYZE ANALYSE COMMENT CACHE UNCACHE REFRESH MSCK CHECK CHECKSUM"), "maintenance"),
    **dict.fromkeys(words("IF WHILE LOOP FOR RETURN ELSE ELSEIF CASE RAISE THROW SIGNAL LEAVE ITERATE"), "control"),
    "LISTEN": "listen",
    "UNLISTEN": "listen",
    "NOTIFY": "notify",
}
"""First words of statements that change nothing that lasts."""

CHANGING_LEADS: dict[str, str] = {
    "INSERT": "insert",
    "UPSERT": "insert",
    "REPLACE": "insert",
    "MERGE": "merge",
    "CREATE": "create",
    "VACUUM": "maintenance",
    "UNLOCK": "lock",
    "DETACH": "detach",
    "UNDROP": "undrop",
}
"""First words of statements that add or tidy: noted, when nothing worse stands in them."""

ASKED_LEADS: dict[str, tuple[str, str, str]] = {
    "ALTER": ("alter", "sql.alter", "changes a definition in a way that could not be read in full"),
    "LOCK": ("lock", "sql.lock", "makes everybody else wait for the table"),
    "REINDEX": ("maintenance", "sql.maintenance.locking", "builds anew while others wait"),
    "CLUSTER": ("maintenance", "sql.maintenance.locking", "rewrites a table while others wait"),
    "OPTIMIZE": ("maintenance", "sql.maintenance.locking", "rewrites a table while others wait"),
    "RENAME": ("alter", "sql.alter", "renames what others rely on"),
    "GRANT": ("grant", "sql.grant", "gives rights"),
    "REVOKE": ("revoke", "sql.grant.revoke", "takes rights away"),
    "DENY": ("revoke", "sql.grant.revoke", "takes rights away"),
    "EXEC": ("execute", "sql.exec", "runs a procedure or a statement that is not visible"),
    "EXECUTE": ("execute", "sql.exec", "runs a procedure or a statement that is not visible"),
    "CALL": ("execute", "sql.exec", "runs a procedure that is not visible"),
    "PREPARE": ("prepare", "sql.exec", "prepares a statement given as text"),
    "DO": ("do", "sql.exec", "runs a block of procedural code"),
    "COPY": ("copy", "sql.file", "moves data between tables and files"),
    "UNLOAD": ("copy", "sql.file", "writes data to files"),
    "EXPORT": ("copy", "sql.file", "writes data to files"),
    "IMPORT": ("copy", "sql.file", "reads data from files"),
    "PUT": ("copy", "sql.file", "moves files between the machine and the database"),
    "GET": ("copy", "sql.file", "moves files between the machine and the database"),
    "LOAD": ("load", "sql.file", "reads a file or a library of the machine"),
    "INSTALL": ("load", "sql.exec", "loads code into the database"),
    "UNINSTALL": ("load", "sql.exec", "unloads code of the database"),
    "ATTACH": ("attach", "sql.file", "opens another database file"),
    "BACKUP": ("backup", "sql.file", "writes the database to a file"),
    "RESTORE": ("restore", "sql.file", "overwrites a database from a file"),
    "KILL": ("kill", "sql.admin", "ends another session"),
    "RESET": ("admin", "sql.admin", "changes the server's settings or its logs"),
    "PURGE": ("admin", "sql.drop", "removes for good what could still be restored"),
    "FLASHBACK": ("admin", "sql.admin", "puts a table or database back to an older state"),
    "CHANGE": ("admin", "sql.admin", "changes replication"),
    "FLUSH": ("admin", "sql.admin", "reloads rights or throws logs away"),
    "SYSTEM": ("admin", "sql.admin", "controls the server"),
    "RECONFIGURE": ("admin", "sql.admin", "puts changed server settings into force"),
    "DBCC": ("admin", "sql.admin", "runs a console command of the server"),
    "WAITFOR": ("waitfor", "sql.injection.time", "makes the database wait"),
    "HANDLER": ("handler", "sql.unknown_root", "reads a table past the optimiser"),
    "REASSIGN": ("alter", "sql.grant", "gives what one role owns to another"),
    "SECURITY": ("alter", "sql.alter", "changes labels of access control"),
    "DISABLE": ("alter", "sql.protection.off", "switches a trigger or a check off"),
    "BULK": ("load", "sql.file", "reads a file of the machine"),
}
"""First words of statements that ask a person."""

ALTER_ASKED = words(
    "DROP CLEAR REMOVE DETACH SWITCH EXCHANGE DISABLE NOCHECK DISCARD OWNER UPDATE DELETE TRUNCATE UNUSED"
)
"""Words in an ALTER of a table, view, index or sequence that take something away."""

DESTRUCTIVE = words("DROP TRUNCATE DELETE SHUTDOWN XP_CMDSHELL")
"""Words that make a text that nobody can read a block."""

WRITING = DESTRUCTIVE | words(
    "INSERT UPDATE ALTER CREATE GRANT REVOKE EXEC EXECUTE CALL MERGE COPY INTO ATTACH RENAME OUTFILE DUMPFILE INFILE "
    "WAITFOR RECONFIGURE BULK"
)
"""Words that do not stand in a read."""
