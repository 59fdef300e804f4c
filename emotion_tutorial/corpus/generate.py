"""Write the embedded corpus: a small grammar over hand-written fragments.

``python -m emotion_tutorial.corpus.generate`` writes ``train``, ``validation`` and ``test`` as
parquet files next to this module, and ``label_errors.csv``: the labels that are wrong on purpose.
The same seed gives the same rows on every platform, for nothing but ``random.Random`` draws.

The grammar is in ``fragments/``: ``structures.txt`` says how a text is put together, one file per
emotion holds what expresses it, ``neutral.txt`` the circumstances that go with any emotion, and
``lexicon.txt`` the words. ``{name}`` is replaced by a line of that section, ``[a|b]`` by one of
its wordings.
"""

import argparse
import itertools
import random
import re
from pathlib import Path

import pandas as pd

from emotion_tutorial.corpus import CORPUS_FOLDER, EMOTIONS

SIZES = {"train": 4000, "validation": 1000, "test": 1000}
SHARES = (0.292, 0.334, 0.082, 0.135, 0.121, 0.036)  # of 4,000 real training rows, in id order

# Words per text, as (cumulative share, words): the percentiles of 4,000 real training texts.
LENGTHS = ((0.0, 3.0), (0.05, 5.0), (0.25, 10.5), (0.5, 16.0), (0.75, 24.0), (0.95, 39.0), (1.0, 50.0))

# How many texts of a kind, by the number of words wanted: (fewer than, weights of the kinds).
KINDS: tuple[tuple[float, dict[str, float]], ...] = (
    (11, {"named_short": 7, "shorts": 1}),
    (18, {"named": 18, "situations": 1, "reflections": 2, "turns": 2, "ironies": 1}),
    (26, {"named": 8, "set": 4, "contrast": 4, "situations": 1, "reacted": 1, "turns": 1}),
    (float("inf"), {"named": 3, "set": 3, "contrast": 5, "told": 4, "reacted": 1}),
)
COMMON_WORDS = 14
"""So many words of an emotion, the first of its list, are drawn fifteen times as often as the rest."""

# Labels that people confuse: each pair is swapped in both directions, equally often, so that the
# class shares stay as they are. Pairs of wrong labels per 1,000 rows; 25 pairs are 5 %.
SWAPS = {
    ("joy", "love"): 6,
    ("sadness", "anger"): 8,
    ("fear", "surprise"): 2,
    ("sadness", "fear"): 4,
    ("anger", "fear"): 2,
    ("joy", "surprise"): 1,
    ("sadness", "joy"): 2,
}
# Too close to stand in contrast: "not fond, just glad" would puzzle a person too.
NEAR = {frozenset(pair) for pair in (("joy", "love"), ("fear", "surprise"), ("joy", "surprise"))}
TYPO_RATE = 0.06  # of the texts have one
PEOPLE = ("family", "friend", "colleague", "partner", "name", "child")


class Deck:
    """Deal lines in shuffled order, and shuffle again when all were dealt: few repeat."""

    def __init__(self, lines: list[str], rng: random.Random) -> None:
        self._lines, self._rng = lines, rng
        self._left: list[str] = []

    def draw(self) -> str:
        """Return the next line."""
        if not self._left:
            self._left = self._rng.sample(self._lines, len(self._lines))
        return self._left.pop()


def read_sections(path: Path) -> dict[str, list[str]]:
    """Read a fragment file: ``# section`` headings, and the lines below each."""
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            lines = sections.setdefault(line[2:], [])
        elif line:
            lines.append(line)
    return sections


