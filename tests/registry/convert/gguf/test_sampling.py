"""Tests of registry.convert.gguf.sampling: what a GGUF recommends arrives in the model's folder."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from registry.checkpoint.sampling import FILE, Recommended
from registry.checkpoint.weights import Value, read_header
from registry.convert import __main__ as convert
from registry.convert.conversion import carry_out
from registry.convert.gguf.sampling import write_sampling
from registry.convert_messages import Work
from tests.models.gguf_files import write_gguf
from tests.models.tiny_models import make_llama

# A value for each key that llama.cpp knows, and what transformers calls it.
ALL: dict[str, tuple[Any, str]] = {
    "SEQUENCE": ("top_k;top_p;temperature", "sequence"),
    "TOP_K": (20, "top_k"),
    "TOP_P": (0.8, "top_p"),
    "MIN_P": (0.05, "min_p"),
    "XTC_PROBABILITY": (0.5, "xtc_probability"),
    "XTC_THRESHOLD": (0.1, "xtc_threshold"),
    "TEMP": (0.6, "temperature"),
    "PENALTY_LAST_N": (64, "penalty_last_n"),
    "PENALTY_REPEAT": (1.1, "repetition_penalty"),
    "MIROSTAT": (2, "mirostat"),
    "MIROSTAT_TAU": (5.0, "mirostat_tau"),
    "MIROSTAT_ETA": (0.1, "mirostat_eta"),
}


def test_all_keys_of_the_library_are_meant() -> None:
    own = {name.removeprefix("SAMPLING_") for name in vars(gguf.Keys.General)
           if name.startswith("SAMPLING_")}  # fmt: skip
    assert own == ALL.keys()


def test_every_key_is_carried_as_it_was_meant(tmp_path: Path) -> None:
    """Written by the library, read by us: float32 comes back as the number somebody typed."""
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    for name, (value, _) in ALL.items():
        key = getattr(gguf.Keys.General, f"SAMPLING_{name}")
        writer.add_key_value(key, value, gguf.GGUFValueType.get_type(value))
    writer.add_tensor("token_embd.weight", np.zeros((1, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_sampling(read_header(tmp_path / "m.gguf").metadata, tmp_path)
    assert json.loads((tmp_path / FILE).read_bytes()) == {
        name: value for value, name in ALL.values()
    }


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"general.name": "x", "general.samplingtemp": 1.0, "sampling.temp": 1.0},
        {"general.sampling.temp": float("nan"), "general.sampling.top_p": float("inf")},
        {"general.sampling.temp": [0.5]},
    ],
)
def test_nothing_is_written_where_nothing_is_said(
    tmp_path: Path, metadata: dict[str, Value]
) -> None:
    write_sampling(metadata, tmp_path)
    assert not (tmp_path / FILE).exists()


def test_an_import_takes_it_along(tmp_path: Path) -> None:
    """And what came out is verified with it."""
    said: dict[str, Any] = {"general__sampling__temp": 0.6, "general__sampling__top_k": 20}
    path = write_gguf(make_llama(tmp_path / "tiny"), tmp_path / "tiny.gguf", **said)
    work = Work(str(path), str(tmp_path / "target"))
    verified = carry_out(convert.check(work), work, lambda stage, done, total: None)
    assert verified.sampling == Recommended(0.6, top_k=20)
