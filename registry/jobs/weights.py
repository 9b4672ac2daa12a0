"""Which weight files are taken, where an index names them: decided before the first of them is.

An index may be stale: left over from another conversion, it names files that are not there, while
those that are there hold all tensors. Their headers tell, and these are a few kilobytes.
"""

import itertools
import re
import struct
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from registry.checkpoint.companions import CONFIG
from registry.checkpoint.config import positive, read_json
from registry.checkpoint.listing import INDEX, MAX_SHARDS, names_in, read_index
from registry.checkpoint.weights import quote
from registry.download.part import blocking
from registry.download.peek import read_range
from registry.download.remote import DownloadSettings, Remote
from registry.errors import BrokenWeights, SourceRefused
from registry.hub.files import complete_sets
from registry.store.record import is_weight

from .fetching import Fetching

_LAYER = re.compile(r"(?:^|\.)(?:layers|layer|h|blocks)\.(\d{1,4})\.")
_MAX_HEADER_BYTES = 32 << 20
_FIRST_BYTES = 64 << 10  # which most headers fit into
_MAX_NAMES_BYTES = 128 << 20  # of all files together: a million names
_LAYER_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")

ReadTensors: TypeAlias = Callable[[str], Awaitable[frozenset[str]]]  # of the file of this name


@dataclass(frozen=True, slots=True)
class Choice:
    """The weights to take, by the name that each gets here; `note` if the index is stale."""

    files: Mapping[str, str]  # name here -> name there
    note: str | None = None
    is_index_wrong: bool = False  # for the files as they are called here


async def choose(
    what: str,
    folder: Path,
    weight_map: Mapping[str, str],
    there: Collection[str],
    read: ReadTensors,
) -> Choice:
    """What to take of the files that are `there`; `folder` has config.json, `what` names them.

    Raises SourceRefused if the files that are there hold no whole model, and what `read` raises.
    """
    named = set(weight_map.values())
    if missing := sorted(named - set(there)):
        return await _instead(what, folder, weight_map, missing, there, read)
    return _chosen(sorted(named), named)


def as_found(there: Collection[str], weight_map: Mapping[str, str] | None = None) -> Choice:
    """All of them, whatever an index names."""
    names = sorted(there)
    return Choice(_renamed(names)) if weight_map is None else _chosen(names, weight_map.values())


async def fetch_chosen(choice: Choice, there: Mapping[str, Remote], fetching: Fetching) -> None:
    """The weights that were chosen, without an index that names others or calls them otherwise."""
    if choice.is_index_wrong:
        fetching.remove(INDEX)
    await fetching.add({here: there[name] for here, name in choice.files.items()})


async def index_of(folder: Path) -> dict[str, str] | None:
    """What `read_index` says, without holding up the event loop. Once for each job."""
    return await blocking(read_index, folder)


def _chosen(names: Sequence[str], named: Collection[str], note: str | None = None) -> Choice:
    """These files, where the index has `named` others or the same."""
    files = _renamed(names)
    return Choice(files, note, files.keys() != set(named))


async def _instead(
    what: str,
    folder: Path,
    weight_map: Mapping[str, str],
    missing: Sequence[str],
    there: Collection[str],
    read: ReadTensors,
) -> Choice:
    """The first set of files that holds all tensors, of an index that names others."""
    config = await blocking(read_json, folder / CONFIG)
    headers = _Headers(what, read)
    lacking = ""
    sets = complete_sets(there)
    if (own := tuple(sorted(name for name in there if is_weight(name)))) not in sets:
        sets.append(own)
    for names in sets:
        found = [await headers.of(name) for name in names]
        wrong = await blocking(_lacking, found, weight_map, config)
        if wrong is None:
            note = f"{INDEX} is stale: it names {missing[0]}, which {what} does not have"
            return _chosen(names, weight_map.values(), f"{note}. {_taken(names)} instead of it.")
        lacking = lacking or wrong
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    reason = f" {lacking}." if lacking else ""
    raise SourceRefused(
        f"{what} is not complete: its {INDEX} names {missing[0]}{more}, which it does not have, "
        f"and the weights that it has hold no whole model.{reason} Nothing of them was taken; add "
        "what is missing, or choose another repository or revision."
    )


