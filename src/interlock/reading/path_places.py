"""Places that matter, as data: credentials, system files, protected files. Read by the path reader.

Patterns are regular expressions over the lower-case path with ``/`` as separator, fixed and linear. Sources: the default
locations in the manuals of OpenSSH, git, AWS, Google Cloud, Azure, Kubernetes, Docker, npm, PyPI, Cargo, PostgreSQL,
MySQL, GnuPG, Firefox, Chromium, Linux ``hier(7)`` and ``proc(5)``, and Windows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from interlock.model.risk import RiskLevel

MEDIUM, HIGH, CRITICAL = RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Files of one sort, and what touching them asks for."""

    kind: str
    pattern: re.Pattern[str]
    severity: RiskLevel
    reason: str


def _place(kind: str, severity: RiskLevel, reason: str, *patterns: str) -> Place:
    return Place(kind=kind, severity=severity, reason=reason, pattern=re.compile("|".join(patterns)))


TEMPLATES = re.compile(
    r"\.(?:pub|example|sample|template|dist|tmpl|md|rst)$|\.env\.(?:example|sample|template|test|ci)"
)
"""Names that look like credentials and are meant to be shown."""

CREDENTIALS = (
    _place(
        "paths.credentials.key",
        CRITICAL,
        "holds private keys",
        r"(?:^|/)\.ssh/(?!known_hosts|config$|authorized_keys)[^/]+$",
        r"(?:^|/)\.ssh/?$",
        r"(?:^|/)id_(?:rsa|dsa|ecdsa|ed25519)(?:_\w+)?$",
        r"(?:^|/)\.gnupg(?:/|$)",
        r"(?:^|/)etc/ssh/ssh_host_[^/]*_key$",
        r"(?:^|/)etc/(?:ssl|pki)/(?:[^/]+/)*private(?:/|$)",
        r"\.(?:pfx|p12|jks|keystore|kdbx|ppk)$",
        r"(?:^|/)wallet\.dat$",
    ),
    _place(
        "paths.credentials.system",
        CRITICAL,
        "holds the machine's password hashes",
        r"(?:^|/)etc/(?:g?shadow|master\.passwd|security/passwd)-?$",
        r"windows/(?:system32/config|repair)/(?:sam|system|security)(?:\.\w+)?$",
        r"(?:^|/)ntds\.dit$",
    ),
    _place(
        "paths.credentials.browser",
        CRITICAL,
        "holds saved passwords or sessions of a browser or key store",
        r"(?:^|/)(?:logins\.json|key[34]\.db|cookies\.sqlite|login data|web data)$",
        r"/(?:google-chrome|chromium|bravesoftware|chrome/user data)/(?:.*/)?(?:cookies|login data|local state)$",
        r"(?:^|/)library/keychains(?:/|$)",
        r"(?:^|/)\.local/share/keyrings(?:/|$)",
        r"(?:^|/)\.password-store(?:/|$)",
        r"(?:^|/)\.mozilla/firefox(?:/|$)",
    ),
    _place(
        "paths.credentials.cloud",
        HIGH,
        "holds access to a cloud, a cluster or a registry",
        r"(?:^|/)\.aws/(?:credentials|config|sso|cli)",
        r"(?:^|/)\.(?:azure|config/gcloud|oci|aliyun|kube|docker/config\.json|terraform\.d|config/gh|config/doctl)(?:/|$)",
        r"(?:^|/)(?:kubeconfig|application_default_credentials\.json|credentials\.tfrc\.json)$",
        r"(?:^|/)(?:var/)?run/secrets(?:/|$)",
        r"(?:^|/)etc/kubernetes/(?:admin\.conf|pki)",
        r"(?:^|/)var/lib/(?:kubelet|cloud)/",
        r"service[-_]?account[^/]*\.json$",
        r"\.tfstate(?:\.backup)?$",
        r"\.tfvars$",
    ),
    _place(
        "paths.credentials.file",
        HIGH,
        "holds passwords or tokens",
        r"(?:^|/)\.env(?:\.[\w.-]+|rc)?$",
        r"(?:^|/)\.(?:netrc|_netrc|npmrc|pypirc|pgpass|my\.cnf|git-credentials|yarnrc\.yml|s3cfg|boto|htpasswd|vault-token|mylogin\.cnf)$",
        r"(?:^|/)_netrc$",
        r"(?:^|/)\.(?:cargo/credentials|gem/credentials|m2/settings\.xml|nuget/nuget\.config|composer/auth\.json|config/rclone)",
        r"(?:^|/)(?:credentials|secrets?)(?:\.(?:json|ya?ml|toml|ini|txt|env|properties))$",
        r"(?:^|/)(?:wp-config\.php|database\.yml|master\.key|\.htpasswd)$",
        r"(?:^|/)(?:[\w-]*(?:priv|private|server|client|tls|ssl|signing)[\w-]*\.pem|[\w.-]+\.key)$",
        r"\.ovpn$",
        r"(?:^|/)\.(?:claude|codex|gemini)/(?:\.credentials|auth|oauth_creds)\.json$",
        r"(?:^|/)\.config/(?:claude|openai|anthropic)(?:/|$)",
    ),
    _place(
        "paths.history",
        HIGH,
        "holds what a person has typed",
        r"(?:^|/)\.(?:bash|zsh|sh|psql|mysql|python|node_repl|rediscli|sqlite|irb|lesshst|wget-hsts)_?(?:history|hist)$",
        r"(?:^|/)\.(?:histfile|history|viminfo)$",
        r"fish_history$",
        r"consolehost_history\.txt$",
    ),
    _place(
        "paths.process",
        HIGH,
        "shows the memory, environment or files of running programs",
        r"^/proc/(?:self|thread-self|\d+|\*)/(?:environ|mem|maps|root|cwd|fd|cmdline|task)(?:/|$)",
        r"^/proc/(?:kcore|kmem)",
        r"^/dev/(?:mem|kmem|port|sd[a-z]|nvme\d|vd[a-z]|xvd[a-z]|disk)",
        r"^/var/run/docker\.sock$",
        r"^/run/(?:docker|containerd/containerd|podman/podman)\.sock$",
    ),
    _place(
        "paths.system",
        HIGH,
        "is a file of the system that attacks read first",
        r"(?:^|/)etc/(?:passwd|group|sudoers|hosts\.equiv|exports|crontab|mysql/debian\.cnf|fstab)(?:$|[-.;?#%])",
        r"(?:^|/)etc/sudoers\.d(?:/|$)",
        r"(?:^|/)(?:boot|win|system|php)\.ini(?:$|[-.;?#%])",
        r"(?:^|/)var/log/(?:auth|secure|audit|syslog|messages)",
        r"(?:winnt|windows)/(?:system32|system\.ini|win\.ini|repair|panther)",
        r"(?:^|/)web-inf/",
        r"(?:^|/)(?:web|applicationhost)\.config$",
    ),
)
"""Reading any of these is said; the first that fits counts."""

