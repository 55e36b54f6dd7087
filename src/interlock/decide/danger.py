"""The rules that read danger out of one clause: thing, deed, place, extent. Each gives factors or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from interlock.decide.clause import Clause
from interlock.decide.lexicon import category
from interlock.model.risk import Factor, RiskLevel

_LOW, _MEDIUM, _HIGH, _CRITICAL = RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL
_DESTROY, _REMOVE, _BYPASS = category("destroy"), category("remove"), category("bypass")
_DATA, _PEOPLE, _GUARD, _AUTH = category("data"), category("people"), category("guard"), category("auth")
_SCREENS = ("screen", "parser")


def factors(clause: Clause) -> list[Factor]:
    """Everything in ``clause`` that speaks of danger."""
    found = [factor for rule in _RULES for factor in rule(clause)]
    if clause.mention:
        return [_capped(factor, clause) for factor in found if _stays(factor, clause)]
    return found


def _stays(factor: Factor, clause: Clause) -> bool:
    """Of a mention only what would be grave if it were no mention, and that as medium at most."""
    return factor.level >= _CRITICAL and clause.has("production")


def _capped(factor: Factor, clause: Clause) -> Factor:
    return Factor(
        name=factor.name, level=_MEDIUM, evidence=factor.evidence, reason=f"Only mentioned: {clause.said[:60]}"
    )


def _one(name: str, level: RiskLevel, evidence: str, reason: str) -> list[Factor]:
    return [Factor(name=name, level=level, evidence=evidence, reason=reason)]


# --- deeds


def _destroys(clause: Clause) -> Iterable[Factor]:
    wide = clause.first("all") or clause.first("production") or clause.says("without")
    if pair := clause.pair(_DESTROY, _DATA | _PEOPLE):
        if clause.has("parser") or (clause.has("screen", "testing") and not wide):
            return []
        return _one("destroys", _CRITICAL if wide else _HIGH, pair, "It destroys what may not come back.")
    if pair := clause.pair(_REMOVE, _PEOPLE | category("structure") | _WEIGHTY):
        if clause.has(*_SCREENS, "testing") and not clause.has("production"):
            return []
        return _one("destroys", _HIGH if wide else _MEDIUM, pair, "It takes away what others rely on.")
    return []


_WEIGHTY = frozenset(category("data")) & frozenset(
    {
        "data",
        "record",
        "backup",
        "snapshot",
        "bucket",
        "volum",
        "databas",
        "histori",
        "column",
        "everyth",
        "server",
        "cluster",
    }
)
_DROPS = re.compile(
    r"\b(?:drop|truncat|alter|purg|wip|nuk)\w*\b[^.;]{0,40}?\b(?:tables?|columns?|databases?|schemas?)\b", re.IGNORECASE
)


def _drops(clause: Clause) -> Iterable[Factor]:
    found = _DROPS.search(clause.said)
    if found and not clause.has("parser", "writing"):
        return _one("structure", _HIGH, found.group(), "It drops or changes stored structure.")
    return []


def _bypasses(clause: Clause) -> Iterable[Factor]:
    pair = clause.pair(_BYPASS, _GUARD, 6) or clause.pair(_REMOVE, _REAL_GUARDS, 4)
    if not pair or clause.has("parser"):
        return []
    if clause.has("screen") and not clause.has("auth", "production"):
        return []
    light = not any(word in _REAL_GUARDS for word in clause.found)
    level = _MEDIUM if light or clause.has("testing") else _HIGH
    return _one(
        "bypasses", _CRITICAL if clause.has("production") and not light else level, pair, "It takes a safeguard away."
    )


_LIGHT = frozenset(
    {"log", "test", "ci", "check", "header", "polici", "limit", "gate", "alert", "lock", "monitor", "valid"}
)
_REAL_GUARDS = _GUARD - _LIGHT


def _weakens(clause: Clause) -> Iterable[Factor]:
    weak = category("weaken") - {"rais", "increas", "extend"}
    if (pair := clause.pair(weak, _REAL_GUARDS, 6)) and not clause.has(*_SCREENS):
        return _one("weakens", _HIGH, pair, "It weakens a safeguard.")
    return []


def _exposes(clause: Clause) -> Iterable[Factor]:
    public = _stems("public publish expose leak reveal everyone internet world unprotect")
    if (pair := clause.pair(public, _REACHABLE, 7)) and not clause.has("parser"):
        return _one("exposes", _HIGH, pair, "It shows something to people who should not see it.")
    telling = public | _stems(
        "print log commit email send post copy share paste dump upload forward hand export bypass"
    )
    if (pair := clause.pair(telling, _SECRETS, 5)) and not clause.has("parser"):
        return _one("exposes", _HIGH, pair, "A secret would leave its place.")
    carrying = _stems("share dump paste upload forward hand leak send copy download email")
    if (pair := clause.pair(carrying, _PRIVATE, 5)) and (
        clause.has("all", "everyone", "production") or clause.says("data")
    ):
        return _one(
            "exposes", _HIGH if clause.has("everyone") else _MEDIUM, pair, "Personal data would leave its place."
        )
    return []


def _stems(said: str) -> frozenset[str]:
    from interlock.decide.words import stem  # noqa: PLC0415 - used once, while loading

    return frozenset(stem(word) for word in said.split())


_REACHABLE = (
    category("data")
    | category("people")
    | category("secret")
    | _stems(
        "endpoint port admin dashboard api internal key console panel debug url link address source object acl download"
    )
)
_SECRETS = category("secret") | _stems("password token credential passphrase mfa")
_PRIVATE = category("people") - _stems("email address phone account user") | _stems(
    "customers database backup personal"
)


def _grants(clause: Clause) -> Iterable[Factor]:
    power = category("admin") | _stems("access permission right write superuser unlimited privilege role")
    if (pair := clause.pair(_stems("grant give promote elevate escalate make assign"), power, 5)) and not clause.has(
        *_SCREENS
    ):
        wide = clause.has("everyone", "all")
        return _one("grants", _CRITICAL if wide else _HIGH, pair, "It gives somebody power.")
    if pair := clause.pair(_stems("allow let permit let-in"), category("everyone") | _stems("in without"), 6):
        return _one("grants", _HIGH, pair, "It lets people in.")
    return []


def _careless(clause: Clause) -> Iterable[Factor]:
    if (word := clause.says("without")) and (found := re.search(r"\bwithout\b.{0,40}", clause.said, re.IGNORECASE)):
        if clause.has("destroy", "ship", "alter", "grant", "remove", "expose", "auth", "production", "data"):
            return _one("careless", _MEDIUM, found.group() or word, "It goes without what makes it safe.")
    return []


# --- things


def _auth(clause: Clause) -> Iterable[Factor]:
    if word := clause.first("auth"):
        return _area("auth", word, _HIGH, clause, "It touches who may come in and do what.")
    if (word := clause.first("security")) and not clause.says("tls-only"):
        return _area("security", word, _HIGH, clause, "It touches what protects the system.")
    return []


def _area(name: str, word: str, level: RiskLevel, clause: Clause, reason: str) -> list[Factor]:
    if clause.has("parser", "writing") or _styling(clause):
        return []
    if clause.has("screen", "testing"):
        level = _MEDIUM
    return _one(name, level, word, reason)


def _styling(clause: Clause) -> bool:
    return bool(
        clause.says(
            "style",
            "css",
            "scss",
            "font",
            "color",
            "colour",
            "padding",
            "margin",
            "border",
            "spacing",
            "icon",
            "alignment",
            "hover",
            "svg",
        )
    )


_COMPANIONS: tuple[tuple[str, str, str], ...] = (
    ("session", "auth", "user cookie expire expiry timeout store storage secret invalidate hijack admin server redis persist login remember concurrent logout migration table id token"),
    ("role", "auth", "user admin grant assign permission change check access member staff coach manager owner editor viewer migration policy default enforce guard iam service"),
    ("token", "auth", "api access refresh secret expire expiry reset bearer rotate invite session user verify sign store leak jwt railway deploy github"),
    ("cookie", "auth", "secure httponly samesite login session auth expire token csrf sign remember domain"),
    ("access", "auth", "admin control deny grant unauthorized policy organization tenant restrict user public role prevent private"),
    ("admin", "auth", "password grant create reset access right account delete user api initialize login role default bootstrap"),
)  # fmt: skip


def _ambiguous(clause: Clause) -> Iterable[Factor]:
    """Words that are dangerous in good company only; alone, the ones that the seed names are a medium doubt."""
    found: list[Factor] = []
    for word, name, company in _COMPANIONS:
        said = clause.says(word)
        if not said or clause.has("parser", "writing") or _styling(clause):
            continue
        companion = clause.says(*(other for other in company.split() if other != word)) or clause.first("auth")
        if clause.has("screen") and not clause.has("auth"):
            continue
        if companion:
            found += _one(
                name,
                _MEDIUM if clause.has("screen", "testing") else _HIGH,
                f"{said} with {companion}",
                "It touches who may come in and do what.",
            )
        elif word in {"session", "role"}:
            found += _one(name, _MEDIUM, said, "It may touch who may come in and do what.")
    return found


def _structure(clause: Clause) -> Iterable[Factor]:
    if clause.has("parser", "writing"):
        return []
    if word := clause.first("structure"):
        if clause.has("screen") and word.lower() not in {"database", "databases", "db", "foreignkey", "nullable"}:
            return []
        grave = clause.pair(_DESTROY, category("structure") | _stems("column table trigger index"), 8)
        level = _CRITICAL if clause.has("auth") and not clause.has("testing", "screen") else _HIGH if grave else _MEDIUM
        return _one("database", level, word, "It touches stored data or its structure.")
    if clause.has("screen"):
        return []
    if (clause.says("table", "tables")) and (
        clause.has("auth", "people", "alter")
        or clause.says("column", "row", "insert", "sql", "query", "owner", "legacy", "session", "audit", "log")
    ):
        return _one("database", _MEDIUM, clause.says("table"), "It touches stored data or its structure.")
    if clause.says("index", "indices", "indexes", "constraint", "column", "trigger", "field") and clause.says(
        "model",
        "table",
        "query",
        "sql",
        "legacy",
        "unique",
        "check",
        "composite",
        "foreign",
        "drop",
        "rename",
        "slow",
        "sync",
    ):
        return _one(
            "database",
            _MEDIUM,
            clause.says("index", "indices", "indexes", "constraint", "column", "trigger", "field"),
            "It touches stored data or its structure.",
        )
    return []


def _production(clause: Clause) -> Iterable[Factor]:
    word = clause.first("production")
    if word:
        if clause.has("writing"):
            return []
        shipped = (
            clause.has("ship")
            or clause.says("release")
            or clause.has("destroy", "auth", "structure", "bypass")
            or clause.says("straight")
        )
        level = _MEDIUM if clause.has("testing") else _CRITICAL if shipped else _HIGH
        return _one("production", level, word, "It touches what people use right now.")
    if word := clause.says("deploy", "deployment", "redeploy", "rollout", "ship"):
        begins = clause.found[:2] and any(found in _stems("deploy ship redeploy") for found in clause.found[:2])
        return _area("delivery", word, _HIGH if begins else _MEDIUM, clause, "It changes how things reach people.")
    if word := clause.says("release"):
        return (
            []
            if clause.has("screen")
            else _area("delivery", word, _MEDIUM, clause, "It changes how things reach people.")
        )
    if (word := clause.first("infrastructure")) and not (clause.has("parser", "writing") or _styling(clause)):
        return _one("delivery", _MEDIUM, word, "It changes what things are built with or run on.")
    return []


def _masses(clause: Clause) -> Iterable[Factor]:
    people = _PEOPLE | _stems("everyone everybody list")
    if clause.has("all", "everyone"):
        if pair := clause.pair(
            _stems("refund charge transfer payout bill reimburse pay debit wire"), people | category("money"), 6
        ):
            return _one("money", _HIGH, pair, "It moves other people's money.")
        if pair := clause.pair(_stems("send email notify message text mail sms spam"), people, 6):
            return _one("masses", _MEDIUM, pair, "It reaches many people at once.")
    return []


_COMMANDS: tuple[tuple[str, RiskLevel, re.Pattern[str]], ...] = (
    ("sql", _CRITICAL, re.compile(r"\b(?:DROP\s+(?:TABLE|DATABASE|SCHEMA)\s+\w|TRUNCATE\s+(?:TABLE\s+)?\w|DELETE\s+FROM\s+\w+\s*(?:;|$))")),
    ("sql", _HIGH, re.compile(r"\b(?:DELETE\s+FROM|UPDATE\s+\w+\s+SET|GRANT\s+\w+\s+(?:ON|TO)|ALTER\s+TABLE\s+\w+\s+DROP)\b")),
    ("shell", _CRITICAL, re.compile(r"\brm\s+-\w*[rf]\w*|\bmkfs\b|\bdd\s+if=|:\(\)\s*\{")),
    ("shell", _HIGH, re.compile(r"\bsudo\b|chmod\s+(?:-R\s+)?777|\b(?:curl|wget)\b[^|\n]*\|\s*(?:ba)?sh\b|git\s+push\s+(?:--force|-f)\b|--no-verify\b")),
)  # fmt: skip


def _commands(clause: Clause) -> Iterable[Factor]:
    if clause.has("parser"):
        return []
    return [
        Factor(name=name, level=level, evidence=found.group()[:60], reason="A dangerous command stands in the task.")
        for name, level, shape in _COMMANDS
        if (found := shape.search(clause.said))
    ]


_RULES: tuple[Callable[[Clause], Iterable[Factor]], ...] = (
    _destroys, _drops, _bypasses, _weakens, _exposes, _grants, _careless, _auth, _ambiguous, _structure, _production, _masses, _commands,
)  # fmt: skip
