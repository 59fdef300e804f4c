"""Calibration: whether probabilities mean what they say, and the temperature that corrects them."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from datasets import ClassLabel, Dataset
from scipy.special import softmax
from transformers import BertConfig, BertForSequenceClassification

import emotion_tutorial as et
from emotion_tutorial import DataError, SettingsError, calibrate, calibration_scores, calibration_table
from emotion_tutorial.calibration import fit_temperature
from emotion_tutorial.inference import predict_logits

NAMES = ["calm", "cross", "merry"]
WORDS = ["tea", "rain", "sun", "home", "road", "night", "day", "cold", "warm", "song"]
TEXTS = [f"{a} {b}" for a in WORDS for b in WORDS]


def calibrated(texts: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids, and logits whose softmax is how probable each id was."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (texts, labels))
    drawn = (rng.random((texts, 1)) > softmax(logits, axis=1).cumsum(axis=1)).sum(axis=1)
    return np.minimum(drawn, labels - 1), logits


@pytest.mark.parametrize(("labels", "temperature"), [(2, 0.5), (3, 1e-6), (11, 3e6)])
def test_temperature_is_found_again_at_any_scale(labels, temperature):
    y, logits = calibrated(20_000, labels)
    assert fit_temperature(logits * temperature, y) == pytest.approx(temperature, rel=0.07)
    masked = np.c_[logits * temperature, np.full(len(y), -1e9 * temperature)]
    assert fit_temperature(masked, y) == pytest.approx(fit_temperature(logits * temperature, y), rel=1e-3)


@pytest.mark.parametrize("logits", [[[3.0, 0], [0, 3]], [[0.0, 3], [3, 0]], [[0.9, 0.1], [0.4, 0.6]]])
def test_no_temperature_is_made_up(logits):
    with pytest.raises(DataError, match=r"No temperature|probabilities"):
        fit_temperature(np.array(logits, dtype="float16"), [0, 1])


def test_table_is_that_by_hand():
    """An interval has its upper end, and one without a text is left out."""
    probabilities = [[0.9, 0.1], [0.85, 0.15], [0.4, 0.6], [1.0, 0.0], [0.5, 0.5]]
    expected = {"low": [0.4, 0.5, 0.8, 0.9], "high": [0.5, 0.6, 0.9, 1], "texts": [1, 1, 2, 1]}
    expected |= {"confidence": [0.5, 0.6, 0.875, 1], "accuracy": [1, 1, 0.5, 1]}
    table = calibration_table([0, 1, 1, 0, 0], probabilities)
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected), check_dtype=False)
    table = calibration_table([0, 0], [[0.7, 0.2, 0.1], [0.7, 0.3, 0]])  # the sum of the first is below 1
    assert table[["high", "texts"]].to_numpy().tolist() == [[0.7, 2]]


def test_scores_are_those_by_hand():
    rows, ids = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), pd.Series([0, 1])
    found = calibration_scores(ids, rows)
    error = (abs(1 - 0.7) + abs(0 - 0.6)) / 2
    brier = (0.3**2 + 0.2**2 + 0.1**2 + 0.1**2 + 0.7**2 + 0.6**2) / 2
    expected = {"log_loss": -np.log([0.7, 0.3]).mean(), "brier_score": brier, "calibration_error": error}
    assert found.to_dict() == pytest.approx(expected)
    sure = [calibration_scores(label, [[1.0, 0]]).tolist() for label in ([0], [1])]  # two labels; right, and wrong
    assert sure[0] == pytest.approx([0, 0, 0], abs=1e-9)
    assert sure[1] == pytest.approx([36.04, 2, 1], abs=0.01)
    rows = softmax(np.random.default_rng(0).normal(size=(999, 150)).astype(np.float32), axis=1)
    exact, rounded = (calibration_scores(np.arange(999) % 150, of) for of in (rows, rows.astype("float16")))
    assert rounded.to_dict() == pytest.approx(exact.to_dict(), abs=1e-3)


@pytest.mark.parametrize("measure", [calibration_table, calibration_scores])
def test_what_are_no_probabilities_or_bins_is_refused(measure):
    for row in ([0.5, 0.4], [1.5, -0.5]):
        with pytest.raises(DataError, match=r"\[1\]"):
            measure([0, 1], [[0.5, 0.5], row])
    for bins in (0, 2.5, None):
        with pytest.raises(SettingsError, match="bins"):
            measure([0], [[0.5, 0.5]], bins=bins)


@pytest.fixture
def model() -> BertForSequenceClassification:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(**sizes, initializer_range=0.3, id2label=dict(enumerate(NAMES)))
    model = BertForSequenceClassification(config).eval()
    for weight in model.classifier.parameters():
        torch.nn.init.normal_(weight)
    return model


def labeled(ids: np.ndarray) -> Dataset:
    data = Dataset.from_dict({"text": TEXTS, "label": ids})
    return data.cast_column("label", ClassLabel(names=NAMES))


@pytest.fixture
def split(model, tokenizer) -> Dataset:
    """Return texts whose labels are as the model's logits say, divided by three."""
    p = softmax(predict_logits(TEXTS, model, tokenizer) / 3, axis=1)
    drawn = (np.random.default_rng(0).random((len(TEXTS), 1)) > p.cumsum(axis=1)).sum(axis=1)
    return labeled(np.minimum(drawn, 2))


