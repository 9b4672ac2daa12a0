"""A report on security events: the events nearest to a question, and a chat model's words on them.

As programs for mimOE do it over plain HTTP: one embedding for each event, the cosine in their own
code, the best few in a prompt, and JSON asked for in prose and read with patience.
"""

import base64
import json
import math
import struct
from typing import Any

import httpx
import pytest
from openai import OpenAI
from tokenizers import Tokenizer

from registry.hub.catalog import STARTER_ID
from tests.models import reference_encoders
from tests.models.tiny_encoders import MINILM
from tests.serving import KEY

pytestmark = pytest.mark.slow

HEADERS = {"Authorization": f"Bearer {KEY}"}
EVENTS = [
    "Access event A-17: user 4711 attempted door D-3, DENIED, reason: badge expired.",
    "Door event E-2: D-3 opened. FORCED OPEN. Held open 45s.",
    "Alarm L-9: smoke in the kitchen [severity: HIGH].",
    "Camera C-1 observed: a delivery van in front of the gate (confidence: 0.91).",
    "Alarm L-10: fire detector in the canteen [severity: HIGH].",
    "Camera C-4 observed: a person climbs over the fence (confidence: 0.77).",
]
QUESTION = "Was there a fire?"
NUM_CHARS = 70  # of an event that go into the prompt
Vector = list[float]


def embed(base: str, text: str) -> Vector:
    body = {"model": "minilm", "input": text}
    reply = httpx.post(f"{base}/embeddings", json=body, headers=HEADERS, timeout=120)
    reply.raise_for_status()
    vector: Vector = reply.json()["data"][0]["embedding"]
    return vector


def cosine(one: Vector, other: Vector) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def nearest(question: Vector, events: list[Vector]) -> list[int]:
    """The events' places, best first."""
    return sorted(range(len(events)), key=lambda place: -cosine(question, events[place]))


def reference(text: str) -> Vector:
    """The vector by numpy, from the published definition."""
    tokenizer = Tokenizer.from_file(str(MINILM / "tokenizer.json"))
    tokenizer.no_padding()
    states = reference_encoders.hidden_states(MINILM, tokenizer.encode(text).ids)
    return [float(value) for value in reference_encoders.unit(states.mean(axis=0))]


def json_in(text: str) -> dict[str, Any] | None:
    """The outermost braces, if what is between them is JSON."""
    start, end = text.find("{"), text.rfind("}")
    try:
        found = json.loads(text[start : end + 1])
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def report_messages(events: list[str]) -> list[dict[str, str]]:
    """An example first: a small model keeps a form it has seen."""
    system = "You are a security analyst. Answer with one JSON object."
    example = '{"risk": "LOW", "summary": "A cat at the gate."}'
    lines = "\n".join(event[:NUM_CHARS] for event in events)
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": "EVENTS:\nCamera C-2 observed: a cat at the gate."},
        {"role": "assistant", "content": example},
        {"role": "user", "content": f"EVENTS:\n{lines}"},
    ]


def test_the_nearest_events_are_those_of_a_reference(base: str) -> None:
    """The same order, and every cosine to four places."""
    question, vectors = embed(base, QUESTION), [embed(base, event) for event in EVENTS]
    order = nearest(question, vectors)
    asked, expected = reference(QUESTION), [reference(event) for event in EVENTS]
    assert order == nearest(asked, expected)
    assert set(order[:2]) == {2, 4}  # the two that burn
    for vector, other in zip(vectors, expected, strict=True):
        assert cosine(question, vector) == pytest.approx(cosine(asked, other), abs=1e-4)


def test_a_batch_is_its_texts_one_by_one(base: str, client: OpenAI) -> None:
    """As floats, as base64 by hand, and as the SDK asks for it; in the order of the texts."""
    alone = [embed(base, event) for event in EVENTS]
    plain = client.embeddings.create(model="minilm", input=EVENTS, encoding_format="float")
    unasked = client.embeddings.create(model="minilm", input=EVENTS)
    body = {"model": "minilm", "input": EVENTS, "encoding_format": "base64"}
    packed = httpx.post(f"{base}/embeddings", json=body, headers=HEADERS, timeout=120).json()
    for place, vector in enumerate(alone):
        raw = base64.b64decode(packed["data"][place]["embedding"])
        assert packed["data"][place]["index"] == place and len(vector) == 384
        for other in (
            plain.data[place].embedding,
            unasked.data[place].embedding,
            list(struct.unpack(f"<{len(raw) // 4}f", raw)),
        ):
            assert other == pytest.approx(vector, abs=1e-5)
    assert plain.usage.prompt_tokens == packed["usage"]["prompt_tokens"] > 0


def test_the_report_is_made(base: str) -> None:
    """The best events go into a prompt, and its answer is JSON in the form that was shown."""
    vectors = [embed(base, event) for event in EVENTS]
    best = [EVENTS[place] for place in nearest(embed(base, QUESTION), vectors)[:2]]
    body = {
        "model": STARTER_ID,
        "messages": report_messages(best),
        "temperature": 0.0,
        "max_tokens": 80,
    }
    reply = httpx.post(f"{base}/chat/completions", json=body, headers=HEADERS, timeout=300)
    reply.raise_for_status()
    (choice,) = reply.json()["choices"]
    found = json_in(choice["message"]["content"])
    assert choice["finish_reason"] == "stop" and found is not None
    assert {"risk", "summary"} <= set(found)


def test_a_prompt_that_is_too_long_names_both_numbers(base: str) -> None:
    """So that a program can shorten its events; in the mimOE form of an error."""
    body = {"model": STARTER_ID, "messages": report_messages(EVENTS * 400)}
    reply = httpx.post(f"{base}/chat/completions", json=body, headers=HEADERS, timeout=300)
    error = reply.json()["error"]
    assert reply.status_code == error["code"] == 400
    assert "8192" in error["message"]


def test_models_are_not_taken_for_each_other(base: str) -> None:
    """Who asks the chat model for vectors, or the embedder for words, is told which can."""
    for path, model, fields, other in (
        ("embeddings", STARTER_ID, {"input": QUESTION}, "minilm"),
        ("chat/completions", "minilm", {"messages": report_messages([])}, STARTER_ID),
    ):
        body = {"model": model, **fields}
        reply = httpx.post(f"{base}/{path}", json=body, headers=HEADERS, timeout=60)
        assert reply.status_code == 400 and other in reply.json()["error"]["message"]
