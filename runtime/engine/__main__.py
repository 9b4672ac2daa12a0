"""`python -m runtime.engine FD FOLDER SETTINGS`: one model, served over the socket FD."""

import logging
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from registry.checkpoint.config import read_config
from registry.checkpoint.kind import kind_of
from registry.checkpoint.kv_bits import NOT_QUANTISED
from registry.checkpoint.model import Model
from registry.checkpoint.support import check_config, with_packing
from registry.errors import NotAModel
from runtime.disk.folder import Folder
from runtime.disk.home_key import KeyUnavailable
from runtime.engine_messages import (
    SAVING_S,
    Command,
    EngineSettings,
    LoadError,
    ModelInfo,
    Ready,
    Report,
    Stop,
)
from runtime.events import Loading
from runtime.processes import frames
from runtime.processes.lean import leave_out_transformers
from runtime.processes.orphan import end_with_parent

if __name__ == "__main__":  # what is imported from here on imports mlx_lm
    leave_out_transformers()

from . import device
from .cache.disk.identity import identity
from .cache.disk.tier import DiskTier
from .encoders.loop import EncodeLoop
from .loader import KvBitsRefused, LoadedModel, load, load_encoder
from .loop import EngineLoop, Woken

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)


def main() -> int:
    fd, folder, settings_json = sys.argv[1:]
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s engine: %(levelname)s %(message)s"
    )
    settings = msgspec.json.decode(settings_json, type=EngineSettings)
    end_with_parent()
    sock = socket.socket(fileno=int(fd))
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()  # a loop may have words of its own
    saving_s = 0.0 if settings.disk_cache is None else SAVING_S
    threading.Thread(target=_receive, args=(sock, inbox, saving_s), daemon=True).start()

    def send(report: Report) -> None:
        frames.send_blocking(sock, _encoder.encode(report))

    try:
        # What may be of another machine, or was registered before this was refused at import.
        check_config(with_packing(read_config(Path(folder)), Path(folder)))
        device.limit_memory()
        loop, info = _loop(Path(folder), settings, inbox, send)
    except (Exception, SystemExit) as error:  # a module of mlx-lm may end the process
        logging.getLogger(__name__).exception("load failed")
        is_refused = isinstance(error, KvBitsRefused)
        is_sentence = is_refused or isinstance(error, NotAModel)
        message = str(error) if is_sentence else f"{type(error).__name__}: {error}"
        send(LoadError(message, "kv_bits_unsupported" if is_refused else None))
        return 1
    send(Ready(info))
    loop.run()
    return 0


def _loop(
    folder: Path,
    settings: EngineSettings,
    inbox: "queue.SimpleQueue[Any]",
    send: Callable[[Report], None],
) -> tuple[EngineLoop | EncodeLoop, ModelInfo]:
    """The loop for what the folder holds, its weights read."""
    model = Model(folder.name, folder)

    def report(done: int, total: int) -> None:
        send(Loading(done, total))

    if kind_of(model) == "llm":
        loaded = load(
            folder,
            report,
            settings.probed,
            kv_bits=settings.kv_bits,
            default_kv_bits=settings.default_kv_bits,
        )
        loop = EngineLoop(
            loaded,
            inbox,
            send,
            prefill_chunk_tokens=settings.prefill_chunk_tokens,
            prefix_cache_bytes=settings.prefix_cache_bytes,
            disk=_disk(folder, settings, loaded, lambda: inbox.put(Woken())),
        )
        return loop, loaded.info
    if settings.kv_bits not in (None, NOT_QUANTISED):
        raise KvBitsRefused("it makes no text, so it keeps no KV cache.")
    encoder = load_encoder(model, report)
    return EncodeLoop(encoder, inbox, send, pack_tokens=settings.pack_tokens), encoder.info


def _disk(
    folder: Path, settings: EngineSettings, loaded: LoadedModel, wake: Callable[[], None]
) -> DiskTier | None:
    """Where prefixes are kept on disk; None where that is not wanted, or cannot be."""
    wanted = settings.disk_cache
    if wanted is None or not settings.prefix_cache_bytes:
        return None
    try:
        place = Folder(Path(wanted.home), wanted.limit_bytes)
        return DiskTier(place, identity(folder, loaded.model), wake)
    except (OSError, KeyUnavailable) as error:
        logging.getLogger(__name__).warning("nothing is kept on disk: %s", error)
        return None


def _receive(sock: socket.socket, inbox: "queue.SimpleQueue[Command]", saving_s: float) -> None:
    """Read commands off the main thread, so that a parent's death ends even a long load at once."""
    try:
        while (payload := frames.read_blocking(sock)) is not None:
            command = _decoder.decode(payload)
            inbox.put(command)
            if isinstance(command, Stop):  # the parent waits for the end, and says no more
                time.sleep(saving_s)
    except OSError:
        pass
    os._exit(0)  # nobody is left to work for


if __name__ == "__main__":
    code = main()
    # Skip the interpreter's teardown: what is to be saved is, and freeing gigabytes takes time.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
