"""Programs that talk to other machines: what would leave, and where to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from interlock.model.risk import RiskLevel
from interlock.reading.encoded import carries_text
from interlock.reading.shell import holes
from interlock.reading.shell.machine import Machine
from interlock.reading.shell.places import judge_read, judge_write, secret_file
from interlock.reading.shell.registry import handles
from interlock.reading.shell.rules import has_flag
from interlock.reading.shell.state import Call

_URL = re.compile(r"^(?:[a-z][a-z0-9+.-]*)://([^/?#\s]*)", re.IGNORECASE)
_HOSTLIKE = re.compile(
    r"^(?:[\w-]+@)?((?:[\w-]+\.)+[a-z]{2,}|\d{1,3}(?:\.\d{1,3}){3}|localhost)(?::\d*)?(?:[/?].*)?$", re.IGNORECASE
)
_REMOTE_PATH = re.compile(r"^(?:([\w.-]+)@)?([\w.-]{2,}|\[[0-9a-f:]+\]):(?!//)(.*)$", re.IGNORECASE | re.DOTALL)
_DATA_FLAGS = (
    "-d",
    "--data",
    "--data-binary",
    "--data-raw",
    "--data-ascii",
    "--data-urlencode",
    "--json",
    "-F",
    "--form",
    "--form-string",
    "--post-data",
    "--body-data",
    "--url-query",
    "-b",
    "--cookie",
)
_UPLOAD_FLAGS = ("-T", "--upload-file", "--post-file", "--body-file", "--input-file")
_DESTRUCTIVE_URL = re.compile(
    r"(?i)(?:/|_|:|\b)(?:do)?(?:delete|destroy|purge|drop|truncate|terminate|uninstall|wipe|shutdown|clean|flush|reset|revoke|kill|restart|exit|quiet(?:down)?|saferestart|disable)(?:[-_/?&=\w]*)$|_delete_by_query|/_close\b|/_shutdown\b|/delete[-_/]|_cluster/(?:settings|reroute)|/_settings\b"
)
_METADATA = re.compile(
    r"(?i)^(?:169\.254\.1(?:69\.254|70\.2)|metadata(?:\.google\.internal)?|100\.100\.100\.200|2852039166|0xa9fea9fe|"
    r"\[?fd00:ec2::254\]?|0251\.0376\.0251\.0376)(?::\d+)?$"
)


@handles("curl", "wget", "http", "https", "xh", "httpie", "aria2c", "lwp-download", "lwp-request", "fetch", "axel")
def download(machine: Machine, call: Call) -> str:
    """What comes in, and where it is put."""
    for option in ("-o", "--output", "-O", "--output-document", "--out"):
        for value in _values(call, option):
            if call.name == "curl" and option == "-O":
                continue
            if value == "-":
                continue
            judge_write(machine, value, call.text)
            machine.remember(value, holes.DOWNLOAD)
    for url in _urls(call):
        name = re.sub(r"[?#].*", "", url).rstrip("/").rsplit("/", 1)[-1]
        if name and (
            call.name in {"wget", "aria2c", "axel"} or has_flag(call.form, "-O") or has_flag(call.form, "--remote-name")
        ):
            machine.remember(name, holes.DOWNLOAD)
    return holes.DOWNLOAD


def _values(call: Call, *options: str) -> list[str]:
    found = []
    args = call.args
    for place, arg in enumerate(args):
        for option in options:
            if arg == option:
                found.append(args[place + 1] if place + 1 < len(args) else "")
            elif option.startswith("--"):
                if arg.startswith(option + "="):
                    found.append(arg[len(option) + 1 :])
            elif len(arg) > 2 and arg[0] == "-" and arg[1] != "-":  # noqa: PLR2004 - a cluster or an attached value
                letter = arg.find(option[1], 1)
                if (
                    letter > 0
                    and (letter == 1 or arg[1:letter].isalnum())
                    and not any("-" + one in call.options.valued for one in arg[1:letter])
                ):
                    rest = arg[letter + 1 :]
                    found.append(rest or (args[place + 1] if place + 1 < len(args) else ""))
    return found


def _urls(call: Call) -> list[str]:
    return [word for word in (*call.form.words, *_values(call, "--url")) if _URL.match(word) or _HOSTLIKE.match(word)]


def judge(machine: Machine, call: Call) -> None:
    """Report what a call sends away, and note whom it talks to."""
    sets = machine.rules.sets
    if call.name not in sets["network"]:
        return
    _destinations(machine, call)
    if call.name in {"curl", "wget", "http", "https", "xh", "httpie"}:
        _http(machine, call)
    elif call.name in sets["copies"]:
        _copies(machine, call)
    elif call.name in sets["pipes_out"]:
        _pipes(machine, call)
    if call.name in sets["lookups"]:
        _lookup(machine, call)


def _destinations(machine: Machine, call: Call) -> None:
    for word in call.form.words:
        host = None
        if (match := _URL.match(word)) is not None:
            host = match[1].rsplit("@", 1)[-1]
        elif (remote := _REMOTE_PATH.match(word)) is not None and call.name in machine.rules.sets["copies"]:
            host = remote[2]
        elif (plain := _HOSTLIKE.match(word)) is not None:
            host = plain[1]
        if not host:
            continue
        if _METADATA.search(host):
            machine.report(
                "shell.credentials.metadata",
                RiskLevel.HIGH,
                call.text,
                "The cloud machine's own credentials would be asked for.",
            )
        machine.seen.destinations[holes.shown(word if _URL.match(word) else host)] = None
        name = re.sub(r":\d*$", "", host).lower()
        if machine.scope.hosts is not None and not _allowed(name, machine.scope.hosts):
            machine.report(
                "shell.network.host",
                RiskLevel.HIGH,
                call.text,
                f"{holes.shown(name, 60)} is not a host that may be talked to.",
            )


def _allowed(host: str, hosts: Iterable[str]) -> bool:
    return any(fnmatchcase(host, glob.lower()) for glob in hosts)


def _http(machine: Machine, call: Call) -> None:
    method = _method(call)
    urls = _urls(call) or list(call.form.words)
    _changes(machine, call, method, urls)
    for value in _values(call, *_UPLOAD_FLAGS):
        _upload(machine, call, value, "A file would be sent away.")
    for value in (*_values(call, *_DATA_FLAGS), *_httpie_fields(call)):
        _data(machine, call, value)
    if call.name == "wget" and _values(call, "--post-data", "--body-data"):
        machine.report("shell.exfiltration.post", RiskLevel.HIGH, call.text, "A downloader would send data away.")
    for url in urls:
        _sent(machine, call, url)
        if carries_text(url.partition("?")[2]):
            machine.report("shell.exfiltration.encoded", RiskLevel.HIGH, call.text, "The address carries encoded data.")
    for value in _values(call, "-H", "--header", "-A", "--user-agent", "-e", "--referer"):
        if (holes.OUTPUT in value or holes.SECRET in value) and not _SIGNS_IN.match(value):
            _sent(machine, call, value)
    if call.stdin is not None and call.name in {"http", "https", "xh", "httpie"}:
        _sent(machine, call, call.stdin)


_SIGNS_IN = re.compile(
    r"(?i)(?:proxy-)?authorization|(?:private|job|deploy)-token|api-?key|cookie|x-\S*(?:token|key|auth|secret)\S*:"
)
"""Headers that are there to carry a credential to whom it belongs."""


def _changes(machine: Machine, call: Call, method: str, urls: list[str]) -> None:
    """What a request asks the other side to do."""
    if method == "DELETE":
        level = RiskLevel.MEDIUM if urls and all(_OWN_SERVER.match(url) for url in urls) else RiskLevel.HIGH
        machine.report("shell.remote.delete", level, call.text, "Something on another machine would be deleted.")
    elif method in {"PUT", "PATCH", "PURGE", "MOVE"}:
        level = RiskLevel.HIGH if method in {"PURGE", "MOVE"} else RiskLevel.MEDIUM
        machine.report("shell.remote.change", level, call.text, "Something on another machine would be changed.")
    if method != "GET" and any(_DESTRUCTIVE_URL.search(url.split("?", maxsplit=1)[0]) for url in urls):
        machine.report("shell.remote.delete", RiskLevel.HIGH, call.text, "The address names a deletion.")


def _method(call: Call) -> str:
    values = _values(call, "-X", "--request", "--method")
    if values:
        return values[-1].upper()
    words = call.form.words
    if call.name in {"http", "https", "xh", "httpie"} and words and words[0].isalpha() and words[0].isupper():
        return words[0]
    sends = bool(_values(call, *_DATA_FLAGS[:-2], *_UPLOAD_FLAGS))
    return "POST" if sends else "GET"


def _httpie_fields(call: Call) -> list[str]:
    if call.name not in {"http", "https", "xh", "httpie"}:
        return []
    found = (re.search(r"@(.+)$", word) for word in call.form.words if "://" not in word)
    return ["@" + match[1] for match in found if match is not None]


def _data(machine: Machine, call: Call, value: str) -> None:
    urlencoded = _values(call, "--data-urlencode")
    if value.startswith("@") or re.search(r"=[@<]\S", value) or (value in urlencoded and re.match(r"\w+@\S", value)):
        path = re.split(r"^@|=[@<]|^\w+@", value, maxsplit=1)[1].split(";")[0].strip("\"'")
        if path == "-" or path == "/dev/stdin":  # noqa: PLR1714 - two names of one thing
            _sent(machine, call, call.stdin or "")
        else:
            _upload(machine, call, path, "A file would be sent away.")
    else:
        _sent(machine, call, value)


def _upload(machine: Machine, call: Call, path: str, reason: str) -> None:
    if path == "/dev/null":
        return
    if path in {"-", ".", "/dev/stdin"}:
        _sent(machine, call, call.stdin or "", reason=reason)
        return
    content = judge_read(machine, path, call.text)
    if holes.SECRET in content or secret_file(machine, path):
        machine.report("shell.exfiltration.secret", RiskLevel.CRITICAL, call.text, "A credential would be sent away.")
    else:
        level = RiskLevel.MEDIUM if _stays_here(call) else RiskLevel.HIGH
        machine.report("shell.exfiltration.file", level, call.text, reason)


def _stays_here(call: Call) -> bool:
    """Whether a request goes to this machine only, as tests of one's own server do."""
    urls = _urls(call)
    return bool(urls) and all(_LOOPBACK.match(url) for url in urls)


