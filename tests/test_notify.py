"""People are told for real: a mail server and a webhook on this machine get what was sent, and no secret leaves."""

from __future__ import annotations

import json
import random
import string
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiosmtpd.controller import Controller

from interlock.app import build
from interlock.config import NotifySettings, load_settings
from interlock.engine.watch import Watch
from interlock.errors import ConfigError
from interlock.notify.send import AppriseNotifier, Nobody, url_of
from interlock.ports import Gate, Job
from watch_kit import SetClock

SECRET = "ghp_" + "".join(random.Random(7).choices(string.ascii_letters + string.digits, k=36))  # noqa: S311 - a fake


class Hook:
    """A webhook that keeps what it gets."""

    def __init__(self, status: int = 200) -> None:
        self.got: list[dict[str, Any]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.url = f"json://127.0.0.1:{self.server.server_port}/hook"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


@pytest.fixture
def refusing() -> Iterator[Hook]:
    made = Hook(status=500)
    yield made
    made.close()


class Inbox:
    """A mail server that keeps what it gets."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, str]] = []

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802 - aiosmtpd calls it so
        self.mails.append((envelope.rcpt_tos[0], envelope.content.decode()))
        return "250 taken"


class AnyPort(Controller):
    """aiosmtpd knocks at the port that was asked for; here that is 0."""

    def _trigger_server(self) -> None:
        listening: Any = self.server
        self.port = listening.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@pytest.fixture
def mail() -> Iterator[tuple[Inbox, str]]:
    inbox = Inbox()
    server = AnyPort(inbox, hostname="127.0.0.1", port=0)
    server.start()
    yield inbox, f"mailto://127.0.0.1:{server.port}?from=interlock@example.org&to=anna@example.org&mode=insecure"
    server.stop(no_assert=True)


def test_a_webhook_gets_the_title_and_the_text(hook: Hook) -> None:
    assert AppriseNotifier({"chat": hook.url}).tell(["chat"], "[critical] writer", "It fails.\nLook.") == ""
    (got,) = hook.got
    assert got["title"] == "[critical] writer"
    assert "It fails." in got["message"]


def test_a_mail_arrives(mail: tuple[Inbox, str]) -> None:
    inbox, url = mail
    assert AppriseNotifier({"anna": url}).tell([], "[warning] writer", "It is slow.") == ""
    ((to, text),) = inbox.mails
    assert to == "anna@example.org"
    assert "Subject: [warning] writer" in text
    assert "It is slow." in text


def test_no_secret_is_sent_or_shown(hook: Hook) -> None:
    AppriseNotifier({"chat": hook.url}).tell([], f"it said {SECRET}", f"it said {SECRET}")
    assert SECRET not in json.dumps(hook.got)
    problem = AppriseNotifier({"chat": f"json://user:{SECRET}@127.0.0.1:1/x"}).tell([], "title", "body")
    assert problem.startswith("chat: ")
    assert SECRET not in problem


def test_each_target_that_could_not_be_told_is_named_and_the_others_are_told(hook: Hook, refusing: Hook) -> None:
    targets = {"bad": refusing.url, "odd": "nonsense", "unset": "env:INTERLOCK_NOT_SET", "good": hook.url}
    problem = AppriseNotifier(targets).tell(["bad", "odd", "unset", "missing", "good"], "title", "body")
    assert [part.split(":")[0] for part in problem.split("; ")] == ["bad", "odd", "unset", "missing"]
    assert len(hook.got) == 1


def test_a_url_can_be_kept_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_TEST_CHAT", "json://127.0.0.1")
    assert url_of("env:INTERLOCK_TEST_CHAT") == "json://127.0.0.1"
    monkeypatch.delenv("INTERLOCK_TEST_CHAT")
    with pytest.raises(ConfigError, match="INTERLOCK_TEST_CHAT is not set"):
        url_of("env:INTERLOCK_TEST_CHAT")


def test_without_anybody_to_tell_that_is_said() -> None:
    assert "nobody is configured" in Nobody().tell([], "title", "body")


def test_a_target_that_does_not_exist_is_an_error_of_the_configuration() -> None:
    with pytest.raises(ValueError, match="'boss' is no target"):
        NotifySettings.model_validate({"targets": {"chat": "json://x"}, "escalation": [{"to": ["boss"]}]})


def test_urls_of_targets_are_not_shown_with_the_settings() -> None:
    settings = NotifySettings.model_validate({"targets": {"chat": f"json://user:{SECRET}@example.org"}})
    assert SECRET not in settings.model_dump_json() + repr(settings)


def test_an_escalation_reaches_a_webhook_and_then_a_mailbox_until_somebody_acknowledges(
    hook: Hook, mail: tuple[Inbox, str], tmp_path: Path
) -> None:
    inbox, address = mail
    notify = {
        "targets": {"team": hook.url, "duty": address}, "notify": ["team"],
        "escalation": [{"to": ["team"]}, {"after_s": 600, "to": ["duty"]}],
    }  # fmt: skip
    (tmp_path / "interlock.yaml").write_text(yaml.safe_dump({"notify": notify}))
    clock = SetClock()
    service = build(load_settings(tmp_path), functions={"writer": writer}, clock=clock)
    watch = Watch(service._means, service.alarms, service.rollouts)
    with service._means.database.write() as conn:
        for _ in range(5):
            failed = {"agent": "writer", "attempt": "a", "duration_ms": 10, "error": "crashed", "message": "no"}
            service._means.ledger.append(conn, "run_1", "attempt.failed", failed, actor="interlock")
    heard = []
    for minutes in (1, 5, 6, 60):
        clock.pass_(minutes=minutes)
        watch.once()
        heard.append((len(hook.got), len(inbox.mails)))
        if inbox.mails:
            alert = next(one for one in service.alarms.alerts() if one.rule == "error-rate")
            if alert.state == "firing":
                service.alarms.acknowledge(alert.id, "anna")
    service.close()
    assert heard == [(1, 0), (1, 0), (1, 1), (1, 1)]
    assert "Agent error rate exceeds 25%" in inbox.mails[0][1]


async def writer(_: Job, gate: Gate) -> str:
    """Writes what the task says."""
    return "written"
