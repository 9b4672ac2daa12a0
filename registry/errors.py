"""What can go wrong with models on disk.

RegistryError
├── ModelNotFound   no model of this id
├── InvalidModelId  an id that could not be a folder's name
├── ModelExists     the id is taken
└── NotAModel       the folder cannot be served, for the reason given
"""


class RegistryError(Exception):
    """Base of every error that the registry raises on purpose."""


class ModelNotFound(RegistryError):
    """No model of this id is registered."""

    def __init__(self, model_id: str) -> None:
        super().__init__(f"Model '{model_id}' not found in store")


class InvalidModelId(RegistryError):
    """The id breaks the rule for ids."""


class ModelExists(RegistryError):
    """A model of this id is registered already."""


class NotAModel(RegistryError):
    """The folder is not one that mlx-edge can serve."""
