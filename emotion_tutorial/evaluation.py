"""How good is a classifier, and how sure can one be of that? Arrays in, numbers with intervals out."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from transformers import EvalPrediction

from emotion_tutorial.exceptions import UnknownLabelError


def compute_metrics(eval_prediction: EvalPrediction) -> dict[str, float]:
    """Compute what a Trainer reports after each epoch.

    Parameters
    ----------
    eval_prediction
        `predictions`: (texts, labels) logits; `label_ids`: (texts,) true ids.

    Returns
    -------
    dict
        `accuracy`; `weighted_f1`, the mean of the classes' F1 weighted by their true counts; and
        `macro_f1`, their plain mean. Classes that are neither true nor predicted count in neither.
    """
    y_true, y_pred = eval_prediction.label_ids, np.argmax(eval_prediction.predictions, axis=-1)
    return {
        "accuracy": float(accuracy_score(y_true, y_pred)),
        "weighted_f1": float(f1_score(y_true, y_pred, average="weighted", zero_division=0)),
        "macro_f1": float(f1_score(y_true, y_pred, average="macro", zero_division=0)),
    }


def evaluate(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    label_names: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compute metrics per class and overall, with bootstrap 95 % intervals.

    Parameters
    ----------
    y_true, y_pred : (texts,) int
        True and predicted ids.
    label_names
        In id order.
    resamples
        Bootstrap resamples of the texts.
    seed
        Of the resamples.

    Returns
    -------
    DataFrame
        `name` (a label name or `overall`), `metric` (`precision`, `recall`, `f1` of a class;
        `accuracy`, `macro_f1`, `weighted_f1` overall), `value`, `low` and `high` (the interval,
        all within 0 and 1), `support` (true texts). A class without true or predicted texts has
        precision, recall and F1 0.

    Raises
    ------
    UnknownLabelError
        If an id has no name.
    ValueError
        If there is nothing to compare, or the lengths differ.

    Notes
    -----
    Percentile bootstrap: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section
    13.3. Drawing texts with replacement changes how many fall into each cell of the confusion
    matrix, and nothing else that these metrics use; so the cells are drawn, as one multinomial.
    """
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_true.shape != y_pred.shape or y_true.ndim != 1 or y_true.size == 0:
        raise ValueError(f"Expected two equally long lists of ids, got shapes {y_true.shape} and {y_pred.shape}.")
    classes = len(label_names)
    for what, ids in (("y_true", y_true), ("y_pred", y_pred)):
        if ids.min() < 0 or ids.max() >= classes:
            at = int(np.flatnonzero((ids < 0) | (ids >= classes))[0])
            raise UnknownLabelError(f"{what}[{at}] is {ids[at]}, but label_names has the ids 0 to {classes - 1}.")
    counts = confusion_matrix(y_true, y_pred, labels=range(classes))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(y_true.size, counts.ravel() / y_true.size, size=resamples)
    observed = _metrics(counts[np.newaxis])
    spread = _metrics(drawn.reshape(resamples, classes, classes))
    support = counts.sum(axis=1)
    rows = []
    for metric, values in observed.items():
        low, high = np.percentile(spread[metric], [2.5, 97.5], axis=0)
        names = ["overall"] if values.shape[1] == 1 else list(label_names)
        supports = [y_true.size] if values.shape[1] == 1 else support
        rows += [(name, metric, *numbers) for name, *numbers in zip(names, values[0], low, high, supports, strict=True)]
    return pd.DataFrame(rows, columns=["name", "metric", "value", "low", "high", "support"])


def _metrics(counts: npt.NDArray[np.integer]) -> dict[str, npt.NDArray[np.floating]]:
    """Return metrics of confusion matrices (n, classes, classes): (n, classes), or (n, 1) overall."""
    correct = np.diagonal(counts, axis1=1, axis2=2)
    true, predicted = counts.sum(axis=2), counts.sum(axis=1)
    total = counts.sum(axis=(1, 2))[:, np.newaxis]

    def divide(a: npt.NDArray[np.integer], b: npt.NDArray[np.integer]) -> npt.NDArray[np.floating]:
        return np.divide(a, b, out=np.zeros(a.shape), where=b > 0)

    f1 = divide(2 * correct, true + predicted)
    present = (true + predicted) > 0
    return {
        "precision": divide(correct, predicted),
        "recall": divide(correct, true),
        "f1": f1,
        "accuracy": divide(correct.sum(axis=1, keepdims=True), total),
        "macro_f1": f1.sum(axis=1, keepdims=True) / present.sum(axis=1, keepdims=True),
        "weighted_f1": (f1 * true).sum(axis=1, keepdims=True) / total,
    }
