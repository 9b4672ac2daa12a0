"""Parameters that are refused, with a value that is and one that asks for nothing; and those that
are ignored, with a value as clients send it."""

from typing import Any, NamedTuple


class Refused(NamedTuple):
    value: Any
    neutral: tuple[Any, ...] = ()


FUNCTION = {"name": "lamp", "parameters": {}}
REFUSED_CHATS: dict[str, Refused] = {
    "audio": Refused({"voice": "alloy", "format": "wav"}),
    "function_call": Refused({"name": "lamp"}, ("none", "auto")),
    "functions": Refused([FUNCTION], ([],)),
    "modalities": Refused(["text", "audio"], (["text"],)),
    "moderation": Refused({"model": "omni-moderation-latest"}),
    "web_search_options": Refused({}),
    "resumable": Refused(True, (False,)),
}
_TOOL = {"type": "function", "function": FUNCTION}
REFUSED_COMPLETIONS: dict[str, Refused] = {
    "messages": Refused([{"role": "user", "content": "hello"}], ([],)),
    "max_completion_tokens": Refused(5),
    "top_logprobs": Refused(5, (0,)),
    "tools": Refused([_TOOL], ([],)),
    "tool_choice": Refused("required", ("none", "auto")),
    "reasoning_effort": Refused("high", ("none",)),
    "reasoning": Refused({"effort": "high"}, ({}, {"effort": "none"})),
    "thinking": Refused({"type": "enabled"}, ({"type": "disabled"},)),
    "enable_thinking": Refused(True, (False,)),
    "thinking_budget": Refused(5, (0,)),
    "thinking_token_budget": Refused(5, (0,)),
    "chat_template_kwargs": Refused({"enable_thinking": True}, ({},)),
    "continue_final_message": Refused(False, (True,)),
    "add_generation_prompt": Refused(True, (False,)),
    "resumable": Refused(True, (False,)),
}
REFUSED_RESPONSES: dict[str, Refused] = {
    "access_programs": Refused({"cyber": "daybreak_blue"}, ({},)),
    "background_options": Refused(
        {"completion_window": "8h"}, ({}, {"completion_window": "soonest"})
    ),
    "context_management": Refused([{"type": "compaction"}], ([],)),
    "conversation": Refused("conv_1"),
    "image": Refused(
        {"context_compression": "enabled"},
        ({}, {"context_compression": "auto"}, {"context_compression": "disabled"}),
    ),
    "moderation": Refused({"model": "omni-moderation-latest"}),
    "personality": Refused("friendly"),
    "prompt": Refused({"id": "pmpt_1"}),
    "generate": Refused(False, (True,)),
    "n": Refused(2, (1,)),
    "messages": Refused([{"role": "user", "content": "hello"}], ([],)),
    "logprobs": Refused(True, (False,)),
    "reasoning_effort": Refused("high"),
    "thinking": Refused({"type": "enabled"}),
    "thinking_token_budget": Refused(5),
    "include_reasoning": Refused(False, (True,)),
    "continue_final_message": Refused(True),
    "add_generation_prompt": Refused(False, (True,)),
    "response_format": Refused({"type": "json_object"}, ({"type": "text"},)),
    "structured_outputs": Refused({"regex": "a"}, ({},)),
    "guided_json": Refused({}, ("",)),
    "guided_regex": Refused("a", ("",)),
    "guided_choice": Refused(["a"], ([],)),
    "guided_grammar": Refused("a", ("",)),
    "grammar": Refused("a", ("",)),
    "json_schema": Refused({}, ("",)),
    "regex": Refused("a", ("",)),
    "ebnf": Refused("a", ("",)),
}
REFUSED_MESSAGES: dict[str, Refused] = {
    "n": Refused(2, (1,)),
    "compaction": Refused({"type": "auto"}),
    "container": Refused("container_1"),
    "fallbacks": Refused([{"model": "other"}], ([],)),
    "mcp_servers": Refused([{"type": "url", "name": "x", "url": "http://x"}], ([],)),
    "thread": Refused({"type": "create"}),
    "resumable": Refused(True, (False,)),
}

IGNORED_CHATS: dict[str, Any] = {
    "metadata": {"a": "b"},
    "prediction": {"type": "content", "content": "hello"},
    "prompt_cache_key": "k",
    "prompt_cache_options": {"ttl": "30m"},
    "prompt_cache_retention": "24h",
    "safety_identifier": "s",
    "service_tier": "flex",
    "store": True,
    "user": "u",
    "verbosity": "low",
    "cache_prompt": False,
    "draft_model": "d",
    "id_slot": 1,
    "models": ["other"],
    "num_draft_tokens": 3,
    "provider": {"sort": "price"},
    "request_id": "r",
    "route": "fallback",
    "timings_per_token": True,
    "ttl": 60,
    "usage": {"include": True},
}
IGNORED_COMPLETIONS: dict[str, Any] = {
    name: IGNORED_CHATS[name] for name in ("user", "cache_prompt", "id_slot", "ttl")
}
IGNORED_RESPONSES: dict[str, Any] = {
    "max_tool_calls": 3,
    **{
        name: IGNORED_CHATS[name]
        for name in (
            "user",
            "safety_identifier",
            "service_tier",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "cache_prompt",
            "id_slot",
            "ttl",
        )
    },  # fmt: skip
}
IGNORED_MESSAGES: dict[str, Any] = {
    "betas": ["context-1m-2025-08-07"],
    "billing_policy": {"type": "billing_policy", "bill_to": "self"},
    "cache_control": {"type": "ephemeral"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "diagnostics": {"previous_message_id": "msg_1"},
    "fallback_credit_token": "t",
    "inference_geo": "us",
    "metadata": {"user_id": "u"},
    "service_tier": "standard_only",
    "speed": "fast",
    "user_profile_id": "p",
    "workspace_id": "w",
}
