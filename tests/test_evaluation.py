import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from transformers import EvalPrediction

from emotion_tutorial import DataError, compare, compute_metrics, evaluate
from emotion_tutorial.calibration import expected_calibration_error, fit_temperature

NAMES = ["a", "b", "c"]


@pytest.fixture
def labels() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 3, 400)
    y_pred = np.where(rng.random(400) < 0.8, y_true, rng.integers(0, 3, 400))
    return y_true, y_pred


def test_compute_metrics():
    logits = np.array([[2.0, 1], [0, 3], [5, 1], [0, 1]])
    found = compute_metrics(EvalPrediction(predictions=logits, label_ids=np.array([0, 1, 1, 1])))
    f1 = {"weighted_f1": (2 / 3 * 1 + 0.8 * 3) / 4, "macro_f1": (2 / 3 + 0.8) / 2}
    assert found == pytest.approx({"accuracy": 0.75, **f1})


@pytest.mark.parametrize("absent", [[], [1], [0, 4]])
def test_values_are_those_of_scikit_learn(absent):
    """Also of classes that no text has, and of those that are never predicted either."""
    rng, names = np.random.default_rng(len(absent)), list("abcde")
    y_true = rng.choice(np.setdiff1d(range(5), absent), 400)
    y_pred = np.where(rng.random(400) < 0.8, y_true, rng.integers(0, 4, 400))
    found = evaluate(y_true, y_pred, names).set_index(["name", "metric"])["value"]
    assert found["overall", "accuracy"] == pytest.approx(accuracy_score(y_true, y_pred))
    for average in ("macro", "weighted"):
        expected = f1_score(y_true, y_pred, average=average, zero_division=0)
        assert found["overall", f"{average}_f1"] == pytest.approx(expected)
    for metric, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        expected = score(y_true, y_pred, labels=range(5), average=None, zero_division=0)
        np.testing.assert_allclose([found[name, metric] for name in names], expected)


def test_interval_is_that_of_resampling_texts(labels):
    y_true, y_pred = labels
    found = evaluate(y_true, y_pred, NAMES, resamples=4000).set_index("metric")[["low", "high"]]
    rows = np.random.default_rng(1).integers(0, len(y_true), (4000, len(y_true)))
    expected = np.percentile((y_true == y_pred)[rows].mean(axis=1), [2.5, 97.5])
    np.testing.assert_allclose(found.loc["accuracy"], expected, atol=0.006)
    f1 = [f1_score(y_true[r], y_pred[r], average="macro") for r in rows[:600]]
    np.testing.assert_allclose(found.loc["macro_f1"], np.percentile(f1, [2.5, 97.5]), atol=0.012)


def test_shape_support_and_seed(labels):
    report = evaluate(*labels, NAMES)
    assert list(report.columns) == ["name", "metric", "value", "low", "high", "support"]
    assert report["value"].between(report["low"], report["high"]).all()
    assert report.query("metric == 'recall'")["support"].tolist() == np.bincount(labels[0]).tolist()
    pd.testing.assert_frame_equal(report, evaluate(*labels, NAMES))
    assert not report.equals(evaluate(*labels, NAMES, seed=1))


def test_what_are_no_ids_of_labels_is_refused():
    for y_true, y_pred in (([0, 3], [0, 0]), ([0, 1], [0, -1])):
        with pytest.raises(DataError, match=r"\[1\] is -?\d"):
            evaluate(y_true, y_pred, NAMES)
    for y_true, y_pred in (([], []), ([0, 1], [0]), ([0, 1], [0, np.nan]), ([0, 1], ["a", "b"])):
        with pytest.raises(ValueError, match="xpected"):
            evaluate(y_true, y_pred, NAMES)


def test_compare_is_the_paired_bootstrap_and_mcnemar(labels):
    y_true, pred_a = labels
    rng = np.random.default_rng(3)
    pred_b = np.where(rng.random(400) < 0.5, y_true, rng.permutation(pred_a))
    found = compare(y_true, pred_a, pred_b)
    accuracies = [accuracy_score(y_true, predicted) for predicted in (pred_a, pred_b)]
    assert found[["accuracy_a", "accuracy_b"]].tolist() == pytest.approx(accuracies)
    assert found["difference"] == pytest.approx(found["accuracy_b"] - found["accuracy_a"])
    only_a, only_b = ((one == y_true) & (other != y_true) for one, other in ((pred_a, pred_b), (pred_b, pred_a)))
    assert (found["only_a_right"], found["only_b_right"]) == (only_a.sum(), only_b.sum())
    assert found["p_value"] == pytest.approx(binomtest(only_a.sum(), only_a.sum() + only_b.sum()).pvalue)
    rows = rng.integers(0, 400, (4000, 400))
    gain = (pred_b == y_true).astype(float) - (pred_a == y_true)
    expected = np.percentile(gain[rows].mean(axis=1), [2.5, 97.5])
    np.testing.assert_allclose(found[["low", "high"]].astype(float), expected, atol=0.006)
    pd.testing.assert_series_equal(found, compare(y_true, pred_a, pred_b))
    same = compare(y_true, pred_a, pred_a)
    assert (same["difference"], same["low"], same["high"], same["p_value"]) == (0, 0, 0, 1)


def calibrated(texts: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids, and logits whose softmax is how probable each id was."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (texts, labels))
    drawn = (rng.random((texts, 1)) > softmax(logits, axis=1).cumsum(axis=1)).sum(axis=1)
    return np.minimum(drawn, labels - 1), logits


def test_calibration_error_is_that_by_hand_and_small_if_calibrated():
    # Confidence 0.9, right once of two: off by 0.4. Confidence 0.6, right: off by 0.4. Confidence 1, right: off by 0.
    probabilities = [[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [1.0, 0.0]]
    assert expected_calibration_error([0, 1, 1, 0], probabilities, bins=10) == pytest.approx(3 / 4 * 0.4)
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
        *(([0], [[0.5, 0.4]], "Row 0"), ([0, 1], [[0.5, 0.5], [1.5, -0.5]], "Expected probabilities")),
        *(([0], [[np.nan, 0.5]], "finite"), ([2], [[0.5, 0.5]], "from 0 to 1")),
        *(([0, 1], [[0.5, 0.5]], r"\(1, 2\) and \(2,\)"), ([], np.zeros((0, 2)), "Expected a row")),
    ],
)
def test_calibration_error_refuses_what_are_no_probabilities(y_true, probabilities, said):
    with pytest.raises(ValueError, match=said):
        expected_calibration_error(y_true, probabilities)


@pytest.mark.parametrize(("logits", "said"), [([[0.0, np.inf]], "finite"), ([[0.0]], "from 0 to 0"), ([], "shapes")])
def test_temperature_refuses_what_are_no_logits(logits, said):
    with pytest.raises(ValueError, match=said):
        fit_temperature(logits, [1])
