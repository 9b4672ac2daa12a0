"""Tests of checkpoint.encoders.foreign: encoders that are computed in ways of their own."""

import json
from pathlib import Path
from typing import Any

import pytest

from registry.checkpoint.encoders.reading import check_config, family_of
from registry.errors import NotAModel
from registry.jobs import provision
from registry.jobs.order import Import, Order, Pull
from registry.store.store import Store
from tests.fake_work import WEIGHTS, FakeWork
from tests.hub.hub_server import HubServer
from tests.provisioning import run, settings_of

# As they are published, but for what changes nothing.
PUBLISHED: dict[str, tuple[dict[str, Any], str]] = {
    "jina-embeddings-v2-base-en": (
        {
            "model_type": "bert",
            "architectures": ["JinaBertForMaskedLM"],
            "auto_map": {
                "AutoConfig": "jinaai/jina-bert-implementation--configuration_bert.JinaBertConfig",
                "AutoModel": "jinaai/jina-bert-implementation--modeling_bert.JinaBertModel",
            },
            "emb_pooler": "mean",
            "feed_forward_type": "geglu",
            "max_position_embeddings": 8192,
            "position_embedding_type": "alibi",
        },
        "'jinaai/jina-bert-implementation--modeling_bert.JinaBertModel', code of its own",
    ),
    "jina-embeddings-v3": (
        {
            "model_type": "xlm-roberta",
            "architectures": ["XLMRobertaModel"],
            "auto_map": {
                "AutoConfig": "jinaai/xlm-roberta-flash-implementation--configuration_xlm_roberta"
                ".XLMRobertaFlashConfig",
                "AutoModel": "jinaai/xlm-roberta-flash-implementation--modeling_lora"
                ".XLMRobertaLoRA",
            },
            "lora_adaptations": ["retrieval.query", "retrieval.passage"],
            "lora_rank": 4,
            "position_embedding_type": "rotary",
            "rotary_emb_base": 20000.0,
        },
        "modeling_lora.XLMRobertaLoRA', code of its own",
    ),
    "nomic-embed-text-v2-moe": (
        {
            "model_type": "nomic_bert",
            "architectures": ["NomicBertModel"],
            "activation_function": "gelu",
            "auto_map": {
                "AutoConfig": "nomic-ai/nomic-bert-2048--configuration_hf_nomic_bert"
                ".NomicBertConfig",
                "AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel",
            },
            "moe_every_n_layers": 2,
            "moe_top_k": 2,
            "n_embd": 768,
            "num_experts": 8,
            "rotary_emb_fraction": 1.0,
        },
        "num_experts is 8, which is not computed here for models of type 'nomic_bert'",
    ),
}
CLASSIFIES = {"architectures": ["MPNetForSequenceClassification"]}
SOUND: list[dict[str, Any]] = [
    {"model_type": "bert", "position_embedding_type": "absolute", "is_decoder": False},
    {"model_type": "bert", "pruned_heads": {}, "use_cache": True, "architectures": None},
    {"model_type": "bert", "architectures": ["BertForMaskedLM", "BertForPreTraining", "BertModel"]},
    {"model_type": "camembert", "architectures": ["RobertaForMaskedLM"]},
    {"model_type": "mpnet", "id2label": {"0": "LABEL_0"}} | CLASSIFIES,
    {"model_type": "mpnet", "id2label": {"0": "a", "1": "b"}, "architectures": ["MPNetModel"]},
    {"model_type": "xlm-roberta", "auto_map": {"AutoTokenizer": ["a.B", None]}},
    {"model_type": "modernbert", "position_embedding_type": "absolute", "rope_scaling": None},
    {
        "model_type": "nomic_bert",
        "activation_function": "swiglu",
        "auto_map": {"AutoModel": "modeling_hf_nomic_bert.NomicBertModel"},
        "moe_every_n_layers": 0,
        "num_experts": 0,
        "prenorm": False,
        "rotary_emb_fraction": 1.0,
        "vocab_size": 30522,
    },
]
NOMIC = {"activation_function": "swiglu", "rotary_emb_fraction": 1.0}
FOREIGN: list[tuple[str, dict[str, Any], str]] = [
    ("bert", {"position_embedding_type": "alibi"}, "position_embedding_type is 'alibi'"),
    ("bert", {"position_embedding_type": "relative_key_query"}, "'relative_key_query'"),
    ("bert", {"feed_forward_type": "geglu"}, "feed_forward_type is 'geglu'"),
    ("bert", {"is_decoder": True}, "is_decoder is True"),
    ("bert", {"add_cross_attention": True}, "add_cross_attention is True"),
    ("bert", {"pruned_heads": {"0": [1]}}, "pruned_heads is"),
    ("bert", {"hidden_act": "quick_gelu"}, "hidden_act is 'quick_gelu'"),
    ("bert", {"hidden_size": 100}, "12 attention heads cannot share 100 numbers"),
    ("bert", {"num_hidden_layers": 10**9}, "num_hidden_layers"),
    ("bert", {"vocab_size": "many"}, "vocab_size"),
    ("bert", {"architectures": ["HF_ColBERT"]}, "a class 'HF_ColBERT', which is not known"),
    ("bert", {"quantization": {"bits": 4}}, "its weights are packed"),
    ("roberta", {"rope_theta": 10000.0}, "rope_theta is 10000.0"),
    ("xlm-roberta", {"architectures": ["XLMRobertaLoRA"]}, "a class 'XLMRobertaLoRA'"),
    ("xlm-roberta", {"lora_adaptations": ["a"]}, "lora_adaptations is"),
    ("xlm-roberta", {"rotary_emb_base": 20000.0}, "rotary_emb_base is 20000.0"),
    ("camembert", {"architectures": ["BertModel"]}, "(write 'RobertaModel' into its architec"),
    ("mpnet", CLASSIFIES | {"id2label": {"0": "no", "1": "yes"}}, "expected one label"),
    ("distilbert", {"activation": "tanh"}, "activation is 'tanh'"),
    ("distilbert", {"n_heads": 7}, "7 attention heads cannot share 768 numbers"),
    ("mpnet", {"relative_attention_num_buckets": 64}, "relative_attention_num_buckets is 64"),
    ("mpnet", {"position_embedding_type": "rotary"}, "position_embedding_type is 'rotary'"),
    ("modernbert", {"layer_types": ["chunked_attention"]}, "layer_types"),
    ("modernbert", {"hidden_activation": "mish"}, "hidden_activation is 'mish'"),
    ("nomic_bert", NOMIC | {"num_experts": 8}, "num_experts is 8"),
    ("nomic_bert", NOMIC | {"moe_every_n_layers": 2}, "moe_every_n_layers is 2"),
    ("nomic_bert", NOMIC | {"causal": True}, "causal is True"),
    ("nomic_bert", NOMIC | {"prenorm": True}, "prenorm is True"),
    ("nomic_bert", NOMIC | {"rotary_scaling_factor": 2.0}, "rotary_scaling_factor is 2.0"),
    (
        "nomic_bert",
        NOMIC | {"architectures": ["NomicBertForSequenceClassification"]},
        "rerankers of type 'nomic_bert'",
    ),
]


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("is_import", [False, True])
async def test_what_is_published_is_refused_before_weights_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_import: bool
) -> None:
    """They were ready, and gave an error to each who asked."""
    config, message = PUBLISHED[name]
    monkeypatch.setattr(provision, "run_work", FakeWork())
    files = {"config.json": json.dumps(config).encode(), "model.safetensors": WEIGHTS}
    files |= {"tokenizer.json": b"{}"}
    with HubServer() as hub:
        hub.add_repo("org/tiny", files)
        order: Order = Pull("tiny", "org/tiny")
        if is_import:
            (tmp_path / "model").mkdir()
            for file, content in files.items():
                (tmp_path / "model" / file).write_bytes(content)
            order = Import("tiny", str(tmp_path / "model"))
        with pytest.raises(NotAModel) as refusal:
            await run(order, Store(tmp_path / "home"), settings_of(hub))
        assert hub.bytes_sent("model.safetensors") == 0
    assert message in str(refusal.value) and str(refusal.value).endswith("without it.")


@pytest.mark.parametrize("config", SOUND)
def test_what_changes_nothing_is_no_matter(config: dict[str, Any]) -> None:
    check_config(config)


@pytest.mark.parametrize(("model_type", "config", "message"), FOREIGN)
def test_what_changes_the_computation_is_refused(
    model_type: str, config: dict[str, Any], message: str
) -> None:
    """By the key, its value and the type, in one line."""
    with pytest.raises(NotAModel) as refusal:
        check_config({"model_type": model_type} | config)
    assert message in str(refusal.value) and "\n" not in str(refusal.value)


def test_nomics_code_rounds_the_vocabulary_up() -> None:
    """Its weights have more rows than there are tokens."""
    config: dict[str, Any] = {"model_type": "nomic_bert", "vocab_size": 30522} | NOMIC
    shapes = family_of(config | {"pad_vocab_size_multiple": 64}).shapes(has_head=False)
    assert shapes["embeddings.word_embeddings.weight"] == (30528, 768)
