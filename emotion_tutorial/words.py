"""Decide what a word is, in scripts with spaces and without.

Hindi and other scripts write vowels as marks, which belong to the word that they stand in. Chinese, Japanese, Thai,
Lao, Khmer and Burmese leave no spaces between words. Finding words there takes a dictionary of the language, so each
character counts as a word of its own. Other scripts without spaces, such as Javanese or Balinese, are not supported:
there, everything up to the next space or punctuation mark counts as one word.
"""

import unicodedata

import regex

LONGEST = 40
"""The number of characters after which `word_spans` divides a piece of text that has no spaces, such as an address."""
WITHOUT_SPACES = r"\p{Han}\p{Hiragana}\p{Katakana}\u30fc\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_JOINERS = r"\u200c\u200d"
_TAGS = r"\U000e0020-\U000e007f"  # which make the flags of England and Scotland from a black one

_CHARACTER = rf"[{WITHOUT_SPACES}][\p{{M}}{_JOINERS}]*"
_PICTURE = r"[\p{So}\p{Extended_Pictographic}]"
_EMOJI = rf"\p{{Regional_Indicator}}{{2}}|{_PICTURE}(?:[\p{{M}}\U0001f3fb-\U0001f3ff{_TAGS}]|\u200d{_PICTURE})*"
_LETTERS = rf"[\p{{L}}\p{{N}}_--[{WITHOUT_SPACES}]][\p{{L}}\p{{M}}\p{{N}}_{_JOINERS}--[{WITHOUT_SPACES}]]*"
_WORD = regex.compile(f"{_CHARACTER}|{_EMOJI}|{_LETTERS}", regex.V1)
_PIECE = regex.compile(rf"{_CHARACTER}|[^\s{WITHOUT_SPACES}]{{1,{LONGEST}}}[\p{{M}}{_JOINERS}]*", regex.V1)
_INVISIBLE = regex.compile(rf"[\p{{Cf}}--[{_JOINERS}{_TAGS}]]", regex.V1)


def find_words(text: str) -> list[str]:
    """Return the words of a text without punctuation: letters with their marks, digits, and emoji.

    Two ways to write one letter, such as with and without a combining accent, give one word (Unicode NFC), and
    invisible characters such as soft hyphens are left out.
    """
    return _WORD.findall(_INVISIBLE.sub("", unicodedata.normalize("NFC", text)))


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return where each piece of a text begins and ends.

    A piece is what stands between white space, punctuation included. In scripts without spaces each character is a
    piece of its own, and a piece of more than `LONGEST` characters is divided.
    """
    return [match.span() for match in _PIECE.finditer(text)]
