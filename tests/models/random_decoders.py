"""Random checkpoints of decoders that embed or rank, with the fields of their real config.json."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

from tests.models.tiny_encoders import (
    write_dense,
    write_modules,
    write_pooling,
)

_TEXT = [
    "Judge whether the document meets the query: yes or no. Models answer word for word.",
    "Grüße aus Köln! Ein naïve café, русский текст, 日本語 — 1234567890.",
]
_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n"
)
SIZE, INNER, LAYERS, HEADS, HEAD_SIZE = 32, 48, 8, 4, 8

# EmbeddingGemma's window of 512 tokens, shrunk: 8 on each side.
GEMMA = {
    "_sliding_window_pattern": 6,
    "architectures": ["Gemma3TextModel"],
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
    "hidden_activation": "gelu_pytorch_tanh",
    "layer_types": [f"{'sliding' if (n + 1) % 6 else 'full'}_attention" for n in range(LAYERS)],
    "num_key_value_heads": 1,
    "query_pre_attn_scalar": HEAD_SIZE,
    "rope_local_base_freq": 10000.0,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "sliding_window": 16,
    "use_bidirectional_attention": True,
}
# gte-Qwen2-7B-instruct's; what its code does is written out, as its name does for us.
GTE = {
    "architectures": ["Qwen2ForCausalLM"],
    "is_causal": False,
    "max_window_layers": LAYERS,
    "rope_theta": 1000000.0,
    "sliding_window": 512,
    "use_sliding_window": False,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "gemma3_text": GEMMA,
    "qwen2": GTE,
    "qwen3": {"architectures": ["Qwen3Model"], "is_causal": False, "rope_theta": 1000000.0},
    "llama": {"architectures": ["LlamaModel"], "is_causal": False, "rope_theta": 500000.0},
    "mistral": {"architectures": ["MistralModel"], "is_causal": False, "sliding_window": None},
}


def make(
    folder: Path, model_type: str, pooling: str = "pooling_mode_mean_tokens", **config: Any
) -> Path:
    """A folder with config, tokenizer, weights and the files of sentence-transformers."""
    folder.mkdir(parents=True, exist_ok=True)
    vocab_size = make_qwen_tokenizer(folder, ends=True)
    whole: dict[str, Any] = {
        "model_type": model_type,
        "vocab_size": vocab_size,
        "hidden_size": SIZE,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 2,
        "head_dim": HEAD_SIZE,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
    }
    whole |= CONFIGS[model_type] | config
    (folder / "config.json").write_text(json.dumps(whole))
    save_file(weights_of(whole), folder / "model.safetensors", {"format": "pt"})
    write_pooling(folder, pooling)
    return folder


def make_embedding_gemma(folder: Path) -> Path:
    """All of EmbeddingGemma: its two Dense modules, and its prompts."""
    make(folder, "gemma3_text")
    write_modules(folder, "Pooling", "Dense", "Dense", "Normalize")
    for number, (columns, rows) in ((2, (SIZE, 4 * SIZE)), (3, (4 * SIZE, SIZE))):
        activation = "torch.nn.modules.linear.Identity"
        name = f"{number}_Dense"
        write_dense(folder / name, columns, rows, bias=False, activation_function=activation)
    prompts = {"query": "task: search result | query: ", "document": "title: none | text: "}
    said = {"model_type": "SentenceTransformer", "prompts": prompts, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(said))
    return folder


def make_gte(folder: Path) -> Path:
    """gte-Qwen2-7B-instruct: the last token is the vector; a prompt that is used by default."""
    make(folder, "qwen2", "pooling_mode_lasttoken")
    prompts = {"query": "Instruct: Given a web search query, retrieve passages\nQuery: "}
    said = {"prompts": prompts, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(said))
    return folder


def make_qwen3_reranker(folder: Path, labels: tuple[str, ...] = (), **config: Any) -> Path:
    """As Qwen3-Reranker's repository was: a Qwen3 like any other, with the template of its chat.

    With labels it is the converted form, which has a head for them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole: dict[str, Any] = {
        "architectures": ["Qwen3ForSequenceClassification" if labels else "Qwen3ForCausalLM"],
        "attention_bias": False,
        "head_dim": HEAD_SIZE,
        "hidden_act": "silu",
        "hidden_size": SIZE,
        "intermediate_size": INNER,
        "max_position_embeddings": 512,
        "max_window_layers": LAYERS,
        "model_type": "qwen3",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "vocab_size": make_qwen_tokenizer(folder),
    } | config
    weights = {f"model.{name}": value for name, value in weights_of(whole).items()}
    if labels:
        draw = np.random.default_rng(9)
        weights["score.weight"] = draw.normal(0, 0.3, (len(labels), SIZE)).astype(np.float32)
        whole["id2label"] = {str(number): label for number, label in enumerate(labels)}
        whole["label2id"] = {label: number for number, label in enumerate(labels)}
    (folder / "config.json").write_text(json.dumps(whole))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def make_qwen_tokenizer(folder: Path, *, ends: bool = False) -> int:
    """A byte-level BPE with Qwen's pre-tokenizer and marks. Returns the number of its tokens.

    With `ends`, each text gets a last token, as those of embedders do.
    """
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_QWEN_SPLIT), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*_TEXT, "yes yes yes yes", "no no no no"] * 4, trainer)
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    tokenizer.add_tokens([AddedToken(mark) for mark in ("<think>", "</think>")])
    if ends:
        end = (marks[0], tokenizer.token_to_id(marks[0]))
        tokenizer.post_processor = TemplateProcessing(
            single=f"$A {end[0]}", pair=f"$A $B {end[0]}", special_tokens=[end]
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"}
    config |= {"pad_token": "<|endoftext|>", "chat_template": _CHAT}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return int(tokenizer.get_vocab_size())


def weights_of(config: dict[str, Any], seed: int = 7) -> dict[str, Any]:
    """Under the names of Hugging Face's model without a head."""
    draw = np.random.default_rng(seed)
    is_gemma, kv_heads = config["model_type"] == "gemma3_text", config["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {
        "embed_tokens.weight": (config["vocab_size"], SIZE),
        "norm.weight": (SIZE,),
    }
    norms = ["input", "post_attention"]
    norms += ["pre_feedforward", "post_feedforward"] if is_gemma else []
    for layer in (f"layers.{number}" for number in range(config["num_hidden_layers"])):
        for part, heads in (("q", HEADS), ("k", kv_heads), ("v", kv_heads)):
            shapes[f"{layer}.self_attn.{part}_proj.weight"] = (heads * HEAD_SIZE, SIZE)
            if config["model_type"] == "qwen2":
                shapes[f"{layer}.self_attn.{part}_proj.bias"] = (heads * HEAD_SIZE,)
        shapes[f"{layer}.self_attn.o_proj.weight"] = (SIZE, HEADS * HEAD_SIZE)
        if is_gemma or config["model_type"] == "qwen3":
            shapes |= {f"{layer}.self_attn.{part}_norm.weight": (HEAD_SIZE,) for part in "qk"}
        shapes |= {f"{layer}.mlp.{part}_proj.weight": (INNER, SIZE) for part in ("gate", "up")}
        shapes[f"{layer}.mlp.down_proj.weight"] = (SIZE, INNER)
        shapes |= {f"{layer}.{norm}_layernorm.weight": (SIZE,) for norm in norms}
    ones = 0 if is_gemma else 1  # Gemma adds the one itself
    return {
        name: (draw.normal(0, 0.3, shape) + ones * name.endswith("norm.weight")).astype(np.float32)
        for name, shape in shapes.items()
    }
