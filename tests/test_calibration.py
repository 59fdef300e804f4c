"""Calibration: whether probabilities mean what they say, and the temperature that corrects them."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from datasets import ClassLabel, Dataset
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from transformers import BertConfig, BertForSequenceClassification

import emotion_tutorial as et
from emotion_tutorial import DataError, SettingsError, calibrate, calibration_scores, calibration_table
from emotion_tutorial.calibration import expected_calibration_error, fit_temperature
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


@pytest.mark.parametrize("logits", [[[3.0, 0], [0, 3]], [[0.0, 3], [3, 0]], [[0.9, 0.1], [0.4, 0.6]]])
def test_no_temperature_is_made_up(logits):
    with pytest.raises(DataError, match=r"No temperature|probabilities"):
        fit_temperature(logits, [0, 1])


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_temperature_follows_the_scale_of_the_logits(scale):
    y, logits = calibrated(2000, 3)
    assert fit_temperature(scale * logits, y) == pytest.approx(scale * fit_temperature(logits, y), rel=1e-3)


class Given(ClassifierMixin, BaseEstimator):
    """Takes logits for features and gives them back."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        return X

    def predict(self, X):
        return X.argmax(axis=1)


def test_temperature_is_that_of_scikit_learn():
    y, logits = calibrated(500, 4)
    scaled = CalibratedClassifierCV(FrozenEstimator(Given().fit(logits, y)), method="temperature").fit(3 * logits, y)
    expected = softmax(3 * logits / fit_temperature(3 * logits, y), axis=1)
    np.testing.assert_allclose(scaled.predict_proba(3 * logits), expected, atol=1e-3)


def test_table_is_that_by_hand():
    """An interval has its upper end, and one without a text is left out."""
    probabilities = [[0.9, 0.1], [0.85, 0.15], [0.4, 0.6], [1.0, 0.0], [0.5, 0.5]]
    expected = {"low": [0.4, 0.5, 0.8, 0.9], "high": [0.5, 0.6, 0.9, 1], "texts": [1, 1, 2, 1]}
    expected |= {"confidence": [0.5, 0.6, 0.875, 1], "accuracy": [1, 1, 0.5, 1]}
    table = calibration_table([0, 1, 1, 0, 0], probabilities)
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected), check_dtype=False)
    [whole] = calibration_table(iter([0, 1, 1, 0, 0]), probabilities, bins=1).to_numpy()
    assert whole.tolist() == pytest.approx([0, 1, 5, 0.77, 0.8])


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
    assert calibration_scores(np.arange(999) % 150, rows).notna().all()  # rounded rows, and labels that are missing


def test_what_are_no_probabilities_or_bins_is_refused():
    for measure in (calibration_table, calibration_scores):
        for rows, said in (([[0.5, 0.5], [0.5, 0.4]], r"\[1\] sums to 0.9"), ([[0.5, 0.5], [1.5, -0.5]], r"\[1\]")):
            with pytest.raises(DataError, match=said):
                measure([0, 1], rows)
        for bins in (0, 2.5, "10", None, True):
            with pytest.raises(SettingsError, match="bins"):
                measure([0], [[0.5, 0.5]], bins=bins)


def make_model(**sizes: object) -> BertForSequenceClassification:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64} | sizes
    config = BertConfig(**sizes, initializer_range=0.3, id2label=dict(enumerate(NAMES)))
    return BertForSequenceClassification(config).eval()


@pytest.fixture
def model() -> BertForSequenceClassification:
    model = make_model()
    for weight in model.classifier.parameters():
        torch.nn.init.normal_(weight)
    return model


@pytest.fixture
def split(model, tokenizer) -> Dataset:
    """Return texts whose labels are as the model's logits say, divided by three."""
    p = softmax(predict_logits(TEXTS, model, tokenizer) / 3, axis=1)
    drawn = (np.random.default_rng(0).random((len(TEXTS), 1)) > p.cumsum(axis=1)).sum(axis=1)
    data = Dataset.from_dict({"text": TEXTS, "label": np.minimum(drawn, 2)})
    return data.cast_column("label", ClassLabel(names=NAMES))


