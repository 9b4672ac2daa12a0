"""Tests of web.store.multipart: forms cut into pieces anywhere, and forms that are broken."""

from collections.abc import AsyncGenerator

import pytest

from web.errors import ApiError
from web.store.multipart import Step, files

BOUNDARY = b"x7MA4YWxkTrZu0gW"
HEAD = b'--%b\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\n\r\n'
END = b"\r\n--" + BOUNDARY + b"--\r\n"


def part(name: bytes, content: bytes) -> bytes:
    return HEAD % (BOUNDARY, name) + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts)[:-2] + END


async def read(body: bytes, piece: int = 1 << 20) -> list[tuple[str, bytes]]:
    async def pieces() -> AsyncGenerator[bytes, None]:
        for at in range(0, len(body), piece):
            yield body[at : at + piece]

    found: list[tuple[str, bytes]] = []
    is_open = False
    step: Step
    async for step in files(pieces(), BOUNDARY):
        if isinstance(step, str):
            assert not is_open
            found.append((step, b""))
        else:
            name, content = found.pop()
            found.append((name, content + step))
        is_open = step != b""
    assert not is_open
    return found


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64, 1000])
async def test_pieces_of_any_size_give_the_same_files(piece: int) -> None:
    """Marks, headers and near misses of the mark may be cut anywhere."""
    near = b"\r\n--" + BOUNDARY[:-1] + b"\r\n--\r\n\r\n-" + BOUNDARY + b"\r"
    expected = [("a.gguf", near), ("b.json", b""), ("c d.txt", b"\r\n"), ("e.gguf", b"\n--\n")]
    field = b'--%b\r\nContent-Disposition: form-data; name="id"\r\n\r\ntiny\r\n' % BOUNDARY
    parts = [part(name.encode(), content) for name, content in expected]
    body = b"preamble\r\n" + form(parts[0], field, *parts[1:]) + b"epilogue"
    assert await read(body, piece) == expected


async def test_large_files_come_in_large_pieces() -> None:
    """Nothing is lost between the pieces that are handed on."""
    content = bytes(range(256)) * 20_000
    assert await read(form(part(b"a.gguf", content)), 65_536) == [("a.gguf", content)]


async def test_a_form_that_ends_too_soon_is_refused_wherever_it_ends() -> None:
    """A file is whole only when the last mark is."""
    body = form(part(b"a.gguf", b"GGUF" * 5))
    for size in range(len(body) - 2):  # the line break after the last mark may be missing
        with pytest.raises(ApiError, match="ends too soon"):
            await read(body[:size])


@pytest.mark.parametrize(
    "body",
    [
        form(b"--%b\r\nContent-Type: x\r\n\r\ndata\r\n" % BOUNDARY),
        form(part(b"a" * 20_000, b"x")),
        form(part(b"\xff\xfe.gguf", b"x")),
        form(*[part(b"a.gguf", b"")] * 300),
        form(part(b"a.gguf", b"before\r\n--" + BOUNDARY + b"after")),
        b"--" + BOUNDARY + b" \r\n",
        b"",
        b"\0" * 100_000,
    ],
    ids=["no-disposition", "header-bomb", "not-utf8", "parts", "mark-inside", "blank", "", "zeros"],
)
async def test_broken_forms(body: bytes) -> None:
    """Each is a 400 that says it is the form."""
    with pytest.raises(ApiError, match="no complete multipart form") as error:
        await read(body)
    assert error.value.status == 400


async def test_an_empty_form_has_no_files() -> None:
    assert await read(b"--" + BOUNDARY + b"--\r\n") == []
