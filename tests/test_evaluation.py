import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from transformers import EvalPrediction

from emotion_tutorial import compare, compute_metrics, evaluate, repeat_over_seeds
from emotion_tutorial.exceptions import DataError

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
    assert found == {
        "accuracy": 0.75,
        "weighted_f1": pytest.approx((2 / 3 * 1 + 0.8 * 3) / 4),
        "macro_f1": pytest.approx((2 / 3 + 0.8) / 2),
    }


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
    assert (report["low"] <= report["value"]).all()
    assert (report["value"] <= report["high"]).all()
    assert report.query("metric == 'recall'")["support"].tolist() == np.bincount(labels[0]).tolist()
    pd.testing.assert_frame_equal(report, evaluate(*labels, NAMES))
    assert not report.equals(evaluate(*labels, NAMES, seed=1))


@pytest.mark.parametrize(("y_true", "y_pred"), [([0, 3], [0, 0]), ([0, 1], [0, -1])])
def test_unknown_id_is_refused_with_its_place(y_true, y_pred):
    with pytest.raises(DataError, match=r"\[1\] is -?\d"):
        evaluate(y_true, y_pred, NAMES)


@pytest.mark.parametrize(("y_true", "y_pred"), [([], []), ([0, 1], [0]), ([0, 1], [0, np.nan]), ([0, 1], ["a", "b"])])
def test_what_are_no_ids_is_refused(y_true, y_pred):
    with pytest.raises(ValueError, match="xpected"):
        evaluate(y_true, y_pred, NAMES)


def test_compare_is_the_paired_bootstrap_and_mcnemar(labels):
    y_true, pred_a = labels
    rng = np.random.default_rng(3)
    pred_b = np.where(rng.random(400) < 0.5, y_true, pred_a)  # right wherever a is
    found = compare(y_true, pred_a, pred_b)
    assert found["accuracy_a"] == pytest.approx(accuracy_score(y_true, pred_a))
    assert found["accuracy_b"] == pytest.approx(accuracy_score(y_true, pred_b))
    assert found["difference"] == pytest.approx(found["accuracy_b"] - found["accuracy_a"])
    assert found["only_a_right"] == 0
    assert found["only_b_right"] == round(found["difference"] * 400) > 10
    assert found["p_value"] == pytest.approx(2 * 0.5 ** found["only_b_right"])
    rows = rng.integers(0, 400, (4000, 400))
    gain = (pred_b == y_true).astype(float) - (pred_a == y_true)
    expected = np.percentile(gain[rows].mean(axis=1), [2.5, 97.5])
    np.testing.assert_allclose(found[["low", "high"]].astype(float), expected, atol=0.006)
    pd.testing.assert_series_equal(found, compare(y_true, pred_a, pred_b))
    same = compare(y_true, pred_a, pred_a)
    assert (same["difference"], same["low"], same["high"], same["p_value"]) == (0, 0, 0, 1)


def test_equally_good_classifiers_differ_by_chance_only():
    rng = np.random.default_rng(0)
    y_true = np.zeros(2000, dtype=int)
    p_values = [compare(y_true, *(rng.random((2, 2000)) > 0.9).astype(int))["p_value"] for _ in range(100)]
    assert np.mean(np.array(p_values) < 0.05) < 0.1


def test_repeat_over_seeds_gives_mean_and_spread():
    found = repeat_over_seeds(lambda seed: {"accuracy": 0.9 + seed / 100, "loss": 1.0}, [1, 2, 3])
    np.testing.assert_allclose(found.loc["accuracy"], [0.92, 0.01, 0.91, 0.92, 0.93])
    np.testing.assert_allclose(found.loc["loss"], [1, 0, 1, 1, 1])
    assert list(found.columns) == ["mean", "std", "seed 1", "seed 2", "seed 3"]


@pytest.mark.parametrize(("seeds", "said"), [([0], "two or more"), ([1, 1], "two or more"), ([0, 1], "Seed 1 gave")])
def test_seeds_without_a_spread_are_refused(seeds, said):
    with pytest.raises(ValueError, match=said):
        repeat_over_seeds(lambda seed: {f"accuracy {seed}": 1.0}, seeds)
