"""What the cache of one row takes in memory, as record and runtime hold it."""

import msgspec


class Window(msgspec.Struct, frozen=True):
    """Layers that keep the last `num_tokens` of a row, in `token_bytes` each."""

    num_tokens: int
    token_bytes: int


class CacheShape(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of all layers together, in bytes as the engine holds them."""

    token_bytes: int = 0  # of each token, in layers that keep all of them
    windows: tuple[Window, ...] = ()
    state_bytes: int = 0  # whatever the length: the states of recurrences and convolutions
