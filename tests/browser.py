"""Debian's Chromium, driven headless, for the tests of the dashboard."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, ViewportSize

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
_ARGS = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-default-browser-check", "--disable-default-apps", "--disable-extensions", "--no-proxy-server",
]  # fmt: skip
DESK: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}


def need_chromium() -> None:
    """Skip where there is no browser; in CI that is a failure."""
    if CHROMIUM:
        return
    why = "there is no chromium: apt-get install --no-install-recommends chromium fonts-dejavu-core"
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


_RUN_AXE = """async (only) => {
  for (const one of document.querySelectorAll('details')) one.open = true;
  const said = await axe.run({resultTypes: ['violations'], ...(only.length ? {runOnly: {type: 'rule', values: only}} : {})});
  return said.violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html.slice(0, 200)}`));
}"""


@functools.cache
def _axe() -> str:
    place = resources.files("axe_playwright_python").joinpath("axe.min.js")
    return place.read_text(encoding="utf-8")


def accessibility(page: Page, only: Sequence[str] = ()) -> list[str]:
    """What axe-core finds wrong with the page, with everything unfolded; ``only`` these of its rules."""
    page.evaluate(_axe())  # by the debugger: the page's own policy would let no script in
    found: list[str] = page.evaluate(_RUN_AXE, list(only))
    return found


@contextlib.contextmanager
def browsing(
    driver: Playwright, profile: Path, *, viewport: ViewportSize = DESK, dark: bool = False, scripts: bool = True
) -> Iterator[BrowserContext]:
    """A browser with a profile of its own, until the block ends."""
    context = driver.chromium.launch_persistent_context(
        str(profile), executable_path=CHROMIUM, headless=True, chromium_sandbox=False, args=_ARGS, viewport=viewport,
        color_scheme="dark" if dark else "light", java_script_enabled=scripts, reduced_motion="reduce",
    )  # fmt: skip
    context.set_default_timeout(30_000)
    try:
        yield context
    finally:
        context.close()
