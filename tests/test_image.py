"""The container image and the compose file, built and run by a real engine: ``make test-image``, apart from ``make test``.

``INTERLOCK_TEST_BASE`` names the base image (Debian with Python and its venv), ``INTERLOCK_TEST_BUILD`` what the build
needs here besides (``--network host --volume …``). ``INTERLOCK_TEST_COMPOSE`` is the compose command; the stack's other
images are named as in ``.env``: ``POSTGRES_IMAGE``, ``PROMETHEUS_IMAGE``.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from interlock.surfaces.cli.demo import fresh_repository

ROOT = Path(__file__).resolve().parents[1]
CLUB = ROOT / "examples" / "clubhouse"
BASE = os.environ.get("INTERLOCK_TEST_BASE", "")
COMPOSE = shlex.split(os.environ.get("INTERLOCK_TEST_COMPOSE", ""))
IMAGE = "localhost/interlock-under-test"
HARD = ["--read-only", "--tmpfs", "/tmp:mode=1777", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--env", "HOME=/tmp"]  # fmt: skip
PATIENCE_S = 240

pytestmark = pytest.mark.skipif(not BASE, reason="INTERLOCK_TEST_BASE names no base image: make test-image BASE=…")


def said(*words: str, ok: bool = True, **more: Any) -> str:
    """What a command prints, both streams; it must succeed unless ``ok`` is false."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)
    assert done.returncode == 0 or not ok, f"{shlex.join(words)}\n{done.stdout}"
    return str(done.stdout)


def until(look: Any, what: str) -> Any:
    """What ``look`` finds, once it finds something."""
    end = time.monotonic() + PATIENCE_S
    while True:
        with suppress(httpx.TransportError, AssertionError):
            found = look()
            if found:
                return found
        assert time.monotonic() < end, what
        time.sleep(0.5)


@pytest.fixture(scope="session")
def engine() -> str:
    """The container engine."""
    for name in ("podman", "docker"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True, check=False).returncode == 0:
            return name
    pytest.skip("neither podman nor docker answers here")


@pytest.fixture(scope="session")
def image(engine: str) -> str:
    """The image, built from the Containerfile as it is."""
    form = ["--format", "docker"] if engine == "podman" else []
    more = shlex.split(os.environ.get("INTERLOCK_TEST_BUILD", ""))
    said(
        engine,
        "build",
        *form,
        *more,
        "--build-arg",
        f"BASE={BASE}",
        "-f",
        "deploy/Containerfile",
        "-t",
        IMAGE,
        ".",
        cwd=ROOT,
    )
    return IMAGE


def given(place: Path) -> str:
    """The user in the container who owns that directory."""
    if os.getuid() == 0:
        said("chown", "-R", "10001:10001", str(place))
        return "10001:10001"
    return "0:0" if shutil.which("podman") else f"{os.getuid()}:{os.getgid()}"  # podman without root: its root is you


def test_the_image_does_the_main_job_as_nobody_special_on_a_read_only_root_without_capabilities(
    engine: str, image: str, tmp_path: Path
) -> None:
    place = tmp_path / "project"
    place.mkdir()
    mounts = ["--volume", f"{place}:/project", "--volume", f"{CLUB}:/clubhouse:ro"]
    done = said(
        engine, "run", "--rm", *HARD, "--user", given(place), *mounts, image, "demo", "/clubhouse", "--into", "demo"
    )
    assert "ended as succeeded, as expected" in done
    assert "ledger whole" in done


def test_doctor_finds_walls_git_agents_and_a_store_in_the_image(engine: str, image: str, tmp_path: Path) -> None:
    place = fresh_repository(CLUB, tmp_path / "project")
    words = [*HARD, "--user", given(place), "--volume", f"{place}:/project", image, "doctor", "--json"]
    answer = said(engine, "run", "--rm", *words).splitlines()[-1]  # above it, what the engine itself complains of
    found = {one["subject"]: one for one in json.loads(answer)}
    assert {one["grade"] for one in found.values()} <= {"ok", "warning"}, answer
    assert {"git", "sandbox", "agents", "store"} <= set(found)
    assert any(wall in found["sandbox"]["seen"] for wall in ("landlock", "bubblewrap"))


