"""Tests of runtime.engine.mlx_lm_patches: what is patched is exact in company."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.generate import generate_step

from registry.checkpoint.exactness import Exactness
from runtime.engine.batch.batch import Batch
from runtime.engine.loader import load
from tests.models.zoo.checkpoints import make
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
