"""How good is a classifier, and how sure can one be of that? Arrays in, numbers with intervals out."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score
from transformers import EvalPrediction

from emotion_tutorial.exceptions import DataError


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
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, label_names: Sequence[str], *, resamples: int = 1000, seed: int = 0
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
    DataError
        If an id has no name.
    ValueError
        If there is nothing to compare, the lengths differ, or ids are not integers (NaN, names).

    Notes
    -----
    Percentile bootstrap: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section
    13.3. Drawing texts with replacement changes how many fall into each cell of the confusion
    matrix, and nothing else that these metrics use; so the cells are drawn, as one multinomial.
    """
    y_true, y_pred = _ids(len(label_names), y_true=y_true, y_pred=y_pred)
    # Only the cells that hold a text: of many classes, there are far more cells than texts.
    cells, counts = np.unique(np.stack([y_true, y_pred]), axis=1, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(y_true.size, counts / y_true.size, size=resamples)
    of_classes, overall = _metrics(cells, np.vstack([counts, drawn]), len(label_names))
    supports = np.bincount(y_true, minlength=len(label_names))
    rows = []
    for metric, (observed, *resampled) in of_classes.items():
        low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
        columns = zip(label_names, observed, low, high, supports, strict=True)
        rows += [(name, metric, *numbers) for name, *numbers in columns]
    for metric, (observed, *resampled) in overall.items():
        rows.append(("overall", metric, observed, *np.percentile(resampled, [2.5, 97.5]), y_true.size))
    return pd.DataFrame(rows, columns=["name", "metric", "value", "low", "high", "support"])


def compare(
    y_true: npt.ArrayLike, pred_a: npt.ArrayLike, pred_b: npt.ArrayLike, *, resamples: int = 10_000, seed: int = 0
) -> pd.Series:
    """Ask whether two classifiers differ in accuracy on the same texts, or only by chance.

    Parameters
    ----------
    y_true, pred_a, pred_b : (texts,) int
        True ids, and those that the two predicted for the same texts.
    resamples
        Bootstrap resamples of the texts.
    seed
        Of the resamples.

    Returns
    -------
    Series
        `accuracy_a`, `accuracy_b`, `difference` (b minus a), `low` and `high` (its 95 % interval),
        `only_a_right` and `only_b_right` (texts), and `p_value`: how often two equally good
        classifiers would differ by as much or more.

    Raises
    ------
    ValueError
        If there is nothing to compare, the lengths differ, or ids are not integers.

    Notes
    -----
    The interval is a paired percentile bootstrap: a resampled text takes both predictions along. The
    p-value is McNemar's test in its exact form: of the texts that only one got right, each is as
    likely to be the one's as the other's (McNemar 1947, doi 10.1007/BF02295996; recommended for
    classifiers by Dietterich 1998, doi 10.1162/089976698300017197).
    """
    y_true, pred_a, pred_b = _ids(None, y_true=y_true, pred_a=pred_a, pred_b=pred_b)
    right_a, right_b = pred_a == y_true, pred_b == y_true
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    texts = y_true.size
    cells = np.array([only_a, only_b, texts - only_a - only_b])
    drawn = np.random.default_rng(seed).multinomial(texts, cells / texts, size=resamples)
    low, high = np.percentile((drawn[:, 1] - drawn[:, 0]) / texts, [2.5, 97.5])
    found = {"accuracy_a": right_a.mean(), "accuracy_b": right_b.mean(), "difference": (only_b - only_a) / texts}
    found |= {"low": low, "high": high, "only_a_right": only_a, "only_b_right": only_b}
    found["p_value"] = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return pd.Series(found)


def _ids(classes: int | None, **given: npt.ArrayLike) -> list[npt.NDArray[np.integer]]:
    """Return lists of ids as arrays, or say what is wrong with them: lengths, values that are no ids, unknown ids."""
    arrays = {name: np.asarray(values) for name, values in given.items()}
    usable = [array.ndim == 1 and array.size and np.issubdtype(array.dtype, np.integer) for array in arrays.values()]
    if len({array.shape for array in arrays.values()}) > 1 or not all(usable):
        found = ", ".join(f"{name} {array.shape} of {array.dtype}" for name, array in arrays.items())
        raise ValueError(f"Expected equally long lists of integer ids with one or more in them, got {found}.")
    for name, array in arrays.items():
        if classes is not None and (unknown := (array < 0) | (array >= classes)).any():
            at = int(unknown.argmax())
            raise DataError(f"{name}[{at}] is {array[at]}, but label_names has the ids 0 to {classes - 1}.")
    return [array.astype(np.int64) for array in arrays.values()]


def _metrics(
    cells: npt.NDArray[np.integer], counts: npt.NDArray[np.integer], classes: int
) -> tuple[dict[str, npt.NDArray[np.floating]], ...]:
    """Return metrics of n confusion matrices: of each class, (n, classes), and overall, (n,).

    `cells` (2, cells) holds the true and the predicted id of each cell, and `counts` (n, cells) the texts in it.
    """
    is_right = cells[0] == cells[1]
    true, predicted, correct = (
        np.stack([np.bincount(ids, weights=row, minlength=classes) for row in weights])
        for ids, weights in ((cells[0], counts), (cells[1], counts), (cells[0], counts * is_right))
    )
    # Where a divisor is 0, so is what it divides.
    f1 = 2 * correct / np.maximum(true + predicted, 1)
    of_classes = {"precision": correct / np.maximum(predicted, 1), "recall": correct / np.maximum(true, 1), "f1": f1}
    return of_classes, {
        "accuracy": correct.sum(axis=1) / true.sum(axis=1),
        "macro_f1": f1.sum(axis=1) / (true + predicted > 0).sum(axis=1),
        "weighted_f1": (f1 * true).sum(axis=1) / true.sum(axis=1),
    }
