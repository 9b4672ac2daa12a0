"""How people type: in a hurry, with slips of the finger."""

import random
import re

# What is shorter to type; whole words.
_SHORT = {
    "you": "u", "are": "r", "your": "ur", "you're": "ur", "please": "pls", "thanks": "thx",
    "people": "ppl", "what": "wat", "though": "tho", "because": "cuz", "want to": "wanna",
    "going to": "gonna", "do not know": "dunno", "to": "2", "for": "4", "okay": "ok", "and": "n",
    "with": "w", "about": "abt", "something": "sth", "the": "da", "tell me": "tell me pls",
}  # fmt: skip
_SHORT_WORDS = re.compile(r"\b(" + "|".join(sorted(_SHORT, key=len, reverse=True)) + r")\b")
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_WORDS = re.compile(r"\b[a-z]{3,}\b")
_ENDINGS = ("?", "!", ".", "...", "??", "!!", " ?", " !", " :)", " pls", " please", " plz", " thx")


class Typist:
    """Retypes sentences; every slip is drawn from one random stream."""

    def __init__(self, stream: random.Random) -> None:
        self._random = stream

    def hurried(self, sentence: str) -> str:
        """As it is typed without looking: no capitals, no marks, shorter words, a slip or two."""
        roll = self._random.random
        text = sentence.lower() if roll() < 0.9 else sentence
        if roll() < 0.7:
            text = text.replace("'", "") or text
        if roll() < 0.75:
            text = text.rstrip("?.! ") or text
        if roll() < 0.12:
            text = _SHORT_WORDS.sub(self._shorter, text)
        for share in (0.16, 0.05):
            if roll() < share:
                text = self.slip(text)
        if roll() < 0.12 and text[-1:].isalpha():
            text += self._random.choice(_ENDINGS)
        if roll() < 0.08:
            text = text[:1].upper() + text[1:]
        return text if roll() > 0.02 else text.upper()

    def slip(self, text: str) -> str:
        """One small letter inside of a word lost, doubled, swapped or the key beside it.

        Never in a capitalised word: names stay copyable.
        """
        spots = [
            at for word in _WORDS.finditer(text) for at in range(word.start() + 1, word.end() - 1)
        ]
        if not spots:
            return text
        at = self._random.choice(spots)
        one, two = text[at], text[at + 1]
        slipped = self._random.choice((two, one + one + two, two + one, self._beside(one) + two))
        return text[:at] + slipped + text[at + 2 :]

    def _shorter(self, match: re.Match[str]) -> str:
        return _SHORT[match[1]] if self._random.random() < 0.6 else match[1]

    def _beside(self, letter: str) -> str:
        row = next(row for row in _ROWS if letter in row)
        at = row.index(letter)
        return self._random.choice(row[max(0, at - 1) : at] + row[at + 1 : at + 2])
