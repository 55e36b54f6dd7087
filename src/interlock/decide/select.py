"""Which agents suit a task, for any catalogue (spec 5).

Each agent is a bag of stemmed words weighted by where it says them (a keyword counts more than a description). A task's
words are weighted by how few agents share them. The best agent leads; another joins when it explains words that those
already chosen do not. What nobody explains is no agent's work: then the selection abstains with its two best guesses.
A team's decision matrix goes first where it applies; what history taught is mixed in by how much of it there is.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from interlock.decide import globs, learn, words
from interlock.decide import matrix as matrices
from interlock.decide.thesaurus import KINSHIP, groups, groups_of
from interlock.model.agent import AgentSpec
from interlock.model.choosing import Matrix, Memory
from interlock.model.plan import Match, Selection

_NAME, _KEYWORD, _EXAMPLE, _DESCRIPTION, _GLOB, _BODY = 1.0, 1.0, 0.6, 0.35, 0.4, 0.05
_PHRASE_BONUS = 0.5
"""A keyword of several words that stands whole in the task counts half as much again."""
_PER_KEYWORD = 0.1
"""Each keyword takes this from what the description says: who lists many has said in them what matters."""
_PHRASE_SHARE = 1.0
"""A word out of a keyword of n words says 1/n of what a keyword of one word says."""
_HEAD = 1.3
"""The head of a phrase is what is worked on (“login *tests*”, “password reset *email*”); the words before only qualify it."""
_CENTRAL = 0.65
"""How much an agent's own word depends on whether the agent is at home in the word's group."""
_GUEST = 0.8
"""Where an agent has the word itself as a keyword, those who only know the word's relatives come after it."""
_GROUP_LEAST = 2.5
"""An agent whose words touch a group of the thesaurus less than this only brushes against it."""
_GROUP_PART = 0.25
"""Unless that is this part of everything the agent says of itself."""
_STRAY = 0.75
"""One word of a group may have strayed in from another sense (“threat *models*” are not machine learning)."""
_PATH_WEIGHT = 6.0
"""A file in the task that an agent owns outweighs several words: ownership is a fact, a word is a hint."""
_NAMED_WEIGHT = 12.0
_ENOUGH = 0.6
"""The least weight of evidence on which an agent is chosen at all."""
_SURE = 0.5
_BLIND = 0.6
"""What evidence counts when it explains next to nothing of the task; all of it when it explains everything."""
_SHARE = 0.65
"""The next agent joins when it explains at least this share of the leader's weight with words of its own."""
_LONGEST = 20_000
"""Characters of a task that are read."""
_MOST = 4
_GUESSES = 2
_FALLBACK_OVERLAP = 0.25
_SHOWN = 0.01
"""Evidence that weighs less is not worth a person's eye."""


@dataclass(frozen=True, slots=True)
class _Index:
    """A catalogue prepared for comparing."""

    agents: tuple[AgentSpec, ...]
    spare: tuple[AgentSpec, ...]
    """Those that only replace others."""
    weights: Mapping[str, Mapping[str, float]]
    """Stem → agent → weight, relatives included."""
    phrases: Mapping[str, tuple[tuple[tuple[str, ...], str], ...]]
    """First stem of a phrase → (phrase, agent)."""
    rarity: Mapping[str, float]
    identifiers: Mapping[str, frozenset[str]]
    owners: tuple[tuple[str, str], ...]
    """(glob, agent)"""


_TITLES = words.word_set(
    "management manager development developer engineer engineering specialist expert assistant helper lead architect master"
    " guru pro bot worker professional consultant officer responder coordinator"
)
"""Words of a job title: in a name they say that somebody does it, not what is done."""

Parts = dict[str, dict[str, float]]
"""Agent → piece of evidence → weight."""


