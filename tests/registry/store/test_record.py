"""Tests of registry.store.record: what model.json says, and what of it changes when."""

import msgspec

from registry.store.record import Description, Recipe, Record, Source, Stored
from tests.fake_work import fake_verified


def test_a_record_survives_its_file() -> None:
    """All that is known of a model is the same after a restart; what is not known takes no room."""
    record = Record(
        "tiny",
        "llm",
        1.5,
        files="files-0",
        manifest={"model.safetensors": Stored(5, "ab"), "config.json": Stored(2)},
        init_context_size=4096,
        gguf={"initGpuLayerSize": 99, "nested": {"a": [1, None, "x"]}},
        source=Source("hub", "org/tiny", "c" * 40, {"model.safetensors": "ab"}),
        recipe=Recipe(bits=4),
        verified=fake_verified(),
        licence="mit",
        load_s=0.5,
        peak_memory_bytes=7,
    )
    assert msgspec.json.decode(msgspec.json.encode(record), type=Record) == record
    assert record.size_bytes == 5
    bare = Record("tiny", "llm", 1.5)
    assert msgspec.json.encode(bare) == b'{"id":"tiny","kind":"llm","created_at":1.5}'


def test_a_description_changes_what_it_says() -> None:
    """None leaves a thing as it is; an empty map empties it."""
    record = Record("tiny", "llm", 1.5, version="2", metadata={"a": 1}, init_context_size=64)
    changed = record.described(Description(kind="embed", metadata={}))
    assert (changed.kind, changed.version, changed.metadata) == ("embed", "2", {})
    assert changed.init_context_size == 64


def test_new_files_make_old_measurements_void() -> None:
    """The kind is what was found in the files, but for kinds that files do not tell."""
    record = Record("tiny", "llm", 1.5, failure="broken", load_s=1.0, peak_memory_bytes=2)
    passed = record.passed(fake_verified("embed"))
    assert (passed.kind, passed.failure, passed.load_s) == ("embed", None, None)
    assert passed.peak_memory_bytes is None
    assert Record("tiny", "vlm", 1.5).passed(fake_verified()).kind == "vlm"
