"""The tokens that end an answer, as llama.cpp takes them from a GGUF.

Files name one or two of them and their templates use others, so known texts count too: see
`special_eog_ids` in llama.cpp's src/llama-vocab.cpp.
"""

from registry.checkpoint.tokenizer.ends import known_ends
from registry.checkpoint.weights import Value

from .tokenizer import token_id

# Between the files of code that a model completes: where no token has the role, the first of these.
_FILE_ENDS = {
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}


def end_token_ids(metadata: dict[str, Value]) -> list[int]:
    """Their ids, those first that the metadata names; empty if there are none."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    texts = tokens if isinstance(tokens, list) else []
    ids = {text: id for id, text in enumerate(texts) if isinstance(text, str)}
    found = [token_id(metadata, role) for role in ("eos", "eot", "eom")]
    found += known_ends(ids).values()
    for role, names in _FILE_ENDS.items():
        own = token_id(metadata, role)
        found.append(own if own is not None else next((ids[n] for n in names if n in ids), None))
    return list(dict.fromkeys(id for id in found if id is not None))