_OWN_SERVER = re.compile(
    r"(?i)^(?:https?://)?(?:localhost|127\.0\.0\.1|\[::1\]):(?:3\d\d\d|4000|4200|5000|5173|8000|8080|8888)/\w[\w/.-]*\w$"
)
"""One thing on a server that somebody develops: the ports that frameworks start on, an address without wildcards."""
_LOOPBACK = re.compile(r"(?i)^(?:https?://)?(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?(?:[/?#]|$)")


def _sent(
    machine: Machine, call: Call, text: str, *, reason: str = "What a program prints would be sent away."
) -> None:
    if holes.SECRET in text:
        machine.report("shell.exfiltration.secret", RiskLevel.CRITICAL, call.text, "A credential would be sent away.")
    elif holes.OUTPUT in text:
        machine.report("shell.exfiltration.output", RiskLevel.HIGH, call.text, reason)


def _copies(machine: Machine, call: Call) -> None:
    """scp, rsync, rclone, aws s3 cp and their like: from here to elsewhere."""
    if call.name in {"sftp", "lftp", "ftp"}:
        if call.stdin is not None and re.search(r"(?m)^\s*(?:m?put|reput)\s", call.stdin):
            machine.report("shell.exfiltration.file", RiskLevel.HIGH, call.text, "A file would be sent away.")
        return
    words = _transferred(call)
    if len(words) < 2:  # noqa: PLR2004 - source and target
        return
    if any(_REMOTE_SECRET.search(path) for path in words[:-1]):
        reason = "A credential of another machine would be fetched."
        machine.report("shell.credentials.fetch", RiskLevel.HIGH, call.text, reason)
    remote = _REMOTE_PATH.match(words[-1]) or _URL.match(words[-1])
    if remote is None:
        return
    for path in words[:-1]:
        _leaves(machine, call, path)
    folder = remote[3] if remote.re is _REMOTE_PATH else "x"
    if _REMOTE_SYSTEM.match(folder):
        level = RiskLevel.HIGH if folder != "/" else RiskLevel.CRITICAL
        reason = "A system directory of another machine would be written."
        machine.report("shell.remote.system", level, call.text, reason)


