"""What cannot be honoured in responses, as `web.api.parameters` has it: of OpenAI's own service,
and what chats have that has another name here."""

from web.api import parameters
from web.door.body import Neutral, Synonyms

_HONOURED_IN_RESPONSES = (
    "instructions",
    "previous_response_id",
    "conversation",  # refused with words of its own
    "max_output_tokens",
    "text",
    "truncation",
    "background",
)
RESPONSES: Neutral = {
    name: values for name, values in parameters.CHAT.items() if name not in _HONOURED_IN_RESPONSES
}
RESPONSES |= parameters.CONSTRAINTS | {
    "prompt": (),
    "messages": ([],),
    "context_management": ([],),
    "moderation": (),
    "access_programs": ({},),
    "image": ({}, {"context_compression": "auto"}, {"context_compression": "disabled"}),
    "personality": (),
    "background_options": ({}, {"completion_window": "soonest"}),
    "logprobs": (False,),
    "reasoning_effort": (),
    "thinking": (),
    "include_reasoning": (True,),
    "thinking_token_budget": (),
    "continue_final_message": (),
    "add_generation_prompt": (True,),
}
_LENGTHS = ("max_tokens", "max_completion_tokens", "max_new_tokens")
SYNONYMS: Synonyms = {
    name: own for name, own in parameters.SYNONYMS.items() if name not in _LENGTHS
} | dict.fromkeys(_LENGTHS, "max_output_tokens")
