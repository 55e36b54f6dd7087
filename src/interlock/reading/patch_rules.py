"""What to look for in changed lines, as data. Read by the patch reader.

``ADDED`` rules fire on lines that come in, ``REMOVED`` rules when a file loses more of a word than it gets back. Patterns are
RE2's, so that no text makes them slow, and ignore case. Sources: CWE-295 (certificates), CWE-306/862 (missing authentication and
authorisation), CWE-352, CWE-521 (passwords), CWE-778 (logging), CWE-94/78 (code and commands), the documentation of the
frameworks named, OpenSSF Scorecard's checks for workflows, the CIS benchmarks for Docker and Kubernetes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import re2

from interlock.model.risk import RiskLevel

LOW, MEDIUM, HIGH = RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH


@dataclass(frozen=True, kw_only=True, slots=True)
class LineRule:
    """One pattern over changed lines."""

    kind: str
    severity: RiskLevel
    reason: str
    source: str
    files: str = ""
    """Only files whose lower-case path this finds; empty for all code."""

    @property
    def pattern(self) -> Any:
        """The pattern, compiled when first used: most calls of a gate change no file."""
        return linear(self.source)

    def concerns(self, low: str) -> bool:
        """Whether the rule is about the file of that lower-case path."""
        return not self.files or linear(self.files).search(low) is not None


@cache
def linear(source: str) -> Any:
    """RE2's pattern of that source: linear in any text; ignores case, ``^`` and ``$`` at each line."""
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    return re2.compile(f"(?m){source}", options)


def _rule(kind: str, severity: RiskLevel, reason: str, *patterns: str, files: str = "") -> LineRule:
    return LineRule(kind=kind, severity=severity, reason=reason, source="|".join(patterns), files=files)


CI_FILES = (
    r"(?:^|/)\.github/(?:workflows|actions)/|(?:^|/)\.(?:circleci|buildkite|tekton)/|"
    r"(?:^|/)(?:\.gitlab-ci|\.travis|\.drone|azure-pipelines|bitbucket-pipelines|\.pre-commit-config)\.ya?ml$|(?:^|/)jenkinsfile"
)
TEST_FILES = re.compile(
    r"(?:^|/)(?:tests?|specs?|__tests__|testdata|fixtures|e2e)/|(?:^|/)(?:test_[^/]*|[^/]*[_.-](?:test|spec))\.\w+$"
)
GUARD_FILES = re.compile(r"auth|security|permission|audit|csrf|acl\b|policy|middleware")
"""Files that are likely to guard something, by name."""
PROSE_FILES = re.compile(
    r"\.(?:md|mdx|rst|adoc|tex|csv|tsv|svg)$|(?:^|/)(?!(?:requirements|constraints|cmakelists)[^/]*$)[^/]*\.txt$|(?:^|/)(?:license|changelog|notice|authors)"
)
GENERATED_FILES = re.compile(r"\.lock$|lock\.(?:json|ya?ml)$|go\.sum$|\.min\.(?:js|css)$|\.snap$|\.map$|\.ipynb$")
_OFF = r"(?:false|off|no|none|null|nil|0|disabled)\b"
_ON = r"(?:true|on|yes|1|enabled)\b"
_SET = r"[\"']?\s*(?:=>|[:=,])\s*[\"']?"
_SAFETY = r"(?:auth(?:entication|orization)?|login|csrf|xsrf|mfa|2fa|two_?factor|otp|totp|permissions?|acl|rbac|signature|security)"

