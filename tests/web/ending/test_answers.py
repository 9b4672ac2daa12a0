"""Answers over HTTP that are under way when the server is told to end, in every API."""

import json
import socket
from pathlib import Path

import pytest

from tests.models.tiny_encoders import make_bert
from tests.serving import ServerProcess, import_model
from tests.store_client import wait_until
from tests.web.ending.asked import (
    APIS,
    ask,
    ends,
    load,
    num_requests,
    post,
    resume,
    terminate,
    until,
    whole,
)

LIMIT = ("--drain-timeout", "0s")


def begin_streams(server: ServerProcess) -> dict[str, tuple[socket.socket, bytes]]:
    """One of each API, that have shown their first text."""
    streams = {}
    for name, api in APIS.items():
        sock = ask(server, api, 1500, stream=True)
        streams[name] = sock, until(sock, api.text)
    return streams


def test_streams_finish_within_the_drain_time(home: Path) -> None:
    """Each ends as its API ends a stream that went well."""
    with ServerProcess(home) as server:
        load(server)
        (engine,) = server.engines()
        streams = begin_streams(server)
        engine.suspend()
        terminate(server)
        resume(engine)
        for name, (sock, seen) in streams.items():
            _, _, body = whole(sock, seen)
            assert APIS[name].end in body, (name, body[-500:])
            assert body.endswith(APIS[name].last), name
        ends(server)


def test_streams_that_take_longer_end_with_an_error(home: Path) -> None:
    """In the words of their API, and not torn."""
    with ServerProcess(home, *LIMIT) as server:
        load(server)
        streams = begin_streams(server)
        server.process.terminate()
        for name, (sock, seen) in streams.items():
            _, _, body = whole(sock, seen)
            assert APIS[name].end not in body, (name, body[-500:])
            *_, last = body.removesuffix(APIS[name].last).rstrip().split(b"\n\n")
            assert APIS[name].failure in last, (name, last)
            assert b"shutting down" in last and body.endswith(APIS[name].last)
        ends(server)


@pytest.mark.parametrize("is_in_time", [True, False])
def test_whole_answers_are_never_torn(home: Path, is_in_time: bool) -> None:
    """They finish, or are a 503 in their API's words that says when to come again; also those that
    wait in the queue."""
    limit = ("--drain-timeout", "60s" if is_in_time else "0s")
    with ServerProcess(home, *limit, "--max-rows", "2") as server:
        load(server)
        (engine,) = server.engines()
        engine.suspend()
        asked = {name: ask(server, api, 16) for name, api in APIS.items()}
        wait_until(lambda: num_requests(server) == len(asked))
        terminate(server)
        resume(engine)
        for name, sock in asked.items():
            status, headers, body = whole(sock)
            assert status == (200 if is_in_time else 503), (name, body)
            told = json.loads(body)
            if not is_in_time:
                assert int(headers["retry-after"]) > 0 and "shutting down" in str(told["error"])
        ends(server)


@pytest.mark.slow
@pytest.mark.parametrize("is_in_time", [True, False])
def test_encoders_finish_or_are_refused(home: Path, is_in_time: bool) -> None:
    """Embeddings and a ranking."""
    import_model(home, "ranker", make_bert(home.parent / "ranker", num_labels=1))
    import_model(home, "embedder", make_bert(home.parent / "embedder"))
    limit = ("--drain-timeout", "60s" if is_in_time else "0s")
    with ServerProcess(home, *limit) as server:
        for model in ("ranker", "embedder"):
            load(server, model)
        for engine in server.engines():
            engine.suspend()
        asked = [
            post(server, "/v1/embeddings", {"model": "embedder", "input": ["a", "b"]}),
            post(server, "/v1/rerank", {"model": "ranker", "query": "a", "documents": ["a", "b"]}),
        ]
        wait_until(lambda: num_requests(server) == len(asked))
        engines = server.engines()
        terminate(server)
        for engine in engines:
            resume(engine)
        for sock in asked:
            status, headers, body = whole(sock)
            assert status == (200 if is_in_time else 503), body
            assert is_in_time or int(headers["retry-after"]) > 0
        ends(server)


@pytest.mark.parametrize("is_in_time", [True, False])
def test_who_waits_for_a_load(home: Path, is_in_time: bool) -> None:
    """An answer that waits for its model, a load that is followed as events, and one that is not:
    the load goes on while there is time."""
    limit = ("--drain-timeout", "60s" if is_in_time else "0s")
    with ServerProcess(home, *limit) as server:
        asked = [ask(server, APIS["chat"], 8)]
        wait_until(server.engines)
        (engine,) = server.engines()
        engine.suspend()
        body = {"model": "tiny"}
        asked += [
            post(server, "/v1/models", body),
            post(server, "/v1/models", body, "text/event-stream"),
        ]
        seen = until(asked[-1], b"model.loading")
        terminate(server)
        resume(engine)
        for sock in asked[:-1]:
            status, headers, told = whole(sock)
            assert status == (200 if is_in_time else 503), told
            assert is_in_time or int(headers["retry-after"]) > 0
        _, _, told = whole(asked[-1], seen)
        *_, last = told.rstrip().split(b"\n\n")
        assert last.startswith(b'data: {"id":"tiny"' if is_in_time else b"event: error"), last
        ends(server)


def test_nobody_waits_for_a_preload(home: Path) -> None:
    """A load that only the server wants is given up at once, however long the drain may last."""
    with ServerProcess(home, "--preload", "tiny", "--drain-timeout", "-1") as server:
        wait_until(server.engines)
        (engine,) = server.engines()
        engine.suspend()
        server.process.terminate()
        ends(server)
