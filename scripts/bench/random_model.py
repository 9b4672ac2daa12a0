"""A real model of random weights and a real tokenizer, of any architecture and size.

`python -m scripts.bench.random_model FOLDER VOCAB_SIZE` writes the one that the bench measures: it
runs in a process of its own, so that the bench never loads MLX. The tests make theirs here too.
"""

import json
import random
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.utils import _get_classes
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from runtime.engine import device  # noqa: F401 (first: it loads a fast BLAS before MLX)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

EOS_TOKEN_ID = 2

LLAMA_20M = {
    "model_type": "llama",
    "hidden_size": 384,
    "num_hidden_layers": 10,
    "intermediate_size": 1152,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 8192,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}


def write_tokenizer(folder: Path, texts: Iterable[str], vocab_size: int) -> int:
    """A byte-level BPE with ChatML markers. Returns the number of tokens it really has."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "eos_token": "<|im_end|>",
                "pad_token": "<|endoftext|>",
                "chat_template": CHAT_TEMPLATE,
                "clean_up_tokenization_spaces": False,
            }
        )
    )
    return int(tokenizer.get_vocab_size())


def write_model(
    folder: Path, config: dict[str, Any], seed: int = 0, silent: Collection[int] = ()
) -> None:
    """Random float32 weights of this config, which says the architecture and the vocabulary.

    `silent` are tokens that are hardly ever drawn.
    """
    mx.random.seed(seed)
    model_class, arguments_class = _get_classes(config)
    model = model_class(arguments_class.from_dict(config))
    # Plain initialisation makes near-ties; wider weights make a greedy choice robust to rounding.
    flat: Any = tree_flatten(model.parameters())
    weights = {name: value * 3 if value.ndim > 1 else value for name, value in flat}
    for name in weights:
        if name.endswith(("embed_tokens.weight", "embeddings.weight", "lm_head.weight")):
            # The end token's logit is 0, never the highest: an answer is as long as was asked for.
            weights[name][mx.array([EOS_TOKEN_ID, *silent])] = 0
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config))


def made_up_words(count: int) -> list[str]:
    """Words enough for a vocabulary in which every token is a piece of text."""
    draw = random.Random(0)
    return [
        "".join(draw.choice("bdfgklmnprstvz") + draw.choice("aeiou") for _ in range(length))
        for length in (draw.randint(2, 4) for _ in range(count))
    ]


def main() -> None:
    folder, vocab_size = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    texts = (f" {word}" for word in made_up_words(3 * vocab_size))
    write_model(folder, LLAMA_20M | {"vocab_size": write_tokenizer(folder, texts, vocab_size)})


if __name__ == "__main__":
    main()
