"""Which weight files are taken, where an index names them: decided before the first of them is.

An index may be stale: left over from another conversion, it names files that are not there, while
those that are there hold all tensors. Their headers tell, and these are a few kilobytes.
"""

import json
import re
import struct
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from registry.checkpoint.companions import CONFIG
from registry.checkpoint.config import positive, read_json
from registry.checkpoint.shards import INDEX
from registry.checkpoint.weights import quote
from registry.download.peek import read_range
from registry.download.remote import DownloadSettings, Remote
from registry.errors import BrokenWeights, SourceRefused
from registry.hub.files import complete_sets
from registry.store.record import is_weight

from .fetching import Fetching

_LAYER = re.compile(r"(?:^|\.)(?:layers|layer|h|blocks)\.(\d{1,4})\.")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_MAX_HEADER_BYTES = 32 << 20
_FIRST_BYTES = 64 << 10  # which most headers fit into
_LAYER_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")

ReadTensors: TypeAlias = Callable[[str], Awaitable[frozenset[str]]]  # of the file of this name


@dataclass(frozen=True, slots=True)
class Choice:
    """The weights to take, by the name that each gets here; `note` if the index is stale."""

    files: Mapping[str, str]  # name here -> name there
    note: str | None = None

    def keeps(self, index: Mapping[str, str] | None) -> bool:
        """Whether an index still holds for the files as they are called here."""
        return index is not None and set(index.values()) == self.files.keys()


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
    return Choice(_renamed(sorted(named)))


def as_found(there: Collection[str]) -> Choice:
    """Weights that no index names."""
    return Choice(_renamed(sorted(there)))


async def fetch_chosen(choice: Choice, there: Mapping[str, Remote], fetching: Fetching) -> None:
    """The weights that were chosen, without an index that names others or calls them otherwise."""
    if not choice.keeps(read_weight_map(fetching.folder)):
        fetching.remove(INDEX)
    await fetching.add({here: there[name] for here, name in choice.files.items()})


def read_weight_map(folder: Path) -> dict[str, str] | None:
    """Which file each tensor is in, as the index says; None if there is none.

    Raises BrokenWeights, also for a name that leads out of the folder.
    """
    path = folder / INDEX
    if not path.is_file():
        return None
    try:
        weight_map = json.loads(path.read_bytes())["weight_map"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise BrokenWeights(INDEX, f"it cannot be read ({error!r})") from None
    if not isinstance(weight_map, dict) or not weight_map:
        raise BrokenWeights(INDEX, "its weight_map is not a map of tensors to files")
    for name in weight_map.values():
        if not isinstance(name, str) or not _PLAIN.fullmatch(name):
            raise BrokenWeights(INDEX, f"it names {quote(str(name))}, which is no file beside it")
    return weight_map


async def _instead(
    what: str,
    folder: Path,
    weight_map: Mapping[str, str],
    missing: Sequence[str],
    there: Collection[str],
    read: ReadTensors,
) -> Choice:
    """The first set of files that holds all tensors, of an index that names others."""
    config = read_json(folder / CONFIG)
    headers: dict[str, frozenset[str]] = {}
    lacking = ""
    sets = complete_sets(there)
    if (own := tuple(sorted(name for name in there if is_weight(name)))) not in sets:
        sets.append(own)
    for names in sets:
        for name in names:
            if name not in headers:
                headers[name] = await read(name)
        found = frozenset[str]().union(*(headers[name] for name in names))
        is_once = len(found) == sum(len(headers[name]) for name in names)
        if is_once and found and (wrong := _lacking(found, weight_map, config)) is None:
            note = f"{INDEX} is stale: it names {missing[0]}, which {what} does not have"
            return Choice(_renamed(names), f"{note}. {_taken(names)} instead of it.")
        lacking = lacking or (wrong if is_once and found and wrong else "")
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    reason = f" {lacking}." if lacking else ""
    raise SourceRefused(
        f"{what} is not complete: its {INDEX} names {missing[0]}{more}, which it does not have, "
        f"and the weights that it has hold no whole model.{reason} Nothing of them was taken; add "
        "what is missing, or choose another repository or revision."
    )


def _lacking(
    found: frozenset[str], weight_map: Mapping[str, str], config: Mapping[str, object]
) -> str | None:
    """What these tensors lack of a whole model, or None.

    Not every tensor of the index has to be there: a conversion renames some and drops others, such
    as an output layer that is tied. But it leaves no layer out.
    """
    absent = sorted(weight_map.keys() - found)
    if not absent:
        return None
    layers = {int(match[1]) for name in found if (match := _LAYER.search(name))}
    num_layers = _num_layers(config)
    if num_layers is None or not layers:
        return f"{quote(absent[0])} is in none of them"
    lost = sorted(set(range(num_layers)) - layers)
    return f"Layer {lost[0]} of {num_layers} is in none of them" if lost else None


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
    try:
        header = json.loads(start[8 : 8 + length].decode())
        return frozenset(header) - {"__metadata__"}
    except (ValueError, RecursionError, TypeError) as error:
        raise BrokenWeights(name, f"the header is not JSON: {error}") from None


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
