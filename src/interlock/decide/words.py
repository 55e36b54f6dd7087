"""Words of a task or a definition, as stems: what selection, learning and risk compare.

Stems are Snowball's English ones. Identifiers are split (camelCase, snake_case, kebab-case) and kept whole as well.
"""

from __future__ import annotations

import re
import threading
from functools import lru_cache
from typing import Any

import snowballstemmer

_stemmer: Any = snowballstemmer.stemmer("english")
_one_at_a_time = threading.Lock()
"""The stemmer keeps the word that it works on in itself: two threads at once would get each other's letters."""

_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[_\-./][A-Za-z0-9]+)*|[0-9]+[A-Za-z]+")
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_PATH = re.compile(
    r"(?<![\w/.@\-])(?:\.?[\w@.\-]{1,200}/)+[\w@.\-*]*|(?<![\w/.\-])[\w\-]{1,200}(?:\.[\w\-]+)*\.[a-z][a-z0-9]{0,5}(?![\w/])"
)
_LONGEST_PATH, _MOST_PATHS = 400, 200
"""Of a longer path the end is kept: it names the file."""
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
_PREFIX = re.compile(r"^\s*(?:[A-Z][A-Z]+-\d+:?\s+)?([a-z]+)(?:\(([^)]*)\))?!?:\s+", re.IGNORECASE)


def word_set(said: str) -> frozenset[str]:
    """Some words, written as one text."""
    return frozenset(said.split())


FUNCTION_WORDS = word_set(
    "a about above after again all also although always an and another any are as at be because been before "
    "being below between both but by can cannot could did do does doing done down during each either else etc "
    "ever every few first for from further get gets getting give given go goes going got had has have having "
    "he her here hers him his how i if in instead into is it its itself just last least less let like made "
    "make makes making many may me might more most much must my need needs needed neither never next no nor "
    "not now of off often on once one only onto or other our out over own per please really same shall she "
    "should since so some still such than that the their them then there these they this those through to "
    "together too two under until up upon us use used uses using very via want wants was way we well were what "
    "when where whether which while who whole whose why will with within without would yet you your"
)
WORK_WORDS = word_set(
    "add adds added adding adjust allow apply avoid bug bugs build change changed changes check clean cleanup "
    "complete comprehensive convert correct create created creates creating develop do enable enhance ensure "
    "error errors extend feat feature features fix fixed fixes fixing handle handling implement implemented "
    "implements improve improved improvement improvements improves include initial introduce issue issues keep "
    "missing modify move new optional prevent problem problems proper properly provide put refactor remove "
    "removed removes rename replace resolve resolved restore rework set show simplify small some start stop "
    "support task things update updated updates updating work works working write wrong agent agents "
    "specialist code project app application system user users file files chore wip various better good bad "
    "current old simple basic"
)
"""Words that nearly every task and definition has: they tell the kind of work, not whose it is."""


