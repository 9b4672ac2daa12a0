"""config.json and tensors of an encoder, read as its family's: what is not computed is refused."""

from collections.abc import Iterable, Mapping

import msgspec

from registry.checkpoint.companions import CONFIG
from registry.checkpoint.kind import classifies
from registry.checkpoint.weights import Tensor, quote
from registry.errors import NotAModel

from . import FAMILIES, foreign
from .family import Family

_SHOWN = 3  # names of tensors in a message


def family_of(config: Mapping[str, object]) -> Family:
    """The keys that the network is computed by. Raises ValueError for what is not computed here."""
    family = FAMILIES[str(config.get("model_type"))]
    foreign.check(family, config)
    if classifies(config) and not family.can_rank:
        raise ValueError(f"rerankers of type '{config['model_type']}' are not computed here")
    labels = config.get("id2label")
    if classifies(config) and isinstance(labels, dict) and len(labels) != 1:
        raise ValueError(
            f"expected one label, as a reranker has, found {len(labels)}: this is a classifier"
        )
    if "quantization" in config:
        raise ValueError("its weights are packed, and encoders are computed with float weights")
    try:
        return msgspec.convert(dict(config), family)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def check_config(config: Mapping[str, object]) -> None:
    """Raises NotAModel for an encoder whose config.json tells that it is computed otherwise."""
    try:
        family_of(config)
    except ValueError as error:
        raise NotAModel(f"{CONFIG} cannot be used: {error}; choose a model without it.") from None


def check_tensors(config: Mapping[str, object], tensors: Iterable[Tensor]) -> None:
    """Raises NotAModel if the weights are not those of the network that config.json tells of."""
    family, has_head = family_of(config), classifies(config)
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    expected = family.shapes(has_head=has_head)
    try:
        named = family.named(shapes, has_head=has_head)
    except ValueError as error:
        raise NotAModel(f"The weights cannot be used: {error}.") from None
    kind = f"a model of type '{config['model_type']}' with this {CONFIG}"
    if extra := sorted(named.keys() - expected.keys()):
        raise NotAModel(
            f"The weights hold {_listed([named[name] for name in extra])}, which {kind} does not "
            "have: it is computed in another way, so choose another model."
        )
    if missing := sorted(expected.keys() - named.keys()):
        raise NotAModel(
            f"The weights lack {_listed(missing)}, which {kind} has; choose a whole one."
        )
    for name, shape in expected.items():
        if (found := shapes[named[name]]) != shape:
            raise NotAModel(
                f"Tensor {quote(named[name])} has the shape {list(found)}, and {kind} has "
                f"{list(shape)}; choose a whole one."
            )


def _listed(names: list[str]) -> str:
    listed = ", ".join(quote(name) for name in names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{listed} and {more} more" if more > 0 else listed
