import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from transformers import EvalPrediction

from emotion_tutorial import DataError, SettingsError, compare, compute_metrics, evaluate
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


def test_intervals_of_many_texts_are_those_of_resampling(labels):
    y_true, y_pred = labels
    found = evaluate(y_true, y_pred, NAMES, resamples=4000).set_index(["name", "metric"])[["low", "high"]]
    rows = np.random.default_rng(1).integers(0, len(y_true), (600, len(y_true)))
    f1 = [f1_score(y_true[r], y_pred[r], average=None) for r in rows]
    by_name = {"accuracy": [accuracy_score(y_true[r], y_pred[r]) for r in rows], "macro_f1": np.mean(f1, axis=1)}
    for metric, scores in by_name.items():
        np.testing.assert_allclose(found.loc["overall", metric], np.percentile(scores, [2.5, 97.5]), atol=0.012)
    for i, name in enumerate(NAMES):
        np.testing.assert_allclose(found.loc[name, "f1"], np.percentile(np.array(f1)[:, i], [2.5, 97.5]), atol=0.012)


def test_few_texts_leave_room_for_doubt():
    """Wilson's interval of 10 of 10 is 72% to 1, and where there is no text everything is possible."""
    found = evaluate([0] * 10, [0] * 10, NAMES).set_index(["name", "metric"])
    for of in (("overall", "accuracy"), ("a", "precision"), ("a", "recall")):
        assert found.loc[of, ["value", "low", "high"]].tolist() == pytest.approx([1, 0.7225, 1], abs=1e-4)
    assert found.loc[("a", "f1"), "low"] == pytest.approx(2 * 0.7225 / 1.7225, abs=1e-4)
    for metric in ("precision", "recall", "f1"):
        assert found.loc[("b", metric), ["value", "low", "high"]].tolist() == [0, 0, 1]
    wrong = evaluate([0, 0, 1], [1, 1, 0], NAMES).set_index("metric").loc["accuracy"]
    assert wrong[["value", "low"]].tolist() == [0, 0]
    assert wrong["high"] == pytest.approx(0.5615, abs=1e-4)


def test_shape_support_and_seed(labels):
    report = evaluate(*labels, NAMES)
    assert list(report.columns) == ["name", "metric", "value", "low", "high", "support"]
    assert report["value"].between(report["low"], report["high"]).all()
    assert report.query("metric == 'recall'")["support"].tolist() == np.bincount(labels[0]).tolist()
    pd.testing.assert_frame_equal(report, evaluate(*labels, NAMES))
    assert not report.equals(evaluate(*labels, NAMES, seed=1))


IDS = pd.Series([0, 1, 2], index=[4, 5, 6])
NO_IDS = [([0, 1, 0.5], r"\[2\] is 0.5"), (["a", "b", "c"], r"\[0\] is 'a'"), ([0, 1], "3 texts and 2")]
NO_IDS += [(IDS.where(IDS != 1), r"\[1\] \(index 5\) is missing"), (IDS[::-1], "different indexes")]


@pytest.mark.parametrize(("ids", "said"), NO_IDS, ids=str)
def test_what_are_no_ids_is_refused(ids, said):
    probabilities = pd.DataFrame(np.eye(3), index=IDS.index)
    calls = [
        lambda: evaluate(IDS, ids, NAMES),
        lambda: compare(IDS, IDS, ids),
        lambda: fit_temperature(probabilities, ids),
    ]
    for call in (*calls, lambda: expected_calibration_error(ids, probabilities)):
        with pytest.raises(DataError, match=said):
            call()


def test_ids_of_any_kind_of_column_are_taken():
    expected = evaluate([0, 1, 2], [0, 1, 1], NAMES)
    for kind in (iter, np.uint8, pd.Index, lambda ids: pd.Series(ids, dtype="Int64"), lambda ids: [*map(float, ids)]):
        pd.testing.assert_frame_equal(evaluate(kind([0, 1, 2]), kind([0, 1, 1]), NAMES), expected)
    assert compare(IDS, IDS, pd.Series([0, 1, 1], index=IDS.index).to_frame())["only_a_right"] == 1


def test_wrong_settings_and_names_are_refused():
    for settings in ({"resamples": 0}, {"resamples": 1.5}, {"seed": -1}, {"seed": "a"}):
        with pytest.raises(SettingsError, match=next(iter(settings))):
            evaluate([0, 1], [0, 1], NAMES, **settings)
    with pytest.raises(SettingsError, match="bins"):
        expected_calibration_error([0], [[0.5, 0.5]], bins=0)
    for y_true, names, said in (
        ([0], "ab", "label_names"),
        ([0], ["a", "a"], "twice"),
        ([3], NAMES, r"y_true\[0\] is 3"),
    ):
        with pytest.raises(DataError, match=said):
            evaluate(y_true, [0], names)


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
    same = compare([0] * 10, [0] * 10, [0] * 10)  # ten texts cannot show that two classifiers are equal
    assert same[["difference", "low", "high", "p_value"]].tolist() == pytest.approx([0, -0.1633, 0.1633, 1], abs=1e-4)
    assert compare([0], [1], [0])[["difference", "high"]].tolist() == [1, 1]


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


def test_probabilities_sum_to_one_and_logits_are_finite():
    for rows, said in (([[0.5, 0.5], [0.5, 0.4]], r"\[1\] sums to 0.9"), ([[0.5, 0.5], [1.5, -0.5]], r"\[1\]")):
        with pytest.raises(DataError, match=said):
            expected_calibration_error([0, 1], rows)
    logits, ids = np.eye(2), np.array([0, 1])
    assert compute_metrics(EvalPrediction(predictions=(logits, logits), label_ids=ids))["accuracy"] == 1
    with pytest.raises(DataError, match=r"predictions\[1\] .*finite"):
        compute_metrics(EvalPrediction(predictions=logits * [[1], [np.nan]], label_ids=ids))


@pytest.mark.parametrize("logits", [[[3.0, 0], [0, 3]], [[0.0, 3], [3, 0]], [[0.9, 0.1], [0.4, 0.6]]])
def test_no_temperature_is_made_up(logits):
    with pytest.raises(DataError, match=r"No temperature|probabilities"):
        fit_temperature(logits, [0, 1])


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_temperature_follows_the_scale_of_the_logits(scale):
    y, logits = calibrated(2000, 3)
    assert fit_temperature(scale * logits, y) == pytest.approx(scale * fit_temperature(logits, y), rel=1e-3)
