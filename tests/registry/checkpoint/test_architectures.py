import gc
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry.checkpoint.architectures import argument_defaults


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns whenever memory is collected, so also within a parse."""
    thresholds = gc.get_threshold()

    def give_way(*_: object) -> None:
        time.sleep(0.0001)

    gc.callbacks.append(give_way)
    gc.set_threshold(50)
    yield
    gc.set_threshold(*thresholds)
    gc.callbacks.remove(give_way)


def test_architectures_are_read_by_several_threads_at_once(switching: None) -> None:
    """Five requests for a new model ask together what it takes; Python 3.11 minds."""
    names = ["deepseek_v3", "minimax", "llama", "qwen3_next", "gemma3n", "exaone"] * 4
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(argument_defaults.__wrapped__, names))
    assert found == [argument_defaults(name) for name in names]