ADDED = (
    _rule(
        "patch.tls.off",
        HIGH,
        "switches the check of certificates or host keys off",
        r"\bverify\s*=\s*False\b",
        r"\bverify_?(?:ssl|tls|certs?|peer)" + _SET + _OFF,
        r"\bssl_?verify(?:_?\w+)?" + _SET + _OFF,
        r"rejectUnauthorized" + _SET + _OFF,
        r"InsecureSkipVerify" + _SET + _ON,
        r"NODE_TLS_REJECT_UNAUTHORIZED[\"'\]]*\s*[=:]\s*[\"']?0",
        r"GIT_SSL_NO_VERIFY|http\.sslVerify[\s=\"',]+false|strict-?ssl[\s=:\"']+false",
        r"CURLOPT_SSL_VERIFY(?:PEER|HOST)\s*(?:,|=>)\s*(?:0|false)",
        r"_create_unverified_context|\bCERT_NONE\b|check_hostname\s*=\s*False",
        r"ALLOW_ALL_HOSTNAME_VERIFIER|NoopHostnameVerifier|TrustAll(?:Certs|Manager)|danger_accept_invalid_\w+\(\s*true",
        r"StrictHostKeyChecking[\s=\"',]+no\b|AutoAddPolicy\(|InsecureIgnoreHostKey\(",
    ),
    _rule(
        "patch.auth.off",
        HIGH,
        "switches a check of who may do what off",
        rf"\b\w*{_SAFETY}\w*?_?(?:enabled?|required?|enforced?|check|checks|verification|protection)" + _SET + _OFF,
        r"\b(?:enable|require|enforce|use|check|verify)_?" + _SAFETY + r"\w*" + _SET + _OFF,
        r"\b(?:mfa|2fa|two_?factor|csrf)" + _SET + _OFF,
        r"\b(?:disable|skip|bypass|ignore|no|without)_?-?"
        + _SAFETY
        + r"(?:_?checks?|_?verification|_?validation)?"
        + _SET
        + _ON,
        r"verify_signature" + _SET + _OFF,
        r"algorithms?[\"']?\s*[=:]\s*\[?\s*[\"']none[\"']",
        r"@csrf_exempt\b|\bcsrf\(\)?\s*\.\s*disable\(|csrf\(\s*AbstractHttpConfigurer::disable|\bcsrf\s*->\s*csrf\.disable",
        r"permission_classes\s*=\s*[\[(]\s*(?:AllowAny\b|[\])])|anyRequest\(\)\s*\.\s*permitAll|\[AllowAnonymous\]|@PermitAll\b",
        r"skip_before_action\s+:?(?:authenticate|authorize|verify_authenticity|require)\w*|skip_authorization",
        r"AUTH_PASSWORD_VALIDATORS\s*=\s*\[\s*\]",
        r"\bNOPASSWD\s*:",
    ),
    _rule(
        "patch.password.weakened",
        HIGH,
        "keeps passwords in a weak or readable form",
        r"(?:md5|sha1)\s*\([^)\n]{0,40}passw|passw\w*[^\n]{0,40}\b(?:hashlib\.)?(?:md5|sha1)\s*\(",
        r"NoOpPasswordEncoder|PlaintextPasswordHasher|UnsaltedMD5PasswordHasher",
    ),
    _rule(
        "patch.audit.off",
        HIGH,
        "switches the audit log off",
        r"\baudit(?:_?\w+?)?_?(?:enabled?|log(?:ging)?|trail)?" + _SET + _OFF,
        r"\bdisable_?audit\w*" + _SET + _ON,
    ),
    _rule(
        "patch.constraint.dropped",
        HIGH,
        "takes a protection of the database away",
        r"\bdrop\s+(?:constraint|policy|trigger|not\s+null|foreign\s+key|primary\s+key)\b",
        r"\bdisable\s+(?:row\s+level\s+security|trigger)\b|\bnocheck\s+constraint\b|foreign_key_checks\s*=\s*0",
    ),
    _rule(
        "patch.schema.drop",
        MEDIUM,
        "drops parts of the database's schema",
        r"\bop\.drop_(?:table|column|constraint|index)\b|\b(?:drop_table|remove_column|remove_foreign_key)\s*[(:]|\bmigrations\.DeleteModel|"
        r"\bmigrations\.RemoveField|dropTable\(|dropColumn\(|dropForeign\(",
    ),
    _rule(
        "patch.ci.weakened",
        HIGH,
        "lets a check in CI fail without consequence, or gives it more rights",
        r"continue-on-error\s*:\s*true|allow_failure\s*:\s*true|\|\|\s*(?:true|:|exit\s+0)\b|^\s*-?\s*if\s*:\s*(?:false|\$\{\{\s*false\s*\}\})",
        r"permissions\s*:\s*write-all|pull_request_target|secrets\s*:\s*inherit|--exit-zero\b|--no-verify\b|soft_fail\s*:\s*true",
        r"(?:curl|wget)\b[^\n|]*\|\s*(?:sudo\s+)?(?:ba|z|da)?sh\b",
        files=CI_FILES,
    ),
    _rule(
        "patch.exposed",
        HIGH,
        "opens data or a machine to everybody, or takes its protection away",
        r"publicly_accessible" + _SET + _ON,
        r"\bacl" + _SET + r"public-read",
        r"\b(?:deletion_protection|storage_encrypted|encrypted|block_public_\w+|restrict_public_buckets)" + _SET + _OFF,
        r"\bprivileged" + _SET + _ON + r"|--privileged\b|\bhost(?:Network|PID|IPC)" + _SET + _ON,
        r"runAsNonRoot" + _SET + _OFF + r"|allowPrivilegeEscalation" + _SET + _ON + r"|seccomp[=:]\s*unconfined",
        r"\bbypassPermissions\b|dangerously-?skip-?permissions|--yolo\b",
    ),
    _rule(
        "patch.exfiltration",
        HIGH,
        "sends the environment or credentials to another machine",
        r"(?:requests\.(?:post|put|get)|urlopen|fetch|axios(?:\.\w+)?|http\.\w+|curl)\b[^\n]{0,200}(?:dict\(os\.environ|os\.environ\)|os\.environ\b(?:[^.\[]|$)|JSON\.stringify\(process\.env|\$\(env\)|"
        r"\.ssh/|\.aws/credentials|/etc/passwd)",
    ),
    _rule(
        "patch.dependency.install_script",
        HIGH,
        "runs a program whenever the package is installed",
        r"\"(?:pre|post)?install\"\s*:\s*\"|\"prepare\"\s*:\s*\"(?:[^h]|h[^u]|hu[^s])",
        files=r"(?:^|/)package\.json$",
    ),
    _rule(
        "patch.dependency.source",
        HIGH,
        "takes dependencies from another place",
        r"--(?:extra-)?index-url|--trusted-host|\bregistry\s*=\s*https?:|extra-index-url\s*=|\[\[tool\.\w+\.(?:source|index)\]\]",
        files=r"(?:requirements[\w.-]*\.(?:txt|in)|pip\.conf|\.npmrc|\.yarnrc(?:\.yml)?|pyproject\.toml|pipfile|\.pypirc)$",
    ),
    _rule(
        "patch.code.eval",
        MEDIUM,
        "runs text as code",
        r"(?:^|[^\w.])(?:eval|exec)\s*\(|\bnew\s+Function\s*\(|\bpickle\.loads?\s*\(|\bmarshal\.loads\s*\(|yaml\.(?:unsafe_)?load\s*\((?:[^S\n]|S+[^Sa\n])*S*$|"
        r"__import__\s*\(|ObjectInputStream\s*\(|\bunserialize\s*\(|dangerouslySetInnerHTML|vm\.runIn\w+\(",
    ),
    _rule(
        "patch.code.process",
        MEDIUM,
        "starts another program",
        r"\bsubprocess\.\w+\s*\(|\bos\.(?:system|popen|exec\w*|spawn\w*)\s*\(|\bchild_process\b|\bexecSync\s*\(|\bspawn(?:Sync)?\s*\(|Runtime\.getRuntime\(\)"
        r"|\bProcessBuilder\s*\(|\bexec\.Command\s*\(|Command::new\s*\(|\bshell_exec\s*\(|\bproc_open\s*\(|\bpassthru\s*\(|shell\s*=\s*True",
    ),
    _rule(
        "patch.code.environment",
        LOW,
        "reads the environment",
        r"\bos\.environ\b|\bos\.getenv\s*\(|\bprocess\.env\b|\bSystem\.getenv\s*\(|\bENV\[|\bos\.Getenv\s*\(|env::var\s*\(",
    ),
    _rule(
        "patch.test.skipped",
        MEDIUM,
        "makes a test not run",
        r"@(?:pytest\.mark\.(?:skip|xfail)|unittest\.skip|Disabled|Ignore)\b|\bpytest\.skip\s*\(|\b(?:it|test|describe|context)\.(?:skip|todo)\s*\(|\bx(?:it|describe|test)\s*\(|"
        r"\bt\.Skip(?:Now|f)?\s*\(|#\[ignore\]|\bself\.skipTest\s*\(|\bmarkTestSkipped\s*\(",
    ),
    _rule(
        "patch.check.silenced",
        MEDIUM,
        "tells a security scanner to look away",
        r"#\s*nosec\b|nosemgrep\b|NOSONAR\b|gitleaks:allow|pragma:\s*allowlist[ -]secret|codeql\[|trivy:ignore|tfsec:ignore|checkov:skip",
    ),
    _rule(
        "patch.open_to_all",
        MEDIUM,
        "accepts everybody",
        r"Access-Control-Allow-Origin[\"']?\s*[,:=]\s*[\"']\*|allow_origins\s*=\s*\[\s*[\"']\*|CORS_(?:ORIGIN_)?ALLOW_ALL\w*\s*=\s*True|\b0\.0\.0\.0/0\b|\bchmod\b[^\n]*\b0?777\b|"
        r"ALLOWED_HOSTS\s*=\s*\[\s*[\"']\*|^\s*USER\s+root\b|\bDEBUG\s*=\s*True\b",
    ),
)

