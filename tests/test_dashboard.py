"""The dashboard in a real browser: an operator sees, decides and steers, and hostile text stays text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, sync_playwright

from browser import PHONE, browsing, need_chromium
from interlock.decide.breaker import Force
from interlock.model.approval import ApprovalState
from interlock.model.identity import Role
from interlock.model.run import OutcomeKind, RunState
from interlock.surfaces.web.visible import diff_lines, is_diff, marked, visible
from served import HOSTILE, Served, serving

PAGES = ("", "runs", "approvals", "approvals?all=true", "queue", "agents", "ledger", "policies", "check", "tokens")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    need_chromium()
    with serving(tmp_path_factory.mktemp("dashboard") / "project") as running:
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
    assert served.service.find_approval(asked.id).state is ApprovalState.DENIED
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
    served.service.force_breaker("breaker", Force.OPEN, reason="a word to find", actor="ann")
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


# What axe would ask first: names, labels, order of headings, contrast, room for a thumb.
_CHECK = """() => {
  const wrong = [];
  const shown = (e) => e.getClientRects().length > 0 && !e.closest('.only-heard, .skip');
  if (!document.documentElement.lang) wrong.push('no language');
  if (document.querySelectorAll('h1').length !== 1) wrong.push('not one h1');
  if (document.querySelectorAll('main').length !== 1) wrong.push('not one main');
  let last = 0;
  for (const h of document.querySelectorAll('h1, h2, h3')) {
    if (!shown(h)) continue;
    const level = Number(h.tagName[1]);
    if (level > last + 1) wrong.push('heading jumps: ' + h.textContent);
    last = level;
  }
  for (const e of document.querySelectorAll('input:not([type=hidden]), select, textarea'))
    if (!e.labels.length && !e.getAttribute('aria-label')) wrong.push('no label: ' + e.outerHTML);
  for (const e of document.querySelectorAll('a, button'))
    if (!e.textContent.trim() && !e.getAttribute('aria-label')) wrong.push('no name: ' + e.outerHTML);
  for (const e of document.querySelectorAll('svg')) if (!e.getAttribute('aria-label')) wrong.push('picture without words');
  for (const e of document.querySelectorAll('table')) if (!e.caption) wrong.push('table without caption');
  for (const e of document.querySelectorAll('[id]'))
    if (document.querySelectorAll('#' + CSS.escape(e.id)).length > 1) wrong.push('id twice: ' + e.id);
  const numbers = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] === 1) return c; } return [255, 255, 255]; };
  for (const e of document.querySelectorAll('body *')) {
    if (e.closest('svg') || !shown(e) || e.disabled || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const a = light(numbers(getComputedStyle(e).color)), b = light(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) wrong.push('contrast ' + ratio.toFixed(2) + ': ' + e.outerHTML.slice(0, 120));
  }
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
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    for address in (*PAGES, f"approvals/{asked.id}", f"runs/{run_id}", "runs/none", "login", "enter?link=x"):
        page.goto(f"{served.url}/{address}")
        assert page.evaluate(_CHECK) == [], address
    page.set_viewport_size(PHONE)
    for address in (*PAGES, f"approvals/{asked.id}", f"runs/{run_id}", "login"):
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
