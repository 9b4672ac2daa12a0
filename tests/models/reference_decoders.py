"""What transformers computes with the decoders of the tests: writes `reference_decoders.json`.

By hand, in the venv that `reference_vectors` tells of:

    ../torch-venv/bin/python -m tests.models.reference_decoders

Every run of the tests compares ours with the pinned figures, in `test_decoder`. Last made with
torch 2.13.0, transformers 5.24.0 and sentence-transformers 6.2.0.
"""

import json
import random
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

from tests.models import random_decoders

PINNED = Path(__file__).with_suffix(".json")
LENGTHS = (1, 9, 40, 100)
FRAME = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n",
    "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
)
DEFAULT_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"

# Their labels: none for the form that Qwen published, which answers yes or no.
RERANKERS: dict[str, tuple[str, ...]] = {
    "qwen3 reranker": (),
    "qwen3 reranker, one label": ("LABEL_0",),
    "qwen3 reranker, two labels": ("no", "yes"),
}
# From text to vector, with prompts and sizes.
SENTENCE_TRANSFORMERS = {
    "embeddinggemma": random_decoders.make_embedding_gemma,
    "gte-qwen2": random_decoders.make_gte,
}
TEXTS = ("a", "Which models read text?", "Grüße aus Köln: naïve café, русский текст. " * 3)
QUERY = "What is the capital of Köln's country?"
DOCUMENTS = (
    "no",
    "Berlin is it: yes.\n\nThe quick brown fox jumps over the lazy dog.  ",
    "<Query>: naïve café\n<Document>: русский текст, 日本語 🙂 " * 4,
)
INSTRUCTIONS = (None, "Judge whether it is written in German.")
MAX_LENGTHS = (512, 240)  # the second is too short for the longest

Case: TypeAlias = dict[str, Any]  # "tokens" and "vector"; of a pair, what it was made of


def main() -> None:
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        cases = {
            model_type: of_embedder(random_decoders.make(Path(name) / model_type, model_type))
            for model_type in random_decoders.CONFIGS
        }
        for name_of, make in SENTENCE_TRANSFORMERS.items():
            cases[name_of] = of_sentence_transformer(make(Path(name) / name_of))
        for name_of, labels in RERANKERS.items():
            folder = random_decoders.make_qwen3_reranker(Path(name) / name_of, labels)
            cases[name_of] = of_reranker(folder, labels)
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


def of_sentence_transformer(folder: Path) -> list[Case]:
    """Whole and cut, with the default prompt and with the one for queries."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    cases = []
    for text, prompt, size in product(TEXTS, (None, "query"), (None, 16)):
        vector = model.encode(
            text, prompt_name=prompt, truncate_dim=size, normalize_embeddings=True
        )
        case = {"text": text, "prompt": prompt, "dimensions": size}
        cases.append(case | {"vector": [short(value) for value in vector]})
    return cases


def of_reranker(folder: Path, labels: tuple[str, ...]) -> list[Case]:
    """As the card of Qwen3-Reranker does it, from text to score, one pair after the other.

    https://huggingface.co/Qwen/Qwen3-Reranker-0.6B
    """
    from transformers import AutoTokenizer

    tokenizer, score = AutoTokenizer.from_pretrained(folder), _score(folder, labels)
    prefix, suffix = (tokenizer.encode(text, add_special_tokens=False) for text in FRAME)
    cases = []
    for document, instruction, max_length in product(DOCUMENTS, INSTRUCTIONS, MAX_LENGTHS):
        task = instruction or DEFAULT_INSTRUCTION
        text = f"<Instruct>: {task}\n<Query>: {QUERY}\n<Document>: {document}"
        room = max_length - len(prefix) - len(suffix)
        tokens = tokenizer(text, truncation="longest_first", max_length=room)["input_ids"]
        tokens = prefix + tokens + suffix
        case = {"document": document, "instruction": instruction, "max_length": max_length}
        cases.append(case | {"tokens": tokens, "vector": [short(score(tokens))]})
    return cases


def _score(folder: Path, labels: tuple[str, ...]) -> Callable[[list[int]], float]:
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )

    auto = AutoModelForSequenceClassification if labels else AutoModelForCausalLM
    model = auto.from_pretrained(folder, dtype=torch.float32).eval()
    vocab = AutoTokenizer.from_pretrained(folder).get_vocab()

    def score(tokens: list[int]) -> float:
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits
        if len(labels) == 1:
            return float(torch.sigmoid(logits[0, 0]))
        pair = logits[0] if labels else logits[0, -1, [vocab["no"], vocab["yes"]]]
        return float(torch.softmax(pair, dim=0)[1])

    return score


def drawn() -> list[list[int]]:
    draw = random.Random(5)
    return [[draw.randrange(5, 100) for _ in range(length)] for length in LENGTHS]


def short(value: Any) -> float:
    return round(float(value), 7)


def tell_moves(cases: dict[str, list[Case]], path: Path = PINNED) -> None:
    pinned = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
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
