"""HTTP calls to findings: where a request really goes, what it would carry there, what it would change."""

from __future__ import annotations

import base64
import binascii
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from interlock.model.action import Finding, Reading, Scope
from interlock.model.risk import RiskLevel
from interlock.reading import http_places as places
from interlock.reading.addresses import Address, address_of
from interlock.reading.findings import worst_of_each_kind
from interlock.reading.lookalikes import folded
from interlock.reading.paths import read_path

LOW, MEDIUM, HIGH, CRITICAL = RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL

LONGEST_URL = 8_192
"""Characters; common servers refuse more."""
LONGEST_BODY = 256 * 1024
"""Characters of a body that are searched; what is behind asks a person."""
LONG_VALUE = 48
"""Characters after which a value in a URL that looks like encoded data is said."""
ENTROPY = 3.9
"""Bits per character; words and identifiers stay below, base64 of anything is above."""

Secrets = Callable[[str], tuple[Finding, ...]]

_URL_NAMES = ("url", "uri", "href", "endpoint", "address", "target")
_BODY_NAMES = ("body", "data", "json", "content", "payload", "form")
_FILE_NAMES = ("file", "files", "upload", "attachment", "attachments", "body_file")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_CHANGING = frozenset({"POST", "PUT", "PATCH"})
_SECRET_NAME = re.compile(
    r"(?:^|[_.-])(?:pass(?:word|wd|phrase)?|pwd|secret|token|api_?key|apikey|access_?key|private_?key|credentials?|cookie|session(?:_?id)?|jwt|bearer)$",
    re.IGNORECASE,
)


def read_http(args: Mapping[str, Any], scope: Scope, *, secrets: Secrets | None = None) -> Reading:
    """What an HTTP request would reach, carry and change.

    Read from ``args``: ``method`` (GET when empty), ``url`` (or ``uri``, ``href``, ``endpoint``), ``headers``, ``params``,
    ``body`` (or ``data``, ``json``), files by path. Severity: metadata services and disguised inner addresses are
    critical; inner addresses, hosts that ``scope.hosts`` does not list, drop boxes, data or secrets in the URL, other
    schemes and DELETE are high; other changing methods and this machine itself are medium; plain reads have no finding.
    A host that ``scope.hosts`` names is not inner to anybody. ``secrets`` finds secrets in what would be sent.
    """
    urls = [url for name in _URL_NAMES for url in _texts(args.get(name))]
    if not urls:
        return Reading(findings=(_finding("http.unparsed", HIGH, "", "names no address"),))
    found: list[Finding] = []
    destinations: list[str] = []
    paths: list[str] = []
    headers = _headers(args.get("headers"))
    method, method_findings = _method(args, headers, urls[0])
    found += method_findings
    carried = _carried(args)
    sends = bool(carried.strip()) or method in _CHANGING
    for url in urls:
        reading = _read_url(url, scope, sends=sends)
        found += reading.findings
        destinations += reading.destinations
        paths += reading.paths
    found += _header_findings(headers, urls[0])
    found += _data_in_query("", args.get("params"))
    for file in (text for name in _FILE_NAMES for text in _texts(args.get(name))):
        touched = read_path(file, scope, write=False)
        found += touched.findings
        paths += touched.paths
    for file in re.findall(r"(?:^|=)@([^\s;,]+)", carried[:LONGEST_BODY])[:8]:
        if file != "-":
            touched = read_path(file, scope, write=False)
            found += touched.findings
            paths += touched.paths
    if len(carried) > LONGEST_BODY:
        found.append(
            _finding("http.body.long", HIGH, "", f"has more than {LONGEST_BODY} characters, too many to be read")
        )
    if secrets is not None:
        found += secrets("\n".join((*urls, carried[:LONGEST_BODY])))
    return Reading(
        findings=worst_of_each_kind(found),
        destinations=tuple(dict.fromkeys(destinations)),
        paths=tuple(dict.fromkeys(paths)),
    )


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value.strip() else []
    if isinstance(value, (list, tuple)):
        return [text for item in value[:32] for text in _texts(item)]
    return [] if value is None or isinstance(value, bool) else [str(value)]


