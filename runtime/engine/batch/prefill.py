"""Prompts on their way into the KV cache, a chunk at a time; prompts that wait share a chunk.

Rows with one and the same prompt share its reading: one is read, and at the end the others, its
twins, get copies of the cache.
"""

import copy
import time
from collections.abc import Callable, Collection
from functools import partial

import mlx.core as mx

from registry.checkpoint.exactness import Exactness
from runtime.engine.cache import kv_cache
from runtime.engine.cache.kv_cache import MIN_MERGED_TOKENS, Cache, GroupCache
from runtime.engine.cache.layers import grow_to
from runtime.engine.cache.padding import Padding, stepped
from runtime.engine.language_model import LanguageModel
from runtime.engine.sampling.logprobs import likelihoods

from .group import DecodeGroup
from .reuse import Reuse
from .row import Row

# Tokens a second that are assumed until a chunk was measured. A low guess: a first chunk that takes
# a minute would look like an engine that hangs. Every chunk may double it.
_FIRST_GUESS = 16.0
# A pass takes a time of its own, however few its tokens: for fetching the weights, and with latent
# attention for unpacking all that was read before. Where this is about the limit, shorter and
# shorter passes would spare nobody the wait, and the prompt would never be read.
_MIN_FIRST_TOKENS, _MIN_TOKENS, _MIN_TOKENS_ALONE = 4, 16, 32
# A chunk is planned to take this share of the stall limit. A piece of a long prompt takes longer
# than the piece before it, since it attends to all of them: it gets more leeway than whole prompts.
_CAUTION, _CAUTION_WHOLE = 0.4, 0.8
# Nobody waits for a token if none decodes, but commands are still read between chunks.
_CAUTION_ALONE = 4
_GROWN_BYTES = 16 << 20  # of a long prompt's cache, before each piece: memory that is new is slow
_JUST_BEGUN = 4  # tokens: a row with fewer came together with the prompts that wait
_SCORED_TOKENS = 64  # whose logits are held at once, where a prompt's likelihood is asked for
_MAX_SCORED_WHOLE = 2048  # of a prompt that has to be read in one piece


