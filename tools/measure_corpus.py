"""Describe the bundled corpus, the real data beside it, and how two blind labelings agree with its writer.

`python tools/measure_corpus.py --real FOLDER --blind FILE --behavior FILE` prints the tables of the data card, in a
minute. FOLDER has the real train.txt and val.txt. The first FILE has the columns `kind`, `writer`, `pass_1` and
`pass_2`, the second `capability`, `pair`, `variant`, `first_pass` and `second_pass`.
"""

import argparse
import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import DatasetDict

import emotion_tutorial as et
from emotion_tutorial.corpus import EMOTIONS

FEEL = r"(?i)\b(?:feel\w*|felt)\b"
LEXICON = {
    "sadness": "sad(?!dl)|lonel|guilt|asham|heartbr|disappoint|miser|gutted|grie|cried|crying|homesick|regret|hopeless",
    "joy": "happ|joy|glad|proud|pride|delight|thrill|relie|excit|laugh|grin|cheer|chuffed|elat|content|hope(?!less)",
    "love": "love(?!ly)|loving|ador|fond|tender|darling|smitten|besotted|devot|cherish|affection",
    "anger": "angr|anger|furious|fury|livid|rag(?:e|ing)|annoy|irritat|fum(?:e|ing)|seeth|resent|jealous|env[iy]|cross",
    "fear": "afraid|fear|scare|terrif|terror|fright|worr|anxi|nerv|panic|dread|petrif",
    "surprise": "surpris|astonish|astound|amaz|stun|shock|speechless|gobsmack|baffl|dumbf|flabberg",
}
"""How words of an emotion begin: a rough list that misses many and knows nothing of negation."""


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


def read_blind(path: Path) -> pd.DataFrame:
    """Return a table of blind labelings, with every value as a string."""
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE)


def agreement(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return how often each blind pass gave the writer's label, and both passes the same one, for each group."""
    same = pd.DataFrame(
        {
            "first pass = writer": frame["pass_1"] == frame["writer"],
            "second pass = writer": frame["pass_2"] == frame["writer"],
            "first = second pass": frame["pass_1"] == frame["pass_2"],
        }
    )
    groups = same.groupby(frame[by], sort=False)
    by_group = groups.mean()
    by_group.loc["all"] = same.mean()
    return by_group.assign(texts=[*groups.size(), len(frame)])


def describe_pairs(blind: Path) -> pd.DataFrame:
    """Return, for each capability of the behavioral pairs, their number, their labels, and how the passes agree."""
    pairs = et.load_behavior_pairs().astype(str)
    labels = pairs.groupby(["capability", "pair"], sort=False)["label"].nunique().groupby("capability", sort=False)
    counts = pd.DataFrame({"pairs": labels.size(), "one label": labels.agg(lambda found: (found == 1).sum())})
    counts.loc["all"] = counts.sum()
    labeled = pairs.merge(read_blind(blind), on=["capability", "pair", "variant"])
    names = {"label": "writer", "first_pass": "pass_1", "second_pass": "pass_2"}
    return counts.join(agreement(labeled.rename(columns=names), "capability"))


def count_last_feelings() -> pd.DataFrame:
    """Return how many texts have words of several emotions, their label's among them, and in how many it comes last.

    The rows are the contrast texts, and the variants of each capability of the behavioral pairs.
    """
    notes, splits, pairs = et.load_corpus_notes(), et.load_splits("embedded"), et.load_behavior_pairs()
    texts = [text for split in notes["split"].unique() for text in splits[split]["text"]]
    notes = notes.assign(text=texts, label=notes["true_label"].map(dict(enumerate(EMOTIONS))), group="contrast texts")
    pairs["group"] = pairs["capability"] + " " + pairs["variant"]
    frame = pd.concat([notes[notes["kind"] == "contrast"], pairs])
    words = re.compile("|".join(rf"\b(?P<{name}>{stems})" for name, stems in LEXICON.items()), re.IGNORECASE)
    rows = []
    for group, label, text in zip(frame["group"], frame["label"], frame["text"], strict=True):
        found = [match.lastgroup for match in words.finditer(text)]
        several = label in found and len({*found}) > 1
        rows.append((group, 1, several, several and found[-1] == label))
    columns = ["group", "texts", "several emotions, the label's among them", "the label's comes last"]
    return pd.DataFrame(rows, columns=columns).groupby("group", sort=False).sum()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="folder with the real train.txt and val.txt")
    parser.add_argument("--blind", type=Path, help="table of the blind labelings")
    parser.add_argument("--behavior", type=Path, help="table of the blind labelings of the behavioral pairs")
    options = parser.parse_args()
    columns = {"bundled texts": describe(et.load_splits("embedded"))}
    if options.real:
        columns["real tweets"] = describe(et.load_splits(options.real, label_names=EMOTIONS))
    print(pd.DataFrame(columns).to_csv(sep="|"))
    print(count_last_feelings().to_csv(sep="|"))
    if options.blind:
        print(agreement(read_blind(options.blind), "kind").to_csv(sep="|", float_format="%.3f"))
    if options.behavior:
        print(describe_pairs(options.behavior).to_csv(sep="|", float_format="%.3f"))


if __name__ == "__main__":
    main()
