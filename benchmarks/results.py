"""Measure everything that the course prints and does not compute live, in parts that can be run alone.

`python benchmarks/results.py --tweets FOLDER` runs the parts that are not yet in docs/results.json, one after the
other, and writes each down as soon as it is done: what was predicted for each text into docs/predictions.parquet, how
probable each given label is into docs/label_errors.parquet, what taking words out does into docs/deletions.parquet, and
what follows from these into docs/results.json. An interrupted part goes on with the training in which it was. Trained
models are kept in the folder `build/results`.

`--parts NAME ...` runs only these, again if they are there. FOLDER has the published train.txt, val.txt and test.txt of
dair-ai/emotion. `python benchmarks/prediction_speed.py` adds the part that needs an idle machine. `python
benchmarks/tables.py` then writes the tables and figures that are made from the numbers.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from scipy.special import softmax
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from summaries import OF_FILES, rounded

import emotion_tutorial as et
from emotion_tutorial.caching import digest
from emotion_tutorial.corpus import EMOTIONS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RESULTS = DOCS / "results.json"
PREDICTIONS, LABEL_ERRORS, DELETIONS = (
    DOCS / f"{name}.parquet" for name in ("predictions", "label_errors", "deletions")
)
TRAINED = ROOT / "build" / "results"
SEEDS = (0, 1, 2)
FOLDS = 3
"""Of the search for wrong labels: as many for each judge."""
JUDGES = ("bag_of_words", "probe", "fine_tuned", "combined")
DELETED = 200
"""The number of validation texts of which words are taken out."""
PLANTED = 0.05
"""The share of the tweets' labels that are replaced, before wrong ones are looked for."""

Rows = pd.DataFrame


class Texts:
    """The two sets of texts, with the profile that fits each."""

    def __init__(self, tweets: Path | None):
        self.profiles = {"bundled": et.get_profile("quick"), "tweets": et.get_profile("real")}
        self.folder = tweets
        self.loaded: dict[str, DatasetDict] = {}

    def __getitem__(self, data: str) -> DatasetDict:
        if data not in self.loaded:
            if data == "tweets" and self.folder is None:
                raise SystemExit("Name the folder of the tweets: --tweets FOLDER")
            source = "embedded" if data == "bundled" else self.folder
            self.loaded[data] = et.load_splits(source, label_names=EMOTIONS)
        return self.loaded[data]


def rows_of(dataset: Dataset, predicted: np.ndarray, **about: Any) -> Rows:
    """Return one row for each text: its true and predicted id and, if they were given, the label's probabilities."""
    frame = pd.DataFrame(about | {"row": np.arange(len(dataset)), "label": dataset["label"][:]})
    probabilities = predicted if predicted.ndim == 2 else np.full((len(dataset), len(EMOTIONS)), np.nan)
    frame["predicted"] = predicted.argmax(axis=1) if predicted.ndim == 2 else predicted
    columns = pd.DataFrame(probabilities.astype(np.float32), columns=EMOTIONS)
    return pd.concat([frame.astype({"label": "int8", "predicted": "int8", "row": "int32"}), columns], axis=1)


def cheap_classifiers(splits: DatasetDict) -> dict[str, Any]:
    """Return the classifiers of texts that need no encoder, fitted."""
    texts, y = splits["train"]["text"][:], splits["train"]["label"][:]
    return {
        "majority": DummyClassifier(strategy="most_frequent").fit(texts, y),
        "TF-IDF": make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, y),
        "bag of words": et.fit_bag_of_words(texts, y, tune=True),
    }


def behavior_pairs() -> Dataset:
    """Return the behavioral pairs as a data set of texts and labels."""
    pairs = et.load_behavior_pairs()
    columns = {"text": pairs["text"].tolist(), "label": pairs["label"].map(EMOTIONS.index).tolist()}
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(EMOTIONS))})
    return Dataset.from_dict(columns, features=features)


def judged_texts(data: str, splits: DatasetDict) -> dict[str, Dataset]:
    """Return what is predicted: validation, test and, for a model of the bundled texts, the pairs."""
    judged = {split: splits[split] for split in ("validation", "test")}
    return judged | ({"pairs": behavior_pairs()} if data == "bundled" else {})