_APART = {
    "production": "production",
    "important": "important",
    "importance": "important",
    "internal": "internal",
    "internally": "internal",
    "accessibility": "accessibility",
    "accessible": "accessible",
    "nightly": "nightly",
}
"""Words that Snowball would throw together with one of another meaning (product, import, intern, access, night)."""


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The Snowball stem of one word, lower-cased."""
    lowered = word.lower()
    if lowered in _APART:
        return _APART[lowered]
    if len(lowered) <= 2:  # noqa: PLR2004 - nothing to strip
        return lowered
    with _one_at_a_time:
        return str(_stemmer.stemWord(lowered))


_WEAK = frozenset(stem(word) for word in FUNCTION_WORDS | WORK_WORDS) | FUNCTION_WORDS | WORK_WORDS


_WORK = frozenset(stem(word) for word in WORK_WORDS)

_SAYINGS = tuple(
    (re.compile(rf"\b(?:{said})\b", re.IGNORECASE), meant)
    for said, meant in (
        (r"log(?:s|ged|ging)?[ -](?:in|on)(?:to)?|sign(?:s|ed|ing)?[ -](?:in|on)(?:to)?", "login"),
        (r"log(?:s|ged|ging)?[ -]out|sign(?:s|ed|ing)?[ -]out", "logout"),
        (r"sign(?:s|ed|ing)?[ -]up", "signup"),
        (r"from v?\d+(?:\.\d+)+ to v?\d+(?:\.\d+)+", "version upgrade"),
        (r"(?:two|2|multi)[ -]factor", "mfa"),
        (r"e-mail(s?)", r"email\1"),
        (r"end[ -]to[ -]end", "e2e"),
        (r"on[ -]call", "oncall"),
        (r"roll(?:s|ed|ing)?(?: [\w.]+){0,4} out", "rollout"),
        (r"pull[ -]requests?", "pullrequest"),
        (r"(?:feature|release)[ -](?:flag|toggle)(s?)", r"featureflag\1"),
        (r"machine[ -]learning", "ml"),
        (
            r"page(?:s|d)? (?=(?:us|me|him|her|them|somebody|someone|people|whoever|the (?:team|engineer|oncall|on-call))\b)",
            "pager ",
        ),
        (r"dark[ -]mode", "darkmode"),
        (r"lazy[ -]load\w*", "lazyloading"),
        (r"screen[ -]readers?", "screenreader"),
        (r"social[ -]media", "socialmedia"),
        (r"smart[ -]contracts?", "smartcontract"),
    )
)
"""What is written as several words and meant as one. Only where no telling word is lost."""


def plain_words(text: str) -> list[str]:
    """:func:`raw_words` after sayings are put as one word."""
    for said, meant in _SAYINGS:
        text = said.sub(meant, text)
    return raw_words(text)


_BRANDS = re.compile(
    r"\b(?:GitHub|GitLab|JavaScript|TypeScript|PostgreSQL|MySQL|MariaDB|MongoDB|SQLite|DynamoDB|NoSQL|BigQuery|OAuth|OpenID|OpenAPI"
    r"|DevOps|DevSecOps|GraphQL|PayPal|ChatGPT|OpenAI|YouTube|LinkedIn|WordPress|PyTorch|TensorFlow|CloudFront|CloudFormation"
    r"|RabbitMQ|WebSocket|WebSockets|Node\.?js|iOS|macOS|McDonald|PowerPoint|LaTeX|JUnit|FastAPI|pyTest)\b"
)
"""Names that are one word in spite of their capitals."""


def raw_words(text: str) -> list[str]:
    """The words of ``text`` in order, identifiers split into their parts."""
    found: list[str] = []
    text = _BRANDS.sub(lambda brand: brand.group().lower(), text)
    for token in _TOKEN.findall(text):
        for piece in re.split(r"[_\-./]", token):
            found.extend(part.lower() for part in _parts(piece))
    return found


def stems(text: str) -> list[str]:
    """All stems of ``text`` in order, nothing left out."""
    return [stem(word) for word in raw_words(text)]


def terms(text: str) -> list[str]:
    """The stems that can tell whose work it is, in order: no function words, no words of work, no single letters."""
    return [
        found for found in map(stem, plain_words(text)) if len(found) > 1 and found not in _WEAK and not found.isdigit()
    ]


def kinds_of_work(text: str) -> set[tuple[str, ...]]:
    """The words of ``text`` that tell the kind of work and not whose it is, each as a keyword of one word."""
    return {(found,) for found in stems(text) if found in _WORK}


_PHRASE_END = re.compile(r"[,;:.!?()]\s|$")
_PREPOSITIONS = word_set(
    "in for from to on of with by at into onto when after before during without within between via using "
    "instead because so that which while if until against across through under over as per and or but"
)


def heads(text: str) -> set[str]:
    """The stems that end a phrase: before a preposition, a comma or the end. They name what is worked on, and where."""
    found = set()
    for part in _PHRASE_END.split(text):
        last = ""
        for word in (*plain_words(part), "in"):
            if word in _PREPOSITIONS:
                found |= {last} if last else set()
                last = ""
            elif len(held := stem(word)) > 1 and held not in _WEAK:
                last = held
    return found


def identifiers(text: str) -> set[str]:
    """Names of things in code (``MultiLineChart``, ``audit_log``), lower-cased and joined."""
    return {
        re.sub(r"[^a-z0-9]", "", token.lower())
        for token in _TOKEN.findall(text)
        if re.search(r"[a-z][A-Z]|[_\-]", token)
    }


def phrase(text: str) -> tuple[str, ...]:
    """The stems of a keyword or phrase, as they stand in :func:`stems`."""
    return tuple(stems(text))


def paths(text: str) -> tuple[str, ...]:
    """The file paths that ``text`` names, in order, each once."""
    found = (path.rstrip(".")[-_LONGEST_PATH:] for path in _PATH.findall(text) if not path.startswith("http"))
    return tuple(dict.fromkeys(found))[:_MOST_PATHS]


def sentences(text: str) -> list[str]:
    """The sentences of ``text``."""
    return [found for found in (part.strip() for part in _SENTENCE.split(text)) if found]


def prefix(text: str) -> tuple[str, str]:
    """The kind and scope of a conventional-commit prefix (``fix(ui): …``), empty when there is none."""
    found = _PREFIX.match(text)
    return (found.group(1).lower(), (found.group(2) or "").lower()) if found else ("", "")


def holds(found: list[str], wanted: tuple[str, ...]) -> bool:
    """Whether the stems ``wanted`` stand side by side in ``found``."""
    size = len(wanted)
    if size == 1:
        return wanted[0] in found
    return any(tuple(found[start : start + size]) == wanted for start in range(len(found) - size + 1))


@lru_cache(maxsize=65536)
def _parts(piece: str) -> tuple[str, ...]:
    if piece.islower() or (piece.isupper() and piece.isalpha()) or piece[1:].islower():
        return (piece,)
    if re.fullmatch(r"[A-Za-z]{1,3}\d+[A-Za-z]*", piece):  # e2e, s3, a11y, i18n are words
        return (piece,)
    return tuple(_CAMEL.findall(piece))
