"""Trains Pocket, the small chat model in `registry/pocket/`: tokenizer, training, export, scores.

Run by a person: `python -m scripts.train_pocket train --work DIR`, then `export` and `score`.
"""

import argparse
import ctypes
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

if sys.platform == "linux":
    # The Linux wheel of MLX brings the reference BLAS; OpenBLAS, loaded first, is far faster.
    # OpenBLAS 0.3.21 takes an x86 core it does not know for a Prescott: 31 GFLOP/s instead of 145.
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    core = "SkylakeX" if "avx512vl" in flags else "Haswell" if "avx2" in flags else None
    if core:
        os.environ.setdefault("OPENBLAS_CORETYPE", core)
    try:
        ctypes.CDLL("libopenblas.so.0", mode=ctypes.RTLD_GLOBAL)
    except OSError:
        print("libopenblas0 is not installed: training will be very slow", file=sys.stderr)

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_flatten, tree_map
from mlx_lm import batch_generate, load
from mlx_lm.models.llama import Model, ModelArgs
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from scripts import pocket_corpus
from scripts.pocket_corpus import Conversation, Message

SHIPPED = Path(__file__).parents[1] / "registry" / "pocket"

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.content is string -%}{{ message.content }}"
    "{%- else -%}{%- for part in message.content or [] -%}{{ part.text }}{%- endfor -%}"
    "{%- endif -%}"
    "{{ '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)

# The space before a capital or a digit is a token of its own, so that a name or a number has the
# same tokens at the start of a line, in a sentence and in JSON: otherwise it cannot be copied.
WORDS = r"'(?:[sdmt]|ll|ve|re)| (?=[\p{Lu}\p{N}])|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 2048,
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "intermediate_size": 704,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """The few dials of a run; the seed fixes corpus and weights."""

    steps: int = 3600
    seed: int = 7
    batch_tokens: int = 1024
    peak_rate: float = 1.2e-3
    warmup: int = 200
    copying_share: float = 0.1


# Lengths that conversations are padded to; a step always holds the same number of tokens.
BUCKETS = (48, 64, 96, 128, 176, 256, 384)
LONG = 1024
LONG_EVERY = 16
COPIES_FIRST = 2400


Weight = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

# The token ids of a row, and 1 where the loss is taken.
Row = tuple[list[int], list[int]]


# The tokenizer.


def train_tokenizer(folder: Path, num_conversations: int = 30_000) -> None:
    """Byte-level BPE of the corpus, with the files that transformers reads it from."""
    corpus = itertools.islice(pocket_corpus.conversations(seed=1), num_conversations)
    texts = (message.content for conversation in corpus for message in conversation)
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
            vocab_size=CONFIG["vocab_size"],
            special_tokens=[PAD, START, END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    end, pad = tokenizer.token_to_id(END), tokenizer.token_to_id(PAD)
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END,
            "pad_token": PAD,
            "clean_up_tokenization_spaces": False,
            "model_max_length": CONFIG["max_position_embeddings"],
            "chat_template": CHAT_TEMPLATE,
        },
    )
    ids = {"eos_token_id": end, "pad_token_id": pad}
    write_json(folder / "config.json", CONFIG | ids)
    write_json(folder / "generation_config.json", ids)


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


class Encoder:
    """Conversations as token ids, in the words of the chat template."""

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


# The batches.


class Batch:
    """Rows of one length; `inputs` predict `targets` where `own` is 1. All are (B, L)."""

    def __init__(self, rows: list[Row], length: int) -> None:
        tokens = np.zeros((len(rows), length + 1), dtype=np.int32)
        own = np.zeros((len(rows), length + 1), dtype=np.float32)
        for i, (ids, flags) in enumerate(rows):
            tokens[i, : len(ids)] = ids[: length + 1]
            own[i, : len(flags)] = flags[: length + 1]
        self.inputs, self.targets = mx.array(tokens[:, :-1]), mx.array(tokens[:, 1:])
        self.own = mx.array(own[:, 1:])