REMOVED = (
    _rule(
        "patch.auth.removed",
        HIGH,
        "takes a check of who may do what away",
        r"@(?:login_required|permission_required|user_passes_test|staff_member_required|superuser_required|requires?_?\w*(?:auth|login|permission|role|scope|admin)\w*|\w*auth\w*_required|jwt_required|"
        r"authenticated|roles?_(?:required|accepted)|PreAuthorize|PostAuthorize|Secured|RolesAllowed|UseGuards|Roles|Authorized?|admin_required|token_required|csrf_protect|protected)\b",
        r"\[Authorize\b|\bbefore_action\s+:(?:authenticate|authorize|require|verify)\w*|\bauthenticate_\w+!|\bauthorize!",
        r"\b(?:Depends|Security)\(\s*(?:get_current|require|verify|auth|current|check)\w*",
        r"\b(?:CsrfViewMiddleware|AuthenticationMiddleware|SecurityMiddleware|AuthMiddleware|XFrameOptionsMiddleware|IsAuthenticated|IsAdminUser|DjangoModelPermissions)\b",
        r"\b(?:requireAuth|ensureAuthenticated|isAuthenticated|verifyToken|verifyJwt|requireRole|checkPermissions?|requirePermission|authMiddleware|requireAdmin|isAdmin|csrfProtection)\b",
        r"\b(?:is_authenticated|has_permissions?|has_perm|check_permissions?|check_object_permissions|require_permission|require_role|is_authorized|authorize|verify_signature|verify_token|verify_jwt|verify_password|"
        r"check_password|compare_digest|verify_csrf\w*|protect_from_forgery|is_superuser|is_admin|can_access|assert_access|csrf_token)\b",
        r"\b(?:helmet|csurf|csrf)\(|\bpassport\.authenticate\(|\.authenticated\(\)|\.hasRole\(|\.hasAuthority\(|\benable_row_level_security\b|\bENABLE\s+ROW\s+LEVEL\s+SECURITY\b",
    ),
    _rule(
        "patch.mfa.removed",
        HIGH,
        "takes a second factor away",
        r"\b(?:mfa|2fa|two_?factor|totp|otp)_?(?:required|verify|verified|check|enabled)\b|\b(?:verify|require|check)_?(?:mfa|2fa|totp|otp|two_?factor)\w*",
    ),
    _rule(
        "patch.limit.removed",
        HIGH,
        "takes a limit away that slows attackers down",
        r"\b(?:rate_?limit\w*|throttl\w+|RateLimiter|slowDown|max_(?:login_)?attempts|lockout\w*|limit_req\w*|Ratelimit|brute_?force\w*)\b",
    ),
    _rule(
        "patch.validation.removed",
        HIGH,
        "takes the cleaning of input away",
        r"\b(?:sanitize\w*|escape_?html|htmlspecialchars|bleach\.clean|DOMPurify\.sanitize|secure_filename|quote_ident|shlex\.quote|escapeshellarg|is_safe_url|url_has_allowed_host_and_scheme|defusedxml)\b",
    ),
    _rule(
        "patch.audit.removed",
        HIGH,
        "takes an entry in the audit log away",
        r"\b(?:audit\w*\.\w+|audit_?(?:log|event|trail)\w*|log_?(?:audit|security)\w*|security_?log\w*|AuditLog\w*|AuditEvent\w*|record_audit\w*)\b",
    ),
    _rule(
        "patch.ci.check_removed",
        HIGH,
        "takes a check out of CI",
        r"\b(?:codeql|trivy|snyk|semgrep|bandit|gitleaks|trufflehog|pip-audit|npm\s+audit|yarn\s+audit|cargo\s+audit|govulncheck|grype|dependency-review|sonar\w*|safety\s+check|checkov|tfsec|zizmor|scorecard|"
        r"hadolint|osv-scanner|detect-secrets)\b",
        r"\b(?:pytest|go\s+test|npm\s+(?:run\s+)?test|cargo\s+test|mvn\s+\w*test|make\s+test|jest|ruff\s+check|eslint|mypy|lint)\b|\btox(?:[ \t]+[-\w]|[^\w\s:]|\s*$)",
        files=CI_FILES,
    ),
    _rule(
        "patch.test.weakened",
        MEDIUM,
        "takes assertions out of tests",
        r"\bassert\w*\b|\bexpect\s*\(|\bshould\.",
        files=TEST_FILES.pattern,
    ),
)

LOWERED = r"(?:min\w*(?:length|len|chars|size)|password\w*(?:length|min\w*)|minlength|bcrypt\w*|rounds|iterations|work_?factor|key_?size|salt\w*|history_?count|approvals?(?:_required|_count)?|required_\w*approv\w*|quorum)"
"""Numbers of this name are safer when larger."""

RAISED = r"(?:max_?(?:login_?)?attempts|max_?retries_?login|rate_?limit\w*|lockout_?threshold|requests_?per_\w+|(?:session|token|jwt|access)\w*(?:lifetime|expir\w*|ttl|max_?age)|throttle\w*)"
"""Numbers of this name are safer when smaller."""

YES_FUNCTIONS = r"\b(?:is_?authori[sz]ed|is_?authenticated|has_?permission\w*|has_?role|check_?(?:password|permission|auth|access|token|signature)\w*|verify_?\w+|authenticate\w*|authori[sz]e\w*|validate_?(?:token|signature|password|session|csrf)\w*|can_?(?:access|edit|delete|view)\w*|is_?admin)\s*[(=:]"
"""Functions that answer who may do what."""
