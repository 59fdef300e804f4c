"""Which labels may be wrong: texts ranked by classifiers that have not seen them."""

import re
import tempfile
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from emotion_tutorial.baselines import bag_of_words, probe
from emotion_tutorial.caching import cached_array, digest
from emotion_tutorial.checkpoints import locate_checkpoint
from emotion_tutorial.exceptions import DataError, SettingsError, needed_from
from emotion_tutorial.features import extract_hidden_states, feature_matrix
from emotion_tutorial.inference import predict_proba
from emotion_tutorial.models import load_encoder, load_tokenizer
from emotion_tutorial.profiles import Profile, get_profile
from emotion_tutorial.texts import Texts, as_labels, as_texts, require_number, require_one_index, shorten
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
        Whether what takes minutes is kept in the artifacts folder, under names that cover everything that shapes it:
        the probabilities of `fine_tuned`, and the hidden states of `probe`.
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
        if all labels are the same, or if one has fewer texts than folds. Also if `label_names` are numbers, and the
        labels numbers that could be ids as well as names, which would mean other labels.
    CheckpointError, NotFoundError, MissingExtraError, HubError
        If the checkpoint cannot be loaded, as `load_encoder` says, or if cleanlab is not installed.

    Notes
    -----
    The score is the self-confidence of confident learning, reversed: Northcutt, Jiang and Chuang 2021, Confident
    Learning, arXiv:1911.00068. Its verdict, section 3.1 there, is that a label is wrong if another one is probable
    enough: at least as probable as it is, on average, for the texts that were given it. A classifier's own mistakes
    can reach that, too: the harder the texts are for it, the more the sum overestimates.
    """
    with needed_from("labels"):
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    if method not in [*get_args(Method)]:
        raise SettingsError(f"Unknown method {method!r}. Choose from {', '.join(get_args(Method))}.")
    require_one_index(texts=texts, labels=labels)
    strings, index = as_texts(texts)
    ids, names = _label_ids(as_labels(labels, "labels", len(index)), label_names)
    profile = get_profile() if profile is None else profile
    nothing_kept = {"eval_strategy": "no", "save_strategy": "no", "seed": seed}
    settings = profile.hyperparameters | nothing_kept | settings
    shaped_by = [strings, ids.tolist(), names, shaping_settings(names, ids.tolist(), **settings)]
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    data = Dataset.from_dict({"text": strings, "label": ids}, features=features)
    counts, found = np.bincount(ids).tolist(), list[Any]()
    for kind in ["bag_of_words", "fine_tuned"] if method == "combined" else [method]:
        count = FOLDS[kind] if folds is None else folds
        require_number(2, folds=count)
        if len(names) < 2 or min(counts) < count:
            few = f"The labels have {shorten(dict(zip(names, counts, strict=True)), 300)} texts"
            raise DataError(f"{few}. {count} folds need two labels or more, with {count} texts each.")
        dealt = StratifiedKFold(count, shuffle=True, random_state=seed)
        unseen = partial(cross_val_predict, y=ids, cv=dealt, method="predict_proba")
        if kind == "fine_tuned":
            compute = partial(_judge_fine_tuned, data, dealt, profile.checkpoint, settings)
            key = digest(*shaped_by, int(count), int(seed), locate_checkpoint(profile.checkpoint))
            found.append(cached_array("label-errors", key, compute) if cache else compute())
        elif kind == "probe":
            encoder, tokenizer = load_encoder(profile.checkpoint), load_tokenizer(profile.checkpoint)
            states = extract_hidden_states(data, encoder, tokenizer, pooling="mean", cache=cache)
            found.append(unseen(probe(), feature_matrix(states)[0]))
        else:
            found.append(unseen(bag_of_words(), strings))
    probabilities = np.mean(found, axis=0)
    frame = pd.DataFrame({"text": strings, "label": [names[i] for i in ids]}, index=index)
    frame["suggested_label"] = [names[i] for i in probabilities.argmax(axis=1)]
    frame["score"] = 1 - get_label_quality_scores(ids, probabilities)
    frame["likely_error"] = find_label_issues(ids, probabilities, filter_by="confident_learning", n_jobs=1)
    return frame.sort_values("score", ascending=False, kind="stable")


def _judge_fine_tuned(
    data: Dataset, dealt: StratifiedKFold, checkpoint: str, settings: dict[str, Any]
) -> npt.NDArray[np.floating]:
    """Return the probabilities of each text, (texts, labels), by a fine-tuned encoder that has not seen it."""
    found = np.empty((len(data), data.features["label"].num_classes))
    for rows, unseen in dealt.split(data["text"][:], data["label"][:]):
        splits = DatasetDict(train=data.select(rows), validation=data.select(rows[:1]))  # nothing is evaluated
        with tempfile.TemporaryDirectory(prefix="label-errors-") as folder:
            trainer: Any = build_trainer(splits, checkpoint, output_dir=folder, **settings)
            trainer.train()
        found[unseen] = predict_proba(data[unseen]["text"], trainer.model, trainer.processing_class)
    return found


def _label_ids(labels: list[Any], label_names: Any) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return the labels as ids of those that occur, and the names of these."""
    given = [label if isinstance(label, str) or label != int(label) else int(label) for label in labels]
    if len({isinstance(label, str) for label in given}) > 1:
        raise DataError("The labels= are names and numbers. Give names, or ids and label_names=.")
    names = sorted({*given}) if label_names is None else as_texts(label_names, "label_names")[0]
    if len({*names}) < len(names):
        raise DataError(f"label_names={shorten(names, 200)} has a name twice. Give each label a name of its own.")
    known: dict[Any, int] = {name: i for i, name in enumerate(names)}
    if not isinstance(given[0], str) and label_names is not None:  # where names are numbers, numbers may be names
        by_name = {int(name): i for i, name in enumerate(names) if re.fullmatch("-?[0-9]+", str(name))}
        by_id = dict(enumerate(range(len(names))))
        known = by_name if by_name.keys() >= {*given} else by_id
        if by_id.keys() >= {*given} and any(by_id[label] != known[label] for label in given):
            raise DataError("The numbers in labels= may be ids or names. Give names: [label_names[i] for i in ids].")
    ids = [known.get(label, -1) for label in given]
    if -1 in ids:
        row = ids.index(-1)
        raise DataError(f"labels[{row}] is {labels[row]!r}; known are {shorten(names, 200)}, or their ids.")
    present, among_present = np.unique(ids, return_inverse=True)
    return among_present, [str(names[i]) for i in present]
