"""/cache: what the prefix caches hold, and how the last prompts fared with them and why."""

from quart import Blueprint, Response, request

from registry.checkpoint.config import Json
from runtime.cached import Blocked, Lookup
from runtime.caches import Caches, ModelCache
from runtime.errors import ModelNotLoaded
from runtime.text_messages import Spliced, Stop
from web.dialect import Dialect
from web.errors import ApiError
from web.model_name import hint, meant
from web.services import Services
from web.transport.reply import json_reply

_REASONS: dict[Blocked, str] = {
    "": "All that was known of it was reused.",
    "new": "Nothing that begins like it was read before.",
    "differs": "From its first token that differs on, nothing can be reused.",
    "no_checkpoint": "The model's state cannot be cut, and none was kept nearer to that token.",
    "evicted": "It was known, and had to make room.",
    "short": "So little of it was known that to read it again is as fast as to copy it.",
}
_STOPS: dict[Stop, str] = {
    "": "All of it came back as it was drawn.",
    "new": "Nothing like it was known.",
    "thought": "What was thought is left out, or written otherwise, by chat template or client.",
    "call": "A call of a function is written otherwise, by chat template or client.",
    "white_space": "White space was changed, by chat template or client.",
    "differs": "The prompt says something else than was drawn.",
}


def blueprint(dialect: Dialect, services: Services) -> Blueprint:
    """The routes of one dialect. `?model=` names one model; without it they are about all."""
    caches = services.pool.caches
    routes = Blueprint(f"{dialect.name}-cache", __name__, url_prefix=dialect.base)

    @routes.get("/cache")
    async def describe() -> Response:
        described = await caches.describe(_model_id(caches))
        splices: dict[str, Json] = {
            "num_bytes": caches.splices.num_bytes,
            "budget_bytes": caches.splices.budget_bytes,
        }
        data: list[Json] = [_described(cache) for cache in described]
        return json_reply({"object": "list", "data": data, "splices": splices})

    @routes.delete("/cache")
    async def forget() -> Response:
        ids: list[Json] = [*caches.forget(_model_id(caches))]
        return json_reply({"object": "cache", "deleted": True, "models": ids})

    return routes


def _model_id(caches: Caches) -> str | None:
    """The one that is meant, which is in memory."""
    name = request.args.get("model")
    if name is None:
        return None
    ids = caches.models()
    if (model_id := meant(name, ids)) is None:
        error = ModelNotLoaded(name)
        raise ApiError(404, f"{error}{hint(name, ids)}", param="model", code=error.code)
    return model_id


def _described(cache: ModelCache) -> Json:
    description = cache.description
    spliced = {prompt.id: prompt.spliced for prompt in cache.spliced}
    return {
        "id": cache.model_id,
        "object": "cache",
        "num_bytes": description.num_bytes,
        "budget_bytes": description.budget_bytes,
        "num_tokens": description.num_tokens,
        "num_prefixes": description.num_prefixes,
        "num_evicted": description.num_evicted,
        "disk_bytes": description.disk_bytes,
        "disk_limit_bytes": description.disk_limit_bytes,
        "bytes_written_today": description.bytes_written_today,
        "prompt_tokens": description.prompt_tokens,
        "cached_tokens": description.cached_tokens,
        "cached_percent": _percent(description.cached_tokens, description.prompt_tokens),
        "lookups": [_lookup(lookup, spliced.get(lookup.id)) for lookup in description.lookups],
    }


def _lookup(lookup: Lookup, spliced: Spliced | None) -> Json:
    """`first_difference` is the place of the first token that differs, counted from 0."""
    is_other = bool(lookup.known or lookup.asked)
    return {
        "id": lookup.id,
        "at": lookup.at,
        "prompt_tokens": lookup.prompt_tokens,
        "cached_tokens": lookup.cached_tokens,
        "cached_percent": _percent(lookup.cached_tokens, lookup.prompt_tokens),
        "blocked": lookup.blocked or None,
        "reason": _REASONS[lookup.blocked],
        "first_difference": lookup.matched_tokens if is_other else None,
        "text_before": lookup.before,
        "text_known": lookup.known,
        "text_asked": lookup.asked,
        "spliced": None if spliced is None else _spliced(spliced),
    }


def _spliced(spliced: Spliced) -> Json:
    """What was taken over as tokens; an answer's text that was changed is tokenised anew."""
    return {
        "known_tokens": spliced.known_tokens,
        "reused_tokens": spliced.reused_tokens,
        "answer_tokens": spliced.drawn_tokens,
        "reused_answer_tokens": spliced.reused_drawn_tokens,
        "stopped": spliced.stopped or None,
        "reason": _STOPS[spliced.stopped],
        "text_before": spliced.before,
        "text_known": spliced.known,
        "text_asked": spliced.asked,
    }


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0
