"""Tests of registry.checkpoint.verify, shards and trial: what is ready really can be served."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.utils import load_model, quantize_model, save_config, save_model

from registry.checkpoint import listing, shards
from registry.checkpoint.kind import ENCODER_TYPES
from registry.checkpoint.verify import verify
from registry.convert.trial import try_out
from registry.errors import BrokenWeights, NotAModel
from tests.models import random_encoders
from tests.models.tiny_encoders import write_pooling
from tests.models.tiny_models import make_gemma3, make_lfm2, make_llama, make_llama4, make_mamba2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_llama(tmp_path / "tiny")


@pytest.fixture
def sharded(folder: Path) -> Path:
    """The same model, in three shards with an index."""
    loaded: Any = mx.load(str(folder / "model.safetensors"))
    weights = sorted(loaded.items())
    weight_map: dict[str, str] = {}
    for number in range(3):
        name = f"model-{number + 1:05d}-of-00003.safetensors"
        part = dict(weights[number::3])
        mx.save_safetensors(str(folder / name), part)
        weight_map |= dict.fromkeys(part, name)
    (folder / "model.safetensors").unlink()
    write_index(folder, weight_map)
    return folder


def write_index(folder: Path, weight_map: object) -> None:
    (folder / listing.INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_bytes()) | changes
    (folder / "config.json").write_text(json.dumps(config))


def num_params(folder: Path) -> int:
    loaded: Any = mx.load(str(folder / "model.safetensors"))
    return sum(value.size for value in loaded.values())


def test_a_model_is_described(folder: Path) -> None:
    """Kind, context, parameters and bytes, as the files have them."""
    verified = verify(folder)
    try_out(folder, verified)
    assert (verified.kind, verified.model_type, verified.bits) == ("llm", "llama", None)
    assert verified.context_length == 8192
    assert verified.num_params == num_params(folder)
    assert verified.size_bytes == (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize("make", [make_gemma3, make_mamba2, make_lfm2, make_llama4])
def test_other_architectures_are_ready(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """Whatever mlx-lm knows: windows, states, hybrids, experts, a config within the config."""
    folder = make(tmp_path / "tiny")
    verified = verify(folder)
    try_out(folder, verified)
    assert verified.context_length == 8192


def test_shards_with_an_index_are_ready(sharded: Path) -> None:
    """All shards together are the model."""
    verified = verify(sharded)
    try_out(sharded, verified)
    assert len(shards.find(sharded)) == 3


@pytest.mark.parametrize(("bits", "mode"), [(4, "affine"), (8, "affine"), (4, "mxfp4")])
def test_packed_weights_are_counted_one_by_one(folder: Path, bits: int, mode: str) -> None:
    """A quantised model has as many parameters as it had before; each layer may have its own."""
    before = verify(folder).num_params

    def choose(path: str, module: Any) -> bool | dict[str, Any]:
        if "down_proj" in path and mode == "affine":
            return {"group_size": 64, "bits": 2, "mode": mode}
        return hasattr(module, "to_quantized") and "v_proj" not in path

    model, config = load_model(folder)
    model, config = quantize_model(model, config, 32, bits, mode=mode, quant_predicate=choose)
    packed = folder / "packed"
    save_model(packed, model)
    save_config(config, packed / "config.json")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(folder / name, packed / name)
    verified = verify(packed)
    try_out(packed, verified)
    assert (verified.bits, verified.num_params) == (bits, before)


@pytest.mark.parametrize("model_type", sorted(ENCODER_TYPES))
def test_encoders_are_known(tmp_path: Path, model_type: str) -> None:
    """They are ours, not mlx-lm's."""
    folder = random_encoders.make(tmp_path, model_type)
    verified = verify(folder)
    try_out(folder, verified)
    assert (verified.kind, verified.is_reranker) == ("embed", False)


@pytest.mark.parametrize(
    ("name", "is_reranker"), [("BertForSequenceClassification", True), ("BertForMaskedLM", False)]
)
def test_cross_encoders_are_known(tmp_path: Path, name: str, is_reranker: bool) -> None:
    """By the head that their config names; on disk they are of the kind of all encoders."""
    folder = random_encoders.make(tmp_path, "bert", is_reranker=True)
    change_config(folder, architectures=[name, 7])
    verified = verify(folder)
    assert (verified.kind, verified.is_reranker) == ("embed", is_reranker)


@pytest.mark.parametrize("architecture", ["bert", "modernbert", "xlm-roberta"])
def test_a_classifier_of_several_labels_is_no_reranker(tmp_path: Path, architecture: str) -> None:
    """Its weights tell, whatever config.json says; one that ranks passes."""
    folder = random_encoders.make(tmp_path / "ranks", architecture, is_reranker=True)
    assert verify(folder).is_reranker
    with pytest.raises(NotAModel, match="expected one label, as a reranker has, found 3"):
        verify(random_encoders.widen_head(folder, 3))


def test_a_decoder_with_pooling_is_an_embedder(folder: Path) -> None:
    """Qwen3-Embedding: a causal architecture beside the files of sentence-transformers."""
    (folder / "modules.json").write_text("[]")
    assert verify(folder).kind == "llm"
    write_pooling(folder, "pooling_mode_lasttoken")
    verified = verify(folder)
    assert (verified.kind, verified.model_type, verified.is_reranker) == ("embed", "llama", False)


