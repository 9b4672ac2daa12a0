"""What cannot be honoured in messages, as `parameters` has it: of Anthropic's API, and what chats
have that is not for it or has another name there."""

from web.api import parameters
from web.door.body import Neutral, Synonyms

_HONOURED_IN_MESSAGES = ("system", "context_management")
MESSAGES: Neutral = {
    name: values for name, values in parameters.CHAT.items() if name not in _HONOURED_IN_MESSAGES
}
MESSAGES |= parameters.CONSTRAINTS | {
    "fallbacks": ([],),
    "container": (),
    "compaction": (),
    "thread": (),
    "stop": ([],),
    "max_completion_tokens": (),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "stream_options": ({}, {"include_usage": True}),
    "parallel_tool_calls": (True,),
    "reasoning_effort": (),
    "reasoning": ({},),
    "enable_thinking": (),
    "thinking_budget": (),
    "thinking_token_budget": (),
    "include_reasoning": (True,),
    "chat_template_kwargs": ({},),
    "continue_final_message": (),
    "add_generation_prompt": (True,),
    "resumable": (False,),
}
SYNONYMS: Synonyms = {
    name: own for name, own in parameters.SYNONYMS.items() if name != "stop_sequences"
}
