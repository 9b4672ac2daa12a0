"""XLM-RoBERTa: bge-m3, multilingual-e5, bge-reranker. BERT, but for positions and the head."""

from typing import Self

import mlx.core as mx
import msgspec

from registry.checkpoint.config import Json

from .attention import Pack
from .bert import Bert, BertConfig


class XlmRobertaConfig(BertConfig, frozen=True):
    """BERT's keys, with the defaults of RoBERTa."""

    type_vocab_size: int = 1
    layer_norm_eps: float = 1e-5
    pad_token_id: int = 1


class XlmRoberta(Bert):
    """Positions start at pad_token_id + 1; the head's tensors have other names."""

    def __init__(self, config: BertConfig, *, has_head: bool) -> None:
        super().__init__(config, has_head=has_head)
        self.first_position = config.pad_token_id + 1

    @classmethod
    def of(cls, config: dict[str, Json], *, has_head: bool) -> Self:
        """From a config.json. Raises ValueError for what is not computed here."""
        return cls(msgspec.convert(config, XlmRobertaConfig), has_head=has_head)

    def positions(self, pack: Pack) -> mx.array:
        # The position of padding does not matter, but must be a row of the table.
        return mx.where(pack.is_real, super().positions(pack) + self.first_position, 0)

    def head_name(self, name: str) -> str:
        return name.replace("classifier.dense", "head.dense").replace(
            "classifier.out_proj", "head.out"
        )
