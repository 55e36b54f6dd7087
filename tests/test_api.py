"""The API over a real server: what it can do, and what it does with what is wrong."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from interlock.errors import UsageError
from interlock.model.identity import Role
from interlock.surfaces.api.hub import Hub
from interlock.surfaces.api.operate import masked
from interlock.surfaces.serving import Address
from served import CONFIG, Served, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("api") / "project") as running:
        yield running


@pytest.fixture(scope="module")
def ann(served: Served) -> httpx.Client:
    return served.client("ann", Role.ADMIN)


def events(client: httpx.Client, path: str, **headers: str) -> list[dict[str, Any]]:
    """The records of a stream that ends."""
    with client.stream("GET", path, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = list(answer.iter_lines())
    assert "event: end" in lines
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith('data: {"seq"')]


def test_a_task_goes_all_the_way_over_the_api(served: Served, ann: httpx.Client) -> None:
    answer = ann.post("/v1/runs", json={"task": "mail the club", "agents": ["mailer"]})
    assert answer.status_code == 202
    where = answer.headers["location"]
    run_id = answer.json()["id"]
    asked = served.asked(run_id)
    shown = ann.get(f"/v1/approvals/{asked.id}").json()
    assert shown["shown"]["args"] == {"to": "club@example.org", "text": "the training is at six"}
    assert ann.get(where).json()["waits_for"] == f"a person's answer to {asked.id}"
    voted = ann.post(f"/v1/approvals/{asked.id}/approve", json={"digest": shown["digest"], "note": "fine"})
    assert voted.json()["votes"][0] == {**voted.json()["votes"][0], "voter": "ann", "approve": True, "note": "fine"}
    served.ended(run_id)
    assert ann.get(where).json()["run"]["outcome"]["kind"] == "succeeded"
    kinds = [record["kind"] for record in events(ann, f"/v1/runs/{run_id}/events")]
    assert kinds[0] == "task.submitted"
    assert kinds[-1] == "run.ended"
    assert "approval.approved" in kinds


def test_changes_are_shown_as_a_diff(served: Served, ann: httpx.Client) -> None:
    run_id = served.submit(ann, "write the note", "writer")
    assert ann.get(f"/v1/runs/{run_id}/diff").status_code == 200  # nothing yet, or everything
    served.ended(run_id)
    assert "+a note" in ann.get(f"/v1/runs/{run_id}/diff").json()["diff"]


def test_a_stream_goes_on_after_the_last_record_that_was_seen(served: Served, ann: httpx.Client) -> None:
    run_id = served.submit(ann, "write the note", "writer")
    live = events(ann, f"/v1/runs/{run_id}/events")  # begun while it runs, read to its end
    served.ended(run_id)
    assert live == events(ann, f"/v1/runs/{run_id}/events")
    middle = live[len(live) // 2]["seq"]
    rest = [record for record in live if record["seq"] > middle]
    assert events(ann, f"/v1/runs/{run_id}/events", **{"last-event-id": str(middle)}) == rest
    assert events(ann, f"/v1/runs/{run_id}/events?after={middle}") == rest


def test_who_comes_between_the_end_and_its_being_read_misses_nothing(served: Served, ann: httpx.Client) -> None:
    run_id = served.submit(ann, "write a note for latecomers", "writer")
    served.ended(run_id)
    entries = served.service.ledger.entries(run_id=run_id)

    async def late() -> list[int]:
        hub = Hub(served.service)
        hub._recent.append(entries[0])
        hub._read_to = entries[0].seq
        hub._reader = asyncio.create_task(asyncio.sleep(60))  # a reader that is about to read
        return [one.seq async for one in hub.follow(after=entries[0].seq - 1, run_id=run_id) if one is not None]

    assert asyncio.run(late()) == [entry.seq for entry in entries]


def test_many_watch_and_each_sees_everything(served: Served, ann: httpx.Client) -> None:
    run_id = served.submit(ann, "mail many", "mailer")
    asked = served.asked(run_id)
    seen: list[list[dict[str, Any]]] = []
    threads = [
        threading.Thread(target=lambda: seen.append(events(served.client(), f"/v1/runs/{run_id}/events")))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    served.service.approvals.vote(asked.id, "bob", approve=True)
    for thread in threads:
        thread.join(timeout=60)
    assert len(seen) == 12
    assert all(one == seen[0] and one[-1]["kind"] == "run.ended" for one in seen)


def test_the_stream_of_everything_shows_what_happens_from_now_on(served: Served, ann: httpx.Client) -> None:
    other = served.client()
    with ann.stream("GET", "/v1/events") as answer:
        lines = answer.iter_lines()
        next(lines)
        run_id = served.submit(other, "write the note", "writer")
        first = json.loads(next(line for line in lines if line.startswith("data: ")).removeprefix("data: "))
    assert (first["kind"], first["run_id"]) == ("task.submitted", run_id)
    served.ended(run_id)


def test_the_same_key_of_the_same_caller_is_the_same_run(served: Served, ann: httpx.Client) -> None:
    given, key = {"task": "write the note", "agents": ["writer"]}, {"idempotency-key": "k-1"}
    ids = []
    threads = [
        threading.Thread(
            target=lambda: ids.append(served.client().post("/v1/runs", json=given, headers=key).json()["id"])
        )
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 1
    other = served.client("bob", Role.OPERATOR).post("/v1/runs", json=given, headers=key)
    assert other.json()["id"] != ids[0], "another caller's key is another key"
    reused = ann.post("/v1/runs", json={"task": "something else", "agents": ["writer"]}, headers=key)
    assert (reused.status_code, reused.json()["type"]) == (409, "urn:interlock:problem:key-reused")
    served.ended(ids[0])
    served.ended(other.json()["id"])


def test_lists_come_in_pages_without_gap_or_repetition(served: Served, ann: httpx.Client) -> None:
    for number in range(5):
        served.ended(served.submit(ann, f"write note {number}", "writer"))
    found: list[str] = []
    cursor = ""
    while True:
        page = ann.get("/v1/runs", params={"limit": 2, "cursor": cursor}).json()
        found += [run["id"] for run in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    everything = [run.id for run in served.service.runs.newest(limit=1000)]
    assert found == everything

    seqs: list[int] = []
    cursor = ""
    while cursor is not None:
        page = ann.get("/v1/ledger", params={"limit": 50, "cursor": cursor}).json()
        seqs += [record["seq"] for record in page["items"]]
        cursor = page["next"]
    assert seqs == list(range(max(seqs), 0, -1))


def test_the_ledger_is_searched_by_word_kind_and_person(served: Served, ann: httpx.Client) -> None:
    ann.put("/v1/breakers/breaker", json={"state": "open", "reason": 'an "odd" Wörd'})
    ann.put("/v1/breakers/breaker", json={"state": "reset"})
    by_word = ann.get("/v1/ledger", params={"text": '"ODD" wörd'}).json()["items"]
    assert [record["data"]["reason"] for record in by_word] == ['an "odd" Wörd']
    by_kind = ann.get("/v1/ledger", params={"kind": "breaker.", "actor": "ann"}).json()["items"]
    assert {record["kind"] for record in by_kind} == {"breaker.forced"}
    assert ann.get("/v1/ledger", params={"actor": "nobody"}).json()["items"] == []
    assert ann.get("/v1/ledger/verification").json()["problem"] == ""


def test_an_operator_steers_breakers(served: Served, ann: httpx.Client) -> None:
    assert ann.put("/v1/breakers/writer", json={"state": "open", "reason": "why"}).json()["state"] == "forced_open"
    assert ann.get("/v1/status").json()["cut_off"] == ["writer"]
    assert ann.put("/v1/breakers/writer", json={"state": "reset"}).json()["state"] == "closed"
    assert ann.put("/v1/breakers/nobody", json={"state": "reset"}).status_code == 404


def test_a_run_is_cancelled(served: Served, ann: httpx.Client) -> None:
    run_id = served.submit(ann, "mail and wait", "mailer")
    served.asked(run_id)
    assert ann.post(f"/v1/runs/{run_id}/cancel").status_code == 202
    assert served.ended(run_id).run.outcome.kind == "cancelled"
    assert ann.post(f"/v1/runs/{run_id}/cancel").status_code == 422


def test_judgements_say_why(ann: httpx.Client) -> None:
    checked = ann.post("/v1/check", json={"tool": "shell", "text": "rm -rf /"}).json()
    assert (checked["verdict"], checked["risk"]) == ("block", "critical")
    explained = ann.post("/v1/explain", json={"tool": "sql", "text": "DROP TABLE x"}).json()
    assert explained["considered"][0]["matched"]
    assert ann.post("/v1/assess", json={"text": "drop the production database"}).json()["confirmation_required"]
    assert ann.post("/v1/plan", json={"text": "write a text file"}).json()["phases"] == [["writer"]]
    assert ann.post("/v1/plan", json={"text": "x", "agents": ["nobody"]}).status_code == 422


def test_everything_else_can_be_looked_at(ann: httpx.Client) -> None:
    assert {agent["name"] for agent in ann.get("/v1/agents").json()} >= {"writer", "mailer"}
    assert ann.get("/v1/queue").json() == []
    assert ann.get("/v1/policies").json()
    assert ann.get("/v1/me").json()["rights"] == ["see", "judge", "submit", "steer", "answer", "administer"]
    assert {row["key"] for row in ann.get("/v1/config").json()} >= {"limits.max_concurrent", "environment"}
    assert ann.get("/readyz").json() == {"status": "ready", "store": True, "worker": True}
    assert ann.get("/livez").text == "alive\n"


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("store_url", "postgresql://me:" + "pass" + "word@host/db", "postgresql://(hidden)@host/db"),
        ("agents.x.runner.api_key", "k" * 20, "(hidden)"),
        ("agents.x.runner", {"env": {"MY_TOKEN": "t" * 20}}, {"env": {"MY_TOKEN": "(hidden)"}}),
        ("limits.max_concurrent", 3, 3),
        ("budgets.tokens_per_run", 100, 100),
    ],
)
def test_settings_are_shown_without_secrets(key: str, value: Any, shown: Any) -> None:
    assert masked(key, value) == shown


# What is wrong


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b'{"task": 3}', 422),
        (b'{"task": ""}', 422),
        (b'{"task": "  "}', 422),
        (b'{"task": "x", "extra": 1}', 422),
        (b'{"task": "\\ud800"}', 422),
        (b'{"task": "\xff"}', 422),
        (b'{"task": NaN}', 422),
        (b'{"task": ' + b"[" * 100_000, 422),
        (b'{"task": "' + b"x" * 100_001 + b'"}', 422),
        (b"x" * (1024 * 1024 + 1), 413),
    ],
)
def test_bad_bodies_are_refused_with_a_problem(ann: httpx.Client, body: bytes, status: int) -> None:
    answer = ann.post("/v1/runs", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:interlock:problem:")


def test_a_long_body_is_refused_even_when_its_length_is_not_announced(ann: httpx.Client) -> None:
    answer = ann.post("/v1/check", content=(b"x" * 65536 for _ in range(20)))
    assert answer.status_code == 413


def test_a_task_of_odd_characters_is_stored_as_it_is(served: Served, ann: httpx.Client) -> None:
    text = "write \x00 \u202e the \U0001f600 note"
    run_id = served.submit(ann, text, "writer")
    assert ann.get(f"/v1/runs/{run_id}").json()["run"]["task"]["text"] == text
    served.agreed(run_id)  # a person is asked about characters that cannot be seen


@pytest.mark.parametrize(
    "path",
    [
        "/v1/runs/none",
        "/v1/approvals/none",
        "/v1/runs/none/diff",
        "/v1/runs/none/events",
        "/v1/nothing",
        "/v1/runs?cursor=none",
    ],
)
def test_what_does_not_exist_is_said_so(ann: httpx.Client, path: str) -> None:
    answer = ann.get(path)
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:interlock:problem:not-found"


def test_an_id_is_never_taken_for_another_one(served: Served, ann: httpx.Client) -> None:
    run_id = served.submit(ann, "write the note", "writer")
    served.ended(run_id)
    for near in (run_id[:-1], run_id[-8:], "last"):
        assert ann.get(f"/v1/runs/{near}").status_code == 404
        assert ann.post(f"/v1/runs/{near}/cancel").status_code == 404


def test_every_answer_tells_browsers_to_be_strict(served: Served, ann: httpx.Client) -> None:
    for answer in (
        ann.get("/v1/me"),
        served.anybody().get("/v1/me"),
        served.anybody().get("/login"),
        ann.get("/nothing"),
    ):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def test_tokens_never_go_over_a_network_in_clear(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="in clear"):
        Address(host="0.0.0.0", port=0).check()  # noqa: S104 - that it is refused is the point
    with pytest.raises(UsageError, match="both"):
        Address(host="127.0.0.1", port=0, certificate=tmp_path / "cert.pem").check()
    Address(host="10.0.0.1", port=0, behind_proxy=True).check()


def test_it_serves_over_tls_with_cookies_for_tls_only(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    address = Address(host="127.0.0.1", port=0, certificate=cert, key=key)
    address.check()
    with serving(tmp_path / "project", CONFIG, worker=False, address=address) as served:
        trust = ssl.create_default_context(cafile=str(cert))
        with httpx.Client(base_url=served.url, verify=trust, trust_env=False) as client:
            answer = client.post("/login", data={"secret": served.token("vera", Role.VIEWER)})
            assert answer.headers["set-cookie"].startswith("__Host-interlock=")
            assert "Secure" in answer.headers["set-cookie"]
            assert "max-age" in answer.headers["strict-transport-security"]
            assert client.get("/queue").status_code == 200


def test_it_ends_while_somebody_watches(tmp_path: Path) -> None:
    done = threading.Event()
    with serving(tmp_path / "project", worker=False) as served:
        client = served.client("vera", Role.VIEWER)

        def watch() -> None:
            with client.stream("GET", "/v1/events") as answer:
                started.set()
                for _ in answer.iter_lines():
                    pass
            done.set()

        started = threading.Event()
        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        assert started.wait(20)
        served.server.end()
        assert done.wait(20)
        thread.join(20)
