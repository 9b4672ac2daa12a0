"""An answer under way: the value that any engine can go on with, and what its readers follow.

The value is the prompt's tokens, the sampling with its seed, and the tokens drawn so far. Whoever
holds these three can continue the answer, so neither an engine's death nor a row that had to leave
the batch loses anything of it.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeAlias

import msgspec

from .errors import Cancelled
from .events import (
    Delta,
    Event,
    Finished,
    Loading,
    Prefill,
    PromptScores,
    Queued,
    ReasoningDelta,
    Restarted,
    Score,
    SetAside,
    TextDelta,
    ToolCallDelta,
)
from .power import awake
from .requests import AnswerFormat, SamplingParams
from .tally import Tally

Progress: TypeAlias = Queued | Loading | Prefill | PromptScores | Restarted

_PASSED_TOKENS = 3  # drawn anew behind the point of a death: what killed there is behind, too


class Generation:
    """Lives by a task of its own until its answer is whole, or it fails, or `cancel`.

    As an async context manager it is cancelled on leaving. It holds the whole answer, so readers
    may come at any time, follow at their own pace, and never slow it down.
    """

    def __init__(self, tally: Tally | None = None) -> None:
        """`tally` is told what is drawn."""
        self.prompt: list[int] = []
        self.borders: list[int] = []  # of the prompt: tokens before what others say otherwise
        self.sampling = SamplingParams()
        self.form = AnswerFormat()
        self.drawn: list[int] = []
        self._tally = tally or Tally()
        self._scores: list[Score] = []  # of those drawn, where they were asked for
        self._pieces: list[Delta] = []
        self._ends: list[int] = []  # how many tokens are drawn at the end of each piece
        # The last of each kind, in the order of their coming, and the number of each.
        self._progress: dict[type[Progress], tuple[int, Progress]] = {}
        self._num_progress = 0
        self._end: Finished | Exception | None = None
        self._arrived = asyncio.Event()
        self._unread_since: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._accepted: asyncio.Future[None] | None = None
        self._watched: tuple[int, Callable[[], None]] | None = None
        self._num_rows = 0  # in as many engines it was, or as many times in one
        self._num_cached = 0  # tokens of the prompt that were read before it first came
        self._prefill_s = self._decode_s = 0.0
        self.num_held = 0  # tokens in the cache of its row
        self.held_bytes: int | None = None  # bytes of that cache, where its engine told them
        self._drew_at: float | None = None  # when its first text came from this engine

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cancel()

    # --- for readers --------------------------------------------------------------------------

    async def follow(self, after: int = 0) -> AsyncGenerator[Event, None]:
        """Events behind the first `after` tokens, up to `Finished`; raises how it ended else.
        `after` is where a piece of text ended that was told.

        What has gathered comes as one event of its kind: the last progress, all new text.
        """
        piece = bisect_right(self._ends, after)
        num_progress = 0
        while True:
            self._unread_since = None
            if num_progress < self._num_progress:
                news = (n for n in self._progress.values() if n[0] > num_progress)
                num_progress, event = next(news)
                yield event
            elif piece < len(self._pieces):
                start = self._ends[piece - 1] if piece else 0
                first, piece = piece, self._end_of_kind(piece)
                yield self._joined(first, piece, start)
            elif isinstance(self._end, Finished):
                yield self._end
                return
            elif self._end is not None:
                raise self._end
            else:
                self._arrived.clear()
                await self._arrived.wait()

    def _end_of_kind(self, first: int) -> int:
        """Behind the pieces that can be told with this one."""
        kind = _kind(self._pieces[first])
        end = first + 1
        while end < len(self._pieces) and _kind(self._pieces[end]) == kind:
            end += 1
        return end

    def _joined(self, first: int, end: int, start: int) -> Delta:
        """Some pieces of one kind as one, whose tokens begin at `start`."""
        pieces, until = self._pieces[first:end], self._ends[end - 1]
        told = self.drawn[start:until], self._scores[start:until]
        match pieces[0]:
            case ToolCallDelta(_, index, name):
                arguments = "".join(piece.arguments for piece in pieces)  # type: ignore[union-attr]
                return ToolCallDelta(0, index, name, arguments, *told)
            case TextDelta() | ReasoningDelta() as delta:
                text = "".join(piece.text for piece in pieces)  # type: ignore[union-attr]
                return type(delta)(0, text, *told)

    def unread_s(self) -> float:
        """For how long news have been waiting while no reader took any."""
        return 0.0 if self._unread_since is None else awake.now() - self._unread_since

    async def cancel(self) -> None:
        """End it, wherever it stands. Does nothing to one that has ended."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})

    # --- for whoever carries it -----------------------------------------------------------------

    async def start(self, life: Coroutine[Any, Any, Finished]) -> None:
        """Begin to live: returns when `life` called `accept`. Raises what it raised before."""
        self._accepted = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live(life))
        try:
            await asyncio.shield(self._accepted)
        except asyncio.CancelledError:
            await self.cancel()
            raise

    async def _live(self, life: Coroutine[Any, Any, Finished]) -> None:
        assert self._accepted is not None
        try:
            finished = await life
        except asyncio.CancelledError:
            self._fail(Cancelled())
            raise
        except Exception as error:
            self._fail(error)
        else:
            self._draw(finished)
            self._end = finished
            self._wake()

    def _fail(self, error: Exception) -> None:
        assert self._accepted is not None
        self._end = error
        if self._accepted.done():
            self._wake()
        else:
            self._accepted.set_exception(error)
            self._accepted.exception()  # seen, should nobody wait for it any more

    def accept(self) -> None:
        """From here on faults are told to readers."""
        assert self._accepted is not None
        if not self._accepted.done():
            self._accepted.set_result(None)

    def put(self, event: Progress | Delta | SetAside) -> None:
        """Take in what came of it. Never waits."""
        if isinstance(event, SetAside):
            return self._draw(event)
        if isinstance(event, Delta):
            if self._drew_at is None:
                self._drew_at = awake.now()
            self._draw(event)
            self.num_held, self.held_bytes = len(self.prompt) + len(self.drawn), None
            self._pieces.append(event)
            self._ends.append(len(self.drawn))
            if self._watched is not None and len(self.drawn) >= self._watched[0]:
                self._pass()
        else:
            if isinstance(event, Prefill):
                self.num_held, self.held_bytes = event.done, event.held_bytes
                if not self.drawn:
                    self._num_cached = event.cached
            if isinstance(event, PromptScores):  # no other engine has to compute them
                self.sampling = msgspec.structs.replace(self.sampling, prompt_logprobs=None)
            self._num_progress += 1
            self._progress.pop(type(event), None)
            self._progress[type(event)] = (self._num_progress, event)
        self._wake()

    def _draw(self, event: Delta | SetAside | Finished) -> None:
        self.drawn += event.tokens
        self._tally.total += len(event.tokens)
        self._scores += event.scores

    def _wake(self) -> None:
        if self._unread_since is None:
            self._unread_since = awake.now()
        self._arrived.set()

    def watch(self, on_passed: Callable[[], None]) -> None:
        """Call this once it has come safely further than it is now."""
        self._watched = (len(self.drawn) + _PASSED_TOKENS, on_passed)

    def _pass(self) -> None:
        assert self._watched is not None
        (_, on_passed), self._watched = self._watched, None
        on_passed()

    @contextmanager
    def row(self) -> Iterator[None]:
        """Held while an engine has it."""
        self._num_rows += 1
        began_at, self._drew_at = awake.now(), None
        try:
            yield
        finally:
            self.num_held, self.held_bytes = 0, None
            now = awake.now()
            drew_at = self._drew_at or now
            self._prefill_s += drew_at - began_at
            self._decode_s += now - drew_at

    def whole(
        self, finished: Finished, queued_s: float, predicted_first_s: float | None = None
    ) -> Finished:
        """The answer's end as readers are told it, with the time that it took in all engines."""
        timings = msgspec.structs.replace(
            finished.timings, queued_s=queued_s, predicted_first_s=predicted_first_s
        )
        usage = finished.usage
        if self._num_rows > 1:  # the last engine knows its own part only
            timings = msgspec.structs.replace(
                timings, prefill_s=self._prefill_s, decode_s=self._decode_s
            )
            usage = msgspec.structs.replace(usage, cached_tokens=self._num_cached)
        return msgspec.structs.replace(finished, timings=timings, usage=usage)


def _kind(piece: Delta) -> tuple[type[Delta], int]:
    """What may be told as one: text with text, and with a call what belongs to it."""
    return type(piece), piece.index if isinstance(piece, ToolCallDelta) else 0
