"""Which model of the catalog to begin with on this machine. Asked by `serve` and `doctor`."""

from registry.hub.catalog import CATALOG, CatalogEntry

# Of what models may take: as much again is for conversations, prefixes and a second model.
_GOOD_SHARE = 0.5
_HALF_BITS = 16  # in which weights that are quantised here are published


def first_model(limit_bytes: int) -> CatalogEntry | None:
    """The largest that chats and fits well where models may take so much; None where none does."""
    fitting = [
        entry
        for entry in CATALOG.values()
        if entry.kind == "llm" and weight_bytes(entry) <= limit_bytes * _GOOD_SHARE
    ]
    return max(fitting, key=weight_bytes, default=None)


def weight_bytes(entry: CatalogEntry) -> int:
    """In memory, about: scales and biases come to half a bit for each weight."""
    if entry.bits is None:
        return entry.size_bytes
    return int(entry.size_bytes * (entry.bits + 0.5) / _HALF_BITS)
