"""Tests of registry.checkpoint.task: what a person says a model is for, and where it is kept."""

import json
from pathlib import Path
from typing import Any

import pytest

from registry.checkpoint.kind import kind_in
from registry.checkpoint.task import TASKS, Task, check
from registry.checkpoint.verify import verify
from registry.convert.conversion import carry_out
from registry.convert_messages import Work
from registry.errors import NotAModel, SourceRefused
from registry.jobs.order import Convert, Import, Verify
from registry.jobs.provision import check as check_order
from registry.store.record import Recipe
from registry.store.store import Store
from tests.models import random_decoders, random_encoders
from tests.models.tiny_models import make_llama
from tests.provisioning import record_of, run


def taken(source: Path, target: Path, task: Task | None, **work: Any) -> Path:
    carry_out(source, Work(str(source), str(target), task=task, **work), lambda *_: None)
    return target


def config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    return config


def without_modules(folder: Path) -> Path:
    """As a conversion by mlx-lm is: the files of sentence-transformers are left behind."""
    (folder / "modules.json").unlink()
    return folder


@pytest.mark.parametrize("task", ["embed", "rerank"])
@pytest.mark.parametrize("work", [{}, {"bits": 4, "group_size": 32}])
def test_it_stays_with_the_folder(tmp_path: Path, task: Task, work: dict[str, Any]) -> None:
    """Without the word a chat model; with it, and whatever is then made of it, the other."""
    source = random_decoders.make_qwen3_reranker(tmp_path / "source")
    assert not verify(taken(source, tmp_path / "plain", None)).is_reranker
    first = taken(source, tmp_path / "first", task, **work)
    second = taken(first, tmp_path / "second", None, dtype="float16")
    for folder in (first, second):
        verified = verify(folder)
        assert (verified.kind, verified.is_reranker) == ("embed", task == "rerank")
        assert TASKS[kind_in(folder, config_of(folder))] == task


def test_an_embedder_becomes_a_chat_model_again(tmp_path: Path) -> None:
    source = taken(
        random_decoders.make_qwen3_reranker(tmp_path / "source"), tmp_path / "embeds", "embed"
    )
    assert verify(taken(source, tmp_path / "chats", "chat")).kind == "llm"


def test_the_last_token_pools_where_nothing_else_is_said(tmp_path: Path) -> None:
    """As Qwen3-Embedding's does; what a folder says itself stays."""
    source = random_decoders.make(tmp_path / "mean", "qwen3", "pooling_mode_mean_tokens")
    pooling = json.loads((taken(source, tmp_path / "a", "embed") / POOLING).read_bytes())
    assert pooling["pooling_mode_mean_tokens"]
    without_modules(source)
    pooling = json.loads((taken(source, tmp_path / "b", "embed") / POOLING).read_bytes())
    assert pooling == {"word_embedding_dimension": 32, "pooling_mode_lasttoken": True}


POOLING = "1_Pooling/config.json"


async def test_it_stays_with_the_model(tmp_path: Path) -> None:
    """Through an import, a verification, a conversion, and a store that is opened anew."""
    home, source = tmp_path / "home", random_decoders.make_qwen3_reranker(tmp_path / "source")
    await run(Import("ranks", str(source), recipe=Recipe(task="rerank")), Store(home))
    await run(Verify("ranks"), Store(home))
    await run(Convert("small", "ranks", Recipe(bits=4, group_size=32)), Store(home))
    for model_id in ("ranks", "small"):
        record = record_of(Store(home), model_id)
        assert record.kind == "embed"
        assert record.verified is not None and record.verified.is_reranker


@pytest.mark.parametrize(
    ("architecture", "is_reranker", "task", "message"),
    [
        ("bert", False, "chat", "cannot chat"),
        ("bert", False, "rerank", "is made to embed, and cannot rerank"),
        ("bert", True, "embed", "is made to rerank, and cannot embed"),
        ("bert", False, "embed", None),
        ("bert", True, "rerank", None),
    ],
)
def test_an_encoder_is_what_it_is(
    tmp_path: Path, architecture: str, is_reranker: bool, task: Task, message: str | None
) -> None:
    folder = random_encoders.make(tmp_path, architecture, is_reranker=is_reranker)
    if message is None:
        check(folder, task)
        return
    with pytest.raises(NotAModel, match=message):
        check(folder, task)


def test_what_cannot_be_is_refused_by_the_small_files(tmp_path: Path) -> None:
    """And says what can be done, where something can."""
    gte = without_modules(random_decoders.make(tmp_path / "gte", "qwen2"))
    gemma = without_modules(random_decoders.make(tmp_path / "gemma", "gemma3_text"))
    head = random_decoders.make_qwen3_reranker(tmp_path / "head", ("LABEL_0",))
    several = random_decoders.make_qwen3_reranker(tmp_path / "several", ("good", "bad"))
    llama, bare, empty = (make_llama(tmp_path / name) for name in ("llama", "bare", "empty"))
    (empty / "modules.json").write_text("[]")
    (bare / "config_sentence_transformers.json").write_text("{}")
    cases: list[tuple[Path, Task | None, str]] = [
        (gte, None, "generates no text.*--as embed"),
        (gte, "chat", "cannot chat"),
        (bare, None, "config_sentence.*embeds or ranks.*--as embed"),
        (empty, None, "modules.json says that the model embeds or ranks.*--as embed"),
        (gemma, "embed", "modules after the language model"),
        (llama, "rerank", "how it is asked is not known"),
        (head, None, "is taken with `--as rerank`"),
        (head, "chat", "cannot chat"),
        (head, "embed", "is a reranker, and cannot embed"),
    ]
    for folder, task, message in cases:
        with pytest.raises(NotAModel, match=message):
            check(folder, task)
    check(gte, "embed")
    check(taken(bare, tmp_path / "chats", "chat"), None)
    with pytest.raises(NotAModel, match="expected one label.*found good, bad"):
        taken(several, tmp_path / "taken", "rerank")
    (tmp_path / "no-yes").mkdir()
    plain = make_llama(tmp_path / "no-yes")
    config = config_of(plain) | {"model_type": "qwen3"}
    (plain / "config.json").write_text(json.dumps(config))
    check(plain, "rerank")
    with pytest.raises(NotAModel, match="lacks one of the tokens yes, no"):
        taken(plain, tmp_path / "made", "rerank")


def test_a_linked_folder_stays_as_it_is(tmp_path: Path) -> None:
    """So it can only be taken as what it is."""
    source = random_decoders.make_qwen3_reranker(tmp_path / "source")
    store = Store(tmp_path / "home")
    with pytest.raises(SourceRefused, match="without linking"):
        check_order(Import("x", str(source), link=True, recipe=Recipe(task="embed")), store)
    check_order(Import("x", str(source), link=True, recipe=Recipe(task="chat")), store)
