"""What a call would do to the world, in a few words that flow and sequences are judged by."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any

import re2

from interlock.model.action import Action, Reading, Surface
from interlock.reading.normal import encodable

# Words of tools' names; a tool may have several effects. `send` takes data out of the house, `fetch` brings it in.
_TOOL_WORDS = {
    "send": "send forward reply post publish upload share email mail message notify sms tweet comment webhook dm invite broadcast submit export",
    "fetch": "fetch browse browser web http search crawl scrape download visit open_url rss navigate",
    "outside": "inbox email emails mail issue issues pull_request pr slack discord teams telegram channel calendar jira ticket notion confluence"
    " wiki feed webpage page web http url website browser search crawl scrape rss review reviews comment comments linear zendesk intercom twitter"
    " github gitlab drive sheet form forum chat sms whatsapp",
    "delete": "delete remove drop destroy purge erase wipe truncate unlink trash archive cancel",
    "pay": "pay payment transfer charge refund purchase buy order invoice wire transaction checkout withdraw subscribe book reserve",
    "read_secret": "secret secrets vault credential credentials password keychain keyring token tokens",
    "grant": "grant permission permissions role roles access member admin invite sudo acl policy",
}
_BY_TOOL_WORD: dict[str, set[str]] = {}
for _effect, _words in _TOOL_WORDS.items():
    for _word in _words.split():
        _BY_TOOL_WORD.setdefault(_word, set()).add(_effect)
_READING_WORDS = frozenset("get list read search find fetch show view describe query lookup check count".split())  # noqa: SIM905 - a list of words reads as words
_LOCAL_TOOLS = frozenset("shell bash sql read edit write grep glob ls patch notebook todo plan think python".split())  # noqa: SIM905 - a list of words reads as words

# Programs and forms of shell commands; word boundaries only, since the shell reader does the exact work.
_COMMANDS = (
    (
        "send",
        r"\b(?:curl|wget|http|https|xh)\b[^\n;&|]*(?:\s-[a-zA-Z]{0,4}[dFT]\b|\s--(?:data|form|upload-file|json|post)|\s-X\s?(?:POST|PUT|PATCH)|\bPOST\b|[?&][\w-]{1,40}=[^&\s]*\$)|\|\s{0,4}(?:curl|wget|nc|ncat|netcat|ssh|mail|sendmail|telnet|socat)\b",
    ),
    (
        "send",
        r"\b(?:scp|rsync|sftp|ftp|nc|ncat|netcat|socat|telnet|sendmail|mail|mutt|msmtp|swaks|rclone|croc|magic-wormhole|transfer)\s|/dev/(?:tcp|udp)/|\b(?:aws\s+s3\s+(?:cp|sync|mv)|gsutil\s+(?:cp|rsync)|gh\s+(?:gist|issue|pr|release)\s+(?:create|comment|edit|upload)|slack|telegram-send)\b|requests\.(?:post|put)|\bdig\s[^\n]*\$|\bnslookup\s[^\n]*\$",
    ),
    (
        "publish",
        r"\b(?:npm|pnpm|yarn|cargo|poetry|uv|gem|flit|hatch)\s+(?:publish|push)\b|\btwine\s+upload\b|\bdocker\s+push\b",
    ),
    ("push", r"\bgit\b[^\n;&|]*\spush\b"),
    (
        "fetch",
        r"\b(?:curl|wget|http|https|xh|aria2c|lynx|w3m|links|git\s+(?:clone|pull|fetch)|gh\s+(?:issue|pr|api|repo|release)|pip\s+download|npm\s+view|docker\s+pull|invoke-webrequest)\b",
    ),
    (
        "delete",
        r"\b(?:rm|rmdir|unlink|shred|truncate|trash)\s|\s-delete\b|\bgit\s+(?:branch\s+-[dD]|clean|rm)\b|\b(?:kubectl|oc|helm|docker|podman|aws|gcloud|az|terraform|gh|glab|heroku)\b[^\n;&|]*\b(?:delete|rm|remove|destroy|uninstall|terminate|prune)[\w-]*",
    ),
    (
        "run_fetched",
        r"\b(?:curl|wget)\b[^\n]*\|\s{0,4}(?:sudo\s+)?(?:ba|z|da|k)?sh\b|(?:ba|z|da)?sh\s+-c\s+[\"']?\$\(\s{0,4}(?:curl|wget)|(?:source|\.|eval)\s+[^\n]*(?:\$\(|<\()\s{0,4}(?:curl|wget)|\|\s{0,4}(?:sudo\s+)?(?:python|perl|ruby|node)\d?\b",
    ),
    (
        "read_secret",
        r"\.ssh/|\bid_(?:rsa|ed25519|ecdsa)\b|\.aws/credentials|\.netrc\b|\.pgpass\b|\.git-credentials|\.npmrc\b|\.pypirc\b|\.kube/config|(?:^|[\s/=\"'])\.env(?:\.[\w-]+)?(?:[\s\"';|&)]|$)|\bcredentials(?:\.json)?\b|/etc/shadow|\.p12\b|\.pfx\b|\.pem\b|\.key\b|\.gnupg|\bprintenv\b|(?:^|[;&|]\s{0,4})env\s{0,4}(?:$|\|)|\bkubectl\b[^\n]*\bsecrets?\b|\b(?:vault|op|pass|bw|doppler|chamber)\s+(?:kv\s+)?(?:read|get|show|item|secrets?)\b|secretsmanager|\bgcloud\s+secrets|az\s+keyvault\s+secret|security\s+find-\w+-password|/proc/[\w*]+/environ",
    ),
    (
        "disable_check",
        r"--no-verify\b|--no-gpg-sign\b|\bset\s+\+e\b|\|\|\s{0,2}true\b|\bcore\.hooksPath\b|\bSKIP=|\bHUSKY=0|\bgh\b[^\n]*(?:protection|rulesets)|--force-with-lease|\bsystemctl\s+(?:stop|disable|mask)|\bsetenforce\s+0|\bufw\s+disable|iptables\s+-F|\bauditctl\s+-[eD]|--(?:skip|no|disable)-(?:checks?|tests?|verify|validation|hooks?|lint|audit|scan)\b",
    ),
)
_CHECK_FILES = re.compile(
    r"(?:^|/)(?:\.github/workflows/|\.gitlab-ci|\.circleci/|Jenkinsfile|\.pre-commit-config|\.husky/|CODEOWNERS|azure-pipelines|\.drone\.yml)"
)
_CHECK_REMOVED = re.compile(
    r"continue-on-error:\s*true|if:\s*false|#\s*noqa|eslint-disable|skip\s*=\s*True|allow_failure:\s*true|verify\s*=\s*False|rejectUnauthorized:\s*false",
    re.IGNORECASE,
)
_CREDENTIAL_FILE = re.compile(
    r"(?:^|/)(?:\.env(?:\.[\w-]+)?|\.netrc|\.pgpass|\.npmrc|\.pypirc|\.git-credentials|id_(?:rsa|dsa|ecdsa|ed25519)|credentials(?:\.\w+)?|secrets?\.(?:ya?ml|json|toml|env)|[\w.-]+\.(?:pem|key|p12|pfx|jks|keystore|kdbx)|shadow|\.htpasswd|service[_-]account[\w-]*\.json|kubeconfig|environ)$|/\.(?:ssh|aws|gnupg|kube|docker|azure)/|/var/run/secrets/|/run/secrets/"
)

_LONG = 2_000

CONSEQUENTIAL = frozenset(
    {"send", "publish", "push", "delete", "pay", "run_fetched", "grant", "write_outside", "disable_check"}
)
"""Effects that others feel or that cannot be taken back."""
OUTWARD = frozenset({"send", "publish", "push"})
"""Effects that take data out of the house."""


def effects(action: Action, reading: Reading | None = None, workspace: str = "") -> frozenset[str]:
    """What ``action`` would do: the words of :data:`CONSEQUENTIAL`, and ``fetch``, ``outside``, ``read_secret``."""
    if action.kind not in {Surface.TOOL_CALL, Surface.FILE_CHANGE, Surface.TOOL_RESULT}:
        return frozenset()
    reading = reading or Reading()
    found = set(_of_tool(action))
    text = action.text if action.tool in {"shell", "bash", "", "python"} else ""
    if text:
        found.update(_of_command(text))
    kinds = " ".join(finding.kind for finding in reading.findings)
    if (
        "delete" in kinds
        or "drop" in kinds
        or any(word.startswith(("delete", "drop", "truncate")) for word in reading.statements)
    ):
        found.add("delete")
    paths = (*reading.paths, *_paths(action))
    if any(_CREDENTIAL_FILE.search(path) for path in paths):
        found.add("read_secret")
    if action.tool in {"edit", "write", "patch"} or action.kind is Surface.FILE_CHANGE:
        found -= {"send", "fetch", "outside", "pay", "grant", "delete"}
        if any(_outside(path, workspace) for path in paths):
            found.add("write_outside")
        if any(_CHECK_FILES.search(path) for path in paths) or _CHECK_REMOVED.search(action.text):
            found.add("disable_check")
    if any(finding.kind.startswith(("patch.check", "patch.security")) for finding in reading.findings):
        found.add("disable_check")
    return frozenset(found)


def is_local(tool: str) -> bool:
    """Whether results of ``tool`` are the workspace's own: files and commands, not messages of others."""
    return tool in _LOCAL_TOOLS


