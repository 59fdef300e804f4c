"""How good is a classifier, and how sure can one be of that? Arrays in, numbers with intervals out."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest, norm

from emotion_tutorial.exceptions import DataError, SettingsError
from emotion_tutorial.texts import as_column, as_ids, as_matrix, require_number, shorten

if TYPE_CHECKING:
    from transformers import EvalPrediction

Ids: TypeAlias = npt.ArrayLike
"""One whole number for each text."""


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
    y_true: Ids, y_pred: Ids, label_names: Sequence[str], *, resamples: int = 1000, seed: int = 0
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
        Indexed by `name` (a label name or `overall`) and `metric` (`precision`, `recall`, `f1` of a class; `accuracy`,
        `macro_f1`, `weighted_f1` overall). The columns: `value`, `low` and `high` (the interval, within 0 and 1), and
        `support` (the number of texts that truly have the label). Precision, recall or F1 that would be 0 divided by 0
        is 0, and its interval is 0 to 1, because the texts say nothing about it.

    Raises
    ------
    DataError
        If ids are not integers from 0 to the number of names minus 1, if there is not one predicted id for each true
        one, if Series with different indexes are compared, or if the names are not a list of different names.
    SettingsError
        If `resamples` is not a whole number from 1.

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
    require_number(1, resamples=resamples)
    require_number(0, seed=seed)
    classes = len(names)
    y_true, y_pred = as_ids(classes, y_true=y_true, y_pred=y_pred)
    true, predicted, right = (np.bincount(ids, minlength=classes) for ids in (y_true, y_pred, y_true[y_true == y_pred]))
    texts = y_true.size
    rows: list[tuple[Any, ...]] = []
    for metric, of in (("precision", predicted), ("recall", true), ("f1", true + predicted - right)):
        numbers = np.array([wilson(*counts) for counts in zip(right, of, strict=True)])
        numbers = 2 * numbers / (1 + numbers) if metric == "f1" else numbers
        rows += [(name, metric, *row, support) for name, row, support in zip(names, numbers, true, strict=True)]
    rows.append(("overall", "accuracy", *wilson(right.sum(), texts), texts))
    # Only the cells that hold a text: of many classes, there are far more cells than texts.
    cells, counts = np.unique(np.stack([y_true, y_pred]), axis=1, return_counts=True)
    draw = np.random.default_rng(seed).multinomial
    drawn = [_mean_f1(cells, draw(texts, counts / texts), classes) for _ in range(resamples)]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    for metric, *row in zip(("macro_f1", "weighted_f1"), _mean_f1(cells, counts, classes), low, high, strict=True):
        rows.append(("overall", metric, *row, texts))
    columns = ["name", "metric", "value", "low", "high", "support"]
    return pd.DataFrame(rows, columns=columns).set_index(["name", "metric"])


def compare(
    y_true: Ids, pred_a: Ids, pred_b: Ids, *, metric: str = "accuracy", resamples: int = 1000, seed: int = 0
) -> pd.Series:
    """Ask whether two classifiers differ in accuracy or macro F1 on the same texts, or only by chance.

    Parameters
    ----------
    y_true, pred_a, pred_b : (texts,) int
        The true ids, and those that the two classifiers predicted for the same texts.
    metric
        `accuracy` or `macro_f1`.
    resamples
        The number of bootstrap resamples, for macro F1.
    seed
        The seed of the resamples.

    Returns
    -------
    Series
        For accuracy: `accuracy_a`, `accuracy_b`, `difference` (b minus a), `low` and `high` (its 95% interval),
        `only_a_right` and `only_b_right` (numbers of texts), and `p_value`: how often two equally good classifiers
        would differ by as much or more. For macro F1: `macro_f1_a` and `macro_f1_b`, as `evaluate` computes them,
        `difference`, `low` and `high`.

    Raises
    ------
    DataError
        If ids are not integers from 0, if there are not as many in all three, or if Series with different indexes are
        compared.
    SettingsError
        If there is no such metric, or `resamples` is not a whole number from 1.

    Notes
    -----
    The interval and the p-value speak of two trained models and of other texts from the same source. They do not speak
    of two methods: with another seed, each method gives another model, and the difference may be another one. To
    compare methods, train each several times, and look at the spread as well.

    The interval for accuracy is that of Agresti and Min 2005 for matched proportions, doi 10.1002/sim.1781: a half is
    added to the number of texts that both, only one, only the other, or neither got right, so that it does not shrink
    to a point when the two agree on each of a few texts. With many texts it is the usual interval for the mean of
    paired differences. The p-value is that of McNemar's test in its exact form: each of the texts that only one
    classifier got right is as likely to be the one's as the other's (McNemar 1947, doi 10.1007/BF02295996; recommended
    for classifiers by Dietterich 1998, doi 10.1162/089976698300017197).

    The interval for macro F1 is a paired percentile bootstrap: each resample has the same texts for both classifiers
    (Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3). With few texts it is too narrow, and it
    is 0 to 0 if both predict the same everywhere.
    """
    if metric not in ["accuracy", "macro_f1"]:
        raise SettingsError(f"metric= is {shorten(metric)}. Choose accuracy or macro_f1.")
    require_number(1, resamples=resamples)
    require_number(0, seed=seed)
    y_true, pred_a, pred_b = as_ids(None, y_true=y_true, pred_a=pred_a, pred_b=pred_b)
    texts = y_true.size
    if metric == "macro_f1":
        ids, columns = np.unique(np.stack([y_true, pred_a, pred_b]), return_inverse=True)
        # As in `evaluate`: all that counts is how many texts have which true id and which two predictions.
        cells, counts = np.unique(columns.reshape(3, texts), axis=1, return_counts=True)
        draw = np.random.default_rng(seed).multinomial
        drawn = (counts, *(draw(texts, counts / texts) for _ in range(resamples)))
        a, b = ([_mean_f1(cells[[0, row]], count, len(ids))[0] for count in drawn] for row in (1, 2))
        low, high = np.percentile(np.subtract(b, a)[1:], [2.5, 97.5])
        return pd.Series({"macro_f1_a": a[0], "macro_f1_b": b[0], "difference": b[0] - a[0], "low": low, "high": high})
    right_a, right_b = pred_a == y_true, pred_b == y_true
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    center = (only_b - only_a) / (texts + 2)
    margin = norm.ppf(0.975) * np.sqrt((only_a + only_b + 1) / (texts + 2) - center**2) / np.sqrt(texts + 2)
    found = {"accuracy_a": right_a.mean(), "accuracy_b": right_b.mean(), "difference": (only_b - only_a) / texts}
    found |= {"low": max(center - margin, -1), "high": min(center + margin, 1)}
    found |= {"only_a_right": only_a, "only_b_right": only_b}
    found["p_value"] = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return pd.Series(found)


def smallest_difference(texts: int, disagreement: float, *, power: float = 0.8) -> float:
    """Return the smallest difference in accuracy that a comparison of two classifiers is likely to show.

    Ask before you measure: if the difference that you hope for is smaller, you need more texts.

    Parameters
    ----------
    texts
        The number of texts that both classifiers predict.
    disagreement
        The share of texts, from 0 to 1, that exactly one of the two predicts right. Take it from a comparison of
        similar classifiers: `(only_a_right + only_b_right) / texts`.
    power
        How likely the comparison is to find a difference of this size significant (two-sided, at 5%).

    Returns
    -------
    float
        The difference, as a share of the texts: 0.03 is three points. It is NaN if even a difference as large as the
        disagreement, where one classifier is never right alone, is less likely to be shown.

    Raises
    ------
    SettingsError
        If `texts` is not a whole number from 1, `disagreement` not a number from 0 to 1, or `power` not one from 0.05
        to 0.99.

    Notes
    -----
    It is the `d` for which `n = (z(0.975) sqrt(p) + z(power) sqrt(p - d**2))**2 / d**2`, where `n` is the number of
    texts and `p` the disagreement: Miettinen 1968, Biometrics 24, 339-352, and Connor 1987, Biometrics 43, 207-211, for
    McNemar's test. The exact form of that test, which `compare` makes, is more careful: in simulations its power was
    75% to 79% where 80% was asked for.
    """
    require_number(1, texts=texts)
    require_number(0.0, 1.0, disagreement=disagreement)
    require_number(0.05, 0.99, power=power)
    z, z_power = norm.ppf([0.975, power])
    if texts < z**2:  # nothing can be significant
        return math.nan
    # The formula is a quadratic equation for d; of its two roots, this is the one of a sum and not of a difference.
    root = z * math.sqrt(texts) + z_power * math.sqrt(texts - z**2 + z_power**2)
    found = math.sqrt(disagreement) * root / (texts + z_power**2)
    return float(found) if found < disagreement else math.nan


def wilson(right: int, texts: int) -> tuple[float, float, float]:
    """Return a proportion and its interval; if there is no text, 0 and the interval from 0 to 1."""
    if not texts:
        return 0.0, 0.0, 1.0
    return right / texts, *binomtest(int(right), int(texts)).proportion_ci(method="wilson")


def _mean_f1(cells: npt.NDArray[np.integer], counts: npt.NDArray[Any], classes: int) -> tuple[float, float]:
    """Return macro and weighted F1. `cells` holds the true and the predicted id of each cell, `counts` its texts."""
    weights = ((cells[0], counts), (cells[1], counts), (cells[0], counts * (cells[0] == cells[1])))
    true, predicted, right = (np.bincount(ids, of, minlength=classes) for ids, of in weights)
    f1 = 2 * right / np.maximum(true + predicted, 1)  # where the sum is 0, so is `right`
    return float(f1.sum() / np.count_nonzero(true + predicted)), float((f1 * true).sum() / true.sum())
