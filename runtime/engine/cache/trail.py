"""What a row keeps of its way, for those who will begin alike and then say something else."""

from dataclasses import dataclass, field

import mlx.core as mx

from .layers import Arrays, Layers, RowView, State, joined, num_bytes, sliced, state_bytes

_LAST_KEPT = 4
# Beyond a window, what it still holds of the last piece that was read: so that a prompt which says
# something else a little before its end can be gone on from there.
_MARGIN_TOKENS = 288


@dataclass(eq=False, slots=True)
class Span:
    """What windows held of the tokens from `start` to `stop` of a row: all of them."""

    start: int
    stop: int
    arrays: list[Arrays]  # of each window


@dataclass(eq=False, slots=True)
class Trail:
    """Of windows and states; full layers hold all that was read anyway.

    A window can be gone on from where all tokens before that it holds are here; a state only where
    it was copied.
    """

    spans: list[Span] = field(default_factory=list)  # in order, none over another
    states: dict[int, State] = field(default_factory=dict)  # by the number of tokens before

    @property
    def num_bytes(self) -> int:
        windows = sum(num_bytes(span.arrays) for span in self.spans)
        return windows + sum(map(state_bytes, self.states.values()))

    def note(self, view: RowView, layers: Layers) -> None:
        """Keep what it takes to go on from where the row stands."""
        position = view.length
        if layers.windows:
            start = max(0, position - layers.window - _MARGIN_TOKENS)
            if self.spans:
                start = max(start, self.spans[-1].stop)
            if start < position:
                arrays = [joined([cut]) for cut in view.windows(start)]
                held = max((each[0].shape[2] for each in arrays if each), default=0)
                self.spans.append(Span(position - held, position, arrays))
        if layers.states and position not in self.states:
            self.states[position] = view.state()

    def thin(self, window: int) -> None:
        """Of many places to go on from, keep the first, where others may branch off, and some last
        ones, with all that a window of so many tokens holds there.
        """
        for position in sorted(self.states)[1:-_LAST_KEPT]:
            del self.states[position]
        if len(self.spans) > _LAST_KEPT:
            reached = self.spans[-_LAST_KEPT].stop - window
            self.spans[1:] = [span for span in self.spans[1:] if span.stop > reached]

    def until(self, position: int) -> "Trail":
        """What is of a row's first tokens, for another that may go on otherwise behind them."""
        spans = [
            span
            if span.stop <= position
            else Span(span.start, position, cut(span, span.start, position) or [])
            for span in self.spans
            if span.start < position
        ]
        states = {place: state for place, state in self.states.items() if place <= position}
        return Trail(spans, states)

    def windows(self, start: int, stop: int) -> list[Arrays]:
        """What windows held of these tokens, which all are here: views, not computed."""
        parts = [cut(span, start, stop) for span in self.spans]
        found = [part for part in parts if part is not None]
        return [_joined(layer) for layer in zip(*found, strict=True)]

    def held_from(self, position: int) -> int:
        """The first of the tokens right before `position` that are here without a gap."""
        first = position
        for span in reversed(self.spans):
            if span.start < first <= span.stop:
                first = span.start
        return first


def cut(span: Span, start: int, stop: int) -> list[Arrays] | None:
    """The part of a span between two places; None where there is none."""
    first, last = max(span.start, start), min(span.stop, stop)
    if first >= last:
        return None
    return [sliced(arrays, first - span.start, last - span.start) for arrays in span.arrays]


def _joined(parts: tuple[Arrays, ...]) -> Arrays:
    held = [part for part in parts if part]
    return tuple(mx.concatenate(list(pieces), axis=2) for pieces in zip(*held, strict=True))
