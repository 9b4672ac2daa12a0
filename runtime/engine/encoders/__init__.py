"""Embedding models and rerankers. A new architecture is a file and a line here."""

from .bert import Bert
from .modernbert import ModernBert
from .nomic_bert import NomicBert
from .xlm_roberta import XlmRoberta

# By the model_type of config.json; `registry.checkpoint.kind.ENCODER_TYPES` has the same names.
ARCHITECTURES: dict[str, type[Bert | ModernBert | NomicBert]] = {
    "bert": Bert,
    "modernbert": ModernBert,
    "nomic_bert": NomicBert,
    "xlm-roberta": XlmRoberta,
}