def _headers(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(name).strip().lower(): str(content) for name, content in value.items()}
    if isinstance(value, (list, tuple)):
        pairs = [item.split(":", 1) for item in value if isinstance(item, str) and ":" in item]
        return {name.strip().lower(): content.strip() for name, content in pairs}
    return {}


def _carried(args: Mapping[str, Any]) -> str:
    """Everything that the request would send besides its address and headers, as one text."""
    return "\n".join(
        value if isinstance(value, str) else repr(value)
        for name in _BODY_NAMES
        if (value := args.get(name)) is not None
    )


def _method(args: Mapping[str, Any], headers: Mapping[str, str], url: str) -> tuple[str, list[Finding]]:
    """The method that the server will act on, and what is to be said about it."""
    written = (
        str(args.get("method") or args.get("verb") or ("POST" if _carried(args).strip() else "GET")).strip().upper()
    )
    hidden = next(
        (
            headers[n].strip().upper()
            for n in ("x-http-method-override", "x-method-override", "x-http-method")
            if n in headers
        ),
        "",
    )
    match = re.search(r"[?&]_method=(\w+)", url)
    hidden = hidden or (match[1].upper() if match else "")
    found = []
    for method in dict.fromkeys(filter(None, (written, hidden))):
        if method == "DELETE":
            found.append(_finding("http.delete", HIGH, method, "deletes what the address names"))
        elif method in _CHANGING:
            found.append(_finding("http.write", MEDIUM, method, "sends data or changes something"))
        elif method not in _SAFE:
            found.append(_finding("http.method", HIGH, method[:20], "uses a method that is not known to be harmless"))
    return hidden or written, found


# --- where it goes --------------------------------------------------------------------------------------------------


def _read_url(url: str, scope: Scope, *, sends: bool) -> Reading:
    if len(url) > LONGEST_URL:
        return Reading(
            findings=(
                _finding("http.url.long", CRITICAL, url, f"has an address of more than {LONGEST_URL} characters"),
            )
        )
    found = []
    plain = url.strip()
    if re.search(r"[\x00-\x20\x7f\\]", plain):
        found.append(_finding("http.url.confusing", HIGH, plain, "has an address that programs read differently"))
    plain = re.sub(r"[\x00-\x20\x7f]", "", plain).replace("\\", "/")
    if "://" not in plain and not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:(?!\d)", plain):
        plain = f"http://{plain.lstrip('/')}"
    try:
        parts = urlsplit(plain)
        host = _host(parts)
        port = parts.port
    except ValueError:
        return Reading(findings=(*found, _finding("http.unparsed", HIGH, plain, "has an address that cannot be read")))
    scheme = parts.scheme.lower()
    if scheme == "file":
        kept = read_path(parts.path, scope, write=False)
        found.append(_finding("http.scheme", HIGH, plain, "reads a file of this machine"))
        return Reading(findings=(*found, *kept.findings), paths=kept.paths)
    if scheme not in {"http", "https", "ws", "wss"}:
        found.append(_finding("http.scheme", HIGH, plain, f"speaks {scheme or 'nothing known'}, not HTTP"))
    if not host:
        return Reading(findings=(*found, _finding("http.unparsed", HIGH, plain, "names no host")))
    found += _userinfo(parts, host)
    found += _where(host, port, scope)
    found += _sink(host, parts.path, sends=sends)
    found += _data_in_query(parts.query, None)
    found += _data_elsewhere(parts, host)
    return Reading(findings=tuple(found), destinations=(f"{host}:{port}" if port else host,))


def _host(parts: SplitResult) -> str:
    """The host in one spelling: decoded, folded to ASCII where it is a form of it, without the root's dot."""
    host = unquote(parts.hostname or "")
    host = unicodedata.normalize("NFKC", host).replace("。", ".").replace("．", ".")
    return host.strip().rstrip(".").lower()


def _userinfo(parts: SplitResult, host: str) -> list[Finding]:
    if "@" not in parts.netloc:
        return []
    user = parts.netloc.rpartition("@")[0]
    if "." in unquote(user) or "@" in unquote(user):
        return [
            _finding("http.url.confusing", HIGH, f"…@{host}", "looks as if it went to one host and goes to another")
        ]
    if ":" in user:
        return [_finding("http.url.password", HIGH, f"…@{host}", "carries a password in its address")]
    return [_finding("http.url.user", MEDIUM, f"…@{host}", "carries a name in its address")]


