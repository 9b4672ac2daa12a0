"""What a model takes in memory, as record and runtime hold it."""

import msgspec

from .cache_shape import CacheShape


class ModelMemory(msgspec.Struct, frozen=True, omit_defaults=True):
    """In bytes; told by its files, and better by an engine that has measured it."""

    weight_bytes: int
    cache: CacheShape = CacheShape()
    row_bytes: int = 0  # of a row beside its cache: its logits, what draws from them
    process_bytes: int = 0  # of its engine, beside what MLX counts
    # What a pass over one chunk of a prompt takes beside weights and caches; and of that, for each
    # token that stands before the chunk or in it, where attention writes its scores down.
    pass_bytes: int = 0
    pass_token_bytes: int = 0
