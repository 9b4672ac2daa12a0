"""What config.json alone tells of a model that cannot be used."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.utils import MODEL_ARCHITECTURE_REMAPPING, MODEL_REMAPPING, load_model

from registry.checkpoint.architectures import model_types
from registry.checkpoint.kind import ENCODER_TYPES
from registry.checkpoint.support import check_config
from registry.errors import NotAModel
from tests.models.zoo.checkpoints import CONFIGS, make


@pytest.mark.parametrize("model_type", ["llama", "lille-130m", "solar_open", *MODEL_REMAPPING])
def test_an_architecture_of_mlx_lm_is_known(model_type: str) -> None:
    """Modules of its own, modules that borrow another's Model, and names that it maps to others."""
    check_config({"model_type": model_type})


@pytest.mark.parametrize("model_type", sorted(ENCODER_TYPES))
def test_an_encoder_of_ours_is_known(model_type: str) -> None:
    """Although mlx-lm knows none of them."""
    gated = {"activation_function": "swiglu", "rotary_emb_fraction": 1.0}
    check_config({"model_type": model_type} | (gated if model_type == "nomic_bert" else {}))


@pytest.mark.parametrize(
    ("model_type", "names"),
    [
        ("deberta-v2", ["DebertaV2ForSequenceClassification"]),
        ("new", ["NewModel"]),
        ("of-tomorrow", ["TomorrowForMaskedLM"]),
    ],
)
def test_another_encoder_is_refused_as_one(model_type: str, names: list[str]) -> None:
    """Encoders are ours, not mlx-lm's: what can be chosen is said."""
    with pytest.raises(NotAModel, match=f"Encoders of type '{model_type}' are not .* bert, camem"):
        check_config({"model_type": model_type, "architectures": names})


def test_an_architecture_is_also_known_by_its_class() -> None:
    """As mlx-lm tells two models of one model_type apart."""
    for model_type, name in MODEL_ARCHITECTURE_REMAPPING:
        check_config({"model_type": model_type, "architectures": [name]})


@pytest.mark.parametrize(
    ("model_type", "near"),
    [("qwen33", "qwen3"), ("llamas", "llama"), ("mistrals", "mistral"), ("modern_bert", "modernb")],
)
def test_an_unknown_architecture_is_refused_with_near_names(model_type: str, near: str) -> None:
    """A name that is spelled almost alike is offered."""
    with pytest.raises(NotAModel, match=f"'{model_type}' are not supported.*'{near}"):
        check_config({"model_type": model_type})


@pytest.mark.parametrize("name", ["base", "cache", "switch_layers", "rope_utils", "__init__"])
def test_a_module_that_is_no_architecture_is_unknown(name: str) -> None:
    """mlx-lm keeps what its architectures share beside them."""
    with pytest.raises(NotAModel, match="are not supported"):
        check_config({"model_type": name})
    assert name not in model_types()


def test_an_architecture_that_needs_another_package_is_refused() -> None:
    """mlx-lm's olmo ends the process when it is imported without hf_olmo."""
    with pytest.raises(NotAModel, match="need the Python package 'hf_olmo'"):
        check_config({"model_type": "olmo"})


NEED_METAL: list[dict[str, Any]] = [
    {"model_type": "bitnet"},
    {"model_type": "muse_spark"},
    {"model_type": "llama", "quantization_config": {"quant_method": "bitnet"}},
]


