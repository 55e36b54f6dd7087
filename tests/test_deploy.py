"""What ships for operators is sound: files parse, commands exist, metrics are real, everything is locked. No container engine needed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import yaml

from interlock.model.identity import Role
from interlock.surfaces.cli import main
from interlock.telemetry.prometheus import exposition
from served import Served, serving
from watch_kit import Book

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PATIENCE_S = 60


def need(program: str, package: str) -> str:
    """Where the program is; skips where it is not, in CI that is a failure."""
    found = shutil.which(program)
    if found:
        return found
    why = f"there is no {program}: apt-get install --no-install-recommends {package}"
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def read(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def problem_with(words: list[str]) -> str:
    """Why ``interlock WORDS…`` could not be typed; empty when it can."""
    command: Any = typer.main.get_command(main.command_line())
    rest = list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    wrong = [word for word in rest if word.startswith("--") and word not in known]
    return f"{wrong or words} unknown" if wrong or hasattr(command, "commands") else ""


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(read("compose.yaml"))
    return found


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", "\n".join(line for line in read("Containerfile").splitlines() if line[:1] != "#"))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def test_the_image_is_built_in_two_stages_from_a_base_that_can_be_replaced_and_runs_as_nobody_special() -> None:
    found = instructions()
    assert [word for word, _ in found].count("FROM") == 2
    assert {text.split()[0] for word, text in found if word == "FROM"} == {"${BASE}"}
    (base,) = [text for word, text in found if word == "ARG"]
    assert re.fullmatch(r"BASE=[\w.:-]+", base), "a bare name: whoever builds says from where"
    users = [text for word, text in found if word == "USER"]
    assert users
    assert users[-1].split(":")[0] not in {"0", "root"}
    assert any(word == "RUN" and "--require-hashes" in text for word, text in found)
    (check,) = [text for word, text in found if word == "HEALTHCHECK"]
    assert "/readyz" in check
    entry = next(json.loads(text) for word, text in found if word == "ENTRYPOINT")
    command = next(json.loads(text) for word, text in found if word == "CMD")
    assert entry == ["interlock"]
    assert not problem_with(command)


def test_everything_in_the_image_is_locked_with_hashes() -> None:
    locked = {}
    for name in ("requirements.lock", "deploy/requirements.lock", "docs/requirements.lock"):
        text = re.sub(r"\\\n", " ", (ROOT / name).read_text(encoding="utf-8"))
        lines = [line for line in text.splitlines() if line.strip()]
        assert all("--hash=sha256:" in line for line in lines), name
        assert not re.search(r"https?://|--index-url|--find-links", text), name
        locked[name] = {line.split()[0].split("[")[0] for line in lines}
    assert any(line.startswith("uvicorn==") for line in locked["deploy/requirements.lock"])
    assert any(line.startswith("psycopg==") for line in locked["deploy/requirements.lock"])
    apart = locked["deploy/requirements.lock"] - locked["requirements.lock"]
    tested = {line.split("==")[0] for line in locked["requirements.lock"]}
    assert not [line for line in apart if line.split("==")[0] in tested], "the image holds what was tested"


def test_the_compose_file_is_a_service_two_workers_and_what_they_need() -> None:
    services = compose()["services"]
    assert set(services) == {"interlock", "worker", "postgres", "prometheus", "grafana"}
    assert services["worker"]["deploy"]["replicas"] == 2
    for name in ("interlock", "worker"):
        own = services[name]
        assert not problem_with(own["command"]), name
        assert own["read_only"]
        assert own["cap_drop"] == ["ALL"]
        assert own["security_opt"] == ["no-new-privileges:true"]
        assert own["depends_on"]["postgres"]["condition"] == "service_healthy"
        assert own["environment"]["INTERLOCK_STORE_URL"].startswith("postgresql://")
    assert services["worker"]["hostname"] == services["interlock"]["hostname"], (
        "one place: they take over from each other"
    )


def test_no_port_is_open_to_other_machines_and_no_password_has_a_default() -> None:
    text = read("compose.yaml")
    for service in compose()["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    for name in re.findall(r"\$\{(\w*PASSWORD\w*)([^}]*)\}", text):
        assert name[1].startswith(":?"), f"{name[0]} must be given"
    assert all(line.split("=")[1] == "" for line in read("env.example").splitlines() if "PASSWORD" in line)


def test_every_file_that_the_compose_file_mounts_is_there() -> None:
    for service in compose()["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).exists(), source
    board = json.loads(read("grafana/interlock.json"))
    (source,) = yaml.safe_load(read("grafana/datasources.yaml"))["datasources"]
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source["uid"]}


def exported(tmp_path: Path) -> set[str]:
    """The name of every series that Interlock exports."""
    book = Book(tmp_path)
    book.succeeds(tokens=10)
    book.fails()
    book.write("task.submitted", task="x")
    book.write("run.ended", kind="failed")
    text = exposition(book.meter).decode()
    return {re.split(r"[{ ]", line)[0] for line in text.splitlines() if line and line[0] != "#"}


def test_every_metric_that_the_rules_and_the_dashboard_name_is_exported(tmp_path: Path) -> None:
    known = exported(tmp_path)
    rules = [
        rule["expr"] for group in yaml.safe_load(read("prometheus/alerts.yml"))["groups"] for rule in group["rules"]
    ]
    board = json.loads(read("grafana/interlock.json"))
    panels = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(rules) > 5
    assert len(panels) > 10
    for expression in (*rules, *panels):
        names = set(re.findall(r"\binterlock_\w+(?=[\[{ )]|$)", re.sub(r"\{[^}]*\}", "{}", expression)))
        assert names or "up{" in expression, expression
        assert names <= known, f"{names - known} in {expression}"


def test_every_alert_is_in_the_operators_handbook() -> None:
    handbook = (ROOT / "docs" / "how-to" / "operations.md").read_text(encoding="utf-8")
    rules = [
        rule["alert"] for group in yaml.safe_load(read("prometheus/alerts.yml"))["groups"] for rule in group["rules"]
    ]
    assert [name for name in rules if f"| {name} |" not in handbook] == []


FIRES = """
rule_files: [alerts.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: interlock_workers, values: '0x10'}
      - {series: interlock_attempts_queued, values: '3x10'}
      - {series: 'up{job="interlock"}', values: '0x10'}
      - {series: 'interlock_breaker_state{agent="anna", interlock_breaker_state="forced_open"}', values: '1x10'}
      - {series: 'interlock_runs_ended_total{outcome="escalated"}', values: 0 0 1x20}
    alert_rule_test:
      - {eval_time: 4m, alertname: InterlockNoWorker, exp_alerts: [{exp_labels: {severity: critical}}]}
      - {eval_time: 4m, alertname: InterlockDown, exp_alerts: [{exp_labels: {severity: critical, job: interlock}}]}
      - {eval_time: 8m, alertname: InterlockBreakerOpen, exp_alerts: [{exp_labels: {severity: warning, agent: anna}}]}
      - {eval_time: 8m, alertname: InterlockRunEscalated, exp_alerts: [{exp_labels: {severity: warning, outcome: escalated}}]}
      - {eval_time: 8m, alertname: InterlockQuestionWaits, exp_alerts: []}
  - interval: 1m
    input_series:
      - {series: 'interlock_agent_executions_total{agent="anna", result="failure"}', values: 0+1x40}
      - {series: 'interlock_agent_executions_total{agent="anna", result="success"}', values: '0x40'}
      - {series: 'interlock_agent_executions_total{agent="bert", result="failure"}', values: 0x30 1x10}
      - {series: 'interlock_agent_executions_total{agent="bert", result="success"}', values: '0x40'}
    alert_rule_test:
      - {eval_time: 38m, alertname: InterlockAgentFails, exp_alerts: [{exp_labels: {severity: warning, agent: anna}}]}
