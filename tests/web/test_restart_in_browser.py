"""Tests of the page when the engine dies under an answer: it goes on, and a note says so."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.chat_page import answers, ask, choose, launched, note_complaints, set_up, visit
from tests.models.tiny_models import make_llama
from tests.serving import ServerProcess, link_model

pytestmark = pytest.mark.slow

_HEAR = """new MutationObserver(() => (window.heard ??= []).push(announcer.textContent))
    .observe(announcer, { childList: true })"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


def test_a_killed_engine_costs_a_pause(browser: Browser, tmp_path: Path) -> None:
    """The story is the undisturbed one; the note is said once, shown, and still there later."""
    link_model(tmp_path / "home", "tiny", make_llama(tmp_path / "tiny"))
    with ServerProcess(tmp_path / "home") as server:
        page = visit(browser, server.url)
        complaints = note_complaints(page)
        choose(page, "tiny")
        set_up(page, **{"temperature": "0", "max-tokens": "2000"})
        # No token of this answer leads by less than 0.003, so no rounding makes it another.
        ask(page, "What is a fox?")
        expect(page.locator(".stats")).to_contain_text("2,000 tokens")
        undisturbed = answers(page).inner_text()
        note = page.get_by_role("note")
        expect(note).to_have_count(0)
        page.evaluate(_HEAR)
        page.get_by_label("Answer again").click()
        expect(answers(page)).to_have_text(re.compile("^.{80}", re.DOTALL))
        (engine,) = server.engines()
        os.kill(engine.pid, signal.SIGKILL)
        expect(note).to_contain_text("The engine stopped and was started again")
        expect(page.locator(".stats")).to_contain_text("2,000 tokens")
        assert answers(page).inner_text() == undisturbed
        assert page.evaluate("heard")[0] == note.inner_text()
        page.reload()
        expect(note).to_be_visible()
        page.get_by_label("Answer again").click()
        expect(note).to_have_count(0)
        page.get_by_label("Stop").click()
        page.context.close()
        assert not complaints
        server.wait_until_empty()