WRITTEN = (
    _place(
        "paths.persistence",
        CRITICAL,
        "would be run or trusted later without being asked for",
        r"(?:^|/)\.ssh/(?:authorized_keys2?|config|rc|environment)$",
        r"^/etc/(?:cron\S*|init\.d|systemd|profile|profile\.d|ld\.so\.\S*|rc\.local|pam\.d|sudoers\S*|passwd|shadow|hosts|ssh)(?:/|$)",
        r"^/var/spool/cron",
        r"(?:^|/)\.(?:bashrc|bash_profile|bash_login|bash_logout|profile|zshrc|zshenv|zprofile|zlogin|config/fish/config\.fish)$",
        r"(?:^|/)\.config/(?:autostart|systemd)(?:/|$)",
        r"(?:^|/)library/launch(?:agents|daemons)(?:/|$)",
        r"start menu/programs/startup(?:/|$)",
    ),
    _place(
        "paths.system",
        CRITICAL,
        "belongs to the system",
        r"^/(?:etc|usr|bin|sbin|lib|lib64|boot|sys|proc|root/\.|var/lib|var/log)(?:/|$)",
        r"^/dev/(?!null$|stdout$|stderr$|stdin$|tty$|shm(?:/|$)|fd/|zero$|full$)",
        r"^(?:[a-z]:)?/(?:windows|winnt|program files)",
    ),
    _place(
        "paths.protected.interlock",
        CRITICAL,
        "holds Interlock's own policy, settings or ledger",
        r"(?:^|/)\.interlock(?:/|$)",
        r"(?:^|/)interlock(?:\.\w+)*\.(?:ya?ml|toml)$",
    ),
    _place(
        "paths.protected.git",
        HIGH,
        "is git's own file: hooks and settings in it run programs",
        r"(?:^|/)\.git(?:/|$)",
        r"(?:^|/)\.(?:husky|githooks)(?:/|$)",
        r"(?:^|/)(?:\.gitmodules|\.pre-commit-config\.yaml|lefthook\.ya?ml|\.gitconfig|\.git-hooks)$",
    ),
    _place(
        "paths.protected.ci",
        HIGH,
        "decides which checks a change must pass",
        r"(?:^|/)\.github/(?:workflows|actions)(?:/|$)",
        r"(?:^|/)\.(?:circleci|buildkite|tekton|woodpecker|gitlab/ci)(?:/|$)",
        r"(?:^|/)(?:\.gitlab-ci|\.travis|\.drone|\.woodpecker|azure-pipelines|bitbucket-pipelines|appveyor|cloudbuild|buildspec)\.ya?ml$",
        r"(?:^|/)jenkinsfile(?:\.\w+)?$",
        r"(?:^|/)(?:\.github/|docs/)?codeowners$",
        r"(?:^|/)\.github/(?:dependabot\.ya?ml|settings\.ya?ml)$",
    ),
    _place(
        "paths.protected.agent",
        HIGH,
        "decides what agents or editors may do or run",
        r"(?:^|/)\.(?:claude|codex|gemini|cursor)/(?:settings[\w.]*\.json|config\.toml|mcp\.json|hooks(?:/|$)|hooks\.json)",
        r"(?:^|/)\.?opencode/(?:plugins?(?:/|$)|opencode\.jsonc?$)",
        r"(?:^|/)\.mcp\.json$",
        r"(?:^|/)\.vscode/(?:tasks|settings|launch)\.json$",
        r"(?:^|/)\.(?:envrc|devcontainer(?:/|\.json$))",
    ),
    _place(
        "paths.lockfile",
        MEDIUM,
        "fixes which dependencies are installed",
        r"(?:^|/)(?:package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml|bun\.lockb?|poetry\.lock|pdm\.lock|uv\.lock|"
        r"pipfile\.lock|requirements\.lock|cargo\.lock|go\.sum|gemfile\.lock|composer\.lock|mix\.lock|packages\.lock\.json|"
        r"podfile\.lock|flake\.lock|gradle\.lockfile|conda-lock\.yml|deno\.lock|pubspec\.lock|\.terraform\.lock\.hcl)$",
    ),
)
"""Writing any of these is said; every sort that fits counts once."""

MANIFEST = re.compile(
    r"(?:^|/)(?:package\.json|pyproject\.toml|setup\.(?:py|cfg)|requirements[\w.-]*\.(?:txt|in)|pipfile|cargo\.toml|go\.mod|gemfile|"
    r"composer\.json|pom\.xml|build\.gradle(?:\.kts)?|mix\.exs|[\w.-]+\.csproj|pubspec\.yaml|environment\.ya?ml|dockerfile[\w.]*)$"
)
"""Files that name dependencies."""

COMMON = re.compile(r"^/(?:usr|bin|sbin|lib|lib64|opt|tmp|var/tmp|dev/(?:null|std\w+|zero|tty|shm)|private/tmp)(?:/|$)")
"""Places outside of any workspace that programs read all day."""

SCRATCH = re.compile(r"^/(?:tmp|var/tmp|private/tmp|dev/(?:null|std\w+|tty|shm|full|zero|fd))(?:/|$)")
"""Places outside of any workspace that programs write to all day."""
