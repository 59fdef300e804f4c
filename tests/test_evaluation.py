import time

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from transformers import EvalPrediction

from emotion_tutorial import compare, compute_metrics, evaluate, repeat_over_seeds
from emotion_tutorial.exceptions import UnknownLabelError

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


def test_compute_metrics_refuses_unequal_lengths():
    with pytest.raises(ValueError, match="inconsistent"):
        compute_metrics(EvalPrediction(predictions=np.zeros((2, 2)), label_ids=np.array([0])))


def test_values_are_those_of_scikit_learn(labels):
    y_true, y_pred = labels
    found = evaluate(y_true, y_pred, NAMES).set_index(["name", "metric"])["value"]
    assert found["overall", "accuracy"] == pytest.approx(accuracy_score(y_true, y_pred))
    for average in ("macro", "weighted"):
        assert found["overall", f"{average}_f1"] == pytest.approx(f1_score(y_true, y_pred, average=average))
    for metric, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        for name, expected in zip(NAMES, score(y_true, y_pred, average=None), strict=True):
            assert found[name, metric] == pytest.approx(expected)


def test_absent_class_scores_zero_and_is_left_out_of_the_macro_mean():
    found = evaluate([0, 0, 1], [0, 0, 1], NAMES).set_index(["name", "metric"])["value"]
    assert found["c", "f1"] == 0
    assert found["overall", "macro_f1"] == 1


def test_interval_is_that_of_resampling_texts(labels):
    y_true, y_pred = labels
    found = evaluate(y_true, y_pred, NAMES, resamples=4000).set_index(["name", "metric"])
    rng = np.random.default_rng(1)
    rows = rng.integers(0, len(y_true), (4000, len(y_true)))
    expected = np.percentile((y_true == y_pred)[rows].mean(axis=1), [2.5, 97.5])
    np.testing.assert_allclose(found.loc[("overall", "accuracy"), ["low", "high"]].astype(float), expected, atol=0.006)
    f1 = [f1_score(y_true[r], y_pred[r], average="macro") for r in rows[:600]]
    np.testing.assert_allclose(
        found.loc[("overall", "macro_f1"), ["low", "high"]].astype(float), np.percentile(f1, [2.5, 97.5]), atol=0.012
    )


def test_shape_support_and_seed(labels):
    report = evaluate(*labels, NAMES)
    assert list(report.columns) == ["name", "metric", "value", "low", "high", "support"]
    assert len(report) == 3 * 3 + 3
    assert (report["low"] <= report["value"]).all()
    assert (report["value"] <= report["high"]).all()
    assert report.query("metric == 'recall'")["support"].tolist() == np.bincount(labels[0]).tolist()
    pd.testing.assert_frame_equal(report, evaluate(*labels, NAMES))
    assert not report.equals(evaluate(*labels, NAMES, seed=1))


@pytest.mark.parametrize(("y_true", "y_pred"), [([0, 3], [0, 0]), ([0, 1], [0, -1])])
def test_unknown_id_is_refused_with_its_place(y_true, y_pred):
    with pytest.raises(UnknownLabelError, match=r"\[1\] is -?\d"):
        evaluate(y_true, y_pred, NAMES)


@pytest.mark.parametrize(("y_true", "y_pred"), [([], []), ([0, 1], [0])])
def test_nothing_to_compare_is_refused(y_true, y_pred):
    with pytest.raises(ValueError, match="equally long lists"):
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


def test_compare_with_itself_finds_nothing(labels):
    found = compare(labels[0], labels[1], labels[1])
    assert found["difference"] == found["low"] == found["high"] == 0
    assert found["p_value"] == 1


def test_equally_good_classifiers_differ_by_chance_only():
    rng = np.random.default_rng(0)
    y_true = np.zeros(2000, dtype=int)
    p_values = [compare(y_true, *(rng.random((2, 2000)) > 0.9).astype(int))["p_value"] for _ in range(100)]
    assert np.mean(np.array(p_values) < 0.05) < 0.1


@pytest.mark.parametrize(
    ("pred_a", "pred_b", "said"),
    [
        ([0, 1], [0], r"pred_b \(1,\)"),
        ([0.0, np.nan], [0, 1], "pred_a has values of type float64"),
        ([0, 1], ["joy", "love"], "pred_b has values of type <U4"),
    ],
)
def test_compare_refuses_what_are_no_ids(pred_a, pred_b, said):
    with pytest.raises(ValueError, match=said):
        compare([0, 1], pred_a, pred_b)


def test_evaluate_refuses_nan():
    with pytest.raises(ValueError, match="y_pred has values of type float64"):
        evaluate([0, 1], [0, np.nan], NAMES)


def test_evaluate_is_quick():
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    evaluate(rng.integers(0, 6, 2000), rng.integers(0, 6, 2000), list("abcdef"), resamples=1000)
    assert time.perf_counter() - start < 2


def test_repeat_over_seeds_gives_mean_and_spread():
    seen = []

    def train(seed: int) -> dict[str, float]:
        seen.append(seed)
        return {"accuracy": 0.9 + seed / 100, "loss": 1.0}

    found = repeat_over_seeds(train, [1, 2, 3])
    assert seen == [1, 2, 3]
    assert found.loc["accuracy", "mean"] == pytest.approx(0.92)
    assert found.loc["accuracy", "std"] == pytest.approx(0.01)
    assert found.loc["loss", "std"] == 0
    assert list(found.columns) == ["mean", "std", "seed 1", "seed 2", "seed 3"]


@pytest.mark.parametrize("seeds", [[], [0], [1, 1]])
def test_one_seed_has_no_spread(seeds):
    with pytest.raises(ValueError, match="two or more different seeds"):
        repeat_over_seeds(lambda seed: {"accuracy": 1.0}, seeds)


def test_other_metrics_from_another_seed_are_refused():
    with pytest.raises(ValueError, match="Seed 1 gave the metrics"):
        repeat_over_seeds(lambda seed: {f"accuracy {seed}": 1.0}, [0, 1])
