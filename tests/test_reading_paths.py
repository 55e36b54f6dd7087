"""A path is where it leads, whatever its spelling; what is kept there decides."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.model.action import Reading, Scope
from interlock.model.risk import RiskLevel
from interlock.reading.paths import credential, decode, matches, read_path, traversal

LOW, MEDIUM, HIGH, CRITICAL = RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL
HERE = Scope(workspace="/srv/p", protected=("migrations/**", "*.sql", "docs/policy.md"))

ENCODINGS = {
    "%2e%2e%2f": "percent",
    "%2E%2E/": "percent, upper case",
    "..%2f": "only the slash",
    ".%2e/": "one dot",
    "%252e%252e%252f": "twice",
    "%25252e%25252e%25252f": "three times",
    "%%32%65%%32%65%%32%66": "percent inside percent",
    "%c0%ae%c0%ae%c0%af": "overlong UTF-8",
    "%25c0%25ae%25c0%25ae/": "overlong, twice",
    "%e0%80%ae%e0%80%ae%e0%80%af": "overlong, three bytes",
    "%c0%2e%c0%2e/": "overlong, broken",
    "..%c1%9c": "overlong backslash",
    "..%5c": "backslash",
    "..%255c": "backslash, twice",
    "..%u2215": "wide slash",
    "%u002e%u002e%u2216": "wide escapes",
    "..0x2f": "hexadecimal",
    "0x2e0x2e0x5c": "hexadecimal, all",
    "\\x2e\\x2e/": "escapes",
    "\\u002e\\u002e\\u2215": "Unicode escapes",
    "&#46;&#46;&sol;": "HTML entities",
    "．．／": "full width",
    "..∕": "division slash",
    ".\u200b./": "an invisible character between",
    "..%bg%qf": "broken escapes",
    "....//": "doubled for a filter that deletes ../",
    "...\\": "three dots",
    "..;/": "a parameter after the dots",
    "%c0%ae/": "one overlong dot",
    "..%f0%80%80%af": "overlong, four bytes",
}


@pytest.mark.parametrize("step", ENCODINGS, ids=list(ENCODINGS.values()))
def test_an_encoded_way_up_is_blocked_in_paths_and_in_command_lines(step: str) -> None:
    path = f"{step * 3}etc/x"
    assert read_path(path, HERE, write=False).severity is CRITICAL
    assert read_path(path, Scope(), write=True).severity is CRITICAL
    assert max(finding.severity for finding in traversal(f"cat {path}")) is CRITICAL


@pytest.mark.parametrize(
    "path",
    ["../a", "a/../../b", "..\\a", "src\\..\\..\\a", "./.././a", "..//..//a", "/../../a", "a/b/../../../c"],
)
def test_a_plain_way_out_is_asked(path: str) -> None:
    reading = read_path(path, HERE, write=False)
    assert reading.severity is HIGH
    assert "paths.traversal" in {finding.kind for finding in reading.findings}


@pytest.mark.parametrize(
    "path",
    [
        "src/a.py",
        "/srv/p/src/a.py",
        "a/../b",
        "./a/./b",
        ".",
        "",
        "a b/c",
        "src/näme.py",
        "日本/語.txt",
        "./...",
        "a..b/c",
        "x...y",
        "100%/a",
        "src/%s.py",
        "README.md",
        "v1.2/..x",
    ],
)
def test_ordinary_names_in_the_workspace_are_free(path: str) -> None:
    assert read_path(path, HERE, write=False).findings == ()
    assert read_path(path, HERE, write=True).findings == ()


@pytest.mark.parametrize(
    ("command", "worst"),
    [
        ("cd .. && ls", MEDIUM),
        ("cat ../README.md", MEDIUM),
        ("go test ./...", LOW),
        ("cp a..b c", LOW),
        ("git log main..dev", LOW),
        ("../run.sh --fast", HIGH),
        ("cat /var/www/../../etc/passwd", HIGH),
        ("curl https://example.org/caf%C3%A9/%E2%82%AC", LOW),
        ("cat ../../../../etc/hosts", HIGH),
        ("type ..\\..\\boot.ini", HIGH),
        ("curl 'https://example.org/?q=100%25'", LOW),
        ("printf '%s\\n' a", LOW),
    ],
)
def test_a_command_line_is_searched_for_ways_up(command: str, worst: RiskLevel) -> None:
    assert max((finding.severity for finding in traversal(command)), default=LOW) is worst


@pytest.mark.parametrize(
    ("path", "severity"),
    [
        ("~/.ssh/id_rsa", CRITICAL),
        ("$HOME/.ssh/id_ed25519", CRITICAL),
        ("%USERPROFILE%\\.ssh\\id_rsa", CRITICAL),
        ("/etc/shadow", CRITICAL),
        ("file:///etc/shadow", CRITICAL),
        ("C:\\Windows\\System32\\config\\SAM", CRITICAL),
        ("/home/u/.mozilla/firefox/x/logins.json", CRITICAL),
        ("a/.gnupg/secring.gpg", CRITICAL),
        (".env", HIGH),
        (".ENV", HIGH),
        (".env.production", HIGH),
        (".env ", HIGH),
        (".env::$DATA", HIGH),
        ("．env", HIGH),
        ("~/.aws/credentials", HIGH),
        ("~/.kube/config", HIGH),
        (".netrc", HIGH),
        (".git-credentials", HIGH),
        ("infra/terraform.tfstate", HIGH),
        ("~/.bash_history", HIGH),
        ("/proc/self/environ", HIGH),
        ("/etc/passwd", HIGH),
        ("/var/run/docker.sock", HIGH),
        ("certs/server.key", HIGH),
    ],
)
def test_reading_a_secret_is_said_in_every_spelling(path: str, severity: RiskLevel) -> None:
    assert read_path(path, HERE, write=False).severity is severity
    assert credential(path) is not None


@pytest.mark.parametrize(
    "path",
    [
        ".env.example",
        ".env.sample",
        "id_rsa.pub",
        "src/environment.py",
        "docs/secrets.md",
        "keys.py",
        "src/token.ts",
        "hosts.txt",
        "monkey.py",
    ],
)
def test_what_only_sounds_like_a_secret_is_free(path: str) -> None:
    assert credential(path) is None


@pytest.mark.parametrize(
    ("path", "severity", "kind"),
    [
        ("migrations/1.py", CRITICAL, "paths.protected"),
        ("./migrations/deep/2.py", CRITICAL, "paths.protected"),
        ("src/../migrations/1.py", CRITICAL, "paths.protected"),
        ("/srv/p/x.sql", CRITICAL, "paths.protected"),
        ("docs/POLICY.md", CRITICAL, "paths.protected"),
        ("interlock.yaml", CRITICAL, "paths.protected.interlock"),
        (".interlock/ledger.db", CRITICAL, "paths.protected.interlock"),
        (".github/workflows/ci.yml", HIGH, "paths.protected.ci"),
        (".gitlab-ci.yml", HIGH, "paths.protected.ci"),
        (".git/hooks/pre-commit", HIGH, "paths.protected.git"),
        (".git/config", HIGH, "paths.protected.git"),
        (".claude/settings.json", HIGH, "paths.protected.agent"),
        ("package-lock.json", MEDIUM, "paths.lockfile"),
        ("~/.ssh/authorized_keys", CRITICAL, "paths.persistence"),
        ("~/.bashrc", CRITICAL, "paths.persistence"),
        ("/etc/cron.d/x", CRITICAL, "paths.persistence"),
        ("/usr/bin/ls", CRITICAL, "paths.system"),
        ("/dev/sda", CRITICAL, "paths.system"),
        ("/home/u/notes.txt", HIGH, "paths.outside"),
        ("/tmp/x", MEDIUM, "paths.outside"),
    ],
)
def test_writing_where_only_people_write_is_said(path: str, severity: RiskLevel, kind: str) -> None:
    reading = read_path(path, HERE, write=True)
    assert reading.severity is severity
    assert kind in {finding.kind for finding in reading.findings}


def test_protected_files_may_be_read() -> None:
    for path in ("migrations/1.py", ".github/workflows/ci.yml", "interlock.yaml", "package-lock.json", ".git/config"):
        assert read_path(path, HERE, write=False).findings == ()


def test_reading_outside_is_asked_only_where_people_keep_things() -> None:
    assert read_path("/usr/share/doc/x", HERE, write=False).findings == ()
    assert read_path("/home/u/x", HERE, write=False).severity is HIGH
    assert read_path("/home/u/x", Scope(), write=False).severity is MEDIUM
    assert read_path("/srv/p2/x", HERE, write=False).severity is HIGH


def test_a_link_out_of_the_workspace_is_judged_by_where_it_leads() -> None:
    assert read_path("notes", HERE, write=False, resolved="/home/u/notes").severity is HIGH
    assert read_path("notes", HERE, write=True, resolved="/home/u/notes").severity is CRITICAL
    assert read_path("notes", HERE, write=False, resolved="/home/u/.ssh/id_rsa").severity is CRITICAL
    assert read_path("notes", HERE, write=True, resolved="/srv/p/migrations/1.py").severity is CRITICAL
    assert read_path("notes", HERE, write=True, resolved="/srv/p/notes").findings == ()


@pytest.mark.parametrize("path", ["a\0b", "%00", "a%00.png"])
def test_a_null_byte_is_blocked(path: str) -> None:
    assert read_path(path, HERE, write=False).severity is CRITICAL


@pytest.mark.parametrize(
    "path", ["\\\\host\\share\\x", "php://filter/read=x", "jar:file:x", "~bob/x", "a\nb", "src/a\u202eyp.x"]
)
def test_what_is_no_plain_path_is_asked(path: str) -> None:
    assert read_path(path, HERE, write=False).severity >= HIGH


def test_a_path_longer_than_any_is_blocked() -> None:
    assert read_path("a/" * 4000, HERE, write=False).severity is CRITICAL


@pytest.mark.parametrize(
    ("path", "glob", "covers"),
    [
        ("a/b/c.py", "a/**", True),
        ("a", "a/**", True),
        ("ab/c", "a/**", False),
        ("x/y/z.lock", "**/*.lock", True),
        ("z.lock", "**/*.lock", True),
        ("a/z.sql", "*.sql", False),
        ("a/b/c", "a/*/c", True),
        ("a/b/d/c", "a/*/c", False),
        ("a/b/d/c", "a/**/c", True),
        ("a/c", "a/**/c", True),
        ("dir/inner/x", "dir", True),
        ("a+b", "a+b", True),
        ("aab", "a+b", False),
        ("ax", "a?", True),
    ],
)
def test_globs_cover_what_people_expect(path: str, glob: str, covers: bool) -> None:
    assert bool(matches(path, (glob,))) is covers


SEGMENTS = st.lists(
    st.sampled_from(
        ["a", "b", "..", ".", "src", ".env", "etc", "passwd", "é", "%2e%2e", "....", "", "C:", "~", "\0", "..;x"]
    ),
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(SEGMENTS.map("/".join) | SEGMENTS.map("\\".join) | st.text(max_size=60), st.booleans())
def test_any_text_gets_a_reading(path: str, write: bool) -> None:
    reading = read_path(path, HERE, write=write)
    assert isinstance(reading, Reading)
    assert reading.severity >= read_path(path, Scope(workspace="/srv/p"), write=write).severity
    traversal(path)


@settings(max_examples=300, deadline=None)
@given(SEGMENTS.map("/".join))
def test_encoding_a_path_never_makes_it_look_better(path: str) -> None:
    encoded = path.replace(".", "%2e").replace("/", "%2f")
    assert decode(encoded) == decode(path)
    assert read_path(encoded, HERE, write=False).severity >= read_path(path, HERE, write=False).severity


@settings(max_examples=300, deadline=None)
@given(SEGMENTS.map("/".join))
def test_writing_is_never_judged_milder_than_reading(path: str) -> None:
    assert read_path(path, HERE, write=True).severity >= read_path(path, HERE, write=False).severity