class Prefilling:
    """The prefilling rows. A row leaves in a decode group, with its prompt's last token pending."""

    def __init__(
        self,
        model: LanguageModel,
        exactness: Exactness,
        padding: Padding,
        reuse: Reuse,
        chunk_tokens: int = 512,
        stall_limit_s: float = 0.25,
    ) -> None:
        """A pass has at most `chunk_tokens`, fewer when they would take `stall_limit_s`."""
        self._model = model
        self._reuse = reuse
        self._exactness = exactness
        self._padding = padding
        self._chunk_tokens = chunk_tokens
        self._stall_limit_s = stall_limit_s
        self._tokens_per_s = _FIRST_GUESS
        self._num_chunks = 0
        self.rows: list[Row] = []  # in the order of their coming, twins included
        self._twins: dict[Row, list[Row]] = {}  # of each row that is read

    @property
    def num_bytes(self) -> int:
        """Bytes of KV held by the rows."""
        return sum(row.num_bytes for row in self.rows)

    @property
    def is_waiting(self) -> bool:
        """Whether nothing can be read before more has come from disk."""
        return all(map(self._reuse.is_waiting, self._twins))

    def add(self, row: Row) -> None:
        twin = next((other for other in self._twins if _are_twins(other, row)), None)
        if twin is None:
            self._reuse.begin(row, list(self._twins))
            self._twins[row] = []
        else:
            row.prompt_scores = [*twin.prompt_scores]
            self._twins[twin].append(row)
            self._keep_up(twin)
        self.rows.append(row)

    def remove(self, row: Row, *, keeps: bool = False) -> None:
        """Forget a row. Its cache goes to a twin that goes on with it; else what it read is kept
        for others where `keeps` says so, or freed.
        """
        self.rows.remove(row)
        if row not in self._twins:
            next(twins for twins in self._twins.values() if row in twins).remove(row)
        elif twins := self._twins.pop(row):
            heir, *others = twins
            heir.cache, heir.trail, self._twins[heir] = row.cache, row.trail, others
            self._reuse.inherit(row, heir)
        else:
            self._reuse.leave(row, list(self._twins), keeps=keeps)
            for other in self._twins:
                self._keep_up(other)
        row.cache = []

    def _keep_up(self, row: Row) -> None:
        """Twins are as far as the row that is read for them."""
        for twin in self._twins[row]:
            twin.num_prefilled, twin.num_cached = row.num_prefilled, row.num_cached

    def chunk(
        self, decoding: Collection[Row]
    ) -> tuple[list[DecodeGroup], list[tuple[list[Row], Exception]]]:
        """Prefill one chunk. Returns the groups that are ready to decode, and the rows of each
        pass that failed.

        While other rows decode, the chunk is short enough not to stall them. While none does, or
        they have just begun, it may be several, over whole prompts: a step that decodes the few
        which are read first takes about as long as one for all that came together.
        """
        self._reuse.arrive(list(self._twins))
        for row in self._twins:
            self._keep_up(row)
        budget = self._budget(_CAUTION if decoding else _CAUTION_ALONE)
        budget = min(self._chunk_tokens, budget)
        whole_budget = self._budget(_CAUTION_ALONE)
        if decoding and not self._came_together(decoding):
            whole_budget = min(self._chunk_tokens, self._budget(_CAUTION_WHOLE))
        groups: list[DecodeGroup] = []
        failed: list[tuple[list[Row], Exception]] = []
        plan = self._grown(self._plan(budget, whole_budget), failed)
        started = time.perf_counter()
        num_tokens = 0
        while len(together := self._whole_prompts(plan, min(self._chunk_tokens, whole_budget))) > 1:
            plan = [(row, count) for row, count in plan if row not in together]
            num_tokens += len(together) * max(row.num_to_prefill for row in together)
            self._attempt(together, partial(self._prefill_together, together, groups), failed)
        num_tokens += sum(count for _, count in plan)
        for row, count in plan:
            rows = [row, *self._twins[row]]
            self._attempt(rows, partial(self._prefill, rows, count, groups), failed)
        self._measure(num_tokens, budget, time.perf_counter() - started)
        return groups, failed

    def _came_together(self, decoding: Collection[Row]) -> bool:
        """Whether those that wait came with those that decode. Beside a long prompt that is read
        in pieces nobody is waited for: it would wait for all short ones.
        """
        is_in_pieces = any(row.num_prefilled > row.num_cached for row in self._twins)
        return not is_in_pieces and all(row.num_drawn < _JUST_BEGUN for row in decoding)

    def _budget(self, share: float) -> int:
        """Tokens that take this share of the stall limit, as far as is known."""
        least = _MIN_TOKENS_ALONE if share == _CAUTION_ALONE else _MIN_TOKENS
        if self._tokens_per_s == _FIRST_GUESS:
            least = _MIN_FIRST_TOKENS
        return max(least, int(self._tokens_per_s * self._stall_limit_s * share))

    def _plan(self, budget: int, whole_budget: int) -> list[tuple[Row, int]]:
        """Which rows get how many tokens: the shortest rest first, no background row beside others.

        Whole prompts may use up the larger `whole_budget`.
        """
        read = [row for row in self._twins if not self._reuse.is_waiting(row)]
        urgent = [row for row in read if self._is_urgent(row)]
        rows = sorted(urgent or read, key=lambda row: row.num_to_prefill)
        self._num_chunks += 1
        if read and self._num_chunks % 4 == 0:
            # The oldest row has its turn, lest a stream of short prompts starve a long one.
            rows = [read[0], *(row for row in rows if row is not read[0])]
        plan = []
        for row in rows:
            most = min(self._chunk_tokens, whole_budget)
            is_whole = row.num_prefilled == 0 and row.num_to_prefill <= most
            room = whole_budget if is_whole else max(0, budget)
            count = min(self._reuse.next_stop(row) - row.num_prefilled, room)
            if row.is_scored:
                count = min(count, _SCORED_TOKENS)
            if count and not self._exactness.chunked:
                count = row.num_to_prefill
            if count or not row.num_to_prefill:
                plan.append((row, count))
                budget -= count
                whole_budget -= count
        return plan

    def _grown(
        self, plan: list[tuple[Row, int]], failed: list[tuple[list[Row], Exception]]
    ) -> list[tuple[Row, int]]:
        """The plan, once the caches of prompts that are read in pieces have more of their room."""
        for row, count in plan:
            if count < row.num_to_prefill:
                grow = partial(grow_to, row.cache, stepped(len(row.tokens)), _GROWN_BYTES)
                self._attempt([row, *self._twins[row]], grow, failed)
        return [(row, count) for row, count in plan if row in self._twins]

    def _is_urgent(self, row: Row) -> bool:
        """Whether anybody urgent waits for its reading."""
        waiting = [row, *self._reuse.waiting_for(row)]
        return any(r.is_urgent or any(t.is_urgent for t in self._twins[r]) for r in waiting)

    def _whole_prompts(self, plan: list[tuple[Row, int]], budget: int) -> list[Row]:
        """The first rows of the plan whose whole prompts fit the budget, also when padded.

        They are prefilled in one pass. On a GPU a pass over few tokens takes as long as fetching
        the weights, so sixteen short questions that arrive at once cost one pass and not sixteen.
        """
        rows: list[Row] = []
        if not self._exactness.padded:
            return rows
        for row, count in plan:
            is_whole = MIN_MERGED_TOKENS <= count == len(row.tokens) - 1
            is_over = row.follower.verdict is not None
            if not is_whole or self._twins[row] or row.is_scored or is_over:
                continue
            if self._reuse.waiting_for(row):
                continue
            lengths = [*(other.num_to_prefill for other in rows), count]
            if len(lengths) * max(lengths) > budget or not self._padding.fits(lengths):
                break
            rows.append(row)
        return rows

    def _attempt(
        self,
        rows: list[Row],
        prefill: Callable[[], None],
        failed: list[tuple[list[Row], Exception]],
    ) -> None:
        """A prompt that breaks the model costs its own request, not the engine."""
        try:
            prefill()
        except Exception as error:
            for row in rows:
                self.remove(row)
            failed.append((rows, error))

    def _prefill(self, rows: list[Row], count: int, groups: list[DecodeGroup]) -> None:
        """`count` more tokens of the prompt of a row and its twins; none of one of one token."""
        row = rows[0]
        if count > 0:
            start = row.num_prefilled
            tokens = mx.array(row.tokens[start : start + count])
            logits = self._model(tokens[None], cache=row.cache)
            kv_cache.evaluate(row.cache)
            if row.is_scored:
                self._score(rows, logits[0], start)
            for each in rows:
                each.num_prefilled += count
            self._reuse.pause(row, list(self._twins))
            for other in self._twins:
                self._keep_up(other)
        if row.num_to_prefill == 0:
            for twin in rows[1:]:
                twin.trail = row.trail.until(row.num_prefilled)
            going_on = [each for each in rows if each.follower.verdict is None]
            if not going_on:
                self._reuse.keep_read(row)
            self._finish(self._apart(going_on, row.cache), groups)
            self._forget(rows)

    def _score(self, rows: list[Row], logits: mx.array, start: int) -> None:
        """How likely each token was behind these (count, vocab), which begin at `start`."""
        row, count = rows[0], logits.shape[0]
        if count > _MAX_SCORED_WHOLE:
            raise ValueError("it is too long to tell how likely it is: it cannot be read in pieces")
        tokens = row.tokens[start + 1 : start + 1 + count]
        told = likelihoods(logits, mx.array(tokens), row.sampling.prompt_logprobs or 0)
        scores = [row.follower.score(*pair) for pair in zip(tokens, told, strict=True)]
        for each in rows:
            each.prompt_scores += scores

    def _prefill_together(self, rows: list[Row], groups: list[DecodeGroup]) -> None:
        """All but the last token of several prompts, right-padded to the longest."""
        cache = kv_cache.read_together(self._model, [row.tokens[:-1] for row in rows])
        for row in rows:
            row.num_prefilled = len(row.tokens) - 1
        self._finish([(rows, cache)], groups)
        self._forget(rows)

    def _forget(self, rows: list[Row]) -> None:
        """These are read: what they hold is others' to free."""
        for row in rows:
            self.rows.remove(row)
            if self._twins.pop(row, None) is not None:
                self._reuse.finish(row)
            row.cache = []

    def _apart(self, rows: list[Row], cache: Cache) -> list[tuple[list[Row], Cache]]:
        """Each of the rows gets a cache of its own; merged where that is possible."""
        if len(rows) <= 1:
            return [(rows, cache)] if rows else []
        if self._exactness.merged and rows[0].num_prefilled >= MIN_MERGED_TOKENS:
            return [(rows, kv_cache.merge([cache] * len(rows)))]
        return [([row], copy.deepcopy(cache)) for row in rows]

    def _finish(self, parts: list[tuple[list[Row], Cache]], groups: list[DecodeGroup]) -> None:
        """Groups of rows, which hold their caches from now on."""
        groups += [
            DecodeGroup.begin(self._model, rows, GroupCache(cache, len(rows)))
            for rows, cache in parts
        ]

    def _measure(self, num_tokens: int, budget: int, elapsed_s: float) -> None:
        """Learn the speed. The start of a prompt is fast, so one chunk at most doubles it; and a
        pass over a handful of tokens is slow for its size, so only a full chunk may lower it."""
        if num_tokens == 0 or elapsed_s <= 0:
            return
        measured = min(num_tokens / elapsed_s, 2 * self._tokens_per_s)
        if 2 * num_tokens >= budget or measured > self._tokens_per_s:
            self._tokens_per_s = measured
            self._reuse.note_speed(measured)


def _are_twins(row: Row, other: Row) -> bool:
    asked = (each.sampling.prompt_logprobs for each in (row, other))
    return next(asked) == next(asked) and row.tokens == other.tokens
