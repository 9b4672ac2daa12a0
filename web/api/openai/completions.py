"""POST /completions: a text is gone on with as it is, without a chat template."""

import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta
from quart import Blueprint, Response, request
from werkzeug.datastructures import Headers

from registry.checkpoint.config import Json
from registry.checkpoint.model import Model
from runtime.events import Event, Finished, PromptScores, Score, TextDelta
from runtime.requests import GenerationRequest, TextInput
from web.api import parameters
from web.api.answering import Rendering, answer
from web.api.generating import NumAlternatives, NumTokens, TokenId
from web.dialect import OPENAI, Dialect
from web.door.body import Neutral, Synonyms, read_json
from web.errors import ApiError, Failure
from web.services import Services
from web.serving import servable
from web.transport.encoding import encode
from web.transport.frame import Frame
from web.transport.sse import DONE

from .chat_body import StreamOptions, check_stream_options
from .constraint import ConstrainedBody, constraint_of
from .logprobs import LOWEST
from .usage import usage_of_prompts

MAX_PROMPTS = 64
_MAX_TOKENS = 16  # OpenAI's default

Text = Annotated[str, Meta(max_length=16 << 20)]


class CompletionBody(ConstrainedBody, kw_only=True):
    """Fields that are neither listed nor unhonoured are ignored."""

    unhonoured: ClassVar[Neutral] = parameters.COMPLETIONS
    synonyms: ClassVar[Synonyms] = parameters.SYNONYMS

    prompt: Text | list[Text | TokenId | list[TokenId]]
    suffix: Text | None = None
    max_tokens: NumTokens | None = None
    logprobs: NumAlternatives | None = None
    echo: bool | None = None
    best_of: Annotated[int, Meta(ge=1, le=16)] | None = None
    stream_options: StreamOptions | None = None
    add_special_tokens: bool | None = None
    user: str | None = None  # accepted: it changes nothing about the answer


def blueprint(dialect: Dialect, services: Services) -> Blueprint:
    """The route of one dialect."""
    routes = Blueprint(f"{dialect.name}-completions", __name__, url_prefix=dialect.base)

    @routes.post("/completions")
    async def completions() -> Response:
        body = await read_json(request, services.settings, CompletionBody)
        model = servable(services.store, body.model, "completions")
        asked = generation_requests(body, request.headers)
        echoed = await _echoed(services, model, asked) if body.echo else []
        rendering = CompletionAnswer(
            model.id,
            num_prompts=len(asked),
            num_each=body.n or 1,
            echoed=echoed,
            has_logprobs=body.logprobs is not None,
            includes_usage=bool(body.stream_options and body.stream_options.include_usage),
        )
        return await answer(services, model, asked, rendering, streams=bool(body.stream))

    return routes


def generation_requests(body: CompletionBody, headers: Headers) -> list[GenerationRequest]:
    """One for each prompt. Raises ApiError that names what cannot be honoured."""
    check_stream_options(body.stream_options, body.stream)
    if body.best_of is not None and body.best_of != (body.n or 1):
        raise _wrong("best_of", "is another number than 'n': no answer is thrown away here")
    if body.max_tokens == 0 and not body.echo:
        raise _wrong("max_tokens", "is 0, which goes with 'echo': nothing would be told")
    return [
        body.request(
            TextInput(prompt, body.suffix, adds_special=body.add_special_tokens is not False),
            headers,
            max_tokens=_MAX_TOKENS if body.max_tokens is None else body.max_tokens,
            logprobs=body.logprobs,
            prompt_logprobs=body.logprobs if body.echo else None,
            constraint=constraint_of(body),
        )
        for prompt in _prompts(body)
    ]


def _prompts(body: CompletionBody) -> list[str | tuple[int, ...]]:
    """A text, several, tokens, or several lists of tokens."""
    sent = body.prompt
    if isinstance(sent, str):
        sent = [sent]
    elif sent and all(isinstance(item, int) for item in sent):
        sent = [[token for token in sent if isinstance(token, int)]]
    prompts: list[str | tuple[int, ...]] = []
    for item in sent:
        if isinstance(item, int):
            raise _wrong("prompt", "mixes texts and tokens; send a list of one of them")
        prompts.append(item if isinstance(item, str) else tuple(item))
    if not 0 < len(prompts) <= MAX_PROMPTS:
        raise _wrong("prompt", f"has {len(prompts)} prompts; send 1 to {MAX_PROMPTS}")
    if body.suffix and not all(isinstance(prompt, str) for prompt in prompts):
        raise _wrong("suffix", "goes with prompts that are texts")
    return prompts


