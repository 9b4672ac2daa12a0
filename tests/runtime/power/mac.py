"""A system that can be kept from sleeping, for tests."""


class Mac:
    """A system that counts who holds it awake."""

    def __init__(self, *, fails: bool = False) -> None:
        self.held: list[int] = []
        self.num_asked = 0
        self.fails = fails

    def hold(self, reason: str) -> int:
        assert "mlx-edge" in reason  # who asks `pmset -g assertions` reads it
        self.num_asked += 1
        if self.fails:
            raise OSError("0xe00002bc")
        self.held.append(self.num_asked)
        return self.num_asked

    def release(self, held: int) -> None:
        self.held.remove(held)
