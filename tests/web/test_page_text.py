"""Tests of what the chat page makes of a model's text, on a chat socket that the test plays."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, WebSocketRoute, expect

from tests.chat_page import answers, ask, launched, note_complaints, visit
from tests.serving import ServerProcess

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that must not complain."""
    page = visit(browser, "about:blank", viewport={"width": 1280, "height": 800})
    complaints = note_complaints(page)
    yield page
    page.context.close()
    assert not complaints


def play(page: Page, url: str, answer: Callable[[dict[str, Any]], list[dict[str, Any]]]) -> None:
    """Open the page on a server whose chat socket says what the test wants it to."""

    def serve(socket: WebSocketRoute) -> None:
        def receive(text: str | bytes) -> None:
            message = json.loads(text)
            if message["type"] == "auth":
                return socket.send('{"type":"auth.ok"}')
            for frame in answer(message):
                socket.send(json.dumps({"stream_id": message["stream_id"], **frame}))

        socket.on_message(receive)

    page.route_web_socket("**/v1/chat/completions", serve)
    page.goto(url)


def says(text: str) -> list[dict[str, Any]]:
    chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    done = {"type": "chat.completion.done", "finish_reason": "stop", "cancelled": False}
    return [{"type": "chat.completion.chunk", **chunk}, done]


def test_what_is_said_stays_text(page: Page, server: ServerProcess) -> None:
    """No HTML of a model or a person is parsed, no link leads out of the web."""
    evil = "<img src=x onerror=\"document.title='gone'\"> <script>document.title='gone'</script>"
    text = f"{evil}\n\n# {evil}\n\n- **{evil}**\n\n```html\n{evil}\n```\n\n[a](javascript:alert(1))"
    text += ' [b](https://example.org/?q="><b>) `' + evil + "`\n\n| a |\n|---|\n| <b>x</b> |"
    play(page, server.url, lambda _: says(text))
    ask(page, evil)
    expect(page.locator(".bubble")).to_have_text(evil)
    expect(page.locator(".answer pre code")).to_have_text(evil)
    assert page.locator("#transcript :is(img, script, b)").count() == 0
    links = page.locator(".answer a")
    assert [link.get_attribute("rel") for link in links.all()] == ["noopener noreferrer"]
    assert page.title() != "gone"


def test_a_question_before_the_models_are_listed(page: Page, server: ServerProcess) -> None:
    """It waits for the list, and is lost nowhere."""
    held: list[Route] = []
    page.route("**/v1/models", lambda route: held.append(route))
    play(page, server.url, lambda _: says("Here."))
    ask(page, "Early?")
    for route in held:
        route.continue_()
    page.unroute("**/v1/models")
    expect(answers(page)).to_have_text("Here.")
    expect(page.locator(".bubble")).to_have_text("Early?")


def test_markdown(page: Page, server: ServerProcess) -> None:
    """What models use of it; a text that is made to be slow is shown all the same."""
    text = "## Head\n\nSome *slanted*, **bold `code`** text.\n1. one\n2. two\n   - inner\n\n> said"
    slow = "*a **b _c `d [e " * 2000 + "> " * 500
    play(page, server.url, lambda _: says(f"{text}\n\n{slow}\n\n```py\nx = '```'\n```\nend"))
    ask(page, "Go on.")
    expect(answers(page)).to_contain_text("end")
    for selector, inside in {
        "h4": "Head", "em": "slanted", "strong code": "code", "ol > li:nth-child(2) ul li": "inner",
        "blockquote p": "said", "pre code": "x = '```'",
    }.items():  # fmt: skip
        expect(page.locator(f".answer {selector}").first).to_have_text(inside)


def thinks(thought: str, text: str) -> list[dict[str, Any]]:
    delta = {"role": "assistant", "reasoning_content": thought}
    chunk = {"index": 0, "delta": delta, "finish_reason": None}
    return [{"type": "chat.completion.chunk", "choices": [chunk]}, *says(text)]


