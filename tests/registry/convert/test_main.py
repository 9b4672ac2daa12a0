"""Tests of registry.convert and conversion: from any source to a folder that mlx-lm loads."""

import json
import os
import resource
import shutil
import stat
from collections import namedtuple
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.utils import load_model
from tokenizers import Tokenizer

from registry.checkpoint import shards
from registry.checkpoint.tokenizer.load import load
from registry.checkpoint.verify import Verified
from registry.convert import __main__ as convert
from registry.convert import recast
from registry.convert.conversion import carry_out
from registry.convert.shard_writer import ShardWriter
from registry.convert_messages import Refused, Work
from registry.errors import BrokenWeights, ConversionFailed, NotAModel
from runtime.text.tokenizer import ModelTokenizer
from tests.models.gguf_files import write_gguf
from tests.models.sentencepieces import LLAMA, train
from tests.models.tiny_encoders import make_bert, write_dense, write_modules
from tests.models.tiny_models import make_llama, make_llama4


def run(source: Path, target: Path | None, **recipe: Any) -> Verified:
    """A job, within this process."""
    work = Work(str(source), str(target) if target else None, **recipe)
    return carry_out(convert.check(work), work, lambda stage, done, total: None)


def weights(folder: Path, name: str = "model.safetensors") -> dict[str, mx.array]:
    loaded: Any = mx.load(str(folder / name))
    return dict(loaded)