def test_the_image_serves_by_itself_and_its_health_check_knows(engine: str, image: str, tmp_path: Path) -> None:
    place = fresh_repository(CLUB, tmp_path / "project")
    check = json.loads(said(engine, "image", "inspect", image))[0]
    (kind, *command) = (check.get("Healthcheck") or check["Config"]["Healthcheck"])["Test"]
    assert kind == "CMD"
    name = f"interlock-under-test-{os.getpid()}"
    said(
        engine, "run", "--detach", "--name", name, *HARD, "--user", given(place), "--volume", f"{place}:/project", image
    )
    try:
        until(lambda: not said(engine, "exec", name, *command), "it is never healthy")
        assert "sign in once" in said(engine, "logs", name)
        said(engine, "stop", "--time", "40", name)
        assert "interlock: stopped" in said(engine, "logs", name)
    finally:
        said(engine, "rm", "--force", name)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The compose file at work."""

    place: Path
    engine: str
    url: str
    scraper: str

    def compose(self, *words: str) -> str:
        return said(*COMPOSE, *words, cwd=self.place)

    def secret(self, name: str, role: str) -> str:
        """A new token's secret: what `> metrics-token` keeps."""
        words = ["exec", "-T", "interlock", "interlock", "tokens", "create", name, "--role", role]
        done = subprocess.run([*COMPOSE, *words], cwd=self.place, capture_output=True, text=True, check=True)
        return done.stdout.strip()


def free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def stack(engine: str, image: str, tmp_path: Path) -> Iterator[Stack]:
    """Service, two workers, Postgres and Prometheus as shipped: only the image's name and the ports are other ones."""
    if not COMPOSE or not shutil.which(COMPOSE[0]):
        pytest.skip("INTERLOCK_TEST_COMPOSE names no compose command")
    place = tmp_path / "deploy"
    shutil.copytree(ROOT / "deploy", place)
    project = fresh_repository(CLUB, tmp_path / "project")
    api, scraper = free(), free()
    file = yaml.safe_load((place / "compose.yaml").read_text(encoding="utf-8"))
    file["name"] = f"interlock-under-test-{os.getpid()}"
    for service in ("interlock", "worker"):
        file["services"][service]["image"] = image
        del file["services"][service]["build"]
    file["services"]["interlock"]["ports"] = [f"127.0.0.1:{api}:8377"]
    file["services"]["prometheus"]["ports"] = [f"127.0.0.1:{scraper}:9090"]
    (place / "compose.yaml").write_text(yaml.safe_dump(file), encoding="utf-8")
    images = [f"{name}={os.environ[name]}" for name in ("POSTGRES_IMAGE", "PROMETHEUS_IMAGE") if name in os.environ]
    lines = [f"INTERLOCK_PROJECT={project}", f"INTERLOCK_USER={given(project)}", "INTERLOCK_DB_PASSWORD=a-long-word",
             "GRAFANA_PASSWORD=another", *images]  # fmt: skip
    (place / ".env").write_text("\n".join(lines), encoding="utf-8")
    (place / "metrics-token").touch(0o644)
    made = Stack(
        place=place, engine=engine, url=f"http://127.0.0.1:{api}", scraper=f"http://127.0.0.1:{scraper}/api/v1"
    )
    try:
        made.compose("up", "--detach", "interlock", "worker", "postgres", "prometheus")
        yield made
    finally:
        made.compose("down", "--volumes")


def test_the_stack_does_the_main_job_goes_on_when_a_worker_is_killed_and_is_measured(stack: Stack) -> None:
    until(lambda: httpx.get(f"{stack.url}/readyz", trust_env=False).status_code == 200, "it is never ready")
    (stack.place / "metrics-token").write_text(stack.secret("prometheus/scrape", "viewer"), encoding="utf-8")

    def value(query: str) -> str:
        found = httpx.get(f"{stack.scraper}/query", params={"query": query}, trust_env=False).json()["data"]["result"]
        return str(found[0]["value"][1]) if found else ""

    until(lambda: value("interlock_workers") == "2", "Prometheus never sees two workers")
    client = httpx.Client(
        base_url=stack.url, headers={"Authorization": f"Bearer {stack.secret('ann', 'operator')}"}, trust_env=False
    )
    task = yaml.safe_load((CLUB / "tasks" / "success.yaml").read_text(encoding="utf-8"))["text"]
    with client:
        run = client.post("/v1/runs", json={"task": task}).json()["id"]
        until(lambda: client.get(f"/v1/runs/{run}").json()["attempts"], "no agent ever works")
        names = said(stack.engine, "ps", "--format", "{{.Names}}").split()
        said(stack.engine, "kill", next(name for name in names if "under-test" in name and "worker" in name))
        ended = until(lambda: client.get(f"/v1/runs/{run}").json()["run"]["outcome"], "it never ends")
    assert ended["kind"] == "succeeded"
    until(lambda: value('interlock_runs_ended_total{outcome="succeeded"}') == "1", "Prometheus never sees the end")
    rules = httpx.get(f"{stack.scraper}/rules", trust_env=False).json()["data"]["groups"][0]["rules"]
    assert {rule["health"] for rule in rules} == {"ok"}