@pytest.mark.parametrize("config", NEED_METAL)
def test_kernels_of_metal_are_refused_elsewhere(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that was ready, and then an error for every request, would be no model."""
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(NotAModel, match="are computed by Metal only.*use it on a Mac"):
        check_config(config)
    monkeypatch.setattr("sys.platform", "darwin")
    check_config(config)


@pytest.mark.skipif(mx.metal.is_available(), reason="Metal computes them")
@pytest.mark.parametrize("name", ["bitnet", "muse_spark"])
def test_kernels_of_metal_have_no_other_form(name: str, tmp_path: Path) -> None:
    """When mlx-lm gives them one, this fails, and they need not be refused."""
    folder = make(name, tmp_path)
    model, _ = load_model(folder)
    with pytest.raises(RuntimeError, match="No Metal back-end"):
        mx.eval(model(mx.array([[1]])))


@pytest.mark.parametrize(
    ("packing", "named"),
    [
        ({"quant_method": "gptq", "bits": 4}, "GPTQ"),
        ({"quant_method": "awq", "version": "gemv"}, "AWQ of 4 bits in the layout 'gemv'"),
        ({"quant_method": "awq", "bits": 3}, "AWQ of 3 bits"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized"}, "pack-quantized"),
        ({"quant_method": "compressed-tensors", "format": "int-quantized"}, "int-quantized"),
        ({"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"}, "nvfp4"),
        ({"quant_method": "mxfp4"}, "MXFP4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "NVFP4"),
        ({"quant_method": "of_tomorrow\n"}, "of_tomorrow"),
        ({"bits": 4}, "names no quant_method"),
    ],
)
@pytest.mark.parametrize("is_nested", [False, True])
def test_a_packing_that_is_not_read_is_refused_by_name(
    packing: dict[str, Any], named: str, is_nested: bool
) -> None:
    """One sentence, that says what to choose instead; also for a multimodal config."""
    config: dict[str, Any] = {"quantization_config": packing}
    with pytest.raises(NotAModel, match=named) as refusal:
        check_config({"model_type": "llama"} | ({"text_config": config} if is_nested else config))
    assert "mlx-community" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("model_type", "packing"),
    [
        ("qwen3", {"quant_method": "fp8", "weight_block_size": [128, 128]}),
        ("llama", {"quant_method": "awq", "bits": 4, "version": "gemm", "group_size": 128}),
        ("gpt_oss", {"quant_method": "mxfp4"}),
        ("llama", {"quant_method": "compressed-tensors", "format": "float-quantized"}),
        (
            "kimi_k2",
            {
                "quant_method": "compressed-tensors",
                "format": "pack-quantized",
                "config_groups": {
                    "group_0": {"weights": {"num_bits": 4, "type": "int", "symmetric": True}}
                },
            },
        ),
    ],
)
def test_a_packing_that_is_read_passes(model_type: str, packing: dict[str, Any]) -> None:
    """What mlx-lm or our conversion decodes."""
    check_config({"model_type": model_type, "quantization_config": packing})


def test_quantization_of_mlx_is_no_foreign_packing() -> None:
    """mlx-lm writes both keys, and reads the first."""
    packing = {"group_size": 64, "bits": 4}
    check_config({"model_type": "llama", "quantization": packing, "quantization_config": packing})


def test_the_check_imports_no_mlx() -> None:
    """The web process asks too, before it fetches weights."""
    code = (
        "import sys; from registry.checkpoint.support import check_config; "
        "check_config({'model_type': 'llama'}); "
        "print([n for n in ('mlx', 'mlx_lm', 'numpy', 'transformers') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("model_type", "name", "activation", "is_computed"),
    [
        ("llama", "hidden_act", "silu", True),
        ("llama", "hidden_act", "gelu", False),
        ("llama", "hidden_act", "relu2", False),
        ("qwen3_moe", "hidden_act", "gelu_pytorch_tanh", False),
        ("mixtral", "hidden_act", "relu", False),
        ("gemma3_text", "hidden_activation", "gelu_pytorch_tanh", True),
        ("gemma", "hidden_act", "silu", False),
        ("gpt2", "activation_function", "gelu_new", True),
        ("gpt2", "activation_function", "relu", False),
        ("nemotron", "hidden_act", "relu2", True),
        ("minimax_m3_vl", "hidden_act", "swigluoai", True),
        ("llama", "hidden_act", "of_tomorrow", True),
    ],
)
def test_an_activation_that_is_not_computed_is_refused(
    model_type: str, name: str, activation: str, is_computed: bool
) -> None:
    """mlx-lm's modules have theirs in code, and would compute with it without a word."""
    config: Any = {"model_type": model_type, name: activation}
    if is_computed:
        check_config(config)
    else:
        with pytest.raises(NotAModel, match=f"the activation '{activation}'"):
            check_config(config)


@pytest.mark.parametrize("name", sorted(set(CONFIGS) - {"bitnet", "muse_spark"}))
def test_activations_of_every_architecture_pass(name: str) -> None:
    """As real models of each have them."""
    check_config(dict(CONFIGS[name]))
