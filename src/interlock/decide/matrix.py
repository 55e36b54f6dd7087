"""A team's decision matrix (spec 5) applied to a task: who leads, who joins, in which order. The matrix is data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from interlock.decide import words
from interlock.model.choosing import Matrix, MatrixRule

TITLE = "title"
"""The kind of a task that is just the bare name of a feature: a few words, no verb of work."""
OTHER = "other"
_TITLE_WORDS = 3
_VERB_PLACES = 2
"""“Please add …”, “feat: implement …”: the verb is the first word or the one after it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixVerdict:
    """What a matrix says about a task."""

    agents: tuple[str, ...]
    why: Mapping[str, str]
    reason: str
    emergency: bool = False


def applicable(matrix: Matrix | Sequence[Matrix] | None, names: Iterable[str]) -> tuple[Matrix, ...]:
    """The matrices that fit a catalogue of these agents."""
    given = () if matrix is None else (matrix,) if isinstance(matrix, Matrix) else tuple(matrix)
    there = set(names)
    return tuple(one for one in given if set(one.agents) <= there and (not one.exactly or there == set(one.agents)))


def kind_of(text: str, matrix: Matrix) -> str:
    """The kind of work: by a phrase of the matrix, else by the verb among the first two words, of the first sentence that has one."""
    verbs = [(words.phrase(verb), kind) for kind, said in matrix.kinds.items() for verb in said]
    for sentence in words.sentences(text):
        found = words.stems(sentence)
        for wanted, kind in verbs:
            if len(wanted) > 1 and words.holds(found, wanted):
                return kind
        for term in found[:_VERB_PLACES]:
            for wanted, kind in verbs:
                if wanted == (term,):
                    return kind
    return TITLE if _is_title(text, matrix) else OTHER


def _is_title(text: str, matrix: Matrix) -> bool:
    """Whether what is said of the matrix's domains is no more than the name of a thing; other sentences are beside it."""
    found = [words.stems(sentence) for sentence in words.sentences(text)]
    telling = [one for one in found if any(says(one, domain.words) for domain in matrix.domains)]
    return bool(telling) and all(len(one) <= _TITLE_WORDS for one in telling)


def judge(text: str, names: Sequence[str], matrix: Matrix | Sequence[Matrix] | None) -> MatrixVerdict | None:
    """What the first matrix that applies says; None when none has anything to say about this task."""
    for one in applicable(matrix, names):
        verdict = _judge(text, set(names), one)
        if verdict is not None:
            return verdict
    return None


def _judge(text: str, there: set[str], matrix: Matrix) -> MatrixVerdict | None:
    found = words.stems(text)
    if matrix.emergency_agent in there and says(found, matrix.emergency) and says(found, matrix.emergency_about):
        alarm = says(found, matrix.emergency)
        return MatrixVerdict(
            agents=(matrix.emergency_agent,),
            why={matrix.emergency_agent: f"emergency: {alarm}"},
            reason=f"an emergency ({alarm}): it goes straight to {matrix.emergency_agent}",
            emergency=True,
        )
    kind = kind_of(text, matrix)
    if matrix.triggers and kind not in matrix.triggers and not says(found, matrix.triggers):
        return None
    lead = _lead(found, there, matrix)
    if not lead:
        return None
    why = {lead[0]: f"{matrix.name}: leads on “{lead[1]}”"}
    for rule in matrix.rules:
        word = _fires(rule, found, lead[0], kind, matrix)
        if word is not None:
            for name in rule.add:
                if name in there:
                    why.setdefault(name, f"{matrix.name}: joins on “{word or kind}”")
    return MatrixVerdict(agents=tuple(why), why=why, reason=f"the decision matrix “{matrix.name}” ({kind})")


def _lead(found: list[str], there: set[str], matrix: Matrix) -> tuple[str, str] | None:
    best: tuple[int, str, str] | None = None
    for domain in matrix.domains:
        hits = [word for word in domain.words if words.holds(found, words.phrase(word))]
        if hits and domain.agent in there and (best is None or len(hits) > best[0]):
            best = (len(hits), domain.agent, ", ".join(hits))
    return (best[1], best[2]) if best else None


def _fires(rule: MatrixRule, found: list[str], lead: str, kind: str, matrix: Matrix) -> str | None:
    """The word on which a rule fires, None when it does not."""
    if rule.first and lead not in rule.first:
        return None
    if (rule.kinds and kind not in rule.kinds) or (not rule.kinds and kind in matrix.single):
        return None
    word = says(found, rule.words)
    if (rule.words and not word) or (rule.also and not says(found, rule.also)) or says(found, rule.unless):
        return None
    return word


def says(found: list[str], wanted: Iterable[str]) -> str:
    """The first of the words or phrases ``wanted`` that stands in ``found``, empty when none does."""
    return next((word for word in wanted if words.holds(found, words.phrase(word))), "")


def order(
    text: str, chosen: Sequence[str], names: Sequence[str], matrix: Matrix | Sequence[Matrix] | None
) -> set[tuple[str, str]]:
    """Pairs (before, after) among ``chosen`` that the matrix of the catalogue asks for, for this kind of task."""
    for one in applicable(matrix, names):
        found = words.stems(text)
        kind = kind_of(text, one)
        if one.triggers and kind not in one.triggers and not says(found, one.triggers):
            continue
        if kind in one.together:
            return set()
        pairs = _pairs(one, chosen)
        if kind in one.one_by_one:
            line = _line(chosen, pairs)
            return {(line[place], after) for place in range(len(line)) for after in line[place + 1 :]}
        return pairs
    return set()


def _pairs(matrix: Matrix, chosen: Sequence[str]) -> set[tuple[str, str]]:
    pairs = set()
    for before, after in matrix.order:
        befores = chosen if before == "*" else [before]
        afters = chosen if after == "*" else [after]
        pairs |= {(b, a) for b in befores for a in afters if b in chosen and a in chosen and a != b}
    return {pair for pair in pairs if (pair[1], pair[0]) not in pairs}


def _line(chosen: Sequence[str], pairs: set[tuple[str, str]]) -> list[str]:
    """``chosen`` as one line that respects ``pairs``; otherwise in the order given."""
    rest, line = list(chosen), []
    while rest:
        free = next((name for name in rest if not any(b in rest and a == name for b, a in pairs)), rest[0])
        rest.remove(free)
        line.append(free)
    return line
