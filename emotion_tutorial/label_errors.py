"""Which labels may be wrong: texts ranked by classifiers that have not seen them."""

import re
import tempfile
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import sklearn
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from emotion_tutorial.baselines import bag_of_words, probe
from emotion_tutorial.caching import cached_array, digest
from emotion_tutorial.checkpoints import locate_checkpoint
from emotion_tutorial.devices import best_device, has_bfloat16
from emotion_tutorial.exceptions import DataError, SettingsError
from emotion_tutorial.features import extract_hidden_states, feature_matrix
from emotion_tutorial.inference import predict_proba
from emotion_tutorial.models import load_encoder, load_tokenizer
from emotion_tutorial.profiles import Profile, get_profile
from emotion_tutorial.texts import Texts, as_labels, as_texts, require_one_index, shorten
from emotion_tutorial.training import build_trainer
from emotion_tutorial.training_settings import shaping_settings

Method = Literal["bag_of_words", "probe", "fine_tuned", "combined"]
FOLDS = {"bag_of_words": 5, "probe": 5, "fine_tuned": 2}
"""Folds unless told otherwise: few for the method that takes minutes."""


def find_label_errors(
    texts: Texts,
    labels: Iterable[int] | Iterable[str],
    label_names: Sequence[str] | None = None,
    *,
    method: Method = "bag_of_words",
    folds: int | None = None,
    profile: Profile | None = None,
    seed: int = 0,
    cache: bool = True,
    **settings: Any,
) -> pd.DataFrame:
    """Rank texts by how improbable their label is to a classifier that has not seen them.

    The texts are dealt into folds, and each fold is judged by a classifier trained on the others: a
    model that was trained on a wrong label may have memorized it, and then finds it probable.

    Parameters
    ----------
    texts, labels
        One column each, with as many labels as texts. The labels are ids or names.
    label_names
        In id order. None means the labels that occur, sorted.
    method
        `bag_of_words` uses `fit_bag_of_words` and takes seconds. `probe` uses `fit_probe` on the mean of an encoder's
        hidden states, which are computed once. `fine_tuned` fine-tunes the encoder for each fold, which takes as long
        as that many trainings. `combined` is the mean of `bag_of_words` and `fine_tuned`.
    folds
        None means 5 for `bag_of_words` and `probe`, and 2 for `fine_tuned`.
    profile
        The checkpoint for `probe` and `fine_tuned`, and hyperparameters for the latter. None means `get_profile()`.
    seed
        For the folds and the trainings.
    cache
        Whether the probabilities are kept in the artifacts folder, under a name that covers everything that shapes
        them.
    **settings
        For `build_trainer`, except for `callbacks`.

    Returns
    -------
    DataFrame
        The most suspicious first, with the index of the texts, or the row numbers where they have none: `text`,
        `label` (the given one), `suggested_label` (the most probable one), `score`, 1 minus cleanlab's label quality,
        in [0, 1], and `likely_error`, a bool: the verdict of confident learning, so that the sum of the column
        estimates how many labels are wrong.

    Raises
    ------
    SettingsError
        If there is no such method, if there are fewer than two folds, or as `build_trainer` does.
    DataError
        If texts or labels are not one column, if there is not one label for each text, if one is missing or unknown,
        if all labels are the same, or if one has fewer texts than folds.
    CheckpointError, NotFoundError, MissingExtraError, HubError
        If the checkpoint cannot be loaded, as `load_encoder` says.

    Notes
    -----
    The score is the self-confidence of confident learning, reversed: Northcutt, Jiang and Chuang 2021, Confident
    Learning, arXiv:1911.00068. Its verdict, section 3.1 there, is that a label is wrong if another one is probable
    enough: at least as probable as it is, on average, for the texts that were given it. A classifier's own mistakes
    can reach that, too: the harder the texts are for it, the more the sum overestimates.
    """
    if method not in [*get_args(Method)]:
        raise SettingsError(f"Unknown method {method!r}. Choose from {', '.join(get_args(Method))}.")
    require_one_index(texts=texts, labels=labels)
    strings, index = as_texts(texts)
    ids, names = _label_ids(as_labels(labels, "labels", len(index)), label_names)
    profile = get_profile() if profile is None else profile
    nothing_kept = {"eval_strategy": "no", "save_strategy": "no"}
    settings = nothing_kept | profile.hyperparameters | {"seed": seed} | settings
    shaping = shaping_settings(names, ids.tolist(), **settings)
    found = []
    for kind in ["bag_of_words", "fine_tuned"] if method == "combined" else [method]:
        count = FOLDS[kind] if folds is None else folds
        _require_texts(ids, names, count)
        rows = StratifiedKFold(count, shuffle=True, random_state=seed)
        shaped_by = [strings, ids.tolist(), kind, int(count), int(seed)]
        if kind == "fine_tuned":
            compute = partial(_judge_fine_tuned, strings, ids, names, rows, profile.checkpoint, settings)
            shaped_by += [names, shaping, locate_checkpoint(profile.checkpoint)]
        elif kind == "probe":
            compute = partial(_judge_by_probe, strings, ids, rows, profile.checkpoint, cache)
            shaped_by += [sklearn.__version__, str(probe().get_params())]
            shaped_by += [has_bfloat16(best_device()), locate_checkpoint(profile.checkpoint)]
        else:
            compute = partial(_judge_by_words, strings, ids, rows)
            # Functions are written with an address, which differs each time.
            shaped_by += [sklearn.__version__, re.sub(" at 0x[0-9a-f]+", "", str(bag_of_words().get_params()))]
        found.append(cached_array("label-errors", digest(*shaped_by), compute) if cache else compute())
    probabilities = np.mean(found, axis=0)
    frame = pd.DataFrame({"text": strings, "label": [names[i] for i in ids]}, index=index)
    frame["suggested_label"] = [names[i] for i in probabilities.argmax(axis=1)]
    frame["score"] = 1 - get_label_quality_scores(ids, probabilities)
    frame["likely_error"] = find_label_issues(ids, probabilities, filter_by="confident_learning", n_jobs=1)
    return frame.iloc[np.argsort(-frame["score"], kind="stable")]


