"""`include`: what else of a response is told, when it is created and when it is asked for again."""

from collections.abc import Iterable

from web.errors import ApiError

from .items import Item
from .sealed_text import sealed

LOGPROBS = "message.output_text.logprobs"
SEALED_REASONING = "reasoning.encrypted_content"
# What else may be asked for is of tools that are not here, and so is never missing.
_INCLUDABLE = (
    LOGPROBS,
    SEALED_REASONING,
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
)


def check_includable(names: Iterable[str]) -> None:
    """Raises ApiError that names what nobody knows."""
    for name in names:
        if name not in _INCLUDABLE:
            raise _wrong(f"has {name[:100]!r}; it may hold {', '.join(_INCLUDABLE)}")


def including(items: list[Item], names: Iterable[str]) -> list[Item]:
    """The items with what is asked for. Raises ApiError for probabilities that nobody kept."""
    wanted = set(names)
    if LOGPROBS in wanted and not all(map(_has_logprobs, items)):
        raise _never_made(LOGPROBS)
    return [*map(_with_seal, items)] if SEALED_REASONING in wanted else items


def check_streamed(names: Iterable[str], items: list[Item]) -> None:
    """Raises ApiError for what events that were told lack: they stay what they are."""
    wanted = set(names)
    including(items, wanted)
    thoughts = [item for item in items if item["type"] == "reasoning"]
    if SEALED_REASONING in wanted and not all("encrypted_content" in item for item in thoughts):
        raise _never_made(SEALED_REASONING)


def check_asked(names: Iterable[str], asked: Iterable[str]) -> None:
    """Raises ApiError for what events lack that are still being told."""
    for name in {LOGPROBS, SEALED_REASONING} & set(names) - set(asked):
        raise _never_made(name)


def _has_logprobs(item: Item) -> bool:
    parts = item["content"] if item["type"] == "message" else []
    return all(part["logprobs"] for part in parts if part["type"] == "output_text" and part["text"])


def _with_seal(item: Item) -> Item:
    if item["type"] != "reasoning" or "encrypted_content" in item:
        return item
    thought = "".join(part["text"] for part in item.get("content") or ())
    return item | {"encrypted_content": sealed(thought)}


def _never_made(name: str) -> ApiError:
    return _wrong(f"has {name!r}, which this response was created without")


def _wrong(what: str) -> ApiError:
    return ApiError(400, f"'include' {what}.", param="include")
