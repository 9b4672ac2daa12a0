"""What can go wrong with models on disk.

RegistryError
├── ModelNotFound   no model of this id
├── InvalidModelId  an id that could not be a folder's name
├── ModelExists     the id is taken
├── NotAModel       the folder cannot be served, for the reason given
├── BrokenWeights   a weight file contradicts itself or is of no known format
├── SourceRefused   what was asked for may not, or cannot, be fetched
│   ├── SourceMissing  there is no such file
│   ├── ProxyRefused   the proxy on the way does not let through
│   └── QuantRequired  a repository has many GGUF files: one has to be named
├── DownloadFailed  it broke on the way; what has arrived is kept
│   └── HubUnreachable  the hub could not be asked
├── ConversionFailed  the job process could not do it, or died
├── JobNotFound     no job of this id
└── ModelBusy       another job is at work on the model
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


class BrokenWeights(RegistryError):
    """A weight file contradicts itself, or is of no format that is read here."""

    def __init__(self, file_name: str, reason: str) -> None:
        super().__init__(f"{file_name} is broken: {reason}.")


class SourceRefused(RegistryError):
    """What was asked for may not, or cannot, be fetched: trying again does not help."""


class SourceMissing(SourceRefused):
    """There is no such file at the source, which is no harm if it is optional."""


class ProxyRefused(SourceRefused):
    """The proxy on the way does not let through, or wants to know who asks."""


class QuantRequired(SourceRefused):
    """Of a repository's GGUF files the request names none, or one that is not there."""

    def __init__(self, message: str, available: tuple[tuple[str, int], ...]) -> None:
        super().__init__(message)
        self.available = available  # names and sizes


class DownloadFailed(RegistryError):
    """A download broke on the way. What has arrived is kept; trying again goes on from there."""


class HubUnreachable(DownloadFailed):
    """The hub gave no answer, or was too busy for one: nothing is known of what was asked for."""


class ConversionFailed(RegistryError):
    """The process that converts and verifies could not do it, or died."""


class JobNotFound(RegistryError):
    """No job of this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"Job '{job_id}' not found")


class ModelBusy(RegistryError):
    """Another job is at work on the model; one at a time."""

    def __init__(self, model_id: str, action: str) -> None:
        super().__init__(
            f"A job ({action}) is at work on '{model_id}'. Wait for it, or cancel it first."
        )
