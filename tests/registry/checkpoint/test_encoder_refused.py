"""Tests of checkpoint.encoder.check: what is refused before weights are fetched, and after."""

import json
from pathlib import Path
from typing import Any

import pytest

from registry.checkpoint.verify import verify
from registry.convert.trial import try_out
from registry.errors import NotAModel
from registry.jobs import provision
from registry.jobs.order import Pull
from registry.store.store import Store
from tests.fake_work import WEIGHTS, FakeWork
from tests.hub.hub_server import HubServer
from tests.models import random_encoders
from tests.models.tiny_encoders import write_pooling
from tests.provisioning import run, settings_of

LSTM = [
    {"type": f"sentence_transformers.models.{name}", "path": path}
    for name, path in (("Transformer", ""), ("LSTM", "1_LSTM"), ("Pooling", "2_Pooling"))
]


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


async def test_a_module_that_is_not_computed_is_refused_before_weights_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it, the vectors would be others."""
    monkeypatch.setattr(provision, "run_work", FakeWork())
    repository = {
        "config.json": b'{"model_type": "bert"}',
        "model.safetensors": WEIGHTS,
        "modules.json": json.dumps(LSTM).encode(),
        "tokenizer.json": b"{}",
    }
    with HubServer() as hub:
        hub.add_repo("org/tiny", repository)
        with pytest.raises(NotAModel, match="a module of type 'LSTM', which is not computed"):
            await run(Pull("tiny", "org/tiny"), Store(tmp_path / "home"), settings_of(hub))
        assert hub.bytes_sent("model.safetensors") == 0


def test_it_is_refused_when_it_is_here(tmp_path: Path) -> None:
    """A folder goes by no hub; a reranker's score is made without modules."""
    folder = random_encoders.make(tmp_path / "embeds", "bert")
    try_out(folder, verify(folder))
    (folder / "modules.json").write_text(json.dumps(LSTM))
    with pytest.raises(NotAModel, match="'LSTM'"):
        try_out(folder, verify(folder))
    (folder / "modules.json").write_text("[7]")
    with pytest.raises(NotAModel, match="no list of modules"):
        try_out(folder, verify(folder))
    ranks = random_encoders.make(tmp_path / "ranks", "bert", is_reranker=True)
    (ranks / "modules.json").write_text(json.dumps(LSTM))
    try_out(ranks, verify(ranks))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"use_bidirectional_attention": True}, "attention in both directions of a 'qwen3'"),
        ({"auto_map": {"AutoModel": "modeling_nv.NVEmbedModel"}}, "modeling_nv.NVEmbedModel"),
    ],
)
def test_a_language_model_that_looks_ahead_is_refused(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    """mlx-lm would compute it as one that looks back, and every vector would be wrong."""
    folder = random_encoders.make(tmp_path, "qwen3")
    write_pooling(folder, "pooling_mode_lasttoken")
    try_out(folder, verify(folder))
    change(folder / "config.json", **config)
    with pytest.raises(NotAModel, match=message):
        try_out(folder, verify(folder))
