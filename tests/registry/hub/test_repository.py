"""Tests of hub.repository: a commit and its needed files, from a hub that means well or not."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest

from registry.download.fetch import fetch
from registry.download.proxies import Proxies, Proxy
from registry.download.remote import DownloadSettings
from registry.errors import DownloadFailed, SourceRefused
from registry.hub import repository
from registry.hub.repository import HubSettings
from tests.hub.hub_server import Corrupt, Fault, HubServer, Redirect, Slow, Stall, Status, Truncate
from tests.serving import ROOT

REPO = "org/tiny"


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with HubServer() as server:
        server.add_repo(REPO, {"config.json": b"{}", "model.safetensors": b"w"}, licence="mit")
        yield server


@pytest.fixture
def settings(server: HubServer) -> HubSettings:
    server.behave()
    server.requests.clear()
    return HubSettings(server.url, timeout_s=5, backoff_s=0.001)


def answer_with(monkeypatch: pytest.MonkeyPatch, **fields: object) -> None:
    """Have the hub's library return this, whatever is asked."""
    make: Callable[..., object] = huggingface_hub.ModelInfo
    info = make(id=REPO, **fields)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: info)


async def test_main_is_pinned_to_its_commit(
    server: HubServer, settings: HubSettings, tmp_path: Path
) -> None:
    """Files, sizes and hashes are those of one commit, and stay so when main moves on."""
    first = server.add_repo(
        "org/moving", {"config.json": b"old", "model.safetensors": b"w"}, licence="apache-2.0"
    )
    revision = await repository.resolve("org/moving", None, settings)
    assert (revision.repo_id, revision.commit) == ("org/moving", first)
    assert revision.licence == "apache-2.0"
    config, weights = revision.files
    assert (config.name, config.size, config.sha256) == ("config.json", 3, None)
    assert weights.sha256 is not None
    second = server.add_repo("org/moving", {"config.json": b"new", "model.safetensors": b"w"})
    remote = repository.remote(revision, config, settings)
    download = DownloadSettings(allowed_private_hosts=server.hosts)
    await fetch(remote, tmp_path / "config.json", lambda *_: None, download)
    assert (tmp_path / "config.json").read_bytes() == b"old"
    assert (await repository.resolve("org/moving", "main", settings)).commit == second
    assert (await repository.resolve("org/moving", first, settings)).commit == first


async def test_only_what_a_model_needs_is_fetched(server: HubServer, settings: HubSettings) -> None:
    """No code, no pickle, no other formats; the embedding configuration is among it."""
    wanted = [
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        "tokenizer.model", "special_tokens_map.json", "vocab.txt", "merges.txt",
        "chat_template.jinja", "qwen.tiktoken", "model.safetensors", "modules.json",
        "config_sentence_transformers.json", "1_Pooling/config.json",
        "2_Dense/config.json", "2_Dense/model.safetensors",
    ]  # fmt: skip
    unwanted = [
        "2_Dense/pytorch_model.bin", "2_Dense/modeling_tiny.py", "onnx/model.safetensors",
        "README.md", ".gitattributes", "modeling_tiny.py", "configuration_tiny.py",
        "pytorch_model.bin", "model.pt", "optimizer.pth", "onnx/model.onnx", "tf_model.h5",
        "model.fp16.safetensors", "consolidated.safetensors", "original/model.safetensors",
        "runs/1/events.json", "evil/config.json", "train.json", "images/bild 1 – größe.png",
    ]  # fmt: skip
    server.add_repo("org/full", {name: b"x" for name in [*unwanted, *wanted]})
    revision = await repository.resolve("org/full", None, settings)
    assert [file.name for file in revision.files] == wanted


@pytest.mark.parametrize(
    "names",
    [
        ["tekken.json"],
        ["tiktoken.model"],
        ["sentencepiece.bpe.model"],
        ["spiece.model", "added_tokens.json"],
        ["hy.tiktoken", "special_tokens_map.json"],
        ["merges.txt", "vocab.json"],
    ],
)
async def test_any_vocabulary_is_fetched(
    server: HubServer, settings: HubSettings, names: list[str]
) -> None:
    """A tokenizer is made of it, where there is no tokenizer.json."""
    files = [*names, "config.json", "model.safetensors"]
    server.add_repo("org/full", {name: b"x" for name in files})
    revision = await repository.resolve("org/full", None, settings)
    assert sorted(file.name for file in revision.files) == sorted(files)


