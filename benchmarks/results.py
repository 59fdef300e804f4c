"""Measure the models of notebooks 3 and 4 on the bundled texts and on real tweets, and write the numbers down.

`python benchmarks/results.py --real FOLDER` measures, and writes docs/results.json and the tables that are made from it
in the README, the data card and the notebooks. FOLDER has the real train.txt and val.txt; their test split is cut from
train. Without `--real`, only the tables are written again.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from datasets import DatasetDict
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tables import pages, refresh

import emotion_tutorial as et
from emotion_tutorial.caching import digest
from emotion_tutorial.corpus import EMOTIONS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results.json"
FIGURE = ROOT / "docs" / "images" / "results.png"
SEEDS = (0, 1, 2)
NAMES = {
    "majority": "majority class",
    "tfidf": "TF-IDF and logistic regression, scikit-learn's defaults",
    "bag_of_words": "bag of words, `fit_bag_of_words`",
    "probe_cls": "probe on [CLS]",
    "probe_mean": "probe on the mean",
    "fine_tuned": "fine-tuned, mean of three seeds",
}
KINDS = ("explicit", "situation", "contrast", "irony")
DRAWN = {"bag_of_words": "#7f8c99", "probe_mean": "#56b4e9", "fine_tuned": "#d55e00"}
"""The models in the figure, and their colors."""


def score(y: np.ndarray, runs: list[np.ndarray]) -> dict[str, Any]:
    """Return accuracy and macro F1, means over runs of (texts,) ids, and the 95% interval over the texts."""
    overall = [et.evaluate(y, predicted, EMOTIONS).query("name == 'overall'").set_index("metric") for predicted in runs]
    right = np.mean([predicted == y for predicted in runs], axis=0)
    drawn = np.random.default_rng(0).integers(len(y), size=(2000, len(y)))
    low, high = np.percentile(right[drawn].mean(axis=1), [2.5, 97.5])
    found = {"accuracy": right.mean(), "low": low, "high": high}
    found["macro_f1"] = np.mean([frame.loc["macro_f1", "value"] for frame in overall])
    if len(runs) > 1:
        found["std"] = np.std([(predicted == y).mean() for predicted in runs], ddof=1)
    rounded = {name: round(float(value), 4) for name, value in found.items()}
    return rounded | ({"seeds": [round(float((run == y).mean()), 4) for run in runs]} if len(runs) > 1 else {})


def fit_cheap(splits: DatasetDict) -> dict[str, Any]:
    """Return the classifiers that are fitted in seconds, by their key in `NAMES`."""
    texts, y = splits["train"]["text"][:], splits["train"]["label"][:]
    tfidf = make_pipeline(TfidfVectorizer(), LogisticRegression())
    majority = DummyClassifier(strategy="most_frequent")
    fitted = {"majority": majority.fit(texts, y), "tfidf": tfidf.fit(texts, y)}
    return fitted | {"bag_of_words": et.fit_bag_of_words(texts, y)}


def measure(splits: DatasetDict, profile: et.Profile) -> dict[str, Any]:
    """Train everything; return the scores on validation and test, and by kind if the texts are the bundled ones."""
    judged = ("validation", "test")
    truth = {split: np.array(splits[split]["label"][:]) for split in judged}
    runs: dict[str, dict[str, list[np.ndarray]]] = {name: {split: [] for split in judged} for name in NAMES}
    for name, classifier in fit_cheap(splits).items():
        for split in judged:
            runs[name][split].append(classifier.predict(splits[split]["text"][:]))
    encoder, tokenizer = et.load_encoder(profile.checkpoint), et.load_tokenizer(profile.checkpoint)
    for pooling in ("cls", "mean"):
        features = et.extract_hidden_states(splits, encoder, tokenizer, pooling=pooling, cache=False)
        probe = et.fit_probe(*et.feature_matrix(features["train"]))
        for split in judged:
            runs[f"probe_{pooling}"][split].append(probe.predict(et.feature_matrix(features[split])[0]))
    seconds = []
    tokenized = et.tokenize(splits, tokenizer)
    for seed in SEEDS:
        settings = profile.hyperparameters | {"seed": seed}
        with tempfile.TemporaryDirectory() as folder:
            trainer: Any = et.build_trainer(tokenized, profile.checkpoint, output_dir=folder, **settings)
            seconds.append(trainer.train().metrics["train_runtime"])
            for split in judged:
                runs["fine_tuned"][split].append(trainer.predict(tokenized[split]).predictions.argmax(axis=1))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    found: dict[str, Any] = {
        "commit": commit.stdout.strip(),
        "digest": digest(*splits.values()),
        "rows": {split: len(dataset) for split, dataset in splits.items()},
        "settings": profile.hyperparameters,
        "checkpoint": profile.checkpoint,
        "training_seconds": round(float(np.median(seconds))),
    }
    for split in judged:
        found[split] = {name: score(truth[split], by_split[split]) for name, by_split in runs.items()}
    if profile.data == "embedded":
        notes = et.load_corpus_notes().query("split == 'test'")
        rows = {kind: notes.loc[notes["kind"] == kind, "row"].to_numpy() for kind in KINDS}
        found["kinds"] = {
            kind: {"texts": len(at)}
            | {name: score(truth["test"][at], [run[at] for run in by["test"]]) for name, by in runs.items()}
            for kind, at in rows.items()
        }
    return found


def machine() -> str:
    """Name the processor and its number of cores."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.is_file() else ""
    model = re.search(r"model name\s*: (.+)", text)
    return f"{os.cpu_count()} cores, {model[1] if model else platform.processor()}"


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Return the Markdown tables by the name in their marker."""

    def percent(cell: dict[str, float]) -> str:
        return f"{100 * cell['accuracy']:.1f} ({100 * cell['low']:.1f} to {100 * cell['high']:.1f})"

    def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
        lines = [list(head), *map(list, rows)]
        lines.insert(1, ["---"] * len(lines[0]))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    both = [results["bundled"], results["real"]]
    head = ("accuracy in %, 95% interval", "bundled texts", "real tweets")
    by_split = {
        split: table(head, ([name, *(percent(part[split][key]) for part in both)] for key, name in NAMES.items()))
        for split in ("validation", "test")
    }
    kinds = results["bundled"]["kinds"]
    kinds_head = ("test accuracy in %, 95% interval", *(f"{kind} ({kinds[kind]['texts']} texts)" for kind in KINDS))
    by_kind = table(kinds_head, ([name, *(percent(kinds[kind][key]) for kind in KINDS)] for key, name in NAMES.items()))
    return {**by_split, "kinds": by_kind}


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the test accuracy of three models on all bundled texts, on each kind of them, and on real tweets."""
    bundled, real = results["bundled"], results["real"]
    rows = {f"real tweets\n({real['rows']['test']:,} texts)": real["test"]}
    rows[f"bundled texts\n({bundled['rows']['test']:,})"] = bundled["test"]
    rows |= {f"bundled, {kind}\n({bundled['kinds'][kind]['texts']})": bundled["kinds"][kind] for kind in KINDS}
    figure, ax = plt.subplots(figsize=(7.2, 4.8), layout="constrained")
    for i, (name, color) in enumerate(DRAWN.items()):
        scores = pd.DataFrame([row[name] for row in rows.values()])
        y = np.arange(len(rows)) + 0.22 * (i - 1)
        ax.hlines(y, scores["low"], scores["high"], color=color, linewidth=2.5, alpha=0.6)
        ax.plot(scores["accuracy"], y, "o", color=color, label=NAMES[name].split(", `")[0])
    ax.set_yticks(range(len(rows)), rows)
    ax.set(xlim=(0.3, 1), ylim=(len(rows) - 0.5, -0.5), xlabel="accuracy on the test split (bars: 95% interval)")
    ax.xaxis.set_major_formatter("{x:.0%}")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.grid(axis="x", color="0.92")
    ax.set_title("Six emotions: how often each classifier is right", loc="left", fontweight="bold", pad=30)
    ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(-0.18, 1.0), frameon=False, fontsize=9)
    figure.savefig(path, dpi=200)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="folder with the real train.txt and val.txt")
    parser.add_argument("--keep-bundled", action="store_true", help="measure on the real tweets only")
    options = parser.parse_args()
    if options.real:
        results: dict[str, Any] = {"machine": machine(), "fine_tuning_seeds": SEEDS}
        if options.keep_bundled:
            results["bundled"] = json.loads(RESULTS.read_text(encoding="utf-8"))["bundled"]
        else:
            results["bundled"] = measure(et.load_splits("embedded"), et.get_profile("quick"))
        results["real"] = measure(et.load_splits(options.real, label_names=EMOTIONS), et.get_profile("real"))
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    measured = json.loads(RESULTS.read_text(encoding="utf-8"))
    draw(measured, FIGURE)
    made = tables(measured)
    for path in pages():
        path.write_text(refresh(path, made), encoding="utf-8")
    print("\n\n".join(made.values()))


if __name__ == "__main__":
    main()
