"""The chat page in Chromium, for tests that use it as a person does."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
WAIT_MS = 40_000
WATCH = "addEventListener('securitypolicyviolation', e => console.error(e.violatedDirective))"


@contextmanager
def launched() -> Iterator[Browser]:
    """Debian's Chromium; Chrome on a Mac."""
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        if sys.platform == "darwin":
            browser = playwright.chromium.launch(channel="chrome")
        elif CHROMIUM.exists():
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        else:
            pytest.fail(f"{CHROMIUM} is missing; `scripts/setup dev` installs it.")
        yield browser
        browser.close()


def visit(browser: Browser, url: str, **options: Any) -> Page:
    """The page in a fresh profile, which waits long enough for a busy machine."""
    context = browser.new_context(**options)
    context.set_default_timeout(WAIT_MS)
    context.add_init_script(WATCH)
    page = context.new_page()
    page.goto(url)
    return page


def note_complaints(page: Page) -> list[str]:
    """What the browser complains of from now on: errors, warnings, the policy's violations."""
    complaints: list[str] = []
    bad = ("error", "warning")
    page.on("console", lambda m: complaints.append(m.text) if m.type in bad else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


def choose(page: Page, model: str) -> None:
    page.click("#model")
    page.locator("#models .model", has_text=model).click()


def set_up(page: Page, **fields: str) -> None:
    """Fill in the settings of the conversation, such as a temperature of 0."""
    page.click("#open-settings")
    for name, value in fields.items():
        page.fill(f"#{name}", value)
    page.get_by_role("button", name="Done").click()


def ask(page: Page, question: str) -> None:
    page.fill("#question", question)
    page.keyboard.press("Enter")


def answers(page: Page) -> Locator:
    return page.locator(".answer > .prose")