"""


def test_prometheus_takes_the_rules_and_they_fire_when_they_should(tmp_path: Path) -> None:
    promtool = need("promtool", "prometheus")
    cases = yaml.safe_load(FIRES)
    texts = {rule["alert"]: rule.get("annotations", {}) for group in yaml.safe_load(read("prometheus/alerts.yml"))["groups"]
             for rule in group["rules"]}  # fmt: skip
    rules = yaml.safe_load(read("prometheus/alerts.yml"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule.pop("annotations")  # their texts are for people
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(rules))
    (tmp_path / "cases.yml").write_text(yaml.safe_dump(cases))
    assert all(texts.values())
    for arguments in (
        ["check", "rules", str(DEPLOY / "prometheus/alerts.yml")],
        ["test", "rules", str(tmp_path / "cases.yml")],
    ):
        done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def unit(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line and line[0] != "#")


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_each_unit_starts_a_real_command_as_an_ordinary_user_in_few_places(path: Path) -> None:
    found = unit(path)
    program, *words = shlex.split(found["ExecStart"])
    assert program == "/opt/interlock/bin/interlock"
    assert not problem_with(words)
    assert found["User"] not in {"", "root"}
    assert (found["ProtectSystem"], found["NoNewPrivileges"], found["CapabilityBoundingSet"]) == ("strict", "yes", "")
    assert found["ReadWritePaths"] == "/srv/interlock"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_takes_the_unit(path: Path, tmp_path: Path) -> None:
    analyze = need("systemd-analyze", "systemd")
    copy = tmp_path / path.name
    copy.write_text(path.read_text().replace("/opt/interlock/bin/interlock", sys.executable))
    done = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if path.name.split("@")[0].split(".")[0] in line]
    assert (done.returncode, said) == (0, []), done.stderr


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "project") as running:
        yield running


@pytest.fixture
def scraper(served: Served, tmp_path: Path) -> Iterator[str]:
    """A real Prometheus with the shipped configuration, pointed at the running server; its address."""
    prometheus = need("prometheus", "prometheus")
    (tmp_path / "token").write_text(served.token("prometheus/scrape", Role.VIEWER))
    config = yaml.safe_load(read("prometheus/prometheus.yml"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "prometheus" / "alerts.yml")]
    (job,) = config["scrape_configs"]
    job["authorization"]["credentials_file"] = str(tmp_path / "token")
    job["static_configs"][0]["targets"] = [served.url.removeprefix("http://")]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [prometheus, f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
               f"--web.listen-address={address}", "--log.level=warn"]  # fmt: skip
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait()


def ask(scraper: str, path: str, **parameters: str) -> Any:
    """What Prometheus answers once it has something to say."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            found = httpx.get(f"{scraper}/api/v1/{path}", params=parameters, trust_env=False).json()
            data = found.get("data") or {}
            if data and (not isinstance(data, dict) or data.get("result", True)):
                return data
        except (httpx.TransportError, ValueError):
            pass
        assert time.monotonic() < until, f"nothing from {path} {parameters}"
        time.sleep(0.2)


