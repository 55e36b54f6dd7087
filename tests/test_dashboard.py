"""The dashboard in a real browser: an operator sees, decides and steers, and hostile text stays text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, sync_playwright

from browser import PHONE, accessibility, browsing, need_chromium
from interlock.decide.breaker import Force
from interlock.model.approval import ApprovalState
from interlock.model.identity import Role
from interlock.model.run import OutcomeKind, RunState
from interlock.surfaces.web.visible import diff_lines, is_diff, marked, visible
from served import CONFIG, HOSTILE, Served, serving

PAGES = (
    "", "runs", "approvals", "approvals?all=true", "queue", "agents", "agents/breaker", "alerts?try=error-rate", "rollouts",
    "ledger?kind=breaker.", "policies", "check", "tokens",
)  # fmt: skip
CONFIGURED = f"""{CONFIG}
versions: {{mailer: {{polite: {{instructions: say please}}}}, writer: {{v2: {{instructions: better}}}}}}
policies: {{versions: {{strict: {{packs: [production]}}}}}}
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    need_chromium()
    with serving(tmp_path_factory.mktemp("dashboard") / "project", CONFIGURED) as running:
        yield running


@pytest.fixture(scope="module")
def driver(served: Served) -> Iterator[Playwright]:
    """After the service: DBOS adopts a loop that runs in its thread, and this one runs only while a page is driven."""
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def context(driver: Playwright, served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    with browsing(driver, tmp_path_factory.mktemp("profile")) as context:
        yield context


@pytest.fixture
def page(served: Served, context: BrowserContext) -> Iterator[Page]:
    """A page that is signed in as ann, and on which no script may fail."""
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    refused = "Failed to load resource"  # an error page on purpose
    page.on(
        "console",
        lambda one: wrong.append(one.text) if one.type == "error" and not one.text.startswith(refused) else None,
    )
    sign_in(page, served, served.token("ann", Role.ADMIN))
    yield page
    page.goto("about:blank")
    page.close()
    assert not wrong


def sign_in(page: Page, served: Served, secret: str) -> None:
    page.goto(f"{served.url}/login")
    page.get_by_label("Your token").fill(secret)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{served.url}/")


def test_a_one_time_link_signs_in_after_one_click_and_never_again(
    driver: Playwright, served: Served, tmp_path: Path
) -> None:
    link = f"{served.url}/enter?link={served.service.identities.link('ann')}"
    with browsing(driver, tmp_path / "one") as context:
        page = context.new_page()
        page.goto(link)
        page.goto(link)  # looking at it does not use it up
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{served.url}/")
        assert page.get_by_text("ann (admin)").is_visible()
        cookie = context.cookies()[0]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    with browsing(driver, tmp_path / "two") as context:
        page = context.new_page()
        page.goto(link)
        page.get_by_role("button", name="Sign in").click()
        assert page.get_by_role("alert").is_visible()


def test_a_task_is_submitted_watched_and_approved_in_two_clicks(served: Served, page: Page) -> None:
    page.goto(served.url)
    page.get_by_label("What is to be done").fill("mail the club")
    page.locator("select[name=agent]").select_option("mailer")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/runs/*")
    run_id = page.url.rpartition("/")[2]

    page.get_by_role("link", name="Look and decide").click()  # the page came alive by itself; click one
    assert page.get_by_role("heading", name="May mailer do this?").is_visible()
    assert page.get_by_text("the training is at six").is_visible()
    assert page.get_by_text("club@example.org").is_visible()
    assert page.get_by_text("Exactly what is shown above, once").is_visible()
    page.get_by_role("button", name="Approve").click()  # click two
    page.get_by_text("This question is").first.wait_for()

    page.goto(f"{served.url}/runs/{run_id}")
    page.locator("#head .s-succeeded").wait_for()
    assert page.get_by_text("ann said yes (1 of 1)").is_visible()
    assert served.ended(run_id).run.outcome.kind is OutcomeKind.SUCCEEDED


def test_a_denied_call_does_not_happen(served: Served, page: Page) -> None:
    run_id = served.submit(served.client("bob", Role.OPERATOR), "mail the club again", "mailer")
    asked = served.asked(run_id)
    page.goto(f"{served.url}/approvals/{asked.id}")
    page.get_by_label("A word of reason").fill("not today")
    page.get_by_role("button", name="Deny").click()
    page.get_by_text("not today").wait_for()
    assert served.service.approvals.find(asked.id).state is ApprovalState.DENIED
    assert served.ended(run_id).run.outcome.results["mailer"].summary.startswith("not sent: a person was asked")


def test_an_agent_is_cut_off_and_let_in_again(served: Served, page: Page) -> None:
    page.goto(f"{served.url}/agents")
    form = page.get_by_role("form", name="Breaker of writer")
    form.get_by_label("Reason").fill("it writes nonsense")
    form.get_by_role("button", name="Cut off").click()
    page.get_by_text("cut off by hand").wait_for()
    page.goto(served.url)
    assert page.get_by_text("writer is cut off: it writes nonsense").is_visible()
    page.goto(f"{served.url}/agents")
    page.get_by_role("form", name="Breaker of writer").get_by_role("button", name="Reset").click()
    page.wait_for_load_state()
    page.goto(served.url)
    assert page.get_by_text("writer is cut off").count() == 0


def test_the_ledger_is_searched_and_verified(served: Served, page: Page) -> None:
    served.service.agents.force_breaker("breaker", Force.OPEN, reason="a word to find", actor="ann")
    page.goto(f"{served.url}/ledger")
    page.get_by_label("Words").fill("a word to find")
    page.get_by_role("button", name="Search").click()
    assert page.locator("tbody tr").count() == 1
    page.get_by_role("button", name="Verify every hash").click()
    page.get_by_text("Whole:").wait_for()


def test_the_check_page_marks_the_danger(served: Served, page: Page) -> None:
    page.goto(f"{served.url}/check")
    page.get_by_label("The command").fill("cd / && rm -rf /")
    page.get_by_role("button", name="Check", exact=True).click()
    page.get_by_role("heading", name="It says: block critical risk").wait_for()
    assert page.locator("mark").first.inner_text() == "rm -rf /"


def test_hostile_text_of_an_agent_never_becomes_markup(served: Served, page: Page) -> None:
    client = served.client("bob", Role.OPERATOR)
    run_id = served.submit(client, f"do it {HOSTILE}", "rogue")
    asked = served.asked(run_id)
    looked = []
    for address in (f"approvals/{asked.id}", f"runs/{run_id}", *PAGES, "ledger?text=script"):
        page.goto(f"{served.url}/{address}")
        looked.append(page.content())
        assert page.title() != "owned"
        assert page.locator("img").count() == 0
        assert page.locator("main script").count() == 0
    assert "⟨U+202E⟩" in looked[0]
    assert "\u202e" not in "".join(looked)
    served.agreed(run_id)
    page.goto(f"{served.url}/runs/{run_id}")
    assert page.get_by_text("<img src=x onerror=alert(1)>.html").first.is_visible()
    assert page.locator("img").count() == 0
    assert page.title() != "owned"


def test_a_stranger_is_led_to_the_door_and_then_to_where_they_wanted(
    driver: Playwright, served: Served, tmp_path: Path
) -> None:
    with browsing(driver, tmp_path) as context:
        page = context.new_page()
        page.goto(f"{served.url}/queue")
        assert "/login" in page.url
        page.get_by_label("Your token").fill("ilk_not-a-token")
        page.get_by_role("button", name="Sign in").click()
        assert page.get_by_role("alert").is_visible()
        page.get_by_label("Your token").fill(served.token("vera", Role.VIEWER))
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{served.url}/queue")
        assert page.get_by_role("link", name="Tokens").count() == 0
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/login")
        page.goto(f"{served.url}/queue")
        assert "/login" in page.url


def test_pages_work_without_any_script(driver: Playwright, served: Served, tmp_path: Path) -> None:
    with browsing(driver, tmp_path, scripts=False) as context:
        page = context.new_page()
        sign_in(page, served, served.token("ann", Role.ADMIN))
        page.get_by_label("What is to be done").fill("write the note")
        page.locator("select[name=agent]").select_option("writer")
        page.get_by_role("button", name="Submit").click()
        page.wait_for_url("**/runs/*")
        assert served.ended(page.url.rpartition("/")[2]).run.state is RunState.ENDED


def test_everything_can_be_reached_and_done_with_the_keyboard(served: Served, page: Page) -> None:
    run_id = served.submit(served.client("bob", Role.OPERATOR), "mail by keyboard", "mailer")
    page.goto(f"{served.url}/approvals/{served.asked(run_id).id}")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Approve":
            break
    page.keyboard.press("Enter")
    page.get_by_text("This question is").first.wait_for()
    assert served.ended(run_id).run.outcome.kind is OutcomeKind.SUCCEEDED


def fails(served: Served, agent: str, times: int) -> None:
    """Records of executions that failed, and a look at them."""
    means = served.service._means
    with means.database.write() as conn:
        for _ in range(times):
            facts = {"agent": agent, "attempt": "a", "duration_ms": 1200, "error": "crashed", "message": "no room"}
            means.ledger.append(conn, "operator:test", "attempt.started", {"agent": agent}, actor="interlock")
            means.ledger.append(conn, "operator:test", "attempt.failed", facts, actor="interlock")
    served.service.alarms.evaluate()


def test_an_alert_is_seen_on_the_first_page_and_acknowledged_in_one_click_more(served: Served, page: Page) -> None:
    page.goto(served.url)
    fails(served, "breaker", 4)
    card = page.locator("#firing .card", has_text="breaker: Agent has failed 3 times consecutively")
    card.wait_for()  # the page came alive by itself
    assert "consecutiveFailures" in card.inner_text()
    card.get_by_role("button", name="I look after it").click()
    page.locator("#firing", has_text="ann looks after it").wait_for()
    (alert,) = [one for one in served.service.alarms.alerts() if one.rule == "consecutive-failures"]
    assert (alert.state, alert.acknowledged_by) == ("acknowledged", "ann")


def test_an_alert_is_silenced_tried_and_heard_again(served: Served, page: Page) -> None:
    fails(served, "breaker", 4)
    page.goto(f"{served.url}/alerts")
    card = page.locator(".card", has_text="Agent has failed 3 times")
    card.get_by_label("Tell nobody for").select_option("4 hours")
    card.get_by_role("button", name="Silence").click()
    row = page.locator("table", has_text="Tell people again").locator("tbody tr")
    row.wait_for()
    assert "consecutive-failures" in row.inner_text()
    (silence,) = served.service.alarms.silences()
    assert (silence.agent, silence.author, silence.until - silence.created_at) == ("breaker", "ann", timedelta(hours=4))
    row.get_by_role("button", name="Tell people again").click()
    page.wait_for_load_state()
    assert served.service.alarms.silences() == []
    page.get_by_role("link", name="What does it say now? consecutive-failures").click()
    assert page.get_by_text("breaker it holds; it would: notify, increase-monitoring").is_visible()


def test_a_rollout_is_started_watched_promoted_and_aborted(served: Served, page: Page) -> None:
    page.goto(f"{served.url}/rollouts")
    page.get_by_label("Agent and version").select_option("mailer polite")
    page.get_by_label("Steps in percent").fill("10, 40")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="mailer: polite for 10 %").wait_for()
    page.get_by_role("button", name="Promote to 40 %").click()
    page.get_by_role("heading", name="mailer: polite for 40 %").wait_for()
    said = page.get_by_role("img").first.get_attribute("aria-label") or ""
    assert re.match(r"Share of the new version: 10 % from .* UTC, then 40 % from", said)
    form = page.get_by_role("form", name="Rollout of mailer")
    form.get_by_label("Reason").fill("too polite")
    form.get_by_role("button", name="Abort").click()
    page.get_by_role("heading", name="mailer: polite for 0 %").wait_for()
    assert page.locator("article", has_text="too polite").is_visible()


def test_new_policies_are_tried_by_admins_and_only_looked_at_by_operators(
    driver: Playwright, served: Served, page: Page, tmp_path: Path
) -> None:
    page.goto(f"{served.url}/rollouts")
    page.get_by_label("Agent and version").select_option("policies strict")
    page.get_by_label("Steps in percent").fill("0, 50")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="policies: strict for 0 %").wait_for()
    assert page.get_by_text("Calls compared", exact=True).is_visible()
    with browsing(driver, tmp_path) as context:
        other = context.new_page()
        sign_in(other, served, served.token("otto", Role.OPERATOR))
        other.goto(f"{served.url}/rollouts")
        assert other.get_by_role("heading", name="policies: strict for 0 %").is_visible()
        assert other.get_by_role("form", name="Rollout of policies").count() == 0
        assert "policies strict" not in other.get_by_label("Agent and version").all_inner_texts()
    form = page.get_by_role("form", name="Rollout of policies")
    assert accessibility(page) == []
    form.get_by_role("button", name="Abort").click()
    page.locator("article", has_text="policies: strict").get_by_text("aborted").first.wait_for()


def test_an_agents_page_shows_its_health_with_evidence_and_steers_its_breaker(served: Served, page: Page) -> None:
    fails(served, "rogue", 2)
    page.goto(f"{served.url}/agents")
    page.get_by_role("link", name="rogue").click()
    page.wait_for_url("**/agents/rogue")
    assert page.get_by_text("Investigate recurring error patterns").first.is_visible()
    assert page.get_by_text("crashed: no room").first.is_visible()
    words = page.get_by_role("img", name=re.compile("^The last 24 hours")).get_attribute("aria-label") or ""
    assert re.search(r"\d+ failed; most of them at \d\d:00 UTC", words)
    form = page.get_by_role("form", name="Breaker of rogue")
    form.get_by_role("button", name="Cut off").click()
    page.get_by_text("cut off by hand").wait_for()
    page.get_by_role("form", name="Breaker of rogue").get_by_role("button", name="Reset").click()
    page.get_by_text("may run").wait_for()
    assert page.url.endswith("/agents/rogue")


def test_a_limit_is_changed_on_the_queues_page_and_taken_back(served: Served, page: Page) -> None:
    page.goto(f"{served.url}/queue")
    page.get_by_label("Most for per_agent").fill("7")
    page.get_by_role("button", name="Set per_agent").click()
    page.get_by_text("set by hand").wait_for()
    assert served.service.queue.limits()["per_agent"] == (7, "set by hand")
    page.get_by_role("button", name="As configured for per_agent").click()
    page.wait_for_function("!document.body.textContent.includes('set by hand')")
    assert served.service.queue.limits()["per_agent"][1] == "configured"


def test_the_first_page_answers_four_questions(served: Served, page: Page) -> None:
    run_id = served.submit(served.client("bob", Role.OPERATOR), "mail for the first page", "mailer")
    served.asked(run_id)
    page.goto(served.url)
    tiles = page.locator(".tile").all_inner_texts()
    assert [tile.split("\n")[0] for tile in tiles] == [
        "Is it safe?", "What runs?", "What waits for a person?", "What is firing?",
    ]  # fmt: skip
    assert re.search(r"\d+ questions?\n+\d+ of them you can answer", tiles[2])
    assert page.get_by_role("heading", name="Interlock itself").is_visible()
    served.agreed(run_id)


# What axe does not ask: whether it fits a phone, and whether a thumb hits it.
_CHECK = """() => {
  const wrong = [];
  const shown = (e) => e.getClientRects().length > 0 && !e.closest('.only-heard, .skip');
  if (document.querySelectorAll('h1').length !== 1) wrong.push('not one h1');
  for (const e of document.querySelectorAll('svg:not([aria-hidden])')) if (!e.getAttribute('aria-label')) wrong.push('picture without words');
  for (const e of document.querySelectorAll('table')) if (!e.caption) wrong.push('table without caption');
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth + 1)
    wrong.push('wider than the screen: ' + document.documentElement.scrollWidth);
  for (const e of document.querySelectorAll('button, .button'))
    if (shown(e) && e.getBoundingClientRect().height < 32) wrong.push('too small for a thumb: ' + e.outerHTML);
  return wrong;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_on_desk_and_phone(served: Served, page: Page, scheme: str) -> None:
    run_id = served.submit(served.client("bob", Role.OPERATOR), "mail for eyes and ears", "mailer")
    asked = served.asked(run_id)
    fails(served, "breaker", 4)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    addresses = (*PAGES, f"approvals/{asked.id}", f"runs/{run_id}", "runs/none", "login", "enter?link=x")
    for address in addresses:
        page.goto(f"{served.url}/{address}")
        only = () if scheme == "light" else ("color-contrast",)  # nothing else changes in the dark
        assert [*accessibility(page, only), *page.evaluate(_CHECK)] == [], address
    page.set_viewport_size(PHONE)
    for address in addresses if scheme == "light" else ():
        page.goto(f"{served.url}/{address}")
        assert page.evaluate(_CHECK) == [], f"{address} on a phone"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("a\u200bb", "a⟨U+200B⟩b"),
        ("a\u00a0b", "a⟨U+00A0⟩b"),
        ("a\x1b[31mb", "a⟨U+001B⟩[31mb"),
        ("a\ufe0fb", "a⟨U+FE0F⟩b"),
        ("a\U000e0041b", "a⟨U+E0041⟩b"),
        ("a\u3164b", "a⟨U+3164⟩b"),
        ("grüße, 你好, עברית", "grüße, 你好, עברית"),
    ],
)
def test_what_eyes_cannot_see_is_named(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_marks_are_put_around_evidence_and_nothing_else_becomes_markup() -> None:
    assert marked("<b> rm -rf / </b>", ["rm -rf /"]) == "&lt;b&gt; <mark>rm -rf /</mark> &lt;/b&gt;"
    assert marked("DELETE FROM athletes", ["DELETE athletes"]) == "<mark>DELETE</mark> FROM <mark>athletes</mark>"
    assert marked("harmless", ["", "…"]) == "harmless"


def test_a_diff_is_told_from_other_text_and_its_lines_from_each_other() -> None:
    diff = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n same"
    assert is_diff(diff)
    assert not is_diff("- a list\n- of things")
    assert [line.kind for line in diff_lines(diff)] == ["file", "file", "at", "del", "add", ""]
    assert re.fullmatch(r"… \d+ more lines .*", list(diff_lines("x\n" * 5000))[-1].text)
