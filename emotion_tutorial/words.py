"""What a word is, in scripts with spaces and without.

Hindi writes vowels as marks, which belong to their word. Chinese, Japanese, Thai, Lao, Khmer and Burmese leave no space
between words; without a dictionary of the language each of their characters is taken as a word of its own.
"""

import unicodedata

import regex

WITHOUT_SPACES = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_CHARACTER = rf"[{WITHOUT_SPACES}][\p{{M}}\u30fc\u200d]*"
_EMOJI = r"\p{Regional_Indicator}{2}|\p{So}(?:[\p{M}\U0001f3fb-\U0001f3ff]|\u200d\p{So})*"
_LETTERS = rf"[\p{{L}}\p{{M}}\p{{N}}_\u200c\u200d--{WITHOUT_SPACES}]+"
LONGEST = 40
"""Characters of a piece of text, such as an address, that count as one word in `word_spans`."""

_WORD = regex.compile(f"{_CHARACTER}|{_EMOJI}|{_LETTERS}", regex.V1)
_PIECE = regex.compile(rf"{_CHARACTER}|[^\s--{WITHOUT_SPACES}]{{1,{LONGEST}}}", regex.V1)


def find_words(text: str) -> list[str]:
    """Return the words of a text, without punctuation: letters with their marks, digits, and emoji.

    Two ways of writing one letter, such as with and without a combining accent, are one word (Unicode NFC).
    """
    return _WORD.findall(unicodedata.normalize("NFC", text))


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return where each piece of a text begins and ends: what white space separates, punctuation included.

    In scripts without spaces each character is a piece, and what is longer than `LONGEST` is divided.
    """
    return [match.span() for match in _PIECE.finditer(text)]
