"""Measure whether probabilities mean what they say, and correct them with a temperature."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from datasets import Dataset
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import brier_score_loss, log_loss
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.evaluation import Ids
from emotion_tutorial.exceptions import CheckpointError, DataError
from emotion_tutorial.inference import labeled_texts, predict_logits
from emotion_tutorial.texts import as_ids, as_matrix, require_number, require_one_index


def calibration_table(y_true: Ids, probabilities: npt.ArrayLike, *, bins: int = 10) -> pd.DataFrame:
    """Compare, for intervals of confidence, how sure a classifier is with how often it is right.

    Parameters
    ----------
    y_true : (texts,) int
        True ids.
    probabilities : (texts, labels) float
        Rows that sum to 1, such as `predict_proba` returns.
    bins
        The number of intervals of equal width from 0 to 1. The confidence is the probability of the predicted label.

    Returns
    -------
    DataFrame
        One row for each interval that holds a text, from the lowest: `low` and `high` (its ends; `high` belongs to it),
        `texts` (how many), `confidence` (the mean) and `accuracy` (the share of texts that are predicted right).
        Intervals without a text are left out.

    Raises
    ------
    DataError
        If there is not one row of probabilities for each id, an id has no column, or the indexes of pandas differ.
    SettingsError
        If `bins` is not a whole number from 1.
    """
    require_number(1, bins=bins)
    ids, rows = _checked_probabilities(y_true, probabilities)
    confidence = rows.max(axis=1)
    place = np.ceil((confidence * bins).round(6))  # 0.7 may be 0.7000000000000001
    columns = {"low": (place - 1) / bins, "high": place / bins, "confidence": confidence}
    by_bin = pd.DataFrame(columns | {"accuracy": rows.argmax(axis=1) == ids}).groupby(["low", "high"], as_index=False)
    return by_bin.agg(texts=("accuracy", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean"))


def calibration_scores(y_true: Ids, probabilities: npt.ArrayLike, *, bins: int = 10) -> pd.Series:
    """Measure how good probabilities are: all three scores are 0 at best.

    Parameters
    ----------
    y_true, probabilities, bins
        As in `calibration_table`.

    Returns
    -------
    Series
        `log_loss` (cross-entropy in nats: the mean of minus the logarithm of the true label's probability, where one of
        0 counts as 2e-16), `brier_score` (the sum over the labels of the squared differences between their
        probabilities and the truth, 1 for the true label and 0 for the others; the mean over the texts, from 0 to 2),
        and `calibration_error` (from 0 to 1: the mean distance of `confidence` from `accuracy` in `calibration_table`,
        weighted by `texts`).

    Raises
    ------
    DataError, SettingsError
        As `calibration_table` does.

    Notes
    -----
    The log loss and the Brier score (Brier 1950, Monthly Weather Review 78, 1-3, his own form) are lowest in the long
    run for the true probabilities. The expected calibration error (Naeini, Cooper and Hauskrecht 2015, doi
    10.1609/aaai.v29i1.9602; Guo et al. 2017, arXiv:1706.04599, equation 3) is not such a score: a classifier that
    always gives the shares of the labels has an error of 0. It depends on the bins, and with few texts it is too large.
    """
    ids, rows = _checked_probabilities(y_true, probabilities)
    table = calibration_table(ids, rows, bins=bins)
    gaps = np.abs(table["accuracy"] - table["confidence"])
    labels = range(rows.shape[1])
    brier = brier_score_loss(ids, rows, labels=labels, scale_by_half=False)
    error = np.average(gaps, weights=table["texts"])
    return pd.Series({"log_loss": log_loss(ids, rows, labels=labels), "brier_score": brier, "calibration_error": error})


def calibrate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, split: Dataset, *, batch_size: int | None = None
) -> pd.DataFrame:
    """Find the temperature that corrects a classifier's probabilities, and divide its last layer by it, in place.

    Whatever uses these weights then gives the corrected probabilities: `predict_proba`, a model that is saved and
    reloaded, `transformers.pipeline`, an export to ONNX that is made afterward, and the service. The predicted labels
    stay the same. (In half precision the new weights are rounded, which may decide between two labels that are almost
    equally probable.)

    Parameters
    ----------
    model, tokenizer
        Of one fine-tuned checkpoint. The model computes where it is, in its own precision, without dropout.
    split
        Texts with labels, as `load_splits` returns them: a `text` and a `label`, whose labels are the model's. Never
        the training texts, about which a model is too sure of itself. Scores on these texts are a little too good,
        because the temperature was chosen by them.
    batch_size
        As in `predict_proba`.

    Returns
    -------
    DataFrame
        The rows `before` and `after`, and the columns `temperature` (1 before; what this call divided by after),
        `log_loss`, `brier_score` and `calibration_error`, on these texts. `model.config.calibration_temperature` is the
        product of all temperatures so far, and is saved with the model. A training and a new head drop it.

    Raises
    ------
    DataError
        If a text or a label is missing, the labels of the data and of the model are not the same, or no temperature is
        the best, as when every text is predicted right. The model is unchanged.
    CheckpointError
        As in `predict_proba`, or if the model does not end in a linear layer with one output for each label. The model
        is unchanged.
    SettingsError
        If there is no such batch size.

    Notes
    -----
    Temperature scaling: Guo et al. 2017, arXiv:1706.04599, section 4.2. The temperature is that of the lowest
    cross-entropy. A linear layer whose weights and bias are divided by it gives the logits divided by it.
    """
    texts, ids = labeled_texts(split, "split=", model)
    if not texts:
        raise DataError("split= has no texts. Give some with labels that the model was not trained on.")
    logits = predict_logits(texts, model, tokenizer, batch_size)
    temperature = fit_temperature(logits, ids)
    body = {*model.base_model.modules()}
    linear = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear) and layer not in body]
    weights = [*linear[-1].parameters()] if linear else []
    old = [weight.detach().clone() for weight in weights]
    try:
        with torch.no_grad():
            for weight in weights:
                weight.div_(temperature)
        after = predict_logits(texts, model, tokenizer, batch_size)
        tolerance = max(1e-3, 8 * torch.finfo(model.dtype).eps) * np.abs(logits).max()
        if np.abs(after * temperature - logits).max() > tolerance:
            found = f"{type(model).__name__} does not end in a linear layer"
            raise CheckpointError(f"{found}. Divide its logits by the temperature {temperature:.4g} yourself.")
    except BaseException:
        for weight, values in zip(weights, old, strict=True):
            weight.data.copy_(values)
        raise
    earlier = getattr(model.config, "calibration_temperature", None) or 1.0
    model.config.calibration_temperature = earlier * temperature
    scores = [calibration_scores(ids, softmax(rows.astype(np.float64), axis=1)) for rows in (logits, after)]
    table = pd.DataFrame(scores, index=["before", "after"])
    table.insert(0, "temperature", [1.0, temperature])
    return table


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
    if rows.min() >= 0 and np.abs(rows.sum(axis=1) - 1).max() < 0.02:  # of numbers in half precision, too
        raise DataError("The rows of logits= sum to 1, as probabilities do. Give what comes before the softmax.")
    rows = rows - rows.max(axis=1, keepdims=True)
    # A label that is masked has a logit of -1e9 or so: it must not set the scale.
    rows = rows / (scale := np.median(-np.sort(rows)[:, -2]) or 1.0)

    def cross_entropy(log_temperature: float) -> float:
        return -log_softmax(rows / np.exp(log_temperature), axis=1)[texts, ids].mean()

    found = minimize_scalar(cross_entropy, bounds=(-10, 10), method="bounded").x
    if min(map(cross_entropy, (-10, 10))) <= cross_entropy(found):
        raise DataError("No temperature fits best: the more extreme, the better. Give more texts.")
    return float(np.exp(found) * scale)


def _checked(y_true: Any, rows: Any, name: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return ids and a matrix with a row for each."""
    require_one_index(**{"y_true": y_true, name: rows})
    matrix = as_matrix(rows, name).astype(np.float64)
    [ids] = as_ids(matrix.shape[1], len(matrix), y_true=y_true)
    return ids, matrix


def _checked_probabilities(y_true: Any, rows: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return ids, and a row of probabilities for each that sums to 1 in double precision."""
    ids, rows = _checked(y_true, rows, "probabilities")
    sums = rows.sum(axis=1)
    if rows.min() < -1e-6 or np.abs(sums - 1).max() > 0.02:  # of numbers in half precision, too
        row = int(np.maximum(np.abs(sums - 1), -rows.min(axis=1)).argmax())
        found = f"probabilities[{row}] sums to {sums[row]:.4f}, and its least value is {rows[row].min():.4f}"
        raise DataError(f"{found}. Give probabilities: of logits, take the softmax.")
    return ids, rows.clip(0) / sums[:, None]