def scores(data: str, texts: Texts) -> Rows:
    """Predict validation, test and pairs with every classifier."""
    splits, profile = texts[data], texts.profiles[data]
    judged = judged_texts(data, splits)
    found = []
    for method, classifier in cheap_classifiers(splits).items():
        for split, dataset in judged.items():
            predicted = classifier.predict(dataset["text"][:])
            found.append(rows_of(dataset, predicted, data=data, split=split, method=method, seed=0))
    encoder, tokenizer = et.load_encoder(profile.checkpoint), et.load_tokenizer(profile.checkpoint)
    parts = DatasetDict(train=splits["train"], **judged)
    poolings: dict[str, Any] = {"probe on [CLS]": "cls", "probe": "mean"}
    for method, pooling in poolings.items():
        features = et.extract_hidden_states(parts, encoder, tokenizer, pooling=pooling, cache=False)
        probe = et.fit_probe(*et.feature_matrix(features["train"]), tune=True)
        for split, dataset in judged.items():
            predicted = probe.predict(et.feature_matrix(features[split])[0])
            found.append(rows_of(dataset, predicted, data=data, split=split, method=method, seed=0))
    return pd.concat([*found, *fine_tuned(data, texts, "fine-tuned")], ignore_index=True)


def fine_tuned(data: str, texts: Texts, method: str, **settings: Any) -> Iterator[Rows]:
    """Fine-tune once for each seed, and predict."""
    splits, profile = texts[data], texts.profiles[data]
    for seed in SEEDS:
        trainer: Any = et.load_or_train(splits, profile, folder=TRAINED, seed=seed, **settings)
        for split, dataset in judged_texts(data, splits).items():
            logits = trainer.predict(et.tokenize(dataset, trainer.processing_class)).predictions
            probabilities = softmax(logits.astype(np.float64), axis=1)
            yield rows_of(dataset, probabilities, data=data, split=split, method=method, seed=seed)


def class_weights(texts: Texts) -> Rows:
    """Fine-tune with class weights, as long as without; keep the epoch with the best macro F1."""
    settings = {"class_weights": "balanced", "metric_for_best_model": "macro_f1"}
    found = pd.concat(fine_tuned("bundled", texts, "fine-tuned, class weights", **settings), ignore_index=True)
    return found[found["split"] == "validation"]


def label_errors(data: str, texts: Texts) -> Rows:
    """Ask each judge about the labels of 4,000 training texts, of which one in twenty is wrong."""
    train, profile = texts[data]["train"].select(range(4000)), texts.profiles[data]
    truth = np.array(train["label"][:])
    given = truth.copy()
    if data == "bundled":
        truth = et.load_corpus_notes().query("split == 'train'").sort_values("row")["true_label"].to_numpy()
    else:
        random = np.random.default_rng(0)
        rows = random.choice(len(given), round(PLANTED * len(given)), replace=False)
        given[rows] = (given[rows] + random.integers(1, len(EMOTIONS), size=len(rows))) % len(EMOTIONS)
    found = []
    for judge in JUDGES:
        how: dict[str, Any] = {"method": judge, "folds": FOLDS, "profile": profile}
        frame = et.find_label_errors(train["text"][:], given, EMOTIONS, **how).sort_index()
        about = {"data": data, "method": judge.replace("_", " "), "row": frame.index, "label": given, "truth": truth}
        frame["suggested"] = frame["suggested_label"].map(EMOTIONS.index)
        found.append(pd.DataFrame(about).join(frame[["suggested", "score", "likely_error"]]))
    small = {"row": "int32", "label": "int8", "truth": "int8", "suggested": "int8", "score": "float32"}
    return pd.concat(found, ignore_index=True).astype(small)


def deletions(texts: Texts) -> Rows:
    """Take out each word of some validation texts, one at a time, and see how the label's probability falls."""
    splits, profile = texts["bundled"], texts.profiles["bundled"]
    trainer: Any = et.load_or_train(splits, profile, folder=TRAINED, seed=SEEDS[0])
    model, tokenizer = trainer.model, trainer.processing_class
    found = []
    for row, text in enumerate(splits["validation"]["text"][:DELETED]):
        explanation = et.explain(text, model, tokenizer)
        words = explanation["word"].tolist()
        shortened = [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]
        probabilities = et.predict_proba([" ".join(words), *shortened], model, tokenizer, progress=False).to_numpy()
        label = probabilities[0].argmax()
        about = {
            "row": row,
            "word": words,
            "attribution": explanation["attribution"],
            "before": probabilities[0, label],
        }
        changed = probabilities[1:].argmax(axis=1) != label
        found.append(pd.DataFrame(about | {"after": probabilities[1:, label], "label_changes": changed}))
    return pd.concat(found, ignore_index=True).astype(dict.fromkeys(("attribution", "before", "after"), "float32"))