class Grammar:
    """Compose texts of a wanted emotion and length."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._decks = {
            (path.stem, section): Deck(lines + 14 * lines[:COMMON_WORDS] * (section == "words"), rng)
            for path in sorted((CORPUS_FOLDER / "fragments").glob("*.txt"))
            for section, lines in read_sections(path).items()
        }

    def compose(self, emotion: str, words: int) -> str:
        """Return a text of the emotion, with about the wanted number of words."""
        weights = next(weights for below, weights in KINDS if words < below)
        [kind] = self._rng.choices(list(weights), list(weights.values()))
        parts = [self._draw(emotion, kind)]
        # Circumstances are added while the text is too short: some words before it, and behind it.
        opening = "scenes" if kind in ("named", "contrast", "situations", "turns") else None
        if parts[0].startswith("i ") and self._rng.random() < 0.5:
            opening = "asides"
        additions = [] if kind == "named_short" else ["tails", opening, "tails"]
        for addition in additions:
            missing = words - sum(len(part.split()) for part in parts)
            if addition == "tails" and missing > 8:
                parts.append(self._draw(emotion, addition))
            elif addition == "scenes" and missing > 8:
                parts.insert(0, self._draw(emotion, addition) + self._rng.choice((" and", " so", "")))
            elif addition == "asides" and missing > 3:
                parts.insert(0, self._draw(emotion, addition))
        return " ".join(parts)

    def _draw(self, emotion: str, section: str) -> str:
        others = [e for e in EMOTIONS if e != emotion and frozenset((e, emotion)) not in NEAR]
        second, third = self._rng.sample(others, 2)
        # What a structure asks for, and where it is kept; everything else is in the lexicon.
        slots = {
            "word": (emotion, "words"),
            "also": (emotion, "words"),
            "other": (second, "words"),
            "third": (third, "words"),
            "reaction": (emotion, "reactions"),
            "situation": (emotion, "situations"),
            "scene": ("neutral", "scenes"),
            "when_clause": ("neutral", "when"),
            "about": ("neutral", "about"),
            "since": ("neutral", "since"),
        }

        def fill(line: str) -> str:
            line = re.sub(r"\[([^\]]*)\]", lambda m: self._rng.choice(m[1].split("|")), line)
            line = line.replace("{person}", "{" + self._rng.choice(PEOPLE) + "}")
            line = re.sub(r"\{(\w+)\}", lambda m: fill(deal(slots.get(m[1], ("lexicon", m[1])))), line)
            return " ".join(line.split())

        def deal(place: tuple[str, str]) -> str:
            return self._decks[place].draw()

        for file in (emotion, "neutral", "structures"):
            if (file, section) in self._decks:
                return fill(deal((file, section)))
        raise KeyError(section)


def misspell(text: str, rng: random.Random) -> str:
    """Return the text with one typing slip: two letters swapped, one left out, or one doubled."""
    words = text.split()
    candidates = [i for i, word in enumerate(words) if len(word) > 4]
    if not candidates:
        return text
    i = rng.choice(candidates)
    word, at = words[i], rng.randrange(1, len(words[i]) - 2)
    words[i] = rng.choice(
        (
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
        )
    )
    return " ".join(words)


def draw_length(rng: random.Random) -> int:
    """Draw a number of words from the distribution of the real texts."""
    share = rng.random()
    for (low, short), (high, long) in itertools.pairwise(LENGTHS):
        if share < high:
            return round(short + (long - short) * (share - low) / (high - low))
    raise AssertionError(share)


def build_corpus(seed: int = 0) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Compose all splits.

    Returns
    -------
    splits : dict of DataFrame
        Split name to ``text`` (str) and ``label`` (int64, an index into ``EMOTIONS``).
    label_errors : DataFrame
        One row per wrong label: ``split``, ``row``, ``label`` (as given), ``true_label``.
    """
    rng = random.Random(seed)
    grammar = Grammar(rng)
    seen: set[str] = set()
    splits, errors = {}, []
    for split, size in SIZES.items():
        labels = [label for label, share in enumerate(SHARES) for _ in range(round(share * size))]
        rng.shuffle(labels)
        texts = []
        for label in labels:
            text = compose_new(grammar, EMOTIONS[label], draw_length(rng), seen)
            texts.append(misspell(text, rng) if rng.random() < TYPO_RATE else text)
        if split != "test":
            for row, wrong in swap_labels(labels, size // 1000, rng):
                errors.append((split, row, wrong, labels[row]))
                labels[row] = wrong
        splits[split] = pd.DataFrame({"text": texts, "label": labels})
    errors.sort()
    return splits, pd.DataFrame(errors, columns=["split", "row", "label", "true_label"])


def compose_new(grammar: Grammar, emotion: str, words: int, seen: set[str]) -> str:
    """Compose a text that is not in `seen`, and add it there; "sad and sad" is composed again."""
    while True:
        text = grammar.compose(emotion, words)
        if text not in seen and not re.search(r"\b(\w+(?: \w+){0,3}) and \1\b", text):
            seen.add(text)
            return text


def swap_labels(labels: list[int], thousands: int, rng: random.Random) -> list[tuple[int, int]]:
    """Choose rows to mislabel; return them with their wrong labels."""
    rows = {label: [row for row, given in enumerate(labels) if given == label] for label in set(labels)}
    for candidates in rows.values():
        rng.shuffle(candidates)
    wrong = []
    for (first, second), pairs in SWAPS.items():
        a, b = EMOTIONS.index(first), EMOTIONS.index(second)
        for _ in range(pairs * thousands):
            wrong += [(rows[a].pop(), b), (rows[b].pop(), a)]
    return wrong


def main() -> None:
    """Write the corpus into a folder, by default the package's own."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--folder", type=Path, default=CORPUS_FOLDER)
    folder = parser.parse_args().folder
    splits, errors = build_corpus()
    for split, frame in splits.items():
        frame.to_parquet(folder / f"{split}.parquet", index=False)
    errors.to_csv(folder / "label_errors.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
