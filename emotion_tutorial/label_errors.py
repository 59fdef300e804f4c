"""Texts whose label is probably wrong: asked of classifiers that were not trained on them."""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from sklearn.model_selection import StratifiedKFold
from tqdm.auto import tqdm

from emotion_tutorial.baselines import fit_bag_of_words
from emotion_tutorial.caching import cached_array, digest
from emotion_tutorial.exceptions import DataError
from emotion_tutorial.inference import predict_proba
from emotion_tutorial.models import locate_checkpoint
from emotion_tutorial.profiles import Profile, get_profile
from emotion_tutorial.training import build_trainer

Method = Literal["bag_of_words", "fine_tuned", "combined"]
Probabilities = npt.NDArray[np.floating]
Judge = Callable[[Sequence[str], npt.NDArray[np.integer], Sequence[str]], Probabilities]
"""Trained on texts and ids, it returns class probabilities of other texts."""
FOLDS = {"bag_of_words": 5, "fine_tuned": 2}
"""Folds unless told otherwise: few of the method that takes minutes."""


def find_label_errors(
    texts: Sequence[str],
    labels: Sequence[int] | Sequence[str],
    label_names: Sequence[str] | None = None,
    *,
    folds: int | None = None,
    method: Method = "bag_of_words",
    profile: Profile | None = None,
    seed: int = 0,
    cache: bool = True,
    **training_arguments: Any,
) -> pd.DataFrame:
    """Rank texts by how improbable their label is to a classifier that has not seen them.

    The texts are dealt into folds, and each fold is judged by a classifier trained on the others. A
    model that was trained on a wrong label may have learned it by heart, and then finds it probable.

    Parameters
    ----------
    texts, labels
        As many labels as texts; ids, or names.
    label_names
        In id order. None: the labels that occur, sorted.
    folds
        None: 5 for `bag_of_words`, 2 for `fine_tuned`.
    method
        `bag_of_words`: `fit_bag_of_words`, in seconds. `fine_tuned`: a fine-tuned encoder per fold, as
        long as a training for each. `combined`: the mean of the two, which found
        more than either (benchmarks/label_errors.py).
    profile
        Checkpoint and hyperparameters of `fine_tuned`. None: `get_profile()`.
    seed
        Of the folds and the trainings.
    cache
        Keep the probabilities of each fold of `fine_tuned` in the artifacts folder, under a name that covers
        everything that shapes them, so that an interrupted run goes on and a finished one is not repeated.
    **training_arguments
        For `build_trainer`.

    Returns
    -------
    DataFrame
        The most suspicious first: `row`, `text`, `label` (the given one), `suggested_label` (the most
        probable one) and `score`, 1 minus the given label's probability, in [0, 1].

    Raises
    ------
    ValueError
        If there are not as many labels as texts, fewer than 2 folds, or an unknown method.
    DataError
        If something among the texts is no string; if a label is missing, or is neither an id nor a name of
        `label_names`; if all labels are the same, or one has fewer texts than there are folds.

    Notes
    -----
    The score is the self-confidence of confident learning, turned round: Northcutt, Jiang and Chuang
    2021, Confident Learning, arXiv:1911.00068.
    """
    texts, ids, names = _checked(texts, labels, label_names)
    profile = profile or get_profile()

    def fine_tune(train: Sequence[str], y: npt.NDArray[np.integer], held_out: Sequence[str]) -> Probabilities:
        return _fine_tuned_proba(train, y, held_out, names, profile, seed, training_arguments)

    judges: dict[str, Judge] = {"bag_of_words": _bag_of_words_proba, "fine_tuned": fine_tune}
    if method not in get_args(Method):
        raise ValueError(f"Unknown method {method!r}. Choose from {', '.join(get_args(Method))}.")
    found = []
    for name in [method] if method in judges else judges:
        parts = _deal(ids, FOLDS[name] if folds is None else folds, seed)
        key = ""
        if cache and name == "fine_tuned":
            settings = {**profile.hyperparameters, **training_arguments}
            key = digest(texts, ids, names, len(parts), seed, locate_checkpoint(profile.checkpoint), settings)
        found.append(_out_of_fold(texts, ids, len(names), parts, judges[name], key))
    probabilities = np.mean(found, axis=0)
    frame = pd.DataFrame(
        {
            "row": np.arange(len(texts)),
            "text": texts,
            "label": [names[i] for i in ids],
            "suggested_label": [names[i] for i in probabilities.argmax(axis=1)],
            "score": np.clip(1 - probabilities[np.arange(len(texts)), ids], 0, 1),
        }
    )
    return frame.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def _deal(ids: npt.NDArray[np.integer], folds: int, seed: int) -> list[tuple[npt.NDArray[np.intp], ...]]:
    """Return pairs of rows, to train on and to judge, with the shares of the labels alike."""
    if folds < 2:
        raise ValueError(f"Out-of-sample scores want two folds or more, got {folds}.")
    present, counts = np.unique(ids, return_counts=True)
    if counts.min() < folds:
        raise DataError(
            f"Label id {present[counts.argmin()]} has {counts.min()} texts, and {folds} folds want {folds} or more of "
            "each label. Take fewer folds, or leave the rare label out."
        )
    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(ids, ids))


