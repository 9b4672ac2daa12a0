"""RoBERTa and XLM-RoBERTa: all-roberta, bge-m3, multilingual-e5, bge-reranker."""

from typing import Annotated, ClassVar

import msgspec

from .bert import BertConfig
from .family import Count, Shape, linear


class RobertaConfig(BertConfig, frozen=True, kw_only=True):
    """BERT's keys; positions are counted from pad_token_id + 1, and no text has a type."""

    classes: ClassVar[tuple[str, ...]] = ("Roberta", "XLMRoberta", "Camembert")
    prefixes: ClassVar[tuple[str, ...]] = ("roberta.",)
    has_segments: ClassVar[bool] = False

    vocab_size: Count = 50265
    pad_token_id: Annotated[int, msgspec.Meta(ge=0)] = 1

    @property
    def first_position(self) -> int:
        return self.pad_token_id + 1

    @property
    def max_tokens(self) -> int:
        return max(0, self.max_position_embeddings - self.first_position)

    def _head(self) -> dict[str, Shape]:
        size = self.hidden_size
        return linear("classifier.dense", size, size) | linear("classifier.out_proj", 1, size)


class XlmRobertaConfig(RobertaConfig, frozen=True, kw_only=True):
    """The same, of many languages."""

    vocab_size: Count = 30522


class CamembertConfig(RobertaConfig, frozen=True, kw_only=True):
    """The same, of French."""

    vocab_size: Count = 30522
