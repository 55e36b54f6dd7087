"""Secrets in text: found by rules as data, and taken out of everything that is stored, logged, shown or passed on.

A rule runs only when one of its words is in the text (one RE2 set of literals), so that text without any costs little.
The set holds plain literals: its automaton has a few hundred states and stays far below the memory bound at which
RE2 sets silently stop matching (google/re2#136); the patterns themselves are single expressions, which do not. A word
that is a shape (``re:…``) is searched by itself: counting in the set would make new states for every text.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any

import re2
import yaml

from interlock.model.action import Finding, Span, SpanKind
from interlock.model.risk import RiskLevel
from interlock.reading.linear import Linear
from interlock.reading.normal import encodable, normalise, normalise_with_offsets

_DEFAULT_ENTROPY = 2.8
_ROUNDS = 6  # taking one secret out may join what stood around it; the text is read again at most so often
_LONGEST_RUN = 6
_MOST_A_RULE = (
    1_000  # matches; each may look far ahead, so what follows more of them is one secret and the time stays linear
)
_LONG = 16
_HUMP = 2.1  # letters a change of case: random letters have 1.3, "newPassword" 5, "URLParser" 2.2
_KEY_BODY = 80  # a key block shorter than this is a mention: the smallest real one (Ed25519) has 119 characters
_UNREADABLE = "[redacted:unreadable]"

# Words that say a value is not one: placeholders of documentation, templates, and lookups.
_PLACEHOLDER = re2.compile(
    r"(?i)example|changeme|change[_-]?(?:me|it|this)|placeholder|redacted|dummy|replace[_-]?(?:me|with|this)|insert[_-]|your[_-]|my[_-](?:api|secret|token|key|pass)"
    r"|[_-]here\b|x{4,}|\*{3,}|\.{3}|#{3,}|_{4,}|-{6,}|~{4,}|\?{3,}|^<|>$|<[a-z]|\$\{|\$\(|^\$[\w({]|\{\{|\}\}|^%\w+%$|^%\(|^\{|^\[|todo|fixme|notreal|not[_-]a[_-]|fake[_-]?(?:key|token|secret|pass)"
    r"|os\.environ|getenv|process\.env|secrets\.|vault:|ssm:|^op://|^arn:|^ref\+|import\.meta|config\.|settings\.|env\.|^!(?:ref|sub|getatt)|^ENC\[|^\(|^(?:null|none|nil|undefined|true|false|string|str|number|required|optional|any|void|boolean|env|unknown|empty|blank|unset)$"
)  # fmt: skip
_WEAK = frozenset(
    "password passwd pass pwd secret test testing admin root user username guest postgres mysql redis foo bar baz foobar demo local"  # noqa: SIM905 - a list of words reads as words
    " localhost default hidden masked mypassword my_password real_key login qwerty letmein welcome token key value text pw pswd"
    " newpassword oldpassword currentpassword confirmpassword changeit sample rabbitmq mongo minio minioadmin mariadb sa".split()
)
_CODE = re2.compile(
    r"^[A-Za-z_$@&][\w$]*(?:(?:\.|->|::|\?\.)[\w$]+)+|^[A-Za-z_$][\w$.]*[(\[]|=>|^[A-Za-z_$]+$|^[&|=!<>+?:]"
)
_NOT_SECRET_NAME = re2.compile(
    r"(?i)(?:public|foreign|primary|cache|sort|partition|index|object|s3|hash|turn|mon|don|tur|hot|short|press|lookup|group|storage|query|row|column|col|map|dict|json|route|translation|i18n|message|event|state|redis|react|data|item|label|field|feature|flag|config|setting|registry|host|known|csrf|page|next_page|nextpage|continuation|pagination|cursor|bos|eos|pad|unk|mask|sep|cls|stop|start|end|special|max|min|num|total|prompt|completion|input|output|cancel|cancellation|design|syntax|jsx|idempotency|unique|natural|composite|surrogate|business|config)[_.-]?(?:keys?|tokens?)+$|tokenizer$|(?:^|[_.-])author$"
)
_SHAPELESS = re2.compile(
    r"^[A-Za-z]+$|^[\d.,:-]+$|^[a-z]+(?:[_.\-/][a-z]+)+$|^[A-Z]+(?:[_.-][A-Z]+)+$|^v?\d+(?:\.\d+)+|^[a-z]+(?:[A-Z][a-z]+)+$|^(?:[A-Z][a-z]+)+$|^[a-z]{1,6}[_-]\d+=?$"
)
_PATH = re2.compile(
    r"^(?:\.{0,2}/|[A-Za-z]:\\|~/|https?://|[a-z]+://|sha\d+:|[\w.-]+\.(?:com|org|net|io|json|ya?ml|pem|key|txt|ts|js|py|go|md|xml|properties|env|crt)\b)"
)


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rule:
    kind: str
    words: tuple[str, ...]
    pattern: str
    entropy: float
    check: str
    weak: bool


@dataclass(frozen=True, slots=True)
class _Hit:
    """A secret at ``start`` to ``end``; ``of`` says in which text it was seen, offsets count in the raw one."""

    start: int
    end: int
    kind: str
    severity: RiskLevel
    of: SpanKind


def find_secrets(text: str) -> tuple[Finding, ...]:
    """Every secret in ``text``: critical when it looks real, medium when it is weak. No finding holds the secret."""
    hits = _hits(encodable(text))
    if not hits:
        return ()
    return tuple(
        Finding(
            detector="secrets",
            kind=f"secret.{hit.kind}",
            severity=hit.severity,
            evidence=f"[redacted:{hit.kind}] ({hit.end - hit.start} characters)",
            reason=f"the text holds what looks like a secret ({hit.kind.replace('_', ' ')})",
            span=Span(start=hit.start, end=hit.end, of=hit.of),
        )
        for hit in hits
    )


def redact(text: str) -> str:
    """``text`` with every secret as ``[redacted:kind]``; doing it twice changes nothing more. Never raises."""
    try:
        for _ in range(_ROUNDS):
            hits = _hits(encodable(text))
            if not hits:
                return text
            text = _without(text, hits)
        return text if not _hits(encodable(text)) else _UNREADABLE
    except Exception:  # noqa: BLE001 - closed on failure: text that cannot be searched is not shown
        return _UNREADABLE


def _without(text: str, hits: list[_Hit]) -> str:
    pieces: list[str] = []
    done = 0
    for hit in hits:
        if hit.start < done:
            continue
        pieces += (text[done : hit.start], f"[redacted:{hit.kind}]")
        done = hit.end
    pieces.append(text[done:])
    return "".join(pieces)


def _hits(text: str) -> list[_Hit]:
    """Hits in the order of the text, overlapping ones joined into the strongest."""
    hits = _scan(text)
    if not text.isascii():
        plain = normalise(text)
        seen = _scan(plain) if plain != text else []
        if seen:
            _, offsets = normalise_with_offsets(text)
            hits += [
                _Hit(offsets[hit.start], offsets[hit.end - 1] + 1, hit.kind, hit.severity, SpanKind.NORMALISED)
                for hit in seen
            ]
    if len(hits) < 2:  # noqa: PLR2004 - nothing to join
        return hits
    hits.sort(key=lambda hit: (hit.start, -hit.end))
    joined = [hits[0]]
    for hit in hits[1:]:
        last = joined[-1]
        if hit.start >= last.end:
            joined.append(hit)
            continue
        best = hit if hit.severity > last.severity else last
        joined[-1] = _Hit(last.start, max(last.end, hit.end), best.kind, best.severity, best.of)
    return joined


def _scan(text: str) -> list[_Hit]:
    """The hits of every rule that a word or a shape in ``text`` wakes."""
    rules, by_word, words, by_shape = _rules()
    woken = {number for word in words.Match(text) or () for number in by_word[word]}
    woken.update([number for shape, number in by_shape if shape.search(text)])
    return [hit for number in sorted(woken) for hit in _found(rules[number], text)] if woken else []


def _found(rule: _Rule, text: str) -> Iterator[_Hit]:
    for count, match in enumerate(_compiled(rule.pattern).finditer(text)):
        if count >= _MOST_A_RULE:
            yield _Hit(match.start(), len(text), rule.kind, RiskLevel.CRITICAL, SpanKind.RAW)
            break
        group = next((place for place in range(match.re.groups, 0, -1) if match[place] is not None), 0)
        severity = _judge(rule, match[group], match)
        if severity is not None:
            start, end = match.span(group)
            yield _Hit(start, end, rule.kind, severity, SpanKind.RAW)


def _judge(rule: _Rule, secret: str, match: Any) -> RiskLevel | None:
    """How bad the match is; None when it is no secret."""
    if not secret or "[redacted:" in secret:
        return None
    check = _CHECKS.get(rule.check)
    if check is not None:
        severity = check(secret, match[1] or "" if match.re.groups > 1 else "")
        if severity is None or entropy(secret) < rule.entropy:
            return None
    elif entropy(secret) < rule.entropy or _PLACEHOLDER.search(secret) or _run(secret) > _LONGEST_RUN:
        if not (rule.kind == "twitter" and entropy(secret) >= rule.entropy):
            return None
        severity = RiskLevel.CRITICAL
    else:
        severity = RiskLevel.CRITICAL
    return RiskLevel.MEDIUM if rule.weak else severity


def entropy(text: str) -> float:
    """Shannon entropy in bits a character."""
    total = len(text)
    return -sum(count / total * math.log2(count / total) for count in Counter(text).values()) if total else 0.0


def _run(text: str) -> int:
    """The length of the longest run of one character."""
    longest = current = 1
    for before, char in pairwise(text):
        current = current + 1 if before == char else 1
        longest = max(longest, current)
    return longest


def _classes(text: str) -> int:
    """How many of lower case, upper case, digits and signs ``text`` has."""
    return (
        any(char.islower() for char in text)
        + any(char.isupper() for char in text)
        + any(char.isdigit() for char in text)
        + any(not char.isalnum() for char in text)
    )


def _random_case(text: str) -> bool:
    """Whether letters change case as dice would: words and camelCase have humps of three letters and more."""
    if len(text) < 8 or not text.isalpha() or text.islower() or text.isupper():  # noqa: PLR2004 - too short to tell
        return False
    humps = sum(
        1
        for before, char in zip("a" + text, text, strict=False)
        if char.isupper() or (before.isupper() and not char.isupper())
    )
    return len(text) / max(humps, 1) < _HUMP


def _password(secret: str, _name: str) -> RiskLevel | None:
    """A quoted or positional password: anything that is no placeholder, template, lookup or sentence."""
    word = secret.lower().rstrip(".,;:!")
    if _PLACEHOLDER.search(secret) or any(char.isspace() for char in secret) or _PATH.search(secret):
        return None
    if _CODE.search(secret) and not secret.isalnum():
        return None
    if _random_case(secret):
        return RiskLevel.CRITICAL
    if word in _WEAK or _classes(secret) < 2 or len(secret) < 6:  # noqa: PLR2004 - one class of letters is a word
        return RiskLevel.MEDIUM if word in _WEAK or len(set(secret)) > 2 else None  # noqa: PLR2004 - "----" is a line
    if _SHAPELESS.search(secret) and not any(char.isdigit() for char in secret):
        return RiskLevel.MEDIUM
    return RiskLevel.CRITICAL


def _bare(secret: str, _name: str) -> RiskLevel | None:
    """A password without quotes: code looks the same, so it needs letters with digits or signs, and no code's shape."""
    word = secret.lower()
    if _random_case(secret) and not _PLACEHOLDER.search(secret):
        return RiskLevel.CRITICAL
    if _PLACEHOLDER.search(secret) or _PATH.search(secret) or _CODE.search(secret) or word in _WEAK:
        return None
    letters, digits = any(char.isalpha() for char in secret), any(char.isdigit() for char in secret)
    if not letters or _SHAPELESS.search(secret):
        return None
    if not digits and not any(char in "!@#$%^&*+=~?" for char in secret):
        return None
    return RiskLevel.CRITICAL if len(secret) >= 6 and _classes(secret) > 1 else RiskLevel.MEDIUM  # noqa: PLR2004 - shorter is often a word


