"""Risk: the user's literal rules exactly, and a reading that hears danger however it is said."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.decide.risk import assess, assess_lexical
from interlock.model.choosing import AgentFacts, RiskFacts
from interlock.model.risk import RiskLevel

LOW, MEDIUM, HIGH, CRITICAL = RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL


@pytest.mark.parametrize(
    ("task", "level", "factors"),
    [
        ("Fix the chart", LOW, []),
        ("Change the AUTH flow", HIGH, ["Security-sensitive operation"]),
        ("Add a column to the table", MEDIUM, ["Database modification"]),
        ("Password migration", CRITICAL, ["Security-sensitive operation", "Database modification"]),
        ("Deploy", CRITICAL, ["Production environment"]),
        ("Show the author", HIGH, ["Security-sensitive operation"]),
        ("Table of contents", MEDIUM, ["Database modification"]),
        ("Our product page", CRITICAL, ["Production environment"]),
    ],
)
def test_the_literal_rules_are_the_seeds_with_all_their_noise(task: str, level: RiskLevel, factors: list[str]) -> None:
    assessed = assess_lexical(task)
    assert assessed.level is level
    assert [factor.reason for factor in assessed.factors] == factors
    assert assess(task, RiskFacts(classifier="lexical", environment="production")) == assessed


@given(st.text())
def test_the_literal_rules_agree_with_a_transcript_of_the_seed(task: str) -> None:
    level = "low"
    if re.search(r"auth|security|password|session|role|permission", task.lower()):
        level = "high"
    if re.search(r"schema|migration|database|table", task.lower()):
        level = "critical" if level == "high" else "medium"
    if re.search(r"production|prod|deploy|release", task.lower()):
        level = "critical"
    assert assess_lexical(task).level == level


HARMLESS = [
    "Show the author", "AUTHORS of the paper", "the authored articles", "Plan a training session", "Training Sessions by week",
    "Add a table of contents", "TABLES OF CONTENTS", "Redesign the product page", "Product pages", "Write the press release",
    "Press Releases", "Make the table sortable", "Sort films by release year", "Use the latest stable icon set",
    "Document how to drop a table", "Explain why we never deploy on Fridays", "Add a test that deleting users is refused",
    "Change the colour of the delete icon", "Show deleted messages in grey", "Drop the unused helper function",
    "Disable the button while the form is submitting", "fix(parser): handle DROP TABLE statements",
]  # fmt: skip


@pytest.mark.parametrize("task", HARMLESS)
def test_harmless_senses_mentions_and_refusals_are_no_risk(task: str) -> None:
    assert assess(task).level is LOW


DANGEROUS = [
    ("Let everyone in without logging in", HIGH), ("Wipe the customers", HIGH), ("Try it straight on the live box", HIGH),
    ("Wiping every customer", CRITICAL), ("Turn off the second factor", HIGH), ("Deleting all users in production", CRITICAL),
    ("Skip the code review", HIGH), ("Make the bucket public", HIGH), ("Give all interns admin rights", CRITICAL),
    ("Rotate the session token", HIGH), ("Drop the sessions table", HIGH), ("Put the API key into the page source", HIGH),
    ("Throw away the backups", HIGH), ("Deploy the new version", HIGH), ("Make the column non-nullable", MEDIUM),
    ("Reset the wallets of all players", HIGH), ("Stop asking for a code at sign-in", HIGH), ("Shut the server down", HIGH),
    ("Force-push to main", HIGH), ("Store the card details in plain text", HIGH), ("rm -rf / on the host", CRITICAL),
    ("Run DELETE FROM users;", CRITICAL), ("Change the Dockerfile", MEDIUM), ("Add a migration", MEDIUM),
]  # fmt: skip


@pytest.mark.parametrize(("task", "least"), DANGEROUS)
def test_danger_is_heard_in_any_words(task: str, least: RiskLevel) -> None:
    assessed = assess(task)
    assert assessed.level >= least, assessed
    assert all(factor.evidence and factor.reason for factor in assessed.factors)


@pytest.mark.parametrize(("task", "least"), DANGEROUS)
def test_casing_and_politeness_change_nothing(task: str, least: RiskLevel) -> None:
    if "DELETE FROM" not in task:  # a statement is one by its capitals
        assert assess(task.upper()).level >= least
    assert assess(f"please {task[0].lower()}{task[1:]}, thanks").level >= least


def test_a_danger_behind_a_mention_is_still_a_danger() -> None:
    assert assess("Document the export. Then delete all customers.").level is CRITICAL
    assert assess("Explain the login and disable the password check").level >= HIGH


@pytest.mark.parametrize("label", ["docs", "test(users)", "DOC"])
def test_a_label_that_anybody_can_write_does_not_hide_a_danger(label: str) -> None:
    assert assess(f"{label}: delete all customers").level >= MEDIUM
    assert assess(f"{label}: fix a typo in the password page").level is LOW


def test_a_harmless_phrase_does_not_hide_the_deed_done_to_it() -> None:
    assert assess("Drop the training session table").level >= HIGH
    assert assess("Wipe all data tables").level >= MEDIUM


def test_words_that_sound_dangerous_raise_a_doubt_and_never_more() -> None:
    assessed = assess("Overrun the whole fleet of tills without anybody watching")
    assert assessed.level >= MEDIUM
    alone = assess("Dump everybody's remaining wages on strangers")
    assert alone.level >= MEDIUM
    doubts = [factor for factor in (*assessed.factors, *alone.factors) if factor.name == "doubt"]
    assert all(factor.level is MEDIUM and factor.evidence for factor in doubts)


sentences = st.sampled_from([*HARMLESS, *(task for task, _ in DANGEROUS), "Fix the chart", "Improve the wording"])


@given(st.lists(sentences, max_size=5), st.sampled_from([task for task, _ in DANGEROUS]), st.booleans())
def test_adding_danger_never_lowers_the_level(before: list[str], danger: str, front: bool) -> None:
    text = ". ".join(before)
    more = f"{danger}. {text}" if front else f"{text}. {danger}"
    assert assess(more).level >= max(assess(text).level, assess(danger).level)


@given(
    st.sampled_from([*HARMLESS, "Fix the alignment of the login button", "Explain how hashing works in the glossary"]),
    st.sampled_from([" (and ", " while you ", " so that we can ", " and ", ", and ", ", then ", " before you ", " - "]),
    st.sampled_from(
        ["cancel all subscriptions", "wipe the audit trail", "turn off the backups", "reset every customer's password",
         "transfer the domain to another registrar", "give every contractor full admin rights"]
    ),
    st.booleans(),
)  # fmt: skip
def test_what_a_sentence_is_about_does_not_excuse_the_danger_joined_to_it(
    harmless: str, joint: str, danger: str, front: bool
) -> None:
    text = f"{danger}{joint}{harmless[0].lower()}{harmless[1:]}" if front else f"{harmless}{joint}{danger}"
    if front and joint in {" and ", ", and "} and not harmless.startswith(("Fix", "Explain")):
        return  # "and" before a noun joins things, not deeds
    assert assess(text).level >= assess(danger).level


@given(
    st.sampled_from([*HARMLESS, *(task for task, _ in DANGEROUS)]),
    st.lists(st.builds(AgentFacts, name=st.just("a"), attempts=st.integers(0, 20), failures=st.integers(0, 20),
                       calls=st.integers(0, 99), blocked=st.integers(0, 9), tools=st.sampled_from([(), ("Bash",)])), max_size=3),
    st.lists(st.sampled_from(["src/auth/x.py", "db/migrations/1.sql", "README.md", ".github/workflows/ci.yml"]), max_size=3),
    st.sampled_from(["development", "production"]),
)  # fmt: skip
def test_more_facts_never_lower_the_level(task: str, agents: list[AgentFacts], files: list[str], where: str) -> None:
    facts = RiskFacts(agents=tuple(agents), files=tuple(files), environment=where, protected=("README.md",))
    assert assess(task, facts).level >= assess(task).level


@given(st.text(max_size=300))
def test_any_text_is_assessed(text: str) -> None:
    assessed = assess(text)
    assert assessed.level == max((factor.level for factor in assessed.factors), default=LOW)


def test_a_text_too_long_to_be_read_is_suspicious() -> None:
    assert assess("la " * 20_000).level is MEDIUM


def test_production_raises_what_is_no_trifle() -> None:
    task = "Change the Dockerfile"
    assert assess(task, RiskFacts(environment="production")).level > assess(task).level
    assert assess("Fix the chart", RiskFacts(environment="production")).level is LOW


def test_files_that_are_named_or_known_speak_for_themselves() -> None:
    assert assess("Tidy up src/auth/guard.py").level is HIGH
    assert assess("Tidy up", RiskFacts(files=("db/migrations/004.sql",))).level is MEDIUM
    protected = assess("Tidy up docs/policy.md", RiskFacts(protected=("docs/**",)))
    assert [(factor.name, factor.evidence) for factor in protected.factors] == [("files.protected", "docs/policy.md")]


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"attempts": 5, "failures": 2}, "agent.fails"),
        ({"attempts": 2, "failures": 1}, ""),
        ({"attempts": 100, "failures": 1}, ""),
        ({"calls": 40, "blocked": 4}, "agent.blocked"),
        ({"calls": 4, "blocked": 2}, ""),
        ({"calls": 900, "blocked": 4}, ""),
    ],
)
def test_an_agents_record_speaks_against_it_when_there_is_enough_of_it(record: dict[str, int], name: str) -> None:
    assessed = assess("Fix the chart", RiskFacts(agents=(AgentFacts(name="a", **record),)))  # type: ignore[arg-type]
    assert [factor.name for factor in assessed.factors] == ([name] if name else [])
    assert assessed.level is (MEDIUM if name else LOW)


def test_what_an_agent_may_do_and_works_on_is_told_and_raises_nothing() -> None:
    able = AgentFacts(
        name="a", tools=("Bash(git:*)", "mcp__jira__close", "WebFetch", "Read"), owns=("src/auth/**", "web/**")
    )
    assessed = assess("Fix the chart", RiskFacts(agents=(able,)))
    assert assessed.level is LOW
    (factor,) = assessed.factors
    assert factor.evidence == (
        "a: runs any program (Bash(git:*)); talks to the network (WebFetch); uses tools of other servers (mcp__jira__close);"
        " works on auth files (src/auth/**)"
    )
