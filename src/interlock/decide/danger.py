"""The rules that read danger out of one clause: thing, deed, place, extent. Each gives factors or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from interlock.decide.clause import Clause
from interlock.decide.lexicon import category, stem_set
from interlock.decide.words import word_set
from interlock.model.risk import Factor, RiskLevel

_LOW, _MEDIUM, _HIGH, _CRITICAL = RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL
_SCREENS = ("screen", "parser")


def factors(clause: Clause) -> list[Factor]:
    """Everything in ``clause`` that speaks of danger."""
    found = [factor for rule in _RULES for factor in rule(clause)]
    if clause.mention:
        return [_capped(factor, clause) for factor in found if factor.level >= _CRITICAL]
    if clause.labelled:
        return [_capped(factor, clause) for factor in found if factor.level >= _HIGH]
    return found


def _capped(factor: Factor, clause: Clause) -> Factor:
    return Factor(
        name=factor.name, level=_MEDIUM, evidence=factor.evidence, reason=f"Only mentioned: {clause.said[:60]}"
    )


def _one(name: str, level: RiskLevel, evidence: str, reason: str) -> list[Factor]:
    return [Factor(name=name, level=level, evidence=evidence, reason=reason)]


# --- deeds


def _destroys(clause: Clause) -> Iterable[Factor]:
    wide = clause.first("all") or clause.first("production") or clause.says("carelessly")
    shown = clause.has("screen") and not clause.has("production")
    if pair := clause.pair(_DESTROY, category("data")):
        if clause.has("parser"):
            return []
        mild = not wide and (shown or clause.has("testing"))
        level = _MEDIUM if mild else _CRITICAL if wide else _HIGH
        return _one("destroys", level, pair, "It destroys what may not come back.")
    if pair := clause.pair(category("remove"), _HELD):
        if clause.has("parser", "testing") or shown:
            return []
        return _one("destroys", _HIGH if wide else _MEDIUM, pair, "It takes away what others rely on.")
    if (
        clause.found[:1]
        and clause.found[0] in _DESTROY - stem_set("drop discard")
        and not clause.has("code", "screen", "parser", "writing")
    ):
        return _one("destroys", _MEDIUM, " ".join(clause.raw[:4]), "It destroys what may not come back.")
    return []


_DESTROY = category("destroy")
_HELD = (
    category("people")
    | category("money")
    | category("structure")
    | stem_set(
        "trace booking transaction measurement message document subscription data record backup snapshot bucket volume history column everything server cluster order event audit queue"
    )
)
"""Things that are missed when somebody merely removes, clears or resets them."""
_DROPS = re.compile(
    r"\b(?:drop|truncat|alter|purg|wip|nuk)\w*\b[^.;]{0,40}?\b(?:tables?|columns?|databases?|schemas?)\b", re.IGNORECASE
)


def _drops(clause: Clause) -> Iterable[Factor]:
    found = _DROPS.search(clause.said)
    if found and not clause.has("parser", "writing"):
        return _one("structure", _HIGH, found.group(), "It drops or changes stored structure.")
    return []


def _bypasses(clause: Clause) -> Iterable[Factor]:
    pair = clause.pair(category("bypass"), category("guard"), 6) or clause.pair(category("remove"), _REAL_GUARDS, 4)
    light = _REAL_GUARDS.isdisjoint(clause.found)
    shown = clause.has("screen") and not clause.has("auth", "production")
    if not pair or clause.has("parser") or (light and shown):
        return []
    level = _MEDIUM if light or shown or clause.has("testing") else _CRITICAL if clause.has("production") else _HIGH
    return _one("bypasses", level, pair, "It takes a safeguard away.")


_LIGHT = stem_set("log test ci check header policy limit gate alert lock monitor validation warning rule")
_REAL_GUARDS = category("guard") - _LIGHT


def _weakens(clause: Clause) -> Iterable[Factor]:
    if clause.has(*_SCREENS):
        return []
    if pair := clause.pair(category("weaken"), _REAL_GUARDS, 6):
        return _one("weakens", _HIGH, pair, "It weakens a safeguard.")
    if pair := clause.pair(_LONGER, stem_set("token session password cookie certificate expiry lifetime"), 5):
        return _one("weakens", _HIGH, pair, "A key that lives longer can be stolen longer.")
    if pair := clause.pair(_LONGER | stem_set("remove"), stem_set("limit quota cap threshold"), 4):
        return _one("weakens", _HIGH if clause.has("money", "auth") else _MEDIUM, pair, "It widens a limit.")
    if pair := clause.pair(stem_set("trust believe"), _FORGEABLE, 6):
        return _one("weakens", _HIGH, pair, "It believes what anybody can forge.")
    if word := clause.says("plaintext", "stealthily", "runsanything"):
        return _one("weakens", _HIGH, word, "It takes away what protects.")
    return []


_LONGER = stem_set("extend lengthen prolong raise increase double longer")
_FORGEABLE = stem_set("client browser header input user request certificate sender id")


def _exposes(clause: Clause) -> Iterable[Factor]:
    if clause.has("parser"):
        return []
    if pair := clause.pair(category("expose"), _REACHABLE, 7):
        return _one("exposes", _HIGH, pair, "It shows something to people who should not see it.")
    if pair := clause.pair(category("tell") | stem_set("bypass"), _SECRETS, 6):
        return _one("exposes", _HIGH, pair, "A secret would leave its place.")
    if pair := clause.pair(category("carry"), _PRIVATE, 5):
        wide = clause.has("everyone", "all", "personal", "production")
        if wide or clause.says("data", "list", "dump", "database"):
            return _one("exposes", _HIGH if wide else _MEDIUM, pair, "Personal data would leave its place.")
    return []


_REACHABLE = category("data") | category("people") | category("secret") | stem_set(
    "endpoint port admin dashboard api internal debug source acl report contract draft plan"
)  # fmt: skip
_SECRETS = category("secret") | stem_set("password token passphrase")
_PRIVATE = category("people") - stem_set("account user guest") | stem_set("database backup")


def _grants(clause: Clause) -> Iterable[Factor]:
    power = category("admin") | stem_set("access permission right write unlimited role")
    if (pair := clause.pair(category("grant"), power, 5)) and not clause.has(*_SCREENS):
        return _one("grants", _CRITICAL if clause.has("everyone", "all") else _HIGH, pair, "It gives somebody power.")
    letting = stem_set("allow let permit enable")
    if pair := clause.pair(letting, _STRANGERS | stem_set("filesystem network shell command"), 5):
        return _one("grants", _HIGH, pair, "It lets people or programs in.")
    if (pair := clause.pair(stem_set("change transfer set"), category("admin"), 4)) and not clause.has(*_SCREENS):
        return _one("grants", _HIGH, pair, "It gives somebody power.")
    if (
        pair := clause.pair(
            stem_set("open"), category("admin") | stem_set("endpoint port api database network firewall"), 4
        )
    ) and (not clause.has(*_SCREENS)):
        return _one("grants", _HIGH, pair, "It opens what was closed.")
    if word := clause.says("letin"):
        return _one("grants", _HIGH, word, "It lets people in.")
    return []


_STRANGERS = (
    category("everyone") - stem_set("public world internet")
    | stem_set("carelessly unverified unregistered unsigned untrusted unconfirmed unapproved")
)  # fmt: skip


def _careless(clause: Clause) -> Iterable[Factor]:
    if clause.says("carelessly") and (found := re.search(r"\bwithout\b.{0,40}", clause.said, re.IGNORECASE)):
        return _one("careless", _MEDIUM, found.group(), "It goes without what makes it safe.")
    if (word := clause.says("straight")) and clause.has("people", "data") and not clause.has(*_SCREENS):
        return _one("careless", _MEDIUM, word, "It works on the thing itself, without a rehearsal.")
    return []


def _halts(clause: Clause) -> Iterable[Factor]:
    if clause.has(*_SCREENS, "testing"):
        return []
    if evidence := clause.pair(category("halt"), category("machine"), 5):
        level = _HIGH if clause.has("production", "all") or clause.says("outage") else _MEDIUM
        return _one("halts", level, evidence, "Something that people rely on would stop.")
    if pair := clause.pair(category("tamper"), _RECORDS, 6):
        return _one("tampers", _HIGH, pair, "It changes what is relied on as a record.")
    return []


_RECORDS = stem_set("history branch audit ledger evidence log")


def _moves(clause: Clause) -> Iterable[Factor]:
    if clause.has(*_SCREENS):
        return []
    if (pair := clause.pair(_CHANGES, _MANY, 6)) and clause.has("all", "production", "personal"):
        return _one("moves", _MEDIUM, pair, "It changes many people's data at once.")
    if pair := clause.pair(stem_set("merge split"), stem_set("tenant account customer organization user"), 4):
        return _one("moves", _MEDIUM, pair, "It changes whose data is whose.")
    if pair := clause.pair(
        stem_set("point change move switch flip transfer"), stem_set("domain nameserver hostname dns"), 4
    ):
        return _one("moves", _MEDIUM, pair, "Everybody would be led somewhere else.")
    if pair := clause.pair(stem_set("restore load import apply replay"), stem_set("backup dump snapshot"), 4):
        return _one("moves", _MEDIUM, pair, "It writes over what is there now.")
    if (pair := clause.pair(_FINAL_DEEDS, stem_set("unattended automatically"), 8)) and not clause.has("testing"):
        return _one("unattended", _MEDIUM, pair, "It happens without anybody looking.")
    return []


_CHANGES = category("alter") | stem_set(
    "set mark update edit run install apply load undo close import make restore patch upgrade put extend"
)
_MANY = (
    category("data") | category("people") | category("machine") | category("money") | stem_set("value")
) - stem_set("file everything document photo contact table collection log")
_FINAL_DEEDS = stem_set(
    "buy purchase place pay refund charge transfer delete approve merge deploy publish send order sign"
)
"""Deeds that cannot simply be taken back."""


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
    return not _STYLING.isdisjoint(clause.raw)


_STYLING = word_set(
    "style styles styling css scss font fonts color colors colour colours padding margin border"
    " spacing icon icons alignment hover svg"
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


def _kept(clause: Clause) -> Iterable[Factor]:
    """Secrets and personal data are delicate wherever they are touched."""
    if clause.has("parser", "writing") or _styling(clause):
        return []
    found = []
    if word := clause.first("secret"):
        found += _one("secrets", _MEDIUM, word, "It touches a secret.")
    if word := clause.first("personal"):
        level = _HIGH if clause.has("carry", "alter", "destroy") or clause.says("permission", "plaintext") else _MEDIUM
        found += _one("personal-data", level, word, "It touches what is nobody else's business.")
    if (word := clause.first("protection")) and not clause.has("screen", "testing"):
        found += _one("protection", _MEDIUM, word, "It decides what is let through.")
    return found


def _structure(clause: Clause) -> Iterable[Factor]:
    if clause.has("parser", "writing"):
        return []
    word = clause.first("structure")
    if word and (not clause.has("screen") or clause.says("database", "db", "foreignkey", "nullable", "backfill")):
        grave = clause.pair(category("destroy"), category("structure") | stem_set("column table trigger index"), 8)
        level = _CRITICAL if clause.has("auth") and not clause.has("testing", "screen") else _HIGH if grave else _MEDIUM
        return _one("database", level, word, "It touches stored data or its structure.")
    if clause.has("screen"):
        return []
    for things, company, categories in _STORED:
        if (word := clause.says(*things.split())) and (clause.says(*company.split()) or clause.has(*categories)):
            return _one("database", _MEDIUM, word, "It touches stored data or its structure.")
    return []


_STORED: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("table", "column row insert sql query owner legacy session audit log schema", ("auth", "people", "alter")),
    ("column", "model table query sql legacy unique composite sync user default", ("extend",)),
    ("index constraint trigger indices", "model table column query sql unique check composite slow sync db", ()),
    ("field", "model table sql unique json entity record", ()),
    ("model", "field type index unique default relation", ("alter",)),
)  # fmt: skip
"""Words that mean stored structure in the company of others: (word, company, categories of company)."""


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
    if (word := clause.says("deploy", "deployment", "redeploy", "rollout", "ship")) and not (
        clause.has("screen") and not clause.says("deploy", "deployment", "redeploy")
    ):
        begins = clause.found[:2] and any(found in stem_set("deploy ship redeploy") for found in clause.found[:2])
        return _area("delivery", word, _HIGH if begins else _MEDIUM, clause, "It changes how things reach people.")
    if (word := clause.says("release")) and (
        stem_set("release").intersection(clause.found[:3]) or clause.says(*_RELEASING.split())
    ):
        return (
            []
            if clause.has("screen")
            else _area("delivery", word, _MEDIUM, clause, "It changes how things reach people.")
        )
    if (word := clause.first("infrastructure")) and not (clause.has("parser", "writing") or _styling(clause)):
        return _one("delivery", _MEDIUM, word, "It changes what things are built with or run on.")
    return []


_RELEASING = (
    "version tag cut publish prepare build pipeline workflow script process branch automate hotfix ship new next final"
)


def _masses(clause: Clause) -> Iterable[Factor]:
    if (word := clause.says("refund", "payout", "payroll", "payment", "billing", "reimburse")) and not clause.has(
        *_SCREENS, "testing", "writing"
    ):
        yield from _one("money", _MEDIUM, word, "It moves money.")
    if pair := clause.pair(
        stem_set("transfer wire payout withdraw"), stem_set("fund money amount account balance cash"), 5
    ):
        yield from _one("money", _HIGH, pair, "It moves money.")
    people = category("people") | stem_set("everyone everybody list")
    if clause.has("all", "everyone"):
        if pair := clause.pair(
            stem_set("refund charge transfer payout bill reimburse pay debit wire"), people | category("money"), 6
        ):
            yield from _one("money", _HIGH, pair, "It moves other people's money.")
        if pair := clause.pair(stem_set("send email notify message text mail sms spam"), people, 6):
            yield from _one("masses", _MEDIUM, pair, "It reaches many people at once.")


_COMMANDS: tuple[tuple[str, RiskLevel, re.Pattern[str]], ...] = (
    ("sql", _CRITICAL, re.compile(r"\b(?:DROP\s+(?:TABLE|DATABASE|SCHEMA)\s+\w|TRUNCATE\s+(?:TABLE\s+)?\w|DELETE\s+FROM\s+\w+\s*(?:;|$))")),
    ("sql", _HIGH, re.compile(r"\b(?:DELETE\s+FROM|UPDATE\s+\w+\s+SET|GRANT\s+\w+\s+(?:ON|TO)|ALTER\s+TABLE\s+\w+\s+DROP)\b")),
    ("shell", _CRITICAL, re.compile(r"(?i)\brm\s+-\w*[rf]\w*|\bmkfs\b|\bdd\s+if=|:\(\)\s*\{")),
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
    _destroys, _drops, _bypasses, _weakens, _exposes, _grants, _careless, _halts, _moves,
    _auth, _ambiguous, _kept, _structure, _production, _masses, _commands,
)  # fmt: skip
