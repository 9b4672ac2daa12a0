"""What a folder says of an embedding model or a reranker: the files of sentence-transformers.

Read twice: `runtime.encoding` refuses requests by it, the engine computes by it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias, get_args

from registry.errors import NotAModel

from .attention import sight_of
from .companions import CONFIG, MODULES
from .config import Json, read_json
from .kind import ENCODER_TYPES, ModelKind, classifies, is_embedder, kind_of
from .model import Model

PoolingMode: TypeAlias = Literal["cls", "mean", "max", "mean_sqrt_len", "weightedmean", "lasttoken"]

_KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")
_MAX_FILE_BYTES = 1 << 20
_MATRYOSHKA_KEYS = ("matryoshka_dimensions", "matryoshka_dims")
# Matryoshka models whose files do not say so: a vector may be cut to its first numbers.
_MATRYOSHKA_TYPES = ("nomic_bert", "qwen3")


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """How tokens become a vector, or a score, and what may be asked for."""

    kind: ModelKind  # "embed" or "rerank"
    max_input_tokens: int  # special ones included
    num_dimensions: int  # of the vector; 1 for a score
    pooling: tuple[PoolingMode, ...]  # the vectors of several are concatenated
    normalizes: bool
    prompts: dict[str, str]
    default_prompt: str  # put before texts when the request names no prompt
    is_matryoshka: bool
    matryoshka_dimensions: tuple[int, ...]  # sizes to cut to; empty: any that is smaller

    @classmethod
    def of(cls, model: Model) -> "EncoderConfig":
        """Raises OSError or ValueError for damaged files, or for what is not computed here."""
        kind = kind_of(model)
        if kind == "llm":
            raise ValueError(f"'{model.id}' neither embeds nor ranks: it is a language model")
        if model.model_type not in ENCODER_TYPES:
            sight_of(model.config)
        sentence = _read(model.folder / "config_sentence_transformers.json")
        pooling, normalizes = _pooling(model.folder) if kind == "embed" else (("cls",), False)
        prompts = _strings(sentence.get("prompts"))
        trained = [n for key in _MATRYOSHKA_KEYS for n in _ints(model.config.get(key))]
        trained += [n for key in _MATRYOSHKA_KEYS for n in _ints(sentence.get(key))]
        size = _hidden_size(model.config) * len(pooling)
        return cls(
            kind,
            max_input_tokens=_max_input_tokens(model),
            num_dimensions=1 if kind == "rerank" else size,
            pooling=pooling,
            normalizes=normalizes,
            prompts=prompts,
            default_prompt=prompts.get(str(sentence.get("default_prompt_name")), ""),
            is_matryoshka=bool(trained) or model.model_type in _MATRYOSHKA_TYPES,
            matryoshka_dimensions=tuple(sorted(trained)),
        )

    def check_dimensions(self, dimensions: int | None) -> None:
        """Raises ValueError unless the model has vectors of this size."""
        if dimensions is None or dimensions == self.num_dimensions:
            return
        allowed = self.matryoshka_dimensions
        if not self.is_matryoshka:
            wrong = f"its vectors have {self.num_dimensions} dimensions and cannot be cut"
        elif not 0 < dimensions < self.num_dimensions:
            wrong = f"it must be between 1 and {self.num_dimensions}"
        elif allowed and dimensions not in allowed:
            wrong = f"the model was trained for {', '.join(map(str, allowed))}"
        else:
            return
        raise ValueError(f"dimensions is {dimensions}, but {wrong}.")

    def prompt(self, wanted: str | None) -> str:
        """What to put before an input: the model's prompt named `wanted`, or `wanted` itself."""
        return self.default_prompt if wanted is None else self.prompts.get(wanted, wanted)


