"""Families of encoders as config.json tells them, a file each; the engine has their networks."""

from .bert import BertConfig
from .distilbert import DistilBertConfig
from .family import Family
from .modernbert import ModernBertConfig
from .mpnet import MPNetConfig
from .nomic_bert import NomicBertConfig
from .roberta import CamembertConfig, RobertaConfig, XlmRobertaConfig

# By the model_type of config.json; of each, `runtime.engine.encoders` has the network.
FAMILIES: dict[str, type[Family]] = {
    "bert": BertConfig,
    "camembert": CamembertConfig,
    "distilbert": DistilBertConfig,
    "modernbert": ModernBertConfig,
    "mpnet": MPNetConfig,
    "nomic_bert": NomicBertConfig,
    "roberta": RobertaConfig,
    "xlm-roberta": XlmRobertaConfig,
}
