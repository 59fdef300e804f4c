"""Which labels may be wrong: texts ranked by classifiers that have not seen them."""

import tempfile
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from cleanlab.rank import get_label_quality_scores
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from sklearn.model_selection import StratifiedKFold

from emotion_tutorial.baselines import bag_of_words
from emotion_tutorial.caching import cached_array, digest
from emotion_tutorial.checkpoints import locate_checkpoint
from emotion_tutorial.exceptions import DataError, SettingsError
from emotion_tutorial.inference import predict_proba
from emotion_tutorial.profiles import Profile, get_profile
from emotion_tutorial.training import build_trainer

Method = Literal["bag_of_words", "fine_tuned", "combined"]
FOLDS = {"bag_of_words": 5, "fine_tuned": 2}
"""Folds unless told otherwise: few for the method that takes minutes."""


def find_label_errors(
    texts: Sequence[str],
    labels: Sequence[int] | Sequence[str],
    label_names: Sequence[str] | None = None,
    *,
    method: Method = "bag_of_words",
    folds: int | None = None,
    profile: Profile | None = None,
    seed: int = 0,
    cache: bool = True,
    **training_arguments: Any,
) -> pd.DataFrame:
    """Rank texts by how improbable their label is to a classifier that has not seen them.

    The texts are dealt into folds, and each fold is judged by a classifier trained on the others: a
    model that was trained on a wrong label may have memorized it, and then finds it probable.

    Parameters
    ----------
    texts, labels
        As many labels as texts; ids, or names.
    label_names
        In id order. None: the labels that occur, sorted.
    method
        `bag_of_words`: `fit_bag_of_words`, in seconds. `fine_tuned`: a fine-tuned encoder for each fold, which takes
        as long as a training for each. `combined`: the mean of the two.
    folds
        None: 5 for `bag_of_words`, 2 for `fine_tuned`.
    profile
        Checkpoint and hyperparameters for `fine_tuned`. None: `get_profile()`.
    seed
        For the folds and the trainings.
    cache
        Keep the probabilities in the artifacts folder, under a name that covers everything that shapes them.
    **training_arguments
        For `build_trainer`.

    Returns
    -------
    DataFrame
        The most suspicious first: `row`, `text`, `label` (the given one), `suggested_label` (the most
        probable one) and `score`, 1 minus cleanlab's label quality, in [0, 1].

    Raises
    ------
    SettingsError
        If there is no such method, or there are fewer than two folds.
    DataError
        If there is not one label for each text, a text is no string, a label is unknown, all are the same, or one
        has fewer texts than folds.

    Notes
    -----
    The score is the self-confidence of confident learning, reversed: Northcutt, Jiang and Chuang
    2021, Confident Learning, arXiv:1911.00068.
    """
    if method not in get_args(Method):
        raise SettingsError(f"Unknown method {method!r}. Choose from {', '.join(get_args(Method))}.")
    texts = list(texts)
    ids, names = _label_ids(texts, list(labels), label_names)
    profile = profile or get_profile()
    settings = {**profile.hyperparameters, "seed": seed, **training_arguments}
    found = []
    for kind in FOLDS if method == "combined" else [method]:
        parts = FOLDS[kind] if folds is None else folds
        _require_texts(ids, names, parts)

        def compute(kind: str = kind, parts: int = parts) -> npt.NDArray[np.floating]:
            every, found = np.array(texts, dtype=object), np.empty((len(texts), len(names)))
            for rows, unseen in StratifiedKFold(parts, shuffle=True, random_state=seed).split(every, ids):
                if kind == "bag_of_words":
                    found[unseen] = bag_of_words().fit(every[rows], ids[rows]).predict_proba(every[unseen])
                else:
                    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
                    train = Dataset.from_dict({"text": list(every[rows]), "label": ids[rows]}, features=features)
                    found[unseen] = _fine_tuned(train, list(every[unseen]), profile.checkpoint, settings)
            return found

        shaped_by = [texts, ids.tolist(), kind, parts, seed]
        if kind == "fine_tuned":
            shaped_by += [names, settings, locate_checkpoint(profile.checkpoint)]
        found.append(cached_array("label-errors", digest(*shaped_by), compute) if cache else compute())
    probabilities = np.mean(found, axis=0)
    frame = pd.DataFrame({"row": np.arange(len(texts)), "text": texts, "label": [names[i] for i in ids]})
    frame["suggested_label"] = [names[i] for i in probabilities.argmax(axis=1)]
    frame["score"] = 1 - get_label_quality_scores(ids, probabilities)
    return frame.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def _fine_tuned(
    train: Dataset, unseen: list[str], checkpoint: str, settings: dict[str, Any]
) -> npt.NDArray[np.floating]:
    """Fine-tune on some texts, and return the probabilities of others; nothing is evaluated or saved on the way."""
    splits = DatasetDict(train=train, validation=train.select(range(1)))
    nothing: dict[str, Any] = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    with tempfile.TemporaryDirectory(prefix="label-errors-") as folder:
        trainer: Any = build_trainer(splits, checkpoint, output_dir=folder, **(nothing | settings))
        trainer.train()
    return predict_proba(unseen, trainer.model, trainer.processing_class).to_numpy()


def _label_ids(
    texts: list[str], labels: list[Any], label_names: Sequence[str] | None
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return the labels as ids of those that occur, and the names of these."""
    if len(texts) != len(labels) or not labels or not all(isinstance(text, str) for text in texts):
        raise DataError(f"Expected strings and a label for each, got {len(texts)} texts and {len(labels)} labels.")
    values = sorted(set(labels) - {None}) if label_names is None else list(label_names)
    known: dict[Any, int] = {value: i for i, value in enumerate(values)}
    if label_names is not None:
        known |= {i: i for i in range(len(values))}
    ids = [known.get(label, -1) for label in labels]
    if -1 in ids:
        row, there = ids.index(-1), ", ".join(map(str, values[:20]))
        raise DataError(f"labels[{row}] is {labels[row]!r}; known are {there}, or their ids.")
    present, among_present = np.unique(ids, return_inverse=True)
    return among_present, [str(values[i]) for i in present]


def _require_texts(ids: npt.NDArray[np.int64], names: list[str], folds: int) -> None:
    counts = np.bincount(ids)
    if folds < 2:
        raise SettingsError(f"Scores of unseen texts need two folds or more, got {folds}.")
    if len(names) < 2 or counts.min() < folds:
        found = f"Label {names[counts.argmin()]!r} has {counts.min()} texts, of {len(names)} labels"
        raise DataError(f"{found}. {folds} folds need two labels or more, with as many texts as folds each.")
