"""Measure whether probabilities mean what they say, and find the temperature that corrects them."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from emotion_tutorial.exceptions import DataError, SettingsError
from emotion_tutorial.texts import as_ids, as_matrix, require_one_index, shorten


def expected_calibration_error(y_true: npt.ArrayLike, probabilities: npt.ArrayLike, *, bins: int = 15) -> float:
    """Return by how much, on average, the confidence in a prediction differs from how often it is right.

    Parameters
    ----------
    y_true : (texts,) int
        True ids.
    probabilities : (texts, labels) float
        Rows that sum to 1, such as `predict_proba` returns.
    bins
        The number of equal intervals of confidence, which is the probability of the predicted label.

    Returns
    -------
    float
        A number from 0 to 1. If it is 0.05, a prediction is right 5 points less (or more) often than its probability
        says, on average.

    Raises
    ------
    DataError
        If there is not one row of probabilities for each id, an id has no column, or the indexes of pandas differ.
    SettingsError
        If `bins` is not a whole number from 1.

    Notes
    -----
    The sum over the intervals B of `|B| / n * |accuracy(B) - mean confidence(B)|`: Naeini, Cooper and
    Hauskrecht 2015, doi 10.1609/aaai.v29i1.9602; Guo et al. 2017, arXiv:1706.04599, equation 3.
    """
    if not isinstance(bins, int | np.integer) or bins < 1:
        raise SettingsError(f"bins= is {shorten(bins)}. Give a whole number from 1.")
    ids, rows = _checked(y_true, probabilities, "probabilities")
    sums = rows.sum(axis=1)
    if (wrong := (rows < 0).any(axis=1) | (np.abs(sums - 1) > 1e-3)).any():
        row = int(wrong.argmax())
        found = f"probabilities[{row}] sums to {sums[row]:.4f}, and its least value is {rows[row].min():.4f}"
        raise DataError(f"{found}. Give probabilities: of logits, take the softmax.")
    correct, confidence = rows.argmax(axis=1) == ids, rows.max(axis=1)
    # Intervals are open on the left, as in the papers: a confidence of 1 belongs to the last.
    members = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(members, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / ids.size)


def fit_temperature(logits: npt.ArrayLike, y_true: npt.ArrayLike) -> float:
    """Find the temperature that makes the probabilities fit the labels best: `softmax(logits / temperature)`.

    One number cannot overfit much, but it has to be found on texts that the model was not trained on,
    such as the validation split. Dividing by it does not change which label is predicted.

    Parameters
    ----------
    logits : (texts, labels) float
        What the model gives before the softmax.
    y_true : (texts,) int
        True ids.

    Returns
    -------
    float
        The temperature: above 1 if the model is too sure of itself, below 1 if it is not sure enough.

    Raises
    ------
    DataError
        If there is not one row of finite logits for each id, an id has no column, the indexes of pandas differ, the
        rows are probabilities, or no temperature is the best, as when every text is predicted right.

    Notes
    -----
    It minimizes the cross-entropy: Guo et al. 2017, arXiv:1706.04599, section 4.2.
    """
    ids, rows = _checked(y_true, logits, "logits")
    texts = np.arange(ids.size)
    if rows.min() >= 0 and np.allclose(rows.sum(axis=1), 1):
        raise DataError("The rows of logits= sum to 1, as probabilities do. Give what comes before the softmax.")
    rows = rows / (scale := rows.std() or 1.0)

    def cross_entropy(log_temperature: float) -> float:
        return -log_softmax(rows / np.exp(log_temperature), axis=1)[texts, ids].mean()

    found = minimize_scalar(cross_entropy, bounds=(-10, 10), method="bounded").x
    if min(map(cross_entropy, (-10, 10))) <= cross_entropy(found):
        raise DataError("No temperature fits best: the more extreme, the better. Give more texts.")
    return float(np.exp(found) * scale)


def _checked(
    y_true: npt.ArrayLike, rows: npt.ArrayLike, name: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return ids and a matrix with a row for each."""
    require_one_index(**{"y_true": y_true, name: rows})
    matrix = as_matrix(rows, name).astype(np.float64)
    [ids] = as_ids(matrix.shape[1], len(matrix), y_true=y_true)
    return ids, matrix
