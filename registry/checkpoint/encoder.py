"""What a folder says of an embedding model or a reranker: the files of sentence-transformers.

Read twice: `runtime.encoding` refuses requests by it, the engine computes by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.errors import NotAModel

from .attention import sight_of
from .companions import CONFIG
from .config import Json, positive, read_json
from .encoders.reading import family_of
from .kind import ENCODER_TYPES, ModelKind, kind_in, kind_of
from .model import Model
from .modules import Dense, Modules, check_weights, read_modules, read_small_json
from .ranking import ranking_of
from .sentence import texts_of

_MATRYOSHKA_KEYS = ("matryoshka_dimensions", "matryoshka_dims")
# Matryoshka models whose files do not say so: a vector may be cut to its first numbers.
_MATRYOSHKA_TYPES = ("gemma3_text", "nomic_bert", "qwen3")


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """How tokens become a vector, or a score, and what may be asked for."""

    kind: ModelKind  # "embed" or "rerank"
    max_input_tokens: int  # special ones included
    num_dimensions: int  # of the vector; 1 for a score
    modules: Modules  # how hidden states become one vector
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
        modules = read_modules(model.folder) if kind == "embed" else Modules(("cls",), ())
        prompts = _strings(sentence.get("prompts"))
        trained = [n for key in _MATRYOSHKA_KEYS for n in _ints(model.config.get(key))]
        trained += [n for key in _MATRYOSHKA_KEYS for n in _ints(sentence.get(key))]
        size = modules.size(_hidden_size(model.config))
        return cls(
            kind,
            max_input_tokens=max_input_tokens(model),
            num_dimensions=1 if kind == "rerank" else size,
            modules=modules,
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
    """Raises NotAModel for an encoder that would be computed wrongly, or not at all.

    Called before the weights are fetched, and again when the folder is verified.
    """
    config = read_json(folder / CONFIG)
    kind, is_decoder = kind_in(folder, config), config.get("model_type") not in ENCODER_TYPES
    try:
        if kind == "embed":
            modules = read_modules(folder)
            for step in modules.steps:
                if isinstance(step, Dense):
                    modules.size(_hidden_size(config))
                    check_weights(folder, step)
        if kind == "rerank" and is_decoder:
            ranking_of(folder, config)
    except ValueError as error:
        raise NotAModel(f"{error}. Choose a model without it.") from None
    try:
        if kind != "llm" and is_decoder:
            sight_of(config)
    except ValueError as error:
        raise NotAModel(f"{error}.") from None


def max_input_tokens(model: Model) -> int:
    """How long a text may be, special tokens included. Raises OSError or ValueError."""
    limit = model.context_length
    if model.model_type in ENCODER_TYPES:
        limit = min(limit, family_of(model.config).max_tokens)
    return min(limit, texts_of(model.folder).max_tokens or limit)


def _hidden_size(config: Mapping[str, object]) -> int:
    if config.get("model_type") in ENCODER_TYPES:
        return family_of(config).size
    if (size := positive(config.get("hidden_size"))) is None:
        raise ValueError("config.json tells no hidden_size")
    return size


def _read(path: Path) -> dict[str, Json]:
    """A small JSON object; empty when there is no such file."""
    return read_small_json(path) if path.is_file() else {}


def _strings(value: Json) -> dict[str, str]:
    pairs = value.items() if isinstance(value, dict) else ()
    return {name: text for name, text in pairs if isinstance(text, str)}


def _ints(value: Json) -> list[int]:
    return [n for n in value if isinstance(n, int)] if isinstance(value, list) else []