@pytest.mark.parametrize("training", [False, True])
def test_calibrates_in_place(model, tokenizer, split, training):
    before = predict_logits(TEXTS, model, tokenizer)
    body = copy.deepcopy(model.bert.state_dict())
    table = calibrate(model.train(training), tokenizer, split)
    temperature = table.loc["after", "temperature"]
    assert model.training is model.bert.training is training
    assert temperature == pytest.approx(fit_temperature(before, split["label"]))
    assert 1.5 < temperature < 6
    np.testing.assert_allclose(predict_logits(TEXTS, model, tokenizer), before / temperature, atol=1e-5)
    assert all(weight.equal(body[name]) for name, weight in model.bert.state_dict().items())
    for row, logits in (("before", before), ("after", before / temperature)):
        expected = calibration_scores(split["label"], softmax(logits.astype(np.float64), axis=1))
        pd.testing.assert_series_equal(table.loc[row].drop("temperature"), expected, check_names=False, atol=1e-5)
    assert table.loc["before", "temperature"] == 1
    assert table.loc["after", "log_loss"] < table.loc["before", "log_loss"]


def test_second_call_finds_little_left_and_the_model_remembers_the_product(model, tokenizer, split, tmp_path):
    first, second = (calibrate(model, tokenizer, split).loc["after", "temperature"] for _ in range(2))
    assert second == pytest.approx(1, abs=1e-3)
    et.save_model(model, tokenizer, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["calibration_temperature"] == first * second
    loaded = et.load_classifier(tmp_path, NAMES, "cpu")
    assert loaded.config.calibration_temperature == first * second
    third = calibrate(loaded, tokenizer, split).loc["after", "temperature"]
    assert loaded.config.calibration_temperature == first * second * third


def test_new_head_and_new_training_are_not_calibrated(model, tokenizer, split, tmp_path):
    calibrate(model, tokenizer, split)
    et.save_model(model, tokenizer, tmp_path / "model")
    fresh = et.load_classifier(tmp_path / "model", ["good", "bad"], "cpu", new_head=True)
    settings = {"learning_rate": 1e-3, "epochs": 1, "batch_size": 50, "use_cpu": True}
    splits = {"train": split, "validation": split}
    trainer = et.build_trainer(splits, tmp_path / "model", output_dir=tmp_path / "training", **settings)
    for config in (fresh.config, trainer.model.config):
        assert not hasattr(config, "calibration_temperature")


def test_pipeline_gives_calibrated_probabilities(model, tokenizer, split, tmp_path):
    before = et.predict_proba(TEXTS, model, tokenizer)
    calibrate(model, tokenizer, split)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    pipeline = transformers.pipeline("text-classification", model=str(tmp_path), top_k=None, device="cpu")
    found = pd.DataFrame([{score["label"]: score["score"] for score in scores} for scores in pipeline(TEXTS)])[NAMES]
    np.testing.assert_allclose(found, et.predict_proba(TEXTS, model, tokenizer), atol=1e-5)
    assert (found.idxmax(axis=1) == before.idxmax(axis=1)).all()
    assert found.max(axis=1).mean() < before.max(axis=1).mean() - 0.1


def test_export_gives_calibrated_probabilities(model, tokenizer, split, tmp_path):
    calibrate(model, tokenizer, split)
    exported = et.OnnxClassifier(et.export_onnx(model, tokenizer, tmp_path, quantize=False)).predict_proba(TEXTS)
    np.testing.assert_allclose(exported, et.predict_proba(TEXTS, model, tokenizer), atol=1e-5)
    assert calibration_scores(split["label"], exported)["log_loss"] == pytest.approx(
        calibrate(model, tokenizer, split).loc["before", "log_loss"], abs=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_calibrated_as_well_as_it_can_be(model, tokenizer, split, dtype):
    before = predict_logits(TEXTS, model.to(dtype), tokenizer)
    temperature = calibrate(model, tokenizer, split).loc["after", "temperature"]
    after = predict_logits(TEXTS, model, tokenizer)
    assert model.dtype == model.classifier.weight.dtype == dtype
    np.testing.assert_allclose(after * temperature, before, atol=0.03 * np.abs(before).max())


class Squashed(BertForSequenceClassification):
    """Its logits are not what its last linear layer gives."""

    def forward(self, *args, **options):
        output = super().forward(*args, **options)
        output.logits = output.logits.tanh()
        return output


class Headless(BertForSequenceClassification):
    """Its head is not linear."""

    def __init__(self, config):
        super().__init__(config)
        self.classifier = torch.nn.Bilinear(32, 32, 3)

    def forward(self, input_ids, attention_mask):
        pooled = self.bert(input_ids, attention_mask)[1]
        return transformers.modeling_outputs.SequenceClassifierOutput(logits=self.classifier(pooled, pooled))


@pytest.mark.parametrize("kind", [Squashed, Headless])
def test_other_heads_are_refused_and_left_as_they_were(model, tokenizer, split, kind):
    other = kind(model.config).eval()
    if kind is Squashed:
        other.load_state_dict(model.state_dict())
    ids = predict_logits(TEXTS, other, tokenizer).argmax(axis=1)
    ids[::5] = (ids[::5] + 1) % 3
    split = split.remove_columns("label").add_column("label", ids).cast_column("label", split.features["label"])
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(et.CheckpointError, match="does not end in a linear layer"):
        calibrate(other, tokenizer, split)
    assert all(weight.equal(before[name]) for name, weight in other.state_dict().items())
    assert not hasattr(other.config, "calibration_temperature")


def test_an_interruption_leaves_the_weights_as_they_were(model, tokenizer, split, monkeypatch):
    before = copy.deepcopy(model.classifier.state_dict())
    calls = iter([predict_logits])

    def predict(*args):
        for call in calls:
            return call(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(et.calibration, "predict_logits", predict)
    with pytest.raises(KeyboardInterrupt):
        calibrate(model, tokenizer, split)
    assert all(weight.equal(before[name]) for name, weight in model.classifier.state_dict().items())


def test_where_no_temperature_is_best_nothing_changes(model, tokenizer, split):
    before = copy.deepcopy(model.state_dict())
    right = predict_logits(TEXTS, model, tokenizer).argmax(axis=1)
    right = split.remove_columns("label").add_column("label", right).cast_column("label", split.features["label"])
    for wrong, said in ((right, "No temperature"), (split.select([]), "no texts"), (split["text"], "split=")):
        with pytest.raises(DataError, match=said):
            calibrate(model, tokenizer, wrong)
    other = split.cast_column("label", ClassLabel(names=["a", "b", "c"]))
    with pytest.raises(DataError, match="labels a, b, c"):
        calibrate(model, tokenizer, other)
    for settings in ({"bins": 0}, {"batch_size": 0}):
        with pytest.raises(SettingsError, match=next(iter(settings))):
            calibrate(model, tokenizer, split, **settings)
    assert all(weight.equal(before[name]) for name, weight in model.state_dict().items())


def test_half_precision_and_masked_labels():
    random = np.random.default_rng(0)
    logits = random.normal(size=(500, 3)) * 3
    y = np.array([random.choice(3, p=row) for row in softmax(logits / 2, axis=1)])
    probabilities = softmax(logits, axis=1)
    for rounded in (probabilities.astype("float16"), probabilities.round(3)):
        with pytest.raises(DataError, match="sum to 1"):
            fit_temperature(rounded, y)
        expected = calibration_scores(y, probabilities)["brier_score"]
        assert calibration_scores(y, rounded)["brier_score"] == pytest.approx(expected, abs=1e-3)
    masked = np.c_[logits, np.full(500, -1e9)]
    assert fit_temperature(masked, y) == pytest.approx(fit_temperature(logits, y), rel=1e-3)
