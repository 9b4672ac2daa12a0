"""A model folder at a URL, where nobody lists what is in it: asked for by the names of its files.

Called by `acquire`.
"""

import contextlib
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urljoin

from registry.checkpoint import companions, modules
from registry.checkpoint.listing import INDEX
from registry.checkpoint.tokenizer import vocabulary
from registry.download.part import blocking
from registry.download.remote import DownloadSettings, Remote
from registry.errors import SourceMissing, SourceRefused
from registry.hub.files import WHOLE, complete_sets, siblings

from . import weights
from .fetching import Fetching, if_there
from .order import Download
from .recipe import check_small_files

_OPTIONAL = (
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/default.jinja",
    "additional_chat_templates/tool_use.jinja",
    "hf_quant_config.json",
)
_VOCABULARIES = (*vocabulary.NAMES, "qwen.tiktoken", "hy.tiktoken")  # where there is no listing


async def fetch_folder(
    order: Download, name: str, fetching: Fetching, settings: DownloadSettings
) -> str | None:
    """A safetensors model beside a URL: configuration and tokenizer, then its weights.

    Returns what there is to say of its index.
    """
    url, folder = order.url, fetching.folder

    def remote_of(file: str) -> Remote:
        return Remote(urljoin(url, quote(file)))

    async def fetch_optional(*files: str) -> None:
        for file in files:
            with contextlib.suppress(SourceMissing):
                await fetching.add({file: remote_of(file)})

    await fetching.add({companions.CONFIG: remote_of(companions.CONFIG)})
    await fetch_optional(*_OPTIONAL, INDEX, companions.MODULES)
    if vocabulary.TOKENIZER not in fetching.sha256:
        await fetch_optional(*_VOCABULARIES)
    if companions.MODULES in fetching.sha256:  # an embedder, which has more such files
        await fetch_optional(*companions.EMBEDDER_FILES[1:])
        named = await blocking(modules.files_to_fetch, folder)
        await fetch_optional(*(file for file in named if file not in fetching.sha256))
    await blocking(check_small_files, folder, order.recipe)
    choice, there = await _choose(order, name, folder, settings)
    await weights.fetch_chosen(choice, there, fetching)
    return choice.note


async def _choose(
    order: Download, name: str, folder: Path, settings: DownloadSettings
) -> tuple[weights.Choice, dict[str, Remote]]:
    """What the index names; without one, the file that was asked for, or all shards of its count.

    And the files that are there. Raises SourceRefused where some are missing.
    """
    what = order.url.split("?")[0]
    asked = name or WHOLE
    remotes = {asked: Remote(order.url if name else urljoin(order.url, quote(WHOLE)))}
    weight_map = await weights.index_of(folder)
    if weight_map is not None and name not in {"", *weight_map.values()}:
        note = f"{INDEX} is stale: it does not name {name}."
        return replace(weights.as_found(remotes), note=note, is_index_wrong=True), remotes
    named = siblings(asked) if weight_map is None else {WHOLE, *weight_map.values()}
    if not named:
        return weights.as_found(remotes), remotes
    remotes = {file: Remote(urljoin(order.url, quote(file))) for file in sorted(named)} | remotes
    there = {
        file: found
        for file, remote in remotes.items()
        if (found := await if_there(remote, settings)) is not None
    }
    if weight_map is not None:
        choice = await weights.choose(
            what,
            folder,
            weight_map,
            there,
            lambda file: weights.tensors_at(there[file], file, settings),
        )
        return choice, there
    found_sets = [names for names in complete_sets(there) if asked in names]
    if not found_sets:
        raise SourceRefused(
            f"{what} is one weight file of several, and not all others are beside it: take the "
            "model from where it is whole."
        )
    return weights.as_found(found_sets[0]), there