def _leaves(machine: Machine, call: Call, path: str) -> None:
    """What it means that this file or folder goes to another machine."""
    if path in _EVERYTHING:
        reason = "The whole workspace would be sent away."
        machine.report("shell.exfiltration.workspace", RiskLevel.HIGH, call.text, reason)
    elif secret_file(machine, path):
        machine.report("shell.exfiltration.secret", RiskLevel.CRITICAL, call.text, "A credential would be sent away.")
    elif path.startswith(("/etc", "/root", "~", "/home", "/var", "..")):
        reason = "Files from outside the workspace would be sent away."
        machine.report("shell.exfiltration.file", RiskLevel.HIGH, call.text, reason)


_EVERYTHING = frozenset({".", "./", "/", "~", "$HOME", "*", "./*"})
_REMOTE_SECRET = re.compile(
    r"^[\w.@-]+:(?:/etc/(?:g?shadow|sudoers)|.*(?:\.ssh/|id_(?:rsa|ed25519)|\.aws/|\.kube/|\.env$))"
)
_TRANSFERS = frozenset(["cp", "copy", "sync", "mv", "put", "upload", "move", "rsync", "moveto", "copyto", "mirror"])
_REMOTE_SYSTEM = re.compile(r"/(?:etc|usr|bin|sbin|lib\w*|boot|root|dev|sys|opt|var/(?!tmp|www))|~?/?\.ssh|/$")


