"""Finds out that an answer only repeats itself, as small models do for ever."""

_MAX_PERIOD = 256  # tokens after which it begins again
_MIN_REPETITIONS = 6
_MIN_TOKENS = 96  # that repeat: a table may hold a row of zeros
_EVERY = 16  # tokens between two looks


class LoopGuard:
    """Of one row. What it says follows from the tokens alone."""

    def __init__(self) -> None:
        self.is_looping = False
        self._tokens: list[int] = []

    def add(self, token: int) -> None:
        self._tokens.append(token)
        if len(self._tokens) % _EVERY == 0:
            self.is_looping = any(map(self._repeats, range(1, _MAX_PERIOD + 1)))

    def _repeats(self, period: int) -> bool:
        """Whether the last tokens are one and the same piece, again and again."""
        tokens = self._tokens
        length = max(_MIN_TOKENS, _MIN_REPETITIONS * period)
        if len(tokens) < length or tokens[-1] != tokens[-1 - period]:
            return False
        tail = tokens[-length:]
        return tail[period:] == tail[:-period]
