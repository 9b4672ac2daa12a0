"""What every API that generates text may say of how tokens are drawn: names, ranges, limits."""

from typing import Annotated, Literal

from msgspec import Meta
from werkzeug.datastructures import Headers

from runtime.requests import Constraint, GenerationRequest, Input, Priority, SamplingRequest
from web.door.body import RequestBody
from web.errors import ApiError

from .scheduling import keep_alive_s, priority_of

Count = Annotated[int, Meta(ge=1, le=2**53)]
NumTokens = Annotated[int, Meta(ge=0, le=2**53)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
TokenId = Annotated[int, Meta(ge=0, lt=2**31)]
NumAlternatives = Annotated[int, Meta(ge=0, le=20)]

Bias = Annotated[float, Meta(ge=-100, le=100)]

MAX_ANSWERS = 16
MAX_STOPS = 4
_MAX_STOP_CHARACTERS = 1024


class GeneratingBody(RequestBody, kw_only=True):
    """The fields that OpenAI's chats and completions share, and those of other servers' that are
    honoured here for all."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    stream: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    top_k: Annotated[int, Meta(ge=-1, lt=2**31)] | None = None  # 0 and -1: all
    min_p: Probability | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Meta(ge=0.01, le=10)] | None = None
    logit_bias: dict[str, Bias] | list[tuple[TokenId, Bias | Literal[False]]] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_ANSWERS)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=MAX_STOPS)] | None = None
    stop_token_ids: Annotated[list[TokenId], Meta(max_length=64)] | None = None
    min_tokens: NumTokens | None = None
    ignore_eos: bool | None = None
    loop_guard: bool | None = None
    keep_alive: float | str | None = None
    priority: Priority | None = None
    max_ttft_ms: Annotated[float, Meta(gt=0)] | None = None

    def request(
        self,
        input: Input,
        headers: Headers,
        *,
        max_tokens: int | None,
        stop_sequences: list[str] | None = None,
        logprobs: int | None = None,
        prompt_logprobs: int | None = None,
        constraint: Constraint | None = None,
        max_reasoning_tokens: int | None = None,
    ) -> GenerationRequest:
        """As the runtime takes it. Raises ApiError that names what cannot be honoured."""
        return GenerationRequest(
            input,
            SamplingRequest(
                temperature=self.temperature,
                top_p=self.top_p,
                max_tokens=max_tokens,
                stop=_stop(self.stop, "stop") + _stop(stop_sequences, "stop_sequences"),
                seed=self.seed,
                top_k=None if self.top_k is None else max(0, self.top_k),
                min_p=self.min_p,
                presence_penalty=self.presence_penalty,
                frequency_penalty=self.frequency_penalty,
                repetition_penalty=self.repetition_penalty,
                logit_bias=_logit_bias(self.logit_bias or {}),
                logprobs=logprobs,
                prompt_logprobs=prompt_logprobs,
                min_tokens=self.min_tokens or 0,
                stop_token_ids=tuple(self.stop_token_ids or ()),
                ignore_eos=bool(self.ignore_eos),
                loop_guard=bool(self.loop_guard),
            ),
            num_answers=self.n or 1,
            constraint=constraint,
            max_reasoning_tokens=max_reasoning_tokens,
            keep_alive_s=keep_alive_s(self.keep_alive),
            priority=priority_of(self.priority, headers),
            max_ttft_s=None if self.max_ttft_ms is None else self.max_ttft_ms / 1000,
        )


def _stop(stop: str | list[str] | None, param: str) -> tuple[str, ...]:
    sequences = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if any(not 0 < len(sequence) <= _MAX_STOP_CHARACTERS for sequence in sequences):
        limit = _MAX_STOP_CHARACTERS
        raise ApiError(400, f"Each of '{param}' has 1 to {limit} characters.", param=param)
    return sequences


def _logit_bias(
    sent: dict[str, float] | list[tuple[int, float | Literal[False]]],
) -> dict[int, float]:
    """By token; JSON's names are strings. Whether there is such a token the runtime looks.

    llama.cpp's pairs have a false for tokens that are not to come.
    """
    if isinstance(sent, list):
        return {token: -100.0 if value is False else value for token, value in sent}
    bias: dict[int, float] = {}
    for name, value in sent.items():
        if not (name.isascii() and name.isdigit() and len(name) < 10):
            raise ApiError(
                400, f"'logit_bias' has {name[:100]!r}, which is no token id: send whole numbers.",
                param="logit_bias",
            )  # fmt: skip
        bias[int(name)] = value
    return bias
