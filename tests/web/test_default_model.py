"""Tests of which model answers where a person names none."""

import time
from pathlib import Path

import httpx

from registry.checkpoint.verify import Verified
from registry.hub.catalog import STARTER_ID
from registry.store import choice
from registry.store.record import Source
from registry.store.store import BUILT_IN_ID, Store
from tests.models.tiny_models import make_llama
from tests.serving import KEY, ServerProcess, link_model
from web.default_model import default_model


def test_the_chosen_one_then_the_starter_then_the_built_in_one(tmp_path: Path) -> None:
    """A choice holds as long as its model is here, and again once it is back."""
    folder, store = make_llama(tmp_path / "tiny"), Store(tmp_path / "home")
    assert default_model(store) == (BUILT_IN_ID, False)
    link_model(store.home, "tiny", folder)
    assert default_model(store) == (BUILT_IN_ID, False)
    link_model(store.home, STARTER_ID, folder)
    assert default_model(store) == (STARTER_ID, False)
    choice.choose(store.home, "tiny")
    assert default_model(store) == ("tiny", True)
    store.remove("tiny")
    assert default_model(store) == (STARTER_ID, False)
    store.remove(STARTER_ID)
    assert default_model(store) == (BUILT_IN_ID, False)
    link_model(store.home, "tiny", folder)
    assert default_model(store) == ("tiny", True)
    choice.choose(store.home, BUILT_IN_ID)
    assert default_model(store) == (BUILT_IN_ID, True)


def test_what_cannot_chat_is_passed_over(tmp_path: Path) -> None:
    """A model of the starter's name that only embeds, or whose weights are gone."""
    folder, store = make_llama(tmp_path / "tiny"), Store(tmp_path / "home")
    size = (folder / "model.safetensors").stat().st_size
    verified = Verified("embed", "llama", 8192, size // 4, size, None, time.time())
    source = Source("folder", str(folder))
    store.publish_link(STARTER_ID, folder, source=source, verified=verified)
    choice.choose(store.home, STARTER_ID)
    assert default_model(store) == (BUILT_IN_ID, False)
    link_model(store.home, "tiny", folder)
    choice.choose(store.home, "tiny")
    (folder / "model.safetensors").unlink()
    assert default_model(store) == (BUILT_IN_ID, False)


def test_a_running_server_follows(tmp_path: Path) -> None:
    """/v1/models marks one model, in the list and alone."""
    home = tmp_path / "home"
    link_model(home, "tiny", make_llama(tmp_path / "tiny"))

    def marked(server: ServerProcess) -> list[tuple[str, bool]]:
        listed = server.get("/v1/models")["data"]
        alone = [server.get(f"/v1/models/{model['id']}") for model in listed]
        assert [m["default"] for m in listed] == [m["default"] for m in alone]
        return [(m["id"], m["default_is_chosen"]) for m in listed if m["default"]]

    with ServerProcess(home) as server:
        assert marked(server) == [("pocket", False)]
        choice.choose(home, "tiny")
        assert marked(server) == [("tiny", True)]
        key = {"Authorization": f"Bearer {KEY}"}
        removed = httpx.delete(f"{server.url}/mimik-ai/store/v1/models/tiny", headers=key)
        assert removed.status_code == 200
        assert marked(server) == [("pocket", False)]