@pytest.mark.parametrize(
    "told",
    [thinks("A capital, hm.", "Paris."), says("<think>\nA capital, hm.\n</think>\n\nParis.")],
    ids=["apart", "in tags"],
)
def test_thoughts_are_folded_away(
    page: Page, server: ServerProcess, told: list[dict[str, Any]]
) -> None:
    """What is thought is not the answer: not shown, not copied, not sent again."""
    asked: list[Any] = []

    def answer(message: dict[str, Any]) -> list[dict[str, Any]]:
        asked.append(message["messages"])
        return told

    play(page, server.url, answer)
    ask(page, "The capital of France?")
    expect(page.locator(".answer > .prose")).to_have_text("Paris.")
    expect(page.get_by_text("A capital, hm.")).to_be_hidden()
    page.get_by_text("Thoughts").click()
    expect(page.get_by_text("A capital, hm.")).to_be_visible()
    ask(page, "And of Japan?")
    expect(page.locator(".answer > .prose")).to_have_count(2)
    assert asked[1][1] == {"role": "assistant", "content": "Paris."}


def test_thoughts_are_shown_while_they_come(page: Page, server: ServerProcess) -> None:
    """Under a name that says that it still thinks; the wait before it is over."""
    (thought, *_) = thinks("A capital, hm.", "")
    play(page, server.url, lambda _: [thought])
    ask(page, "The capital of France?")
    page.get_by_text("Thinking…").click()
    expect(page.get_by_text("A capital, hm.")).to_be_visible()
    expect(page.locator(".stage")).to_be_hidden()


def test_an_answer_that_pauses_keeps_its_text(page: Page, server: ServerProcess) -> None:
    """What comes on meanwhile is told below it, as before a first word; the note stays."""
    (begun, _), (rest, done) = says("Once upon"), says(" a time.")
    stages: list[dict[str, Any]] = [
        {"stage": "restarted", "reason": "signal SIGKILL", "tokens": 2},
        {"stage": "queued", "position": 0},
        {"stage": "loading", "progress": 0.4, "loaded_bytes": 4, "total_bytes": 10},
    ]
    asked: list[dict[str, Any]] = []

    def answer(message: dict[str, Any]) -> list[dict[str, Any]]:
        asked.append(message)
        if message["type"] == "chat.completion.cancel":
            return [rest, done]
        return [begun, *({"type": "progress"} | stage for stage in stages)]

    play(page, server.url, answer)
    ask(page, "A story!")
    expect(page.locator(".stage")).to_have_text("Loading pocket · 40 %")
    expect(answers(page)).to_have_text("Once upon")
    expect(page.get_by_role("note")).to_be_visible()
    page.get_by_label("Stop").click()
    expect(answers(page)).to_have_text("Once upon a time.")
    expect(page.locator(".stage")).to_be_hidden()
    expect(page.get_by_role("note")).to_be_visible()
    ask(page, "And then?")
    expect(answers(page)).to_have_count(2)
    assert asked[-1]["messages"][1] == {"role": "assistant", "content": "Once upon a time."}


def test_the_theme_is_kept(page: Page, server: ServerProcess) -> None:
    """It follows the system until it is toggled."""
    page.emulate_media(color_scheme="dark")
    page.goto(server.url)
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_label("Dark or light").click()
    light = page.evaluate(background)
    page.reload()
    assert dark != light == page.evaluate(background)


def test_a_fast_model_does_not_choke_the_page(page: Page, server: ServerProcess) -> None:
    """Tokens that come at once are drawn together, and the reader may scroll meanwhile."""
    play(page, server.url, lambda _: [*[says("word ")[0]] * 3000, says("last.")[0], says("")[1]])
    ask(page, "Hurry.")
    expect(answers(page)).to_have_text(re.compile(r"last\.$"))
    page.locator(".bubble").hover()
    expect(page.get_by_label("To the latest message")).to_be_visible()
    page.get_by_label("To the latest message").click()
    expect(page.get_by_label("To the latest message")).to_be_hidden()
    page.mouse.wheel(0, -2000)
    expect(page.get_by_label("To the latest message")).to_be_visible()