def make_repository(folder: Path, **overrides: Any) -> Path:
    """A llama as a hub's repository has it: weights of PyTorch, and much that is not needed."""
    make_llama(folder, **overrides)
    named = weights(folder) | {"model.layers.0.self_attn.rotary_emb.inv_freq": mx.ones(8)}
    named["lm_head.weight"] = named["model.embed_tokens.weight"]  # tied, and saved all the same
    mx.eval(named)
    mx.save_safetensors(str(folder / "model.safetensors"), named, {"format": "pt"})
    change_json(
        folder / "config.json",
        auto_map={"AutoModelForCausalLM": "evil.Evil"},
        _name_or_path="/home/somebody",
    )
    change_json(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", None]})
    (folder / "evil.py").write_text("raise SystemExit('it ran')")
    (folder / "generation_config.json").write_text('{"eos_token_id": [2, 0]}')
    for name in ("pytorch_model.bin", "training_args.pt", "README.md", "data.json", "model.json"):
        (folder / name).write_bytes(b"\x80\x04.")
    return folder


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


def logits(folder: Path) -> mx.array:
    model, _ = load_model(folder)
    model.set_dtype(mx.float32)
    scores: mx.array = model(mx.array([list(range(3, 40))]))
    return scores


KEPT = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json"}  # fmt: skip


def test_a_repository_becomes_an_mlx_folder(tmp_path: Path) -> None:
    """Only what is needed is there, none of it names code, and the model is the same."""
    source = make_repository(tmp_path / "source")
    verified = run(source, tmp_path / "target")
    assert {path.name for path in (tmp_path / "target").iterdir()} == KEPT
    config = json.loads((tmp_path / "target/config.json").read_bytes())
    assert "auto_map" not in config and "_name_or_path" not in config
    assert config["eos_token_id"] == [2, 0]
    tokenizer_config = json.loads((tmp_path / "target/tokenizer_config.json").read_bytes())
    assert "auto_map" not in tokenizer_config and tokenizer_config["eos_token"] == "<|im_end|>"
    assert "lm_head.weight" not in weights(tmp_path / "target")
    assert mx.array_equal(logits(tmp_path / "target"), logits(source))
    assert verified.bits is None and verified.kind == "llm"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_weights_are_cast_as_asked(tmp_path: Path, dtype: str) -> None:
    """The type asked for beats the one that the repository declares."""
    source = make_repository(tmp_path / "source", torch_dtype="float16")
    run(source, tmp_path / "target", dtype=dtype)
    assert {value.dtype for value in weights(tmp_path / "target").values()} == {getattr(mx, dtype)}


def test_the_declared_type_is_kept(tmp_path: Path) -> None:
    """Nothing asked: what config.json declares, in the old spelling, the new one, or inside."""
    old, new = {"torch_dtype": "bfloat16"}, {"dtype": "bfloat16"}
    every: list[dict[str, Any]] = [old, new, {"text_config": new}]
    for number, declared in enumerate(every):
        source = make_repository(tmp_path / f"source{number}")
        change_json(source / "config.json", **declared)
        run(source, tmp_path / f"target{number}")
        (dtype,) = {value.dtype for value in weights(tmp_path / f"target{number}").values()}
        assert dtype == mx.bfloat16


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("group_size", [32, 64])
def test_weights_are_packed_as_asked(tmp_path: Path, bits: int, group_size: int) -> None:
    """Packed as mlx-lm does it, recorded in the config, and near to the original."""
    source = make_repository(tmp_path / "source")
    verified = run(source, tmp_path / "target", bits=bits, group_size=group_size)
    config = json.loads((tmp_path / "target/config.json").read_bytes())
    recorded = {"bits": bits, "group_size": group_size, "mode": "affine"}
    assert config["quantization"] == config["quantization_config"] == recorded
    assert verified.bits == bits
    name = "model.layers.1.mlp.up_proj"
    packed, plain = weights(tmp_path / "target"), weights(source)[f"{name}.weight"]
    expected = mx.quantize(plain, group_size=group_size, bits=bits)
    for part, value in zip(("weight", "scales", "biases"), expected, strict=True):
        assert mx.array_equal(packed[f"{name}.{part}"], value)


def test_other_bits_of_a_packed_model(tmp_path: Path) -> None:
    """The same bits are taken as they are; others are packed anew, experts among them."""
    source = make_llama4(tmp_path / "source")
    run(source, tmp_path / "eight", bits=8, group_size=32)
    again = run(tmp_path / "eight", tmp_path / "same", bits=8)
    assert again.bits == 8
    assert (tmp_path / "same/model.safetensors").read_bytes() == (
        tmp_path / "eight/model.safetensors"
    ).read_bytes()
    verified = run(tmp_path / "eight", tmp_path / "four", bits=4, group_size=32)
    config = json.loads((tmp_path / "four/config.json").read_bytes())
    assert verified.bits == config["quantization"]["bits"] == 4
    assert verified.num_params == again.num_params


@pytest.mark.parametrize("may_link", [False, True])
def test_an_mlx_folder_is_taken_as_it_is(tmp_path: Path, may_link: bool) -> None:
    """Byte for byte; as a second name of the same file only where the source is our own."""
    source = make_llama(tmp_path / "source")
    steps: list[tuple[str, int, int]] = []
    work = Work(str(source), str(tmp_path / "target"), may_link=may_link)
    carry_out(source, work, lambda *step: steps.append(step))
    ours, theirs = (tmp_path / name / "model.safetensors" for name in ("target", "source"))
    assert ours.read_bytes() == theirs.read_bytes()
    assert ours.samefile(theirs) is may_link
    assert ("converting", theirs.stat().st_size, theirs.stat().st_size) in steps
    assert steps[-1] == ("verifying", 1, 1)


def test_links_of_a_hub_cache_are_followed(tmp_path: Path) -> None:
    """Its folders are full of links to blobs; what is taken is files."""
    blobs = make_llama(tmp_path / "blobs")
    source = tmp_path / "snapshot"
    source.mkdir()
    for path in blobs.iterdir():
        (source / path.name).symlink_to(path)
    run(source, tmp_path / "target", may_link=True)
    for path in (tmp_path / "target").iterdir():
        assert stat.S_ISREG(path.lstat().st_mode)


def test_a_linked_folder_is_verified_where_it_is(tmp_path: Path) -> None:
    """Without a target nothing is written."""
    source = make_repository(tmp_path / "source")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert run(source, None).kind == "llm"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_an_encoder_is_taken_as_it_is(tmp_path: Path) -> None:
    """With the files that say how it pools; mlx-lm could neither pack nor cast it."""
    source = make_bert(tmp_path / "source")
    write_modules(source, "Pooling", "Dense", "Normalize")
    write_dense(source / "2_Dense", 32, 16)
    assert run(source, tmp_path / "target").kind == "embed"
    for name in ("1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors"):
        assert (tmp_path / "target" / name).read_bytes() == (source / name).read_bytes()
    with pytest.raises(ConversionFailed, match="'bert' can only be taken as they are"):
        run(source, tmp_path / "packed", bits=4)


def test_large_models_are_written_in_shards(tmp_path: Path) -> None:
    """Shards of the given size, an index that agrees, and the same weights."""
    source = make_llama(tmp_path / "source")
    target = shutil.copytree(source, tmp_path / "target")
    (target / "model.safetensors").unlink()
    writer = ShardWriter(target, shard_bytes=100_000)
    expected = weights(source)
    for name, value in expected.items():
        writer.add(name, value)
    writer.close()
    paths = shards.find(target)
    assert len(paths) > 2 and paths[0].name == f"model-00001-of-{len(paths):05d}.safetensors"
    found: dict[str, mx.array] = {}
    for path in paths:
        found |= weights(target, path.name)
    assert found.keys() == expected.keys()
    assert all(mx.array_equal(found[name], expected[name]) for name in expected)
    run(target, tmp_path / "taken")
    assert {path.name for path in shards.find(tmp_path / "taken")} == {p.name for p in paths}


def test_a_folder_of_one_gguf_is_that_gguf(tmp_path: Path) -> None:
    """A download leaves a folder with one file in it."""
    folder = tmp_path / "source"
    folder.mkdir()
    write_gguf(make_llama(tmp_path / "original"), folder / "model.gguf")
    assert run(folder, tmp_path / "target").model_type == "llama"
    with pytest.raises(NotAModel, match="has to be converted"):
        run(folder, None)


def test_weights_alone_are_no_model(tmp_path: Path) -> None:
    """A lone .safetensors, as a path or in a folder, says what it lacks; a lost path says so."""
    make_llama(tmp_path / "source")
    folder = tmp_path / "alone"
    folder.mkdir()
    shutil.copyfile(tmp_path / "source/model.safetensors", folder / "weights.safetensors")
    for source in (folder, folder / "weights.safetensors"):
        with pytest.raises(NotAModel, match="weights.safetensors alone is no model: config.json"):
            run(source, tmp_path / "target")
    with pytest.raises(NotAModel, match="no config.json"):
        run(tmp_path, tmp_path / "target")
    with pytest.raises(NotAModel, match="does not exist"):
        run(tmp_path / "nowhere", tmp_path / "target")


@pytest.mark.parametrize(
    "recipe", [{"bits": 7}, {"bits": 0}, {"group_size": 48}, {"dtype": "float8"}]
)
def test_an_impossible_recipe_is_refused(tmp_path: Path, recipe: dict[str, Any]) -> None:
    """What MLX cannot pack is said before anything is read."""
    with pytest.raises(ConversionFailed, match="is impossible; it must be one of"):
        run(tmp_path, tmp_path / "target", **recipe)


@pytest.mark.parametrize("recipe", [{}, {"bits": 4, "group_size": 32}])
def test_a_failure_leaves_nothing(tmp_path: Path, recipe: dict[str, Any]) -> None:
    """Weights that do not fit their config, packed or not: refused, and no folder is left."""
    source = make_repository(tmp_path / "source")
    change_json(source / "config.json", num_hidden_layers=3)
    with pytest.raises(NotAModel, match="Missing"):
        run(source, tmp_path / "target", **recipe)
    assert not (tmp_path / "target").exists()


def test_a_damaged_source_is_refused_first(tmp_path: Path) -> None:
    """A shard that ends early never reaches mlx-lm."""
    source = make_repository(tmp_path / "source")
    path = source / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BrokenWeights, match="end at byte"):
        convert.check(Work(str(source), str(tmp_path / "target")))


