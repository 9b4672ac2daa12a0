"""Text in the fields that OpenAI calls `encrypted_content`: a client keeps it for the next turn.

It is packed, and no secret: what it says was told to the client, who owns it, in plain words too.
Kept in the client's hands it needs no place here, and outlives the server.
"""

import base64
import zlib

_MARK = "mlxe1."


class TooLong(ValueError):
    """It would unfold to more than is wanted."""


def sealed(text: str) -> str:
    """The text as one word."""
    packed = zlib.compress(text.encode(), 6)
    return _MARK + base64.urlsafe_b64encode(packed).decode()


def opened(word: str, limit_bytes: int) -> str | None:
    """The text again; None for a word of somebody else's. Raises TooLong."""
    if not word.startswith(_MARK):
        return None
    unpacking = zlib.decompressobj()
    try:
        packed = base64.urlsafe_b64decode(word[len(_MARK) :])
        text = unpacking.decompress(packed, max(1, limit_bytes))
    except (ValueError, zlib.error):
        return None
    if unpacking.unconsumed_tail:
        raise TooLong
    try:
        return text.decode() if unpacking.eof else None
    except UnicodeDecodeError:
        return None