async def _echoed(
    services: Services, model: Model, asked: Sequence[GenerationRequest]
) -> list[str]:
    """The prompts as texts."""
    texts: list[str] = []
    for each in asked:
        assert isinstance(each.input, TextInput)
        text = each.input.text
        if not isinstance(text, str):
            text = (await services.pool.detokenize(model, text)).text
        texts.append(text)
    return texts


class CompletionAnswer(Rendering):
    """`num_each` answers to each prompt, one prompt after the other."""

    done = DONE

    def __init__(
        self,
        model_id: str,
        *,
        num_prompts: int = 1,
        num_each: int = 1,
        echoed: Sequence[str] = (),
        has_logprobs: bool = False,
        includes_usage: bool = False,
    ) -> None:
        """`echoed`: the prompts, where answers begin with them."""
        super().__init__(num_prompts * num_each)
        self._num_each = num_each
        self._echoed = echoed
        self._has_logprobs = has_logprobs
        self._includes_usage = includes_usage
        self._object: dict[str, Json] = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model_id,
        }
        # Where the next token stands in the text.
        self._offsets = [0] * len(self.answers)

    def whole(self) -> dict[str, Json]:
        choices: list[Json] = []
        for number, each in enumerate(self.answers):
            assert each.finished is not None
            text = self._echo(number) + "".join(each.text)
            logprobs = self._logprobs(number, each.prompt_scores, each.scores)
            choices.append(self._choice(number, text, logprobs, each.finished.reason))
        return self._object | {"choices": choices} | self._usage()

    def begin(self, num_prompt_tokens: int) -> Iterable[Frame]:
        if self._has_logprobs:
            return []  # a prompt comes with its own
        numbers = range(len(self.answers))
        return [self._chunk(n, self._echo(n)) for n in numbers if self._echo(n)]

    def frames(self, number: int, event: Event) -> Iterable[Frame]:
        match event:
            case TextDelta(_, text, _, scores):
                return [self._chunk(number, text, self._logprobs(number, None, scores))]
            case PromptScores():
                logprobs = self._logprobs(number, event, ())
                return [self._chunk(number, self._echo(number), logprobs)]
            case Finished():
                return [self._chunk(number, "", None, event.reason)]
        return []

    def end(self) -> Iterable[Frame]:
        if not self._includes_usage:
            return []
        return [Frame(encode(self._object | {"choices": []} | self._usage()))]

    def failed(self, failure: Failure) -> Frame:
        return Frame(encode(failure.body(OPENAI)), "error")

    def _echo(self, number: int) -> str:
        return self._echoed[number // self._num_each] if self._echoed else ""

    def _chunk(
        self, number: int, text: str, logprobs: Json = None, reason: str | None = None
    ) -> Frame:
        chunk = self._object | {"choices": [self._choice(number, text, logprobs, reason)]}
        return Frame(encode(chunk | ({"usage": None} if self._includes_usage else {})))

    def _choice(
        self, number: int, text: str, logprobs: Json, reason: str | None
    ) -> dict[str, Json]:
        choice: dict[str, Json] = {"index": number, "text": text, "logprobs": logprobs}
        return choice | {"finish_reason": reason}

    def _logprobs(self, number: int, prompt: PromptScores | None, scores: Sequence[Score]) -> Json:
        """As lists side by side; offsets count characters of the text. A prompt's first token
        stands behind nothing, so nothing is said of it."""
        if not self._has_logprobs:
            return None
        told = [*(prompt.scores if prompt is not None else ()), *scores]
        first = [prompt.first] if prompt is not None else []
        tokens = [text.decode("utf-8", "replace") for text in (*first, *(s.text for s in told))]
        offsets: list[Json] = []
        for token in tokens:
            offsets.append(self._offsets[number])
            self._offsets[number] += len(token)
        nothing: list[Json] = [None] * len(first)
        return {
            "tokens": list(tokens),
            "token_logprobs": [*nothing, *(max(score.logprob, LOWEST) for score in told)],
            "top_logprobs": [*nothing, *map(_alternatives, told)],
            "text_offset": offsets,
        }

    def _usage(self) -> dict[str, Json]:
        each = range(0, len(self.answers), self._num_each)
        prompts = [self.answers[number : number + self._num_each] for number in each]
        timings: list[Json] = [answer.timings() for answer in self.answers]
        return {
            "usage": usage_of_prompts(prompts),
            "timings": timings[0] if len(timings) == 1 else timings,
        }


def _alternatives(score: Score) -> Json:
    """The likeliest tokens, by their texts; of two that look alike the likelier."""
    told: dict[str, Json] = {}
    for text, logprob in (*score.alternatives, (score.text, score.logprob)):
        told.setdefault(text.decode("utf-8", "replace"), max(logprob, LOWEST))
    return told


def _wrong(param: str, what: str) -> ApiError:
    return ApiError(400, f"'{param}' {what}.", param=param)