def _transferred(call: Call) -> list[str]:
    """Sources and target; for clients of storage those after the verb."""
    words = list(call.form.words)
    if call.name in {"scp", "rsync", "rcp", "unison"}:
        return words
    start = next((place for place, word in enumerate(words[:4]) if word in _TRANSFERS), None)
    return [] if start is None else words[start + 1 :]


def _pipes(machine: Machine, call: Call) -> None:
    """nc, socat, telnet, openssl s_client: whatever comes in goes out."""
    if call.name == "openssl" and not {"s_client", "s_server"} & set(call.form.words[:1]):
        return
    text = " ".join(call.args)
    runs = (
        has_flag(call.form, "-e")
        or has_flag(call.form, "-c")
        or has_flag(call.form, "--exec")
        or has_flag(call.form, "--sh-exec")
    ) and call.name in {"nc", "ncat", "netcat"}
    if runs or re.search(r"(?i)\b(?:exec|system|shell):", text):
        machine.report(
            "shell.network.shell", RiskLevel.CRITICAL, call.text, "A program would be handed to another machine."
        )
        return
    if call.name == "socat" and re.search(r"(?i)(?:unix\S*:|\.sock\b)", text) and call.stdin is not None:
        machine.report("shell.network.control", RiskLevel.HIGH, call.text, "A running service would be given commands.")
        return
    if (has_flag(call.form, "-l") or re.search(r"(?i)listen", text)) and call.name != "telnet":
        machine.report("shell.network.listen", RiskLevel.HIGH, call.text, "The machine would be opened to others.")
    if call.stdin is not None:
        if holes.SECRET in call.stdin:
            machine.report(
                "shell.exfiltration.secret", RiskLevel.CRITICAL, call.text, "A credential would be sent away."
            )
        elif holes.open_in(call.stdin):
            machine.report("shell.exfiltration.pipe", RiskLevel.HIGH, call.text, "What comes in would be sent away.")
    if re.search(r"(?i)\b(?:file|open|gopen|create):", text) and call.name == "socat":
        machine.report("shell.exfiltration.file", RiskLevel.HIGH, call.text, "A file would be sent away.")


def _lookup(machine: Machine, call: Call) -> None:
    """dig, nslookup, ping, whois, finger: a name or a payload can carry data."""
    for arg in call.args:
        if holes.SECRET in arg:
            machine.report(
                "shell.exfiltration.secret",
                RiskLevel.CRITICAL,
                call.text,
                "A credential would be sent away in a look-up.",
            )
        elif holes.OUTPUT in arg:
            machine.report(
                "shell.exfiltration.lookup", RiskLevel.HIGH, call.text, "Data would be sent away in a look-up."
            )
    if call.name in {"whois", "finger", "telnet"} and call.stdin is not None and holes.open_in(call.stdin):
        machine.report("shell.exfiltration.pipe", RiskLevel.HIGH, call.text, "What comes in would be sent away.")
