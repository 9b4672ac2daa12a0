"""`python -m scripts.bench.embed_yardstick FOLDER`: the bare forward pass, served on stdin.

A line of JSON is a round of work; the answer is its inputs per second. The packs are those that an
engine makes of the same texts; tokenizing and packing is not timed.
"""

import sys
import time
from pathlib import Path

import msgspec
from tokenizers import Tokenizer

from runtime.engine import device

# isort: split
import mlx.core as mx

from registry.checkpoint.model import Model
from runtime.engine.encoders.batch import EncodeBatch, Input
from runtime.engine.loader import load_encoder
from runtime.engine_messages import Embed, EngineSettings


class Round(msgspec.Struct):
    """Requests, one after the other: each is a list of texts."""

    requests: list[list[str]]
    is_packed: bool  # or one text at a time


def main() -> None:
    folder = Path(sys.argv[1])
    device.limit_memory()
    encoder = load_encoder(Model("bench", folder), lambda done, total: None)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    for line in sys.stdin:
        work = msgspec.json.decode(line, type=Round)
        packs: list[list[Input]] = []
        for texts in work.requests:
            tokens = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
            packs += _packs(tokens) if work.is_packed else [p for t in tokens for p in _packs([t])]
        started = time.perf_counter()
        for pack in packs:
            encoder.encode(pack)
        seconds = time.perf_counter() - started
        mx.clear_cache()
        print(sum(map(len, packs)) / seconds, flush=True)


def _packs(tokens: list[list[int]]) -> list[list[Input]]:
    batch = EncodeBatch()
    batch.add(Embed(0, tokens))
    packs = []
    while pack := batch.next_pack(EngineSettings().pack_tokens):
        packs.append(pack)
    return packs


if __name__ == "__main__":
    main()
