"""`python -m scripts.bench.yardstick FOLDER`: mlx-lm's bare BatchGenerator, served on stdin.

A line of JSON is a round of work; the answer is its tokens per second. The prompts go
through the same template as the servers' do; rendering and tokenizing them is not timed.
"""

import sys
import time
from typing import Any

import msgspec

from runtime.engine import device

# isort: split
import mlx.core as mx
from mlx_lm.generate import BatchGenerator, generate_step
from mlx_lm.sample_utils import make_sampler
from mlx_lm.utils import load


class Round(msgspec.Struct):
    """One user message for each row."""

    prompts: list[str]
    max_tokens: int
    temperature: float
    top_p: float
    unbatched: bool = False  # by mlx-lm's generation of one row, row after row


def main() -> None:
    device.limit_memory()
    model, tokenizer = load(sys.argv[1])[:2]
    if (dtype := device.compute_dtype()) is not None:
        model.set_dtype(dtype)
    for line in sys.stdin:
        work = msgspec.json.decode(line, type=Round)
        rows = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=False
            )
            for prompt in work.prompts
        ]
        sampler = make_sampler(work.temperature, work.top_p)
        run = _unbatched if work.unbatched else _batched
        started = time.perf_counter()
        count = run(model, rows, work.max_tokens, sampler)
        seconds = time.perf_counter() - started
        mx.clear_cache()
        print(count / seconds, flush=True)


def _batched(model: Any, rows: list[list[int]], max_tokens: int, sampler: Any) -> int:
    batch = BatchGenerator(model, sampler=sampler)
    batch.insert(rows, [max_tokens] * len(rows))
    count = 0
    while responses := batch.next_generated():
        count += len(responses)
    batch.close()
    return count


def _unbatched(model: Any, rows: list[list[int]], max_tokens: int, sampler: Any) -> int:
    steps = (
        generate_step(mx.array(row), model, max_tokens=max_tokens, sampler=sampler) for row in rows
    )
    return sum(1 for row in steps for _ in row)


if __name__ == "__main__":
    main()
