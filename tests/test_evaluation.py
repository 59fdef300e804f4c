import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from transformers import EvalPrediction

from emotion_tutorial import DataError, SettingsError, compare, compute_metrics, evaluate, smallest_difference
from emotion_tutorial.calibration import calibration_scores

NAMES = ["a", "b", "c"]


@pytest.fixture
def labels() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 3, 400)
    y_pred = np.where(rng.random(400) < 0.8, y_true, rng.integers(0, 3, 400))
    return y_true, y_pred


def test_compute_metrics():
    logits = np.array([[2.0, 1], [0, 3], [5, 1], [0, 1]])
    found = compute_metrics(EvalPrediction(predictions=(logits, logits), label_ids=np.array([0, 1, 1, 1])))
    f1 = {"weighted_f1": (2 / 3 * 1 + 0.8 * 3) / 4, "macro_f1": (2 / 3 + 0.8) / 2}
    assert found == pytest.approx({"accuracy": 0.75, **f1})


@pytest.mark.parametrize("absent", [[], [1], [0, 4]])
def test_values_are_those_of_scikit_learn(absent):
    """Also of classes that no text has, and of those that are never predicted either."""
    rng, names = np.random.default_rng(len(absent)), list("abcde")
    y_true = rng.choice(np.setdiff1d(range(5), absent), 400)
    y_pred = np.where(rng.random(400) < 0.8, y_true, rng.integers(0, 4, 400))
    found = evaluate(y_true, y_pred, names)["value"]
    assert found["overall", "accuracy"] == pytest.approx(accuracy_score(y_true, y_pred))
    for average in ("macro", "weighted"):
        expected = f1_score(y_true, y_pred, average=average, zero_division=0)
        assert found["overall", f"{average}_f1"] == pytest.approx(expected)
    for metric, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        expected = score(y_true, y_pred, labels=range(5), average=None, zero_division=0)
        np.testing.assert_allclose([found[name, metric] for name in names], expected)


def test_intervals_of_many_texts_are_those_of_resampling(labels):
    y_true, y_pred = labels
    report = evaluate(y_true, y_pred, NAMES, resamples=4000)
    assert report.query("metric == 'recall'")["support"].tolist() == np.bincount(y_true).tolist()
    pd.testing.assert_frame_equal(report, evaluate(y_true, y_pred, NAMES, resamples=4000))
    found = report[["low", "high"]]
    rows = np.random.default_rng(1).integers(0, len(y_true), (600, len(y_true)))
    f1 = [f1_score(y_true[r], y_pred[r], average=None) for r in rows]
    by_name = {"accuracy": [accuracy_score(y_true[r], y_pred[r]) for r in rows], "macro_f1": np.mean(f1, axis=1)}
    for metric, scores in by_name.items():
        np.testing.assert_allclose(found.loc["overall", metric], np.percentile(scores, [2.5, 97.5]), atol=0.012)
    for i, name in enumerate(NAMES):
        np.testing.assert_allclose(found.loc[name, "f1"], np.percentile(np.array(f1)[:, i], [2.5, 97.5]), atol=0.012)


def test_few_texts_leave_room_for_doubt():
    """Wilson's interval of 10 of 10 is 72% to 1, and where there is no text everything is possible."""
    found = evaluate([0] * 10, [0] * 10, NAMES)
    for of in (("overall", "accuracy"), ("a", "precision"), ("a", "recall")):
        assert found.loc[of, ["value", "low", "high"]].tolist() == pytest.approx([1, 0.7225, 1], abs=1e-4)
    assert found.loc[("a", "f1"), "low"] == pytest.approx(2 * 0.7225 / 1.7225, abs=1e-4)
    for metric in ("precision", "recall", "f1"):
        assert found.loc[("b", metric), ["value", "low", "high"]].tolist() == [0, 0, 1]
    wrong = evaluate([0, 0, 1], [1, 1, 0], NAMES).loc[("overall", "accuracy")]
    assert wrong[["value", "low"]].tolist() == [0, 0]
    assert wrong["high"] == pytest.approx(0.5615, abs=1e-4)


