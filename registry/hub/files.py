"""Which files of a repository make a model. Never code, never pickle. Called by `repository`.

Only what may be fetched is judged: a name that is odd elsewhere in a repository harms nobody.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from registry.checkpoint.companions import CONFIG, is_companion
from registry.checkpoint.listing import INDEX, MAX_SHARDS
from registry.checkpoint.shards import PICKLES
from registry.checkpoint.tokenizer.vocabulary import TEKKEN, TOKENIZER
from registry.errors import QuantRequired, SourceRefused


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository."""

    name: str  # a relative path with slashes
    size: int | None  # where the list says it
    sha256: str | None


WHOLE = "model.safetensors"
# A shard's number and how many there are, in whatever width, before or after the suffix.
_SHARD = re.compile(
    r"(?P<prefix>[A-Za-z0-9_][A-Za-z0-9._-]*?)[-_.]?(?P<number>\d{1,9})-of-(?P<total>\d{1,9})"
    r"(?P<suffix>\.safetensors)?"
)
_OTHERS = ("adapter", "consolidated", "optimizer")  # no weights as transformers names them
_GGUF_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)
NO_MODELS = ("mmproj", "imatrix")  # GGUF files that hold something else
_MAX_NAME_BYTES = 200  # of one file; it gets suffixes while it arrives
# In this order: nearly lossless before small, small before unquantised.
_QUANTS = ("Q8_0", "Q4_K_M", "Q6_K", "Q5_K_M", "Q4_0", "Q4_K_S", "BF16", "F16", "F32")


def needed(repo_id: str, files: list[HubFile], wanted: str | None) -> tuple[HubFile, ...]:
    """The files to fetch, in the listed order. `wanted`: a GGUF's name or quantisation.

    With an index among them the weights are a guess: which of `weights` they are is known when the
    index has been read. Raises SourceRefused, saying what the repository has instead of a model.
    """
    names = {file.name for file in files}
    if wanted is not None:
        return (_once(repo_id, files, _wanted(repo_id, _ggufs(files), wanted)),)
    if found := _weights(repo_id, names):
        if CONFIG not in names:
            raise SourceRefused(f"{repo_id} has weights, but no config.json that describes them.")
        kept = {CONFIG, *found}
        if INDEX in names:
            kept.add(INDEX)
        chosen = [file for file in files if file.name in kept or is_companion(file.name)]
        if TOKENIZER in names:  # which says the same as Mistral's own file, of some 20 MB
            chosen = [file for file in chosen if file.name != TEKKEN]
        return tuple(_once(repo_id, files, file) for file in chosen)
    if ggufs := _ggufs(files):
        return (_once(repo_id, files, _sensible(repo_id, ggufs)),)
    raise SourceRefused(_nothing(repo_id, names))


def weights(files: Iterable[HubFile]) -> tuple[HubFile, ...]:
    """All files that an index may name."""
    return tuple(file for file in files if is_weight_name(file.name))


def is_weight_name(name: str) -> bool:
    """Whether this is a plain name of a safetensors file, its shard's number at whichever end."""
    return _is_plain(name) and "/" not in name and ".safetensors" in name and (
        name.endswith(".safetensors") or _SHARD.fullmatch(name) is not None
    )  # fmt: skip


def siblings(name: str) -> set[str]:
    """What all shards may be called that this one is one of, counted from 0 or 1; none if alone."""
    match = _SHARD.fullmatch(name)
    if match is None or (total := int(match["total"])) < 2:
        return set()
    begin, end = match.span("number")
    numbers = range(total + 1) if total <= MAX_SHARDS else ()
    return {name} | {f"{name[:begin]}{number:0{end - begin}}{name[end:]}" for number in numbers}


