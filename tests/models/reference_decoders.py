"""What transformers computes with the decoders of the tests: writes `reference_decoders.json`.

By hand, in the venv that `reference_vectors` tells of:

    ../torch-venv/bin/python -m tests.models.reference_decoders

Every run of the tests compares ours with the pinned figures, in `test_decoder`. Last made with
torch 2.13.0, transformers 5.24.0 and sentence-transformers 6.2.0.
"""

import json
import random
import tempfile
from pathlib import Path
from typing import Any, TypeAlias

from tests.models import random_decoders

PINNED = Path(__file__).with_suffix(".json")
LENGTHS = (1, 9, 40, 100)

Case: TypeAlias = dict[str, Any]  # "tokens" and "vector"


def main() -> None:
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        cases = {
            model_type: of_embedder(random_decoders.make(Path(name) / model_type, model_type))
            for model_type in random_decoders.CONFIGS
        }
    tell_moves(cases)
    PINNED.write_text(written(cases), encoding="utf-8")


def of_embedder(folder: Path) -> list[Case]:
    """The mean of the hidden states, normalised; one text after the other, without padding."""
    import torch
    from transformers import AutoModel

    model, report = AutoModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    if report["missing_keys"]:
        raise ValueError(f"transformers left these as they were drawn: {report['missing_keys']}")
    cases = []
    for tokens in drawn():
        with torch.no_grad():
            pooled = model.eval()(torch.tensor([tokens])).last_hidden_state[0].mean(dim=0)
        cases.append({"tokens": tokens, "vector": [short(x) for x in pooled / pooled.norm()]})
    return cases


def drawn() -> list[list[int]]:
    draw = random.Random(5)
    return [[draw.randrange(5, 100) for _ in range(length)] for length in LENGTHS]


def short(value: Any) -> float:
    return round(float(value), 7)


def tell_moves(cases: dict[str, list[Case]]) -> None:
    pinned = json.loads(PINNED.read_text(encoding="utf-8")) if PINNED.is_file() else {}
    for name, made in cases.items():
        pairs = list(zip(made, pinned.get(name, []), strict=False))
        moves = [
            abs(a - b)
            for new, old in pairs
            for a, b in zip(new["vector"], old["vector"], strict=True)
        ]
        print(f"{name}: {len(made)} vectors, moved by {max(moves, default=0.0):.1e} at most")


def written(cases: dict[str, list[Case]]) -> str:
    """JSON with a line for each case."""
    parts = []
    for name, made in cases.items():
        lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in made)
        parts.append(f"{json.dumps(name)}: [\n{lines}\n]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
