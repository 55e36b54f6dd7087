"""How dangerous a task is, by its words and by what is known about it (spec 4).

The words are read clause by clause. A clause is dangerous by the *thing* it is about (sign-in, data's structure,
production), by the *deed* (destroy, expose, bypass, weaken, grant) done to a thing that matters, and by *place* and
*extent* (live, all, without a backup). A harmless sense, a mention and a refusal are recognised only inside their own clause,
so that nothing said elsewhere can talk a danger away: adding a dangerous clause never lowers the level.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from interlock.decide import danger, doubt, globs, words
from interlock.decide.clause import LONGEST, Clause, clauses
from interlock.model.choosing import AgentFacts, RiskFacts
from interlock.model.risk import Factor, RiskAssessment, RiskLevel

_LOW, _MEDIUM, _HIGH, _CRITICAL = RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL
_FAILING_PERMILLE = 250
"""The seed's alert threshold: an error rate above 25 %."""
_ENOUGH_ATTEMPTS = 4
"""One failure of two is bad luck."""
_BLOCKED_PERMILLE = 50
_ENOUGH_BLOCKED = 3
"""An agent tries something else after a block; three times within a week, and one call in twenty, is a habit."""
_TOOLS = (
    ("runs any program", frozenset({"bash", "shell", "sh", "exec", "computer"})),
    ("talks to the network", frozenset({"webfetch", "websearch", "fetch", "browser"})),
    ("uses tools of other servers", frozenset({"mcp"})),
    ("queries databases", frozenset({"sql", "psql", "mysql", "sqlite", "database"})),
)


def assess_lexical(text: str) -> RiskAssessment:
    """The user's literal rules (seed, "Risk-Aware Task Routing"): substrings of the lower-cased task, nothing else."""
    lowered = text.lower()
    level, factors = _LOW, []
    if found := re.search(r"auth|security|password|session|role|permission", lowered):
        level = _HIGH
        factors.append(_lexical("security", "Security-sensitive operation", _HIGH, found.group()))
    if found := re.search(r"schema|migration|database|table", lowered):
        level = _CRITICAL if level == _HIGH else _MEDIUM
        factors.append(_lexical("database", "Database modification", level, found.group()))
    if found := re.search(r"production|prod|deploy|release", lowered):
        level = _CRITICAL
        factors.append(_lexical("production", "Production environment", _CRITICAL, found.group()))
    return RiskAssessment(level=level, factors=tuple(factors))


def _lexical(name: str, reason: str, level: RiskLevel, evidence: str) -> Factor:
    return Factor(name=name, level=level, evidence=evidence, reason=reason)


def assess(text: str, facts: RiskFacts | None = None) -> RiskAssessment:
    """What ``text`` risks, with ``facts`` on top; each factor carries its evidence."""
    facts = facts or RiskFacts()
    if facts.classifier == "lexical":
        return assess_lexical(text)
    factors: dict[tuple[str, str], Factor] = {}
    for factor in (*_from_words(text), *_from_files(text, facts), *_from_agents(facts)):
        known = factors.get((factor.name, factor.evidence))
        if known is None or known.level < factor.level:
            factors[factor.name, factor.evidence] = factor
    level = max((factor.level for factor in factors.values()), default=_LOW)
    if facts.environment == "production" and level > _LOW:
        raised = _CRITICAL if level >= _HIGH else _HIGH
        factors["environment", "production"] = Factor(
            name="environment", level=raised, evidence="production", reason="It would take effect in production."
        )
        level = raised
    ranked = sorted(factors.values(), key=lambda factor: (-factor.level.rank, factor.name, factor.evidence))
    return RiskAssessment(level=level, factors=tuple(ranked))


def _from_words(text: str) -> Iterable[Factor]:
    if len(text) > LONGEST:
        yield Factor(
            name="length", level=_MEDIUM, evidence=f"{len(text)} characters", reason="Too long to be read whole."
        )
    for said in clauses(text):
        clause = Clause(said)
        found = danger.factors(clause)
        yield from found or doubt.doubt(clause)


# --- facts


_SENSITIVE = (
    ("files.auth", _HIGH, re.compile(r"(?:^|[/_.\-])(?:auth\w*|security|permissions?|rbac|sessions?|login|passwords?|crypto)(?:[/_.\-]|$)", re.IGNORECASE)),
    ("files.secret", _HIGH, re.compile(r"(?:^|/)(?:\.env[\w.]*|.*\.pem|.*\.key|id_[rd]sa|secrets?\.\w+|credentials\w*)$", re.IGNORECASE)),
    ("files.database", _MEDIUM, re.compile(r"(?:^|[/_.\-])(?:migrations?|schema|drizzle|alembic|prisma)(?:[/_.\-]|$)|\.sql$", re.IGNORECASE)),
    ("files.delivery", _MEDIUM, re.compile(r"(?:^|/)(?:\.github/workflows/|\.gitlab-ci|Dockerfile|docker-compose|Jenkinsfile|.*\.tf$|nixpacks|railway|fly\.toml|k8s/|helm/|deploy)", re.IGNORECASE)),
)  # fmt: skip

_CLASSES = tuple((f"works on {name.partition('.')[2]} files", shape) for name, _, shape in _SENSITIVE)


def _from_files(text: str, facts: RiskFacts) -> Iterable[Factor]:
    for path in dict.fromkeys((*words.paths(text), *facts.files)):
        for glob in facts.protected:
            if globs.covers(glob, path):
                yield Factor(name="files.protected", level=_HIGH, evidence=path, reason=f"Only people change {glob}.")
        for name, level, shape in _SENSITIVE:
            if shape.search(path):
                yield Factor(
                    name=name, level=level, evidence=path, reason="What this file decides matters to everybody."
                )


def _from_agents(facts: RiskFacts) -> Iterable[Factor]:
    for agent in facts.agents:
        if powers := _powers(agent):
            reason = "What its tools and files let it do."
            yield Factor(name="agent.powers", level=_LOW, evidence=f"{agent.name}: {powers}", reason=reason)
        yield from _from_record(agent)


def _powers(agent: AgentFacts) -> str:
    """What an agent may do that matters, told beside every assessment; by itself it raises nothing."""
    may = [
        f"{what} ({held[0]})" for what, tools in _TOOLS if (held := [one for one in agent.tools if _is_one(one, tools)])
    ]
    works = [
        f"{what} ({held[0]})" for what, shape in _CLASSES if (held := [one for one in agent.owns if shape.search(one)])
    ]
    return "; ".join((*may, *works))


def _is_one(tool: str, names: frozenset[str]) -> bool:
    said = tool.split("(", maxsplit=1)[0].lower()
    return said in names or (said.startswith("mcp__") and "mcp" in names)


def _from_record(agent: AgentFacts) -> Iterable[Factor]:
    """What an agent did lately speaks against it only when there is enough of it."""
    if agent.attempts >= _ENOUGH_ATTEMPTS and agent.failures * 1000 > _FAILING_PERMILLE * agent.attempts:
        yield Factor(
            name="agent.fails",
            level=_MEDIUM,
            evidence=f"{agent.name}: {agent.failures} of {agent.attempts} recent attempts failed",
            reason="It has failed often lately.",
        )
    if agent.blocked >= _ENOUGH_BLOCKED and agent.blocked * 1000 > _BLOCKED_PERMILLE * agent.calls:
        yield Factor(
            name="agent.blocked",
            level=_MEDIUM,
            evidence=f"{agent.name}: {agent.blocked} of {agent.calls} recent calls were blocked",
            reason="The gate has often had to stop it lately.",
        )
