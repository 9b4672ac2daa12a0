"""How fast prompts are read, and how many tokens one pass may have so as not to stall others.

A pass takes a time of its own, however few tokens it has: for fetching the weights, and with latent
attention for unpacking all that was read before. Where this alone is about the limit, passes that
get shorter and shorter spare nobody the wait, and the prompt is never read. So where passes are
very short, or have become much slower for their size, longer ones are tried, and kept if they pay.
"""

# Tokens a second that are assumed until a pass was measured. A low guess: a first pass that takes
# a minute would look like an engine that hangs. Every pass may double it.
_FIRST_GUESS = 16.0
_MIN_TOKENS = 4
_SHORT, _PATIENCE = 32, 32  # of so few tokens, every so many passes a longer one is tried
_FAR = 4  # times slower than passes were of late: perhaps since they are so short
# Twice the tokens in less than 1.5 times the time: then more than half of the time was the pass's
# own, and the longer pass is kept.
_PAYS = 4 / 3  # times the speed
_FORGETTING = 0.995  # of the best speed, with every pass


class Pace:
    """Of one model's prompts, learned pass by pass. Speeds are in tokens per second."""

    def __init__(self, stall_limit_s: float) -> None:
        """Passes are meant to take a share of `stall_limit_s`."""
        self.tokens_per_s = _FIRST_GUESS
        self._stall_limit_s = stall_limit_s
        self._best = 0.0  # speed, of late
        self._least = _MIN_TOKENS  # tokens, with fewer of which a pass is not worth its own time
        self._least_speed = 0.0  # of such a pass
        self._tried: int | None = None  # tokens of the longer pass that is tried
        self._before = 0.0  # the speed of half of them
        self._patience = 0  # with short passes, before a longer one is tried

    def budget(self, share: float) -> int:
        """Tokens that take this share of the stall limit, as far as is known, or the fewest that
        are worth a pass.
        """
        fitting = int(self.tokens_per_s * self._stall_limit_s * share)
        return max(fitting, self._least, self._tried or 0)

    def note(self, num_tokens: int, planned: int, elapsed_s: float) -> bool:
        """Learn from a pass of so many tokens, where `planned` could have been. True if it told
        the speed.

        The start of a prompt is fast, so one pass at most doubles the speed; and a pass over a
        handful of tokens is slow for its size, so only a full one may lower it.
        """
        if num_tokens == 0 or elapsed_s <= 0:
            return False
        speed = num_tokens / elapsed_s
        capped = min(speed, 2 * self.tokens_per_s)
        is_full = 2 * num_tokens >= planned
        if is_full:
            self._weigh(num_tokens, speed)
        if not is_full and capped <= self.tokens_per_s:
            return False
        self.tokens_per_s = capped
        return True

    def _weigh(self, num_tokens: int, speed: float) -> None:
        """Find out whether passes have become too short."""
        self._best = max(speed, self._best * _FORGETTING)
        if self._tried is not None:
            if speed > _PAYS * self._before:
                self._least, self._before, self._tried = self._tried, speed, 2 * self._tried
            else:
                self._best, self._least_speed, self._tried = speed, self._before, None
        elif speed > 2 * self._least_speed:  # another prompt, of which less was read
            self._least = _MIN_TOKENS
        self._patience -= num_tokens <= _SHORT
        if self._tried is None and (self._patience < 0 or speed * _FAR < self._best):
            self._before, self._tried, self._patience = speed, 2 * num_tokens, _PATIENCE
