"""Pocket's tokenizer: byte-level BPE, ChatML, and conversations as token ids."""

import itertools
import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from scripts.pocket import corpus
from scripts.pocket.corpus import Conversation

VOCAB_SIZE, CONTEXT_TOKENS = 2048, 2048
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# Newlines are written in expressions: Hugging Face's engine trims those after a block tag.
CHAT_TEMPLATE = (
    "{%- macro text(content) -%}"
    "{%- if content is string -%}{{ content }}"
    "{%- else -%}{%- for part in content or [] -%}{{ part.text }}{%- endfor -%}"
    "{%- endif -%}"
    "{%- endmacro -%}"
    "{%- set has_system = messages and messages[0].role == 'system' -%}"
    "{%- if tools -%}"
    "{{ '<|im_start|>system\\n' }}"
    "{%- if has_system -%}{{ text(messages[0].content) + '\\n\\n' }}{%- endif -%}"
    "{{ 'Functions that can be called:\\n' }}"
    "{%- for tool in tools -%}{{ tool | tojson + '\\n' }}{%- endfor -%}"
    '{{ \'A call is written <tool_call>{"name": NAME, "arguments": OBJECT}</tool_call>.\' }}'
    "{{ '<|im_end|>\\n' }}"
    "{%- endif -%}"
    "{%- for message in (messages[1:] if tools and has_system else messages) -%}"
    "{{ '<|im_start|>' + message.role + '\\n' + text(message.content) }}"
    "{%- for call in message.tool_calls or [] -%}"
    "{%- set tool_call = call.function or call -%}"
    "{%- set arguments = tool_call.arguments -%}"
    '{{ \'<tool_call>{"name": "\' + tool_call.name + \'", "arguments": \' }}'
    "{{ arguments if arguments is string else arguments | tojson }}"
    "{{ '}</tool_call>' }}"
    "{%- endfor -%}"
    "{{ '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)

# The space before a capital or a digit is a token of its own, so that a name or a number has the
# same tokens at the start of a line, in a sentence and in JSON: otherwise it cannot be copied.
WORDS = r"'(?:[sdmt]|ll|ve|re)| (?=[\p{Lu}\p{N}])|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def train_tokenizer(folder: Path, num_conversations: int = 30_000) -> None:
    """Byte-level BPE of the corpus, with the files that transformers reads it from."""
    sample = itertools.islice(corpus.conversations(seed=1), num_conversations)
    texts = (message.content for conversation in sample for message in conversation)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCAB_SIZE,
            special_tokens=[PAD, START, END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_tokenizer_config(folder)


def write_tokenizer_config(folder: Path) -> None:
    """The special tokens and the chat template, for transformers and for `runtime.text`."""
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END,
            "pad_token": PAD,
            "clean_up_tokenization_spaces": False,
            "model_max_length": CONTEXT_TOKENS,
            "chat_template": CHAT_TEMPLATE,
        },
    )


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


# The token ids of a row, and 1 where the loss is taken.
Row = tuple[list[int], list[int]]


class Encoder:
    """Conversations as token ids, just as the chat template renders them."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        roles = ("system", "user", "assistant", "tool")
        self.header = {role: self.ids(f"{START}{role}\n") for role in roles}
        self.end, self.newline = self.ids(END), self.ids("\n")

    def ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text).ids
        return ids

    def prompt(self, conversation: Conversation) -> list[int]:
        """What the model is given: the conversation and the header of its answer."""
        return self.encode(conversation)[0] + self.header["assistant"]

    def encode(self, conversation: Conversation) -> Row:
        """Token ids, and 1 where the token is the assistant's own."""
        tokens: list[int] = []
        own: list[int] = []
        for message in conversation:
            header, body = self.header[message.role], self.ids(message.content) + self.end
            tokens += header + body + self.newline
            is_own = int(message.role == "assistant")
            own += [0] * len(header) + [is_own] * len(body) + [0] * len(self.newline)
        return tokens, own
