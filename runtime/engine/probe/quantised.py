"""Whether a model's KV cache can be quantised, asked of its empty cache and then of the model.

mlx-lm's attention multiplies with packed keys where it is given them, but not every module goes
through it, and those that do not take the packed numbers for others or fail. So the few tokens of
the probe go through the model once with packed keys and values and once with the same numbers
unpacked, which has to give the same.
"""

import copy
import logging
from collections.abc import Sequence
from typing import Any, cast

import mlx.core as mx
from mlx.nn.layers.base import Module
from mlx_lm.models.cache import KVCache
from msgspec.structs import astuple

from registry.checkpoint.exactness import Exactness
from runtime.engine import device
from runtime.engine.cache import kv_cache
from runtime.engine.cache.quantized import HeadSizeRefused, QuantizedCache, group_size
from runtime.engine.language_model import LanguageModel

from .probe import ATTEMPTS, Work, answers, difference
from .subject import few_layered, in_float32

logger = logging.getLogger(__name__)

# Of 8 bits, which walk the same way as 4 and forgive more: a number on the verge of two steps may
# be sent to the other one by rounding. In units of `difference`.
_BITS, _TOLERANCE = 8, 0.02


def hold_quantised(model: Module, bits: int) -> None:
    """Have the model make its caches so from now on."""
    count = len(kv_cache.make(model))
    model.make_cache = lambda: [QuantizedCache(bits) for _ in range(count)]


def refusal(model: Module, exactness: Exactness, num_tokens: int) -> str | None:
    """Why the model's cache cannot be quantised, as the end of a sentence; None if it can.

    `exactness` is what the model stands as it is: quantised it has to stand as much.
    """
    if (reason := _of_kind(kv_cache.make(model))) is not None:
        return reason
    subject = in_float32(model) if device.compute_dtype() is None else model
    subject = few_layered(subject) or copy.copy(subject)
    try:
        if not _is_as_unpacked(subject, num_tokens):
            return "its attention computes something else with packed keys and values"
        hold_quantised(subject, _BITS)
        stands = answers(subject, num_tokens, _TOLERANCE)
    except HeadSizeRefused as error:
        return str(error)
    except Exception as error:
        logger.info("packed keys and values: %s", error)
        return "its attention cannot read packed keys and values"
    finally:
        mx.clear_cache()
    before_and_now = zip(astuple(exactness), astuple(stands), strict=True)
    if any(was_exact and not is_exact for was_exact, is_exact in before_and_now):
        return "its rows would change each other"
    return None


def _of_kind(empty: Sequence[object]) -> str | None:
    others = [at for at, layer in enumerate(empty) if type(layer) is not KVCache]
    if not others:
        return None
    names = " and ".join(sorted({type(empty[at]).__name__ for at in others}))
    which = "all layers" if len(others) == len(empty) else f"layers {_spans(others)}"
    return f"{which} of {len(empty)} keep something else than all keys and values ({names})"


def _spans(numbers: list[int]) -> str:
    """For 0, 1, 2, 5: 0-2, 5."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ", ".join("-".join(map(str, span)) for span in spans)


class _Unpacked(KVCache):
    """Holds the numbers that a quantised cache stands for, as they are."""

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        groups = group_size(keys.shape[-1], values.shape[-1])

        def rounded(array: mx.array) -> mx.array:
            packed = mx.quantize(array, group_size=groups, bits=_BITS)
            return mx.dequantize(*packed, group_size=groups, bits=_BITS).astype(array.dtype)

        plain: Any = super()  # its methods have no types
        both: tuple[mx.array, mx.array] = plain.update_and_fetch(rounded(keys), rounded(values))
        return both


def _is_as_unpacked(subject: Module, num_tokens: int) -> bool:
    packed, unpacked = copy.copy(subject), copy.copy(subject)
    hold_quantised(packed, _BITS)
    count = len(kv_cache.make(subject))
    unpacked.make_cache = lambda: [_Unpacked() for _ in range(count)]  # type: ignore[no-untyped-call]
    for seed in range(ATTEMPTS):
        works = [Work(cast(LanguageModel, each), num_tokens, seed) for each in (packed, unpacked)]
        rows = zip(*(work.alone for work in works), strict=True)
        differences = [difference(mx.stack(a), mx.stack(b)) for a, b in rows]
        logger.info("packed: %s", differences)
        if max(differences) <= _TOLERANCE:
            return True
    return False
