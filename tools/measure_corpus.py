"""Describe the bundled corpus, the real data beside it, and how two blind labelings agree with its writer.

`python tools/measure_corpus.py --real FOLDER --blind FILE` prints the tables of the data card, in a minute. FOLDER has
the real train.txt and val.txt. FILE is a table with the columns `kind`, `writer`, `pass_1` and `pass_2`.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import DatasetDict

import emotion_tutorial as et
from emotion_tutorial.corpus import EMOTIONS

FEEL = r"(?i)\b(?:feel\w*|felt)\b"


def describe(splits: DatasetDict) -> dict[str, str]:
    """Return every row of the table for some splits."""
    texts = pd.Series([text for split in splits.values() for text in split["text"]])
    words = texts.str.lower().str.findall(r"[\w']+")
    fours = [tuple(row[i : i + 4]) for row in words for i in range(len(row) - 3)]
    shares = pd.Series(splits["train"]["label"][:]).value_counts(normalize=True).sort_index()
    findings = et.audit(splits)["finding"].value_counts()
    copies = sum(findings.get(name, 0) for name in ("duplicate", "near duplicate", "conflicting label"))
    return {
        "texts": f"{len(texts):,}",
        f"training labels: {', '.join(EMOTIONS)}": " / ".join(f"{share:.1%}" for share in shares),
        "words per text, percentiles 5 / 25 / 50 / 75 / 95": " / ".join(
            f"{value:.0f}" for value in np.percentile(words.map(len), [5, 25, 50, 75, 95])
        ),
        "lower case without punctuation": f"{texts.str.fullmatch('[a-z ]+').mean():.0%}",
        "contain a form of *feel*": f"{texts.str.contains(FEEL).mean():.0%}",
        "different words": f"{len({word for row in words for word in row}):,}",
        "share of distinct runs of four words": f"{len(set(fours)) / len(fours):.1%}",
        "copies within a split, leaks between splits": f"{copies}, {findings.get('leak', 0)}",
    }


def agreement(path: Path) -> pd.DataFrame:
    """Return how often each blind pass gave the writer's label, and both passes the same one, by kind of text."""
    frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE)
    same = pd.DataFrame(
        {
            "first pass = writer": frame["pass_1"] == frame["writer"],
            "second pass = writer": frame["pass_2"] == frame["writer"],
            "first = second pass": frame["pass_1"] == frame["pass_2"],
        }
    )
    by_kind = same.groupby(frame["kind"]).mean()
    by_kind.loc["all"] = same.mean()
    return by_kind.assign(texts=[*frame["kind"].value_counts().sort_index(), len(frame)])


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="folder with the real train.txt and val.txt")
    parser.add_argument("--blind", type=Path, help="table of the blind labelings")
    options = parser.parse_args()
    columns = {"bundled texts": describe(et.load_splits("embedded"))}
    if options.real:
        columns["real tweets"] = describe(et.load_splits(options.real, label_names=EMOTIONS))
    print(pd.DataFrame(columns).to_csv(sep="|"))
    if options.blind:
        print(agreement(options.blind).to_csv(sep="|", float_format="%.3f"))


if __name__ == "__main__":
    main()
