"""Small tokenizer.json as the families of encoders have it; BERT's is `make_wordpiece`."""

import json
from pathlib import Path

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from tokenizers.processors import RobertaProcessing, TemplateProcessing

from tests.models.tiny_encoders import TEXT, wordpiece

_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
_NAMED = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
_NAMED |= {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}


def make_byte_bpe(folder: Path) -> int:
    """RoBERTa's. Returns the number of its tokens, as the others do."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT * 4, trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    tokenizer.post_processor = RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return _save(folder, tokenizer, "RobertaTokenizer")


def make_mpnet_wordpiece(folder: Path) -> int:
    """BERT's words between RoBERTa's marks."""
    tokenizer = wordpiece([*_SPECIAL, "[UNK]"])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    tokenizer.post_processor = RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return _save(folder, tokenizer, "MPNetTokenizer", unk_token="[UNK]")


def make_unigram(folder: Path) -> int:
    """XLM-RoBERTa's: sentencepiece's words, scored by their length, for a trainer would round."""
    words = sorted({f"\u2581{word}" for text in TEXT for word in text.split()})
    parts = {word[a:b] for word in words for a in range(len(word)) for b in range(a + 1, a + 4)}
    pieces = sorted((parts | set(words)) - {""})
    vocab = [(name, 0.0) for name in _SPECIAL]
    vocab += [(piece, -9.0 + min(len(piece), 8) - n / 1000) for n, piece in enumerate(pieces)]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=3))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace("  ", " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="\u2581")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="\u2581")
    tokenizer.add_special_tokens(_SPECIAL)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return _save(folder, tokenizer, "XLMRobertaTokenizer")


def _save(folder: Path, tokenizer: Tokenizer, name: str, **named: str) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": name} | _NAMED | named
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return int(tokenizer.get_vocab_size())
