"""The tokens that end an answer, as all files of a folder name them: none replaces another.

A single id in generation_config.json often stands beside a list in config.json, and a model that
was trained on from a base keeps the base's id while its template ends turns with another token.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tokenizers import Tokenizer

from registry.checkpoint import chat_template
from registry.checkpoint.architectures import architecture_of, tokenizer_defaults
from registry.checkpoint.config import NESTED, Config, read_json

from . import special_tokens

# Of llama.cpp's `special_eog_ids` (src/llama-vocab.cpp).
_KNOWN = (
    *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>"),
    *("<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]"),
    *("<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>"),
    *("<｜end▁of▁sentence｜>", "[e~["),
)
# Names that mean nothing else, listed or not: <|assistant_end|> of Apertus.
_SAYING = ("endofturn", "turnend", "endofassistant", "assistantend")


def end_token_ids(folder: Path, tokenizer: Tokenizer) -> frozenset[int]:
    """What config.json, its text model's part, generation_config.json, the tokenizer's files and
    the chat template say, united. `tokenizer` is the folder's.

    Where no file has an id, mlx-lm's own for the architecture count too (Muse Spark's). An id that
    is none is passed over. Raises NotAModel for a file that cannot be read.
    """
    config = _read(folder / "config.json")
    nested = (config[name] for name in NESTED if name in config)
    sources = (config, *nested, _read(folder / "generation_config.json"))
    ids = {id for source in sources if isinstance(source, dict) for id in _ids(source)}
    if not ids:
        ids.update(_ids(tokenizer_defaults(architecture_of(config)), "eos_token_ids"))
    for text in (*_named(folder), *_in_template(folder, tokenizer)):
        if (id := tokenizer.token_to_id(text)) is not None:
            ids.add(id)
    return frozenset(ids)


def known_ends(texts: Mapping[str, int]) -> dict[str, int]:
    """Those of a vocabulary's tokens that are known to end answers, with their ids."""
    ends = {text: texts[text] for text in _KNOWN if text in texts}
    # Of OpenAI's and of Solar's formats: a channel ends there, and the answer goes on.
    if {"<|return|>", "<|call|>"} <= ends.keys() or (
        "<|flush|>" in ends and ends.keys() & {"<|call|>", "<|calls|>"}
    ):
        ends.pop("<|end|>", None)
    if "<|tool_response>" in ends or "<|plamo:eos|>" in texts:
        ends.pop("</s>", None)  # a piece of text there
    return ends


def _ids(config: Mapping[str, object], key: str = "eos_token_id") -> Iterator[int]:
    value = config.get(key)
    for id in value if isinstance(value, list) else [value]:
        if type(id) is int and id >= 0:
            yield id


def _named(folder: Path) -> Iterator[str]:
    """The texts of eos_token. Where the two files that may have it differ, both count."""
    if (text := special_tokens.texts(folder).get("eos_token")) is not None:
        yield text
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        token = _read(folder / name).get("eos_token")
        content = token.get("content") if isinstance(token, dict) else token
        if isinstance(content, str):
            yield content


def _in_template(folder: Path, tokenizer: Tokenizer) -> Iterator[str]:
    """Known ends that a chat template writes, if they are special tokens of this tokenizer."""
    templates = chat_template.find(folder), chat_template.find_for_tools(folder)
    template = "".join(filter(None, templates))
    added = tokenizer.get_added_tokens_decoder()
    special = {token.content: id for id, token in added.items() if token.special}
    saying = (text for text in special if _says_end(text))
    yield from (text for text in (*known_ends(special), *saying) if text in template)


def _says_end(text: str) -> bool:
    letters = "".join(filter(str.isalnum, text.casefold()))
    return any(words in letters for words in _SAYING)


def _read(path: Path) -> Config:
    return read_json(path) if path.is_file() else {}
