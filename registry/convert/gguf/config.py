"""What a GGUF says of its architecture, as the config.json that mlx-lm wants."""

from typing import Any

from registry.checkpoint.weights import Tensor
from registry.errors import NotAModel

from .end_tokens import end_token_ids
from .file import GgufFile
from .rope import rope_scaling
from .tokenizer import token_id


def config_of(file: GgufFile) -> dict[str, Any]:
    """The config.json. Raises NotAModel for what mlx-lm's model of the architecture does not do."""
    refuse_variants(file)
    if (embeddings := file.tensors.get("token_embd.weight")) is None:
        raise NotAModel(f"{file.name} has no token_embd.weight.")
    check_vocabulary(file, embeddings)
    num_heads = file.count("attention.head_count")
    context, scaling = file.count("context_length"), rope_scaling(file)
    # That of a GGUF has been stretched already (llama.cpp's n_ctx_train), which this word says.
    is_linear = scaling is not None and scaling["rope_type"] == "linear"
    said = {"model_max_length": context} if is_linear else {}
    return said | {
        "model_type": file.architecture,
        "hidden_size": file.count("embedding_length"),
        "num_hidden_layers": file.count("block_count"),
        "intermediate_size": file.count("feed_forward_length"),
        "num_attention_heads": num_heads,
        "num_key_value_heads": file.count("attention.head_count_kv", num_heads),
        "head_dim": file.head_dim,
        "rms_norm_eps": file.number("attention.layer_norm_rms_epsilon"),
        "max_position_embeddings": context,
        "rope_theta": file.number("rope.freq_base", 10000.0),
        "rope_scaling": scaling,
        "vocab_size": embeddings.shape[0],
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "attention_bias": "blk.0.attn_q.bias" in file.tensors,
        "mlp_bias": "blk.0.ffn_gate.bias" in file.tensors,
        "bos_token_id": token_id(file.metadata, "bos"),
        "eos_token_id": end_token_ids(file.metadata) or None,
    }


def refuse_variants(file: GgufFile) -> None:
    """Raises NotAModel for experts, split files and partly rotated heads."""
    if file.metadata.get(f"{file.architecture}.expert_count"):
        raise NotAModel(f"{file.name} is a mixture of experts; only dense models are read.")
    if file.metadata.get("split.count", 0) not in (0, 1):
        raise NotAModel(f"{file.name} is one of several; join them: llama-gguf-split --merge.")
    if file.count("rope.dimension_count", file.head_dim) != file.head_dim:
        raise NotAModel(f"{file.name} rotates a part of each head only, which is not supported.")


def check_vocabulary(file: GgufFile, embeddings: Tensor) -> None:
    """Raises NotAModel if there are tokens that the model has no embedding for."""
    tokens = file.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, list) and len(tokens) > embeddings.shape[0]:
        raise NotAModel(
            f"{file.name} cannot be used: it has {len(tokens)} tokens and {embeddings.shape[0]} "
            "embeddings. Its vocabulary is that of another model; take another file."
        )
