"""Short names for the models that people ask for first: `mlx-edge pull smollm2-360m`."""

from dataclasses import dataclass

from registry.checkpoint.sampling import Recommended

from .packages import SMOLLM2_135M, CarriedModel

STARTER_ID = "smollm2-135m"  # what the page begins with once it is here


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A name, and what is pulled for it."""

    name: str
    repo_id: str
    revision: str | None  # a commit; None is the tip of main, whose commit the pull records
    kind: str  # "llm" or "embed"
    bits: int | None  # to quantise to; None takes the weights as they are published
    size_bytes: int  # to fetch, about
    description: str
    sampling: Recommended | None = None  # what its authors recommend, for files that do not say it
    carried: CarriedModel | None = None  # where the hub cannot be reached


def find(name: str) -> CatalogEntry | None:
    """The entry of a name, in whatever case it is written."""
    return CATALOG.get(name.strip().casefold())


def by_repo(repo_id: str) -> CatalogEntry | None:
    """The entry of a repository of the hub, in whatever case it is written."""
    return _BY_REPO.get(repo_id.casefold())


def _llm(
    name: str,
    repo_id: str,
    size_mb: int,
    description: str,
    bits: int | None = None,
    sampling: Recommended | None = None,
    carried: CarriedModel | None = None,
) -> CatalogEntry:
    # No revision: a pull takes the tip of main, and records its commit.
    size = size_mb * 1_000_000
    return CatalogEntry(name, repo_id, None, "llm", bits, size, description, sampling, carried)


def _embed(name: str, repo_id: str, size_mb: int, description: str) -> CatalogEntry:
    return CatalogEntry(name, repo_id, None, "embed", None, size_mb * 1_000_000, description)


# As the example on the card of each size has it: huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct
_SMOLLM2 = Recommended(temperature=0.2, top_p=0.9)
# As generation_config.json beside the original weights has it, which conversions may lack; Gemma's
# temperature is its team's advice.
_QWEN3 = Recommended(temperature=0.6, top_p=0.95, top_k=20)
_QWEN2_5 = Recommended(temperature=0.7, top_p=0.8, top_k=20)
_LLAMA3 = Recommended(temperature=0.6, top_p=0.9)
_GEMMA3 = Recommended(temperature=1.0, top_p=0.95, top_k=64)

_ENTRIES = (
    _llm(
        STARTER_ID,
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        275,
        "The smallest that chats; 8-bit, Apache 2.0",
        bits=8,
        sampling=_SMOLLM2,
        carried=SMOLLM2_135M,
    ),
    _llm(
        "smollm2-360m",
        "HuggingFaceTB/SmolLM2-360M-Instruct",
        730,
        "Small and quick, the documentation's example; 8-bit, Apache 2.0",
        bits=8,
        sampling=_SMOLLM2,
    ),
    _llm(
        "smollm2-1.7b",
        "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        3430,
        "The largest SmolLM2; 4-bit, Apache 2.0",
        bits=4,
        sampling=_SMOLLM2,
    ),
    _llm(
        "qwen3-0.6b",
        "mlx-community/Qwen3-0.6B-4bit",
        350,
        "Thinks, calls tools; 4-bit",
        sampling=_QWEN3,
    ),
    _llm(
        "qwen3-1.7b",
        "mlx-community/Qwen3-1.7B-4bit",
        980,
        "Thinks, calls tools; 4-bit",
        sampling=_QWEN3,
    ),
    _llm(
        "qwen3-4b",
        "mlx-community/Qwen3-4B-4bit",
        2280,
        "Good at most things in 8 GB; 4-bit",
        sampling=_QWEN3,
    ),
    _llm(
        "qwen3-8b",
        "mlx-community/Qwen3-8B-4bit",
        4620,
        "For 16 GB and more; 4-bit",
        sampling=_QWEN3,
    ),
    _llm(
        "qwen2.5-coder-0.5b",
        "mlx-community/Qwen2.5-Coder-0.5B-Instruct-4bit",
        290,
        "Completes code; 4-bit",
        sampling=_QWEN2_5,
    ),
    _llm(
        "qwen2.5-coder-1.5b",
        "mlx-community/Qwen2.5-Coder-1.5B-Instruct-4bit",
        880,
        "Writes code; 4-bit",
        sampling=_QWEN2_5,
    ),
    _llm(
        "qwen2.5-coder-3b",
        "mlx-community/Qwen2.5-Coder-3B-Instruct-4bit",
        1750,
        "Writes code, research licence; 4-bit",
        sampling=_QWEN2_5,
    ),
    _llm(
        "qwen2.5-coder-7b",
        "mlx-community/Qwen2.5-Coder-7B-Instruct-4bit",
        4300,
        "Writes code well; 4-bit",
        sampling=_QWEN2_5,
    ),
    _llm(
        "llama-3.2-1b",
        "mlx-community/Llama-3.2-1B-Instruct-4bit",
        710,
        "Meta's small one; 4-bit, Llama licence",
        sampling=_LLAMA3,
    ),
    _llm(
        "llama-3.2-3b",
        "mlx-community/Llama-3.2-3B-Instruct-4bit",
        1830,
        "Meta's, for 8 GB; 4-bit, Llama licence",
        sampling=_LLAMA3,
    ),
    _llm(
        "gemma-3-1b",
        "mlx-community/gemma-3-1b-it-4bit",
        770,
        "Google's small one; 4-bit, Gemma licence",
        sampling=_GEMMA3,
    ),
    _embed(
        "nomic-embed-text",
        "nomic-ai/nomic-embed-text-v1.5",
        548,
        "768 dimensions, 8,192 tokens, English; Apache 2.0",
    ),
    _embed(
        "all-minilm-l6-v2",
        "sentence-transformers/all-MiniLM-L6-v2",
        91,
        "384 dimensions, 256 tokens, English; Apache 2.0",
    ),
    _embed(
        "bge-small-en-v1.5",
        "BAAI/bge-small-en-v1.5",
        134,
        "384 dimensions, 512 tokens, English; MIT",
    ),
    _embed(
        "bge-base-en-v1.5",
        "BAAI/bge-base-en-v1.5",
        438,
        "768 dimensions, 512 tokens, English; MIT",
    ),
    _embed(
        "multilingual-e5-small",
        "intfloat/multilingual-e5-small",
        490,
        "384 dimensions, 512 tokens, 94 languages; MIT",
    ),
    _embed(
        "modernbert-embed-base",
        "nomic-ai/modernbert-embed-base",
        600,
        "768 dimensions, 8,192 tokens, English; Apache 2.0",
    ),
)

CATALOG: dict[str, CatalogEntry] = {entry.name: entry for entry in _ENTRIES}
_BY_REPO = {entry.repo_id.casefold(): entry for entry in _ENTRIES}
