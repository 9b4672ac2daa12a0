"""What requests would take, as people ask for it: nothing is run, and no model is loaded."""

from dataclasses import dataclass

from registry.checkpoint.model import Model

from .admission import FirstToken, first_token, load_bytes, needed_alone, reserved_tokens
from .budget import cached_bytes, rows_need, running_lengths
from .context import context_length_of, fit, refuse_hopeless
from .encoding import check_kind
from .errors import LoadFailed
from .memory.prediction import Prediction, predict
from .requests import GenerationRequest
from .residency import Residency
from .splices import Splices
from .text_questions import TextQuestions
from .ticket import Ticket


@dataclass(frozen=True, slots=True)
class Estimate:
    """What answering a request would take. In bytes, where nothing else is said."""

    prompt_tokens: int
    max_tokens: int  # that an answer may have
    reserved_tokens: int  # of prompt and answer, that room is kept for
    context_length: int
    is_loaded: bool
    prediction: Prediction  # of the model with these rows alone
    needed: int  # beside what is loaded and runs
    needed_alone: int  # with all rows over
    available: int
    drained: int  # with all rows over, and all idle models unloaded
    first_token: FirstToken

    @property
    def fits_now(self) -> bool:
        return self.needed <= self.available

    @property
    def fits_when_drained(self) -> bool:
        return self.needed_alone <= self.drained


class Estimates:
    """All methods run on one event loop."""

    def __init__(
        self, residency: Residency, text: TextQuestions, splices: Splices, max_rows: int
    ) -> None:
        """`max_rows` are those of one model that are computed at once."""
        self._residency = residency
        self._text = text
        self._splices = splices
        self._max_rows = max_rows

    async def of(self, model: Model, request: GenerationRequest) -> Estimate:
        """What answering would take. Raises InvalidRequest, LoadFailed of a damaged model,
        Unavailable."""
        check_kind(model, "llm")
        context_length = context_length_of(model)
        refuse_hopeless(request.input, context_length)
        known = self._splices.find(model.folder, request.input)
        prompt = await self._text.encode(model.folder, request.input, request.constraint, known)
        sampling = request.sampling.completed(model.sampling)
        max_tokens = fit(context_length, request.input, prompt.tokens, sampling).max_tokens or 0
        slot = self._residency.slot(model)
        await self._residency.measure(slot)
        if slot.memory is None:
            raise LoadFailed(f"Model '{model.id}' is damaged: its weights cannot be measured.")
        prompt_tokens, budget = len(prompt.tokens), self._residency.budget
        num_tokens = reserved_tokens(prompt_tokens, request.sampling.max_tokens, max_tokens)
        lengths = [num_tokens] * request.num_answers
        last = Ticket(1 << 62, request.priority, takes_row=True, on_position=lambda _: None)
        return Estimate(
            prompt_tokens,
            max_tokens,
            num_tokens,
            context_length,
            is_loaded=slot.engine is not None,
            prediction=predict(slot.memory, lengths),
            needed=rows_need(slot, lengths, running_lengths(slot)) + load_bytes(slot),
            needed_alone=needed_alone(slot, lengths),
            available=budget.available_bytes() + cached_bytes(slot),
            drained=budget.drained_bytes(slot),
            first_token=first_token(slot, last, prompt, self._max_rows),
        )