async def test_of_two_vocabularies_the_large_one_is_left(
    server: HubServer, settings: HubSettings
) -> None:
    """Mistral has tekken.json beside tokenizer.json, which says the same."""
    files = ["config.json", "model.safetensors", "tekken.json", "tokenizer.json"]
    server.add_repo("org/full", {name: b"x" for name in files})
    revision = await repository.resolve("org/full", None, settings)
    assert sorted(file.name for file in revision.files) == sorted({*files} - {"tekken.json"})


@pytest.mark.parametrize(
    "names, expected",
    [
        (["model.safetensors"], ["model.safetensors"]),
        (["model.safetensors", "model.safetensors.index.json"],) * 2,
        (
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        ),
        (
            [
                "consolidated.safetensors",
                "model-00001-of-00001.safetensors",
                "model.safetensors",
                "model.safetensors.index.json",
            ],
            ["model-00001-of-00001.safetensors", "model.safetensors.index.json"],
        ),
        (["model-00001-of-00002.safetensors", "model.safetensors"], ["model.safetensors"]),
        (["model.safetensors", "a-Q8_0.gguf"], ["model.safetensors"]),
    ],
)
async def test_weights_are_taken_once(
    server: HubServer, settings: HubSettings, names: list[str], expected: list[str]
) -> None:
    """Whole and in shards: the indexed ones."""
    server.add_repo("org/weights", {name: b"x" for name in [*names, "config.json"]})
    revision = await repository.resolve("org/weights", None, settings)
    assert [file.name for file in revision.files] == [*expected, "config.json"]


@pytest.mark.parametrize(
    "names, wanted, expected",
    [
        (["a.gguf", "README.md", "config.json"], None, "a.gguf"),
        (["a-Q2_K.gguf", "a-Q4_K_M.gguf", "a-Q8_0.gguf"], None, "a-Q8_0.gguf"),
        (["a.f16.gguf", "a.q4_k_m.gguf", "mmproj-Q8_0.gguf"], None, "a.q4_k_m.gguf"),
        (["a-Q2_K.gguf", "a-Q8_0.gguf"], "a-Q2_K.gguf", "a-Q2_K.gguf"),
        (["a-Q2_K.gguf", "a-Q8_0.gguf"], "q2_k", "a-Q2_K.gguf"),
        (["model.safetensors", "config.json", "a-Q8_0.gguf"], "Q8_0", "a-Q8_0.gguf"),
        (["a-Q8_0-00001-of-00002.gguf", "a-F16.gguf", "x.gguf"], None, "a-F16.gguf"),
        (["a-IQ3_M.gguf", "mmproj-model-f16.gguf"], None, "a-IQ3_M.gguf"),
        (["a.gguf", "a-mmproj-BF16.gguf", "imatrix.gguf"], None, "a.gguf"),
        (["vision/A.GGUF", "vision/MMPROJ-F32.GGUF"], None, "vision/A.GGUF"),
    ],
)
async def test_one_gguf_is_chosen(
    server: HubServer, settings: HubSettings, names: list[str], wanted: str | None, expected: str
) -> None:
    """The one asked for by name or quantisation, or else one that is good and small enough."""
    server.add_repo("org/gguf", {name: b"x" for name in names})
    revision = await repository.resolve("org/gguf", None, settings, wanted)
    assert [file.name for file in revision.files] == [expected]


