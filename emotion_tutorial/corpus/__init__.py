"""The embedded corpus: 6,000 first-person sentences, six emotions, licence CC0 (see README.md)."""

from pathlib import Path

import pandas as pd

CORPUS_FOLDER = Path(__file__).parent
EMOTIONS = ("sadness", "joy", "love", "anger", "fear", "surprise")
"""The label names, in the id order of the corpus and of ``dair-ai/emotion``."""


def load_label_errors() -> pd.DataFrame:
    """Return the labels of the corpus that are wrong on purpose.

    Returns
    -------
    DataFrame
        `split`, `row`, `label` (as given) and `true_label`, both ids into `EMOTIONS`.
    """
    return pd.read_csv(CORPUS_FOLDER / "label_errors.csv")