def listed(host: str, hosts: tuple[str, ...]) -> bool:
    """Whether ``hosts`` names ``host``: itself, or by ``*.`` a name above it."""
    return any(
        host == name or (name.startswith("*.") and host.endswith(name[1:]) and host != name[2:])
        for name in (entry.strip().lower().rstrip(".") for entry in hosts)
    )


def _where(host: str, port: int | None, scope: Scope) -> list[Finding]:
    address, disguised = address_of(host)
    shown = str(address) if address is not None else host
    if shown in places.METADATA_ADDRESSES or host in places.METADATA_HOSTS:
        return [
            _finding("http.metadata", CRITICAL, host, "asks the cloud's metadata service, which hands out credentials")
        ]
    known = scope.hosts is not None and (listed(host, scope.hosts) or (not disguised and listed(shown, scope.hosts)))
    if known:
        return []
    found = []
    if address is not None:
        found += _address_findings(host, address, disguised=disguised)
    elif _is_inner(host):
        this_machine = host == "localhost" or host.endswith(".localhost")
        found.append(
            _finding("http.internal", MEDIUM if this_machine else HIGH, host, "goes to a machine of the inner network")
        )
    elif any(host == name or host.endswith(f".{name}") for name in places.REBINDING):
        found.append(
            _finding(
                "http.internal.rebinding", HIGH, host, "uses a public name that stands for any address, inner ones too"
            )
        )
    found += _lookalike(host)
    if port in places.ADMIN_PORTS:
        found.append(
            _finding("http.port", HIGH, f"{host}:{port}", "goes to a port where databases or machines are controlled")
        )
    if scope.hosts is not None:
        found.append(_finding("http.host.unlisted", HIGH, host, "goes to a host that is not on the list"))
    return found


def _address_findings(host: str, address: Address, *, disguised: bool) -> list[Finding]:
    inner = not address.is_global or address.is_multicast
    if inner and disguised:
        return [
            _finding(
                "http.internal.disguised",
                CRITICAL,
                f"{host} = {address}",
                "hides an address of the inner network in another form",
            )
        ]
    if disguised:
        return [_finding("http.address.disguised", HIGH, f"{host} = {address}", "hides an address in another form")]
    if address.is_loopback or address.is_unspecified:
        return [_finding("http.internal", MEDIUM, host, "goes to this machine itself")]
    if inner:
        return [_finding("http.internal", HIGH, host, "goes to a machine of the inner network")]
    return [_finding("http.address", MEDIUM, host, "goes to a bare address, not to a name")]


def _is_inner(host: str) -> bool:
    return "." not in host or any(host.endswith(f".{suffix}") for suffix in places.INTERNAL_SUFFIXES)


def _lookalike(host: str) -> list[Finding]:
    shown = host
    if "xn--" in host:
        try:
            shown = host.encode("ascii").decode("idna")
        except UnicodeError:
            return [_finding("http.host.lookalike", HIGH, host, "has an encoded name that cannot be read")]
    if shown.isascii():
        return []
    if any(folded(label).isascii() and not label.isascii() for label in shown.split(".")):
        return [_finding("http.host.lookalike", HIGH, shown, "has a name that imitates another with foreign letters")]
    return [_finding("http.host.foreign", MEDIUM, shown, "has a name in letters beyond ASCII")]


def _sink(host: str, path: str, *, sends: bool) -> list[Finding]:
    whole = f"{host}{path}".lower()

    def among(names: tuple[str, ...]) -> bool:
        return any(
            host == name or host.endswith(f".{name}") or ("/" in name and f".{whole}".find(f".{name}") >= 0)
            for name in names
        )

    if among(places.DROP_BOXES):
        return [_finding("http.sink", HIGH, host, "goes to a place where anybody can collect what is sent")]
    if among(places.CHAT_HOOKS) and sends:
        return [_finding("http.sink.chat", HIGH, host, "hands what is sent on to people or programs outside")]
    if among(places.SHORTENERS):
        return [_finding("http.shortened", MEDIUM, host, "goes to an address that hides where it leads")]
    return []


# --- what it carries ------------------------------------------------------------------------------------------------


