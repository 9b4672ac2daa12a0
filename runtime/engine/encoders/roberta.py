"""RoBERTa: all-roberta, bge-m3, multilingual-e5. BERT, but for positions and the head."""

import mlx.core as mx

from registry.checkpoint.encoders.roberta import RobertaConfig

from .attention import Pack
from .bert import Bert


class Roberta(Bert):
    """Positions start behind pad_token_id; the head's tensors have other names."""

    def __init__(self, config: RobertaConfig, *, has_head: bool) -> None:
        super().__init__(config, has_head=has_head)
        self.padding = config.pad_token_id

    def positions(self, pack: Pack) -> mx.array:
        return positions_beside(pack, self.padding)

    def head_name(self, name: str) -> str:
        return name.replace("classifier.dense", "head.dense").replace(
            "classifier.out_proj", "head.out"
        )


def positions_beside(pack: Pack, padding: int) -> mx.array:
    """Rows x longest, from `padding` + 1 on; a token `padding` has that position, and counts not.

    So does fairseq, whatever the mask says: a text may hold such a token.
    """
    counts = (pack.tokens != padding).astype(mx.int32)
    return mx.cumsum(counts, axis=1) * counts + padding