def check(folder: Path) -> None:
    """Raises NotAModel for an embedding model that would be computed wrongly, or not at all.

    Called before the weights are fetched, and again when the folder is verified.
    """
    config = read_json(folder / CONFIG)
    model_type = config.get("model_type")
    if isinstance(model_type, str) and is_embedder(folder, model_type) and not classifies(config):
        try:
            _modules(folder)
        except ValueError as error:
            raise NotAModel(f"{error}. Choose a model without it.") from None
        try:
            if model_type not in ENCODER_TYPES:
                sight_of(config)
        except ValueError as error:
            raise NotAModel(f"{error}.") from None


def _pooling(folder: Path) -> tuple[tuple[PoolingMode, ...], bool]:
    """The pooling modes, and whether a vector is normalised."""
    if not (folder / MODULES).is_file():
        return ("mean",), True
    pooling: tuple[PoolingMode, ...] = ()
    normalizes = False
    for name, place in _modules(folder):
        if name == "Pooling":
            path = PurePosixPath(place)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{MODULES}: {path} is outside of the model's folder")
            pooling = tuple(_modes(_read(folder / path / "config.json", must_exist=True)))
        normalizes |= name == "Normalize"
    if not pooling:
        raise ValueError(f"{MODULES}: no module pools; expected one of type Pooling")
    return pooling, normalizes


def _modules(folder: Path) -> list[tuple[str, str]]:
    """Type and path of each module, in their order. Raises ValueError for one that is not known."""
    path = folder / MODULES
    if not path.is_file():
        return []
    try:
        entries = json.loads(path.read_bytes()[:_MAX_FILE_BYTES])
        found = [(str(e.get("type")).rpartition(".")[2], str(e.get("path"))) for e in entries]
    except (ValueError, RecursionError, AttributeError, TypeError) as error:
        raise ValueError(f"{MODULES} is no list of modules: {error}") from None
    for name, _ in found:
        if name not in _KNOWN_MODULES:
            raise ValueError(
                f"{MODULES} has a module of type {name[:100]!r}, which is not computed here; known "
                f"are {', '.join(_KNOWN_MODULES)}"
            )
    return found


def _modes(config: dict[str, Json]) -> Iterator[PoolingMode]:
    if config.get("include_prompt") is False:
        raise ValueError("1_Pooling: include_prompt is false, which cannot be computed here")
    known: tuple[PoolingMode, ...] = get_args(PoolingMode)
    if isinstance(named := config.get("pooling_mode"), (str, list)):
        names = [str(name) for name in (named if isinstance(named, list) else [named])]
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"1_Pooling: unknown pooling_mode {unknown[0]!r}")
        yield from (mode for mode in known if mode in names)
        return
    for mode in known:
        suffix = "" if mode == "lasttoken" else "_tokens"
        key = f"pooling_mode_{mode}{'_token' if mode == 'cls' else suffix}"
        if config.get(key) is True:
            yield mode


def _max_input_tokens(model: Model) -> int:
    limit = model.context_length
    if model.model_type == "xlm-roberta":  # its positions start at pad_token_id + 1
        padding = model.config.get("pad_token_id", 1)
        limit = min(limit, model.trained_context - (padding if isinstance(padding, int) else 1) - 1)
    own = _read(model.folder / "sentence_bert_config.json").get("max_seq_length")
    return min(limit, own) if isinstance(own, int) and own > 0 else limit


def _hidden_size(config: dict[str, Json]) -> int:
    for key in ("hidden_size", "n_embd"):
        if isinstance(size := config.get(key), int) and size > 0:
            return size
    raise ValueError("config.json tells neither hidden_size nor n_embd")


def _read(path: Path, *, must_exist: bool = False) -> dict[str, Json]:
    """A small JSON object; empty when there is no such file and none is needed."""
    if not must_exist and not path.is_file():
        return {}
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise ValueError(f"{path.name} is larger than {_MAX_FILE_BYTES} bytes")
    content = json.loads(path.read_bytes())
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not a JSON object")
    return content


def _strings(value: Json) -> dict[str, str]:
    pairs = value.items() if isinstance(value, dict) else ()
    return {name: text for name, text in pairs if isinstance(text, str)}


def _ints(value: Json) -> list[int]:
    return [n for n in value if isinstance(n, int)] if isinstance(value, list) else []
