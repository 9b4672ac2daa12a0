"""A server for all tests of responses, and clients of it."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from openai import AsyncOpenAI, OpenAI

from tests.models.tiny_models import make_llama
from tests.serving import KEY, ServerProcess, link_model

# A model that thinks first: its prompt begins the thought.
_THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.reasoning_content %}<think>\n"
    "{{ m.reasoning_content }}\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
    "{% else %}<think>\n{% endif %}{% endif %}"
)


@pytest.fixture(scope="session")
def responses_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serves `tiny`, `short` with a context of 512 tokens, and `thinking`."""
    folder: Path = tmp_path_factory.mktemp("responses")
    home = folder / "home"
    tiny = make_llama(folder / "tiny")
    thinking = shutil.copytree(tiny, folder / "thinking")
    (thinking / "chat_template.jinja").write_text(_THINKING)
    link_model(home, "tiny", tiny)
    link_model(home, "thinking", thinking)
    link_model(home, "short", make_llama(folder / "short", max_position_embeddings=512))
    with ServerProcess(home, "--max-rows", "8", "--max-queue", "8") as process:
        yield process


@pytest.fixture
def client(responses_server: ServerProcess) -> Iterator[OpenAI]:
    url = responses_server.url + "/v1"
    with OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(responses_server: ServerProcess) -> AsyncIterator[AsyncOpenAI]:
    url = responses_server.url + "/v1"
    async with AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        yield client
