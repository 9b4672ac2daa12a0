"""Published patterns that cut a text into words before byte-level BPE, each by its first model.

They are regular expressions for Oniguruma (Ruby's syntax, which `tokenizers` uses). There `{1,3}+`
is no possessive quantifier, so patterns of tiktoken that have one are written without it: what they
match is the same, for nothing follows it.
"""

# openai/gpt-2, src/encoder.py
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# openai/tiktoken, tiktoken_ext/openai_public.py: cl100k_base; Llama 3 has the same
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = CL100K.replace("{1,3}", "")  # and Qwen's first: every digit alone
# Qwen3.5: marks stay with their letters
QWEN35 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|"
    r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_ENGLISH_ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED_WORD = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{{ending}}|"
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{{ending}}|"
)


def _cased(digits: str, ending: str) -> str:
    rest = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    return _CASED_WORD.replace("{ending}", ending) + digits + rest


O200K = _cased(r"\p{N}{1,3}", _ENGLISH_ENDING)  # openai/tiktoken: o200k_base
TEKKEN = _cased(r"\p{N}", "")  # mistralai/mistral-common, tekken.json

# moonshotai/Kimi-K2-Instruct, tokenization_kimi.py: Han is cut from other letters
_KIMI_UPPER, _KIMI_LOWER = (letters[:-1] + r"&&[^\p{Han}]]" for letters in (_UPPER, _LOWER))
KIMI = r"[\p{Han}]+|" + O200K.replace(_UPPER, _KIMI_UPPER).replace(_LOWER, _KIMI_LOWER).replace(
    r"[\r\n/]*", r"[\r\n]*"
)