PARTS: dict[str, tuple[Path, Callable[[Texts], Rows]]] = {
    "bundled": (PREDICTIONS, lambda texts: scores("bundled", texts)),
    "class weights": (PREDICTIONS, class_weights),
    "deletions": (DELETIONS, deletions),
    "label errors, bundled": (LABEL_ERRORS, lambda texts: label_errors("bundled", texts)),
    "label errors, tweets": (LABEL_ERRORS, lambda texts: label_errors("tweets", texts)),
    "tweets": (PREDICTIONS, lambda texts: scores("tweets", texts)),
}
"""The file into which each part goes, and what measures it; the test split of the tweets comes last."""


def read(path: Path) -> Rows:
    """Return what has been measured so far."""
    return pd.read_parquet(path) if path.is_file() else pd.DataFrame({"part": []})


def run(part: str, texts: Texts) -> None:
    """Measure one part, and write down what was found, in which circumstances."""
    path, measure = PARTS[part]
    data = "tweets" if "tweets" in part else "bundled"
    start = time.perf_counter()
    rows = measure(texts)
    about = circumstances(texts[data], texts.profiles[data], SEEDS, start)
    write(part, about, {path: rows})
    print(f"{part}: {about['seconds']} s", flush=True)


def circumstances(
    splits: DatasetDict, profile: et.Profile, seeds: Sequence[int], start: float, *packages: str
) -> dict[str, Any]:
    """Say what was measured since `start`, with which versions of these packages and of the usual ones, and where."""
    return {
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
        ).stdout.strip(),
        "machine": machine(),
        "seconds": round(time.perf_counter() - start),
        "versions": {
            name: importlib.metadata.version(name) for name in ("torch", "transformers", "scikit-learn", *packages)
        },
        "data": digest(*splits.values()),
        "rows": {split: len(dataset) for split, dataset in splits.items()},
        "settings": profile.hyperparameters | {"seed": list(seeds)},
        "checkpoint": profile.checkpoint,
    }


def write(part: str, about: dict[str, Any], found: dict[Path, Rows]) -> dict[str, Any]:
    """Replace the rows of a part in files that lie in one folder, and return what results.json beside them now says."""
    for path, rows in found.items():
        before = read(path)
        others, rows = before[before["part"] != part], rows.assign(part=part)
        kept = pd.concat([others, rows], ignore_index=True) if len(others) else rows
        few_values = [
            name for name in ("part", "method", "data", "split", "without", "measure", "what") if name in kept
        ]
        kept.astype(dict.fromkeys(few_values, "category")).to_parquet(path, compression="zstd")
    file = path.with_name(RESULTS.name)
    results = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    results.setdefault("parts", {})[part] = about
    results = summarize(results, file.parent)
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


def summarize(results: dict[str, Any], folder: Path = DOCS) -> dict[str, Any]:
    """Compute from the files in a folder whatever can be computed from the parts that are there."""
    found = {"parts": results["parts"]}
    for name, summaries in OF_FILES.items():
        rows = read(folder / f"{name}.parquet")
        found |= {key: rounded(summary(rows)) for key, summary in summaries.items() if len(rows)}
    return {name: summary for name, summary in found.items() if summary}


def machine() -> str:
    """Name the processor, its number of cores, and what it has to compute in bfloat16 and int8."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.is_file() else ""
    model = re.search(r"model name\s*: (.+)", text)
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    fast = [flag for flag in wanted if f" {flag}" in text]
    return f"{os.cpu_count()} cores, {model[1] if model else platform.processor()} ({', '.join(fast)})"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tweets", type=Path, help="folder with the published train.txt, val.txt and test.txt")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="only these, also if they are there")
    options = parser.parse_args()
    there = json.loads(RESULTS.read_text(encoding="utf-8")).get("parts", {}) if RESULTS.is_file() else {}
    for part in options.parts or [part for part in PARTS if part not in there]:
        run(part, Texts(options.tweets))


if __name__ == "__main__":
    main()