def test_calibrates_in_place(model, tokenizer, split):
    before = predict_logits(TEXTS, model, tokenizer)
    body = copy.deepcopy(model.bert.state_dict())
    table = calibrate(model.train(), tokenizer, split)
    temperature = table.loc["after", "temperature"]
    assert model.training
    assert temperature == pytest.approx(fit_temperature(before, split["label"]))
    assert 1.5 < temperature < 6
    np.testing.assert_allclose(predict_logits(TEXTS, model, tokenizer), before / temperature, atol=1e-5)
    assert all(weight.equal(body[name]) for name, weight in model.bert.state_dict().items())
    for row, logits in (("before", before), ("after", before / temperature)):
        expected = calibration_scores(split["label"], softmax(logits.astype(np.float64), axis=1))
        pd.testing.assert_series_equal(table.loc[row].drop("temperature"), expected, check_names=False, atol=1e-5)
    assert table.loc["before", "temperature"] == 1
    assert table.loc["after", "log_loss"] < table.loc["before", "log_loss"]


def test_the_model_remembers_the_product_and_new_heads_and_trainings_forget_it(model, tokenizer, split, tmp_path):
    first, second = (calibrate(model, tokenizer, split).loc["after", "temperature"] for _ in range(2))
    assert second == pytest.approx(1, abs=1e-3)
    et.save_model(model, tokenizer, tmp_path)
    loaded = et.load_classifier(tmp_path, NAMES, "cpu")
    third = calibrate(loaded, tokenizer, split).loc["after", "temperature"]
    assert loaded.config.calibration_temperature == first * second * third
    fresh = et.load_classifier(tmp_path, ["good", "bad"], "cpu", new_head=True)
    settings = {"output_dir": tmp_path / "new", "learning_rate": 1e-3, "epochs": 1, "batch_size": 50, "use_cpu": True}
    trainer = et.build_trainer({"train": split, "validation": split}, tmp_path, **settings)
    trainer.model.config.calibration_temperature = 2.0
    trainer.train()
    for config in (fresh.config, trainer.model.config):
        assert not hasattr(config, "calibration_temperature")


def test_pipeline_and_export_give_calibrated_probabilities(model, tokenizer, split, tmp_path):
    before = et.predict_proba(TEXTS, model, tokenizer)
    calibrate(model, tokenizer, split)
    et.save_model(model, tokenizer, tmp_path)
    found = et.predict_proba(TEXTS, model, tokenizer)
    pipeline = transformers.pipeline("text-classification", model=str(tmp_path), top_k=None, device="cpu")
    piped = pd.DataFrame([{score["label"]: score["score"] for score in scores} for scores in pipeline(TEXTS)])[NAMES]
    np.testing.assert_allclose(piped, found, atol=1e-5)
    export = et.export_onnx(model, tokenizer, tmp_path / "onnx", quantize=False)
    np.testing.assert_allclose(et.OnnxClassifier(export).predict_proba(TEXTS), found, atol=1e-5)
    assert (found.idxmax(axis=1) == before.idxmax(axis=1)).all()
    assert found.max(axis=1).mean() < before.max(axis=1).mean() - 0.1


def test_half_precision_is_calibrated_as_well_as_it_can_be(model, tokenizer, split):
    before = predict_logits(TEXTS, model.to(torch.bfloat16), tokenizer)
    temperature = calibrate(model, tokenizer, split).loc["after", "temperature"]
    after = predict_logits(TEXTS, model, tokenizer)
    assert model.dtype == model.classifier.weight.dtype == torch.bfloat16
    np.testing.assert_allclose(after * temperature, before, atol=0.03 * np.abs(before).max())


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("second", "error"), [(interrupt, KeyboardInterrupt), (lambda: np.eye(100, 3), et.CheckpointError)]
)
def test_other_heads_and_interruptions_leave_the_model_as_it_was(model, tokenizer, split, monkeypatch, second, error):
    before = copy.deepcopy(model.state_dict())
    first = predict_logits(TEXTS, model, tokenizer)
    results = iter([lambda: first, second])  # of a head that is not linear, the logits are not divided
    monkeypatch.setattr(et.calibration, "predict_logits", lambda *args: next(results)())
    with pytest.raises(error):
        calibrate(model, tokenizer, split)
    assert all(weight.equal(before[name]) for name, weight in model.state_dict().items())
    assert not hasattr(model.config, "calibration_temperature")


def test_where_no_temperature_is_best_nothing_changes(model, tokenizer, split):
    before = copy.deepcopy(model.state_dict())
    right = labeled(predict_logits(TEXTS, model, tokenizer).argmax(axis=1))
    other = split.cast_column("label", ClassLabel(names=["a", "b", "c"]))
    refused = ((right, "No temperature"), (split.select([]), "no texts"), (split["text"], "split="))
    for wrong, said in (*refused, (other, "labels a, b, c")):
        with pytest.raises(DataError, match=said):
            calibrate(model, tokenizer, wrong)
    assert all(weight.equal(before[name]) for name, weight in model.state_dict().items())