def select(
    text: str,
    catalogue: Sequence[AgentSpec],
    *,
    memory: Memory | None = None,
    matrix: Matrix | Sequence[Matrix] | None = None,
    insist: Sequence[str] = (),
) -> Selection:
    """The agents for a task in words; abstains when nothing suits. The order of the catalogue does not matter.

    ``insist`` names agents that the submitter demands: they are all chosen, and no other.
    """
    text = text[:_LONGEST]
    index = _index(catalogue)
    parts = _parts(text, index)
    if memory is not None:
        learn.mix(text, memory, [spec.name for spec in index.agents], parts)
    if insist:
        return _selection(text, tuple(dict.fromkeys(insist)), index, parts, reason="the submitter named them")
    verdict = matrices.judge(text, [spec.name for spec in index.agents], matrix)
    if verdict is not None:
        for name, why in verdict.why.items():
            parts[name][why] = parts[name].get(why, 0.0) + _ENOUGH
        return _selection(text, verdict.agents, index, parts, reason=verdict.reason, emergency=verdict.emergency)
    chosen = _chosen(text, parts)
    if chosen:
        return _selection(text, chosen, index, parts, reason="they know the words of the task")
    chosen = _by_kind_of_work(text, index.agents)
    if chosen:
        return _selection(text, chosen, index, parts, reason="nobody else suits, and this kind of work is its keyword")
    return _selection(text, (), index, parts, reason=_why_nobody(parts))


def _why_nobody(parts: Parts) -> str:
    if not parts:
        return "there are no agents yet"
    return "no agent knows " + ("enough of this task" if any(parts.values()) else "any word of this task")


def evidence(text: str, catalogue: Sequence[AgentSpec]) -> Mapping[str, Mapping[str, float]]:
    """What in ``text`` speaks for which agent of the catalogue, and how much."""
    return _parts(text[:_LONGEST], _index(catalogue))


def _chosen(text: str, parts: Parts) -> tuple[str, ...]:
    """Greedy cover: the best, then whoever explains enough of what is left."""
    total = {name: sum(found.values()) for name, found in parts.items()}
    order = sorted(total, key=lambda name: (-total[name], name))
    if not order or total[order[0]] < _ENOUGH or total[order[0]] * _trust(text, parts[order[0]]) < _SURE:
        return ()
    chosen = [order[0]]
    explained = dict(parts[order[0]])
    while len(chosen) < _MOST:
        left = {
            name: sum(max(0.0, weight - max(0.0, explained.get(what, 0.0))) for what, weight in parts[name].items())
            for name in order
            if name not in chosen
        }
        following = min(left, key=lambda name: (-left[name], name), default="")
        if not following or left[following] < max(_ENOUGH, _SHARE * total[order[0]]):
            break
        chosen.append(following)
        for what, weight in parts[following].items():
            explained[what] = max(explained.get(what, 0.0), weight)
    return tuple(chosen)


def _by_kind_of_work(text: str, agents: Sequence[AgentSpec]) -> tuple[str, ...]:
    """The one agent with the kind of work ("fix") among its keywords: such a word tells little, but the project said so."""
    said = words.kinds_of_work(text)
    count = {spec.name: len(said & {words.phrase(keyword) for keyword in spec.keywords}) for spec in agents}
    best = [name for name, found in count.items() if found and found == max(count.values())]
    return tuple(best) if len(best) == 1 else ()


def _trust(text: str, found: Mapping[str, float]) -> float:
    """How far to trust evidence that explains only part of what the best sentence says: one word may be chance."""
    told = [set(words.terms(sentence)) for sentence in words.sentences(text)]
    shares = [sum(found.get(term, 0.0) > 0 for term in terms) / len(terms) for terms in told if terms]
    return _BLIND + (1 - _BLIND) * max(shares, default=1.0)


def _parts(text: str, index: _Index) -> Parts:
    """What in ``text`` speaks for which agent."""
    parts: Parts = {spec.name: {} for spec in index.agents}
    found = words.stems(text)
    heads = words.heads(text)
    for term in dict.fromkeys(words.terms(text)):
        boost = _HEAD if term in heads else 1.0
        for name, weight in index.weights.get(term, {}).items():
            parts[name][term] = boost * index.rarity[term] * weight
    for place, start in enumerate(found):
        for wanted, name in index.phrases.get(start, ()):
            if tuple(found[place : place + len(wanted)]) == wanted:
                parts[name][" ".join(wanted)] = _PHRASE_BONUS
    for identifier in words.identifiers(text):
        for name in index.identifiers.get(identifier, ()):
            parts[name][identifier] = 1.0
    _add_facts(text, index, parts)
    return parts


