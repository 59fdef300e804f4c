"""Measure the embedded corpus, and the real data beside it, for the table of the data card.

``python tools/measure_corpus.py --real FOLDER`` prints the table (about 8 minutes on two CPU
cores). FOLDER has the real `train.txt` and `val.txt`; without it, only the corpus is measured.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import DatasetDict, concatenate_datasets
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import emotion_tutorial as et
from emotion_tutorial.corpus import EMOTIONS
from emotion_tutorial.exceptions import DataWarning

ROWS = 4000
FEEL = r"\b(?:feel\w*|felt)\b"


def measure(splits: DatasetDict) -> dict[str, str]:
    """Return every row of the table for training rows and a test split."""
    train, test = splits["train"], splits["test"]
    texts = pd.Series([text for split in splits.values() for text in split["text"]])
    words = texts.str.split()
    fours = [tuple(row[i : i + 4]) for row in words for i in range(len(row) - 3)]
    shares = pd.Series(train["label"][:]).value_counts(normalize=True).sort_index()
    y_train, y_test = train["label"][:], np.array(test["label"][:])
    tfidf = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(train["text"][:], y_train)
    findings = et.audit(splits)["finding"].value_counts()
    return {
        "class shares, training rows": " ".join(f"{share:.3f}".lstrip("0") for share in shares),
        "words per text, percentiles 5 / 25 / 50 / 75 / 95": " / ".join(
            f"{value:.0f}" for value in np.percentile(words.map(len), [5, 25, 50, 75, 95])
        ),
        "lower case, no punctuation": f"{texts.str.fullmatch('[a-z ]+').mean():.0%}",
        "contain a form of *feel*": f"{texts.str.contains(FEEL).mean():.0%}",
        "distinct words": f"{len({word for row in words for word in row}):,}",
        "distinct 4-grams / 4-grams": f"{len(set(fours)) / len(fours):.3f}",
        "duplicates within / across splits": (
            f"{findings.get('duplicate', 0) + findings.get('conflicting label', 0)} / {findings.get('leak', 0)}"
        ),
        "TF-IDF + logistic regression, defaults, test": f"{tfidf.score(test['text'][:], y_test):.3f}",
        "[CLS] probe, embedded encoder, test": f"{probe_score(splits):.3f}",
        "fine-tuned embedded encoder, 3 epochs, test": f"{finetuned_score(splits):.3f}",
    }


def probe_score(splits: DatasetDict) -> float:
    """Return the test accuracy of a probe on frozen [CLS] features."""
    features = et.extract_hidden_states(splits, et.load_encoder("embedded"), et.load_tokenizer("embedded"), cache=False)
    return et.fit_probe(*et.feature_matrix(features["train"])).score(*et.feature_matrix(features["test"]))


def finetuned_score(splits: DatasetDict) -> float:
    """Return the test accuracy after three epochs."""
    profile = et.get_profile("quick", epochs=3)
    tokenized = et.tokenize(splits, et.load_tokenizer("embedded"))
    with tempfile.TemporaryDirectory() as folder:
        trainer = et.build_trainer(tokenized, "embedded", output_dir=folder, **profile.hyperparameters)
        trainer.train()
        output = trainer.predict(tokenized["test"])
    return float((np.argmax(output.predictions, axis=1) == output.label_ids).mean())


def load_real(folder: Path) -> DatasetDict:
    """Take the first 4,000 real training rows; validation and test are the halves of `val.txt`."""
    parts = {}
    for name in ("train", "val"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # the cut is undone below
            splits = et.load_splits(folder / f"{name}.txt", label_names=EMOTIONS)
        parts[name] = concatenate_datasets(list(splits.values())).shuffle(seed=0)
    halves = len(parts["val"]) // 2
    return DatasetDict(
        train=parts["train"].select(range(ROWS)),
        validation=parts["val"].select(range(halves)),
        test=parts["val"].select(range(halves, len(parts["val"]))),
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="folder with the real train.txt and val.txt")
    options = parser.parse_args()
    start = time.perf_counter()
    columns = {}
    if options.real:
        columns[f"real data, {ROWS:,} training rows"] = measure(load_real(options.real))
    columns["corpus"] = measure(et.load_splits("embedded"))
    table = pd.DataFrame(columns)
    print(f"\n| property | {' | '.join(table.columns)} |")
    print("|---" * (len(table.columns) + 1) + "|")
    for name, row in table.iterrows():
        print(f"| {name} | {' | '.join(row)} |")
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
