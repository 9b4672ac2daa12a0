"""What a person says a model is for, where its files do not: `import --as`, `pull --as`.

It is written into the model's folder as sentence-transformers writes it, so that it stays with the
model wherever that goes, and nothing else has to remember it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from registry.errors import NotAModel

from . import chat_template, encoder
from .attention import looks_ahead, sight_of
from .companions import CONFIG, LOGIT_SCORE, MODULES, POOLING, SENTENCE_CONFIG
from .config import positive, read_json
from .kind import ENCODER_TYPES, ModelKind, classifies, kind_in
from .ranking import takes_pairs

Task: TypeAlias = Literal["chat", "embed", "rerank"]
TASKS: dict[ModelKind, Task] = {"llm": "chat", "embed": "embed", "rerank": "rerank"}

_TRANSFORMER = "sentence_transformers.models.Transformer"
_EMBEDDER = (
    ("", _TRANSFORMER),
    ("1_Pooling", "sentence_transformers.models.Pooling"),
    ("2_Normalize", "sentence_transformers.models.Normalize"),
)
_RERANKER = (
    ("", "sentence_transformers.base.modules.transformer.Transformer"),
    ("1_LogitScore", "sentence_transformers.cross_encoder.modules.logit_score.LogitScore"),
)
# What Qwen3-Reranker is asked, word for word, as its card has it:
# https://huggingface.co/Qwen/Qwen3-Reranker-0.6B
_QWEN3_TEMPLATE = r"""
{%- set instruct = namespace(text="Given a web search query, retrieve relevant passages that answer the query", query="", document="") %}
{%- for message in messages %}
{%- if message.role == "system" %}{% set instruct.text = message.content %}{% endif %}
{%- if message.role == "query" %}{% set instruct.query = message.content %}{% endif %}
{%- if message.role == "document" %}{% set instruct.document = message.content %}{% endif %}
{%- endfor %}
{{- "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n" }}
{{- "<Instruct>: " + instruct.text + "\n<Query>: " + instruct.query + "\n<Document>: " + instruct.document }}
{{- "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n" }}
"""  # noqa: E501
_QWEN3_TOKENS = ("<|im_start|>", "<|im_end|>")


def check(folder: Path, task: Task | None) -> None:
    """Refuse by the files beside the weights what cannot be, or not be used as `task`.

    Raises NotAModel.
    """
    config = read_json(folder / CONFIG)
    kind = kind_in(folder, config)
    if task is None:
        encoder.check(folder)
        if kind == "llm" and looks_ahead(config):
            raise NotAModel(
                f"{CONFIG} wants attention in both directions, so the model generates no text, "
                f"and there is no {MODULES} that says how it embeds. If it is an embedding model, "
                "take it with `--as embed`."
            )
        said = [name for name in (MODULES, SENTENCE_CONFIG) if (folder / name).is_file()]
        if kind == "llm" and said:
            raise NotAModel(
                f"{said[0]} says that the model embeds or ranks, but no {MODULES} with what pools "
                "or scores says how. Take it with `--as embed`, `--as rerank` or `--as chat`."
            )
    elif config.get("model_type") in ENCODER_TYPES:
        encoder.check(folder)
        if TASKS[kind] != task:
            raise NotAModel(f"{_name(config)} is made to {TASKS[kind]}, and cannot {task}.")
    elif task == "chat":
        if classifies(config) or looks_ahead(config):
            raise NotAModel(f"{_name(config)} generates no text, so it cannot chat.")
    elif task == "embed":
        _check_embedder(folder, config, kind)
    else:
        _check_reranker(folder, config, kind)


def claim(folder: Path, config: Mapping[str, object], task: Task | None) -> None:
    """Write into the files of a folder what it is for; `config` is its config.json. NotAModel."""
    is_encoder = config.get("model_type") in ENCODER_TYPES
    kind = kind_in(folder, config)
    if task is None or is_encoder:
        return
    if task == "chat":
        for name in (MODULES, SENTENCE_CONFIG):
            (folder / name).unlink(missing_ok=True)
    elif task == "embed" and kind != "embed":
        pooling = {"word_embedding_dimension": positive(config.get("hidden_size"))}
        _write_modules(folder, _EMBEDDER)
        _write(folder / POOLING, pooling | {"pooling_mode_lasttoken": True})
    elif task == "rerank":
        if not takes_pairs(folder):
            (folder / chat_template.JINJA).write_text(_QWEN3_TEMPLATE.strip(), encoding="utf-8")
        if kind != "rerank":
            _write_modules(folder, _RERANKER)
            yes, no = _answers(folder)
            _write(folder / LOGIT_SCORE, {"true_token_id": yes, "false_token_id": no})


def _check_embedder(folder: Path, config: Mapping[str, object], kind: ModelKind) -> None:
    if kind == "rerank":
        raise NotAModel(f"{_name(config)} is a reranker, and cannot embed.")
    try:
        sight = sight_of(config)
    except ValueError as error:
        raise NotAModel(f"{error}.") from None
    if kind == "embed":
        encoder.check(folder)
    elif sight.window is not None:  # EmbeddingGemma: without its Dense modules, others' vectors
        raise NotAModel(
            f"{_name(config)} has modules after the language model, and {MODULES} and their files "
            "are missing. Choose a repository that has them."
        )


def _check_reranker(folder: Path, config: Mapping[str, object], kind: ModelKind) -> None:
    if takes_pairs(folder) and kind == "rerank":
        return encoder.check(folder)
    if config.get("model_type") != "qwen3" or looks_ahead(config):
        raise NotAModel(
            f"{_name(config)} cannot be taken as a reranker: how it is asked is not known. Known "
            "are Qwen3-Reranker, models with a LogitScore and a chat template for pairs, and "
            "encoders with a classification head."
        )
    return None


def _answers(folder: Path) -> tuple[int, int]:
    """The ids of "yes" and "no". Raises NotAModel for a tokenizer that is not Qwen's."""
    content = read_json(folder / "tokenizer.json")
    model, added = content.get("model"), content.get("added_tokens")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    marks = [entry.get("content") for entry in added] if isinstance(added, list) else []
    yes, no = (vocab.get(name) for name in ("yes", "no")) if isinstance(vocab, dict) else (0, 0)
    is_qwen = set(_QWEN3_TOKENS) <= set(marks)
    if not is_qwen or not isinstance(yes, int) or not isinstance(no, int) or yes == no:
        raise NotAModel(
            "tokenizer.json lacks one of the tokens yes, no, <|im_start|> and <|im_end|>, so the "
            "model cannot be asked as Qwen3-Reranker is."
        )
    return yes, no


def _name(config: Mapping[str, object]) -> str:
    return f"A model of type '{config.get('model_type')}' with this {CONFIG}"


def _write_modules(folder: Path, modules: tuple[tuple[str, str], ...]) -> None:
    entries = [
        {"idx": number, "name": str(number), "path": path, "type": kind}
        for number, (path, kind) in enumerate(modules)
    ]
    _write(folder / MODULES, entries)


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2))