def holds_credentials(path: str) -> bool:
    """Whether a file of this name is kept for its secrets."""
    return _CREDENTIAL_FILE.search(path) is not None


def texts(value: Any) -> Iterator[str]:
    """All texts in arguments, however deep they lie (within reason)."""
    stack, seen = [value], 0
    while stack and seen < 10_000:  # noqa: PLR2004 - arguments beyond this are refused for their size elsewhere
        seen += 1
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            stack += [*item.keys(), *item.values()]
        elif isinstance(item, (list, tuple)):
            stack += item


def _of_tool(action: Action) -> frozenset[str] | set[str]:
    found, reads = _of_name(action.tool)
    method = str(action.args.get("method", "")).upper()
    if reads and method in {"", "GET", "HEAD"}:
        return found - {"send", "delete", "pay", "grant"}
    if method in {"POST", "PUT", "PATCH"} or (not method and action.tool == "http" and action.args.get("body")):
        return found | {"send"}
    return found | {"delete"} if method == "DELETE" else found


def _of_command(text: str) -> set[str]:
    """The effects of a shell command's words: one scan of a set; a long text could exhaust the set's memory, so each is tried."""
    together, each = _patterns()
    text = encodable(text)
    if len(text) > _LONG:
        return {effect for effect, pattern in each if pattern.search(text)}
    return {each[number][0] for number in together.Match(text) or ()}


