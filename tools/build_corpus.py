"""Split the texts of the bundled corpus, and plant wrong labels.

``python tools/build_corpus.py`` reads ``emotion_tutorial/corpus/texts/`` and writes the parquet files beside that
folder. The same texts always give the same files.
"""

import random
from pathlib import Path

import pandas as pd

from emotion_tutorial.corpus import CORPUS_FOLDER, EMOTIONS

DEAL = ("train", "train", "train", "train", "validation", "test")
"""The texts of each label and kind are dealt to these splits in turn, which gives 4,000, 1,000 and 1,000 texts."""
PLANTED_SHARE = {"train": 0.05, "validation": 0.0, "test": 0.0}


def build_corpus(seed: int = 0) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Return the splits and what is known about each text.

    Returns
    -------
    splits : dict of DataFrame
        By split: `text` and `label` (int64, an index into `EMOTIONS`).
    notes : DataFrame
        As `load_corpus_notes` returns them.
    """
    rng = random.Random(seed)
    texts = pd.concat(map(_read_texts, EMOTIONS), ignore_index=True)
    shuffled = texts.sample(frac=1, random_state=seed).sort_values(["true_label", "kind"], kind="stable")
    shuffled["split"] = [DEAL[place % len(DEAL)] for place in range(len(shuffled))]
    splits, notes = {}, []
    for split in dict.fromkeys(DEAL):
        rows = shuffled[shuffled["split"] == split].sample(frac=1, random_state=seed).reset_index(drop=True)
        rows["label"] = rows["true_label"]
        for row in sorted(rng.sample(range(len(rows)), round(PLANTED_SHARE[split] * len(rows)))):
            others = [label for label in range(len(EMOTIONS)) if label != rows.loc[row, "true_label"]]
            rows.loc[row, "label"] = rng.choice(others)
        splits[split] = rows[["text", "label"]]
        rows = rows.assign(row=rows.index, planted=rows["label"] != rows["true_label"])
        notes.append(rows[["split", "row", "kind", "true_label", "planted"]])
    return splits, pd.concat(notes, ignore_index=True)


def _read_texts(emotion: str) -> pd.DataFrame:
    lines = (CORPUS_FOLDER / "texts" / f"{emotion}.tsv").read_text(encoding="utf-8").splitlines()
    frame = pd.DataFrame([line.split("\t") for line in lines], columns=["kind", "text"])
    return frame.assign(true_label=EMOTIONS.index(emotion))


def main(folder: Path = CORPUS_FOLDER) -> None:
    """Write the splits and the notes as parquet files."""
    splits, notes = build_corpus()
    for name, frame in {**splits, "notes": notes}.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)


if __name__ == "__main__":
    main()