def _assigned(secret: str, name: str) -> RiskLevel | None:
    """The value of a name that ends in key, token or secret: random-looking, and the name is not of another trade."""
    if name and _NOT_SECRET_NAME.search(name):
        return None
    if _PLACEHOLDER.search(secret) or _PATH.search(secret) or _run(secret) > _LONGEST_RUN:
        return None
    if len(secret) >= _LONG and _random_case(secret):
        return RiskLevel.CRITICAL
    if _SHAPELESS.search(secret):
        return None
    if secret.lower() in _WEAK or _CODE.search(secret) or not any(char.isdigit() for char in secret):
        return None
    if not any(char.isalpha() for char in secret):
        return None
    quality = entropy(secret)
    real = quality >= 3.0 if len(secret) >= 16 else _classes(secret) > 2 and quality >= 2.8  # noqa: PLR2004 - short values are often names
    return RiskLevel.CRITICAL if real else RiskLevel.MEDIUM


def _basic(secret: str, _name: str) -> RiskLevel | None:
    """HTTP basic credentials: base64 of ``user:password``."""
    try:
        decoded = base64.b64decode(secret + "=" * (-len(secret) % 4), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    user, colon, password = decoded.partition(":")
    if not (user and colon and password and decoded.isprintable()):
        return None
    return _password(password, "") or RiskLevel.MEDIUM


def _key_block(secret: str, _name: str) -> RiskLevel | None:
    if len(secret) >= _KEY_BODY and not _PLACEHOLDER.search(secret.strip("-").replace("-----", "")[40:200]):
        return RiskLevel.CRITICAL
    return RiskLevel.MEDIUM


def _key_block64(secret: str, _name: str) -> RiskLevel | None:
    for shift in range(4):
        try:
            head = base64.b64decode("".join(secret.split())[shift : shift + 160].ljust(160, "A"))
        except binascii.Error:
            continue
        if b"PRIVATE KEY" in head:
            return RiskLevel.CRITICAL
    return None


def _luhn(secret: str, _name: str) -> RiskLevel | None:
    digits = [int(char) for char in secret if char.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) < 2:  # noqa: PLR2004 - ISO/IEC 7812
        return None
    doubled = [digit if place % 2 else 2 * digit - 9 * (digit > 4) for place, digit in enumerate(reversed(digits), 1)]  # noqa: PLR2004 - Luhn
    return RiskLevel.MEDIUM if sum(doubled) % 10 == 0 else None


_CHECKS = {
    "password": _password,
    "bare": _bare,
    "assigned": _assigned,
    "basic": _basic,
    "key_block": _key_block,
    "key_block64": _key_block64,
    "luhn": _luhn,
}


@cache
def _compiled(pattern: str) -> Any:
    """The pattern of a rule, compiled when something first wakes it: a hundred of them take 40 ms, and most sleep."""
    return re2.compile(pattern)


@cache
def _rules() -> tuple[tuple[_Rule, ...], tuple[tuple[int, ...], ...], Any, tuple[tuple[Linear, int], ...]]:
    """The rules, for each word the rules that it wakes, the set of the words, and shapes that wake a rule like words."""
    listed = yaml.load(resources.files(__package__).joinpath("rules/secrets.yaml").read_text("utf-8"), Loader=_LOADER)  # noqa: S506 - a safe loader
    rules = tuple(
        _Rule(
            kind=row["kind"],
            words=tuple(str(word) for word in row["words"]),
            pattern=row["pattern"],
            entropy=float(row.get("entropy", _DEFAULT_ENTROPY)),
            check=row.get("check", ""),
            weak=bool(row.get("weak", False)),
        )
        for row in listed
    )
    words = sorted({word for rule in rules for word in rule.words if not word.startswith("re:")})
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    literals = re2.Set.SearchSet(options)
    for word in words:
        literals.Add(re2.escape(word))
    literals.Compile()
    waking = tuple(tuple(number for number, rule in enumerate(rules) if word in rule.words) for word in words)
    shapes = tuple(
        (Linear(word.removeprefix("re:"), "i"), number)
        for number, rule in enumerate(rules)
        for word in rule.words
        if word.startswith("re:")
    )
    return rules, waking, literals, shapes
