"""Texts on which two tokenizers have to agree: written by hand, and drawn with a seed.

Many scripts, marks, emoji with joiners, code, spaces of all kinds, control characters, digits,
special tokens in the middle of words.
"""

import random

_BY_HAND = [
    "",
    " ",
    "  ",
    "\n",
    "The quick",
    " The quick",
    "The quick brown fox doesn't jump; it'll SLEEP, I'VE heard.",
    "  two  spaces\n\n\nand lines\t\ttabs  ",
    "Grüße aus Köln! 日本語のテキスト 🙂🚀 — naïve café, Ελληνικά, русский ½ Ⅷ",
    "cafe\u0301 un-normalised, and \u00e9 normalised, e\u0323\u0302",
    "def f(x: int) -> str:\n    return f'{x:>10}' if x != 3.14159 else \"no\"  # 1234567\r\n",
    "1 12 123 1234 12345 1,000,000 0x1F ٣٤٥ १२३",
    "a\u0000b \u200b zero \ufeff width",
    "<tool>x <tool> y </tool>  z <tool><tool>",
    "[INST] a|b aa|bb [/INST]</s><s>",
    "\t\t\tif (a) {\r\n\r\n}",
    "한국어 문장입니다. 가나다 \u1100\u1161\u11a8",
    "か\u3099 ガ ｶﾞ",
    "ﬁne ﬀ Å ① ㍿ ＡＢＣ　全角",
    "العربية مَرْحَبًا",
    "हिन्दी नमस्ते",
    "ไทย ภาษา",
    "עברית שָׁלוֹם",
    "\u0001\u0007\u001b[0m",
    "\u0085\u00a0\u2003\u2028\u2029\u3000",
    "a" * 24,
    " " * 40 + "x" + " " * 17,
    "\n" * 20,
    "▁▁ literal ▁",
    "👨‍👩‍👧‍👦🏳️‍🌈🇩🇪👍🏽",
    "ſ K İ ı ẞ ß Σς",
    "https://example.com/a?b=c&d=%20e#f",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠜎𠜱",
    "E\u0301 O\u0308 É",
    "\ufffd\u00ad\u2060",
    "漢字Kanji仮名kana漢字123abc",
]
_PIECES = [
    *("The", " quick", " fox", "don't", "HELLO", "World", "'s", "'LL", "A", "b", "x", "aa", "ab"),
    *("  ", " ", "\n", "\n\n", "\r\n", "\t", "\u3000", "\u00a0", "\u200b", "▁"),
    *("Grüße", "ß", "İ", "日本", "語", "한국", "العَ", "नमस्ते", "か\u3099", "\u1100\u1161", "𝔘", "①"),
    *("e\u0301", "\u0301", "\u0302", "🙂", "👩‍👩‍👧", "\u0007", "\u0000"),
    *("12", "3", "٣", ".", ",", "{", "}", "(x)", "_", " -", "—", "a|b", "<tool>", "</tool>"),
]


def _drawn(count: int) -> list[str]:
    draw = random.Random(7)
    return ["".join(draw.choices(_PIECES, k=draw.randint(1, 14))) for _ in range(count)]


TEXTS = _BY_HAND + _drawn(200)
"""All of them."""

TRAINING = [text for text in _BY_HAND if text.strip() and "\0" not in text] * 4 + [
    "The quick brown fox jumps over the lazy dog, and the other foxes jump over it too.",
    "It is the time for all good people to come to the aid of the party, isn't it?",
] * 8
"""What small vocabularies are learnt from."""
