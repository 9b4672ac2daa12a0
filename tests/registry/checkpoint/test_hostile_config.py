"""Values in config.json that nobody expects: whatever strangers wrote, a refusal comes of it."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from registry.checkpoint.config import understood
from registry.checkpoint.spelling import normalised
from registry.checkpoint.support import check_config
from registry.errors import NotAModel
from tests.models.zoo.checkpoints import CONFIGS

_HUGE = 10**400  # which no float holds
_SHARE = {"rope_theta": 1e4, "partial_rotary_factor": float("inf")}
_HOSTILE: tuple[dict[str, Any], ...] = (
    {"model_type": "granitemoehybrid", "layer_types": [{}]},
    {"model_type": "minimax", "head_dim": 16, "rope_parameters": _SHARE},
    {"model_type": "minimax", "head_dim": 16, "rope_parameters": _SHARE | {"rope_theta": []}},
    {"model_type": "llama", "rope_scaling": {"type": "yarn", "factor": _HUGE}},
    {"model_type": "llama", "rope_scaling": {"type": "linear", "factor": _HUGE}},
    {
        "model_type": "llama",
        "rope_scaling": {"type": "yarn", "factor": 2.0, "attention_factor": _HUGE},
    },
    {"model_type": "llama", "rope_parameters": {1: {}, "full_attention": {"factor": 1}}},
)
_VALUES: tuple[object, ...] = (
    *(None, True, False, 0, -1, 7, _HUGE, -_HUGE, 0.5, float("inf"), float("nan")),
    *("", "x", "default", "yarn", [], [None], [{}], [[]], {}, {"a": 1}, {"a": {}}),
)


@pytest.mark.parametrize("config", _HOSTILE)
def test_a_hostile_config_is_refused_in_a_sentence(config: dict[str, Any]) -> None:
    """Where it is checked, and where it is read again when the model is loaded."""
    for ask in (check_config, normalised):
        with pytest.raises(NotAModel, match=r"^config\.json .*; .*choose another model\.$"):
            ask(config)


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_damage_is_refused_or_harmless(name: str) -> None:
    """Any value of any architecture's config may be of any kind: nothing but NotAModel comes."""
    draw = random.Random(name)
    for _ in range(3):
        config: dict[str, Any] = copy.deepcopy(dict(CONFIGS[name]))
        config.setdefault("rope_scaling", {"type": "yarn", "factor": 4.0, "attention_factor": 1.0})
        for _ in range(draw.randint(1, 3)):
            place, key = draw.choice(list(_places(config)))
            place[key] = copy.deepcopy(draw.choice(_VALUES))
        for ask in (check_config, normalised):
            try:
                ask(config)
            except NotAModel as error:
                assert "\n" not in str(error)


def test_a_refusal_is_left_as_it_was_worded() -> None:
    """And what an error quotes of a file cannot move the cursor of a terminal."""
    for error, said in (
        (NotAModel("Too old."), r"^Too old\.$"),
        (KeyError("a\n\x1b[2J"), r"^config\.json cannot be used: KeyError: .*; choose another"),
        (ValueError("b\x1b[2J\nc"), r"^config\.json cannot be used: ValueError: b \[2J c;"),
    ):
        with pytest.raises(NotAModel, match=said), understood():
            raise error


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Where each value within is held, but the model_type: without it nothing is looked at."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        if key != "model_type":
            yield value, key
            if isinstance(value[key], dict | list):
                yield from _places(value[key])
