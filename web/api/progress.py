"""How far a request has come before its answer, as sockets and responses tell it."""

from registry.checkpoint.config import Json
from runtime.events import Event, Loading, Prefill, Queued, Restarted


def progress_of(event: Event) -> dict[str, Json] | None:
    """None for an event that is part of the answer."""
    match event:
        case Queued(position):
            return {"stage": "queued", "position": position}
        case Loading(loaded, total):
            told: dict[str, Json] = {"stage": "loading", "progress": round(event.fraction, 4)}
            return told | {"loaded_bytes": loaded, "total_bytes": total}
        case Prefill(_, done, total, cached):
            told = {"stage": "prefill", "progress": round(done / total, 4)}
            return told | {"done": done, "total": total, "cached": cached}
        case Restarted(reason, num_tokens):
            return {"stage": "restarted", "reason": reason, "tokens": num_tokens}
    return None
