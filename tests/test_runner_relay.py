"""The relay: an agent reaches its model without ever having the key."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from interlock.runners.relay import Relay
from interlock.testing import ScriptedModel

KEY = "sk-ant-" + "fake" * 10
BODY = {"model": "m", "messages": [{"role": "user", "content": "go"}]}


def post(url: str, token: str, body: Any = BODY, *, header: str = "x-api-key") -> str:
    headers = {"Content-Type": "application/json", header: token}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - the same
        text: str = answer.read().decode()
    return text


def refused(url: str, token: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as failed:
        post(url, token)
    with failed.value:
        assert KEY not in failed.value.read().decode()
    return failed.value.code


@pytest.mark.parametrize("stream", [False, True])
def test_the_token_stands_for_the_key_and_answers_come_through(stream: bool) -> None:
    with ScriptedModel([{"text": "hello"}]) as model, Relay(model.url, KEY) as relay:
        assert "hello" in post(f"{relay.url}/v1/messages?beta=true", relay.token, BODY | {"stream": stream})
        assert "hello" in post(f"{relay.url}/v1/messages", f"Bearer {relay.token}", header="Authorization")
        assert all(headers["x-api-key"] == KEY for headers in model.headers)
        assert relay.token not in json.dumps(model.headers)


def test_another_token_another_path_and_the_key_itself_are_refused() -> None:
    with ScriptedModel([{"text": "hello"}]) as model, Relay(model.url, KEY) as relay:
        assert refused(f"{relay.url}/v1/messages", "guess") == 401
        assert refused(f"{relay.url}/v1/messages", KEY) == 401
        assert refused(f"{relay.url}/admin", relay.token) == 404
        assert model.requests == []


def test_the_providers_refusals_come_through_as_they_are() -> None:
    with ScriptedModel([{"error": 529}]) as model, Relay(model.url, KEY) as relay:
        assert refused(f"{relay.url}/v1/messages", relay.token) == 529


def test_a_provider_that_is_not_there_is_a_bad_gateway_and_each_attempt_has_its_own_token() -> None:
    with Relay("http://127.0.0.1:9", KEY) as one, Relay("http://127.0.0.1:9", KEY) as other:
        assert refused(f"{one.url}/v1/messages", one.token) == 502
        assert refused(f"{one.url}/v1/messages", other.token) == 401