@cache
def _patterns() -> tuple[Any, tuple[tuple[str, Any], ...]]:
    options = re2.Options()
    options.log_errors = False
    together = re2.Set.SearchSet(options)
    for _, pattern in _COMMANDS:
        together.Add(pattern)
    together.Compile()
    return together, tuple((effect, re2.compile(pattern)) for effect, pattern in _COMMANDS)


@lru_cache(maxsize=1024)
def _of_name(tool: str) -> tuple[frozenset[str], bool]:
    """The effects that the words of a tool's name speak of, and whether it only reads."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", tool).lower())
    if is_local(tool):
        return frozenset(), False
    return frozenset(effect for word in words for effect in _BY_TOOL_WORD.get(word, ())), bool(
        _READING_WORDS & set(words)
    )


def _paths(action: Action) -> list[str]:
    return [
        value
        for name in ("path", "file_path", "file", "filename", "target", "destination")
        if isinstance(value := action.args.get(name), str)
    ]


def _outside(path: str, workspace: str) -> bool:
    if path.startswith(("~", "$HOME")) or ".." in path.split("/"):
        return True
    return (
        path.startswith("/")
        and not (workspace and (path == workspace or path.startswith(workspace.rstrip("/") + "/")))
        and not path.startswith("/tmp/")  # noqa: S108 - scratch space is nobody's
    )
