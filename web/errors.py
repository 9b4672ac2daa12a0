"""Exceptions to statuses and bodies: the only file that knows which error is which status."""

import logging
import math
from dataclasses import dataclass, field
from typing import Any

from registry import errors as registry
from registry.checkpoint.config import Json
from runtime import errors as runtime

from .dialect import ANTHROPIC, MIMOE, Dialect

logger = logging.getLogger(__name__)


class ApiError(Exception):
    """What the web layer itself finds wrong with a request."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code or ("invalid_value" if status == 400 and param else None)
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as the wire will show it."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    details: dict[str, Json] = field(default_factory=dict)  # numbers, for programs

    def body(self, dialect: Dialect) -> dict[str, Json]:
        """The error object, with all the keys the dialect's clients read."""
        if dialect is MIMOE:
            return {"error": {"code": self.status, "message": self._named, **self.details}}
        if dialect is ANTHROPIC:
            told: dict[str, Json] = {"type": _anthropic_type(self.status), "message": self._named}
            told |= self.details
            return {"type": "error", "error": told}
        return {
            "error": {
                "message": self.message,
                "type": _type(self.status),
                "param": self.param,
                "code": self.code,
                **self.details,
            }
        }

    @property
    def _named(self) -> str:
        """The message with what it is about, where the wire has no other place for that."""
        is_named = self.status != 400 or self.param is None or self.param in self.message
        return self.message if is_named else f"{self.param}: {self.message}"


# Clients retry 429 and 5xx by themselves; this stops them where it cannot help.
_HOPELESS = {"x-should-retry": "false"}


def failure_of(error: BaseException) -> Failure | None:
    """How an exception is told to the client; None for one that nobody expected."""
    match error:
        case ApiError():
            return Failure(error.status, str(error), error.code, error.param, error.headers)
        case registry.RegistryError():
            return _registry_failure(error)
        case runtime.InvalidRequest():
            return Failure(400, str(error), error.code, error.param)
        case runtime.ModelNotLoaded():
            return Failure(404, str(error), error.code, "model")
        case runtime.QueueFull():
            return Failure(429, str(error), error.code, headers=_retry(error.retry_after_s))
        case (
            runtime.InsufficientMemory()
            | runtime.RequestTooLarge()
            | runtime.TooSlow()
            | runtime.Paused()
        ):
            headers = _retry(error.retry_after_s) | _HOPELESS
            return Failure(503, str(error), error.code, None, headers, _details(error))
        case runtime.Unavailable():
            return Failure(503, str(error), error.code, headers=_retry(error.retry_after_s))
        case runtime.LoadFailed() | runtime.Blamed():
            return Failure(500, str(error), error.code, headers=_HOPELESS)
        case runtime.ModelRemoved():
            return Failure(404, str(error), error.code, "model")
        case runtime.EngineStopped():  # on purpose: a client's retry would load the model again
            return Failure(503, str(error), error.code, headers=_retry(1) | _HOPELESS)
        case runtime.EngineDied():
            return Failure(503, str(error), error.code, headers=_retry(1))
        case runtime.RuntimeFault():
            return Failure(500, str(error), error.code)
    return None


def _details(error: runtime.Unavailable) -> dict[str, Json]:
    """What the sentence says in numbers."""
    match error:
        case runtime.InsufficientMemory():
            return {
                "needed_bytes": error.needed_bytes,
                "available_bytes": error.available_bytes,
                "unloadable": [
                    {"id": held.model_id, "memory_bytes": held.memory_bytes, "state": held.state}
                    for held in error.held
                ],
            }
        case runtime.RequestTooLarge():
            return {
                "needed_bytes": error.needed_bytes,
                "available_bytes": error.available_bytes,
                "limit_bytes": error.limit_bytes,
            }
        case runtime.TooSlow():
            return {"expected_ms": math.ceil(error.expected_s * 1000)}
    return {}


def _registry_failure(error: registry.RegistryError) -> Failure:
    message = str(error)
    match error:
        case registry.ModelNotFound():
            return Failure(404, message, "model_not_found", "model")
        case registry.JobNotFound():
            return Failure(404, message, "job_not_found")
        case registry.InvalidModelId():
            return Failure(400, message, "invalid_model_id", "id")
        case registry.ModelExists():
            return Failure(409, message, "model_exists", "id")
        case registry.ModelBusy():
            return Failure(409, message, "model_busy")
        case registry.SourceRefused():
            return Failure(400, message, "source_refused")
        case registry.NotAModel():
            return Failure(400, message, "not_a_model")
        case registry.BrokenWeights():
            return Failure(422, message, "broken_weights")
        case registry.DownloadFailed():
            return Failure(502, message, "download_failed")
        case registry.ConversionFailed():
            return Failure(500, message, "conversion_failed")
    return Failure(503, message, "unavailable", headers=_retry(5))  # the jobs are being closed


def answer_to(error: BaseException, request_id: str) -> Failure:
    """How any exception is told; one that nobody expected goes to the log as well."""
    failure = failure_of(error)
    if failure is None:
        logger.error("request %s failed", request_id, exc_info=error)
        failure = internal(request_id)
    return failure


def internal(request_id: str) -> Failure:
    """A bug of ours: no detail leaves the server but the id to find it in the log."""
    return Failure(500, f"Internal error; the server's log has it under {request_id}.", "internal")


def _retry(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}


def _anthropic_type(status: int) -> str:
    """As the API's reference lists them (docs.anthropic.com, "Errors")."""
    types = {413: "request_too_large", 503: "overloaded_error", 504: "timeout_error"}
    return types.get(status) or _type(status)


def _type(status: int) -> str:
    types: dict[int, Any] = {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        429: "rate_limit_error",
    }
    return str(types.get(status, "invalid_request_error" if status < 500 else "api_error"))
