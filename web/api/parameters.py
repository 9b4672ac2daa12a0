"""Parameters that other servers document and this one cannot honour yet, with their neutral values.

At a neutral value, or null, a parameter asks for nothing and passes; at any other it is a 400 that
names it. What changes nothing about the answer is not listed and passes: `user`, `service_tier`,
`safety_identifier`, `prompt_cache_key`, `prediction`, `cache_prompt`, `id_slot`, `ttl`,
`draft_model`, `num_draft_tokens`, `provider`, `models`, `timings_per_token`. A parameter that says
how another one works is neutral at the values that are its default somewhere.
"""

from web.door.body import Neutral, Synonyms

_OPENAI: Neutral = {
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
    # Of the completions and the Responses API.
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "instructions": ("",),
    "previous_response_id": (),
    "conversation": (),
    "max_output_tokens": (),
    "text": ({"format": {"type": "text"}}, {}),
    "truncation": ("disabled",),
}

# Names that many share: vLLM, SGLang, llama.cpp, mlx-lm, TGI, KoboldCpp, TabbyAPI, OpenRouter.
_SAMPLING: Neutral = {
    "top_a": (0,),
    "typical_p": (1,),
    "typical": (1,),
    "typ_p": (1,),
    "tfs_z": (1,),
    "tfs": (1,),
    "top_n_sigma": (-1, 0),
    "nsigma": (0,),
    "skew": (0,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "adaptive_target": (-1, 0),
    "adaptive_decay": (0.9,),
    "min_keep": (0, 1),
    "encoder_repetition_penalty": (1,),
    "no_repeat_ngram_size": (0,),
    "penalize_nl": (False,),
    "repeat_last_n": (0, 64, -1),
    "repetition_context_size": (0, 20),
    "presence_context_size": (0, 20),
    "frequency_context_size": (0, 20),
    "repetition_penalty_range": (0, 1024, -1),
    "repetition_detection": (),
    "penalty_range": (0, -1),
    "rep_pen_range": (0,),
    "rep_pen_slope": (1, 0),
    "penalty_alpha": (0,),
    "guidance_scale": (1,),
    "cfg_scale": (1,),
    "negative_prompt": ("",),
    "mirostat": (0,),
    "mirostat_mode": (0,),
    "mirostat_tau": (5,),
    "mirostat_eta": (0.1,),
    "mirostat_target": (),
    "mirostat_lr": (),
    "dry_multiplier": (0,),
    "dry_base": (1.75,),
    "dry_allowed_length": (2,),
    "dry_penalty_last_n": (-1, 0),
    "dry_range": (0,),
    "dry_sequence_breakers": (["\n", ":", '"', "*"], []),
    "xtc_probability": (0,),
    "xtc_threshold": (0, 0.1),
    "xtc_special_tokens": ([],),
    "dynatemp_range": (0,),
    "dynatemp_low": (1, 0),
    "dynatemp_high": (1, 0),
    "dynatemp_exponent": (1,),
    "dynamic_temperature": (False,),
    "temperature_last": (False,),
    "min_temp": (1,),
    "max_temp": (1,),
    "temp_exponent": (1,),
    "smoothing_factor": (0,),
    "smoothing_curve": (1,),
    "samplers": ([],),
    "sampler_order": ([],),
    "sampler_priority": ([],),
    "do_sample": (True,),
    "use_beam_search": (False,),
    "num_beams": (1,),
    "beam_width": (1,),
    "length_penalty": (1,),
    "early_stopping": (False,),
    "watermark": (False,),
    "token_healing": (False,),
    "logits_processors": ([],),
    "logits_processor": (),
    "custom_logit_processor": (),
    "custom_params": ({},),
    "vllm_xargs": ({},),
}

_LENGTH: Neutral = {
    "n_predict": (-1,),
    "num_predict": (-1,),
    "max_length": (),
    "max_completion_length": (),
    "auto_max_new_tokens": (False,),
    "min_length": (0,),
    "stop_regex": ("", []),
    "include_stop_str_in_output": (False,),
    "no_stop_trim": (False,),
    "t_max_predict_ms": (0, -1),
    "n_indent": (0,),
    "n_keep": (0,),
    "n_discard": (0,),
    "num_ctx": (),
    "truncate_prompt_tokens": (),
    "truncation_length": (0,),
    "prompt_truncate_len": (),
    "context_length_exceeded_behavior": ("error",),
    "truncate": (False,),
    "shift": (False,),
    "transforms": ([],),
}

_CONSTRAINTS: Neutral = {
    "guided_decoding_backend": (),
    "guided_whitespace_pattern": (),
    "structural_tag": (),
    "grammar_lazy": (False,),
    "grammar_triggers": ([],),
    "grammar_string": ("",),
    "regex_pattern": ("",),
    "format": ("",),
    "bad_words": ([],),
    "bad_words_ids": ([],),
    "allowed_token_ids": ([],),
    "banned_tokens": ([], ""),
    "banned_strings": ([],),
    "custom_token_bans": ("",),
    "preserved_tokens": ([],),
}

_PROMPT: Neutral = {
    "documents": ([],),
    "chat_template": ("",),
    "template": ("",),
    "raw": (False,),
    "system": ("", []),
    "context": ([], ""),
    "images": ([],),
    "input_ids": (),
    "input_embeds": (),
    "prompt_embeds": (),
    "add_special_tokens": (False,),
    "add_bos_token": (True,),
    "response_prefix": ("",),
    "safe_prompt": (False,),
    "prompt_mode": (),
    "guardrails": ([],),
    "guideline": ("",),
    "tool_prompt": ("",),
    "preset": (),
    "mm_processor_kwargs": ({},),
    "media_io_kwargs": ({},),
    "chat_history": ([],),
    "preamble": ("",),
    "role_mapping": ({},),
    "instruction_template": ("",),
    "options": ({},),
    "parameters": ({},),
    "generation_config": ({},),
    "extra_body": ({},),
}

_MODEL: Neutral = {
    "adapters": ("", []),
    "adapter_id": ("",),
    "lora": ([],),
    "lora_path": ("",),
    "lora_request": (),
}

_REASONING: Neutral = {
    "think": (),
    "thinking_budget_tokens": (-1,),
    "thinking_config": ({},),
    "reasoning_budget": (-1,),
    "reasoning_format": ("auto", "deepseek"),
    "separate_reasoning": (True,),
    "stream_reasoning": (True,),
}

# What a hosted service does beside the model.
_SERVICES: Neutral = {
    "plugins": ([],),
    "enable_search": (False,),
    "search_options": ({},),
    "search_parameters": ({}, {"mode": "off"}),
    "search_settings": (),
    "search_mode": (),
    "search_domain_filter": ([],),
    "search_recency_filter": (),
    "return_images": (False,),
    "return_related_questions": (False,),
    "translation_options": (),
    "citation_options": (),
    "connectors": ([],),
    "safety_mode": ("OFF", "NONE"),
    "moderation": (),
    "safety_model": (),
    "safety_settings": ([],),
    "mcp_servers": ([],),
    "context_management": (),
    "cached_content": (),
    "deferred": (False,),
    "background": (False,),
}

# What else the answer would hold, or how its text is written.
_OUTPUT: Neutral = {
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "n_probs": (0,),
    "post_sampling_probs": (False,),
    "prompt_logprobs": (),
    "logprob_token_ids": ([],),
    "top_logprobs_num": (0,),
    "top_n_tokens": (0,),
    "return_tokens": (False,),
    "return_token_ids": (False,),
    "return_tokens_as_token_ids": (False,),
    "return_hidden_states": (False,),
    "return_routed_experts": (False,),
    "return_full_text": (False,),
    "decoder_input_details": (False,),
    "details": (False,),
    "response_fields": ([],),
    "raw_output": (False,),
}

# Of a text that has to be something: honoured in chats and completions; other APIs have a word of
# their own for it.
CONSTRAINTS: Neutral = {
    "response_format": ({"type": "text"},),
    "structured_outputs": ({},),
    "guided_json": ("",),
    "guided_regex": ("",),
    "guided_choice": ([],),
    "guided_grammar": ("",),
    "grammar": ("",),
    "json_schema": ("",),
    "regex": ("",),
    "ebnf": ("",),
}

# What others call a parameter that is honoured here: no second meaning, only a second name.
SYNONYMS: Synonyms = {
    "repeat_penalty": "repetition_penalty",  # llama.cpp, Ollama
    "rep_pen": "repetition_penalty",  # KoboldCpp
    "random_seed": "seed",  # Mistral
    "n_cmpl": "n",  # llama.cpp
    "max_new_tokens": "max_tokens",  # TGI
    "min_new_tokens": "min_tokens",
    "ban_eos_token": "ignore_eos",  # TabbyAPI
    "stop_sequences": "stop",
}

CHAT: Neutral = _OPENAI | _SAMPLING | _LENGTH | _CONSTRAINTS | _PROMPT | _MODEL
CHAT |= _REASONING | _SERVICES | _OUTPUT

_HONOURED_IN_COMPLETIONS = ("best_of", "echo", "suffix", "add_special_tokens")
COMPLETIONS: Neutral = {
    name: values for name, values in CHAT.items() if name not in _HONOURED_IN_COMPLETIONS
}
COMPLETIONS |= {
    "messages": ([],),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "reasoning_effort": ("none",),
    "reasoning": ({}, {"effort": "none"}),
    "thinking": ({"type": "disabled"},),
    "enable_thinking": (False,),
    "thinking_budget": (0,),
    "thinking_token_budget": (0,),
    "chat_template_kwargs": ({},),
    "top_logprobs": (0,),
    "max_completion_tokens": (),
    "continue_final_message": (True,),
    "add_generation_prompt": (False,),
    "resumable": (False,),
}
