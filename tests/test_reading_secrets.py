"""Secrets are found in every form that issuers document, and nothing else is taken for one."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.model.risk import RiskLevel
from interlock.reading.secrets import entropy, find_secrets, redact

ALNUM = string.ascii_letters + string.digits
LOWER = string.ascii_lowercase + string.digits
UPPER = string.ascii_uppercase + string.digits
HEX = "0123456789abcdef"
URL = ALNUM + "-_"


def pick(dice: random.Random, count: int, letters: str = ALNUM) -> str:
    return "".join(dice.choice(letters) for _ in range(count))


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def jwt(dice: random.Random) -> str:
    parts = (b64('{"alg":"HS256","typ":"JWT"}'), b64('{"sub":"' + pick(dice, 12) + '"}'))
    return ".".join((*(part.rstrip("=") for part in parts), pick(dice, 43, URL)))


def key_block(dice: random.Random, kind: str = "RSA ") -> str:
    lines = "\n".join(pick(dice, 64, ALNUM + "+/") for _ in range(10))
    return "-----BEGIN " + kind + "PRIVATE KEY-----\n" + lines + "\n-----END " + kind + "PRIVATE KEY-----"


# Each makes one fake; prefixes are put together here so that scanners of this file stay quiet.
FORMATS: dict[str, Callable[[random.Random], str]] = {
    "aws key": lambda d: "AK" + "IA" + pick(d, 16, UPPER),
    "aws secret": lambda d: "aws_secret_access_key = " + pick(d, 40, ALNUM + "+/"),
    "github": lambda d: "gh" + "p_" + pick(d, 36),
    "github fine": lambda d: "github" + "_pat_" + pick(d, 22) + "_" + pick(d, 59),
    "gitlab": lambda d: "gl" + "pat-" + pick(d, 20, URL.replace("-", "")),
    "slack": lambda d: "xo" + "xb-" + pick(d, 12, string.digits) + "-" + pick(d, 12, string.digits) + "-" + pick(d, 24),
    "slack webhook": lambda d: (
        "https://hooks." + "slack.com/services/T" + pick(d, 8, UPPER) + "/B" + pick(d, 8, UPPER) + "/" + pick(d, 24)
    ),
    "stripe": lambda d: "sk" + "_live_" + pick(d, 24),
    "twilio": lambda d: "TWILIO_AUTH_TOKEN=" + pick(d, 32, HEX),
    "sendgrid": lambda d: "SG" + "." + pick(d, 22, URL) + "." + pick(d, 43, URL),
    "npm": lambda d: "np" + "m_" + pick(d, 36),
    "pypi": lambda d: "py" + "pi-AgEIcHlwaS5vcmc" + pick(d, 80, URL),
    "openai": lambda d: "sk" + "-proj-" + pick(d, 48, URL) + "a",
    "anthropic": lambda d: "sk" + "-ant-api03-" + pick(d, 93, URL) + "AA",
    "hugging face": lambda d: "h" + "f_" + pick(d, 34),
    "google": lambda d: "AI" + "za" + pick(d, 34, URL) + "a",
    "digital ocean": lambda d: "dop" + "_v1_" + pick(d, 64, HEX),
    "telegram": lambda d: pick(d, 9, "123456789") + ":" + "AA" + pick(d, 33, ALNUM),
    "vault": lambda d: "hv" + "s." + pick(d, 94),
    "shopify": lambda d: "shp" + "at_" + pick(d, 32, HEX),
    "jwt": jwt,
    "private key": key_block,
    "private key in json": lambda d: '{"private_key": "' + key_block(d, "").replace("\n", "\\n") + '\\n"}',
    "private key in base64": lambda d: b64(key_block(d)),
    "private key cut off": lambda d: key_block(d).rsplit("\n", 1)[0],
    "postgres url": lambda d: "postgres://admin:" + pick(d, 13) + "7@db.internal:5432/app",
    "basic auth url": lambda d: "https://joe:" + pick(d, 12) + "8@git.acme.test/x",
    "ado string": lambda d: "Server=db;Database=d;User Id=a;Password=" + pick(d, 13) + "5;",
    "azure storage": lambda d: "AccountName=x;AccountKey=" + base64.b64encode(d.randbytes(64)).decode() + ";Endpoint=y",
    "python": lambda d: 'password = "' + pick(d, 11) + '9"',
    "json": lambda d: '{"user": "a", "password": "' + pick(d, 11) + '9"}',
    "yaml": lambda d: "  db_password: " + pick(d, 13) + "4",
    "environment": lambda d: "export DB_PASSWORD=" + pick(d, 13) + "3",
    "go": lambda d: 'dbPassword := "' + pick(d, 11) + '2"',
    "php": lambda d: "define('DB_PASSWORD', '" + pick(d, 11) + "1');",
    "generic key": lambda d: 'API_KEY="' + pick(d, 32) + '"',
    "client secret": lambda d: "client_secret: " + pick(d, 32) + "6",
    "bearer": lambda d: "Authorization: Bearer " + pick(d, 40),
    "basic": lambda d: "Authorization: Basic " + b64("admin:" + pick(d, 12) + "7"),
    "npmrc": lambda d: "//registry.npmjs.org/:_authToken=" + pick(d, 36),
    "netrc": lambda d: "machine api.acme.test login joe password " + pick(d, 11) + "7",
    "pgpass": lambda d: "db.host:5432:app:joe:" + pick(d, 11) + "7",
    "curl": lambda d: "curl -u admin:" + pick(d, 11) + "7 https://api.acme.test",
    "command line": lambda d: "tool login --token " + pick(d, 31) + "7",
    "django": lambda d: "SECRET_KEY = 'k" + pick(d, 49, ALNUM + "!@#%^&*-_=+") + "'",
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_secret_of_each_documented_format_is_critical_and_does_not_survive(name: str) -> None:
    dice = random.Random(name)  # noqa: S311 - dice for cases, not for keys
    for _ in range(20):
        text = FORMATS[name](dice)
        assert any(finding.severity is RiskLevel.CRITICAL for finding in find_secrets(f"see:\n{text}\nend")), text
        clean = redact(text)
        assert "[redacted:" in clean
        assert not find_secrets(clean)
        assert redact(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "password = os.environ['DB_PASSWORD']",
        'password = "<your-password>"',
        "DB_PASSWORD=${DB_PASSWORD}",
        "API_KEY=changeme",
        "token = get_token(request.user)",
        "const token = signer.issue(secret, user);",
        "password={form.values.password}",
        "kind={visible ? 'text' : 'password'}",
        "def check(password: str, token: Optional[str] = None) -> bool:",
        "if (password !== again) { return 'Both passwords must be the same' }",
        "-e ACCESS_KEY=`vault read secret`",
        "postgres://user:${PASSWORD}@localhost/db",
        "curl -u <name>:<token> https://acme.test",
        'API_KEY="xxxxxxxxxxxxxxxxxxxxxxxx"',
        "AKIA" + "IOSFODNN7EXAMPLE",
        "commit da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "id: 3f2b8c1e-1111-4222-8333-9a8b7c6d5e4f",
        "publicKeyToken=b77a5c561934e089",
        'primary_key="customer_id_2024_v1"',
        "tokenizer = AutoTokenizer.from_pretrained('bert-base-uncased')",
        "The secret of a good design: keep it simple.",
        "authorization: required for all endpoints",
        "max_tokens=4096, next_page_token=abc123def456ghi789",
        "monkey: 12345678abcdefgh",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
    ],
)
def test_code_placeholders_and_look_alikes_are_no_secrets(text: str) -> None:
    assert not [finding for finding in find_secrets(text) if finding.severity >= RiskLevel.HIGH]


@pytest.mark.parametrize(
    "text", ['password = "password"', "curl -u demo:demo https://acme.test", "mysql://root:root@localhost/db"]
)
def test_weak_passwords_are_only_noted_but_redacted(text: str) -> None:
    assert {finding.severity for finding in find_secrets(text)} == {RiskLevel.MEDIUM}
    assert "[redacted:" in redact(text)


@pytest.mark.parametrize(
    ("number", "valid"),
    [
        ("4111 1111 1111 1111", True),
        ("4111 1111 1111 1112", False),
        ("5555-5555-5555-4444", True),
        ("1234567812345678", False),
    ],
)
def test_card_numbers_count_when_their_check_digit_is_right(number: str, valid: bool) -> None:
    found = find_secrets(f"card {number} ok")
    assert [finding.kind for finding in found] == (["secret.card_number"] if valid else [])
    assert all(finding.severity is RiskLevel.MEDIUM for finding in found)


def test_no_finding_holds_the_secret() -> None:
    dice = random.Random(1)  # noqa: S311 - dice for cases, not for keys
    for make in FORMATS.values():
        text = make(dice)
        for finding in find_secrets(text):
            assert finding.span is not None
            secret = text[finding.span.start : finding.span.end]
            assert secret
            assert secret not in finding.evidence + finding.reason


HIDDEN = st.sampled_from(["\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\ufe0f"])


@given(name=st.sampled_from(sorted(FORMATS)), seed=st.integers(0, 99), hidden=HIDDEN, share=st.floats(0.05, 0.9))
def test_hidden_characters_neither_hide_a_secret_nor_let_it_survive(
    name: str, seed: int, hidden: str, share: float
) -> None:
    dice = random.Random(seed)  # noqa: S311 - dice for cases, not for keys
    text = FORMATS[name](dice)
    dressed = "".join(char + (hidden if dice.random() < share else "") for char in text)
    assert any(finding.severity is RiskLevel.CRITICAL for finding in find_secrets(dressed))
    clean = redact(dressed)
    assert not find_secrets(clean)
    assert redact(clean) == clean


PIECES = st.sampled_from(
    [
        *(make(random.Random(7)) for make in FORMATS.values()),  # noqa: S311 - dice for cases, not for keys
        "password=",
        '"',
        "[redacted:",
        "]",
        ":",
        "\n",
        "=",
        "key",
        " ",
        "-----",
        "://",
        "@",
    ]
)


@given(st.lists(st.one_of(PIECES, st.text(max_size=12)), max_size=8).map("".join))
def test_redacting_never_raises_and_doing_it_twice_changes_nothing(text: str) -> None:
    once = redact(text)
    assert redact(once) == once
    assert not find_secrets(once)


@given(st.text(alphabet="the quick brown fox jumps,.\n", max_size=300))
def test_prose_comes_back_untouched(text: str) -> None:
    assert redact(text) == text


def test_text_that_python_cannot_encode_is_no_obstacle() -> None:
    secret = FORMATS["github"](random.Random(3))  # noqa: S311 - dice for cases, not for keys
    assert secret not in redact(f"\ud800 {secret} \udfff")


def test_entropy_is_in_bits_a_character() -> None:
    assert entropy("") == 0
    assert entropy("aaaa") == 0
    assert entropy("abcd") == 2
