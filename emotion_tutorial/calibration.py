"""Do probabilities mean what they say? Their error, and a temperature that mends them."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from emotion_tutorial.exceptions import DataError


def expected_calibration_error(y_true: npt.ArrayLike, probabilities: npt.ArrayLike, *, bins: int = 15) -> float:
    """Return by how much, on average, the confidence in a prediction differs from how often it is right.

    Parameters
    ----------
    y_true : (texts,) int
        True ids.
    probabilities : (texts, labels) float
        Rows that sum to 1, such as `predict_proba` returns.
    bins
        Equal intervals of confidence, the probability of the predicted label.

    Returns
    -------
    float
        0 to 1. 0.05: a prediction is, on average, 5 points less (or more) often right than it says.

    Raises
    ------
    DataError
        If there is not one row of probabilities for each id, or an id has no column.

    Notes
    -----
    The sum over the intervals B of `|B| / n * |accuracy(B) - mean confidence(B)|`: Naeini, Cooper and
    Hauskrecht 2015, doi 10.1609/aaai.v29i1.9602; Guo et al. 2017, arXiv:1706.04599, equation 3.
    """
    y_true, probabilities = _checked(y_true, probabilities, "probabilities")
    sums = probabilities.sum(axis=1)
    if probabilities.min() < 0 or np.abs(sums - 1).max() > 1e-3:
        row = int(np.abs(sums - 1).argmax())
        raise DataError(f"Row {row} sums to {sums[row]:.4f}. Expected probabilities; of logits, take the softmax.")
    correct, confidence = probabilities.argmax(axis=1) == y_true, probabilities.max(axis=1)
    # Intervals are open on the left, as in the papers: a confidence of 1 belongs to the last.
    members = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(members, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / y_true.size)


def fit_temperature(logits: npt.ArrayLike, y_true: npt.ArrayLike) -> float:
    """Find the temperature that makes the probabilities fit the labels best: `softmax(logits / temperature)`.

    One number cannot overfit much, but it has to be found on texts that the model was not trained on,
    such as the validation split. The predicted labels stay what they are.

    Parameters
    ----------
    logits : (texts, labels) float
    y_true : (texts,) int
        True ids.

    Returns
    -------
    float
        Above 1 if the model is too sure of itself, below 1 if it is too modest.

    Raises
    ------
    DataError
        If there is not one row of finite logits for each id, or an id has no column.

    Notes
    -----
    It minimizes the cross-entropy: Guo et al. 2017, arXiv:1706.04599, section 4.2.
    """
    y_true, logits = _checked(y_true, logits, "logits")
    rows = np.arange(y_true.size)

    def cross_entropy(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, y_true].mean()

    return float(np.exp(minimize_scalar(cross_entropy, bounds=(-10, 10), method="bounded").x))


def _checked(
    y_true: npt.ArrayLike, rows: npt.ArrayLike, what: str
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.floating]]:
    ids, rows = np.asarray(y_true), np.asarray(rows, dtype=np.float64)
    if rows.ndim != 2 or ids.shape != rows.shape[:1] or not ids.size or not np.isfinite(rows).all():
        raise DataError(f"Expected a row of finite {what} for each id, got the shapes {rows.shape} and {ids.shape}.")
    if not np.issubdtype(ids.dtype, np.integer) or ids.min() < 0 or ids.max() >= rows.shape[1]:
        raise DataError(f"Expected integer ids from 0 to {rows.shape[1] - 1}, one for each column of the {what}.")
    return ids, rows
