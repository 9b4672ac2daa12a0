"""Tests of registry.hub.sampling: which of a model's files, the catalog and our own is used."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from registry.checkpoint import sampling as files
from registry.checkpoint.sampling import FILE, Recommended, SamplingDefaults
from registry.checkpoint.verify import Verified
from registry.hub.sampling import defaults_of
from registry.store.record import Record, Source
from registry.store.store import Entry

SMOLLM2 = SamplingDefaults(0.2, 0.9, "catalog")
OWN = SamplingDefaults(1.0, 1.0, "default", min_p=0.05)


def entry(folder: Path, said: Recommended | None, name: str = "own", source: str = "x") -> Entry:
    verified = Verified("llm", "llama", 64, 1, 1, None, verified_at=1.0, sampling=said)
    record = Record(name, "llm", 0.0, source=Source("hub", source), verified=verified)
    return Entry(name, "llm", folder, 0.0, True, 1, record=record)


@pytest.mark.parametrize(
    ("said", "name", "source", "expected"),
    [
        (Recommended(0.5, 0.6), "own", "x", SamplingDefaults(0.5, 0.6, FILE)),
        (Recommended(), "own", "x", OWN),
        (Recommended(), "own", "HuggingFaceTB/SmolLM2-360M-Instruct", SMOLLM2),
        (Recommended(), "own", "huggingfacetb/smollm2-360m-instruct", SMOLLM2),
        (Recommended(), "smollm2-135m", "/a/file.gguf", SMOLLM2),
        # What its files say is not touched by the catalog, and neither is what they do not.
        (Recommended(0.5), "smollm2-135m", "x", SamplingDefaults(0.5, 1.0, FILE, min_p=0.05)),
        (Recommended(), "qwen3-4b", "x", SamplingDefaults(0.6, 0.95, "catalog", top_k=20)),
        # What is not used says nothing; a record of before held back what is used by now.
        (
            Recommended(not_used={"mirostat": 2}),
            "qwen3-4b",
            "x",
            SamplingDefaults(0.6, 0.95, "catalog", {"mirostat": 2}, top_k=20),
        ),
        (
            Recommended(not_used={"min_p": 0.1, "mirostat": 2}),
            "qwen3-4b",
            "x",
            SamplingDefaults(1.0, 1.0, FILE, {"mirostat": 2}, min_p=0.1),
        ),
        (Recommended(), "nomic-embed-text", "x", OWN),
    ],
)
def test_the_order(
    tmp_path: Path, said: Recommended, name: str, source: str, expected: SamplingDefaults
) -> None:
    assert defaults_of(entry(tmp_path, said, name, source)) == expected


def test_an_older_record_is_made_up_for_by_the_file_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again only when the model was verified again."""
    reads: list[Path] = []

    def read_json(path: Path) -> dict[str, object]:
        reads.append(path)
        content: dict[str, object] = json.loads(path.read_bytes())
        return content

    monkeypatch.setattr(files, "read_json", read_json)
    (tmp_path / FILE).write_text('{"temperature": 0.3}')
    older = entry(tmp_path, None)
    for _ in range(3):
        assert defaults_of(older) == SamplingDefaults(0.3, 1.0, FILE, min_p=0.05)
    assert len(reads) == 1
    assert older.record is not None and older.record.verified is not None
    verified = replace(older.record.verified, verified_at=2.0)
    again = Entry(
        *("own", "llm", tmp_path, 0.0, True, 1), record=replace(older.record, verified=verified)
    )
    (tmp_path / FILE).write_text('{"temperature": 0.4}')
    assert defaults_of(again) == SamplingDefaults(0.4, 1.0, FILE, min_p=0.05)


def test_a_damaged_file_of_an_older_record_hides_no_other_model(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    assert defaults_of(entry(tmp_path, None)) == OWN