def _judge_by_words(texts: list[str], ids: npt.NDArray[np.int64], folds: StratifiedKFold) -> npt.NDArray[np.floating]:
    """Return the probabilities of each text, (texts, labels), by a bag of words that has not seen it."""
    try:
        return cross_val_predict(bag_of_words(), texts, ids, cv=folds, method="predict_proba")
    except ValueError as error:
        raise DataError(f"No bag of words can be made of some folds: {error}. Choose method='fine_tuned'.") from error


def _judge_by_probe(
    texts: list[str], ids: npt.NDArray[np.int64], folds: StratifiedKFold, checkpoint: str, cache: bool
) -> npt.NDArray[np.floating]:
    """Return the probabilities of each text, (texts, labels), by a probe that has not seen it."""
    data = Dataset.from_dict({"text": texts, "label": ids})
    encoder, tokenizer = load_encoder(checkpoint), load_tokenizer(checkpoint)
    X, y = feature_matrix(extract_hidden_states(data, encoder, tokenizer, pooling="mean", cache=cache))
    return cross_val_predict(probe(), X, y, cv=folds, method="predict_proba")


def _judge_fine_tuned(
    texts: list[str], ids: Any, names: list[str], folds: StratifiedKFold, checkpoint: str, settings: dict[str, Any]
) -> npt.NDArray[np.floating]:
    """Return the probabilities of each text, (texts, labels), by a fine-tuned encoder that has not seen it."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    data, found = (
        Dataset.from_dict({"text": texts, "label": ids}, features=features),
        np.empty((len(texts), len(names))),
    )
    for rows, unseen in folds.split(texts, ids):
        splits = DatasetDict(train=data.select(rows), validation=data.select(rows[:1]))  # nothing is evaluated
        with tempfile.TemporaryDirectory(prefix="label-errors-") as folder:
            trainer: Any = build_trainer(splits, checkpoint, output_dir=folder, **settings)
            trainer.train()
        found[unseen] = predict_proba(data[unseen]["text"], trainer.model, trainer.processing_class)
    return found


def _label_ids(labels: list[Any], label_names: Any) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return the labels as ids of those that occur, and the names of these."""
    labels = [label if isinstance(label, str) or label != int(label) else int(label) for label in labels]
    if label_names is None:
        if len({isinstance(label, str) for label in labels}) > 1:
            raise DataError("The labels= are names and numbers. Give names, or ids and label_names=.")
        values = sorted(set(labels))
    else:
        values, _ = as_texts(label_names, "label_names")
        if len(set(values)) < len(values):
            raise DataError(f"label_names={shorten(values, 200)} has a name twice. Give each label a name of its own.")
    known: dict[Any, int] = {value: i for i, value in enumerate(values)}
    if label_names is not None:  # where names are numbers, numbers are names
        numbers = {int(name): i for i, name in enumerate(values) if re.fullmatch("-?[0-9]+", name)}
        known |= numbers or {i: i for i in range(len(values))}
    ids = [known.get(label, -1) for label in labels]
    if -1 in ids:
        row, there = ids.index(-1), ", ".join(map(str, values[:20]))
        raise DataError(f"labels[{row}] is {labels[row]!r}; known are {there}, or their ids.")
    present, among_present = np.unique(ids, return_inverse=True)
    return among_present, [str(values[i]) for i in present]


def _require_texts(ids: npt.NDArray[np.int64], names: list[str], folds: Any) -> None:
    counts = np.bincount(ids)
    if not isinstance(folds, int | np.integer) or isinstance(folds, bool) or folds < 2:
        raise SettingsError(f"Scores of unseen texts need two folds or more, got {folds!r}.")
    if len(names) < 2 or counts.min() < folds:
        found = f"Label {names[counts.argmin()]!r} has {counts.min()} texts, of {len(names)} labels"
        raise DataError(f"{found}. {folds} folds need two labels or more, with as many texts as folds each.")
