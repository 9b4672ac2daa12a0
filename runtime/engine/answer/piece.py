"""What an answer's text is made of."""

from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["text", "reasoning", "call"]


class Piece(NamedTuple):
    """Some of an answer: whole characters of one kind."""

    kind: Kind
    text: str  # of a call: more of its arguments
    number: int = 0  # of the call, from 0
    name: str = ""  # of the call's function, in its first piece
