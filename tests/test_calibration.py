import numpy as np
import pytest
from scipy.special import softmax

from emotion_tutorial import expected_calibration_error, fit_temperature
from emotion_tutorial.exceptions import NotProbabilitiesError, UnknownLabelError


def calibrated(texts: int, labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return ids, and logits whose softmax is how probable each id was."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (texts, labels))
    drawn = (rng.random((texts, 1)) > softmax(logits, axis=1).cumsum(axis=1)).sum(axis=1)
    return np.minimum(drawn, labels - 1), logits


def test_error_by_hand():
    # Confidence 0.9, right once of two: off by 0.4. Confidence 0.6, right: off by 0.4. Confidence 1, right: off by 0.
    probabilities = [[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [1.0, 0.0]]
    assert expected_calibration_error([0, 1, 1, 0], probabilities, bins=10) == pytest.approx(3 / 4 * 0.4)


def test_error_is_small_if_calibrated_and_large_if_not():
    y, logits = calibrated(20_000, 4)
    assert expected_calibration_error(y, softmax(logits, axis=1)) < 0.02
    assert expected_calibration_error(y, softmax(4 * logits, axis=1)) > 0.1


@pytest.mark.parametrize("labels", [2, 3, 11])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_found_again(labels, temperature):
    y, logits = calibrated(20_000, labels)
    assert fit_temperature(logits * temperature, y) == pytest.approx(temperature, rel=0.07)


def test_temperature_needs_no_text_of_a_rare_label():
    y, logits = calibrated(5000, 3)
    kept = (y != 2) | (np.arange(len(y)) == np.flatnonzero(y == 2)[0])
    once = fit_temperature(logits[kept], y[kept])
    assert fit_temperature(logits[y != 2], y[y != 2]) == pytest.approx(once, rel=0.01)


def test_temperature_lowers_the_error_on_other_texts():
    y, logits = calibrated(3000, 6, seed=1)
    other_y, other_logits = calibrated(3000, 6, seed=2)
    temperature = fit_temperature(2.5 * logits, y)
    before = expected_calibration_error(other_y, softmax(2.5 * other_logits, axis=1))
    after = expected_calibration_error(other_y, softmax(2.5 * other_logits / temperature, axis=1))
    assert after < before / 3


@pytest.mark.parametrize(
    ("y_true", "probabilities", "error", "said"),
    [
        ([0], [[0.5, 0.4]], NotProbabilitiesError, r"Row 0 is \[0.5, 0.4\], with the sum 0.9000"),
        ([0, 1], [[0.5, 0.5], [1.5, -0.5]], NotProbabilitiesError, r"Row 1"),
        ([0], [[np.nan, 0.5]], NotProbabilitiesError, "Row 0 of the probabilities"),
        ([2], [[0.5, 0.5]], UnknownLabelError, "from 0 to 1"),
        ([0, 1], [[0.5, 0.5]], ValueError, r"\(1, 2\) and \(2,\)"),
        ([], np.zeros((0, 2)), ValueError, "Expected a row"),
    ],
)
def test_error_refuses(y_true, probabilities, error, said):
    with pytest.raises(error, match=said):
        expected_calibration_error(y_true, probabilities)


@pytest.mark.parametrize(
    ("logits", "y_true", "error", "said"),
    [
        ([[0.0, 1.0], [np.inf, 0.0]], [0, 1], ValueError, "Row 1 of the logits"),
        ([[0.0, 1.0]], [2], UnknownLabelError, "from 0 to 1"),
        ([[0.0, 1.0]], [0, 1], ValueError, r"\(1, 2\) and \(2,\)"),
    ],
)
def test_temperature_refuses(logits, y_true, error, said):
    with pytest.raises(error, match=said):
        fit_temperature(logits, y_true)
