"""Tests of the chat page as a person uses it: Chromium, the real server, the built-in Pocket."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from registry.checkpoint.verify import Verified
from registry.store import choice
from registry.store.record import Source
from registry.store.store import Store
from tests.chat_page import answers, ask, choose, launched, note_complaints, set_up, visit
from tests.hub.hub_faults import Slow, Stall
from tests.hub.hub_server import HubServer
from tests.models.tiny_models import make_llama
from tests.serving import ROOT, ServerProcess, link_model
from tests.store_client import start, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, hub: HubServer) -> Iterator[ServerProcess]:
    """Pocket; `tiny`, which talks without end; `short`, which reads 64 tokens; an encoder."""
    folder: Path = tmp_path_factory.mktemp("page")
    home = folder / "home"
    for name, context in (("tiny", 8192), ("short", 64)):
        link_model(home, name, make_llama(folder / name, max_position_embeddings=context))
    warm = make_llama(folder / "warm")
    (warm / "generation_config.json").write_text('{"temperature": 0.25}')
    link_model(home, "warm", warm)
    encoder = Verified("embed", "bert", 512, 1, 1, None, time.time())
    source = Source("folder", str(folder / "tiny"))
    Store(home).publish_link("encoder", folder / "tiny", source=source, verified=encoder)
    with start(home, hub) as process:
        yield process


@pytest.fixture
def page(browser: Browser, served: ServerProcess) -> Iterator[Page]:
    """A page that must not complain, nor leave a request behind."""
    page = visit(browser, "about:blank", viewport={"width": 1280, "height": 800})
    complaints = note_complaints(page)
    page.goto(served.url)
    yield page
    page.context.close()
    assert not complaints
    served.wait_until_empty()


def test_load_chat_and_unload(page: Page) -> None:
    """Encoders are not offered; memory and speed are shown; a reload keeps what was said."""
    expect(page.locator("#model-name")).to_have_text("pocket")
    page.click("#model")
    expect(page.locator("#models .model")).to_have_count(4)
    expect(page.locator("#models")).not_to_contain_text("encoder")
    page.get_by_role("button", name="Load pocket", exact=True).click()
    expect(page.locator("#model-state")).to_have_text(re.compile(r"^\d+ MB in memory$"))
    page.locator("#models .model", has_text="pocket").click()
    set_up(page, temperature="0")
    page.get_by_role("button", name="Write code").click()
    expect(page.locator(".answer pre")).to_contain_text("def is_prime")
    expect(page.locator(".stats")).to_have_text(
        re.compile(r"pocket · [\d,]+ tokens/s · first after .+s · \d+ tokens")
    )
    expect(page.locator("#memory-words")).to_have_text(re.compile(r"^\d+ MB of [\d.]+ GB$"))
    expect(page.locator("#cached-words")).to_have_text("0 % cached")
    ask(page, "And in another language?")
    expect(page.locator("#cached-words")).to_have_text(re.compile(r"^[1-9]\d % cached$"))
    expect(page.locator("#cached")).to_have_attribute("title", re.compile("were in memory already"))
    page.reload()
    expect(page.locator(".answer pre").first).to_contain_text("def is_prime")
    expect(page.locator(".conversation .title")).to_contain_text("How do I check")
    page.click("#model")
    page.get_by_role("button", name="Unload pocket").click()
    expect(page.locator(".notice")).to_contain_text("came back")
    expect(page.locator("#model-state")).to_have_text("not loaded")


def test_stop(page: Page, served: ServerProcess) -> None:
    """By the button and by Escape: the text stays, the row is gone, and it can go again."""
    choose(page, "tiny")
    ask(page, "Talk without end.")
    expect(answers(page)).to_have_text(re.compile(".{80}", re.DOTALL))
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("You stopped this answer.")).to_be_visible()
    served.wait_until_empty()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#stop")).to_be_visible()
    expect(answers(page)).to_have_text(re.compile(".{80}", re.DOTALL))
    page.keyboard.press("Escape")
    expect(page.get_by_text("You stopped this answer.")).to_be_visible()
    expect(page.locator("#send")).to_be_visible()


def test_two_conversations_at_once(page: Page, served: ServerProcess) -> None:
    """Each goes on while the other is shown; one that ends unseen is marked."""
    choose(page, "tiny")
    ask(page, "The first one.")
    expect(answers(page)).to_have_text(re.compile(".{20}", re.DOTALL))
    page.keyboard.press("Control+k")
    ask(page, "The second one.")
    expect(answers(page)).to_have_text(re.compile(".{20}", re.DOTALL))
    expect(page.locator(".mark.is-running")).to_have_count(2)
    assert served.num_rows() == 2
    page.get_by_role("button", name="The first one.").click()
    length = len(answers(page).inner_text())
    wait_until(lambda: len(answers(page).inner_text()) > length + 20)
    page.keyboard.press("Escape")
    expect(page.locator(".mark.is-running")).to_have_count(1)
    page.locator(".conversation", has_text="The second one.").hover()
    page.locator(".conversation", has_text="The second one.").get_by_label("Delete").click()
    expect(page.locator(".conversation")).to_have_count(1)
    served.wait_until_empty()
    page.get_by_role("button", name="Undo").click()
    expect(answers(page)).not_to_be_empty()
    page.locator(".conversation.is-shown").hover()
    page.locator(".conversation.is-shown").get_by_label("Rename").click()
    page.keyboard.type("A better name")
    page.keyboard.press("Enter")
    expect(page.locator(".is-shown .title")).to_have_text("A better name")


def test_what_has_not_begun_follows_the_default(browser: Browser, tmp_path: Path) -> None:
    """A conversation keeps its model; what was picked here holds until another is chosen."""
    home = tmp_path / "home"
    for name in ("first", "second"):
        link_model(home, name, make_llama(tmp_path / name))
    with ServerProcess(home) as server:
        page = visit(browser, server.url)
        shown = page.locator("#model-name")
        expect(shown).to_have_text("pocket")
        choice.choose(home, "first")
        page.reload()
        expect(shown).to_have_text("first")
        choice.choose(home, "second")
        page.click("#model")  # looks again
        expect(shown).to_have_text("second")
        page.keyboard.press("Escape")
        set_up(page, **{"max-tokens": "4"})
        ask(page, "Hello")
        expect(page.locator(".stats")).to_contain_text("second")
        choice.choose(home, "first")
        page.click("#model")
        expect(page.locator("#models .model")).to_have_count(3)
        page.keyboard.press("Escape")
        expect(shown).to_have_text("second")
        page.keyboard.press("Control+k")
        expect(shown).to_have_text("first")
        choose(page, "pocket")
        page.reload()
        expect(shown).to_have_text("pocket")
        choice.choose(home, "second")
        page.reload()
        expect(shown).to_have_text("second")
        page.context.close()


def test_edit_and_answer_again(page: Page) -> None:
    """The last question is replaced, and so is the last answer; the settings stay as set."""
    choose(page, "pocket")
    set_up(page, temperature="0", system="You are a helpful geography assistant.")
    ask(page, "What is the capital of Japan?")
    expect(answers(page)).to_contain_text("Tokyo")
    page.locator(".question").hover()
    page.get_by_label("Edit and send again").click()
    expect(page.locator("#question")).to_have_value("What is the capital of Japan?")
    ask(page, "What is the capital of France?")
    expect(answers(page)).to_contain_text("Paris")
    expect(page.locator(".question")).to_have_count(1)
    before = answers(page).element_handle()
    page.get_by_label("Answer again").click()
    expect(page.locator(".stats")).to_be_visible()
    assert not before.is_visible()
    expect(answers(page)).to_have_count(1)
    page.reload()
    page.click("#open-settings")
    expect(page.locator("#temperature-shown")).to_have_text("0.0")


def test_what_nobody_set_is_the_models_own(page: Page) -> None:
    """It is shown and not sent; one that is set does not set the other; Reset leaves it again."""
    sent: list[dict[str, Any]] = []

    def note(frame: str | bytes) -> None:
        message: dict[str, Any] = json.loads(frame)
        if message["type"] == "chat.completion.create":
            sent.append(message)

    page.on("websocket", lambda socket: socket.on("framesent", note))
    page.reload()
    choose(page, "warm")
    page.click("#open-settings")
    expect(page.locator("#temperature-shown")).to_have_text("0.25, the model's own")
    expect(page.locator("#top-p-shown")).to_have_text("1, the model's own")
    page.fill("#max-tokens", "3")
    page.get_by_role("button", name="Done").click()
    ask(page, "hello")
    expect(page.locator(".stats")).to_be_visible()
    assert not {"temperature", "top_p"} & sent[-1].keys() and sent[-1]["max_tokens"] == 3
    set_up(page, temperature="0.5")
    ask(page, "and again")
    expect(page.locator(".stats")).to_have_count(2)
    assert sent[-1]["temperature"] == 0.5 and "top_p" not in sent[-1]
    page.click("#open-settings")
    expect(page.locator("#temperature-shown")).to_have_text("0.5")
    page.click("#reset-settings")
    expect(page.locator("#temperature-shown")).to_have_text("0.25, the model's own")


def test_pull_from_the_hub(page: Page, hub: HubServer, folder: Path) -> None:
    """Its progress is shown, it can be cancelled and goes on, and in the end it chats."""
    hub.add_folder("org/pulled", folder)
    hub.misbehave("model.safetensors", Stall(100_000), times=1)
    page.get_by_role("button", name="Get models").click()
    page.fill("#pull-repo", "org/pulled")
    page.get_by_role("button", name="Pull", exact=True).click()
    row = page.locator(".pull[data-model='org/pulled']")
    expect(row).to_have_attribute("data-state", "running")
    expect(row.locator("small")).to_contain_text(re.compile(r"\d+ % · "))
    row.get_by_role("button", name="Cancel").click()
    expect(row.locator("small")).to_contain_text("Cancelled")
    hub.misbehave("model.safetensors", Slow(0.02), times=1)
    row.get_by_role("button", name="Pull").click()
    expect(row).to_have_attribute("data-state", "here")
    row.get_by_role("button", name="Chat").click()
    expect(page.locator("#model-name")).to_have_text("pulled")
    page.get_by_role("button", name="Get models").click()
    page.fill("#pull-repo", "org/none")
    page.get_by_role("button", name="Pull", exact=True).click()
    expect(page.locator(".pull[data-model='org/none'] .failure")).to_be_visible()


def test_an_error_says_what_to_do(page: Page) -> None:
    choose(page, "short")
    ask(page, "word " * 200)
    expect(page.get_by_role("alert")).to_contain_text("too long for this model")
    page.get_by_role("button", name="New chat").last.click()
    expect(page.locator("#welcome")).to_be_visible()


def test_phone(browser: Browser, served: ServerProcess) -> None:
    """Nothing is wider than the screen; the list is a drawer."""
    screen: Any = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = visit(browser, served.url, **screen)
    choose(page, "pocket")
    ask(page, "Write a Python function to check if a number is prime.")
    expect(page.locator(".stats")).to_be_visible()
    expect(page.locator("#new-chat")).not_to_be_in_viewport()
    page.get_by_label("List of conversations").tap()
    expect(page.locator("#new-chat")).to_be_in_viewport()
    page.locator("#new-chat").tap()
    expect(page.locator("#welcome")).to_be_visible()
    page.get_by_text("Use it from your own code").tap()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.locator("#open-settings").tap()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.context.close()


def test_another_key_is_asked_for_once(browser: Browser, tmp_path: Path) -> None:
    """A wrong one is told so; the right one is kept, and serves the sockets too."""
    with ServerProcess(tmp_path / "home", "--api-key", "key:7/=") as server:
        page = visit(browser, server.url)
        expect(page.get_by_role("dialog")).to_contain_text("This server has a key")
        page.fill("#key-field", "wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_text("does not know this key")).to_be_visible()
        page.fill("#key-field", "key:7/=")
        page.keyboard.press("Enter")
        expect(page.locator("#model-name")).to_have_text("pocket")
        page.reload()
        set_up(page, temperature="0")
        ask(page, "What is the capital of Japan?")
        expect(answers(page)).to_contain_text("Tokyo")
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.context.close()


def test_a_restart_of_the_server(browser: Browser, tmp_path: Path) -> None:
    """It is seen, the answer is marked, and the page comes back by itself."""
    home = tmp_path / "home"
    link_model(home, "tiny", make_llama(tmp_path / "tiny"))
    with ServerProcess(home) as server:
        page, port = visit(browser, server.url), server.port
        choose(page, "tiny")
        ask(page, "Talk without end.")
        expect(answers(page)).to_have_text(re.compile(".{20}", re.DOTALL))
        server.process.kill()
        expect(page.get_by_text("Reconnecting…")).to_be_visible()
        expect(page.get_by_text("The connection broke")).to_be_visible()
    page.get_by_role("button", name="Try again").click()  # waits for the server
    with ServerProcess(home, "--port", str(port)):
        expect(page.get_by_text("Reconnecting…")).to_be_hidden()
        expect(answers(page)).to_have_text(re.compile(".{20}", re.DOTALL))
        page.context.close()


def test_the_snippet_of_the_readme(page: Page, served: ServerProcess) -> None:
    """A page's own ten lines reach the socket, and show an answer."""
    readme = (ROOT / "README.md").read_text()
    host = f"127.0.0.1:{served.port}"
    (snippet,) = re.findall(r"```javascript\n(const socket = .*?)```", readme, re.DOTALL)
    page.evaluate("() => {" + snippet.replace("127.0.0.1:8083", host) + "}")
    text = "[...document.body.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data)"
    wait_until(lambda: len("".join(page.evaluate(text)).strip()) > 30)  # an answer, not the page
