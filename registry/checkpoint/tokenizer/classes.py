"""What a tokenizer's class does that no file says: transformers' own, and of repositories' code.

That code is never run, so what it says is written here, by the class that tokenizer_config.json
names. One that is not known is refused: a tokenizer that is nearly right is wrong without an error.
Read in transformers 4 and 5 (models/*/tokenization_*.py) and in the models' tokenization_internlm2,
_internlm3, _baichuan, _ernie4_5, _kimi, _qwen, _hy and _chatglm.py. Nothing is imported for it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from registry.checkpoint.config import Config, read_json
from registry.errors import NotAModel

from . import vocabulary
from .patterns import CL100K, GPT2, KIMI, QWEN2

XLM_ROBERTA = "XLMRobertaTokenizer"

# SentencePiece: these hand each stretch of text between special tokens to the library and add
# nothing to it but the token <s> before it all, where tokenizer_config.json does not say it.
SENTENCEPIECE: dict[str | None, bool] = {
    None: False,  # no class is named
    "LlamaTokenizer": True,
    "CodeLlamaTokenizer": True,
    "GemmaTokenizer": True,
    "InternLMTokenizer": True,
    "InternLM2Tokenizer": True,
    "InternLM3Tokenizer": True,
    "BaichuanTokenizer": True,
    "PlamoTokenizer": False,
    "Ernie4_5_Tokenizer": False,
}


@dataclass(frozen=True, slots=True)
class Ranks:
    """How a text is cut before tiktoken's ranks, and the special tokens behind them."""

    pattern: str
    is_nfc: bool = False
    special: tuple[str, ...] = ()  # "{id}" stands for the token's id
    num_extra: int = 0  # as many more, called <|extra_0|> and so on


_RESERVED = tuple("<|reserved_token_{id}|>" for _ in range(256))
_QWEN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_HUNYUAN = ("<|endoftext|>", "<|startoftext|>", "<|bos|>", "<|eos|>", "<|pad|>")
RANKS = {
    "TikTokenTokenizer": Ranks(KIMI, special=_RESERVED),
    "QWenTokenizer": Ranks(QWEN2, is_nfc=True, special=_QWEN, num_extra=205),
    "HYTokenizer": Ranks(QWEN2, is_nfc=True, special=_HUNYUAN, num_extra=205),
    "ChatGLM4Tokenizer": Ranks(CL100K),
    "llama": Ranks(CL100K),  # a model_type: Llama 3's file, as Meta has it
}


@dataclass(frozen=True, slots=True)
class WordPairs:
    """How a text is cut before the merges of vocab.json and merges.txt."""

    pattern: str = GPT2
    is_nfc: bool = False
    special: tuple[str, ...] = ("<|endoftext|>",)  # those of them that the vocabulary has
    has_ends: bool = False  # a text is put between <s> and </s>


_QWEN2 = WordPairs(QWEN2, is_nfc=True)
WORD_PAIRS = {
    "GPT2Tokenizer": WordPairs(),
    "CodeGenTokenizer": WordPairs(),
    "Qwen2Tokenizer": _QWEN2,
    "RobertaTokenizer": WordPairs(special=("<s>", "<pad>", "</s>", "<unk>"), has_ends=True),
    # Where no class is named, the model_type tells.
    **dict.fromkeys(("gpt2", "gpt_bigcode", "phi"), WordPairs()),
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe"), _QWEN2),
}

WORDPIECE = ("BertTokenizer", "DistilBertTokenizer", "bert")

_GENERAL = ("PreTrainedTokenizer", "TokenizersBackend")  # no class of the model's own


def check(folder: Path) -> Path:
    """The file that the tokenizer is made of.

    Raises NotAModel if there is none, or nobody here knows how it is to be used.
    """
    path = vocabulary.check(folder)
    kind = vocabulary.kind_of(path)
    if kind == "sentencepiece":
        _check(path, class_of(folder), [*SENTENCEPIECE, XLM_ROBERTA])
    elif kind == "ranks":
        _check(path, name_of(folder), RANKS)
    elif kind == "word pairs":
        _check(path, name_of(folder), WORD_PAIRS)
    elif kind == "wordpiece":
        _check(path, name_of(folder), WORDPIECE)
    return path


def config_of(folder: Path) -> Config:
    """tokenizer_config.json. Raises NotAModel."""
    return _read(folder / "tokenizer_config.json")


def class_of(folder: Path) -> str | None:
    """The tokenizer's class, whichever of the two that transformers 4 has of it."""
    name = config_of(folder).get("tokenizer_class")
    if not isinstance(name, str):
        return None
    name = name.removesuffix("Fast")
    return None if name in _GENERAL else name


def name_of(folder: Path) -> str:
    """The tokenizer's class, or where none is named the model_type."""
    return class_of(folder) or str(_read(folder / "config.json").get("model_type"))


def _check(path: Path, name: str | None, known: Collection[str | None]) -> None:
    if name not in known:
        raise NotAModel(
            f"{path.name} does not say how a text is cut before its tokens are looked up, and "
            f"{ascii(name)} is none of the tokenizer classes of which it is known; choose a "
            "repository with a tokenizer.json."
        )


def _read(path: Path) -> Config:
    return read_json(path) if path.is_file() else {}
