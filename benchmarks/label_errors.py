"""How many wrong labels are found, and how soon: labels are flipped at random, and each method ranks the texts.

5% of the labels are replaced by another, chosen uniformly (NumPy's `default_rng(0)`). The average precision of a
ranking is the area under its precision-recall curve: 0.05 by chance, 1 if all flipped labels come first. `in_sample`
is for contrast: the loss of a model that was trained on these very labels.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from measure import report
from sklearn.metrics import average_precision_score

from emotion_tutorial import build_trainer, find_label_errors, get_profile, load_splits, loss_frame, to_frame
from emotion_tutorial.exceptions import DataWarning
from emotion_tutorial.reading import read_file


def read(source: str, count: int | None) -> tuple[list[str], npt.NDArray[np.integer], list[str]]:
    """Return texts, ids and label names: of all rows of a file, or of the training split of another source."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        names = load_splits(source)["train"].features["label"].names
        frame = read_file(Path(source)) if Path(source).is_file() else to_frame(load_splits(source)["train"])
    labels = frame["label_name" if "label_name" in frame else "label"]
    frame = frame.assign(id=[names.index(str(label)) for label in labels])[:count]
    return frame["text"].tolist(), frame["id"].to_numpy(), names


def flip(labels: npt.NDArray[np.integer], classes: int, share: float = 0.05) -> npt.NDArray[np.integer]:
    """Return the labels with a share of them replaced by another label."""
    rng = np.random.default_rng(0)
    rows = rng.choice(len(labels), round(share * len(labels)), replace=False)
    flipped = labels.copy()
    flipped[rows] = (labels[rows] + rng.integers(1, classes, len(rows))) % classes
    return flipped


def in_sample_scores(texts: list[str], labels: npt.NDArray[np.integer], names: list[str]) -> npt.NDArray[np.floating]:
    """Return the loss of each text under a model that was trained on it."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    dataset = Dataset.from_dict({"text": texts, "label": labels.tolist()}, features=features)
    settings = get_profile("quick").hyperparameters
    settings |= {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False, "disable_tqdm": True}
    with tempfile.TemporaryDirectory() as folder:
        splits = DatasetDict(train=dataset, validation=dataset.select(range(1)))
        trainer: Any = build_trainer(splits, "embedded", output_dir=folder, **settings)
        trainer.train()
    return loss_frame(dataset, trainer.model, trainer.processing_class)["loss"].to_numpy()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="embedded", help="a source for load_splits; of a file, all rows are taken")
    parser.add_argument("--texts", type=int, help="only the first so many")
    parser.add_argument("--only", nargs="*", default=["bag_of_words", "fine_tuned", "in_sample"])
    options = parser.parse_args()
    texts, labels, names = read(options.data, options.texts)
    profile = get_profile("quick")
    given = flip(labels, len(names))
    wrong = given != labels
    scores, seconds = {}, {}
    for name in options.only:
        start = time.perf_counter()
        if name == "in_sample":
            scores[name] = in_sample_scores(texts, given, names)
        else:
            found = find_label_errors(
                texts, given.tolist(), names, method=name, profile=profile, cache=False, disable_tqdm=True
            )
            scores[name] = found["score"].sort_index().to_numpy()
        seconds[name] = time.perf_counter() - start
        print(f"{name}: {average_precision_score(wrong, scores[name]):.4f} in {seconds[name]:.0f} s", flush=True)
    if {"bag_of_words", "fine_tuned"} <= scores.keys():  # what method="combined" gives, without computing both again
        scores["combined"] = (scores["bag_of_words"] + scores["fine_tuned"]) / 2
        seconds["combined"] = seconds["bag_of_words"] + seconds["fine_tuned"]
    precision = {name: float(average_precision_score(wrong, found)) for name, found in scores.items()}
    rows = {name: f"average precision {p:.4f}, {seconds[name]:.0f} s" for name, p in precision.items()}
    report(
        rows,
        {
            "texts": len(texts),
            "flipped": int(wrong.sum()),
            **precision,
            "seconds": {n: round(s) for n, s in seconds.items()},
        },
    )


if __name__ == "__main__":
    main()
