"""Which files of a repository make a model. Never code, never pickle. Called by `repository`.

A repository with a name that could lead out of a folder is refused: such a name is no mistake.
"""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import PurePosixPath

from registry.checkpoint.companions import CONFIG, is_companion
from registry.checkpoint.shards import INDEX, PICKLES
from registry.errors import QuantRequired, SourceRefused


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository."""

    name: str  # a relative path with slashes, safe to join to a folder
    size: int
    sha256: str | None


_WHOLE = "model.safetensors"
_SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")
_GGUF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}\.gguf")
_GGUF_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
# In this order: nearly lossless before small, small before unquantised.
_QUANTS = ("Q8_0", "Q4_K_M", "Q6_K", "Q5_K_M", "Q4_0", "Q4_K_S", "BF16", "F16", "F32")


def needed(repo_id: str, files: list[HubFile], wanted: str | None) -> tuple[HubFile, ...]:
    """The files to fetch, in the listed order. `wanted`: a GGUF's name or quantisation.

    Raises SourceRefused, saying what the repository has instead of a model.
    """
    for file in files:
        _check_name(repo_id, file.name)
    names = {file.name for file in files}
    if len(names) < len(files):
        raise SourceRefused(f"{repo_id} lists a file twice.")
    ggufs = [
        file
        for file in files
        if _GGUF.fullmatch(file.name)
        and not _GGUF_PART.search(file.name)
        and not file.name.lower().startswith("mmproj")
    ]
    if wanted is not None:
        return (_wanted(repo_id, ggufs, wanted),)
    if weights := _weights(repo_id, names):
        if CONFIG not in names:
            raise SourceRefused(f"{repo_id} has weights, but no config.json that describes them.")
        kept = {CONFIG, *weights}
        return tuple(file for file in files if file.name in kept or is_companion(file.name))
    if ggufs:
        return (_sensible(repo_id, ggufs),)
    raise SourceRefused(_nothing(repo_id, names))


def _check_name(repo_id: str, name: str) -> None:
    plain = unicodedata.normalize("NFKC", name)  # look-alike dots and slashes become real ones
    parts = plain.split("/")
    is_safe = (
        0 < len(name) <= 1024
        and name == name.strip()
        and "\\" not in plain
        and not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs") for letter in name)
        and not re.match(r"[A-Za-z]:|~", plain)
        and not any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts)
    )
    if not is_safe:
        raise SourceRefused(
            f"{repo_id} lists a file called {name[:100]!r}, which could lead out of the model's "
            "folder. Nothing is fetched from such a repository."
        )


def _weights(repo_id: str, names: set[str]) -> set[str]:
    """The safetensors to load, with their index. Shards with an index win over a single file."""
    shards = {name: match for name in names if (match := _SHARD.fullmatch(name))}
    if _WHOLE in names and (INDEX not in names or not shards):
        return {_WHOLE, INDEX} & names  # some converters write an index even of one file
    counts = {int(match[2]) for match in shards.values()}
    if not shards:
        return set()
    if counts != {len(shards)} or {int(m[1]) for m in shards.values()} != set(
        range(1, len(shards) + 1)
    ):
        raise SourceRefused(
            f"{repo_id} has {len(shards)} weight files of {max(counts)}: the others are missing."
        )
    return set(shards) | ({INDEX} & names)


def _wanted(repo_id: str, ggufs: list[HubFile], wanted: str) -> HubFile:
    for file in ggufs:
        if file.name == wanted:
            return file
    found = [file for file in ggufs if _has_quant(file.name, wanted)]
    if len(found) == 1:
        return found[0]
    message = f"{repo_id} has no one GGUF '{wanted[:100]}'. {_list(ggufs)}"
    raise QuantRequired(message, tuple((file.name, file.size) for file in ggufs))


def _sensible(repo_id: str, ggufs: list[HubFile]) -> HubFile:
    if len(ggufs) == 1:
        return ggufs[0]
    for quant in _QUANTS:
        found = [file for file in ggufs if _has_quant(file.name, quant)]
        if len(found) == 1:
            return found[0]
    message = f"{repo_id} has many GGUF files; name one of them. {_list(ggufs)}"
    raise QuantRequired(message, tuple((file.name, file.size) for file in ggufs))


def _has_quant(name: str, quant: str) -> bool:
    """Whether a file's name ends in -QUANT.gguf or .QUANT.gguf, in any case."""
    stem = PurePosixPath(name).stem.lower()
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
    if any(_GGUF_PART.search(name) for name in names):
        return f"{repo_id} has only GGUF files in several parts, which are not read."
    return (
        f"{repo_id} is no model that can be fetched: expected model.safetensors (or its shards) "
        "with config.json, or a .gguf."
    )
