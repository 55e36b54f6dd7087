"""Ways out of a text without a tool: images and links that carry data away, and markup that people do not see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

import re2

from interlock.model.action import Finding, Span
from interlock.model.risk import RiskLevel
from interlock.reading.encoded import carries_text
from interlock.reading.secrets import entropy, find_secrets, redact

_URL = re2.compile(r"""(!?)\[[^\]\n]{0,200}\]\(\s*<?(https?://[^\s)>]{4,})|<(img|iframe|script|link|video|audio|object|embed|form)\b[^>]{0,300}?\b(?:src|href|data|action)\s*=\s*["']?(https?://[^\s"'>]{4,})|(https?://[^\s"'<>)\]]{4,})""")  # fmt: skip
# Places made to receive what others are not meant to get: request bins, out-of-band testers, tunnels.
_COLLECTOR = re2.compile(
    r"(?i)^https?://(?:[^/@]{0,200}@)?[^/:?#]{0,200}(?:webhook\.site|requestbin|pipedream\.net|beeceptor|burpcollaborator|oastify|\boast\b|interact\.sh|interactsh|ngrok|requestcatcher|hookbin|postb\.in"
    r"|canarytokens|dnslog|ceye\.io|attacker|\bevil|malicious|exfil|localhost\.run|serveo\.net|trycloudflare|burp|collect(?:or)?\.|steal)"
)
_HOLE = re2.compile(
    r"[{<\[$%](?:[^}>\]\s]{1,60})[}>\])]|\$\{?[A-Za-z_]{3,}|%7B|%5B(?:[A-Za-z_%0-9]{2,60})%5D|(?i:BASE64|URL_?ENCODED|ENCODED_|INSERT|<data|SECRET|CONVERSATION|CANARY|HISTORY)"
)
_DATA_NAME = re2.compile(r"(?i)[?&;](?:d|data|payload|content|secret|token|key|apikey|api_key|password|pass|pwd|cookie|cookies|leak|exfil|msg|message|conversation|history|chat|prompt|context|info|user_?data|creds?|credentials|dump|env|summary|memory|notes|email|body|text|log|stolen|out)=([^&#]+)")  # fmt: skip
_COMMENT = re2.compile(r"(?s)<!--(.+?)-->|\[//\]:\s*#\s*[(\"'](.+?)[)\"']|/\*(.+?)\*/")
_UNSEEN = re2.compile(
    r"(?is)<(?:span|div|p|font|td|a|b|i|h\d|section|pre|code|label)\b[^>]{0,300}(?:display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*[01](?:px|pt|em|rem|%)?\s*[;\"']|opacity\s*:\s*0(?:\.0+)?\s*[;\"']|color\s*:\s*(?:white|#fff(?:fff)?|transparent)|left\s*:\s*-\d{3,}|\bhidden\b|aria-hidden\s*=\s*[\"']true)[^>]{0,300}>([^<]{8,})"
)
# Attributes that a browser shows to nobody, or only on a hover, and what only a reader without scripts gets.
_ATTRIBUTE = re2.compile(
    r"""(?is)<[a-z][a-z0-9]{0,15}\b[^>]{0,400}?\s(?:alt|title|aria-label|aria-description|value|content|placeholder|data-[a-z-]{1,30})\s*=\s*(?:"([^"]{12,})"|'([^']{12,})')|<noscript>(.{12,400}?)</noscript>"""
)
_MOST_UNSEEN = 200
_LONG_VALUE = 24
_DENSE = 3.6  # bits a character: encoded data; words have less at this length


def ways_out(text: str) -> list[Finding]:
    """Images and links that carry data: high when they load by themselves or lead to a collector, medium otherwise."""
    if "://" not in text:
        return []
    found = []
    for match in _URL.finditer(text):
        group = 2 if match[2] else 4 if match[4] else 5
        url = match[group]
        loads = bool(match[1]) or bool(match[3])
        carries = _carries(url)
        collector = _COLLECTOR.search(url) is not None
        if not carries and not (collector and loads):
            continue
        if not (loads or collector or (carries == "hole" and group == 2)) and carries != "secret":  # noqa: PLR2004 - a link in Markdown
            level = RiskLevel.MEDIUM
        else:
            level = RiskLevel.HIGH
        found.append(
            Finding(
                detector="text",
                kind="text.exfiltration.image" if loads else "text.exfiltration.link",
                severity=level,
                evidence=redact(url)[:120],
                reason="the address carries data to another place" + (" as soon as it is shown" if loads else ""),
                span=Span(start=match.start(group), end=match.end(group)),
            )
        )
        if len(found) >= 20:  # noqa: PLR2004 - more of the same tells nothing new
            break
    return found


def unseen(text: str) -> Iterator[tuple[str, str, int, int]]:
    """``(kind, text, start, end)`` of comments and invisible elements in HTML and Markdown.

    After the first ``_MOST_UNSEEN`` of a kind the rest comes as one: thousands of them are not a page, but an attack.
    """
    if "<" in text or "/*" in text or "]:" in text:
        for kind, pattern in (("comment", _COMMENT), ("style", _UNSEEN), ("attribute", _ATTRIBUTE)):
            for count, match in enumerate(pattern.finditer(text)):
                if count == _MOST_UNSEEN:
                    yield kind, text[match.start() :], match.start(), len(text)
                    break
                group = next(place for place in range(1, match.re.groups + 1) if match[place] is not None)
                yield kind, match[group], match.start(group), match.end(group)


def _carries(url: str) -> str:
    """What data the address carries: a ``hole`` to be filled, a ``secret``, a ``value``; empty for none."""
    _, _, query = url.partition("?")
    tail = query or url.split("://", 1)[-1].partition("/")[2]
    if not tail:
        return ""
    if query and _HOLE.search(query):
        return "hole"
    if not query and re.search(r"[{<$]\{?[A-Za-z_ ]{2,40}[}>]", tail):
        return "hole"
    if find_secrets(unquote(tail)):
        return "secret"
    if not query:
        return ""
    if carries_text(query):
        return "secret"
    for match in _DATA_NAME.finditer("?" + query):
        return "value" if match[1] else ""
    for part in query.split("&"):
        value = part.partition("=")[2]
        if len(value) >= _LONG_VALUE and entropy(value) > _DENSE and re.fullmatch(r"[A-Za-z0-9+/_=%-]+", value):
            return "value"
    return ""
