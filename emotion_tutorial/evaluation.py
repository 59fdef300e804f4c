"""How good is a classifier, and how sure can one be of that? Arrays in, numbers with intervals out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest, norm

from emotion_tutorial.exceptions import DataError, SettingsError
from emotion_tutorial.texts import as_column, as_ids, as_matrix, shorten

if TYPE_CHECKING:
    from transformers import EvalPrediction


def compute_metrics(eval_prediction: "EvalPrediction") -> dict[str, float]:
    """Compute what a Trainer reports after each epoch.

    Parameters
    ----------
    eval_prediction
        The logits, (texts, labels) float, or a tuple that begins with them; and the true ids, (texts,) int. A tuple of
        the two will do, too.

    Returns
    -------
    dict
        `accuracy`; `weighted_f1`, the mean of the classes' F1 weighted by how many texts truly have the label; and
        `macro_f1`, their plain mean. Classes that are neither true nor predicted count in neither.

    Raises
    ------
    DataError
        If a logit is not finite, as after a training that diverged, or if logits and ids don't fit each other.
    """
    predictions, label_ids, *_ = eval_prediction
    logits = as_matrix(predictions[0] if isinstance(predictions, tuple) else predictions, "predictions")
    [y_true] = as_ids(logits.shape[1], len(logits), label_ids=label_ids)
    y_pred = logits.argmax(axis=1)
    macro_f1, weighted_f1 = _mean_f1(np.stack([y_true, y_pred]), np.ones(len(logits)), logits.shape[1])
    return {"accuracy": float((y_true == y_pred).mean()), "weighted_f1": weighted_f1, "macro_f1": macro_f1}


def evaluate(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, label_names: Sequence[str], *, resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Compute metrics per class and overall, with 95% intervals.

    Parameters
    ----------
    y_true, y_pred : (texts,) int
        True and predicted ids.
    label_names
        The names of the labels in the order of their ids. No two are the same.
    resamples
        The number of bootstrap resamples.
    seed
        The seed of the resamples.

    Returns
    -------
    DataFrame
        `name` (a label name or `overall`), `metric` (`precision`, `recall`, `f1` of a class; `accuracy`, `macro_f1`,
        `weighted_f1` overall), `value`, `low` and `high` (the interval, within 0 and 1), and `support` (the number of
        texts that truly have the label). Precision, recall or F1 that would be 0 divided by 0 is 0, and its interval
        is 0 to 1, because the texts say nothing about it.

    Raises
    ------
    DataError
        If ids are not integers from 0 to the number of names minus 1, if there is not one predicted id for each true
        one, if Series with different indexes are compared, or if the names are not a list of different names.
    SettingsError
        If `resamples` is not a whole number from 1, or `seed` is not one from 0.

    Notes
    -----
    Accuracy, precision and recall are proportions of texts, and their interval is Wilson's (1927, doi
    10.1080/01621459.1927.10502953), which does not shrink to a point when all of a few texts are right. The F1 of a
    class is `2 p / (1 + p)`, where `p` is the proportion of right predictions among the texts that truly have the
    label or were given it. Wilson's interval for `p` gives that for F1 (Lam, Gopal and Qian 2023, arXiv:2309.14621, the
    indirect method).

    The averages of F1 have no such formula. Their interval is a percentile bootstrap: Efron and Tibshirani 1993, An
    Introduction to the Bootstrap, section 13.3. Drawing texts with replacement changes how many fall into each cell of
    the confusion matrix, and nothing else that these metrics use, so the cells are drawn, as one multinomial. With few
    texts this interval is too narrow, and if every prediction is right it is 1 to 1: read that of the accuracy then.
    """
    names, _ = as_column(label_names, "label_names")
    if repeated := [name for row, name in enumerate(names) if name in names[:row]]:
        raise DataError(f"label_names= has {shorten(repeated[0])} twice. Give each label a name of its own.")
    for setting, value, least in (("resamples", resamples, 1), ("seed", seed, 0)):
        if not isinstance(value, int | np.integer) or value < least:
            raise SettingsError(f"{setting}= is {shorten(value)}. Give a whole number from {least}.")
    classes = len(names)
    y_true, y_pred = as_ids(classes, y_true=y_true, y_pred=y_pred)
    true, predicted, right = (np.bincount(ids, minlength=classes) for ids in (y_true, y_pred, y_true[y_true == y_pred]))
    texts = y_true.size
    rows: list[tuple[Any, ...]] = []
    for metric, of in (("precision", predicted), ("recall", true), ("f1", true + predicted - right)):
        numbers = np.array([_wilson(*counts) for counts in zip(right, of, strict=True)])
        numbers = 2 * numbers / (1 + numbers) if metric == "f1" else numbers
        rows += [(name, metric, *row, support) for name, row, support in zip(names, numbers, true, strict=True)]
    rows.append(("overall", "accuracy", *_wilson(right.sum(), texts), texts))
    # Only the cells that hold a text: of many classes, there are far more cells than texts.
    cells, counts = np.unique(np.stack([y_true, y_pred]), axis=1, return_counts=True)
    draw = np.random.default_rng(seed).multinomial
    drawn = [_mean_f1(cells, draw(texts, counts / texts), classes) for _ in range(resamples)]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    for metric, *row in zip(("macro_f1", "weighted_f1"), _mean_f1(cells, counts, classes), low, high, strict=True):
        rows.append(("overall", metric, *row, texts))
    return pd.DataFrame(rows, columns=["name", "metric", "value", "low", "high", "support"])


