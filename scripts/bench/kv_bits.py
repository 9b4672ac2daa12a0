"""`python -m scripts.bench.kv_bits FOLDER ROUNDS`: what a KV cache in fewer bits saves and costs.

A text of the project's own is read by one model with each kind of cache, in chunks: how likely its
tokens were (the perplexity), what the cache then held, and how fast more tokens come behind it. All
is done in one process, the kinds in turn.
"""

import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from runtime.engine import device

# isort: split
import mlx.core as mx
from mlx_lm.models.cache import KVCache
from mlx_lm.utils import dequantize_model

from registry.checkpoint.kv_bits import NOT_QUANTISED, KvBits
from registry.checkpoint.tokenizer.load import load as load_tokenizer
from runtime.engine.cache import kv_cache
from runtime.engine.cache.kv_cache import Cache
from runtime.engine.cache.padding import Padding
from runtime.engine.cache.quantized import QuantizedCache
from runtime.engine.language_model import LanguageModel
from runtime.engine.loader import KvBitsRefused, load

TEXT = Path(__file__).parents[2] / "tests" / "models" / "harbour.txt"

_BITS: tuple[KvBits, ...] = (NOT_QUANTISED, 8, 4)
_CHUNK_TOKENS = 128
_NUM_DRAWN = 16


def main() -> None:
    folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
    device.limit_memory()
    try:
        model: Any = load(folder, lambda done, total: None, kv_bits=8).model
    except KvBitsRefused as error:
        raise SystemExit(f"{folder}: {error}") from None
    if not device.is_gpu():  # a CPU takes minutes to multiply with packed weights
        model = dequantize_model(model)
    tokens = load_tokenizer(folder).encode(TEXT.read_text(encoding="utf-8")).ids
    speeds: dict[KvBits, list[float]] = {bits: [] for bits in _BITS}
    print(f"{TEXT.name}, {len(tokens)} tokens, on {device.name()}:")
    plain = plain_size = 0.0
    for number in range(rounds):
        for bits in _BITS:
            cache, perplexity = _read(model, tokens, bits)
            size = kv_cache.num_bytes(cache) * 1000 / Padding().allocated(len(tokens))
            speeds[bits].append(_tokens_per_s(model, cache))
            if bits == NOT_QUANTISED:
                plain, plain_size, name = perplexity, size, _dtype(cache)
            if number == 0:
                kind = name if bits == NOT_QUANTISED else f"{bits} bits"
                print(
                    f"{kind}: {size / 1e6:.2f} MB for 1,000 tokens ({size / plain_size:.2f}), "
                    f"perplexity {perplexity:.3f} ({100 * (perplexity / plain - 1):+.2f} %)",
                    flush=True,
                )
    for bits in _BITS[1:]:
        ratios = [own / of for own, of in zip(speeds[bits], speeds[NOT_QUANTISED], strict=True)]
        print(
            f"{bits} bits: {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) "
            f"of the tokens a second, {statistics.median(speeds[bits]):.1f}."
        )


def _read(model: LanguageModel, tokens: list[int], bits: KvBits) -> tuple[Cache, float]:
    """The cache with all tokens in it, and their perplexity, that of the first apart."""
    count = len(kv_cache.make(model))
    kind = KVCache if bits == NOT_QUANTISED else partial(QuantizedCache, bits)
    cache: Any = [kind() for _ in range(count)]  # whatever the model would make
    loss = mx.array(0.0)
    for start in range(0, len(tokens), _CHUNK_TOKENS):
        chunk = mx.array(tokens[start : start + _CHUNK_TOKENS])
        logits = model(chunk[None], cache=cache)[0].astype(mx.float32)
        told = mx.array(tokens[start + 1 : start + 1 + _CHUNK_TOKENS])
        logits = logits[: told.size]
        likelihoods = mx.take_along_axis(logits, told[:, None], axis=-1)[:, 0]
        loss += (mx.logsumexp(logits, axis=-1) - likelihoods).sum()
        mx.eval(loss)
        kv_cache.evaluate(cache)
    return cache, float(mx.exp(loss / (len(tokens) - 1)).item())  # type: ignore[arg-type]


def _dtype(cache: Any) -> str:
    """Of keys that are not quantised."""
    return str(cache[0].keys.dtype).removeprefix("mlx.core.")


def _tokens_per_s(model: LanguageModel, cache: Cache) -> float:
    """Of greedy ones behind what is in the cache."""
    token = mx.array([[1]])
    for count in range(_NUM_DRAWN + 1):
        if count == 1:  # the first pass also makes room
            started = time.perf_counter()
        token = model(token, cache=cache)[:, -1:].argmax(axis=-1)
        mx.eval(token)
    return _NUM_DRAWN / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
