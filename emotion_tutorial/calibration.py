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
        If a row does not sum to 1, a value is negative or no number, or an id has no column.
    ValueError
        If the lengths differ, or there are no texts.

    Notes
    -----
    The sum over the intervals B of |B| / n * |accuracy(B) - mean confidence(B)|: Naeini, Cooper and
    Hauskrecht 2015, doi 10.1609/aaai.v29i1.9602; Guo et al. 2017, arXiv:1706.04599, equation 3.
    """
    y_true, probabilities = _checked(y_true, probabilities)
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
        If an id has no column.
    ValueError
        If the lengths differ, there are no texts, or a logit is not finite.

    Notes
    -----
    It minimizes the cross-entropy: Guo et al. 2017, arXiv:1706.04599, section 4.2.
    """
    logits = np.asarray(logits, dtype=np.float64)
    y_true = _ids(y_true, logits, "logits")
    rows = np.arange(y_true.size)

    def cross_entropy(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, y_true].mean()

    return float(np.exp(minimize_scalar(cross_entropy, bounds=(-10, 10), method="bounded").x))


def _checked(
    y_true: npt.ArrayLike, probabilities: npt.ArrayLike
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.floating]]:
    probabilities = np.asarray(probabilities, dtype=np.float64)
    ids = _ids(y_true, probabilities, "probabilities")
    if (wrong := (probabilities < 0).any(axis=1) | (np.abs(probabilities.sum(axis=1) - 1) > 1e-3)).any():
        row = int(wrong.argmax())
        raise DataError(
            f"Row {row} is {probabilities[row].round(4).tolist()}, with the sum {probabilities[row].sum():.4f}. "
            "Expected probabilities that are not negative and sum to 1; of logits, take the softmax first."
        )
    return ids, probabilities


def _ids(y_true: npt.ArrayLike, rows: npt.NDArray[np.floating], what: str) -> npt.NDArray[np.integer]:
    ids = np.asarray(y_true)
    if rows.ndim != 2 or ids.shape != rows.shape[:1] or ids.size == 0:
        raise ValueError(f"Expected a row of {what} for each id, got shapes {rows.shape} and {ids.shape}.")
    if (wrong := ~np.isfinite(rows).all(axis=1)).any():
        row = int(wrong.argmax())
        error = DataError if what == "probabilities" else ValueError
        raise error(f"Row {row} of the {what} is {rows[row].tolist()}: not all of them are numbers.")
    if not np.issubdtype(ids.dtype, np.integer) or ids.min() < 0 or ids.max() >= rows.shape[1]:
        raise DataError(
            f"Expected integer ids from 0 to {rows.shape[1] - 1}, one per column of the {what}; got {ids.dtype} from "
            f"{ids.min()} to {ids.max()}."
        )
    return ids
