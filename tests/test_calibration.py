import numpy as np
import pytest
from scipy.special import softmax

from emotion_tutorial import expected_calibration_error, fit_temperature


def calibrated(texts: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids, and logits whose softmax is how probable each id was."""
    rng = np.random.default_rng(0)
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


@pytest.mark.parametrize(("labels", "temperature"), [(2, 0.5), (3, 1.0), (11, 3.0)])
def test_temperature_is_found_again(labels, temperature):
    y, logits = calibrated(20_000, labels)
    assert fit_temperature(logits * temperature, y) == pytest.approx(temperature, rel=0.07)


@pytest.mark.parametrize(
    ("y_true", "probabilities", "said"),
    [
        ([0], [[0.5, 0.4]], "Row 0"),
        ([0, 1], [[0.5, 0.5], [1.5, -0.5]], "Expected probabilities"),
        ([0], [[np.nan, 0.5]], "finite"),
        ([2], [[0.5, 0.5]], "from 0 to 1"),
        ([0, 1], [[0.5, 0.5]], r"\(1, 2\) and \(2,\)"),
        ([], np.zeros((0, 2)), "Expected a row"),
    ],
)
def test_error_refuses_what_are_no_probabilities(y_true, probabilities, said):
    with pytest.raises(ValueError, match=said):
        expected_calibration_error(y_true, probabilities)


@pytest.mark.parametrize(("logits", "said"), [([[0.0, np.inf]], "finite"), ([[0.0]], "from 0 to 0"), ([], "shapes")])
def test_temperature_refuses_what_are_no_logits(logits, said):
    with pytest.raises(ValueError, match=said):
        fit_temperature(logits, [1])
