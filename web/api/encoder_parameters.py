"""What embeddings and rankings of other servers have and cannot be honoured: see `parameters`."""

from registry.checkpoint.config import Json
from web.door.body import Neutral

_ENCODERS: Neutral = {
    "truncation": (False,),
    "truncate_prompt_tokens": (),
    "max_length": (),
    "truncation_direction": ("right", "Right"),
    "truncation_side": ("right",),
    "auto_truncate": (False,),
    "add_special_tokens": (True,),
    "mm_processor_kwargs": ({},),
    "chat_template": ("",),
    "chat_template_kwargs": ({},),
    "use_activation": (),
    "activation": (),
    "softmax": (),
    "normalize": (),
    "max_ttft_ms": (),  # there is no first token
    "options": ({},),
    "parameters": ({},),
    "extra_body": ({},),
}
_FLOAT_TYPES: tuple[Json, ...] = ("float", "float32", ["float"])

# Of vLLM, TEI, Jina, Cohere, Voyage, Mistral, Ollama, llama.cpp and Infinity.
EMBEDDINGS: Neutral = _ENCODERS | {
    "task": (),
    "task_type": (),
    "input_type": (),
    "instruction": ("",),
    "prompt_name": (),
    "late_chunking": (False,),
    "embedding_type": _FLOAT_TYPES,
    "embedding_types": _FLOAT_TYPES,
    "output_dtype": _FLOAT_TYPES,
    "embed_dtype": _FLOAT_TYPES,
    "endianness": ("native", "little"),
    "output_dimension": (),
    "truncate_dim": (),
    "matryoshka_dim": (),
    "normalized": (),
    "embd_normalize": (),
    "pooling": (),
    "pooling_type": (),
    "return_multivector": (False,),
    "return_sparse": (False,),
    "modality": ("text",),
    "messages": ([],),
    "images": ([],),
    "inputs": ([],),
}

RERANK: Neutral = _ENCODERS | {
    "top_k": (),  # Voyage's word for top_n
    "texts": ([],),
    "rank_fields": ([],),
    "max_chunks_per_doc": (),
    "max_tokens_per_doc": (),
    "max_query_length": (),
    "overlap_tokens": (),
    "score_threshold": (0,),
    "raw_scores": (False,),
    "return_text": (False,),
    "return_embeddings": (False,),
    "instruct": ("",),
    "images": ([],),
}
