"""What sentence-transformers makes of texts with the encoders: writes `reference_sentences.json`.

By hand, in the venv that `reference_vectors` tells of, with sentence-transformers in it:

    ../torch-venv/bin/python -m tests.models.reference_sentences

Every run of the tests compares ours with the pinned figures, in `test_reference_sentences`. Last
made with torch 2.13.0, transformers 5.24.0 and sentence-transformers 6.2.0.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from tests.models import random_encoders
from tests.models.reference_decoders import short, tell_moves, written
from tests.models.tiny_encoders import write_dense, write_modules, write_pooling

PINNED = Path(__file__).with_suffix(".json")
MAX_TOKENS = 48
TEXTS = (
    "a",
    "The quick brown fox jumps over the lazy dog: which models read that?",
    "Grüße aus Köln: naïve café, русский текст, 日本語 🙂  two  spaces",
    "A <pad> and the <mask> of one model, [PAD] and [MASK] of another </s> or [SEP].",
    "Vectors: one for each text. " * 12,
)
QUERY = "Which fox jumps?"
RERANKERS = ("bert", "distilbert", "mpnet", "roberta", "xlm-roberta")

Case: TypeAlias = dict[str, Any]  # "text" and "vector"


@dataclass(frozen=True)
class Embedder:
    """How a random model of the architecture makes one vector, as its namesake does."""

    architecture: str
    mode: str
    steps: tuple[str, ...]
    said_in: str = "sentence_bert_config.json"  # how texts are read
    is_lowered: bool = False


EMBEDDERS = {
    "LaBSE": Embedder("bert", "pooling_mode_cls_token", ("Dense", "Normalize")),
    "all-mpnet-base-v2": Embedder("mpnet", "pooling_mode_mean_tokens", ("Normalize",)),
    "all-roberta-large-v1": Embedder("roberta", "pooling_mode_mean_tokens", ("Normalize",)),
    "msmarco-distilbert-base-tas-b": Embedder("distilbert", "pooling_mode_cls_token", ()),
    "multilingual-e5-base": Embedder("xlm-roberta", "pooling_mode_mean_tokens", ("Normalize",)),
    "paraphrase-distilroberta-base-v1": Embedder(
        "roberta",
        "pooling_mode_mean_tokens",
        (),
        said_in="sentence_roberta_config.json",
        is_lowered=True,
    ),
    "sentence-camembert-base": Embedder("camembert", "pooling_mode_mean_tokens", ()),
}


def make_embedder(folder: Path, name: str) -> Path:
    made = EMBEDDERS[name]
    random_encoders.make(folder, made.architecture)
    write_pooling(folder, made.mode)
    write_modules(folder, "Pooling", *made.steps)
    if "Dense" in made.steps:
        write_dense(folder / "2_Dense", random_encoders.SIZE, 24)
    said = {"max_seq_length": MAX_TOKENS, "do_lower_case": made.is_lowered}
    (folder / made.said_in).write_text(json.dumps(said))
    return folder


def make_reranker(folder: Path, architecture: str) -> Path:
    labels = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    return random_encoders.make(folder, architecture, is_reranker=True, **labels)


def main() -> None:
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        cases = {of: _embedded(make_embedder(Path(name) / of, of)) for of in EMBEDDERS}
        for of in RERANKERS:
            cases[f"{of} reranker"] = _ranked(make_reranker(Path(name) / f"{of}-ranks", of))
    tell_moves(cases, PINNED)
    PINNED.write_text(written(cases), encoding="utf-8")


def _embedded(folder: Path) -> list[Case]:
    """One text after the other, so that there is no padding."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return [
        {"text": text, "vector": [short(value) for value in model.encode(text)]} for text in TEXTS
    ]


def _ranked(folder: Path) -> list[Case]:
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu", max_length=126)
    return [
        {"text": text, "vector": [short(model.predict([(QUERY, text)])[0])]} for text in TEXTS[:-1]
    ]


if __name__ == "__main__":
    main()
