"""Where values come from and where they may go: labels that join along a run and across hand-overs.

This is the control; phrases in text are only a tripwire. Labels are coarse on purpose (whatever was read taints the run):
total, cheap, and not to be talked out of. Word-for-word provenance refines it and only ever raises.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from interlock.decide.effects import CONSEQUENTIAL, OUTWARD, effects, holds_credentials, is_local, texts
from interlock.model.action import Action, Confidentiality, Finding, Integrity, Labels, Reading, Scope, Surface
from interlock.model.history import History
from interlock.model.risk import RiskLevel
from interlock.reading.normal import normalise
from interlock.reading.secrets import find_secrets, redact

_BITS = 1 << 16  # 8 kB: 2,000 words are confused with another one in 5,000
_HASHES = 4
_MOST_TRUSTED = 512
_LONGEST = 262_144
_MOST_SAID = 5

# What can name a destination: URLs' hosts, hosts, mail addresses, accounts, addresses of machines, paths, long words.
_TOKEN = re.compile(
    r"(?P<mail>[a-z0-9_.+-]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8})|(?P<host>\b(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24}\b(?:/[\w./%-]{1,200})?)"
    r"|(?P<ip>\b\d{1,3}(?:\.\d{1,3}){3}\b)|(?P<account>\b[a-z]{2}\d{12,30}\b|\b0x[0-9a-f]{16,64}\b)|(?P<path>(?<![/:\w])(?:~|\.{0,2})/[\w.@+-]{1,80}(?:/[\w.@+-]{1,80}){0,20})|(?P<word>\b[\w-]{14,100}\b)"
)
_LINE = 16
_FILE_LIKE = re.compile(
    r"\.(?:py|js|ts|tsx|jsx|md|txt|json|ya?ml|toml|html|css|go|rs|java|rb|c|h|cpp|sql|csv|lock|cfg|ini|xml|svg|png|jpe?g|pdf|log)$"
)
_SCRIPT = re.compile(r"[\w.-]{1,100}\.(?:sh|py|js|pl|rb|exe|bin|run|whl|deb|rpm|tgz|zip)\b")
_HOUSE = re.compile(
    r"^(?:localhost|127\.|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|\[?::1)|\.(?:local|internal|localhost)$"
)
_DESTINATION = re.compile(
    r"(?:https?|ftp|wss?|ssh|s3|gs)://(?:[^\s/@\"']{1,100}@)?([^\s/:\"'?#]{1,253})|[\w.+-]{1,64}@([a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8})",
    re.IGNORECASE,
)


def label_result(tool: str, args: Mapping[str, Any], reading: Reading) -> Labels:
    """The labels of what ``tool`` returns. ``reading`` joins what was read in the call and in its result.

    The web, mail, issues, chats and MCP servers that nobody vouches for are untrusted; stores and files of credentials are
    secret, as is a result that holds a secret; everything of the workspace is internal.
    """
    action = Action(kind=Surface.TOOL_CALL, tool=tool, args=args)
    does = effects(action, reading)
    strange = bool(does & {"fetch", "outside", "run_fetched"}) or not is_local(tool)
    strange = strange or any(
        finding.kind.startswith("text.") and finding.severity >= RiskLevel.HIGH for finding in reading.findings
    )
    secret = "read_secret" in does or any(map(holds_credentials, reading.paths))
    secret = secret or any(
        finding.kind.startswith("secret.") and finding.severity >= RiskLevel.HIGH for finding in reading.findings
    )
    return Labels(
        integrity=Integrity.UNTRUSTED if strange else Integrity.TRUSTED,
        confidentiality=Confidentiality.SECRET
        if secret
        else Confidentiality.PUBLIC
        if strange
        else Confidentiality.INTERNAL,
    )


def begin(task: str) -> History:
    """The history of a run that has only its task: what the user names there is no stranger later."""
    return History(trusted=tuple(sorted({_fingerprint(token) for token in _tokens(task)}))[:_MOST_TRUSTED])


def join(first: History, second: History) -> History:
    """The history of an agent that got results from two others. Nothing becomes more trusted, nothing is forgotten."""
    return History(
        labels=first.labels.join(second.labels),
        untrusted=_either(first.untrusted, second.untrusted),
        trusted=tuple(sorted(set(first.trusted) & set(second.trusted))),
        counts={kind: max(first.count(kind), second.count(kind)) for kind in sorted({*first.counts, *second.counts})},
    )


def after_call(history: History, action: Action, reading: Reading, result_text: str, result_labels: Labels) -> History:
    """The history after ``action`` took place and ``result_text`` came back with ``result_labels``."""
    labels = history.labels.join(action.labels).join(result_labels)
    strange: list[str] = []
    if result_labels.integrity is Integrity.UNTRUSTED:
        strange += _tokens(result_text)
    does = effects(action, reading)
    if does & {"fetch", "run_fetched"}:  # what was saved from outside is as strange as what was shown
        strange += [token for text in texts(action.args) for token in _tokens(text)]
        strange += _SCRIPT.findall(action.text.lower())
    counts = dict(history.counts)
    for kind in does:
        counts[kind] = counts.get(kind, 0) + (max(1, len(reading.paths)) if kind == "delete" else 1)
    counts["calls"] = counts.get("calls", 0) + 1
    counts["blocks_in_a_row"] = 0
    untrusted = _with(history.untrusted, strange) if strange else history.untrusted
    return replace(history, labels=labels, untrusted=untrusted, counts=counts)


def flow(
    action: Action, history: History, reading: Reading | None = None, scope: Scope | None = None
) -> tuple[Finding, ...]:
    """What is wrong with where this call's data comes from and goes to.

    Critical: secrets on their way outside. High: a consequential call by an agent that has read untrusted text, and a
    destination that came word for word out of it. Medium: such a destination in a call that changes nothing.
    """
    reading, scope = reading or Reading(), scope or Scope()
    does = effects(action, reading, scope.workspace)
    labels = history.labels.join(action.labels)
    found: list[Finding] = []
    held = list(texts(action.args))
    outward = does & OUTWARD and _leaves(held, reading, scope)
    if outward and any(finding.severity >= RiskLevel.CRITICAL for text in held for finding in find_secrets(text)):
        found.append(
            _finding(
                "flow.secret_to_outside",
                RiskLevel.CRITICAL,
                "a secret in the arguments",
                "a secret would leave the house",
            )
        )
    elif outward and (labels.confidentiality is Confidentiality.SECRET or "read_secret" in does):
        severity = RiskLevel.CRITICAL if does & {"send", "publish"} else RiskLevel.HIGH
        found.append(
            _finding(
                "flow.secret_to_outside",
                severity,
                ", ".join(sorted(does & OUTWARD)),
                "the agent has read secrets, and this call sends data outside",
            )
        )
    if history.untrusted:
        found += _provenance(held, history, consequential=bool(does & CONSEQUENTIAL))
    if labels.integrity is Integrity.UNTRUSTED and does & CONSEQUENTIAL:
        found.append(
            _finding(
                "flow.untrusted_to_consequence",
                RiskLevel.HIGH,
                ", ".join(sorted(does & CONSEQUENTIAL)),
                "the agent has read text that anyone could have written, and this call has consequences",
            )
        )
    return tuple(found)


def _provenance(held: list[str], history: History, *, consequential: bool) -> list[Finding]:
    marks, trusted = _unpack(history.untrusted), set(history.trusted)
    strangers: dict[str, None] = {}
    for text in held:
        for token in _tokens(text):
            if token not in strangers and _fingerprint(token) not in trusted and _has(marks, token):
                strangers[token] = None
        for name in _SCRIPT.findall(text.lower()):
            if _has(marks, name):
                strangers[name] = None
    severity = RiskLevel.HIGH if consequential else RiskLevel.MEDIUM
    return [
        _finding(
            "flow.destination_from_untrusted",
            severity,
            redact(token)[:80],
            "this came word for word out of text that anyone could have written",
        )
        for token in list(strangers)[:_MOST_SAID]
    ]


def _leaves(held: list[str], reading: Reading, scope: Scope) -> bool:
    """Whether data would leave the house: some destination is not the machine, the private network or an allowed host."""
    places = [place.lower() for place in reading.destinations]
    for text in held:
        places += [(match[1] or match[2]).lower() for match in _DESTINATION.finditer(text)]
    hosts = {re.sub(r"^[a-z0-9+.-]+://", "", place).rsplit("@", 1)[-1].split("/")[0].split(":")[0] for place in places}
    if not hosts:
        return True  # a sending tool whose destination is not seen
    return any(not _HOUSE.search(host) and not _allowed(host, scope.hosts) for host in hosts)


def _allowed(host: str, allowed: tuple[str, ...] | None) -> bool:
    return any(host == entry or (entry.startswith("*.") and host.endswith(entry[1:])) for entry in allowed or ())


def _tokens(text: str) -> Iterable[str]:
    """What in ``text`` could be a destination, a path, a command or a name: lower case, normalised, each once."""
    plain = normalise(text[:_LONGEST]).lower()
    seen: dict[str, None] = {}
    for match in _TOKEN.finditer(plain):
        token = match[0].rstrip(".-/")
        if match.lastgroup == "host":
            host = token.split("/", 1)[0].removeprefix("www.")
            if not _FILE_LIKE.search(host):
                seen[host] = None
        elif match.lastgroup == "mail":
            seen[token] = None
        elif match.lastgroup == "path" and token.count("/") < 2:  # noqa: PLR2004 - "/" alone names nothing
            continue
        elif match.lastgroup == "word" and not any(char.isdigit() or char == "_" for char in token):
            continue  # long, but a word of the language
        seen[token] = None
    for line in plain.splitlines():
        stripped = " ".join(line.split())
        if len(stripped) >= _LINE and " " in stripped:
            seen[stripped.removeprefix("$ ")[:400]] = None
    return seen


def _fingerprint(token: str) -> str:
    return hashlib.blake2b(token.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _with(packed: str, tokens: Iterable[str]) -> str:
    """The filter ``packed`` with more tokens in it."""
    marks = bytearray(_unpack(packed))
    for token in tokens:
        for place in _places(token):
            marks[place >> 3] |= 1 << (place & 7)
    return _pack(marks)


def _either(first: str, second: str) -> str:
    return _pack(bytes(one | other for one, other in zip(_unpack(first), _unpack(second), strict=True)))


def _has(marks: bytes, token: str) -> bool:
    return all(marks[place >> 3] >> (place & 7) & 1 for place in _places(token))


def _places(token: str) -> list[int]:
    mark = hashlib.blake2b(token.encode("utf-8", "replace"), digest_size=2 * _HASHES).digest()
    return [int.from_bytes(mark[start : start + 2], "little") for start in range(0, 2 * _HASHES, 2)]


def _pack(marks: bytes | bytearray) -> str:
    return base64.b64encode(marks).decode() if any(marks) else ""


@lru_cache(maxsize=8)
def _unpack(packed: str) -> bytes:
    return base64.b64decode(packed) if packed else bytes(_BITS // 8)


def _finding(kind: str, severity: RiskLevel, evidence: str, reason: str) -> Finding:
    return Finding(detector="flow", kind=kind, severity=severity, evidence=evidence, reason=reason)
