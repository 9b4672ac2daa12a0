"""Tests of runtime.engine.answer.stop: stop sequences across the borders of pieces."""

from hypothesis import given
from hypothesis import strategies as st

from runtime.engine.answer.stop import StopMatcher


@given(
    text=st.text(alphabet="abc", max_size=40),
    stop=st.lists(st.text(alphabet="abc", min_size=1, max_size=4), max_size=4),
    cuts=st.lists(st.integers(0, 40), max_size=8),
)
def test_pieces_do_not_matter(text: str, stop: list[str], cuts: list[int]) -> None:
    """However the text is cut, what is sent ends before the first stop sequence."""
    matcher = StopMatcher(stop)
    borders = [0, *sorted(cuts), len(text)]
    sent = "".join(matcher.add(text[a:b]) for a, b in zip(borders, borders[1:], strict=False))
    found = [at for s in stop if (at := text.find(s)) >= 0]
    if found:
        assert matcher.is_stopped
        # Cut finely, a longer stop sequence that begins earlier may not be complete yet.
        assert text.startswith(sent) and len(sent) >= min(found)
        assert not any(s in sent for s in stop)
    else:
        assert not matcher.is_stopped
        assert sent + matcher.flush() == text


def test_text_is_held_only_while_it_may_become_a_stop() -> None:
    """What cannot be part of a stop sequence any more goes out at once."""
    matcher = StopMatcher(["END"])
    assert matcher.add("x E") == "x "
    assert matcher.add("N") == ""
    assert matcher.add("T") == "ENT"
    assert matcher.add("E") == ""
    assert matcher.flush() == "E"
