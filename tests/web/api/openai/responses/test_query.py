"""Tests of web.api.openai.responses.query: what may be said when a response is asked for again."""

import typing
from typing import Any

import httpx
import pytest
from openai import OpenAI
from openai.types.responses import input_item_list_params as lists
from openai.types.responses import response_retrieve_params as retrievals

from tests.serving import KEY, ServerProcess

from .asking import PLAIN

LOGPROBS = "message.output_text.logprobs"
SEALED = "reasoning.encrypted_content"
# A value of each that cannot be honoured.
WRONG: dict[str, dict[str, dict[str, str]]] = {
    "": {
        "include": {"include[]": "everything"},
        "include_obfuscation": {"include_obfuscation": "perhaps"},
        "starting_after": {"starting_after": "0"},  # of no stream
        "stream": {"stream": "perhaps"},
    },
    "/input_items": {
        "after": {"after": "msg_unknown"},
        "include": {"include": "everything"},
        "limit": {"limit": "101"},
        "order": {"order": "random"},
    },
}
SDK: dict[str, Any] = {
    "": retrievals.ResponseRetrieveParamsStreaming,
    "/input_items": lists.InputItemListParams,
}


def get(server: ServerProcess, response_id: str, path: str = "", **query: Any) -> httpx.Response:
    url = f"{server.url}/v1/responses/{response_id}{path}"
    return httpx.get(url, params=query, headers={"Authorization": f"Bearer {KEY}"}, timeout=60)


@pytest.mark.parametrize("path", WRONG)
def test_all_that_the_sdk_can_ask_is_known(path: str) -> None:
    assert set(typing.get_type_hints(SDK[path])) == set(WRONG[path])


@pytest.mark.parametrize(("path", "name"), [(path, name) for path in WRONG for name in WRONG[path]])
def test_what_cannot_be_honoured_is_refused(
    path: str, name: str, responses_server: ServerProcess, client: OpenAI
) -> None:
    asked: Any = PLAIN
    response = client.responses.create(**asked)
    refused = get(responses_server, response.id, path, **WRONG[path][name])
    assert refused.status_code == 400 and refused.json()["error"]["param"] == name


def test_obfuscation_changes_nothing(responses_server: ServerProcess, client: OpenAI) -> None:
    """There is no network to hide lengths from."""
    asked: Any = PLAIN
    response_id = client.responses.create(**asked).id
    plain, told = (
        get(responses_server, response_id, **query).json()
        for query in ({}, {"include_obfuscation": "true"})
    )
    assert told == plain


def test_the_sdk_asks_for_more_later(client: OpenAI) -> None:
    """Thoughts are sealed then; of what was sent the same is told."""
    asked: Any = PLAIN | {"model": "thinking", "max_output_tokens": 40}
    response = client.responses.create(**asked)
    again: Any = client.responses.retrieve(response.id, include=["reasoning.encrypted_content"])
    assert again.output[0].type == "reasoning" and again.output[0].encrypted_content
    item: Any = again.output[0].model_dump(exclude_none=True)
    sent: list[Any] = [item, {"role": "user", "content": "so?"}]
    next_asked: Any = PLAIN | {"input": sent}
    second = client.responses.create(**next_asked)
    listed = client.responses.input_items.list(second.id, include=["reasoning.encrypted_content"])
    assert [item.type for item in listed] == ["message", "reasoning"]


@pytest.mark.parametrize("asked", [[], [SEALED]])
def test_a_stream_is_followed_as_it_was_told(
    asked: list[str], responses_server: ServerProcess, client: OpenAI
) -> None:
    body: Any = PLAIN | {"model": "thinking", "include": asked, "stream": True}
    events = list(client.responses.create(**body, extra_body={"resumable": True}))
    first: Any = events[0]
    query: dict[str, Any] = {"stream": "true", "include[]": [SEALED]}
    reply = get(responses_server, first.response.id, **query)
    assert reply.status_code == (200 if asked else 400)
    if not asked:
        assert reply.json()["error"]["param"] == "include"


def test_one_under_way_has_what_it_was_asked_for(
    responses_server: ServerProcess, client: OpenAI
) -> None:
    long: Any = PLAIN | {"max_output_tokens": 7000, "top_logprobs": 1, "background": True}
    response_id = client.responses.create(**long).id
    try:
        refused = get(responses_server, response_id, stream="true", include=SEALED)
        assert refused.status_code == 400 and SEALED in refused.json()["error"]["message"]
        query: dict[str, Any] = {"stream": True, "include": [LOGPROBS]}
        with client.responses.retrieve(response_id, **query) as events:
            event = next(e for e in events if e.type == "response.output_text.delta")
            assert event.logprobs
    finally:
        client.responses.cancel(response_id)