def repetitions(encoder: Encoder, seed: int) -> Iterator[Row]:
    """Made-up words, or random tokens, that repeat after a while: they teach the model to copy."""
    speaker = pocket_corpus.Speaker(seed)
    draw = speaker.random
    while True:
        if draw.random() < 0.6:
            once = encoder.ids(" ".join(speaker.word() for _ in range(draw.randint(2, 12))))
        else:
            once = [draw.randrange(3, CONFIG["vocab_size"]) for _ in range(draw.randint(5, 45))]
        length = draw.randint(len(once) + 8, max(2 * len(once), 40))
        tokens = (once * (length // len(once) + 1))[:length]
        yield tokens, [0] * len(once) + [1] * (length - len(once))


def short_rows(encoder: Encoder, seed: int) -> Iterator[Row]:
    """Repetitions alone at first, then conversations with a repetition among them: copying must be
    firm before there is anything else to learn, and kept up, or it is unlearnt."""
    copies = repetitions(encoder, seed)
    yield from itertools.islice(copies, COPIES_FIRST)
    for index, conversation in enumerate(pocket_corpus.conversations(seed)):
        if index % 7 == 0:
            yield next(copies)
        yield encoder.encode(conversation)


def bucket_batches(encoder: Encoder, config: TrainingConfig) -> Iterator[Batch]:
    """Batches of rows of about the same length."""
    waiting: dict[int, list[Row]] = {length: [] for length in BUCKETS}
    for row in short_rows(encoder, config.seed):
        length = next((length for length in BUCKETS if len(row[0]) <= length + 1), BUCKETS[-1])
        waiting[length].append(row)
        if len(waiting[length]) == config.batch_tokens // length:
            yield Batch(waiting[length], length)
            waiting[length] = []


def long_batches(encoder: Encoder, config: TrainingConfig) -> Iterator[Batch]:
    """Batches of conversations of many turns, half the context long."""
    rows = map(encoder.encode, pocket_corpus.long_conversations(config.seed))
    while True:
        yield Batch(list(itertools.islice(rows, config.batch_tokens // LONG)), LONG)


def batches(encoder: Encoder, config: TrainingConfig) -> Iterator[Batch]:
    """The batches of a run, mixed."""
    short, long = bucket_batches(encoder, config), long_batches(encoder, config)
    for step in itertools.count(1):
        yield next(long if step % LONG_EVERY == 0 and step > 200 else short)


# The model.


def normal(random: np.random.Generator, rows: int, columns: int, scale: float) -> Weight:
    return random.normal(0.0, scale, (rows, columns))


def shapes(model: Model) -> dict[str, tuple[int, ...]]:
    return {name: value.shape for name, value in dict(tree_flatten(model.parameters())).items()}


def new_model(seed: int) -> Model:
    """An untrained Pocket: a plain start, then the heads that can copy already."""
    model = Model(ModelArgs.from_dict(CONFIG))
    random = np.random.default_rng(seed)
    weights: dict[str, Weight] = {}
    for name, shape in shapes(model).items():
        if len(shape) == 2:
            rows, columns = shape
            depth = (2 * CONFIG["num_hidden_layers"]) ** -0.5
            is_output = name.endswith(("o_proj.weight", "down_proj.weight"))
            scale = columns**-0.5 * (depth if is_output else 1.0)
            weights[name] = normal(random, rows, columns, scale)
        else:
            weights[name] = np.ones(shape)

    # Tied embeddings of deviation 0.5 make logits of deviation 1 with a final norm of 1/8.
    embedding = normal(random, CONFIG["vocab_size"], CONFIG["hidden_size"], 0.5)
    embedding[:, 0] = 2.0  # the same for all tokens: what a head needs that looks at positions only
    weights["model.embed_tokens.weight"] = embedding
    weights["model.norm.weight"] = np.full(CONFIG["hidden_size"], 1 / 8)

    add_copying_heads(weights, random)
    model.load_weights([(name, mx.array(w.astype(np.float32))) for name, w in weights.items()])
    return model


def add_copying_heads(weights: dict[str, Weight], random: np.random.Generator) -> None:
    """One head of layer 0 looks at the previous token, one of layer 1 at what followed the same
    token before (an induction head): from a plain start, copying is never learnt. The gains were
    chosen by trial: right on 80 % of repeated random tokens before any training."""
    hidden, head_dim = CONFIG["hidden_size"], CONFIG["head_dim"]
    half = head_dim // 2  # RoPE turns dimension i together with i + half, slower as i grows
    first, second = "model.layers.0.self_attn.", "model.layers.1.self_attn."

    # 1. The previous-token head: constant query and key, the query turned back by one position.
    # Only the fast dimensions tell neighbours apart; the slow ones would add noise.
    fast = np.arange(8)
    angles = CONFIG["rope_theta"] ** (-fast / half)
    sharp = 1.5
    query, key = weights[first + "q_proj.weight"], weights[first + "k_proj.weight"]
    query[:head_dim], key[:head_dim] = 0.0, 0.0
    key[fast, 0] = sharp
    query[fast, 0] = sharp * np.cos(angles)
    query[half + fast, 0] = -sharp * np.sin(angles)

    # 2. It hands the token it saw, in the slow dimensions, to the key of the induction head.
    slow = np.r_[20:half, half + 20 : head_dim]
    seen = normal(random, len(slow), hidden, hidden**-0.5)
    passed = normal(random, len(slow), hidden, hidden**-0.5)
    weights[first + "v_proj.weight"][slow] = seen
    weights[first + "o_proj.weight"][:, slow] = passed.T
    query, key = weights[second + "q_proj.weight"], weights[second + "k_proj.weight"]
    query[:head_dim], key[:head_dim] = 0.0, 0.0
    query[slow] = 6 * seen
    key[slow] = 6 * passed

    # 3. The induction head writes what it found back as it was read.
    copied = normal(random, head_dim, hidden, hidden**-0.5)
    weights[second + "v_proj.weight"][:head_dim] = copied
    weights[second + "o_proj.weight"][:, :head_dim] = 6 * copied.T


def loss_of(model: Model, inputs: mx.array, targets: mx.array, own: mx.array) -> mx.array:
    losses = nn.losses.cross_entropy(model(inputs), targets)  # (B, L)
    return (losses * own).sum() / mx.maximum(own.sum(), 1.0)


def is_copying(name: str, _: mx.array) -> bool:
    """Whether a weight belongs to the attention that `add_copying_heads` laid out."""
    return ".0.self_attn." in name or ".1.self_attn." in name


def new_optimizer(config: TrainingConfig) -> optim.MultiOptimizer:
    """AdamW, slow where copying was laid out: at the full rate it is unlearnt in 300 steps."""
    slow, full = (
        optim.AdamW(rate_at(config, share), betas=[0.9, 0.98], weight_decay=0.05)
        for share in (config.copying_share, 1.0)
    )
    return optim.MultiOptimizer([slow, full], [is_copying])


def rate_at(config: TrainingConfig, share: float) -> Callable[[mx.array], mx.array]:
    """Warm up, stay to 35 %, then a cosine down to 2 %."""
    flat = int(0.35 * config.steps)
    peak = share * config.peak_rate
    up = optim.linear_schedule(0.0, peak, config.warmup)
    level = optim.linear_schedule(peak, peak, flat - config.warmup)
    down = optim.cosine_decay(peak, config.steps - flat, 0.02 * peak)
    return optim.join_schedules([up, level, down], [config.warmup, flat])


def train(work: Path, config: TrainingConfig) -> None:
    """Train from scratch; `work` holds the tokenizer, a checkpoint every 500 steps, and the log."""
    if not (work / "tokenizer.json").exists():
        train_tokenizer(work)
    model = new_model(config.seed)
    optimizer = new_optimizer(config)
    state = [model.state, optimizer.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step_of(inputs: mx.array, targets: mx.array, own: mx.array) -> mx.array:
        loss: mx.array
        loss, gradients = nn.utils.value_and_grad(model, loss_of)(model, inputs, targets, own)
        gradients, _ = optim.clip_grad_norm(gradients, 1.0)
        optimizer.update(model, gradients)
        return loss

    encoder = Encoder(work)
    probe = Batch(list(itertools.islice(repetitions(encoder, seed=0), 16)), 96)
    print(asdict(config), flush=True)
    started, recent = time.monotonic(), 0.0
    for step, batch in zip(range(1, config.steps + 1), batches(encoder, config), strict=False):
        loss = step_of(batch.inputs, batch.targets, batch.own)
        mx.eval(loss, state)
        recent = 0.95 * recent + 0.05 * float(loss) if recent else float(loss)
        if step % 50 == 0:
            copying = float(loss_of(model, probe.inputs, probe.targets, probe.own))
            speed = step * config.batch_tokens / (time.monotonic() - started)
            print(
                f"{step}: loss {recent:.3f}, copying {copying:.2f}, {speed:.0f} tok/s", flush=True
            )
        if step % 500 == 0 or step == config.steps:
            model.save_weights(str(work / "checkpoint.safetensors"))


def export(work: Path, folder: Path = SHIPPED) -> None:
    """The last checkpoint in bf16, with the files that stock mlx-lm loads it by."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ):
        (folder / name).write_bytes((work / name).read_bytes())
    weights = mx.load(str(work / "checkpoint.safetensors"))
    halved = tree_map(lambda value: value.astype(mx.bfloat16), weights)
    mx.save_safetensors(str(folder / "model.safetensors"), halved, metadata={"format": "mlx"})


# The scores.


@dataclass(frozen=True, slots=True)
class Case:
    """A conversation that waits for its last answer, and the answers that are right."""

    ability: str
    prompt: Conversation
    right: list[str]


def held_out_cases(seed: int = 0) -> Iterator[Case]:
    """The held-out phrasings, with slots that no run has drawn."""
    heldout, speaker = pocket_corpus.read("heldout"), pocket_corpus.Speaker(seed)
    draw = speaker.random.choice

    def asked(ability: str, *turns: str, right: list[str]) -> Case:
        roles = itertools.cycle(("user", "assistant"))
        return Case(ability, [Message(next(roles), turn) for turn in turns], right)

    for intent, questions in heldout["intents"].items():
        for question in questions:
            yield asked("intents", question, right=speaker.intents[intent]["answer"])

    geography = speaker.capitals
    for country, (capital, population) in geography["cities"].items():
        question = draw(heldout["capitals"]["capital"]).format(country=country)
        answer = geography["answer"].format(country=country, capital=capital)
        last = geography["answer_population"].format(capital=capital, population=population)
        yield asked("capital", question, right=[answer])
        follow_up = draw(heldout["capitals"]["population"])
        yield asked("its population", question, answer, follow_up, right=[last])

    for function in speaker.code["functions"]:
        question = draw(heldout["code"]["ask"]).format(task=function["tasks"][0])
        yield asked("code", question, right=[speaker.code["answer"].format(**function)])

    for phrasing in heldout["unknown"]["ask"] * 4:
        question = phrasing.format(name=speaker.name(), word=speaker.word())
        yield asked("I do not know", question, right=[speaker.words["unknown"]["answer"]])

    for _ in range(24):
        words, name = speaker.words["name"], speaker.name()
        told = draw(heldout["name"]["tell"]).format(name=name)
        recall, right = draw(heldout["name"]["recall"]), [words["recalled"].format(name=name)]
        yield asked("remembered name", told, words["told"].format(name=name), recall, right=right)

    for _ in range(24):
        words, name = speaker.words["persona"], speaker.name()
        slots = {"name": name, "role": draw(words["roles"]), "trait": draw(words["traits"])}
        system = Message("system", draw(heldout["persona"]["system"]).format(**slots))
        question = Message("user", draw(heldout["persona"]["ask"]))
        yield Case("persona", [system, question], [words["answer"].format(**slots)])


def trained_cases(seed: int = 0) -> Iterator[Case]:
    """Every intent, in one of the phrasings it was trained on."""
    speaker = pocket_corpus.Speaker(seed)
    for intent in speaker.intents.values():
        question = speaker.pick(intent["ask"]).format(a="17", b="25")
        yield Case("intents, as trained", [Message("user", question)], intent["answer"])


def answers_to(folder: Path, prompts: list[Conversation], max_tokens: int = 200) -> list[str]:
    """Greedy answers of the model in `folder`, in float32."""
    model, tokenizer = load(str(folder))[:2]
    model.set_dtype(mx.float32)
    encoder = Encoder(folder)
    answers: list[str] = batch_generate(
        model, tokenizer, [encoder.prompt(prompt) for prompt in prompts], max_tokens=max_tokens
    ).texts
    return answers


def score(folder: Path) -> None:
    """Print what is answered exactly right, by ability, and every miss."""
    cases = [*trained_cases(), *held_out_cases()]
    scores: dict[str, list[bool]] = {}
    answers = answers_to(folder, [case.prompt for case in cases])
    for case, answer in zip(cases, answers, strict=True):
        scores.setdefault(case.ability, []).append(answer in case.right)
        if answer not in case.right:
            print(f"{case.ability}: {case.prompt[-1].content!r}: {answer!r}")
    for ability, right in scores.items():
        print(f"| {ability} | {sum(right)}/{len(right)} |")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("train", "export", "score"))
    parser.add_argument("--work", type=Path, help="folder of tokenizer and checkpoint")
    parser.add_argument("--steps", type=int, default=TrainingConfig().steps)
    arguments = parser.parse_args()
    if arguments.command == "score":
        score(arguments.work or SHIPPED)
    elif arguments.work is None:
        parser.error("--work is needed")
    elif arguments.command == "train":
        train(arguments.work, TrainingConfig(steps=arguments.steps))
    else:
        export(arguments.work)


if __name__ == "__main__":
    main()
