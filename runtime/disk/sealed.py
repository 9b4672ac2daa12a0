"""Content that only the holder of a key reads or makes: AES-256-GCM, by `cryptography`.

A sealed file is a mark, a nonce, what is encrypted, and a tag of 16 bytes over all of it and the
file's name. So one that was damaged, cut, or put in another's place is found out.
"""

import secrets
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

_MARK = b"mlx-edge prefix 1\n"
_NONCE, _TAG = 12, 16
_CHUNK = 1 << 20  # at once: the interpreter is held meanwhile

NUM_ADDED = len(_MARK) + _NONCE + _TAG


class Damaged(Exception):
    """Not what was sealed under this key and name."""


def seal(key: bytes, name: str, content: bytes, file: BinaryIO) -> None:
    """Write content, encrypted, that can be read under this name only."""
    nonce = secrets.token_bytes(_NONCE)
    encryptor = Cipher(AES(key), GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(_MARK + name.encode())
    file.write(_MARK + nonce)
    view = memoryview(content)
    for start in range(0, len(view), _CHUNK):
        file.write(encryptor.update(view[start : start + _CHUNK]))
    encryptor.finalize()
    file.write(encryptor.tag)


def unseal(key: bytes, name: str, sealed: bytes) -> bytes:
    """What was sealed. Raises Damaged."""
    if len(sealed) < NUM_ADDED or not sealed.startswith(_MARK):
        raise Damaged(name)
    nonce = sealed[len(_MARK) : len(_MARK) + _NONCE]
    decryptor = Cipher(AES(key), GCM(nonce, sealed[-_TAG:])).decryptor()
    decryptor.authenticate_additional_data(_MARK + name.encode())
    view = memoryview(sealed)[len(_MARK) + _NONCE : -_TAG]
    content = bytearray()
    for start in range(0, len(view), _CHUNK):
        content += decryptor.update(view[start : start + _CHUNK])
    try:
        decryptor.finalize()
    except InvalidTag:
        raise Damaged(name) from None
    return bytes(content)