def compare(y_true: npt.ArrayLike, pred_a: npt.ArrayLike, pred_b: npt.ArrayLike) -> pd.Series:
    """Ask whether two classifiers differ in accuracy on the same texts, or only by chance.

    Parameters
    ----------
    y_true, pred_a, pred_b : (texts,) int
        The true ids, and those that the two classifiers predicted for the same texts.

    Returns
    -------
    Series
        `accuracy_a`, `accuracy_b`, `difference` (b minus a), `low` and `high` (its 95% interval), `only_a_right` and
        `only_b_right` (numbers of texts), and `p_value`: how often two equally good classifiers would differ by as much
        or more.

    Raises
    ------
    DataError
        If ids are not integers from 0, if there are not as many in all three, or if Series with different indexes are
        compared.

    Notes
    -----
    The interval is that of Agresti and Min 2005 for matched proportions, doi 10.1002/sim.1781: a half is added to the
    number of texts that both, only one, only the other, or neither got right, so that it does not shrink to a point
    when the two agree on each of a few texts. With many texts it is the usual interval for the mean of paired
    differences. The p-value is that of McNemar's test in its exact form: each of the texts that only one classifier got
    right is as likely to be the one's as the other's (McNemar 1947, doi 10.1007/BF02295996; recommended for classifiers
    by Dietterich 1998, doi 10.1162/089976698300017197).
    """
    y_true, pred_a, pred_b = as_ids(None, y_true=y_true, pred_a=pred_a, pred_b=pred_b)
    right_a, right_b = pred_a == y_true, pred_b == y_true
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    texts = y_true.size
    center = (only_b - only_a) / (texts + 2)
    margin = norm.ppf(0.975) * np.sqrt((only_a + only_b + 1) / (texts + 2) - center**2) / np.sqrt(texts + 2)
    found = {"accuracy_a": right_a.mean(), "accuracy_b": right_b.mean(), "difference": (only_b - only_a) / texts}
    found |= {"low": max(center - margin, -1), "high": min(center + margin, 1)}
    found |= {"only_a_right": only_a, "only_b_right": only_b}
    found["p_value"] = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return pd.Series(found)


def _wilson(right: int, texts: int) -> tuple[float, float, float]:
    """Return a proportion and its interval; if there is no text, 0 and the interval from 0 to 1."""
    if not texts:
        return 0.0, 0.0, 1.0
    return right / texts, *binomtest(int(right), int(texts)).proportion_ci(method="wilson")


def _mean_f1(cells: npt.NDArray[np.integer], counts: npt.NDArray[Any], classes: int) -> tuple[float, float]:
    """Return macro and weighted F1. `cells` holds the true and the predicted id of each cell, `counts` its texts."""
    is_right = cells[0] == cells[1]
    true, predicted, right = (
        np.bincount(ids, weights, minlength=classes)
        for ids, weights in ((cells[0], counts), (cells[1], counts), (cells[0], counts * is_right))
    )
    f1 = 2 * right / np.maximum(true + predicted, 1)  # where the sum is 0, so is `right`
    return float(f1.sum() / np.count_nonzero(true + predicted)), float((f1 * true).sum() / true.sum())
