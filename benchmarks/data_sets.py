"""Look at both data sets as notebook 1 does: `python benchmarks/data_sets.py --tweets FOLDER`, a few seconds.

FOLDER has the published train.txt, val.txt and test.txt. What is found goes to docs/data_sets.parquet and
docs/results.json; `python benchmarks/tables.py` makes the table. Labels are counted, and no model is asked.
"""

import argparse
import time
from itertools import combinations
from pathlib import Path

import pandas as pd
from datasets import DatasetDict
from results import DOCS, circumstances, write

import emotion_tutorial as et

DATA_SETS = DOCS / "data_sets.parquet"
PATTERNS = {
    "capital letters": r"[A-Z]",
    "punctuation": r"[.,;:!?]",
    "remains of HTML": r"<\w+|&\w+;|\b(?:href|http|nbsp)\b",
    "a form of 'feel'": r"(?i)\b(?:feel|felt)",
}
"""Those of the patterns of notebook 1 that tell the two apart."""


def describe(splits: DatasetDict) -> dict[str, float]:
    """Return what notebook 1 counts, in the training texts if nothing else is said."""
    frames = {name: et.to_frame(splits[name]) for name in splits}
    train = frames["train"]
    counts = train["label"].value_counts()
    tokenizer = et.load_tokenizer("embedded")
    lengths = [len(ids) for frame in frames.values() for ids in tokenizer(frame["text"].tolist())["input_ids"]]
    copies = train[train.duplicated("text", keep=False)].groupby("text")["label"].nunique()
    found = {
        "training texts": len(train),
        "most common label, share": counts.iloc[0] / len(train),
        "most common over rarest label": counts.iloc[0] / counts.iloc[-1],
        "median length, words": train["text"].map(lambda text: len(text.split())).median(),
        "longest text of all splits, tokens": max(lengths),
    }
    found |= {f"with {name}": train["text"].str.contains(pattern).mean() for name, pattern in PATTERNS.items()}
    found |= {"texts that occur again": len(copies), "of these, with another label": (copies > 1).sum()}
    for one, other in combinations(frames, 2):
        both = set(frames[one]["text"]) & set(frames[other]["text"])
        found[f"in {one} and in {other}"] = len(both)
    return {name: float(value) for name, value in found.items()}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tweets", type=Path, required=True, help="folder with the published texts")
    options = parser.parse_args()
    start = time.perf_counter()
    bundled = et.load_splits("embedded")
    names = bundled["train"].features["label"].names
    tweets = et.load_splits(options.tweets, label_names=names)
    rows = [
        {"data": data, "measure": measure, "value": value}
        for data, splits in {"bundled": bundled, "tweets": tweets}.items()
        for measure, value in describe(splits).items()
    ]
    about = circumstances(bundled, et.get_profile("quick"), range(1), start)
    write("data sets", about, {DATA_SETS: pd.DataFrame(rows)})
    print(pd.DataFrame(rows).pivot_table("value", "measure", "data", sort=False).to_string())


if __name__ == "__main__":
    main()