IDS = pd.Series([0, 1, 2], index=[4, 5, 6])
NO_IDS = [([0, 1, 0.5], r"\[2\] is 0.5"), (["a", "b", "c"], r"\[0\] is 'a'"), ([0, 1], "3 texts and 2")]
NO_IDS += [(IDS.where(IDS != 1), r"\[1\] \(index 5\) is missing"), (IDS[::-1], "different indexes")]


@pytest.mark.parametrize(("ids", "said"), NO_IDS, ids=str)
def test_what_are_no_ids_is_refused(ids, said):
    probabilities = pd.DataFrame(np.eye(3), index=IDS.index)
    calls = [lambda: evaluate(IDS, ids, NAMES), lambda: compare(IDS, IDS, ids)]
    for call in (*calls, lambda: calibration_scores(ids, probabilities)):
        with pytest.raises(DataError, match=said):
            call()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: evaluate([0, 1], [0, 1], NAMES, resamples=0), "resamples"),
        (lambda: evaluate([0], [0], "ab"), "label_names"),
        (lambda: evaluate([0], [0], ["a", "a"]), "twice"),
        (lambda: evaluate([3], [0], NAMES), r"y_true\[0\] is 3"),
        (lambda: compare([0], [0], [0], metric="f1"), "metric"),
        (lambda: smallest_difference(0, 0.1), "texts"),
        (lambda: smallest_difference(100, 1.1), "disagreement"),
        (lambda: smallest_difference(100, np.nan), "disagreement"),
        (lambda: smallest_difference(100, 0.1, power=1), "power"),
        (lambda: compute_metrics((np.array([[1, 0], [np.nan, 1]]), [0, 1])), r"predictions\[1\] .*finite"),
    ],
)
def test_wrong_settings_and_names_are_refused(call, said):
    with pytest.raises((DataError, SettingsError), match=said):
        call()


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


def macro_f1(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    pairs = [(y_true == label, y_pred == label) for label in np.union1d(y_true, y_pred)]
    return np.mean([2 * (true & predicted).sum() / (true.sum() + predicted.sum()) for true, predicted in pairs])


@pytest.mark.parametrize("classes", [2, 6])
def test_compare_of_macro_f1_is_the_paired_bootstrap(classes):
    rng = np.random.default_rng(classes)
    y = rng.integers(0, classes, 300)
    a, b = (np.where(rng.random(300) < right, y, rng.integers(0, classes, 300)) for right in (0.6, 0.75))
    names = [*map(str, range(classes))]
    found = compare(y * 7 - 3, a * 7 - 3, b * 7 - 3, metric="macro_f1", resamples=2000)  # any ids
    scores = [evaluate(y, p, names).loc[("overall", "macro_f1"), "value"] for p in (a, b)]
    assert found.tolist()[:3] == pytest.approx([*scores, scores[1] - scores[0]])
    rows = rng.integers(0, 300, (1000, 300))
    drawn = [macro_f1(y[r], b[r]) - macro_f1(y[r], a[r]) for r in rows]
    np.testing.assert_allclose(found[["low", "high"]], np.percentile(drawn, [2.5, 97.5]), atol=0.012)
    again = [compare(y, b, a, metric="macro_f1", resamples=2000, seed=seed) for seed in (0, 0, 1)]
    pd.testing.assert_series_equal(again[0], again[1])
    assert again[0]["low"] == pytest.approx(-found["high"], abs=0.012)
    assert again[0]["low"] != again[2]["low"]


@pytest.mark.parametrize("power", [0.05, 0.8, 0.99])
def test_the_smallest_difference_solves_the_formula(power):
    z, z_power = norm.ppf([0.975, power])
    for n, p in ((50, 1), (100, 0.4), (np.int64(700), np.float32(0.125))):
        d = smallest_difference(n, p, power=power)
        assert n == pytest.approx((z * p**0.5 + z_power * (p - d**2) ** 0.5) ** 2 / d**2)
    for texts, disagreement in ((100, 0.03), (3, 1), (100, 0)):  # even if one is never right alone
        assert np.isnan(smallest_difference(texts, disagreement, power=max(power, 0.5)))
