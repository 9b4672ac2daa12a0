"""HOME/default: the model that a person chose with `mlx-edge default`, one id in a line."""

from pathlib import Path

from . import durable
from .model_id import check_id, is_id

_NAME = "default"


def chosen(home: Path) -> str | None:
    """The id; None where nobody chose one, or the file says something else."""
    try:
        model_id = (home / _NAME).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return model_id if is_id(model_id) else None


def choose(home: Path, model_id: str) -> None:
    """Note the choice; servers of this home follow at once. Raises InvalidModelId, OSError."""
    check_id(model_id)
    durable.make_folder(home)
    durable.replace(home / _NAME, f"{model_id}\n".encode())