@pytest.mark.parametrize(
    "names, wanted, says",
    [
        (["config.json", "pytorch_model.bin"], None, "only as pickle"),
        (["config.json", "model.pt", "x.ckpt"], None, "only as pickle"),
        (["adapter_model.safetensors", "adapter_config.json"], None, "adapter"),
        (["model.safetensors"], None, "no config.json"),
        (["config.json", "README.md"], None, "no model that can be fetched"),
        (["config.json", "model-00001-of-00002.safetensors"], None, "1 weight files of 2"),
        (["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"], None, "several parts"),
        (["a-x.gguf", "a-y.gguf"], None, "name one of them. It has a-x.gguf, a-y.gguf"),
        (["a-x.gguf"], "Q8_0", "no one GGUF 'Q8_0'. It has a-x.gguf"),
        (["a-x.gguf"], "../../a-x.gguf", "no one GGUF"),
        ([], None, "no model that can be fetched"),
        (["mmproj-F16.gguf", "README.md"], None, "belongs to one .mmproj-F16.gguf.: pull the rep"),
        (["sub/imatrix.gguf"], None, "belongs to one .sub/imatrix.gguf."),
    ],
)
async def test_what_is_no_model_is_refused(
    server: HubServer, settings: HubSettings, names: list[str], wanted: str | None, says: str
) -> None:
    """With the reason, before a byte of it is fetched."""
    server.add_repo("org/nothing", {name: b"x" for name in names})
    with pytest.raises(SourceRefused, match=says):
        await repository.resolve("org/nothing", None, settings, wanted)


@pytest.mark.parametrize(
    "name",
    ["\U0001f468\u200d\U0001f4bb.png", "assets\\logo.png", "../../x", "a/../../b",
     "/etc/x", "./config.json", "a//b", "a/", "", "..", "a\\..\\b", "a\0b",
     "a\nb", "\u202egnp.exe", "C:x", "~/x", " x", "x ", "\u2024\u2024/x", "\uff0e\uff0e/x",
     "..\uff0fx", "x" * 300, "a\ud800"],
)  # fmt: skip
async def test_an_odd_name_elsewhere_harms_nobody(
    server: HubServer, settings: HubSettings, name: str
) -> None:
    """It is not fetched, and so not judged; as a GGUF or as weights it is not taken either."""
    model = {"config.json": b"{}", "model.safetensors": b"w"}
    server.add_repo("org/odd", model | {name: b"x", f"{name}.safetensors": b"x"})
    revision = await repository.resolve("org/odd", None, settings)
    assert [file.name for file in revision.files] == list(model)


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/x", "a\\..\\x", "a\0b", "\u202ex", "C:x", "~/x", "\u2024\u2024/x"],
)  # fmt: skip
async def test_an_odd_name_is_not_fetched(
    server: HubServer, settings: HubSettings, name: str
) -> None:
    """Not even where it is asked for: the path could lead out of the model's folder."""
    server.add_repo("org/evil", {f"{name}.gguf": b"GGUF"})
    for wanted in (None, f"{name}.gguf"):
        with pytest.raises(SourceRefused, match="no model that|no one GGUF"):
            await repository.resolve("org/evil", None, settings, wanted)


