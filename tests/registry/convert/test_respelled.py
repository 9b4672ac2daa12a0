"""Weights as transformers 5 saves them are those of mlx-lm's spelling."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from tests.models.zoo.checkpoints import make
from tests.registry.convert.test_main import logits, run, weights


def _of_gpt2(named: dict[str, mx.array]) -> dict[str, mx.array]:
    """With the name of the module that they belong to; its linear layers are stored turned."""
    turned = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    return {
        name.replace("model.", "transformer.", 1): value.T if name.endswith(turned) else value
        for name, value in named.items()
    }


def _of_gpt_oss(named: dict[str, mx.array]) -> dict[str, mx.array]:
    """Not packed, turned, and gate and up in one, one beside the other."""
    found = {}
    for name, value in named.items():
        before, _, last = name.partition(".mlp.experts.")
        kind, _, part = last.partition(".")
        if not last:
            found[name] = value
        elif kind == "gate_proj":
            both = mx.stack([value, named[name.replace("gate_proj", "up_proj")]], axis=2)
            both = both.reshape(value.shape[0], -1, *value.shape[2:])
            place = f"{before}.mlp.experts.gate_up_proj"
            found[place if part == "weight" else f"{place}_bias"] = (
                both.swapaxes(1, 2) if part == "weight" else both
            )
        elif kind == "down_proj":
            place = f"{before}.mlp.experts.down_proj"
            found[place if part == "weight" else f"{place}_bias"] = (
                value.swapaxes(1, 2) if part == "weight" else value
            )
    return found


@pytest.mark.parametrize(("model_type", "spell"), [("gpt2", _of_gpt2), ("gpt_oss", _of_gpt_oss)])
def test_a_checkpoint_of_transformers_5_is_imported(
    tmp_path: Path, model_type: str, spell: Any
) -> None:
    source = make(model_type, tmp_path / "source")
    wanted = logits(source)
    mx.eval(wanted, named := weights(source))
    spelled = {name: mx.contiguous(value) for name, value in spell(named).items()}
    mx.save_safetensors(str(source / "model.safetensors"), spelled, {"format": "pt"})
    run(source, tmp_path / "target")
    assert float(mx.abs(logits(tmp_path / "target") - wanted).max()) < 1e-4
