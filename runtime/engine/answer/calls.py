"""Calls of functions in a stream of text, as the model writes them. (To come.)"""

from .piece import Piece


class CallReader:
    num_calls = 0

    def add(self, text: str) -> list[Piece]:
        return [Piece("text", text)]

    def finish(self) -> list[Piece]:
        return []
