"""Tests of scripts.bench.client and cell: the arithmetic, and a real stream."""

import asyncio
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from scripts.bench.cell import GREEDY, LONG, SHORT, Cell, cells, prompts
from scripts.bench.client import Endpoint, Timeline, percentiles, together
from tests.models.tiny_models import make_tokenizer
from tests.serving import KEY, ServerProcess


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], (0, 0)), ([3.0], (3, 3)), ([float(n) for n in range(100, 0, -1)], (51, 100))],
)
def test_percentiles(values: list[float], expected: tuple[float, float]) -> None:
    assert percentiles(values) == expected


def test_a_timeline_knows_its_first_token_and_gaps() -> None:
    timeline = Timeline(10.0, [10.5, 10.75, 11.75])
    assert timeline.first_token_s == 0.5
    assert timeline.gaps_s == [0.25, 1.0]


def test_cells_change_one_thing_at_a_time_or_all() -> None:
    """Sampling with short prompts on every vocabulary; long ones greedily, on the first."""
    few, all_of_them = cells((1, 4), (8, 32), False), cells((1, 4), (8, 32), True)
    assert len(few) == 2 * 5 and len(all_of_them) == 2 * 8 and set(few) < set(all_of_them)
    assert [cell for cell in few if cell.prompt_tokens == LONG] == [
        Cell(1, LONG, GREEDY, 8),
        Cell(4, LONG, GREEDY, 8),
    ]
    assert Cell(7, SHORT, GREEDY, 8).max_tokens == Cell(4, SHORT, GREEDY, 8).max_tokens


def test_prompts_have_the_length_that_is_asked_for_and_nothing_in_common(tmp_path: Path) -> None:
    """Every word is a token; a seed fixes them."""
    make_tokenizer(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    first, second = prompts(tmp_path, 2, 200, seed=1)
    assert first != second and [first, second] == prompts(tmp_path, 2, 200, seed=1)
    assert abs(len(tokenizer.encode(first).ids) - 200) < 10


def test_streams_together(server: ServerProcess) -> None:
    """Against the real server: every token is counted, first tokens come before gaps end."""
    endpoint = Endpoint(f"{server.url}/v1", "tiny", KEY)
    result = asyncio.run(together(endpoint, ["a", "b"], max_tokens=20, temperature=0))
    assert result.tokens_per_s > 0 and 0 < result.first_token_s[0] <= result.first_token_s[1]
    with pytest.raises(RuntimeError, match="no-such-model"):
        asyncio.run(
            together(Endpoint(f"{server.url}/v1", "no-such-model", KEY), ["a"], max_tokens=1)
        )


async def test_a_peer_that_resets_is_asked_again() -> None:
    """mlx_lm.server has a backlog of five: sixteen streams at once must not end the bench."""
    num_connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal num_connections
        num_connections += 1
        if num_connections < 4:
            writer.transport.abort()
            return
        await reader.readuntil(b"}")
        chunk = b'data: {"choices":[{"delta":{"content":"x"}}],"usage":{"completion_tokens":7}}\n\n'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + chunk)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as peer:
        port = peer.sockets[0].getsockname()[1]
        result = await together(Endpoint(f"http://127.0.0.1:{port}/v1", "m"), ["a"], max_tokens=7)
    assert num_connections == 4 and result.tokens_per_s > 0