def test_a_real_prometheus_scrapes_the_server_and_knows_names_types_and_values(served: Served, scraper: str) -> None:
    client = served.client()
    run = client.post("/v1/runs", json={"task": "Write a note", "agents": ["writer"]}).json()["id"]
    until = time.monotonic() + PATIENCE_S
    while served.service.runs.find(run).state != "ended":
        assert time.monotonic() < until
        time.sleep(0.1)
    (up,) = ask(scraper, "query", query='up{job="interlock"} == 1')["result"]
    assert up["value"][1] == "1"
    (ended,) = ask(scraper, "query", query='interlock_runs_ended_total{outcome="succeeded"} == 1')["result"]
    assert ended["metric"]["job"] == "interlock"
    (took,) = ask(scraper, "query", query='interlock_agent_duration_seconds_count{agent="writer"} == 1')["result"]
    assert took["value"][1] == "1"
    types = {
        name: facts[0]["type"] for name, facts in ask(scraper, "metadata").items() if name.startswith("interlock_")
    }
    assert {types[name] for name in types if name.endswith("_total")} == {"counter"}
    assert {name for name, kind in types.items() if kind == "histogram"} == {
        "interlock_agent_duration_seconds", "interlock_queue_wait_seconds",
    }  # fmt: skip
    assert types["interlock_workers"] == "gauge"
    rules = ask(scraper, "rules")["groups"][0]["rules"]
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    text = client.get("/metrics").text
    done = subprocess.run(
        [need("promtool", "prometheus"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_scraper_without_a_token_gets_nothing(served: Served) -> None:
    assert served.anybody().get("/metrics").status_code == 401
