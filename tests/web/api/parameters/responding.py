"""What shows that the fields of responses are honoured; and all that are."""

import time
from collections.abc import Callable
from typing import Any

from . import calling, constraining, drawing, thinking
from .asked_apis import TEXT_DELTA, Api, Chats, Reply, Responses
from .conversing import BEGUN
from .drawing import CONTEXT, DRAWING, Honoured, token

LOGPROBS = "message.output_text.logprobs"
SEALED = "reasoning.encrypted_content"
UNDER_WAY = ("queued", "in_progress")


def _of_responses(show: Callable[[Responses], None]) -> Callable[[Api], None]:
    """What shows something of this API alone."""

    def shown(api: Api) -> None:
        assert isinstance(api, Responses)
        show(api)

    return shown


def _fill(api: Api) -> dict[str, Any]:
    """An answer that is the same in any company."""
    return {"logit_bias": {str(token(api, "!")): 100}}


def input(api: Api) -> None:
    """A text, or items: what a chat says of the same."""
    reply = api.ask()
    assert api.ask(input="Good night").text != reply.text
    part = {"type": "input_text", "text": "hello"}
    for sent in ("hello", [part]):
        assert api.ask(input=[{"role": "user", "content": sent}]).content() == reply.content()
    chats = Chats(api.client)
    said = chats.ask(messages=BEGUN, max_tokens=api.num_tokens)
    goes_on = api.ask(input=BEGUN)
    assert goes_on.text == said.text and goes_on.num_prompt_tokens == said.num_prompt_tokens
    image = {"type": "input_image", "image_url": "data:image/png;base64,"}
    api.refused(input=[{"role": "user", "content": [image]}])


def instructions(api: Api) -> None:
    """Of one request: who goes on from it says them again."""
    plain, told = api.ask(), api.ask(instructions="Be brief.")
    assert told.num_prompt_tokens > plain.num_prompt_tokens and told.text != plain.text
    assert told.body["instructions"] == "Be brief." and plain.body["instructions"] is None
    fill = _fill(api)
    first, second = (api.ask(**fill, instructions=words) for words in (None, "Be brief."))
    lengths = {
        api.ask(**fill, previous_response_id=reply.body["id"]).num_prompt_tokens
        for reply in (first, second)
    }
    assert len(lengths) == 1


def previous_response_id(api: Api) -> None:
    """The same as sending all of it."""
    fill = _fill(api)
    first = api.ask(**fill)
    goes_on = api.ask(**fill, previous_response_id=first.body["id"], input="and then?")
    said = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": first.text},
        {"role": "user", "content": "and then?"},
    ]
    assert goes_on.content() == api.ask(**fill, input=said).content()
    assert goes_on.body["previous_response_id"] == first.body["id"]


def store(api: Responses) -> None:
    kept = api.ask(store=True).body
    assert kept["store"] and api.get(kept["id"]).json() == kept
    gone = api.ask(store=False).body
    assert not gone["store"] and api.get(gone["id"]).status_code == 404
    api.refused(previous_response_id=gone["id"])


def background(api: Responses) -> None:
    """Its answer is there to be asked for; nobody waits for it."""
    begun = api.post(background=True).json()
    assert begun["background"] and begun["status"] in UNDER_WAY
    whole = _when_over(api, begun["id"])
    assert whole.body["id"] == begun["id"] and whole.content() == api.ask().content()
    api.refused(store=False, background=True)


def _when_over(api: Responses, response_id: str) -> Reply:
    deadline = time.monotonic() + 60
    while (body := api.get(response_id).json())["status"] in UNDER_WAY:
        assert time.monotonic() < deadline, "it does not end"
        time.sleep(0.02)
    return api.read(body)


def resumable(api: Responses) -> None:
    """Who was cut off reads on from the last event that came."""
    long = {"max_output_tokens": 100}
    events = api.events_until(TEXT_DELTA, **long, resumable=True)
    last = events[-1]["sequence_number"]
    reply = api.get(events[0]["response"]["id"], stream=True, starting_after=last)
    rest = api.events_in(reply)
    assert [event["sequence_number"] for event in rest][:1] == [last + 1]
    assert api.text_of([*events, *rest]) == api.ask(**long).text


