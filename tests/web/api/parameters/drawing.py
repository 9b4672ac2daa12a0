"""What shows that a parameter of drawing is honoured, on any of the four APIs."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx

from .asked_apis import Api, Chats

EOS = 2
CONTEXT = 2048  # of `plain`
LOUD = {"temperature": 2, "min_p": 0, "top_p": 1, "top_k": 0}
NUM_TOKENS = 40


class Honoured(NamedTuple):
    """A parameter that does something."""

    show: Callable[[Api], None]  # asserts what it does
    wrong: Any  # a value that is a 400


def token(api: Api, text: str) -> int:
    """The one token of a text."""
    body = {"model": "tiny", "prompt": text}
    response = api.client.post("/tokenize", json=body, headers=api.headers)
    (number,) = response.json()["tokens"]
    return int(number)


def model(api: Api) -> None:
    assert api.ask().body["model"] == "tiny"
    assert api.post(model="nobody").status_code == 404


def temperature(api: Api) -> None:
    cold, warm = (
        {api.ask(**LOUD | {"temperature": value}, seed=seed).text for seed in range(3)}
        for value in (0, 2)
    )
    assert len(cold) == 1 and len(warm) == 3


def _only_the_likeliest(name: str, value: float) -> Callable[[Api], None]:
    def show(api: Api) -> None:
        greedy = api.ask().text
        asked = LOUD | {"seed": 1}
        assert api.ask(**asked).text != greedy
        assert api.ask(**asked | {name: value}).text == greedy

    return show


def _of_what_was_drawn(name: str, value: float, neutral: float) -> Callable[[Api], None]:
    def show(api: Api) -> None:
        plain = api.ask(max_tokens=NUM_TOKENS).text
        assert api.ask(max_tokens=NUM_TOKENS, **{name: value}).text != plain
        assert api.ask(max_tokens=NUM_TOKENS, **{name: neutral}).text == plain

    return show


def logit_bias(api: Api) -> None:
    mark = token(api, "!")
    assert api.ask(logit_bias={str(mark): 100}).text == "!" * api.num_tokens
    assert "!" not in api.ask(logit_bias={str(mark): -100}).text
    api.refused(logit_bias={"100000": 1})  # no token of this model


def seed(api: Api) -> None:
    first, again, other = (api.ask(**LOUD, seed=number).text for number in (7, 7, 8))
    assert first == again != other


def max_tokens(api: Api) -> None:
    name, longer = api.lengths[0], api.num_tokens + 1
    reply = api.ask(**{name: longer})
    assert (reply.num_tokens, reply.reason) == (longer, api.ending["length"])
    cut = api.ask(**{name: 10**9}, ignore_eos=True, model="plain")
    assert cut.num_prompt_tokens + cut.num_tokens == CONTEXT


def stop(api: Api, name: str = "stop") -> None:
    whole = api.ask().text
    word = whole[2:4]
    for sent in ([word], ["never said", word]) if name == "stop_sequences" else (word, [word]):
        reply = api.ask(**{name: sent})
        assert reply.text == whole[: whole.index(word)]
        assert reply.reason == api.ending["sequence"]


def stop_token_ids(api: Api) -> None:
    mark = token(api, "!")
    reply = api.ask(logit_bias={str(mark): 100}, stop_token_ids=[mark])
    assert (reply.text, reply.reason) == ("", api.ending["stop"])


ENDS = {"logit_bias": {str(EOS): 100}}  # the model's own end is what it wants most


def min_tokens(api: Api) -> None:
    assert api.ask(**ENDS).text == ""
    assert api.ask(**ENDS, min_tokens=5).num_tokens >= 5


def ignore_eos(api: Api) -> None:
    assert api.ask(**ENDS).reason == api.ending["stop"]
    reply = api.ask(**ENDS, ignore_eos=True)
    assert (reply.num_tokens, reply.reason) == (api.num_tokens, api.ending["length"])


def loop_guard(api: Api) -> None:
    looping = {"logit_bias": {str(token(api, "!")): 100}, "max_tokens": 200}
    assert api.ask(**looping).num_tokens == 200
    reply = api.ask(**looping, loop_guard=True)
    assert reply.reason == api.ending["stop"] and reply.num_tokens < 200


def stream(api: Api) -> None:
    assert api.streamed() == api.ask(stream=False).text


def _of_tiny(api: Api, name: str) -> Any:
    return api.client.get("/v1/models/tiny", headers=api.headers).json()[name]


def keep_alive(api: Api) -> None:
    api.ask(keep_alive="2h")
    assert 7000 < _of_tiny(api, "expires_in_s") <= 7200
    api.ask(keep_alive=-1)
    assert _of_tiny(api, "expires_in_s") is None


def priority(api: Api) -> None:
    """Two rows are all there are: one in the background makes room, and goes on afterwards."""
    long = {"model": "tiny", "max_tokens": 8000, "temperature": 0, "stream": True}
    interactive = httpx.Client(base_url=api.client.base_url, headers=Chats.headers)
    before = _of_tiny(api, "num_continued")
    fill = {"logit_bias": {str(token(api, "!")): 100}}
    behind = long | api.said | fill | {"priority": "background"}
    with (
        interactive,
        api.client.stream("POST", api.path, json=behind, headers=api.headers) as background,
        interactive.stream("POST", Chats.path, json=long | Chats.said | fill) as other,
    ):
        streams = [background.iter_lines(), other.iter_lines()]  # one that is dropped ends
        for lines in streams:
            next(line for line in lines if "!" in line)
        assert Chats(interactive).ask().num_tokens == Chats.num_tokens
        deadline = time.monotonic() + 60
        while _of_tiny(api, "num_continued") == before:
            assert time.monotonic() < deadline, "it was not set aside, or does not go on"
            time.sleep(0.02)


def max_ttft_ms(api: Api) -> None:
    api.ask(**api.question("word " * 200))  # now it is known how fast it reads
    api.ask(max_ttft_ms=600_000)
    response = api.post(max_ttft_ms=0.001)
    assert response.status_code == 503 and "max_ttft_ms" in response.text


DRAWING: dict[str, Honoured] = {
    "model": Honoured(model, ""),
    "temperature": Honoured(temperature, 2.1),
    "top_p": Honoured(_only_the_likeliest("top_p", 0), 1.1),
    "top_k": Honoured(_only_the_likeliest("top_k", 1), -2),
    "min_p": Honoured(_only_the_likeliest("min_p", 1), 1.1),
    "presence_penalty": Honoured(_of_what_was_drawn("presence_penalty", 2, 0), 2.1),
    "frequency_penalty": Honoured(_of_what_was_drawn("frequency_penalty", 2, 0), -2.1),
    "repetition_penalty": Honoured(_of_what_was_drawn("repetition_penalty", 10, 1), 0),
    "logit_bias": Honoured(logit_bias, {"5": 101}),
    "seed": Honoured(seed, 2**63),
    "max_tokens": Honoured(max_tokens, -1),
    "stop_token_ids": Honoured(stop_token_ids, [-1]),
    "min_tokens": Honoured(min_tokens, -1),
    "ignore_eos": Honoured(ignore_eos, "yes"),
    "loop_guard": Honoured(loop_guard, 1),
    "stream": Honoured(stream, "yes"),
    "keep_alive": Honoured(keep_alive, "soon"),
    "priority": Honoured(priority, "urgent"),
    "max_ttft_ms": Honoured(max_ttft_ms, 0),
}
