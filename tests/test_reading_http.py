"""A request is where it really goes, what it carries and what it changes."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.model.action import Finding, Reading, Scope
from interlock.model.risk import RiskLevel
from interlock.reading.addresses import address_of
from interlock.reading.http import listed, looks_like_data, read_http

LOW, MEDIUM, HIGH, CRITICAL = RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL
ANYWHERE = Scope()
LISTED = Scope(hosts=("api.example.org", "*.corp.example", "localhost", "10.0.0.5"))
BLOB = base64.b64encode(b"all the names and numbers of our customers, in one line").decode().rstrip("=")


def kinds(reading: Reading, least: RiskLevel = LOW) -> set[str]:
    return {finding.kind for finding in reading.findings if finding.severity >= least}


METADATA = [
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0xA9.0xFE.0xA9.0xFE/",
    "http://0251.0376.0251.0376/",
    "http://169.254.43518/",
    "http://169.16689662/",
    "http://169.254.169.254.:80/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[fd00:ec2::254]/",
    "http://１６９.254.169.254/",
    "http://169。254。169。254/",
    "http://①⑥⑨.254.169.254/",
    "http://%31%36%39.254.169.254/",
    "http://example.org@169.254.169.254/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://100.100.100.200/",
]


@pytest.mark.parametrize("url", METADATA)
def test_the_metadata_service_is_blocked_in_every_spelling(url: str) -> None:
    assert "http.metadata" in kinds(read_http({"url": url}, ANYWHERE), CRITICAL)


def test_no_list_of_hosts_makes_the_metadata_service_harmless() -> None:
    assert read_http({"url": METADATA[0]}, Scope(hosts=("169.254.169.254",))).severity is CRITICAL
    assert (
        read_http({"url": "https://api.example.org", "headers": {"Metadata-Flavor": "Google"}}, LISTED).severity
        is CRITICAL
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://[::ffff:10.0.0.1]/",
        "http://0/",
    ],
)
def test_an_inner_address_in_disguise_is_blocked(url: str) -> None:
    assert read_http({"url": url}, ANYWHERE).severity is CRITICAL


@pytest.mark.parametrize(
    ("url", "severity", "kind"),
    [
        ("http://10.0.0.7/", HIGH, "http.internal"),
        ("http://192.168.1.1/", HIGH, "http.internal"),
        ("http://[fe80::1]/", HIGH, "http.internal"),
        ("http://vault.service.consul/", HIGH, "http.internal"),
        ("http://intranet/", HIGH, "http.internal"),
        ("http://localhost:9090/api", MEDIUM, "http.internal"),
        ("http://127.0.0.1:8000/", MEDIUM, "http.internal"),
        ("http://127.0.0.1.nip.io/", HIGH, "http.internal.rebinding"),
        ("http://1.1.1.1/", MEDIUM, "http.address"),
        ("http://16843009/", HIGH, "http.address.disguised"),
        ("http://localhost:2375/containers", HIGH, "http.port"),
        ("http://github.com@evil.example/", HIGH, "http.url.confusing"),
        ("http://github.com\\@evil.example/", HIGH, "http.url.confusing"),
        ("https://a.example/%0d%0aHost:b", HIGH, "http.url.confusing"),
        ("http://user:word@a.example/", HIGH, "http.url.password"),
        ("http://g\u0456thub.com/", HIGH, "http.host.lookalike"),
        ("http://xn--gthub-n4a.com/", HIGH, "http.host.lookalike"),
        ("http://münchen.example/", MEDIUM, "http.host.foreign"),
        ("https://webhook.site/x", HIGH, "http.sink"),
        ("https://abc.ngrok.io/x", HIGH, "http.sink"),
        ("https://bit.ly/x", MEDIUM, "http.shortened"),
        ("gopher://a.example/_x", HIGH, "http.scheme"),
        ("ftp://a.example/x", HIGH, "http.scheme"),
        ("javascript:alert(1)", HIGH, "http.scheme"),
        ("file:///srv/x", HIGH, "http.scheme"),
        ("file:///etc/shadow", CRITICAL, "paths.credentials.system"),
        ("https://a.example/?password=x", HIGH, "http.query.secret"),
        (f"https://a.example/?d={BLOB}", HIGH, "http.query.data"),
        (f"https://{BLOB[:40].encode().hex()[:60]}.a.example/", HIGH, "http.host.data"),
        ("http://[::1", HIGH, "http.unparsed"),
        ("http://", HIGH, "http.unparsed"),
    ],
)
def test_where_a_request_really_goes_is_said(url: str, severity: RiskLevel, kind: str) -> None:
    reading = read_http({"url": url}, ANYWHERE)
    assert reading.severity is severity
    assert kind in kinds(reading)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.github.com/repos/x/y/commits/da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "https://docs.python.org/3/library/urllib.parse.html#urllib.parse.urlsplit",
        "https://example.org/?q=how+to+sort+a+list+of+words+in+python+quickly+and+with+grace",
        "https://example.org/a/550e8400-e29b-41d4-a716-446655440000?page=2&per_page=100",
        "https://example.org/some-very-long-title-of-an-article-about-the-ways-of-the-world-and-beyond",
        "https://example.org/?sha=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "example.org/x",
        "//example.org/x",
        "https://example.org:8443/x",
    ],
)
def test_a_plain_read_disturbs_nobody(url: str) -> None:
    assert read_http({"url": url}, ANYWHERE).findings == ()


@pytest.mark.parametrize(
    ("args", "severity"),
    [
        ({"url": "https://api.example.org/x"}, LOW),
        ({"url": "https://API.example.org./x"}, LOW),
        ({"url": "https://a.corp.example/"}, LOW),
        ({"url": "http://localhost:3000/"}, LOW),
        ({"url": "http://10.0.0.5/"}, LOW),
        ({"url": "https://corp.example/"}, HIGH),
        ({"url": "https://api.example.org.evil.example/"}, HIGH),
        ({"url": "https://evilcorp.example/"}, HIGH),
        ({"url": "https://api.example.org@evil.example/"}, HIGH),
        ({"url": "http://0xa000005/"}, CRITICAL),
        ({"url": ["https://api.example.org", "https://other.example"]}, HIGH),
        ({"uri": "https://other.example"}, HIGH),
    ],
)
def test_only_listed_hosts_are_free(args: dict[str, Any], severity: RiskLevel) -> None:
    assert read_http(args, LISTED).severity is severity


@pytest.mark.parametrize(
    ("args", "severity", "kind"),
    [
        ({"method": "get"}, LOW, ""),
        ({"method": "POST", "json": {"a": 1}}, MEDIUM, "http.write"),
        ({"json": {"a": 1}}, MEDIUM, "http.write"),
        ({"method": "PATCH"}, MEDIUM, "http.write"),
        ({"method": "delete"}, HIGH, "http.delete"),
        ({"method": "POST", "headers": {"X-HTTP-Method-Override": "DELETE"}}, HIGH, "http.delete"),
        ({"method": "TRACE"}, HIGH, "http.method"),
        ({"method": "FROBNICATE"}, HIGH, "http.method"),
        ({"headers": {"Host": "evil.example"}}, HIGH, "http.host.mismatch"),
        ({"headers": {"X-Note": "a\r\nHost: b"}}, HIGH, "http.header.split"),
        ({"headers": ["Accept: text/html"]}, LOW, ""),
        ({"params": {"api_key": "x"}}, HIGH, "http.query.secret"),
        ({"data": "@/home/u/.ssh/id_rsa"}, CRITICAL, "paths.credentials.key"),
        ({"data": "file=@.env"}, HIGH, "paths.credentials.file"),
        ({"files": ["/etc/shadow"]}, CRITICAL, "paths.credentials.system"),
        ({"body": "x" * 300_000}, HIGH, "http.body.long"),
    ],
)
def test_what_a_request_carries_and_changes_is_said(args: dict[str, Any], severity: RiskLevel, kind: str) -> None:
    reading = read_http({"url": "https://api.example.org/x", **args}, LISTED)
    assert reading.severity is severity
    assert not kind or kind in kinds(reading)


def test_chat_hooks_matter_only_when_something_is_sent() -> None:
    hook = "https://discord.com/api/webhooks/1/x"
    assert read_http({"url": hook}, ANYWHERE).severity is LOW
    assert read_http({"url": hook, "method": "POST", "body": "x"}, ANYWHERE).severity is HIGH


def test_secrets_are_looked_for_in_everything_that_is_sent() -> None:
    def find(text: str) -> tuple[Finding, ...]:
        return (
            (Finding(detector="secrets", kind="secrets.key", severity=CRITICAL, evidence="…"),) if "KEY" in text else ()
        )

    for args in ({"url": "https://a.example/?x=KEY"}, {"url": "https://a.example", "json": {"a": ["KEY"]}}):
        assert read_http(args, ANYWHERE, secrets=find).severity is CRITICAL


def test_no_secret_of_an_address_is_in_the_evidence() -> None:
    word = "hunter" + "2"
    for url in (f"https://u:{word}@a.example/", f"https://a.example/?token={word}", f"ftp://u:{word}@a.example/"):
        assert not any(
            word in finding.evidence + finding.reason for finding in read_http({"url": url}, ANYWHERE).findings
        )


@pytest.mark.parametrize("args", [{}, {"url": ""}, {"url": None}, {"url": {"a": 1}}, {"url": []}, {"method": "GET"}])
def test_a_request_without_an_address_is_asked(args: dict[str, Any]) -> None:
    assert read_http(args, ANYWHERE).severity >= HIGH


def test_addresses_are_read_as_the_system_reads_them() -> None:
    assert str(address_of("127.1")[0]) == "127.0.0.1"
    assert address_of("127.0.0.1")[1] is False
    assert address_of("127.0.0.01")[1] is True
    assert address_of("1.2.3.4.5") == (None, False)
    assert address_of("a.example") == (None, False)
    assert str(address_of("::ffff:1.2.3.4")[0]) == "1.2.3.4"
    assert str(address_of("::1")[0]) == "::1"


def test_a_star_covers_names_below_and_not_the_name_itself() -> None:
    assert listed("a.example.org", ("*.example.org",))
    assert not listed("example.org", ("*.example.org",))
    assert not listed("aexample.org", ("*.example.org",))


@given(st.binary(min_size=64, max_size=200))
@settings(max_examples=100, deadline=None)
def test_encoded_bytes_look_like_data(content: bytes) -> None:
    text = base64.urlsafe_b64encode(bytes(byte ^ place * 37 & 0xFF for place, byte in enumerate(content))).decode()
    assert looks_like_data(text) or len(set(text)) < 24


TEXTS = st.text(max_size=60) | st.lists(
    st.sampled_from(
        [
            "http://",
            "https:",
            "//",
            "@",
            ":",
            "[",
            "]",
            "::",
            "a.b",
            "127.1",
            "%",
            "%00",
            "?",
            "#",
            "\\",
            "é",
            "xn--",
            "..",
            "0x",
            "9" * 30,
        ]
    ),
    max_size=8,
).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(
    TEXTS,
    st.dictionaries(
        st.sampled_from(["method", "headers", "body", "params", "files", "url", "json", "uri"]), VALUES, max_size=5
    ),
)
def test_any_arguments_get_a_reading(url: str, more: dict[str, Any]) -> None:
    assert isinstance(read_http({"url": url, **more}, LISTED), Reading)
    assert read_http({"url": url}, LISTED).severity >= LOW


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(METADATA),
    st.sampled_from(["{}", " {}", "{}#x", "{}?a=b", "{}a/b", "\t{}\n"]),
    st.sampled_from([str, str.upper, str.lower]),
)
def test_more_around_an_address_never_lowers_a_severity(url: str, around: str, case: type[str]) -> None:
    assert read_http({"url": around.format(case(url))}, ANYWHERE).severity is CRITICAL