@pytest.mark.parametrize(
    "recipe",
    [{}, {"bits": 4}, {"bits": 8, "group_size": 32}, {"dtype": "float32"}, {"dtype": "float16"}],
)
@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_room_is_looked_for_by_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: dict[str, Any], stored: str
) -> None:
    """As much as the outcome takes, however wide its source is; before a byte of it is there."""
    source = make_repository(tmp_path / "source")
    cast = {name: value.astype(getattr(mx, stored)) for name, value in weights(source).items()}
    mx.save_safetensors(str(source / "model.safetensors"), cast, metadata={"format": "pt"})
    needed = []

    def look(target: Path, num_bytes: int) -> None:
        assert list(target.glob("*.safetensors")) == []
        needed.append(num_bytes)

    monkeypatch.setattr(recast, "check_room", look)
    verified = run(source, tmp_path / "target", **recipe)
    assert len(needed) == 1 and needed[0] <= verified.size_bytes < needed[0] + 8192


def test_a_full_disk_is_seen_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message tells how much is missing, and nothing is left."""
    source = make_llama(tmp_path / "source")
    usage = namedtuple("usage", ["free"])
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(free=1 << 20))
    for recipe in ({}, {"bits": 4}):
        with pytest.raises(ConversionFailed, match="The disk has 1 MiB left"):
            run(source, tmp_path / "target", **recipe)
    assert not (tmp_path / "target").exists()
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(free=1 << 30))
    run(source, tmp_path / "target")


@pytest.mark.parametrize("recipe", [{}, {"dtype": "float16"}])
def test_a_disk_that_fills_up_is_told(tmp_path: Path, recipe: dict[str, Any]) -> None:
    """Copying or converting, the job fails with the system's reason, and nothing is left."""
    source = make_llama(tmp_path / "source")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises((OSError, RuntimeError), match="too large|Unable to write"):
            run(source, tmp_path / "target", **recipe)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "target").exists()


