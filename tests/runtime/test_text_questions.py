"""Tests of runtime.text_questions: prompts and texts become tokens, or are refused by name."""

import contextlib
import json
import time
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from runtime.errors import InvalidRequest, TemplateFailed, TextRefused
from runtime.requests import ChatInput, ChatMessage, Constraint
from runtime.text_questions import TextQuestions
from tests.models.tiny_encoders import make_wordpiece
from tests.models.tiny_models import make_tokenizer

HELLO = ChatInput((ChatMessage("user", "Hello you"),))


def model(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    make_tokenizer(folder)
    return folder


async def test_messages_become_tokens(questions: TextQuestions, tmp_path: Path) -> None:
    """The same tokens as transformers' own tokenizer gives."""
    from transformers import PreTrainedTokenizerFast

    folder = model(tmp_path)
    oracle = PreTrainedTokenizerFast.from_pretrained(folder)
    expected = oracle.apply_chat_template(
        [{"role": "user", "content": "Hello you"}], add_generation_prompt=True, return_dict=False
    )
    assert (await questions.encode(folder, HELLO)).tokens == expected


async def test_a_constraint_is_named_where_it_is_refused(
    questions: TextQuestions, tmp_path: Path
) -> None:
    """Also where the worker ran into its deadline."""
    good, bad = model(tmp_path / "good"), model(tmp_path / "bad")
    loop = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    (bad / "chat_template.jinja").write_text(loop)
    form = (await questions.encode(good, HELLO, Constraint("regex", "[ab]", "guided_regex"))).form
    assert form.grammar is not None and "[ab]" in form.grammar
    for folder, pattern in ((good, "["), (bad, "a")):
        with pytest.raises(InvalidRequest) as refused:
            await questions.encode(folder, HELLO, Constraint("regex", pattern, "guided_regex"))
        assert refused.value.param == "guided_regex"


async def test_a_changed_template_is_read_anew(questions: TextQuestions, tmp_path: Path) -> None:
    """A model registered again under its folder does not keep its old template."""
    folder = model(tmp_path)
    before = await questions.encode(folder, HELLO)
    time.sleep(0.01)
    (folder / "chat_template.jinja").write_text("something else")
    for _ in range(4):
        assert (await questions.encode(folder, HELLO)).tokens not in (before, [])


async def test_texts_get_the_special_tokens_of_their_tokenizer(
    questions: TextQuestions, tmp_path: Path
) -> None:
    """Alone, and behind a query with its length; no chat template is needed."""
    make_wordpiece(tmp_path)
    long = "which models read text " * 20
    alone = await questions.encode_texts(tmp_path, ("a fox", long))
    assert [row[0] for row in alone.inputs] == [2, 2] and alone.inputs[0][-1] == 3
    assert alone.first_lengths == [] and len(alone.inputs[1]) > 60
    pairs = await questions.encode_texts(tmp_path, ("a dog", long), query="a fox")
    assert [
        row[:length] for row, length in zip(pairs.inputs, pairs.first_lengths, strict=True)
    ] == [alone.inputs[0]] * 2
    assert pairs.inputs[0].count(3) == 2


async def test_texts_are_cut_only_when_asked(questions: TextQuestions, tmp_path: Path) -> None:
    """With the special tokens kept, and never the query; what the files say of it is not heard."""
    make_wordpiece(tmp_path)
    long = "which models read text " * 20
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for _ in range(2):
        cut = await questions.encode_texts(tmp_path, ("a fox", long), max_tokens=30)
        assert len(cut.inputs[0]) < 16 and len(cut.inputs[1]) == 30 and cut.inputs[1][-1] == 3
        whole = await questions.encode_texts(tmp_path, (long,))
        assert len(whole.inputs[0]) > 60
    pairs = await questions.encode_texts(tmp_path, (long,), query="a fox", max_tokens=30)
    assert len(pairs.inputs[0]) == 30 and pairs.inputs[0][: len(cut.inputs[0])] == cut.inputs[0]
    with pytest.raises(TextRefused):
        await questions.encode_texts(tmp_path, ("a fox",), query=long, max_tokens=30)


async def test_texts_without_a_tokenizer_are_refused(
    questions: TextQuestions, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TextRefused, match="could not be tokenized"):
        await questions.encode_texts(tmp_path, ("a fox",))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("chat_template.json", '{"chat_template": "{{ eos_token }}"}'),
        ("special_tokens_map.json", '{"eos_token": "brown"}'),
        ("added_tokens.json", '{"Hello": 453}'),
    ],
)
async def test_a_file_that_is_added_counts_from_the_next_request(
    questions: TextQuestions, tmp_path: Path, name: str, content: str
) -> None:
    """Every file that template or tokenizer are made of, also one that was not there before."""
    folder = model(tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    if name == "chat_template.json":
        del config["chat_template"]
    else:
        config["chat_template"] = "{{ eos_token }} Hello"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    before: list[int] | None = None
    with contextlib.suppress(TemplateFailed):
        before = (await questions.encode(folder, HELLO)).tokens
    (folder / name).write_text(content)
    for _ in range(3):  # more than there are workers
        assert (await questions.encode(folder, HELLO)).tokens not in (before, [])