def _out_of_fold(
    texts: list[str],
    ids: npt.NDArray[np.integer],
    classes: int,
    parts: list[tuple[npt.NDArray[np.intp], ...]],
    judge: Judge,
    key: str,
) -> Probabilities:
    """Return class probabilities (texts, classes), each row of a classifier that was trained without it.

    With a key, the probabilities of each fold are cached.
    """
    present = np.unique(ids)
    probabilities = np.zeros((len(texts), classes))
    for fold, (train, held_out) in enumerate(tqdm(parts, desc="folds", delay=2)):
        compute = partial(judge, [texts[i] for i in train], ids[train], [texts[i] for i in held_out])
        found = cached_array("label-errors", f"{key}-{fold}", compute) if key else compute()
        # A bag of words knows the labels that occur, an encoder's head has one output for each name.
        columns = present if found.shape[1] == len(present) else np.arange(classes)
        probabilities[np.ix_(held_out, columns)] = found
    return probabilities


def _bag_of_words_proba(train: Sequence[str], y: npt.NDArray[np.integer], held_out: Sequence[str]) -> Probabilities:
    return fit_bag_of_words(train, y).predict_proba(held_out)


def _fine_tuned_proba(
    train: Sequence[str],
    y: npt.NDArray[np.integer],
    held_out: Sequence[str],
    names: list[str],
    profile: Profile,
    seed: int,
    training_arguments: dict[str, Any],
) -> Probabilities:
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    known = Dataset.from_dict({"text": list(train), "label": y.tolist()}, features=features)
    # Nothing is chosen by validation here: no epoch is evaluated or saved.
    settings = profile.hyperparameters | {"seed": seed, "eval_strategy": "no", "save_strategy": "no"}
    settings |= {"load_best_model_at_end": False} | training_arguments
    with tempfile.TemporaryDirectory(prefix="label-errors-") as folder:
        splits = DatasetDict(train=known, validation=known.select(range(1)))
        trainer: Any = build_trainer(splits, profile.checkpoint, output_dir=Path(folder), **settings)
        trainer.train()
    return predict_proba(held_out, trainer.model, trainer.processing_class).to_numpy()


def _checked(
    texts: Sequence[str], labels: Sequence[int] | Sequence[str], label_names: Sequence[str] | None
) -> tuple[list[str], npt.NDArray[np.integer], list[str]]:
    given: list[Any] = list(labels)
    if len(texts) != len(given) or not given:
        raise ValueError(f"Expected a label for each text, got {len(texts)} texts and {len(given)} labels.")
    for row, (text, label) in enumerate(zip(texts, given, strict=True)):
        if not isinstance(text, str):
            raise DataError(f"texts[{row}] is {text!r} ({type(text).__name__}), not a string. Leave it out.")
        if label is None or label != label:
            raise DataError(f"labels[{row}] is {label!r}. Give the text a label, or leave it out.")
    if label_names is None:
        values = sorted(set(given))
        names, ids = [str(value) for value in values], {value: i for i, value in enumerate(values)}
    else:
        names = list(label_names)
        ids = {name: i for i, name in enumerate(names)} | {i: i for i in range(len(names))}
    unknown = next((row for row, label in enumerate(given) if label not in ids), None)
    if unknown is not None:
        raise DataError(
            f"labels[{unknown}] is {given[unknown]!r}; known are {', '.join(names[:20])}, or their ids 0 to "
            f"{len(names) - 1}."
        )
    known = np.array([ids[label] for label in given])
    if len(np.unique(known)) < 2:
        raise DataError(f"All labels are {given[0]!r}: nothing to learn, and nothing to doubt.")
    return list(texts), known, names