def _data_in_query(query: str, params: Any) -> list[Finding]:
    pairs = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True)]
    if isinstance(params, Mapping):
        pairs += [(str(name), value if isinstance(value, str) else repr(value)) for name, value in params.items()]
    elif isinstance(params, str):
        pairs += parse_qsl(params, keep_blank_values=True)
    found = []
    for name, value in pairs:
        if value and _SECRET_NAME.search(name):
            found.append(
                _finding(
                    "http.query.secret",
                    HIGH,
                    f"{name}=…",
                    "carries a secret in its address, where it is logged on the way",
                )
            )
        elif looks_like_data(value):
            found.append(_finding("http.query.data", HIGH, f"{name}=…", "carries encoded data in its address"))
        elif len(value) > 16 * LONG_VALUE:
            found.append(_finding("http.query.long", MEDIUM, f"{name}=…", "carries much text in its address"))
    return found


def _data_elsewhere(parts: SplitResult, host: str) -> list[Finding]:
    found = []
    labels = host.split(".")[:-2]
    if any(len(label) > 30 and looks_like_data(label, longest=30) for label in labels) or sum(map(len, labels)) > 100:  # noqa: PLR2004 - a label has 63 at most
        found.append(_finding("http.host.data", HIGH, host, "carries encoded data in the name of its host"))
    if any(looks_like_data(segment, longest=2 * LONG_VALUE) for segment in parts.path.split("/")) or looks_like_data(
        parts.fragment
    ):
        found.append(_finding("http.path.data", MEDIUM, parts.path, "carries what looks like encoded data in its path"))
    if re.search(r"(?i)%0[da]|%00", parts.path + parts.query):
        found.append(_finding("http.url.confusing", HIGH, parts.path, "has line ends or null bytes in its address"))
    return found


def looks_like_data(text: str, *, longest: int = LONG_VALUE) -> bool:
    """Whether ``text`` is long and encoded: hexadecimal, base32 or base64 of something, not words or one identifier."""
    if len(text) < longest or not re.fullmatch(r"[A-Za-z0-9+/_=-]+", text):
        return False
    if re.fullmatch(r"[0-9a-fA-F]+", text):
        return len(text) > 64 or longest < LONG_VALUE  # noqa: PLR2004 - a SHA-256 digest is 64 and common
    if re.fullmatch(r"[a-z]+(?:[-_][a-z0-9]+)+", text):
        return False  # words with hyphens
    if _reads_as_text(text):
        return True
    counts = Counter(text)
    entropy = -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())
    return entropy > (ENTROPY if longest >= LONG_VALUE else ENTROPY - 0.5)


def _reads_as_text(text: str) -> bool:
    try:
        plain = base64.b64decode(text.replace("-", "+").replace("_", "/") + "===", validate=False).decode("ascii")
    except (binascii.Error, ValueError):
        return False
    return len(plain) > 8 and plain.isprintable()  # noqa: PLR2004 - shorter decodes by chance


def _header_findings(headers: Mapping[str, str], url: str) -> list[Finding]:
    found = []
    for name, value in headers.items():
        if name in places.METADATA_HEADERS:
            found.append(
                _finding(
                    "http.metadata", CRITICAL, name, "asks the cloud's metadata service, which hands out credentials"
                )
            )
        if re.search(r"[\r\n\0]", name + value):
            found.append(_finding("http.header.split", HIGH, name, "smuggles further headers in the value of one"))
        if (
            name not in {"authorization", "cookie", "proxy-authorization"}
            and not name.startswith("x-api")
            and len(value) > 16 * LONG_VALUE
        ):
            found.append(_finding("http.header.long", MEDIUM, name, "carries much data in a header"))
    host = headers.get("host", "").strip().lower()
    if host and host.split(":")[0] not in url.lower():
        found.append(_finding("http.host.mismatch", HIGH, host, "names another host in its header than in its address"))
    return found


def _finding(kind: str, severity: RiskLevel, evidence: str, reason: str) -> Finding:
    shown = "".join(c if c.isprintable() else "�" for c in re.sub(r"//[^/@\s]*@", "//…@", evidence).split("?", 1)[0])
    return Finding(detector="http", kind=kind, severity=severity, evidence=shown[:100], reason=f"The request {reason}.")
