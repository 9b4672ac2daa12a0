"""The names of tensors, as an index and a safetensors header list them: strangers wrote both.

Typed decoders skip what is not looked at instead of building it up, and what names too much is
refused before it is decoded: the web process reads these, too.
"""

import codecs
import re
from pathlib import Path

import msgspec

from registry.errors import BrokenWeights

from .weights import quote

INDEX = "model.safetensors.index.json"
MAX_SHARDS = 1000  # of which each would be asked for

_MAX_INDEX_BYTES = 32 << 20  # one of 200,000 tensors, a trillion weights, has 20 MB
_MAX_COLONS = 500_000  # one follows each name; a header has three more for each tensor
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")


class _Index(msgspec.Struct, frozen=True):
    weight_map: dict[str, str]


class _Tensor(msgspec.Struct, frozen=True, gc=False):
    """Nothing of it is looked at."""


_index_decoder = msgspec.json.Decoder(_Index)
_header_decoder = msgspec.json.Decoder(dict[str, _Tensor | None])  # __metadata__ may be null


def read_index(folder: Path) -> dict[str, str] | None:
    """Which file each tensor is in, as the index says; None if there is none.

    Raises BrokenWeights, also for a name that leads out of the folder.
    """
    path = folder / INDEX
    if not path.is_file():
        return None
    if path.stat().st_size > _MAX_INDEX_BYTES:
        raise BrokenWeights(INDEX, f"it is larger than {_MAX_INDEX_BYTES} bytes")
    content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    _check_count(INDEX, content)
    try:
        weight_map = _index_decoder.decode(content).weight_map
    except (ValueError, RecursionError) as error:
        raise BrokenWeights(INDEX, f"it cannot be read ({error})") from None
    if not weight_map:
        raise BrokenWeights(INDEX, "its weight_map names nothing")
    names = set(weight_map.values())
    if len(names) > MAX_SHARDS:
        raise BrokenWeights(INDEX, f"it names {len(names)} files, over the limit of {MAX_SHARDS}")
    for name in names:
        if not _PLAIN.fullmatch(name):
            raise BrokenWeights(INDEX, f"it names {quote(name)}, which is no file beside it")
    return weight_map


def names_in(header: bytes, file: str) -> frozenset[str]:
    """The tensors of a file, by the JSON of its safetensors header. Raises BrokenWeights."""
    _check_count(file, header)
    try:
        return frozenset(_header_decoder.decode(header)) - {"__metadata__"}
    except (ValueError, RecursionError) as error:
        raise BrokenWeights(file, f"the header is not one of safetensors ({error})") from None


def _check_count(file: str, content: bytes) -> None:
    if content.count(b":") > _MAX_COLONS:
        raise BrokenWeights(file, "it names too many tensors")