def truncation(api: Api) -> None:
    """The oldest is left out, where that is allowed."""
    talk = [{"role": "user", "content": "word " * (CONTEXT // 8)} for _ in range(10)]
    asked = {"model": "plain", "input": talk}
    response = api.post(**asked, truncation="disabled")
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"
    api.named(response.json()["error"], "input")
    assert CONTEXT // 2 < api.ask(**asked, truncation="auto").num_prompt_tokens < CONTEXT
    fits = api.ask(truncation="auto")
    assert fits.content() == api.ask().content() and fits.body["truncation"] == "auto"


def _probabilities(body: dict[str, Any]) -> list[dict[str, Any]]:
    scores: list[dict[str, Any]] = body["output"][0]["content"][0]["logprobs"]
    return scores


def top_logprobs(api: Api) -> None:
    scores = _probabilities(api.ask(top_logprobs=5).body)
    assert len(scores) == api.num_tokens
    for score in scores:
        others = score["top_logprobs"]
        assert len(others) == 5 and others[0]["logprob"] == score["logprob"]  # greedy
    assert not _probabilities(api.ask(top_logprobs=0).body)


def include(api: Responses) -> None:
    """When it is created, or when it is asked for again."""
    told = api.ask(include=[LOGPROBS]).body
    said = b"".join(bytes(score["bytes"]) for score in _probabilities(told))
    assert said.decode("utf-8", "replace") == api.read(told).text
    thinks = {"reasoning": {"effort": "low"}}
    (sealed,) = api.ask(**thinks, include=[SEALED]).body["output"]
    later = api.ask(**thinks).body
    assert "encrypted_content" not in later["output"][0]
    (item,) = api.get(later["id"], **{"include[]": [SEALED]}).json()["output"]
    assert item["encrypted_content"] == sealed["encrypted_content"]
    plain = api.ask(include=["file_search_call.results"]).body
    assert api.read(plain).content() == api.read(told).content()
    for names, status in (([LOGPROBS], 400), (["x"], 400), (["file_search_call.results"], 200)):
        assert api.get(plain["id"], **{"include[]": names}).status_code == status


def metadata(api: Responses) -> None:
    sent = {"project": "x"}
    body = api.ask(metadata=sent).body
    assert body["metadata"] == api.get(body["id"]).json()["metadata"] == sent


def stream_options(api: Api) -> None:
    whole = api.ask().text
    for is_hidden in (True, False):
        assert api.streamed(stream_options={"include_obfuscation": is_hidden}) == whole


RESPONSES = {name: probe for name, probe in DRAWING.items() if name != "max_tokens"} | {
    "input": Honoured(input, []),
    "instructions": Honoured(instructions, 5),
    "previous_response_id": Honoured(previous_response_id, "resp_unknown"),
    "store": Honoured(_of_responses(store), "yes"),
    "background": Honoured(_of_responses(background), "yes"),
    "resumable": Honoured(_of_responses(resumable), True),  # of no stream
    "truncation": Honoured(truncation, "middle"),
    "max_output_tokens": Honoured(drawing.max_tokens, 15),
    "stop": Honoured(drawing.stop, [""]),
    "top_logprobs": Honoured(top_logprobs, 21),
    "include": Honoured(_of_responses(include), ["everything"]),
    "metadata": Honoured(_of_responses(metadata), {"a": 1}),
    "stream_options": Honoured(stream_options, {"include_obfuscation": True}),  # of no stream
    "text": Honoured(constraining.text, {"format": {"type": "xml"}}),
    "tools": Honoured(calling.response_tools, [{"type": "file_search"}]),
    "tool_choice": Honoured(calling.tool_choice, {"type": "mcp"}),
    "parallel_tool_calls": Honoured(calling.parallel_tool_calls, 1),
    "reasoning": Honoured(thinking.response_reasoning, {"effort": "much"}),
    "enable_thinking": Honoured(thinking.enable_thinking, "yes"),
    "thinking_budget": Honoured(thinking.thinking_budget, -1),
    "chat_template_kwargs": Honoured(thinking.chat_template_kwargs, {"date": "today"}),
}
