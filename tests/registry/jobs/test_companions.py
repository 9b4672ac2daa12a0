"""Tests that the files beside the weights come along, whatever way the model comes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.checkpoint import chat_template
from registry.convert.copies import copy_all
from registry.errors import NotAModel
from registry.jobs.order import Download, Import, Order, Pull
from registry.store.store import Store
from tests.fake_work import WEIGHTS, FakeWork
from tests.hub.hub_server import HubServer
from tests.provisioning import run, settings_of

MODEL = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "model.safetensors": WEIGHTS,
}
TEMPLATES = {
    "chat_template.jinja": b"A",
    "chat_template.json": json.dumps({"chat_template": "A"}).encode(),
    "additional_chat_templates/default.jinja": b"A",
    "tokenizer_config.json": json.dumps({"chat_template": "A"}).encode(),
}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as hub:
        yield hub


def offered(files: dict[str, bytes], hub: HubServer, folder: Path) -> dict[str, Order]:
    """The files in a folder, at a URL and in a repository; how each is asked for."""
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
        hub.add_file(f"m/{file}", content)
    hub.add_repo("org/m", files)
    url = hub.add_file("m/README.md", b"").removesuffix("README.md")
    return {
        "folder": Import("m", str(folder)),
        "url": Download("m", url),
        "hub": Pull("m", "org/m"),
    }


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("way", ["folder", "url", "hub"])
async def test_a_chat_template_comes_along(
    store: Store, work: FakeWork, hub: HubServer, tmp_path: Path, name: str, way: str
) -> None:
    """In whichever file it is; without it the model could not chat."""
    files = MODEL | {name: TEMPLATES[name]}
    await run(offered(files, hub, tmp_path / "source")[way], store, settings_of(hub))
    folder = store.get("m").folder
    assert (folder / name).read_bytes() == TEMPLATES[name]
    assert chat_template.exists(folder)


@pytest.mark.parametrize("way", ["folder", "url", "hub"])
async def test_the_one_for_tools_comes_along(
    store: Store, work: FakeWork, hub: HubServer, tmp_path: Path, way: str
) -> None:
    """A file of its own beside the default one's."""
    files = MODEL | {"chat_template.jinja": b"A", "additional_chat_templates/tool_use.jinja": b"T"}
    await run(offered(files, hub, tmp_path / "source")[way], store, settings_of(hub))
    assert chat_template.find_for_tools(store.get("m").folder) == "T"


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_chat_template_stays_when_weights_are_converted(tmp_path: Path, name: str) -> None:
    """The job process takes what it knows by name."""
    source, target = tmp_path / "source", tmp_path / "target"
    target.mkdir()
    (source / name).parent.mkdir(parents=True)
    (source / name).write_bytes(TEMPLATES[name])
    copy_all(source, target)
    assert chat_template.find(target) == "A"


@pytest.mark.parametrize("way", ["folder", "url", "hub"])
async def test_a_packing_that_stands_in_its_own_file_is_refused_before_weights_come(
    store: Store, work: FakeWork, hub: HubServer, tmp_path: Path, way: str
) -> None:
    """As NVIDIA's ModelOpt writes it; gigabytes need not come for that."""
    packing = json.dumps({"quantization": {"quant_algo": "NVFP4"}}).encode()
    files = MODEL | {"hf_quant_config.json": packing}
    with pytest.raises(NotAModel, match="packed as ModelOpt.*NVFP4"):
        await run(offered(files, hub, tmp_path / "source")[way], store, settings_of(hub))
    assert hub.bytes_sent("model.safetensors") == 0
    assert work.works == []
