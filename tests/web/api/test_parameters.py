"""Tests of web.api.parameters: what other servers document is refused by name, or neutral."""

import json
from typing import Any

import httpx
import pytest

from tests.serving import KEY, ServerProcess
from web.api.anthropic.message_parameters import MESSAGES
from web.api.encoder_parameters import EMBEDDINGS, RERANK
from web.api.openai.responses.parameters import RESPONSES
from web.api.parameters import CHAT, COMPLETIONS
from web.door.body import Neutral

# As clients of other servers send them.
SENT: dict[str, Any] = {
    "xtc_probability": 0.5, "documents": [{"text": "x"}], "include_stop_str_in_output": True,
    "skip_special_tokens": False, "bad_words": ["x"], "spaces_between_special_tokens": False,
    "allowed_token_ids": [1], "prompt_logprobs": 1, "truncate_prompt_tokens": 10,
    "length_penalty": 0.5, "use_beam_search": True, "best_of": 2,
    "chat_template": "{{ messages }}", "add_special_tokens": True, "typical_p": 0.9, "tfs_z": 0.5,
    "mm_processor_kwargs": {"x": 1}, "mirostat": 2, "mirostat_tau": 3.0, "mirostat_eta": 0.2,
    "dry_multiplier": 0.8, "dry_sequence_breakers": ["\n"], "xtc_threshold": 0.3,
    "dynatemp_range": 0.5, "samplers": ["top_k"], "n_predict": 5, "n_probs": 3,
    "lora": [{"id": 0, "scale": 1}], "repetition_context_size": 50, "adapters": "a",
    "format": "json", "options": {"num_ctx": 4096}, "think": True, "raw": True,
    "template": "{{ .Prompt }}", "top_a": 0.2, "transforms": ["middle-out"], "plugins": [{}],
    "safe_prompt": True, "prompt_mode": "reasoning", "web_search_options": {},
    "do_sample": False, "watermark": True, "system": "Be brief.", "reasoning_format": "none",
    "separate_reasoning": False, "echo": True, "extra_body": {"top_k": 5}, "structural_tag": {},
}  # fmt: skip
PASSING: dict[str, Any] = {
    "user": "u", "service_tier": "flex", "safety_identifier": "s", "prompt_cache_key": "k",
    "prompt_cache_retention": "24h", "prediction": {"type": "content", "content": "x"},
    "cache_prompt": True, "id_slot": 1, "ttl": 60, "draft_model": "d",
    "num_draft_tokens": 3, "provider": {"sort": "price"}, "models": ["a"], "route": "fallback",
    "usage": {"include": True}, "reasoning_format": "auto", "timings_per_token": True,
    "request_id": "r",
    "nobody_documents_this": {"deep": [1]},
}  # fmt: skip
BASES: dict[str, dict[str, Any]] = {
    "chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "completions": {"prompt": "hi"},
    "responses": {"input": "hi"},
    "responses/input_tokens": {"input": "hi"},
    "responses/compact": {"input": "hi"},
    "messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1},
    "embeddings": {"input": "hi"},
    "rerank": {"query": "hi", "documents": ["a"]},
}


def _post(server: ServerProcess, path: str, fields: dict[str, Any]) -> httpx.Response:
    body = {"model": "nobody", **BASES[path.split("/v1/")[1]], **fields}
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    return httpx.post(server.url + path, content=json.dumps(body), headers=headers)


@pytest.mark.parametrize("name", sorted(SENT))
def test_what_would_change_the_answer_is_refused_by_name(name: str, server: ServerProcess) -> None:
    answer = _post(server, "/v1/chat/completions", {name: SENT[name]})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == name and error["code"] == "unsupported_parameter"
    assert f"'{name}'" in error["message"]


@pytest.mark.parametrize("name", sorted(PASSING))
def test_what_changes_nothing_passes(name: str, server: ServerProcess) -> None:
    """What is wrong with the request is only its model."""
    answer = _post(server, "/v1/chat/completions", {name: PASSING[name]})
    assert answer.status_code == 404, answer.text


@pytest.mark.parametrize(
    ("path", "table"),
    [
        ("/v1/chat/completions", CHAT),
        ("/mimik-ai/openai/v1/chat/completions", CHAT),
        ("/v1/completions", COMPLETIONS),
        ("/v1/responses", RESPONSES),
        ("/mimik-ai/openai/v1/responses", RESPONSES),
        ("/v1/responses/input_tokens", RESPONSES),
        ("/v1/responses/compact", RESPONSES),
        ("/v1/messages", MESSAGES),
        ("/v1/embeddings", EMBEDDINGS),
        ("/v1/rerank", RERANK),
    ],
)
def test_neutral_values_pass_and_others_do_not(
    path: str, table: Neutral, server: ServerProcess
) -> None:
    """Every one of the table: alone where it is refused, all together where neutral."""
    with httpx.Client() as client:
        for name in table:
            body = {"model": "nobody", **BASES[path.split("/v1/")[1]], name: {"not": "neutral"}}
            answer = client.post(
                server.url + path, json=body, headers={"Authorization": f"Bearer {KEY}"}
            )
            assert answer.status_code == 400, name
            assert f"'{name}'" in answer.text or f"$.{name}`" in answer.text
    assert _post(server, path, dict.fromkeys(table)).status_code == 404
    for number in range(max(map(len, table.values()))):
        neutral = {name: values[number] for name, values in table.items() if number < len(values)}
        assert _post(server, path, neutral).status_code == 404, neutral
