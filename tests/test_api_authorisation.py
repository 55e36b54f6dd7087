"""Who may do what: every endpoint with every role, and every way to pretend."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from interlock.app import build
from interlock.config import load_settings
from interlock.decide.access import NEEDS, PEOPLE_ONLY, Right, refusal
from interlock.errors import ApprovalError, UsageError
from interlock.model.identity import Being, Identity, Role, person_behind
from interlock.surfaces.api.app import make_app
from interlock.surfaces.api.door import right_of
from served import CONFIG, Served, make_project, serving

SEE, JUDGE, SUBMIT, STEER, ANSWER, ADMINISTER = Right

MATRIX: dict[tuple[str, str], Right | None] = {
    ("GET", "/livez"): None,
    ("GET", "/readyz"): None,
    ("POST", "/v1/runs"): SUBMIT,
    ("GET", "/v1/runs"): SEE,
    ("GET", "/v1/runs/{run_id}"): SEE,
    ("GET", "/v1/runs/{run_id}/diff"): SEE,
    ("GET", "/v1/runs/{run_id}/events"): SEE,
    ("POST", "/v1/runs/{run_id}/cancel"): STEER,
    ("GET", "/v1/events"): SEE,
    ("GET", "/v1/approvals"): SEE,
    ("GET", "/v1/approvals/{approval_id}"): SEE,
    ("POST", "/v1/approvals/{approval_id}/approve"): ANSWER,
    ("POST", "/v1/approvals/{approval_id}/deny"): ANSWER,
    ("POST", "/v1/check"): JUDGE,
    ("POST", "/v1/explain"): JUDGE,
    ("POST", "/v1/assess"): JUDGE,
    ("POST", "/v1/plan"): JUDGE,
    ("GET", "/v1/status"): SEE,
    ("GET", "/v1/queue"): SEE,
    ("GET", "/v1/agents"): SEE,
    ("GET", "/v1/breakers"): SEE,
    ("PUT", "/v1/breakers/{agent}"): STEER,
    ("GET", "/v1/policies"): SEE,
    ("GET", "/v1/config"): SEE,
    ("GET", "/v1/ledger"): SEE,
    ("GET", "/v1/ledger/verification"): SEE,
    ("GET", "/v1/metrics"): SEE,
    ("GET", "/metrics"): SEE,
    ("GET", "/v1/agents/{agent}"): SEE,
    ("GET", "/v1/agents/{agent}/hours"): SEE,
    ("GET", "/v1/health"): SEE,
    ("GET", "/v1/health/{agent}"): SEE,
    ("GET", "/v1/doctor"): STEER,
    ("GET", "/v1/alerts"): SEE,
    ("POST", "/v1/alerts/{alert_id}/acknowledge"): STEER,
    ("GET", "/v1/alert-rules"): SEE,
    ("GET", "/v1/alert-rules/{rule}/trial"): SEE,
    ("GET", "/v1/silences"): SEE,
    ("POST", "/v1/silences"): STEER,
    ("DELETE", "/v1/silences/{silence_id}"): STEER,
    ("GET", "/v1/rollouts"): SEE,
    ("GET", "/v1/rollouts/{agent}"): SEE,
    ("POST", "/v1/rollouts"): STEER,
    ("POST", "/v1/rollouts/{agent}/promote"): STEER,
    ("POST", "/v1/rollouts/{agent}/abort"): STEER,
    ("POST", "/v1/rollouts/{agent}/resume"): STEER,
    ("GET", "/v1/limits"): SEE,
    ("PUT", "/v1/limits/{name}"): STEER,
    ("POST", "/v1/effects/{effect_id}/undo"): STEER,
    ("POST", "/v1/plan/corrections"): STEER,
    ("POST", "/v1/policies/lint"): JUDGE,
    ("GET", "/v1/store"): STEER,
    ("POST", "/v1/store/collect"): ADMINISTER,
    ("GET", "/v1/me"): SEE,
    ("GET", "/v1/tokens"): ADMINISTER,
    ("POST", "/v1/tokens"): ADMINISTER,
    ("DELETE", "/v1/tokens/{token_id}"): ADMINISTER,
}
"""What the API promises. A new endpoint must be written down here."""

WHO: dict[str, tuple[str, Role]] = {
    "a viewer": ("vera", Role.VIEWER),
    "an operator": ("otto", Role.OPERATOR),
    "an approver": ("anna", Role.APPROVER),
    "an admin": ("adam", Role.ADMIN),
    "a program that views": ("otto/watch", Role.VIEWER),
    "a program that operates": ("otto/ci", Role.OPERATOR),
}
GIVEN: dict[str, Any] = {
    "/v1/runs": {"task": " "},
    "/v1/check": {"tool": "shell", "text": "ls"},
    "/v1/explain": {"tool": "shell", "text": "ls"},
    "/v1/assess": {"text": "write a note"},
    "/v1/plan": {"text": "write a note"},
    "/v1/breakers/{agent}": {"state": "reset"},
    "/v1/alerts/{alert_id}/acknowledge": {"note": "mine"},
    "/v1/silences": {"lasting_s": 60, "rule": "none"},
    "/v1/rollouts": {"agent": "nobody", "version": "v2"},
    "/v1/rollouts/{agent}/promote": {},
    "/v1/rollouts/{agent}/abort": {},
    "/v1/limits/{name}": {"most": 1},
    "/v1/effects/{effect_id}/undo": {},
    "/v1/plan/corrections": {"text": "mail the club", "agents": ["nobody"]},
    "/v1/policies/lint": {"text": "policies: []"},
    "/v1/store/collect": {"dry": True},
    "/v1/tokens": {"name": "x y", "being": "person", "role": "viewer"},
    "/v1/approvals/{approval_id}/approve": {"digest": "sha256:0"},
    "/v1/approvals/{approval_id}/deny": {"digest": "sha256:0"},
}
PLACES = {
    "run_id": "run_0000", "approval_id": "apr_0000", "agent": "nobody", "token_id": "tok_0000", "alert_id": "alr_0000",
    "rule": "no-rule", "silence_id": "sil_0000", "name": "no_limit", "effect_id": "eff_0000",
}  # fmt: skip
PRODUCTION = CONFIG.replace("environment: development", "environment: production")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("api") / "project", worker=False) as running:
        yield running


@pytest.fixture(scope="module")
def clients(served: Served) -> dict[str, httpx.Client]:
    return {who: served.client(*given) for who, given in WHO.items()}


def call(client: httpx.Client, method: str, path: str) -> httpx.Response:
    with client.stream(method, path.format(**PLACES), json=GIVEN.get(path)) as answer:
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            return answer  # it would not end
        answer.read()
        return answer


def test_the_matrix_names_every_endpoint_and_its_right(served: Served) -> None:
    app = make_app(served.service, dashboard=False)
    routes = [
        route for group in app.routes for route in getattr(getattr(group, "original_router", None), "routes", [group])
    ]
    found = {
        (method, route.path): next(
            (right for sub in route.dependant.dependencies if (right := right_of(sub.call)) is not None), None
        )
        for route in routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    described = {(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods}
    assert described == set(MATRIX)
    assert found == MATRIX


@pytest.mark.parametrize(("method", "path"), MATRIX)
def test_each_role_is_let_in_exactly_where_the_matrix_says(
    clients: dict[str, httpx.Client], method: str, path: str
) -> None:
    right = MATRIX[method, path]
    for who, (name, role) in WHO.items():
        status = call(clients[who], method, path).status_code
        assert status != 401, who
        program = "/" in name
        allowed = right is None or (role >= NEEDS[right] and not (program and right in PEOPLE_ONLY))
        assert (status != 403) is allowed, f"{who} got {status}"


@pytest.mark.parametrize(("method", "path"), [key for key, right in MATRIX.items() if right is not None])
def test_nobody_gets_in_without_a_good_token(served: Served, method: str, path: str) -> None:
    for headers in ({}, {"authorization": "Basic YTpi"}, {"authorization": "Bearer x"}):
        answer = call(served.anybody(**headers), method, path)
        assert answer.status_code in {401, 429}, headers
        assert answer.headers["content-type"] == "application/problem+json"


def test_many_bad_tokens_are_slowed_down_while_good_ones_still_pass(served: Served) -> None:
    bad = served.anybody(authorization="Bearer ilk_" + "x" * 43)
    assert {bad.get("/v1/me").status_code for _ in range(80)} >= {429}
    assert served.client("vera", Role.VIEWER).get("/v1/me").status_code == 200


def test_a_token_ends_when_its_time_is_over_or_it_is_revoked(served: Served) -> None:
    short = served.anybody(
        authorization=f"Bearer {served.token('ann', Role.VIEWER, lifetime=timedelta(milliseconds=1))}"
    )
    assert short.get("/v1/me").status_code in {401, 429}
    admin = served.client("adam", Role.ADMIN)
    made = admin.post("/v1/tokens", json={"name": "rob", "being": "person", "role": "viewer", "days": 1}).json()
    rob = served.anybody(authorization=f"Bearer {made['secret']}")
    assert rob.get("/v1/me").json()["name"] == "rob"
    assert admin.delete(f"/v1/tokens/{made['token']['id']}").json()["ended_at"]
    assert rob.get("/v1/me").status_code in {401, 429}


def test_secrets_are_neither_stored_nor_listed(served: Served) -> None:
    secret = served.token("sam", Role.VIEWER)
    stored = b"".join(file.read_bytes() for file in served.service.settings.state_dir.rglob("*") if file.is_file())
    assert b"sam" in stored
    assert secret.encode() not in stored
    assert secret not in served.client("adam", Role.ADMIN).get("/v1/tokens").text


def test_a_token_that_asks_too_often_is_told_when_to_come_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    config = CONFIG + "server: {requests_per_minute: 5}\n"
    with serving(tmp_path_factory.mktemp("rate") / "project", config, worker=False) as served:
        client = served.client("vera", Role.VIEWER)
        answers = [client.get("/v1/me") for _ in range(8)]
        assert [answer.status_code for answer in answers][:5] == [200] * 5
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert served.client("otto", Role.VIEWER).get("/v1/me").status_code == 200


# Browsers


def session(served: Served, name: str = "anna", role: Role = Role.ADMIN) -> httpx.Client:
    client = served.anybody()
    answer = client.post("/login", data={"secret": served.token(name, role)})
    assert answer.status_code == 303
    return client


def csrf_of(client: httpx.Client) -> str:
    return client.get("/tokens").text.partition('name="csrf" value="')[2].partition('"')[0]


def test_a_form_needs_the_word_of_its_own_session(served: Served) -> None:
    client, other = session(served), session(served)
    data = {"name": "eve", "role": "viewer", "days": "1"}
    assert client.post("/tokens", data=data).status_code == 403
    assert client.post("/tokens", data={**data, "csrf": csrf_of(other)}).status_code == 403
    assert client.post("/tokens", data={**data, "csrf": csrf_of(client)}).status_code == 200
    assert client.post("/v1/check", json=GIVEN["/v1/check"]).status_code == 403
    assert client.post("/v1/check", json=GIVEN["/v1/check"], headers={"x-csrf-token": csrf_of(client)}).is_success


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_what_another_site_sends_is_refused_even_with_the_right_word(served: Served, headers: dict[str, str]) -> None:
    client = session(served)
    data = {"name": "eve", "role": "viewer", "days": "1", "csrf": csrf_of(client)}
    assert client.post("/tokens", data=data, headers=headers).status_code == 403
    assert served.anybody().post("/login", data={"secret": "x"}, headers=headers).status_code == 403


def test_no_other_origin_is_let_read_anything(served: Served) -> None:
    client = session(served)
    asked = client.options("/v1/me", headers={"origin": "http://evil.example", "access-control-request-method": "GET"})
    got = client.get("/v1/me", headers={"origin": "http://evil.example"})
    assert not [name for answer in (asked, got) for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8377", "127.0.0.1.evil.example", ""])
def test_a_request_for_another_host_name_is_refused(served: Served, host: str) -> None:
    assert served.client("vera", Role.VIEWER).get("/v1/me", headers={"host": host}).status_code in {400, 421}


def test_a_session_ends_with_the_token_it_was_opened_with(served: Served) -> None:
    token, secret = served.service.identities.create(
        "paul", being=Being.PERSON, role=Role.VIEWER, lifetime=timedelta(days=1), by="test"
    )
    client = served.anybody()
    client.post("/login", data={"secret": secret})
    assert client.get("/queue").status_code == 200
    admin = served.client("adam", Role.ADMIN)
    assert admin.delete(f"/v1/tokens/{token.id}").is_success
    assert client.get("/queue").status_code in {303, 429}


def test_a_session_is_no_api_token_and_a_program_cannot_sign_in(served: Served) -> None:
    client = session(served)
    cookie = client.cookies["interlock"]
    assert served.anybody(authorization=f"Bearer {cookie}").get("/v1/me").status_code in {401, 429}
    assert served.anybody().post("/login", data={"secret": served.token("otto/ci", Role.OPERATOR)}).status_code in {
        401,
        429,
    }


def test_after_signing_in_nobody_is_led_to_another_site(served: Served) -> None:
    for to in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"):
        answer = served.anybody().post("/login", data={"secret": served.token("vera", Role.VIEWER), "to": to})
        assert answer.headers["location"] == "/"


# Identities


def test_a_link_opens_one_session_however_many_try_at_once(served: Served) -> None:
    secret = served.service.identities.link("adam")
    opened: list[object] = []

    def try_it() -> None:
        opened.append(served.service.identities.open_session(secret, timedelta(hours=1)))

    threads = [threading.Thread(target=try_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([one for one in opened if one is not None]) == 1


def test_a_new_link_ends_the_one_before(served: Served) -> None:
    first, second = served.service.identities.link("adam"), served.service.identities.link("adam")
    assert served.service.identities.open_session(first, timedelta(hours=1)) is None
    assert served.service.identities.open_session(second, timedelta(hours=1)) is not None


@pytest.mark.parametrize(
    ("name", "being", "role", "days"),
    [
        ("otto/ci", Being.PROGRAM, Role.APPROVER, 1),
        ("otto/ci", Being.PROGRAM, Role.ADMIN, 1),
        ("otto/ci", Being.PERSON, Role.APPROVER, 1),
        ("ci", Being.PROGRAM, Role.VIEWER, 1),
        ("", Being.PERSON, Role.VIEWER, 1),
        ("a b", Being.PERSON, Role.VIEWER, 1),
        ("a\u200bb", Being.PERSON, Role.VIEWER, 1),
        ("ann", Being.PERSON, Role.VIEWER, 0),
        ("ann", Being.PERSON, Role.VIEWER, 3650),
    ],
)
def test_impossible_tokens_are_refused(served: Served, name: str, being: Being, role: Role, days: int) -> None:
    with pytest.raises(UsageError):
        served.service.identities.create(name, being=being, role=role, lifetime=timedelta(days=days), by="test")


def test_giving_and_taking_tokens_is_in_the_ledger(served: Served) -> None:
    token, _ = served.service.identities.create(
        "lee", being=Being.PERSON, role=Role.VIEWER, lifetime=timedelta(days=1), by="adam"
    )
    served.service.identities.revoke(token.id, by="adam")
    served.service.identities.revoke(token.id, by="adam")
    found, _ = served.service.ledger.search(text=token.id)
    assert [entry.kind for entry in found] == ["token.revoked", "token.created"]
    assert not served.service.ledger.verify().problem


@pytest.mark.parametrize("right", Right)
def test_a_program_never_has_a_right_of_people_whatever_its_role_says(right: Right) -> None:
    forged = Identity(name="otto/ci", being=Being.PROGRAM, role=Role.ADMIN, token_id="tok")
    assert bool(refusal(forged, right)) is (right in PEOPLE_ONLY)


def test_the_person_behind_a_program_is_known_by_its_name() -> None:
    assert (person_behind("otto/ci"), person_behind("otto")) == ("otto", "otto")


# Critical work in production: two people, neither the requester, nor through a program


def test_critical_work_needs_two_others_and_no_trick_makes_it_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("production") / "project", PRODUCTION) as served:
        ci = served.client("otto/ci", Role.OPERATOR)
        run_id = served.submit(ci, "Delete the production database and all its backups", "writer")
        asked = served.asked(run_id)
        assert (asked.quorum, asked.separate, asked.requester) == (2, True, "otto/ci")
        address, seen = f"/v1/approvals/{asked.id}/approve", {"digest": asked.digest}

        def vote(client: httpx.Client, given: dict[str, str] = seen) -> int:
            return client.post(address, json=given).status_code

        anna, adam = served.client("anna", Role.APPROVER), served.client("adam", Role.ADMIN)
        assert vote(ci) == 403, "a program"
        assert vote(served.client("otto", Role.APPROVER)) == 409, "the person behind the program that asked"
        assert vote(anna, {"digest": "sha256:other"}) == 409, "not what was asked"
        assert vote(anna) == 200
        assert vote(anna) == 409, "twice"
        assert vote(served.client("anna", Role.ADMIN)) == 409, "the same person with another token"
        assert served.service.approvals.find(asked.id).state == "pending"
        assert vote(adam) == 200
        assert served.service.approvals.find(asked.id).state in {"approved", "used"}
        served.ended(run_id)
        assert vote(served.client("bea", Role.APPROVER)) == 409, "after the fact"


def test_of_many_votes_at_once_by_one_person_one_counts(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("race") / "project", PRODUCTION) as served:
        run_id = served.submit(served.client("otto", Role.OPERATOR), "Delete the production database", "writer")
        asked = served.asked(run_id)
        anna = Identity(name="anna", being=Being.PERSON, role=Role.APPROVER, token_id="tok")
        results: list[str] = []

        def vote() -> None:
            try:
                served.service.approvals.answer(asked.id, anna, approve=True, digest=asked.digest)
                results.append("counted")
            except ApprovalError:
                results.append("refused")

        threads = [threading.Thread(target=vote) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == ["counted", *["refused"] * 5]
        assert served.service.approvals.find(asked.id).state == "pending"


def test_the_right_to_answer_is_checked_below_the_surface_too(served: Served, tmp_path_factory: Any) -> None:
    project = make_project(tmp_path_factory.mktemp("below") / "project")
    service = build(load_settings(project))
    assert service.approvals.list() == []
    service.close()
    program = Identity(name="otto/ci", being=Being.PROGRAM, role=Role.ADMIN, token_id="tok")
    assert "only people" in refusal(program, Right.ANSWER)
