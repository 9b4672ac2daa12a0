"""What an engine tells of its prefix cache: what it holds, and how prompts fared with it."""

from typing import Literal, TypeAlias

import msgspec

# Why no more of a prompt was reused.
# "": all that was known of it was. "new": nothing like it was read before. "differs": at its
# first token that differs from the most similar one. "no_checkpoint": the model's state cannot be
# cut, and none was kept nearer to that token. "evicted": it was known, and had to make room.
# "short": so little of it was known that to read it again is as fast as to copy it.
Blocked: TypeAlias = Literal["", "new", "differs", "no_checkpoint", "evicted", "short"]


class Lookup(msgspec.Struct, frozen=True):
    """How one prompt fared."""

    id: int  # of its row, which is its request's number
    at: float  # unix time
    prompt_tokens: int
    cached_tokens: int
    matched_tokens: int  # that the most similar prompt or answer began with
    blocked: Blocked
    before: str = ""  # the text in front of the first token that differs
    known: str = ""  # what stood there
    asked: str = ""  # what stands there now


class CacheDescription(msgspec.Struct, frozen=True):
    """The prefix cache of one model."""

    num_bytes: int = 0
    budget_bytes: int = 0
    num_tokens: int = 0  # whose keys and values are held
    num_prefixes: int = 0  # that can be gone on from: ends of what was read or said
    prompt_tokens: int = 0  # asked for since the load
    cached_tokens: int = 0  # of these, reused
    num_evicted: int = 0
    disk_bytes: int = 0  # of all models of the home
    disk_limit_bytes: int = 0  # 0: nothing is kept on disk
    bytes_written_today: int = 0  # to disk, for all models of the home
    lookups: list[Lookup] = []  # the last ones, the newest first
