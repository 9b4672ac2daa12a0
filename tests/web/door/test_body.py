"""Tests of web.door.body with a compressed body; its shapes are in tests/web/api/test_schema."""

import gzip

import httpx
import pytest

from tests.serving import KEY, ServerProcess


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/embeddings",
                                  "/mimik-ai/store/v1/models",
                                  "/mimik-ai/store/v1/models/new/upload"])  # fmt: skip
@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "identity, deflate"])
def test_a_compressed_body_is_a_415_that_names_it(
    path: str, encoding: str, server: ServerProcess
) -> None:
    """It was read as JSON, and refused as none."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    headers["Content-Encoding"] = encoding
    answer = httpx.post(server.url + path, content=gzip.compress(b"{}"), headers=headers)
    assert answer.status_code == 415, answer.text
    assert encoding.removeprefix("identity, ") in answer.json()["error"]["message"]
    assert answer.headers["Accept-Encoding"] == "identity"


def test_identity_is_no_compression(server: ServerProcess) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    headers["Content-Encoding"] = "identity"
    answer = httpx.post(server.url + "/v1/chat/completions", content=b"{}", headers=headers)
    assert answer.status_code == 400
