"""Embedding models and rerankers. A new architecture is a file and two lines here."""

from typing import TypeAlias

from registry.checkpoint.encoders.bert import BertConfig
from registry.checkpoint.encoders.distilbert import DistilBertConfig
from registry.checkpoint.encoders.family import Family
from registry.checkpoint.encoders.modernbert import ModernBertConfig
from registry.checkpoint.encoders.mpnet import MPNetConfig
from registry.checkpoint.encoders.nomic_bert import NomicBertConfig
from registry.checkpoint.encoders.roberta import RobertaConfig

from .bert import Bert
from .distilbert import DistilBert
from .modernbert import ModernBert
from .mpnet import MPNet
from .nomic_bert import NomicBert
from .roberta import Roberta

Network: TypeAlias = Bert | DistilBert | ModernBert | MPNet | NomicBert


def network_of(family: Family, *, has_head: bool) -> Network:
    """The network of a family, its weights not read yet."""
    match family:
        case RobertaConfig():
            return Roberta(family, has_head=has_head)
        case BertConfig():
            return Bert(family, has_head=has_head)
        case DistilBertConfig():
            return DistilBert(family, has_head=has_head)
        case MPNetConfig():
            return MPNet(family, has_head=has_head)
        case ModernBertConfig():
            return ModernBert(family, has_head=has_head)
        case NomicBertConfig():
            return NomicBert(family, has_head=has_head)
    raise ValueError(f"a {type(family).__name__} has no network here")