async def test_what_a_list_lacks_is_no_harm(
    settings: HubSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries without a name, a size or a hash; one that stands twice matters if it is needed."""
    model = [{"rfilename": "config.json"}, {"rfilename": "model.safetensors", "size": -1}]
    odd = [
        {"rfilename": 7, "size": 1},
        {"rfilename": "x", "size": 1, "lfs": {"sha256": "../x", "size": 1, "pointerSize": 1}},
    ]
    answer_with(monkeypatch, sha="0" * 40, siblings=[*model, *odd, *odd])
    revision = await repository.resolve(REPO, None, settings)
    assert [(file.name, file.size) for file in revision.files] == [
        ("config.json", None),
        ("model.safetensors", None),
    ]
    answer_with(monkeypatch, sha="0" * 40, siblings=[*model, model[0]])
    with pytest.raises(SourceRefused, match="lists config.json twice"):
        await repository.resolve(REPO, None, settings)


@pytest.mark.parametrize("sha", [None, "main", "../x", "1" * 40])
async def test_a_commit_is_one_and_the_one(
    settings: HubSettings, monkeypatch: pytest.MonkeyPatch, sha: str | None
) -> None:
    """It becomes part of URLs and of the record; asked for one, no other is taken."""
    answer_with(monkeypatch, sha=sha, siblings=[])
    with pytest.raises(SourceRefused, match="commit"):
        await repository.resolve(REPO, "0" * 40, settings)


@pytest.mark.parametrize(
    "repo_id",
    ["", "a/b/c", "../x", "a/..", "a b/c", "a/b\n", "a/b?x=y", "a/b#c", "/a", "a/", "a//b",
     "http://a/b", "a/b--c", "%2e%2e/x", "a\\b", "ａ/b", "x/" + "y" * 200],
)  # fmt: skip
async def test_bad_repositories_are_not_asked_for(
    server: HubServer, settings: HubSettings, repo_id: str
) -> None:
    with pytest.raises(SourceRefused, match="expected 'owner/name'"):
        await repository.resolve(repo_id, None, settings)
    assert server.requests == []


@pytest.mark.parametrize("revision", ["", "../main", "a b", "a\n", "-x", "x" * 300])
async def test_bad_revisions_are_not_asked_for(
    server: HubServer, settings: HubSettings, revision: str
) -> None:
    with pytest.raises(SourceRefused, match="no revision"):
        await repository.resolve(REPO, revision, settings)
    assert server.requests == []


async def test_what_is_missing_is_named(server: HubServer, settings: HubSettings) -> None:
    """A repository, with and without a token, or a revision."""
    with pytest.raises(SourceRefused, match="no model org/none. Check the name.*set HF_TOKEN"):
        await repository.resolve("org/none", None, settings)
    with pytest.raises(SourceRefused, match="no model org/none. Check the name.$"):
        await repository.resolve("org/none", None, replace(settings, token="t"))
    with pytest.raises(SourceRefused, match="no revision 'v9'"):
        await repository.resolve(REPO, "v9", settings)


async def test_a_gated_model_says_what_to_do(
    server: HubServer, settings: HubSettings, tmp_path: Path
) -> None:
    """Without a token, with one that may not, and with one that may."""
    server.add_repo("org/gated", {"config.json": b"{}", "model.safetensors": b"w"}, gated=True)
    with pytest.raises(SourceRefused, match="gated: accept its terms at .*/org/gated.*HF_TOKEN"):
        await repository.resolve("org/gated", None, settings)
    download = DownloadSettings(allowed_private_hosts=server.hosts)
    for token in ("wrong", server.token):
        with_token = replace(settings, token=token)
        revision = await repository.resolve("org/gated", None, with_token)
        remote = repository.remote(revision, revision.files[0], with_token)
        target = tmp_path / "config.json"
        if token == "wrong":
            with pytest.raises(SourceRefused, match="403.*accept its terms"):
                await fetch(remote, target, lambda *_: None, download)
        else:
            await fetch(remote, target, lambda *_: None, download)
    for status, headers in ((403, {"X-Error-Code": "GatedRepo"}), (403, {}), (404, {})):
        server.behave()
        server.misbehave(f"/api/models/{REPO}", Status(status, headers))
        with pytest.raises(SourceRefused, match="HF_TOKEN"):
            await repository.resolve(REPO, None, settings)


@pytest.mark.parametrize("fault", [Status(500), Status(429), Status(503, {"Retry-After": "1"})])
async def test_a_busy_hub_is_asked_again(
    server: HubServer, settings: HubSettings, fault: Fault
) -> None:
    server.misbehave(f"/api/models/{REPO}", fault, times=2)
    assert (await repository.resolve(REPO, None, settings)).licence == "mit"
    server.misbehave(f"/api/models/{REPO}", fault)
    with pytest.raises(DownloadFailed, match="could not be asked about org/tiny: it answered"):
        await repository.resolve(REPO, None, settings)
    assert len(server.requests) == 6


async def test_a_hub_that_is_gone_fails(settings: HubSettings) -> None:
    with pytest.raises(DownloadFailed, match="could not be asked.*ConnectError"):
        await repository.resolve(REPO, None, replace(settings, endpoint="http://127.0.0.1:1"))


@pytest.mark.parametrize("fault", [Truncate(50), Corrupt(0), Status(200)])
async def test_an_answer_that_is_no_json_fails(
    server: HubServer, settings: HubSettings, fault: Fault
) -> None:
    """Cut off, damaged, or of a captive portal."""
    server.misbehave(f"/api/models/{REPO}", fault)
    with pytest.raises(DownloadFailed, match="could not be asked"):
        await repository.resolve(REPO, None, settings)


@pytest.mark.parametrize("fault", [Stall(0), Slow(0.03, piece=1)])
async def test_a_hub_that_hangs_is_left(
    server: HubServer, settings: HubSettings, fault: Fault
) -> None:
    """Silent or trickling, it costs the time that was allowed, and can be cancelled at once."""
    server.misbehave(f"/api/models/{REPO}", fault)
    impatient = replace(settings, timeout_s=0.1, max_attempts=1)
    with pytest.raises(DownloadFailed, match="could not be asked"):
        await repository.resolve(REPO, None, impatient)
    server.requests.clear()
    task = asyncio.create_task(repository.resolve(REPO, None, settings))
    while not server.requests:
        await asyncio.sleep(0.001)
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 3


async def test_the_token_is_not_sent_elsewhere(
    server: HubServer, settings: HubSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not along a redirect to another host; and one that a login left is not sent at all."""
    location = f"{server.cdn_url}/api/models/{REPO}?blobs=true"
    server.misbehave(f"/api/models/{REPO}", Redirect(location), 1)
    await repository.resolve(REPO, None, replace(settings, token="t"))
    sent = [(request.at, request.headers.get("authorization")) for request in server.requests]
    assert sent == [("hub", "Bearer t"), ("cdn", None)]
    monkeypatch.setenv("HF_TOKEN", "of-the-environment")
    await repository.resolve(REPO, None, settings)
    assert "authorization" not in server.requests[-1].headers
    assert server.requests[-1].headers["user-agent"] == "mlx-edge"


async def test_a_token_never_travels_readable(settings: HubSettings) -> None:
    readable = HubSettings("http://hub.example", token="secret")
    assert "secret" not in repr(readable)
    with pytest.raises(SourceRefused, match="Use https, or no token"):
        await repository.resolve(REPO, None, readable)
    for endpoint in ("hub.example", "ftp://hub.example", "https://"):
        with pytest.raises(SourceRefused, match="expected an http"):
            await repository.resolve(REPO, None, replace(settings, endpoint=endpoint))


async def test_offline_mode_is_told(settings: HubSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE is respected, with an error that names it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SourceRefused, match="HF_HUB_OFFLINE is set"):
        await repository.resolve(REPO, None, settings)


def test_settings_come_from_the_usual_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_ENDPOINT", "HF_TOKEN", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    assert HubSettings.from_environment() == HubSettings("https://huggingface.co", None)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9/")
    monkeypatch.setenv("HF_TOKEN", " hf_x\n")
    assert HubSettings.from_environment() == HubSettings("http://127.0.0.1:9", "hf_x")


def test_nothing_heavy_is_imported_before_the_first_pull() -> None:
    """A server that pulls nothing carries neither huggingface_hub nor httpx."""
    script = """if True:
        import sys
        import registry.download.fetch, registry.hub.catalog, registry.hub.repository
        print([name for name in ("httpx", "huggingface_hub", "numpy") if name in sys.modules])
    """
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


class ProxyError(Exception):
    """As the hub's own library has it, whichever it uses."""


@pytest.mark.parametrize(
    "raised, error, says",
    [
        (ProxyError("502 Bad Gateway"), DownloadFailed, "the proxy PROXY answered 502 Bad Gateway"),
        (ConnectionError("refused"), DownloadFailed, "through the proxy PROXY: ConnectionError"),
        (TimeoutError("timed out"), DownloadFailed, "through the proxy PROXY: TimeoutError"),
        (ProxyError("407 Proxy"), SourceRefused, "The proxy PROXY answered 407"),
        (ProxyError("403 Forbidden"), SourceRefused, "it does not let through to https://hub.ex"),
    ],
)
async def test_a_proxy_in_the_way_is_named(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, error: type[Exception], says: str
) -> None:
    """Asked again where that may help; without its password."""
    asked: list[str] = []

    def ask(*_: object, **__: object) -> None:
        asked.append("")
        raise raised

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", ask)
    proxies = Proxies(https=Proxy("http://me:secret@p.example:3128", "HTTPS_PROXY"))
    settings = HubSettings("https://hub.example", backoff_s=0.001, proxies=proxies)
    with pytest.raises(error) as caught:
        await repository.resolve(REPO, None, settings)
    assert says.replace("PROXY", "http://p.example:3128 (HTTPS_PROXY)") in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(asked) == (3 if error is DownloadFailed else 1)
