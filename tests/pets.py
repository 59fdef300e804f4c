"""A small training that the tests of trainers share: the label of a text is its first word."""

from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

import emotion_tutorial as et

SETTINGS = {"learning_rate": 5e-3, "epochs": 3, "batch_size": 16}
QUIETLY = {"use_cpu": True, "disable_tqdm": True}


def make_splits() -> DatasetDict:
    """Return texts of very different lengths, so that batches by length can be told from others."""
    rng = np.random.default_rng(0)
    features = Features({"text": Value("string"), "label": ClassLabel(names=["cat", "dog"])})

    def make(count: int) -> Dataset:
        labels = rng.integers(0, 2, count).tolist()
        texts = [f"{['cat', 'dog'][label]} " + "word " * int(rng.integers(0, 30)) for label in labels]
        return Dataset.from_dict({"text": texts, "label": labels}, features=features)

    return DatasetDict(train=make(160), validation=make(40), test=make(51))


def build(splits: DatasetDict, checkpoint: Path, folder: Path, **options: Any) -> Any:
    return et.build_trainer(splits, checkpoint, output_dir=folder, **(SETTINGS | QUIETLY | options))


def predictions(trainer: Any, splits: DatasetDict) -> np.ndarray:
    texts = splits["test"].remove_columns("label")  # whatever names the model has for its labels
    return trainer.predict(et.tokenize(texts, trainer.processing_class)).predictions


def accuracies(trainer: Any) -> list[float]:
    return [log["eval_accuracy"] for log in trainer.state.log_history if "eval_accuracy" in log]
