"""A child without transformers: mlx-lm imports it for a tokenizer that nobody here asks of it.

That takes half of a second and 20 MB in every engine and every job.
"""

import importlib.util
import sys
from types import ModuleType

_MODULES = ("transformers", "transformers.tokenization_utils_base")


class _LeftOut(ModuleType):
    """Has an empty class of any name, to be named in annotations, registered and inherited from."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"register": lambda *_, **__: None})


def leave_out_transformers() -> None:
    """To be called before mlx_lm is imported, by a process that imports transformers never."""
    spec = importlib.util.find_spec("transformers")
    for name in _MODULES:
        sys.modules[name] = _LeftOut(name)
    sys.modules["transformers"].__spec__ = spec  # where its source lies is asked all the same
