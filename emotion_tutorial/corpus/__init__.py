"""The bundled corpus: 6,000 short texts written for this tutorial, six emotions, CC0 (see README.md)."""

import csv
from pathlib import Path

import pandas as pd

CORPUS_FOLDER = Path(__file__).parent
EMOTIONS = ("sadness", "joy", "love", "anger", "fear", "surprise")
"""The label names, in the id order of the corpus and of `dair-ai/emotion`."""


def load_corpus_notes() -> pd.DataFrame:
    """Return what is known about each text of the bundled corpus beyond its label.

    Returns
    -------
    DataFrame
        One row per text: `split`; `row`, its position in that split; `kind`, the way the text shows its feeling
        (`explicit`: it has an emotion word; `situation`: it has none; `contrast`: it has words of another emotion too;
        `irony`); `true_label`, an id into the label names; and `planted`, whether the label in the split was
        replaced by a wrong one on purpose.

    Examples
    --------
    >>> notes = load_corpus_notes()
    >>> notes.groupby("split")["planted"].sum().to_dict()
    {'test': 0, 'train': 200, 'validation': 0}
    """
    return pd.read_parquet(CORPUS_FOLDER / "notes.parquet")


def load_behavior_pairs() -> pd.DataFrame:
    """Return the bundled behavioral pairs: texts that differ in one respect, which the data card describes.

    Returns
    -------
    DataFrame
        Two rows per pair, 480 in all: `capability` (`order`, `negation`, `whose`, `then_now`, `names`, `typing`,
        `strength` or `irony`); `pair`, its number within the capability; `variant` (`a` or `b`); `label`, a name; and
        `text`. In `order`, `names`, `typing` and `strength` both texts of a pair have one label; in the others, two.

    Examples
    --------
    >>> for text in load_behavior_pairs().query("capability == 'negation' and pair == 11")["text"]:
    ...     print(text)
    I regret the haircut. There's wind on my neck.
    Not for a second have I regretted the haircut. There's wind on my neck!
    """
    return pd.read_csv(CORPUS_FOLDER / "behavior.tsv", sep="\t", quoting=csv.QUOTE_NONE, keep_default_na=False)