def _add_facts(text: str, index: _Index, parts: Parts) -> None:
    """Files with an owner, and agents called by their name."""
    for path in words.paths(text):
        for name in owners(path, index.owners):
            parts[name][path] = _PATH_WEIGHT
    lowered = f" {' '.join(text.lower().split())} "
    for spec in index.agents:
        if "-" in spec.name and spec.name.lower() in lowered:
            parts[spec.name][f"named: {spec.name}"] = _NAMED_WEIGHT


def owners(path: str, owned: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The agents whose most particular glob covers ``path``: an exact folder beats ``**/*.ts``."""
    best: dict[str, int] = {}
    for glob, name in owned:
        if globs.covers(glob, path):
            best[name] = max(best.get(name, 0), globs.weight(glob))
    top = max(best.values(), default=0)
    return tuple(sorted(name for name, weight in best.items() if weight == top))


def _selection(
    text: str, chosen: tuple[str, ...], index: _Index, parts: Parts, *, reason: str, emergency: bool = False
) -> Selection:
    total = {name: sum(found.values()) for name, found in parts.items()}
    ranked = sorted((name for name in total if total[name] > 0), key=lambda name: (-total[name], name))
    shown = list(chosen) + [name for name in ranked if name not in chosen][: max(_GUESSES, 8 - len(chosen))]
    by_name = {spec.name: spec for spec in index.agents}
    said = {words.stem(word): word for word in reversed(words.plain_words(text))}
    return Selection(
        primary=chosen,
        fallback={name: _fallbacks(by_name[name], index) for name in chosen if name in by_name},
        exclusions=exclusions([by_name[name] for name in chosen if name in by_name]),
        matches=tuple(_match(name, parts.get(name, {}), said) for name in shown),
        abstained=not chosen,
        emergency=emergency,
        reason=reason,
    )


def _match(name: str, found: Mapping[str, float], said: Mapping[str, str]) -> Match:
    """``said`` has the task's own word for each stem: people read words."""
    total = sum(found.values())
    telling = sorted((what for what in found if found[what] >= _SHOWN), key=lambda what: (-found[what], what))
    return Match(
        agent=name,
        score=max(0, min(1000, round(1000 * (1 - math.exp(-total / 3))))),
        evidence=tuple(
            f"{' '.join(said.get(one, one) for one in what.split(' '))} (+{found[what]:.2f})" for what in telling[:6]
        ),
    )


def _fallbacks(spec: AgentSpec, index: _Index) -> tuple[str, ...]:
    """Who can replace an agent: declared ones, else those that share enough of its capabilities."""
    if spec.fallbacks:
        return spec.fallbacks
    own = set(spec.capabilities) | set(spec.provides)
    if not own:
        return ()
    shared = {
        other.name: len(own & (set(other.capabilities) | set(other.provides))) / len(own)
        for other in (*index.agents, *index.spare)
        if other.name != spec.name
    }
    near = sorted((name for name in shared if shared[name] >= _FALLBACK_OVERLAP), key=lambda n: (-shared[n], n))
    return tuple(near[:2])


def exclusions(chosen: Sequence[AgentSpec]) -> tuple[tuple[str, str], ...]:
    """The pairs among ``chosen`` that must not run at the same time; either side may say so."""
    names = {spec.name for spec in chosen}
    pairs = {tuple(sorted((spec.name, other))) for spec in chosen for other in spec.exclusions if other in names}
    return tuple(sorted((first, second) for first, second in pairs if first != second))


_prepared: list[tuple[tuple[AgentSpec, ...], _Index]] = []


def _index(catalogue: Sequence[AgentSpec]) -> _Index:
    """The prepared catalogue; the last few are kept, because a catalogue is asked many times."""
    for known, index in _prepared:
        if known is catalogue:
            return index
    index = _prepare(catalogue)
    if isinstance(catalogue, tuple):
        _prepared.insert(0, (catalogue, index))
        del _prepared[4:]
    return index


def _prepare(catalogue: Sequence[AgentSpec]) -> _Index:
    everybody = sorted(catalogue, key=lambda spec: spec.name)
    agents = tuple(spec for spec in everybody if not spec.fallback_only)
    direct: dict[str, dict[str, float]] = defaultdict(dict)
    phrases: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
    named: dict[str, set[str]] = defaultdict(set)
    for spec in agents:
        for weight, text in _fields(spec):
            for term in words.terms(text):
                direct[term][spec.name] = max(direct[term].get(spec.name, 0.0), weight)
            for identifier in words.identifiers(text):
                named[identifier].add(spec.name)
        for keyword in (*spec.keywords, *spec.capabilities):
            wanted = words.phrase(keyword)
            if len(wanted) > 1:
                phrases[wanted[0]].append((wanted, spec.name))
    weights = _with_relatives(direct)
    count = len(agents)
    return _Index(
        agents=agents,
        spare=tuple(spec for spec in everybody if spec.fallback_only),
        weights=weights,
        phrases={start: tuple(found) for start, found in phrases.items()},
        rarity={term: _rarity(count, sum(by.values())) for term, by in weights.items()},
        identifiers={name: frozenset(who) for name, who in named.items() if len(who) == 1},
        owners=tuple((glob, spec.name) for spec in agents for glob in spec.owns),
    )


def _fields(spec: AgentSpec) -> Iterable[tuple[float, str]]:
    said = len(spec.keywords) + len(spec.capabilities)
    yield _NAME, " ".join(word for word in words.raw_words(spec.name) if word not in _TITLES)
    for keyword in (*spec.keywords, *spec.capabilities, *spec.provides):
        yield _KEYWORD / max(1, len(keyword.split())) ** _PHRASE_SHARE, keyword
    for example in spec.examples:
        yield _EXAMPLE, example
    yield max(_DESCRIPTION, _KEYWORD - said * _PER_KEYWORD), spec.description
    for glob in spec.owns:
        yield _GLOB, glob
    yield _BODY, spec.instructions


def _with_relatives(direct: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Weights by how much of a word's group an agent knows.

    Who knows most of the group is at home there: a word that it does not say itself counts for it nearly like one that it
    does, and for somebody who only brushes against the group its own word counts less. A keyword goes before kinship.
    """
    home = _homes(direct)
    weights: dict[str, dict[str, float]] = {term: {} for term in {*direct, *groups_of()}}
    for term, held in weights.items():
        numbers, said = groups_of().get(term, ()), direct.get(term, {})
        for name in {*said, *(name for number in numbers for name in home[number])}:
            share = max((home[number].get(name, 0.0) for number in numbers), default=1.0)
            own = said.get(name, 0.0) * (1 - _CENTRAL + _CENTRAL * share)
            held[name] = max(own, KINSHIP / max(1, len(numbers)) ** 0.5 * share if numbers else 0.0)
        most = max((held[name] for name, weight in said.items() if weight >= _KEYWORD), default=math.inf)
        held.update({name: min(weight, _GUEST * most) for name, weight in held.items() if name not in said})
    return weights


def _homes(direct: Mapping[str, Mapping[str, float]]) -> list[dict[str, float]]:
    """For each group, how much of it each agent knows, as a part of the one who knows most."""
    whole: dict[str, float] = defaultdict(float)
    for by in direct.values():
        for name, weight in by.items():
            whole[name] += weight
    homes = []
    for group in groups():
        known: dict[str, float] = defaultdict(float)
        said: Counter[str] = Counter()
        for term in group:
            for name, weight in direct.get(term, {}).items():
                known[name] += weight
                said[name] += 1
        enough = max((min(_GROUP_LEAST, _GROUP_PART * whole[name]) for name in known), default=1.0)
        most = max(enough, *known.values(), 0.0)
        stray = {name for name in known if said[name] == 1 and known[name] < _GROUP_PART * whole[name]}
        homes.append({name: weight / most * (_STRAY if name in stray else 1.0) for name, weight in known.items()})
    return homes


def _rarity(count: int, spread: float) -> float:
    """1 for a word of one agent, falling to about a quarter for a word of all (idf, scaled)."""
    return min(1.0, math.log(1 + count / max(spread, 0.5)) / math.log(1 + max(count, 2)))
