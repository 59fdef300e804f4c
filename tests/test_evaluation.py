import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from transformers import EvalPrediction

from emotion_tutorial import compute_metrics, evaluate
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
    with pytest.raises(ValueError, match="two equally long lists"):
        evaluate(y_true, y_pred, NAMES)