def test_a_taken_target_is_left_alone(tmp_path: Path) -> None:
    """What is in the way may be somebody's model."""
    source = make_llama(tmp_path / "source")
    (tmp_path / "target").mkdir()
    (tmp_path / "target/precious").touch()
    with pytest.raises(FileExistsError):
        run(source, tmp_path / "target")
    assert os.listdir(tmp_path / "target") == ["precious"]


@pytest.mark.parametrize("bits", [None, 4])
def test_a_tokenizer_of_another_kind_is_made_once(tmp_path: Path, bits: int | None) -> None:
    """InternLM2 brings sentencepiece's file and code for it; what is stored has tokenizer.json."""
    source = make_repository(tmp_path / "source", vocab_size=1024)
    (source / "tokenizer.json").unlink()
    (source / "tokenizer.model").write_bytes(train(**LLAMA))
    change_json(source / "tokenizer_config.json", tokenizer_class="InternLM2Tokenizer")
    run(source, tmp_path / "target", bits=bits)
    tokenizer = Tokenizer.from_file(str(tmp_path / "target/tokenizer.json"))
    assert tokenizer.encode("The quick").tokens == ["<s>", "▁The", "▁quick"]
    read = ModelTokenizer(tmp_path / "target").prompt("The quick")
    assert read == load(source).encode("The quick", add_special_tokens=False).ids


def test_an_unknown_tokenizer_is_refused_first(tmp_path: Path) -> None:
    """Before anything is written: what code of a repository does is not guessed."""
    source = make_repository(tmp_path / "source", vocab_size=1024)
    (source / "tokenizer.json").unlink()
    (source / "tokenizer.model").write_bytes(train(**LLAMA))
    change_json(source / "tokenizer_config.json", tokenizer_class="OwnTokenizer")
    with pytest.raises(NotAModel, match="'OwnTokenizer' is none of the tokenizer classes"):
        run(source, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("nested", ["bfloat16", [], {"dtype": []}])
def test_a_nested_config_that_is_none_names_no_type(tmp_path: Path, nested: Any) -> None:
    """It is passed over; the weights keep their own."""
    source = make_repository(tmp_path / "source")
    change_json(source / "config.json", text_config=nested)
    run(source, tmp_path / "target")
    assert weights(tmp_path / "target").keys() == weights(source).keys() - {
        "lm_head.weight",
        "model.layers.0.self_attn.rotary_emb.inv_freq",
    }


@pytest.mark.parametrize("kind", [TypeError, OverflowError, KeyError, RecursionError])
def test_what_the_files_make_the_code_raise_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """The last resort of the job process, in one line."""

    def fail(folder: Path) -> Verified:
        raise kind("odd\n\x1b[2Jvalue")

    monkeypatch.setattr(convert, "verify", fail)
    found = convert._run(Work(str(make_llama(tmp_path / "tiny")), None), lambda *stage: None)
    assert isinstance(found, Refused) and found.error == "NotAModel"
    assert found.message.startswith(f"The model cannot be used: {kind.__name__}: ")
    assert "\n" not in found.message and "\x1b" not in found.message
