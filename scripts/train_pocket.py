"""Trains Pocket, the small chat model in `registry/pocket/`.

Run by a person: `python -m scripts.train_pocket train --work DIR`, then `export` and `score`.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import scripts.pocket  # noqa: F401 (before MLX: it loads a fast BLAS)

# isort: split
import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_map
from mlx_lm.models.llama import Model
from rich.console import Console

from scripts.pocket.batches import Batch, batches, repetitions
from scripts.pocket.model import new_model, write_config
from scripts.pocket.quality import SHIPPED, show_scores
from scripts.pocket.tokenizer import Encoder, train_tokenizer, write_tokenizer_config


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """The settings of a run; the seed fixes the corpus and the first weights."""

    steps: int = 8500
    seed: int = 7
    batch_tokens: int = 1024
    peak_rate: float = 2e-3
    warmup: int = 150


# A run that goes on with trained weights is shorter, and careful with what they know.
FURTHER = TrainingConfig(steps=4000, seed=11, peak_rate=1e-3)


def loss_of(model: Model, inputs: mx.array, targets: mx.array, own: mx.array) -> mx.array:
    losses = nn.losses.cross_entropy(model(inputs), targets)  # (B, L)
    return (losses * own).sum() / mx.maximum(own.sum(), 1.0)


def learning_rate(config: TrainingConfig) -> Callable[[mx.array], mx.array]:
    """Warm up, stay at the peak up to 35 % of the steps, then a cosine down to 2 % of the peak."""
    flat = int(0.35 * config.steps)
    peak = config.peak_rate
    up = optim.linear_schedule(0.0, peak, config.warmup)
    level = optim.linear_schedule(peak, peak, flat - config.warmup)
    down = optim.cosine_decay(peak, config.steps - flat, 0.02 * peak)
    return optim.join_schedules([up, level, down], [config.warmup, flat])


def train(work: Path, config: TrainingConfig, trained: Path | None = None) -> None:
    """Train from scratch, or go on with the weights and the tokenizer of the folder `trained`.

    `work` gets the tokenizer and a checkpoint every 500 steps.
    """
    model = new_model(config.seed)
    if trained is not None:
        work.mkdir(parents=True, exist_ok=True)
        (work / "tokenizer.json").write_bytes((trained / "tokenizer.json").read_bytes())
        model.load_weights(str(trained / "model.safetensors"))
        model.set_dtype(mx.float32)
    elif not (work / "tokenizer.json").exists():
        train_tokenizer(work)
        write_config(work)
    optimizer = optim.AdamW(learning_rate(config), betas=[0.9, 0.98], weight_decay=0.05)
    state = [model.state, optimizer.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step_of(inputs: mx.array, targets: mx.array, own: mx.array) -> mx.array:
        loss: mx.array
        loss, gradients = nn.utils.value_and_grad(model, loss_of)(model, inputs, targets, own)
        gradients, _ = optim.clip_grad_norm(gradients, 1.0)
        optimizer.update(model, gradients)
        return loss

    encoder = Encoder(work)
    probe = Batch(list(itertools.islice(repetitions(encoder, seed=0), 16)), 96)
    print(asdict(config), flush=True)
    started, recent = time.monotonic(), 0.0
    drawn = batches(encoder, config.seed, config.batch_tokens, is_first=trained is None)
    for step, batch in zip(range(1, config.steps + 1), drawn, strict=False):
        loss = step_of(batch.inputs, batch.targets, batch.own)
        mx.eval(loss, state)
        recent = 0.95 * recent + 0.05 * float(loss) if recent else float(loss)
        if step % 50 == 0:
            copying = float(loss_of(model, probe.inputs, probe.targets, probe.own))
            speed = step * config.batch_tokens / (time.monotonic() - started)
            print(
                f"{step}: loss {recent:.3f}, copying {copying:.2f}, {speed:.0f} tok/s", flush=True
            )
        if step % 500 == 0 or step == config.steps:
            model.save_weights(str(work / "checkpoint.safetensors"))


def export(works: list[Path], folder: Path = SHIPPED) -> None:
    """The mean of the runs' last checkpoints in bf16, with the files that stock mlx-lm loads it by.

    Runs that go on from one another end in one valley, and their mean knows what each has learnt
    ("Model soups", arXiv:2203.05482).
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_bytes((works[0] / "tokenizer.json").read_bytes())
    write_tokenizer_config(folder)
    write_config(folder)
    weights = [mx.load(str(work / "checkpoint.safetensors")) for work in works]
    mean = tree_map(lambda *values: (sum(values) / len(values)).astype(mx.bfloat16), *weights)
    mx.save_safetensors(str(folder / "model.safetensors"), mean, metadata={"format": "mlx"})


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("train", "export", "score"))
    parser.add_argument("--work", type=Path, help="folder of tokenizer and checkpoint")
    parser.add_argument("--with", dest="others", type=Path, nargs="*", default=[],
                        help="folders of other runs, to export the mean of all")  # fmt: skip
    parser.add_argument("--steps", type=int, help="of the run, instead of its usual number")
    parser.add_argument(
        "--from", dest="trained", type=Path, help="folder of a Pocket to go on with"
    )
    arguments = parser.parse_args()
    if arguments.command == "score":
        show_scores(Console(), arguments.work or SHIPPED, with_misses=True)
    elif arguments.work is None:
        parser.error("--work is needed")
    elif arguments.command == "train":
        config = FURTHER if arguments.trained else TrainingConfig()
        config = replace(config, steps=arguments.steps or config.steps)
        train(arguments.work, config, arguments.trained)
    else:
        export([arguments.work, *arguments.others])


if __name__ == "__main__":
    main()
