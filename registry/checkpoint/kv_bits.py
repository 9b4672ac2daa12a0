"""How many bits each number of a KV cache is held in."""

from typing import Literal, TypeAlias

# 16 is the word for "as the model computes", which on a CPU takes 32.
KvBits: TypeAlias = Literal[4, 8, 16]
NOT_QUANTISED: KvBits = 16
