"""The tokens that end an answer, as llama.cpp takes them from a GGUF.

Files name one or two of them and their templates use others, so known texts count too: see
`special_eog_ids` in llama.cpp's src/llama-vocab.cpp, whose lists these are.
"""

from registry.checkpoint.weights import Value

from .tokenizer import token_id

_TEXTS = (
    *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>"),
    *("<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]"),
    *("<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>"),
    *("<｜end▁of▁sentence｜>", "[e~["),
)
# Between the files of code that a model completes: where no token has the role, the first of these.
_FILE_ENDS = {
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}


def end_token_ids(metadata: dict[str, Value]) -> list[int]:
    """Their ids, those first that the metadata names; empty if there are none."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    ids = {text: id for id, text in enumerate(tokens)} if isinstance(tokens, list) else {}
    found = [token_id(metadata, role) for role in ("eos", "eot", "eom")]
    named = {text: ids[text] for text in _TEXTS if text in ids}
    # Of OpenAI's and of Solar's formats: a channel ends there, and the answer goes on.
    if {"<|return|>", "<|call|>"} <= named.keys() or (
        "<|flush|>" in named and named.keys() & {"<|call|>", "<|calls|>"}
    ):
        named.pop("<|end|>", None)
    if named.keys() & {"<|tool_response>"} or "<|plamo:eos|>" in ids:
        named.pop("</s>", None)  # a piece of text there
    found += named.values()
    for role, texts in _FILE_ENDS.items():
        own = token_id(metadata, role)
        found.append(own if own is not None else next((ids[t] for t in texts if t in ids), None))
    return list(dict.fromkeys(id for id in found if id is not None))
