"""A change that is sent twice with one idempotency key is made once, whatever it is."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from interlock.model.identity import Role
from served import Served, serving

SILENCE = {"rule": "error-rate", "agent": "writer", "lasting_s": 60, "reason": "we know"}
ONLY_LOOKS = {"/v1/check", "/v1/explain", "/v1/assess", "/v1/plan", "/v1/policies/lint"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("once") / "project") as running:
        yield running


@pytest.fixture(scope="module")
def ann(served: Served) -> httpx.Client:
    return served.client("ann", Role.ADMIN)


def post(client: httpx.Client, path: str, body: dict[str, Any] | None, key: str) -> httpx.Response:
    return client.post(path, json=body, headers={"Idempotency-Key": key})


def silences(client: httpx.Client, reason: str) -> int:
    return sum(one["reason"] == reason for one in client.get("/v1/silences").json())


def test_every_post_that_changes_something_says_that_it_takes_a_key(ann: httpx.Client) -> None:
    paths = ann.get("/openapi.json").json()["paths"]
    posts = {path: methods["post"] for path, methods in paths.items() if path.startswith("/v1") and "post" in methods}
    takes = {
        path
        for path, one in posts.items()
        if any(each["name"] == "idempotency-key" for each in one.get("parameters", ()))
    }
    assert set(posts) - takes == ONLY_LOOKS & set(posts)
    assert all("409" in posts[path]["responses"] for path in takes)


def test_what_is_sent_again_is_made_once_and_answered_the_same(ann: httpx.Client) -> None:
    body = {**SILENCE, "reason": "once"}
    first, second = post(ann, "/v1/silences", body, "k-once"), post(ann, "/v1/silences", body, "k-once")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert silences(ann, "once") == 1


def test_a_key_never_stands_for_two_things(ann: httpx.Client) -> None:
    assert post(ann, "/v1/silences", {**SILENCE, "reason": "two things"}, "k-two").status_code == 201
    for path, body in (("/v1/silences", {**SILENCE, "reason": "other"}), ("/v1/rollouts/writer/resume", None)):
        refused = post(ann, path, body, "k-two")
        assert refused.status_code == 409
        assert refused.json()["type"].endswith(":key-reused")
    assert silences(ann, "other") == 0


def test_keys_of_two_callers_have_nothing_to_do_with_each_other(served: Served, ann: httpx.Client) -> None:
    bob = served.client("bob", Role.OPERATOR)
    body = {**SILENCE, "reason": "each their own"}
    made = [post(client, "/v1/silences", body, "k-shared").json()["author"] for client in (ann, bob)]
    assert made == ["ann", "bob"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/alerts/alr_none/acknowledge", {}, 404),
        ("/v1/silences", {"rule": "x"}, 422),
        ("/v1/rollouts", {"agent": "writer", "version": "none"}, 404),
    ],
)
def test_what_was_refused_gives_its_key_back(ann: httpx.Client, path: str, body: dict[str, Any], status: int) -> None:
    key = path.replace("/", "-")
    assert [post(ann, path, body, key).status_code for _ in range(2)] == [status, status]
    again = post(ann, "/v1/silences", {**SILENCE, "reason": f"after {path}"}, key)
    assert again.status_code == 201


@pytest.mark.parametrize("key", ["", "with space", "ü", "x" * 201])
def test_a_key_that_is_none_is_refused(ann: httpx.Client, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode())]
    refused = ann.post("/v1/silences", json={**SILENCE, "reason": "bad key"}, headers=headers)
    assert refused.status_code == 422
    assert silences(ann, "bad key") == 0


def test_the_same_answer_of_a_person_is_one_vote(served: Served, ann: httpx.Client) -> None:
    asked = served.asked(served.submit(ann, "Send the mail", "mailer"))
    path, body = f"/v1/approvals/{asked.id}/approve", {"digest": asked.digest, "note": "yes"}
    first, second = post(ann, path, body, "k-vote"), post(ann, path, body, "k-vote")
    assert (first.status_code, second.status_code) == (200, 200), second.text
    assert second.json() == first.json()
    assert len(second.json()["votes"]) == 1
    assert ann.post(path, json=body).status_code == 409, "without a key it is a second vote, which does not count"


def test_a_secret_is_made_once_and_kept_nowhere(served: Served, ann: httpx.Client) -> None:
    body = {"name": "ann/ci", "being": "program", "role": "viewer", "days": 1}
    first, second = post(ann, "/v1/tokens", body, "k-token"), post(ann, "/v1/tokens", body, "k-token")
    assert (first.status_code, second.status_code) == (201, 409)
    assert second.json()["type"].endswith(":shown-once")
    assert sum(one["name"] == "ann/ci" for one in ann.get("/v1/tokens").json()) == 1
    store = served.service.settings.state_dir / "interlock.db"
    with sqlite3.connect(store) as found:
        kept = "\n".join(found.iterdump())
    assert "ann/ci" in kept
    assert first.json()["secret"] not in kept


def test_of_many_at_once_one_does_it(ann: httpx.Client) -> None:
    body = {**SILENCE, "reason": "many at once"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(ann, "/v1/silences", body, "k-many"), range(8)))
    assert {one.status_code for one in answers} <= {201, 409}
    assert len({one.json()["id"] for one in answers if one.status_code == 201}) == 1
    assert all(one.json()["type"].endswith(":key-in-use") for one in answers if one.status_code == 409)
    assert silences(ann, "many at once") == 1


def test_what_broke_off_is_never_done_again_by_itself(served: Served, ann: httpx.Client) -> None:
    body = b'{"rule":"error-rate","lasting_s":60,"reason":"broke off"}'
    digest = hashlib.sha256(b"POST /v1/silences?\n" + body).hexdigest()
    assert served.service.requests.claim("ann", "k-broke", digest) is None, "as by a server that was killed then"
    headers = {"Idempotency-Key": "k-broke", "Content-Type": "application/json"}
    refused = ann.post("/v1/silences", content=body, headers=headers)
    assert refused.status_code == 409
    assert "look before you use a new key" in refused.json()["detail"]
    assert silences(ann, "broke off") == 0


def test_who_may_no_longer_do_it_is_not_told_the_answer_either(served: Served) -> None:
    before, after = served.client("carl", Role.OPERATOR), served.client("carl", Role.VIEWER)
    body = {**SILENCE, "reason": "carl's"}
    assert post(before, "/v1/silences", body, "k-carl").status_code == 201
    assert post(after, "/v1/silences", body, "k-carl").status_code == 403