def complete_sets(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Sets of weight files that are whole by their names, the likeliest first.

    One model.safetensors, or shards that count to the total that they name, from 0 or from 1.
    """
    shards: dict[tuple[str, int, str], dict[int, str]] = {}
    sets: list[tuple[str, ...]] = []
    for name in sorted(name for name in names if is_weight_name(name)):
        if name == WHOLE:
            sets.append((name,))
        elif (match := _SHARD.fullmatch(name)) and not name.startswith(_OTHERS):
            key = match["prefix"], int(match["total"]), match["suffix"] or ""
            shards.setdefault(key, {})[int(match["number"])] = name
    for (_, total, _), numbered in sorted(
        shards.items(), key=lambda found: (not found[0][0].startswith("model"), -found[0][1])
    ):
        first = min(numbered)
        counted = list(range(first, first + len(numbered)))
        is_whole = first in (0, 1) and len(numbered) in (total, total + 1 - first)
        if sorted(numbered) == counted and is_whole:
            sets.append(tuple(numbered[number] for number in counted))
    return sets


def local_name(name: str) -> str:
    """What a file is called here: a GGUF leaves its folder and what is odd in its name."""
    if not _is_gguf(name):
        return name
    stem = re.sub(r"[^A-Za-z0-9._+-]+", "-", PurePosixPath(name).name[: -len(".gguf")])
    return f"{stem.strip('.-') or 'model'}.gguf"


def _once(repo_id: str, files: list[HubFile], file: HubFile) -> HubFile:
    if sum(other.name == file.name for other in files) > 1:
        raise SourceRefused(f"{repo_id} lists {file.name} twice.")
    return file


def _is_plain(name: str) -> bool:
    """Whether a path can lead nowhere but into the folder that it is joined to."""
    plain = unicodedata.normalize("NFKC", name)  # look-alike dots and slashes become real ones
    parts = plain.split("/")
    return (
        0 < len(name) <= 1024
        and name == name.strip()
        and "\\" not in plain
        and not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs") for letter in name)
        and not re.match(r"[A-Za-z]:|~", plain)
        and not any(
            part in ("", ".", "..") or len(part.encode()) > _MAX_NAME_BYTES for part in parts
        )
    )


def _weights(repo_id: str, names: set[str]) -> set[str]:
    """The safetensors to load. Shards with an index win over a single file."""
    sets = complete_sets(names)
    shards = [found for found in sets if found != (WHOLE,)]
    if INDEX in names and shards:
        return set(shards[0])
    if sets:
        return set(sets[0])
    numbered = [name for name in names if _SHARD.fullmatch(name) and is_weight_name(name)]
    numbered = [name for name in numbered if not name.startswith(_OTHERS)]
    if INDEX in names:  # which says what the names do not
        return set(numbered) or {name for name in names if is_weight_name(name)}
    if numbered:
        totals = [int(match["total"]) for name in numbered if (match := _SHARD.fullmatch(name))]
        raise SourceRefused(
            f"{repo_id} has {len(numbered)} weight files of {max(totals)}: the others are missing."
        )
    return set()


def _is_gguf(name: str) -> bool:
    return name.lower().endswith(".gguf")


def _ggufs(files: list[HubFile]) -> list[HubFile]:
    """The GGUF files that hold a model in one piece, in whatever folder."""
    return [
        file
        for file in files
        if _is_gguf(file.name)
        and _is_plain(file.name)
        and not _is_part(file.name)
        and not _is_no_model(file.name)
    ]


def _is_no_model(name: str) -> bool:
    return _is_gguf(name) and any(word in PurePosixPath(name).name.lower() for word in NO_MODELS)


def _is_part(name: str) -> bool:
    part = _GGUF_PART.search(name)
    return part is not None and int(part[2]) > 1


def _wanted(repo_id: str, ggufs: list[HubFile], wanted: str) -> HubFile:
    paths = [file for file in ggufs if file.name == wanted]
    names = [file for file in ggufs if PurePosixPath(file.name).name == wanted]
    quants = [file for file in ggufs if _has_quant(file.name, wanted)]
    for found in (paths, names, quants):
        if len(found) == 1:
            return found[0]
    message = f"{repo_id} has no one GGUF '{wanted[:100]}'. {_list(ggufs)}"
    raise _quant_required(message, ggufs)


def _sensible(repo_id: str, ggufs: list[HubFile]) -> HubFile:
    if len(ggufs) == 1:
        return ggufs[0]
    outside = [file for file in ggufs if "/" not in file.name]
    for quant in _QUANTS:
        for files in (outside, ggufs):
            found = [file for file in files if _has_quant(file.name, quant)]
            if len(found) == 1:
                return found[0]
    message = f"{repo_id} has many GGUF files; name one of them. {_list(ggufs)}"
    raise _quant_required(message, ggufs)


def _quant_required(message: str, ggufs: list[HubFile]) -> QuantRequired:
    return QuantRequired(message, tuple((file.name, file.size or 0) for file in ggufs))


def _has_quant(name: str, quant: str) -> bool:
    """Whether a file's name ends in -QUANT.gguf or .QUANT.gguf, in any case."""
    stem = _GGUF_PART.sub(".gguf", PurePosixPath(name).name).lower().removesuffix(".gguf")
    return stem == quant.lower() or stem.endswith((f"-{quant.lower()}", f".{quant.lower()}"))


def _list(ggufs: list[HubFile]) -> str:
    if not ggufs:
        return "It has no GGUF file in one piece."
    names = [file.name for file in ggufs]
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"It has {', '.join(names[:20])}{more}."


def _nothing(repo_id: str, names: set[str]) -> str:
    """Why there is no model here."""
    suffixes = {PurePosixPath(name).suffix.lower() for name in names}
    if "adapter_model.safetensors" in names:
        return f"{repo_id} is an adapter (LoRA) and no model: pull one that it was merged into."
    if suffixes & PICKLES:
        return (
            f"{repo_id} has its weights only as pickle ({', '.join(sorted(suffixes & PICKLES))}), "
            "which can run code when it is read. Pull a conversion of it to safetensors."
        )
    if any(_is_part(name) for name in names):
        return f"{repo_id} has only GGUF files in several parts, which are not read."
    if beside := [name for name in sorted(names) if _is_plain(name) and _is_no_model(name)]:
        return (
            f"{repo_id} has no model, only a GGUF file that belongs to one ({beside[0]}): pull the "
            "repository that has the model itself."
        )
    return (
        f"{repo_id} is no model that can be fetched: expected model.safetensors (or its shards) "
        "with config.json, or a .gguf."
    )
