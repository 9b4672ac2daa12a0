"""What a model computes exactly in company, as an engine found out by asking it."""

from typing import Literal, TypeAlias

import msgspec

Batching: TypeAlias = Literal["full", "unpadded", "alone"]


class Exactness(msgspec.Struct, frozen=True):
    """Which ways to compute rows give what each row gives alone."""

    merged: bool = True  # rows decode together, in one merged cache
    padded: bool = True  # prompts of several lengths are read in one right-padded pass
    chunked: bool = True  # a prompt is read in pieces

    @property
    def batching(self) -> Batching:
        """The same in a word, as lists show it."""
        if not self.merged:
            return "alone"
        return "full" if self.padded else "unpadded"


class Probed(msgspec.Struct, frozen=True):
    """An answer, and what it holds for: a build of MLX and mlx-lm, a device, a config.json."""

    key: str
    exactness: Exactness