def test_code_of_the_repository_is_never_run(folder: Path) -> None:
    """auto_map is ignored, and so are Python files that lie about."""
    change_config(folder, auto_map={"AutoModel": "evil.Evil"})
    (folder / "evil.py").write_text("raise SystemExit('it ran')")
    try_out(folder, verify(folder))
    change_config(folder, model_file="evil.py")
    with pytest.raises(NotAModel, match="code of its own"):
        verify(folder)


def broken(folder: Path, name: str, content: str | bytes | None) -> None:
    path = folder / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("config.json", None, "no config.json"),
        ("config.json", "{", "config.json cannot be used"),
        ("config.json", b"\xff", "config.json cannot be used"),
        ("config.json", "[" * 100_000, "config.json cannot be used"),
        ("config.json", "[]", "not a JSON object"),
        ("config.json", "{}", "no usable model_type: None"),
        ("config.json", '{"model_type": "../../x"}', "no usable model_type"),
        ("config.json", '{"model_type": "os.path"}', "no usable model_type"),
        ("config.json", '{"model_type": "of_tomorrow"}', "'of_tomorrow' are not supported"),
        ("config.json", '{"model_type": "llama"}', "the model cannot be loaded"),
        ("tokenizer.json", None, "The model has no tokenizer"),
        ("tokenizer.json", "{}", "tokenizer.json cannot be read"),
        ("tokenizer.json", b"\x00\xff", "tokenizer.json cannot be read"),
        ("model.safetensors", None, r"no model\*.safetensors"),
    ],
)
def test_what_cannot_be_served_is_refused(
    folder: Path, name: str, content: str | bytes | None, error: str
) -> None:
    """Each file that is missing or no use is named."""
    broken(folder, name, content)
    with pytest.raises(NotAModel, match=error):
        try_out(folder, verify(folder))


def test_a_huge_config_is_not_read(folder: Path) -> None:
    """A sparse file of a terabyte costs nothing to make, and much to read."""
    with (folder / "config.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(NotAModel, match="larger than"):
        verify(folder)


def test_pickles_are_never_read(folder: Path) -> None:
    """They can hold code: a repository that has nothing else is refused with that reason."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(NotAModel, match="as pickles only"):
        verify(folder)


def test_weights_of_another_shape_are_found(folder: Path) -> None:
    """A sound file that does not fit its config is no model."""
    change_config(folder, num_hidden_layers=3)
    with pytest.raises(NotAModel, match=r"cannot be loaded.*Missing .* parameters"):
        try_out(folder, verify(folder))
    change_config(folder, num_hidden_layers=2, intermediate_size=64)
    with pytest.raises(NotAModel, match=r"cannot be loaded.*shape"):
        try_out(folder, verify(folder))


def test_a_missing_shard_is_found(sharded: Path) -> None:
    """By the index; and without one, by what the model then lacks."""
    (sharded / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(BrokenWeights, match="model-00002.*it is not there"):
        verify(sharded)
    (sharded / listing.INDEX).unlink()
    with pytest.raises(NotAModel, match="Missing"):
        try_out(sharded, verify(sharded))


def test_an_extra_shard_is_found(sharded: Path) -> None:
    """mlx-lm would load it as well, over what belongs there."""
    shutil.copyfile(sharded / "model-00001-of-00003.safetensors", sharded / "model.safetensors")
    with pytest.raises(BrokenWeights, match=r"model\.safetensors is broken.*does not name"):
        verify(sharded)
    (sharded / listing.INDEX).unlink()
    with pytest.raises(BrokenWeights, match="is in model-00001-of-00003.safetensors too"):
        verify(sharded)


def test_a_damaged_shard_is_found(sharded: Path) -> None:
    """A shard cut short is broken, whatever the index says."""
    path = sharded / "model-00003-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BrokenWeights, match="model-00003.*end at byte"):
        verify(sharded)


def test_swapped_shards_are_found(sharded: Path) -> None:
    """Each file is sound, and holds what another one should."""
    first, second = (sharded / f"model-0000{number}-of-00003.safetensors" for number in (1, 2))
    first.rename(sharded / "swap")
    second.rename(first)
    (sharded / "swap").rename(second)
    with pytest.raises(BrokenWeights, match="disagree on tensor"):
        verify(sharded)


@pytest.mark.parametrize(
    ("index", "error"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ("{}", "cannot be read"),
        ('{"weight_map": []}', "cannot be read"),
        ('{"weight_map": {}}', "names nothing"),
        ('{"weight_map": {"a": 1}}', "cannot be read"),
        ('{"weight_map": {"a": "../model.safetensors"}}', "it names"),
        ('{"weight_map": {"a": "/model.safetensors"}}', "it names"),
        ('{"weight_map": {"a": "model/../x.safetensors"}}', "it names"),
        ('{"weight_map": {"a": "model.bin"}}', "it names"),
        ('{"weight_map": {"a": "model.safetensors\\n"}}', "it names"),
        ('{"weight_map": {"a": "model.safetensors"}}', "disagree on tensor 'a'"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_an_index_that_lies_is_refused(folder: Path, index: str, error: str) -> None:
    """Its names become paths, so they are plain names of weight files in the folder."""
    (folder / listing.INDEX).write_text(index)
    with pytest.raises(BrokenWeights, match=error):
        verify(folder)
