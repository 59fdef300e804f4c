"""Exports to ONNX, and the classifier that needs no torch."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, ByT5Tokenizer

from emotion_tutorial import OnnxClassifier, export_onnx, exporting, load_classifier, load_tokenizer, predict_proba
from emotion_tutorial.exceptions import CheckpointError, DataError, DataWarning

NAMES = ["calm", "cross", "merry"]
TEXTS = ["i feel well", "what a long and rather terrible day it was, all things considered", "", "tea 😀", "no"]


@pytest.fixture(scope="module")
def model():
    """Make a small random classifier, of weights so large that it does not say the same of all texts."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(**sizes, initializer_range=0.3, id2label=dict(enumerate(NAMES)))
    return BertForSequenceClassification(config).eval()


@pytest.fixture(scope="module")
def exported(model, tokenizer, tmp_path_factory) -> Path:
    return export_onnx(model, tokenizer, tmp_path_factory.mktemp("export") / "float", quantize=False)


@pytest.fixture(scope="module")
def quantized(model, tokenizer, tmp_path_factory) -> Path:
    return export_onnx(model, tokenizer, tmp_path_factory.mktemp("export") / "int8")


@pytest.fixture
def copied(exported, tmp_path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copied"))


def test_gives_the_probabilities_of_the_model(model, tokenizer, exported):
    classifier = OnnxClassifier(exported)
    expected = predict_proba(TEXTS, model, tokenizer)
    assert expected.to_numpy().std(axis=0).min() > 0.01  # the texts do differ
    assert classifier.label_names == NAMES
    np.testing.assert_allclose(classifier.predict_proba(TEXTS), expected, atol=1e-5)
    assert classifier.predict(TEXTS) == list(expected.idxmax(axis=1))


def test_one_text_or_many_or_none(exported):
    classifier = OnnxClassifier(exported, threads=1)
    assert classifier.predict_proba("i feel well") == pytest.approx(classifier.predict_proba(["i feel well"]))
    assert classifier.predict_proba([]).shape == (0, 3)
    many = [f"text number {i} " * (i % 7) for i in range(100)]
    assert classifier.predict_proba(many)[::-1] == pytest.approx(classifier.predict_proba(many[::-1]), abs=1e-5)


def test_quantized_is_smaller_and_nearly_the_same(model, tokenizer, exported, quantized):
    sizes = [(folder / "model.onnx").stat().st_size for folder in (exported, quantized)]
    assert sizes[1] < 0.35 * sizes[0]
    found = OnnxClassifier(quantized).predict_proba(TEXTS)
    assert 0 < np.abs(found - predict_proba(TEXTS, model, tokenizer).to_numpy()).mean() < 0.03


def test_says_what_the_check_found(exported, quantized):
    for folder, whether in ((exported, False), (quantized, True)):
        assert {path.name for path in folder.iterdir()} == {"model.onnx", "tokenizer.json", "export.json"}
        about = OnnxClassifier(folder).about
        assert about["quantized"] is whether
        assert about["check"]["mean_cosine"] > (0.95 if whether else 0.99999)
        assert about["check"]["same_label"] > 0.9


def test_exports_other_architectures_and_leaves_the_model_as_it_was(tiny_distilbert, tmp_path):
    model = load_classifier(tiny_distilbert, NAMES, "cpu").train()
    tokenizer = load_tokenizer(tiny_distilbert)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    export_onnx(model, tokenizer, tmp_path / "distilbert", quantize=False)
    assert model.training
    assert all(weight.equal(before[name]) for name, weight in model.state_dict().items())
    found = OnnxClassifier(tmp_path / "distilbert").predict_proba(TEXTS)
    np.testing.assert_allclose(found, predict_proba(TEXTS, model, tokenizer), atol=1e-5)


def test_never_imports_torch(quantized):
    code = (
        "import sys; from emotion_tutorial import OnnxClassifier;"
        f"print(OnnxClassifier({str(quantized)!r}).predict_proba(['a text', 'another']).shape);"
        "print(sorted({'torch', 'transformers', 'pandas', 'datasets', 'sklearn', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.split("\n")[:2] == ["(2, 3)", "[]"]


def test_exports_quietly_over_an_older_export_and_keeps_other_files(model, tokenizer, copied, capfd):
    (copied / "thesis.txt").write_text("three years")
    (copied / "export.json").write_text("{}")
    export_onnx(model, tokenizer, copied, quantize=False)
    out, err = capfd.readouterr()
    assert out == ""
    assert not [line for line in err.replace("\r", "\n").splitlines() if line.strip() and "step" not in line]
    assert OnnxClassifier(copied).label_names == NAMES
    assert (copied / "thesis.txt").read_text() == "three years"


@pytest.mark.parametrize(("quantize", "advice"), [(False, "does not support"), (True, "quantize=False")])
def test_export_that_differs_is_refused_and_the_older_one_stays(
    model, tokenizer, copied, monkeypatch, quantize, advice
):
    before = {path.name: path.read_bytes() for path in copied.iterdir()}
    monkeypatch.setattr(exporting, "predict_logits", lambda texts, *rest: np.eye(3, dtype=np.float32)[[0] * len(texts)])
    with pytest.raises(CheckpointError, match=advice):
        export_onnx(model, tokenizer, copied, quantize=quantize)
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == before


def test_what_cannot_be_exported_is_refused(model, tokenizer, tiny_checkpoint, tmp_path):
    nameless = load_classifier(tiny_checkpoint, ["LABEL_0", "LABEL_1"], "cpu")
    with pytest.raises(DataError, match="have no names"):
        export_onnx(nameless, tokenizer, tmp_path / "export")
    with pytest.raises(CheckpointError, match="tokenizers library"):
        export_onnx(model, ByT5Tokenizer(), tmp_path / "export")
    assert not any(tmp_path.iterdir())


def test_folder_that_is_not_an_export_is_refused(tiny_checkpoint, tmp_path):
    for folder in (tiny_checkpoint, tmp_path / "nowhere"):
        with pytest.raises(CheckpointError, match=r"not an export: it has no export\.json"):
            OnnxClassifier(folder)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_changed_or_missing_file_is_refused(copied, name):
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=f"{name} has the SHA-256 .* expected"):
        OnnxClassifier(copied)
    (copied / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        OnnxClassifier(copied)


@pytest.mark.parametrize("text", ["{", "[]", '"x"'])
def test_malformed_description_is_refused(copied, text):
    (copied / "export.json").write_text(text)
    with pytest.raises(CheckpointError, match="not what export_onnx writes"):
        OnnxClassifier(copied)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"sha256": {}}, CheckpointError, r"says nothing of model\.onnx, tokenizer\.json"),
        ({"label_names": ["calm", "cross"]}, DataError, "names 2 labels, the model has 3"),
        ({"label_names": []}, DataError, "names no labels"),
    ],
)
def test_incomplete_description_is_refused(copied, changes, error, said):
    path = copied / "export.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(error, match=said):
        OnnxClassifier(copied)


@pytest.mark.parametrize(("texts", "said"), [(["a", None], r"texts\[1\] is None"), ("a\ud800", "half a character")])
def test_what_is_no_text_is_refused(exported, texts, said):
    with pytest.raises(DataError, match=said):
        OnnxClassifier(exported).predict_proba(texts)


def test_long_text_is_cut_and_said(exported):
    with pytest.warns(DataWarning, match="1 texts are longer than the 512 tokens"):
        assert OnnxClassifier(exported).predict_proba(["short", "word " * 2000]).shape == (2, 3)


def test_missing_extra_is_named():
    code = "import sys; sys.modules['onnxruntime'] = None; import emotion_tutorial; emotion_tutorial.OnnxClassifier"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert 'MissingExtraError: onnxruntime is not installed. Run: pip install "emotion-tutorial[onnx]"' in done.stderr