class _Headers:
    """The tensors of each file, read once; of all files not more than memory has room for."""

    def __init__(self, what: str, read: ReadTensors) -> None:
        self._what, self._read = what, read
        self._names: dict[str, frozenset[str]] = {}
        self._num_bytes = 0

    async def of(self, file: str) -> frozenset[str]:
        """Raises SourceRefused, and what `read` raises."""
        if file not in self._names:
            self._names[file] = names = await self._read(file)
            self._num_bytes += sum(map(sys.getsizeof, names))
            if self._num_bytes > _MAX_NAMES_BYTES or len(self._names) > MAX_SHARDS:
                raise SourceRefused(
                    f"{self._what} has an {INDEX} that is stale, and the weights beside it are "
                    "too many to choose from: take another repository or revision."
                )
        return self._names[file]


def _lacking(
    headers: Sequence[frozenset[str]], weight_map: Mapping[str, str], config: Mapping[str, object]
) -> str | None:
    """What the tensors of these files lack of a whole model, or None.

    Not every tensor of the index has to be there: a conversion renames some and drops others, such
    as an output layer that is tied. But it leaves no layer out. Nothing is said ("") of files that
    have no tensors, or one of them twice.
    """
    found = frozenset[str]().union(*headers)
    if not found or len(found) != sum(map(len, headers)):
        return ""
    absent = min(weight_map.keys() - found, default=None)
    if absent is None:
        return None
    layers = {int(match[1]) for name in found if (match := _LAYER.search(name))}
    num_layers = _num_layers(config)
    if num_layers is None or not layers:
        return f"{quote(absent)} is in none of them"
    # Counted only as far as there are layers: a stranger wrote how many there should be.
    lost = next(number for number in itertools.count() if number not in layers)
    return f"Layer {lost} of {num_layers} is in none of them" if lost < num_layers else None


def _num_layers(config: Mapping[str, object]) -> int | None:
    text_config = config.get("text_config")
    for source in (config, text_config if isinstance(text_config, dict) else {}):
        for key in _LAYER_KEYS:
            if (value := positive(source.get(key))) is not None:
                return value
    return None


async def tensors_at(remote: Remote, name: str, settings: DownloadSettings) -> frozenset[str]:
    """The names in a safetensors header. Raises BrokenWeights for what is none, DownloadFailed."""
    start = await read_range(remote, 0, _FIRST_BYTES, settings)
    if len(start) < 8:
        raise BrokenWeights(name, f"{len(start)} bytes are too few for a safetensors header")
    (length,) = struct.unpack("<Q", start[:8])
    if length > min(_MAX_HEADER_BYTES, (remote.size or _MAX_HEADER_BYTES + 8) - 8):
        raise BrokenWeights(name, f"a header of {length} bytes in a file of {remote.size}")
    if len(start) < 8 + length:
        start += await read_range(remote, len(start), 8 + length, settings)
    return await blocking(names_in, start[8 : 8 + length], name)


def _renamed(names: Sequence[str]) -> dict[str, str]:
    """Each by its name here: mlx-lm loads model*.safetensors, and nothing else."""
    if all(is_weight(name) for name in names):
        return {name: name for name in names}
    if len(names) == 1:
        return {"model.safetensors": names[0]}
    total = len(names)
    return {
        f"model-{number:05}-of-{total:05}.safetensors": name for number, name in enumerate(names, 1)
    }


def _taken(names: Sequence[str]) -> str:
    return f"{names[0]} is taken" if len(names) == 1 else f"{len(names)} other files are taken"
