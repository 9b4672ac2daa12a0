"""Tests of runtime.engine.mlx_lm_patches: what is patched is right, alone and in company."""

import json
import math
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.generate import generate_step
from mlx_lm.models import gemma, jamba, llama, starcoder2

from registry.checkpoint.exactness import Exactness
from runtime.engine import mlx_lm_patches
from runtime.engine.batch.batch import Batch
from runtime.engine.loader import load
from tests.models.zoo.checkpoints import CONFIGS, make
from tests.models.zoo.shape import VOCAB_SIZE
from tests.runtime.engine.numbers import prompts, row, run


@pytest.mark.parametrize("name", ["gemma2", "nemotron_h"])
def test_a_patched_module_is_exact_in_company(tmp_path: Path, name: str) -> None:
    """Also with as many rows as it has KV heads: Gemma 2 was wrong then without an error."""
    loaded = load(make(name, tmp_path), lambda done, total: None)
    assert loaded.info.probed.exactness == Exactness()
    for num_rows in (2, 3):
        batch = Batch(loaded.model, loaded.info.probed.exactness, stall_limit_s=60)
        work = prompts([9, 30, 60][:num_rows], vocab_size=VOCAB_SIZE)
        for number, prompt in enumerate(work):
            batch.add(row(number, prompt, 8))
        tokens = run(batch)
        for number, prompt in enumerate(work):
            alone: Any = generate_step(mx.array(prompt), loaded.model, max_tokens=8)
            assert tokens[number] == [int(token) for token, _ in alone]


# Of transformers 5 (modeling_rope_utils.py), for 16 dimensions of the base 500.
_UNROUNDED = [1.0, 0.412206, 0.120794, 0.0243123, 0.0111803, 0.00514143, 0.00236435, 0.00108728]


@pytest.mark.parametrize("truncate", [False, True])
def test_yarn_may_be_told_not_to_round(truncate: bool) -> None:
    """gpt-oss is; rounded bounds give other wave lengths."""
    mlx_lm_patches.apply()
    said = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    module: Any = llama
    rope = module.initialize_rope(16, 500.0, False, said | {"beta_fast": 6, "truncate": truncate})
    assert mx.allclose(1 / rope._freqs, mx.array(_UNROUNDED), rtol=1e-4).item() is not truncate


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"type": "yarn"}, 1.138629436111989),
        ({"type": "yarn", "attention_factor": 0.7}, 0.7),
        ({"type": "longrope"}, 1.2649110640673518),
        ({"type": "longrope", "factor": 1.0}, 1.0),
        ({"type": "longrope", "factor": None}, 1.1832159566199232),
        ({"type": "longrope", "attention_factor": 1.7}, 1.7),
    ],
)
def test_attention_is_scaled_as_config_json_says(changes: dict[str, Any], wanted: float) -> None:
    """The numbers are transformers 5's."""
    mlx_lm_patches.apply()
    said = {"factor": 4.0 if changes["type"] == "yarn" else 8.0} | changes
    said |= {
        "original_max_position_embeddings": 32,
        "short_factor": [1] * 4,
        "long_factor": [1] * 4,
    }
    module: Any = llama
    rope = module.initialize_rope(8, 777.0, False, said, 128)
    rotated = rope(mx.ones((1, 1, 1, 8)))  # at the first position nothing is turned
    assert mx.allclose(rotated, mx.full((1, 1, 1, 8), wanted), rtol=1e-5).item()


def test_experts_of_groups_that_are_left_out_never_win(tmp_path: Path) -> None:
    """They did against those whose bias made them negative: DeepSeek V3 and all that choose so."""
    folder = make("deepseek_v3", tmp_path)
    weights: Any = mx.load(str(folder / "model.safetensors"))
    name = "model.layers.1.mlp.gate.e_score_correction_bias"
    bias = mx.array([-1.5, -1.0, -4.0, 0.5])
    mx.eval(weights)
    mx.save_safetensors(str(folder / "model.safetensors"), weights | {name: bias})
    config = json.loads((folder / "config.json").read_bytes())
    config |= {"n_group": 2, "topk_group": 1, "num_experts_per_tok": 2}
    (folder / "config.json").write_text(json.dumps(config))
    model: Any = load(folder, lambda done, total: None).model
    gate = model.layers[1].mlp.gate
    states = mx.random.normal((64, config["hidden_size"]), key=mx.random.key(0))
    chosen, weight = gate(states)
    scores = mx.sigmoid(states @ gate.weight.T)
    sums = (scores + bias).reshape(64, 2, 2).sum(axis=2)
    group = mx.argmax(sums, axis=1, keepdims=True)
    assert mx.array_equal(
        mx.sort(chosen, axis=1), mx.concatenate([2 * group, 2 * group + 1], axis=1)
    )
    picked = mx.take_along_axis(scores, chosen, axis=1)
    wanted = picked / picked.sum(axis=1, keepdims=True) * config["routed_scaling_factor"]
    assert mx.allclose(weight, wanted, rtol=1e-4).item()


@pytest.mark.parametrize("module", [gemma, starcoder2])
def test_gelu_is_the_approximation_that_they_are_trained_with(module: Any) -> None:
    mlx_lm_patches.apply()
    mlp = module.MLP(1, 1)
    for leaf in mlp.leaf_modules().values():
        leaf.weight = mx.ones((1, 1))
        if "bias" in leaf:
            leaf.bias = mx.zeros((1,))
    x = -2.2
    tanh = math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    wanted = 0.5 * x * (1 + tanh) * (x if module is gemma else 1)
    assert mlp(mx.array([[x]])).item() == pytest.approx(wanted, rel=1e-4)


def test_jamba_weighs_its_experts_by_their_share_among_all() -> None:
    """With equal shares, two of four experts are half of the answer: mlx-lm takes all of it."""
    mlx_lm_patches.apply()
    config: Any = CONFIGS["jamba"] | {"num_experts": 4, "num_experts_per_tok": 2}
    block: Any = jamba.JambaSparseMoeBlock(jamba.ModelArgs.from_dict(config))
    block.router.weight = mx.zeros_like(block.router.weight)
    states = mx.random.normal((1, 3, config["hidden_size"]), key=mx.random.key(0))
    every = block.switch_mlp(states, mx.broadcast_to(mx.arange(4), (1, 3, 4)))
    found = block(states)
    pairs = [(every[..., i, :] + every[..., j, :]) / 4 for i in range(4) for j in range(i)]
    assert min(float(mx.abs(found - pair).max()) for pair in pairs) < 1e-6
