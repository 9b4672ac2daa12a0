"""The batches of a training run: conversations of about one length, and exercises in copying."""

import itertools
from collections.abc import Iterator

import mlx.core as mx
import numpy as np

from scripts.pocket import corpus
from scripts.pocket.tokenizer import VOCAB_SIZE, Encoder, Row

# Lengths that conversations are padded to; a step always holds the same number of tokens.
BUCKETS = (48, 64, 96, 128, 176, 256, 384)
LONG = 1024
LONG_EVERY = 16
COPY_EVERY = 6
# The run begins with copying alone: attention heads learn it soon, and later use it.
FIRST_STEPS, FIRST_LENGTH = 450, 24


class Batch:
    """Rows of one length; `inputs` predict `targets` where `own` is 1. All are (B, L)."""

    def __init__(self, rows: list[Row], length: int) -> None:
        tokens = np.zeros((len(rows), length + 1), dtype=np.int32)
        own = np.zeros((len(rows), length + 1), dtype=np.float32)
        for i, (ids, flags) in enumerate(rows):
            tokens[i, : len(ids)] = ids[: length + 1]
            own[i, : len(flags)] = flags[: length + 1]
        self.inputs, self.targets = mx.array(tokens[:, :-1]), mx.array(tokens[:, 1:])
        self.own = mx.array(own[:, 1:])


def repetitions(encoder: Encoder, seed: int) -> Iterator[Row]:
    """Made-up words, or random tokens, that repeat after a while: they teach the model to copy."""
    speaker = corpus.Speaker(seed)
    draw = speaker.random
    while True:
        if draw.random() < 0.6:
            once = encoder.ids(" ".join(speaker.word() for _ in range(draw.randint(2, 12))))
        else:
            once = [draw.randrange(3, VOCAB_SIZE) for _ in range(draw.randint(5, 45))]
        length = draw.randint(len(once) + 8, max(2 * len(once), 40))
        tokens = (once * (length // len(once) + 1))[:length]
        yield tokens, [0] * len(once) + [1] * (length - len(once))


def first_copies(encoder: Encoder, seed: int, batch_tokens: int) -> Iterator[Batch]:
    """Short random sequences, again and again: nothing but copying helps here."""
    draw = corpus.Speaker(seed).random
    while True:
        rows: list[Row] = []
        for _ in range(batch_tokens // FIRST_LENGTH):
            once = [draw.randrange(3, VOCAB_SIZE) for _ in range(draw.randint(3, 6))]
            tokens = (once * FIRST_LENGTH)[: FIRST_LENGTH + 1]
            rows.append((tokens, [0] * len(once) + [1] * (len(tokens) - len(once))))
        yield Batch(rows, FIRST_LENGTH)


def short_rows(encoder: Encoder, seed: int) -> Iterator[Row]:
    """Conversations, and a repetition after every few of them."""
    copies = repetitions(encoder, seed)
    for index, conversation in enumerate(corpus.conversations(seed)):
        if index % COPY_EVERY == 0:
            yield next(copies)
        yield encoder.encode(conversation)


def bucket_batches(encoder: Encoder, seed: int, batch_tokens: int) -> Iterator[Batch]:
    """Batches of rows of about the same length."""
    waiting: dict[int, list[Row]] = {length: [] for length in BUCKETS}
    for row in short_rows(encoder, seed):
        length = next((length for length in BUCKETS if len(row[0]) <= length + 1), BUCKETS[-1])
        waiting[length].append(row)
        if len(waiting[length]) == batch_tokens // length:
            yield Batch(waiting[length], length)
            waiting[length] = []


def long_batches(encoder: Encoder, seed: int, batch_tokens: int) -> Iterator[Batch]:
    """Batches of conversations of many turns, half the context long."""
    rows = map(encoder.encode, corpus.long_conversations(seed))
    while True:
        yield Batch(list(itertools.islice(rows, batch_tokens // LONG)), LONG)


def batches(
    encoder: Encoder, seed: int, batch_tokens: int, *, is_first: bool = True
) -> Iterator[Batch]:
    """The batches of a run: everything mixed, and in a model's first run copying before that."""
    if is_first:
        yield from itertools.islice(first_copies(encoder, seed, batch_tokens), FIRST_STEPS)
    short, long = (make(encoder, seed, batch_tokens) for make in (bucket_batches, long_batches))
    for step in itertools.count(1):
        yield next(long if step % LONG_EVERY == 0 else short)
