"""The configuration is checked as a whole, says where everything comes from, and never loosens by accident."""

from __future__ import annotations

import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from interlock.config import effective, find_project, json_schema, load_settings, problems, read_yaml
from interlock.config.ladder import STRICTNESS
from interlock.config.text import MAX_DEPTH
from interlock.errors import ConfigError
from interlock.model.agent import Priority
from interlock.model.decision import Enforcement
from interlock.model.risk import RiskLevel
from interlock.model.run import ErrorKind

Write = Callable[[str], Path]
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTERLOCK_ENV", raising=False)
    monkeypatch.delenv("INTERLOCK_STORE_URL", raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(text: str) -> Path:
        (tmp_path / "interlock.yaml").write_text(text, encoding="utf-8")
        return tmp_path

    return _write


def said(project: Path, env: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(project, env=env)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("env", "concurrent", "verbose", "threshold", "critical_quorum", "separate"),
    [("development", 5, True, 5, 1, False), ("staging", 3, False, 3, 1, False), ("production", 2, False, 2, 2, True)],
)
def test_the_built_in_environments_have_the_users_numbers(
    tmp_path: Path, env: str, concurrent: int, verbose: bool, threshold: int, critical_quorum: int, separate: bool
) -> None:
    settings = load_settings(tmp_path, env=env)
    assert settings.environment == env
    assert settings.limits.max_concurrent == concurrent
    assert settings.verbose is verbose
    assert settings.breaker.threshold == threshold
    assert settings.approvals.confirm_at is RiskLevel.HIGH
    assert settings.approvals.critical_quorum == critical_quorum
    assert settings.approvals.separate_requester is separate
    assert ("production" in settings.policies.packs) is (env == "production")


def test_without_a_file_the_users_limits_are_the_defaults(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    assert settings.environment == "development"
    assert (settings.limits.per_agent, settings.limits.per_minute) == (2, 10)
    assert (settings.limits.timeout_s, settings.limits.max_retries, settings.limits.context_tokens) == (300, 2, 8000)
    limits = {name: (agent.max_concurrent, agent.timeout_s, agent.priority) for name, agent in settings.agents.items()}
    assert limits == {
        "database-schema-agent": (1, 180, Priority.HIGH),
        "security-authentication-agent": (1, 240, Priority.CRITICAL),
        "analytics-visualization-agent": (None, 120, Priority.MEDIUM),
    }
    assert settings.state_dir == tmp_path.resolve() / ".interlock"
    assert settings.store_url == f"sqlite:///{tmp_path.resolve()}/.interlock/interlock.db"


def test_the_option_beats_the_variable_beats_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    project = write("environment: staging\n")
    assert load_settings(project).environment == "staging"
    monkeypatch.setenv("INTERLOCK_ENV", "production")
    settings = load_settings(project)
    assert (settings.environment, settings.source("environment")) == ("production", "variable INTERLOCK_ENV")
    assert load_settings(project, env="development").source("environment") == "option --env"


def test_every_value_says_where_it_comes_from(write: Write) -> None:
    project = write("# first\nlimits:\n  per_minute: 4\nenvironments:\n  production:\n    limits: {timeout_s: 1m}\n")
    settings = load_settings(project, env="production")
    assert settings.source("limits.per_minute") == "interlock.yaml:3"
    assert settings.source("limits.timeout_s") == "interlock.yaml:6"
    assert settings.source("limits.max_concurrent") == "environment production (built in)"
    assert settings.source("limits.per_agent") == "default"
    rows = {key: (value, source) for key, value, source in effective(settings)}
    assert rows["limits.timeout_s"] == (60, "interlock.yaml:6")
    assert rows["limits.per_agent"] == (2, "default")
    assert next(iter(rows)) == "environment"


def test_the_catalogue_can_tell_agents_that_the_file_names_from_built_in_ones(write: Write) -> None:
    settings = load_settings(write("agents:\n  mine: {}\n  database-schema-agent: {keywords: [index]}\n"))
    assert settings.source("agents.mine") == "interlock.yaml:2"
    assert settings.source("agents.database-schema-agent") == "interlock.yaml:3"
    assert settings.source("agents.security-authentication-agent") == "default"
    assert settings.agents["database-schema-agent"].max_concurrent == 1
    assert settings.agents["database-schema-agent"].keywords == ("index",)


def test_what_an_agents_settings_do_not_say_stays_as_defined(write: Write) -> None:
    settings = load_settings(
        write("agents:\n  mine: {}\n  database-schema-agent: {keywords: [index]}\n"), env="production"
    )
    said_of = {name: agent.model_dump(exclude_unset=True) for name, agent in settings.agents.items()}
    assert said_of["mine"] == {}
    assert set(said_of["database-schema-agent"]) == {"keywords", "max_concurrent", "timeout_s", "priority"}
    assert set(said_of["analytics-visualization-agent"]) == {"timeout_s", "priority"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "limits:\n  max_concurent: 3\n",
            ["interlock.yaml:2", "limits.max_concurent", 'did you mean "max_concurrent"?'],
        ),
        ("limit: {}\n", ["interlock.yaml:1", 'did you mean "limits"?']),
        ("environment: prodution\n", ["interlock.yaml:1", "'prodution'", 'did you mean "production"?']),
        ("environments:\n  prodution: {}\n", ["interlock.yaml:2", "extends", 'did you mean "production"?']),
        ("environments:\n  qa:\n    extends: stagin\n", ["interlock.yaml:3", 'did you mean "staging"?']),
        ("environments:\n  production: {extends: staging}\n", ["interlock.yaml:2", "built in"]),
        ("environments: [a]\n", ["interlock.yaml:1", "one entry per environment"]),
        ("environments:\n  qa: 5\n", ["interlock.yaml:2", "keys and values"]),
        ("limits:\n  max_concurrent: four\n", ["interlock.yaml:2", "valid integer", "'four'"]),
        ("limits:\n  max_concurrent: true\n", ["interlock.yaml:2", "valid integer"]),
        ("limits:\n  max_concurrent: -1\n", ["interlock.yaml:2", "greater than or equal to 0"]),
        ("limits:\n  timeout_s: 5 minutes\n", ["interlock.yaml:2", '"5m"']),
        ("limits: 5\n", ["interlock.yaml:1", "keys and values"]),
        ("agents:\n  a:\n    keywords: chart\n", ["interlock.yaml:3", "a list"]),
        ("agents:\n  a:\n    priority: hihg\n", ["interlock.yaml:3", 'did you mean "high"?']),
        ("agents:\n  a:\n    rollback: [undo it]\n", ["interlock.yaml:3", "no shell reads it"]),
        ("agents:\n  a:\n    validators:\n      - {name: x}\n", ["interlock.yaml:4", "is missing"]),
        ("agents:\n  a:\n    fallback: [b]\n", ["interlock.yaml:3", 'did you mean "fallbacks"?']),
        ("recovery:\n  timeout: {then: retry}\n", ["interlock.yaml:2", "would not end"]),
        ("recovery:\n  security_violation: {strategy: retry}\n", ["interlock.yaml:2", "go round a decision"]),
        ("recovery:\n  denied: {strategy: rollback, then: fallback}\n", ["interlock.yaml:2", "go round a decision"]),
        ("breaker:\n  cooldown_s: 2h\n", ["interlock.yaml:2", "max_cooldown_s"]),
        ("worker:\n  heartbeat_s: 20\n", ["interlock.yaml:2", "half of lease_s"]),
        ("budgets: {cost_per_run_usd: lots}\n", ["interlock.yaml:1", "decimal"]),
        ("budgets: {cost_per_run_usd: -1}\n", ["interlock.yaml:1", "0"]),
        ("bypass_security_scans: true\n", ["interlock.yaml:1", "never bypassed"]),
        ("environments:\n  development: {bypass_security_scans: false}\n", ["interlock.yaml:2", "never bypassed"]),
        ("verbose: [\n", ["interlock.yaml:2", "not valid YAML"]),
        ("verbose: true\nverbose: false\n", ["interlock.yaml:2", "verbose is written twice"]),
        ("- a\n- b\n", ["interlock.yaml:1", "keys and values"]),
        ("strict_ladder: maybe\n", ["interlock.yaml:1", "true or false"]),
        ("a: &x [1]\nb: *x\n", ["interlock.yaml:1", "anchors"]),
        ("a: !!python/object/apply:os.system [x]\n", ["interlock.yaml:1", "tag"]),
        ("? [a]\n: b\n", ["interlock.yaml:1", "key must be text"]),
        ("a: b\n---\nc: d\n", ["interlock.yaml:2", "not valid YAML"]),
        ("a: \x00\n", ["not valid YAML"]),
        ("x: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), ["nested deeper"]),
        ("x: " + "[" * 50_000, ["nest"]),
        ("#" * 1_000_001, ["longer than"]),
    ],
)
def test_a_mistake_is_named_with_file_line_and_advice(write: Write, text: str, parts: list[str]) -> None:
    message = said(write(text))
    for part in parts:
        assert part in message


def test_all_mistakes_of_a_file_are_told_at_once_also_those_of_other_environments(write: Write) -> None:
    project = write("limits: {a: 1}\nrisk: {classifier: x}\nenvironments:\n  production: {limits: {b: 2}}\n")
    found = problems(project, env="development")
    assert [(item.line, item.file) for item in found] == [
        (1, "interlock.yaml"),
        (2, "interlock.yaml"),
        (4, "interlock.yaml"),
    ]
    message = said(project)
    assert all(str(item) in message for item in found)


def test_an_unknown_environment_is_refused_wherever_it_comes_from(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = write("environments:\n  qa: {extends: staging}\n")
    assert load_settings(project, env="qa").breaker.threshold == 3
    assert "option --env" in said(project, env="qq")
    monkeypatch.setenv("INTERLOCK_ENV", "../production")
    assert "variable INTERLOCK_ENV" in said(project)


def test_a_value_of_a_mistake_cannot_write_to_the_terminal(write: Write) -> None:
    message = said(write('verbose: "\\e[2Jgone"\n"k\\e[2J": 1\n'))
    assert "\x1b" not in message


@pytest.mark.parametrize("name", ["interlock.yml", "interlock.yaml"])
def test_a_file_that_would_be_passed_over_is_an_error(tmp_path: Path, name: str) -> None:
    if name == "interlock.yml":
        (tmp_path / name).write_text("verbose: true\n")
    else:
        (tmp_path / name).mkdir()
    assert name in said(tmp_path)


def test_a_named_file_must_exist_and_be_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_settings(tmp_path, file=tmp_path / "no.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml:2: is not UTF-8"):
        load_settings(tmp_path, file=tmp_path / "latin.yaml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_the_files_place_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "interlock.yaml")
    assert "not a regular file" in said(tmp_path)


def test_the_project_is_found_upwards_but_never_beyond_its_repository(tmp_path: Path) -> None:
    (tmp_path / "interlock.yaml").write_text("limits: {per_agent: 7}\n")
    inner = tmp_path / "repo" / "src" / "deep"
    inner.mkdir(parents=True)
    assert load_settings(inner).limits.per_agent == 7
    (tmp_path / "repo" / ".git").mkdir()
    assert find_project(inner) == (tmp_path / "repo").resolve()
    assert load_settings(inner).limits.per_agent == 2


def test_the_top_level_cannot_loosen_production_by_accident(write: Write) -> None:
    project = write(
        "limits: {max_concurrent: 50}\nbreaker: {threshold: 100}\n"
        "approvals: {confirm_at: critical, critical_quorum: 1, separate_requester: false}\npolicies: {packs: [git]}\n"
    )
    development = load_settings(project)
    assert development.limits.max_concurrent == 50
    production = load_settings(project, env="production")
    assert (production.limits.max_concurrent, production.breaker.threshold) == (2, 2)
    assert production.approvals.confirm_at is RiskLevel.HIGH
    assert (production.approvals.critical_quorum, production.approvals.separate_requester) == (2, True)
    assert "production" in production.policies.packs
    assert "defaults" in production.policies.packs


def test_the_top_level_may_tighten_production(write: Write) -> None:
    settings = load_settings(write("limits: {max_concurrent: 1}\napprovals: {confirm_at: low}\n"), env="production")
    assert settings.limits.max_concurrent == 1
    assert settings.approvals.confirm_at is RiskLevel.LOW


def test_production_may_be_loosened_on_purpose_within_bounds(write: Write) -> None:
    loose = "environments:\n  production: {limits: {max_concurrent: 20}}\n"
    assert load_settings(write(loose), env="production").limits.max_concurrent == 20


@pytest.mark.parametrize(
    "part", ["policies: {enforcement: {database-protection: disabled}}", "approvals: {confirm_at: critical}"]
)
@pytest.mark.parametrize("name", ["production", "live"])
def test_production_always_asks_for_high_risk_and_disables_no_policy(write: Write, part: str, name: str) -> None:
    extends = "" if name == "production" else "    extends: production\n"
    message = said(write(f"environments:\n  {name}:\n{extends}    {part}\n"))
    assert "production" in message
    assert f"interlock.yaml:{4 if extends else 3}" in message


def test_a_policy_disabled_at_the_top_level_is_refused_for_production(write: Write) -> None:
    assert "production disables no policy" in said(write("policies: {enforcement: {x: disabled}}\n"))


def test_enforcement_is_read_by_policy_name(write: Write) -> None:
    settings = load_settings(write("policies: {enforcement: {a.b: advisory}}\n"))
    assert settings.policies.enforcement == {"a.b": Enforcement.ADVISORY}


@pytest.mark.parametrize(
    "text",
    [
        "environments:\n  production: {limits: {max_concurrent: 4}}\n",
        "environments:\n  staging: {approvals: {quorum: 2}}\n",
        "budgets: {tokens_per_day: 5}\nenvironments:\n  production: {budgets: {tokens_per_day: null}}\n",
        "policies: {enforcement: {a: strict}}\nenvironments:\n  staging: {policies: {enforcement: {a: disabled}}}\n",
        "environments:\n  demo: {extends: production, breaker: {threshold: 3}}\n",
        "environments:\n  staging: {sandbox: {network: false}}\n",
        "environments:\n  staging: {sandbox: {minimum: bubblewrap}}\n",
    ],
)
def test_on_a_strict_ladder_each_step_only_tightens(write: Write, text: str) -> None:
    assert load_settings(write(text)).environment == "development"
    assert "strict_ladder" in said(write(f"{text}strict_ladder: true\n"))


def test_the_built_in_ladder_is_strict(write: Write) -> None:
    assert load_settings(write("strict_ladder: true\n"), env="production").environment == "production"


def test_every_key_with_a_direction_exists(tmp_path: Path) -> None:
    known = {key for key, _, _ in effective(load_settings(tmp_path))}
    assert set(STRICTNESS) <= known


def test_durations_are_numbers_or_text(write: Write) -> None:
    text = "limits: {timeout_s: 1.5h}\napprovals: {expires_s: 2d}\nrecovery: {timeout: {backoff_s: 250ms}}\n"
    settings = load_settings(write(text))
    assert (settings.limits.timeout_s, settings.approvals.expires_s) == (5400, 172800)
    assert settings.recovery.timeout.backoff_s == 0.25


def test_money_is_exact_and_zero_is_not_nothing(write: Write) -> None:
    settings = load_settings(write("budgets: {cost_per_run_usd: 0.1, cost_per_day_usd: '0', tokens_per_run: 0}\n"))
    assert settings.budgets.cost_per_run_usd == Decimal("0.1")
    assert (settings.budgets.cost_per_run_micros, settings.budgets.cost_per_day_micros) == (100_000, 0)
    assert (settings.budgets.tokens_per_run, settings.budgets.tokens_per_day) == (0, None)


def test_a_partial_recovery_rule_keeps_the_rest_of_its_default(write: Write) -> None:
    settings = load_settings(write("recovery: {timeout: {attempts: 5}}\n"))
    rule = settings.recovery.rule(ErrorKind.TIMEOUT)
    assert (rule.strategy, rule.attempts, rule.then) == ("retry", 5, "fallback")


def test_there_is_a_recovery_rule_for_each_kind_of_error(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    assert {kind.value for kind in ErrorKind} == set(type(settings.recovery).model_fields)


def test_a_section_of_which_everything_is_commented_out_is_empty(write: Write) -> None:
    settings = load_settings(write("limits:\nagents:\n  a:\npolicies:\n  enforcement:\nenvironments:\n  staging:\n"))
    assert settings.limits.per_agent == 2
    assert settings.agents["a"].priority is Priority.MEDIUM


def test_a_runner_is_replaced_whole_by_an_environment(write: Write) -> None:
    project = write(
        "agents: {a: {runner: {kind: command, command: [x]}}}\n"
        "environments: {staging: {agents: {a: {runner: {kind: llm, model: m}}}}}\n"
    )
    runner = load_settings(project, env="staging").agents["a"].runner
    assert runner is not None
    assert (runner.kind, runner.options) == ("llm", {"model": "m"})


def test_an_agents_gate_and_its_own_definition_are_always_protected(write: Write) -> None:
    settings = load_settings(write("workspace: {protected: []}\n"))
    assert settings.workspace.protected == ("interlock.yaml", "interlock-pins.json", ".interlock/**", ".git/**")
    assert ".claude/**" in load_settings(write("")).workspace.protected


def test_passwords_are_not_shown(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    word = "hunter" + "2"
    monkeypatch.setenv("INTERLOCK_STORE_URL", f"postgresql://me:{word}@db/x")
    settings = load_settings(write(f"agents: {{a: {{runner: {{kind: llm, api_key: {word}, api_key_env: KEY}}}}}}\n"))
    assert settings.store_url == f"postgresql://me:{word}@db/x"
    shown = {key: value for key, value, _ in effective(settings)}
    assert word not in str(shown)
    assert shown["store_url"] == "postgresql://me:***@db/x"
    assert shown["agents.a.runner"]["api_key_env"] == "KEY"


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        settings.limits.max_concurrent = 99


EXAMPLES = sorted(ROOT.glob("examples/*/interlock.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.parent.name for path in EXAMPLES])
def test_the_shipped_examples_are_valid_for_us_and_for_editors(path: Path) -> None:
    assert problems(path.parent) == ()
    Draft202012Validator(json_schema()).validate(read_yaml(path.read_text("utf-8")).value)


FULL = """
environment: qa
strict_ladder: false
verbose: true
limits: {timeout_s: 5m, max_concurrent: 0}
budgets: {cost_per_run_usd: "1.50", tokens_per_day: null}
agents:
  a: {runner: {kind: claude, anything: [1, {b: c}]}, validators: [{name: t, command: [pytest], timeout_s: 10s}]}
matrix: {database: {add: [x]}}
environments: {qa: {extends: staging, agents: {a: {priority: high}}}, production: {scope: {hosts: []}}}
"""


def test_the_schema_for_editors_agrees_with_the_loader(write: Write) -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert list(validator.iter_errors(read_yaml(FULL).value)) == []
    assert problems(write(FULL)) == ()
    mistakes: list[dict[str, object]] = [
        {"limit": {}},
        {"environments": {"a": {"extends": "x"}}},
        {"agents": {"a": {"priority": "x"}}},
    ]
    for wrong in mistakes:
        assert list(validator.iter_errors(wrong))
        assert problems(write(yaml.safe_dump(wrong)))


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        read_yaml(text, file="f")
    except ConfigError as error:
        assert str(error).startswith("f")  # noqa: PT017 - most texts are refused, some are not


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text("abc xyz_-.0", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcz", max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(PLAIN)
def test_what_yaml_writes_is_read_back(value: object) -> None:
    assert read_yaml(yaml.safe_dump(value, default_flow_style=False)).value == value
