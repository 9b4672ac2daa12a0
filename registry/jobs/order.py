"""Orders: what a job is asked to do. Kept in HOME/jobs until it is done, so that a restart goes on.

A hub token is never part of an order, and so never on disk.
"""

from typing import TypeAlias

import msgspec

from registry.store.record import Recipe


class Pull(msgspec.Struct, frozen=True, omit_defaults=True, tag="pull", tag_field="action"):
    """A repository of the hub. `revision` is a branch, tag or commit; `file` one GGUF of many."""

    model_id: str
    repo: str
    revision: str | None = None
    file: str | None = None
    recipe: Recipe = Recipe()


class Download(msgspec.Struct, frozen=True, omit_defaults=True, tag="download", tag_field="action"):
    """A .gguf, a .safetensors and the files beside it, or a folder (the URL ends in a slash)."""

    model_id: str
    url: str
    recipe: Recipe = Recipe()


class Upload(msgspec.Struct, frozen=True, omit_defaults=True, tag="upload", tag_field="action"):
    """A file that a client sends. After a restart it has to be sent again, if a part is missing."""

    model_id: str
    file: str  # its name, as the client gave it
    recipe: Recipe = Recipe()


class Import(msgspec.Struct, frozen=True, omit_defaults=True, tag="import", tag_field="action"):
    """A local folder, or a local .gguf. A linked folder stays where it is."""

    model_id: str
    path: str
    link: bool = False
    recipe: Recipe = Recipe()


class Package(msgspec.Struct, frozen=True, omit_defaults=True, tag="package", tag_field="action"):
    """The model that a package of the Python index carries, as `hub.packages` knows it."""

    model_id: str
    package: str
    recipe: Recipe = Recipe()


class Convert(msgspec.Struct, frozen=True, omit_defaults=True, tag="convert", tag_field="action"):
    """A model of the store, converted to another id."""

    model_id: str
    from_id: str
    recipe: Recipe = Recipe()


class Verify(msgspec.Struct, frozen=True, omit_defaults=True, tag="verify", tag_field="action"):
    """Verify a model of the store again."""

    model_id: str


Order: TypeAlias = Pull | Download | Upload | Import | Package | Convert | Verify


def action_of(order: Order) -> str:
    """The order's name: "pull", "download", "upload", "import", "package", "convert", "verify"."""
    return str(order.__struct_config__.tag)
