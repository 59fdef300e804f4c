"""Exports to ONNX, and the classifier that needs no torch."""

import copy
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, ByT5Tokenizer

from emotion_tutorial import OnnxClassifier, export_onnx, exporting, load_classifier, predict_proba, save_model
from emotion_tutorial.exceptions import CheckpointError, DataError, DataWarning, SettingsError, TutorialError
from emotion_tutorial.onnx_classifier import digest_of_model, find_export

NAMES = ["calm", "cross", "merry"]
TEXTS = ["i feel well", "what a long and rather terrible day it was, all things considered", "", "tea 😀", "no"] * 7


@pytest.fixture(scope="module")
def model() -> BertForSequenceClassification:
    """Make a small random classifier, of weights so large that it does not say the same of all texts."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(**sizes, initializer_range=0.3, id2label=dict(enumerate(NAMES)))
    return BertForSequenceClassification(config).eval()


def changed(model: BertForSequenceClassification, *biases: int) -> BertForSequenceClassification:
    """Return a copy with other biases in the head."""
    other = copy.deepcopy(model)
    other.classifier.bias.data[:] = torch.tensor(biases, dtype=torch.float32)
    return other


@pytest.fixture(scope="module")
def exported(model, tokenizer, tmp_path_factory) -> Path:
    return export_onnx(model, tokenizer, tmp_path_factory.mktemp("export"), quantize=False)


@pytest.fixture
def copied(exported, tmp_path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copied"))


def test_gives_the_probabilities_of_the_model(model, tokenizer, exported):
    classifier = OnnxClassifier(exported, threads=1)
    expected = predict_proba(TEXTS, model, tokenizer)
    assert expected.std().min() > 0.01  # the texts do differ
    for texts, rows in ((TEXTS, expected), (TEXTS[0], expected[:1]), ("", expected[2:3]), ([], expected[:0])):
        found = classifier.predict_proba(texts)
        pd.testing.assert_frame_equal(found, rows.reset_index(drop=True), atol=1e-5)


def test_quantized_is_smaller_and_nearly_the_same(model, tokenizer, copied):
    size = (copied / "model.onnx").stat().st_size
    export_onnx(model, tokenizer, copied)
    assert (copied / "model.onnx").stat().st_size < 0.35 * size
    difference = (OnnxClassifier(copied).predict_proba(TEXTS) - predict_proba(TEXTS, model, tokenizer)).abs()
    assert 0 < difference.to_numpy().mean() < 0.03


def test_leaves_the_model_and_other_files_as_they_were(model, tokenizer, tmp_path):
    (tmp_path / "thesis.txt").write_text("three years")
    before = {name: weight.clone() for name, weight in model.train().state_dict().items()}
    export_onnx(model, tokenizer, tmp_path, quantize=False)
    assert model.training
    assert all(weight.equal(before[name]) for name, weight in model.eval().state_dict().items())
    assert (tmp_path / "thesis.txt").read_text() == "three years"


@pytest.mark.parametrize(
    ("quantize", "biases"),
    [
        (False, (40, 0, 0)),
        pytest.param(True, (0, 40, 0), marks=pytest.mark.slow),
        pytest.param(False, (0, 0, 0), marks=pytest.mark.slow),
        pytest.param(True, (100, 100, 100), marks=pytest.mark.slow),
    ],
)
def test_export_that_differs_is_refused_whatever_the_bias_and_the_older_one_stays(
    model, tokenizer, copied, monkeypatch, quantize, biases
):
    """Logits that share a large constant look alike, and where one label has it, all labels are equal."""
    good, wrong_bias, wrong_body = (changed(model, *biases) for _ in range(3))
    wrong_bias.classifier.bias.data[1] += 8
    wrong_body.bert.encoder.layer[1].output.dense.weight.data *= -1
    export_onnx(good, tokenizer, copied, quantize=quantize)
    before = {path.name: path.read_bytes() for path in copied.iterdir()}
    trace = exporting._trace
    for wrong in (wrong_bias, wrong_body):
        monkeypatch.setattr(exporting, "_trace", lambda _, *rest, wrong=wrong: trace(wrong, *rest))
        with pytest.raises(CheckpointError, match="does not follow"):
            export_onnx(good, tokenizer, copied, quantize=quantize)
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == before


def test_what_cannot_be_exported_is_refused(model, tokenizer, tiny_checkpoint, tmp_path):
    nameless = load_classifier(tiny_checkpoint, ["LABEL_0", "LABEL_1"], "cpu")
    several, number, diverged = (changed(model, 0, 0, 0) for _ in range(3))
    several.config.problem_type, number.config.problem_type = "multi_label_classification", "regression"
    diverged.bert.embeddings.word_embeddings.weight.data[29999] = np.nan  # of a rare word
    for wrong in (
        (nameless, tokenizer),
        (model, ByT5Tokenizer()),
        *((m, tokenizer) for m in (several, number, diverged)),
    ):
        with pytest.raises(CheckpointError):
            export_onnx(*wrong, tmp_path / "export")
    for wrong in ((None, tokenizer, tmp_path), (model, model, tmp_path), (model, tokenizer, None)):
        with pytest.raises(TutorialError):
            export_onnx(*wrong)
    assert not any(tmp_path.iterdir())


def test_reads_no_more_than_the_model_can(model, tokenizer, tmp_path):
    short = BertForSequenceClassification(BertConfig(**model.config.to_diff_dict() | {"max_position_embeddings": 64}))
    classifier = OnnxClassifier(export_onnx(short.eval(), tokenizer, tmp_path, quantize=False))
    for predict in (classifier.predict_proba, lambda texts: predict_proba(texts, short, tokenizer)):
        with pytest.warns(DataWarning, match="64 tokens"):
            assert predict(["word " * 100]).shape == (1, 3)


def test_keeps_the_index_of_a_series(exported):
    frame = pd.DataFrame({"text": TEXTS[:3]}, index=[7, 5, 6])
    classifier = OnnxClassifier(exported)
    assert classifier.predict_proba(frame["text"]).index.equals(frame.index)
    for threads in (0, -1, 1.5, True, "2"):
        with pytest.raises(SettingsError, match="threads"):
            OnnxClassifier(exported, threads=threads)


def test_values_that_are_not_finite_are_refused(copied):
    graph = onnx.load(copied / "model.onnx")
    [head] = [weight for weight in graph.graph.initializer if weight.name == "classifier.weight"]
    head.CopyFrom(onnx.numpy_helper.from_array(np.full((3, 32), np.nan, np.float32), head.name))
    onnx.save(graph, copied / "model.onnx")
    with pytest.raises(CheckpointError, match=r"texts\[0\] is not finite"):
        OnnxClassifier(copied).predict_proba(TEXTS)


def test_never_imports_torch(exported):
    compute = f"et.OnnxClassifier({str(exported)!r}).predict_proba(['a text', 'another']).shape"
    heavy = "sorted({'torch', 'transformers'} & set(sys.modules))"
    code = f"import sys, emotion_tutorial as et; print({compute}); print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["(2, 3)", "[]"]


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "export.json"])
def test_damaged_or_incomplete_export_is_refused(copied, name):
    whole = (copied / name).read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"[]"):
        (copied / name).write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            OnnxClassifier(copied)
    (copied / name).unlink()
    with pytest.raises(CheckpointError, match=f"has no {name}"):
        OnnxClassifier(copied)


def test_incomplete_description_is_refused(copied):
    about = json.loads((copied / "export.json").read_text())
    names = ("label_names", "max_length", "pad_token_id")
    without = [{key: value for key, value in about.items() if key != name} for name in names]
    for changed in (*without, about | {"label_names": NAMES[:2]}):
        (copied / "export.json").write_text(json.dumps(changed))
        with pytest.raises(CheckpointError):
            OnnxClassifier(copied)


def test_old_export_that_is_named_itself_is_refused(model, tokenizer, tmp_path):
    folder = save_model(model, tokenizer, tmp_path)
    export = export_onnx(model, tokenizer, folder / "onnx", quantize=False)
    assert OnnxClassifier(export).label_names == NAMES
    other = copy.deepcopy(model)
    other.classifier.weight.data += 1
    save_model(other, tokenizer, folder)
    with pytest.raises(CheckpointError, match="no export of it as it is now"):
        OnnxClassifier(export)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets only administrators make links")
def test_old_export_is_refused_if_its_folder_is_a_link_to_another_disk(model, tokenizer, tmp_path):
    folder, disk = save_model(model, tokenizer, tmp_path / "model"), tmp_path / "disk"
    disk.mkdir()
    (folder / "onnx").symlink_to(disk)
    (disk / "export.json").write_text(json.dumps({"made_from": digest_of_model(folder)}))
    assert find_export(folder / "onnx") == folder / "onnx"
    save_model(changed(model, 1, 0, 0), tokenizer, folder)
    assert find_export(folder / "onnx") is find_export(folder) is None


def test_export_into_the_model_itself_is_refused_and_changes_nothing(model, tokenizer, tmp_path):
    folder = save_model(model, tokenizer, tmp_path)
    before = digest_of_model(folder)
    with pytest.raises(SettingsError, match=r"holds a saved model. Export into .*onnx"):
        export_onnx(model, tokenizer, folder)
    assert digest_of_model(folder) == before
    assert not (folder / "export.json").exists()


def test_export_needs_room_in_its_own_folder_alone_and_pads_as_predictions_do(model, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_trace", lambda *_: None)
    monkeypatch.setattr(exporting, "_check", lambda *_: {})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "there is none"))
    other = changed(model, 0, 0, 0)
    other.config.pad_token_id = tokenizer.mask_token_id  # the tokenizer's is 0
    folder = save_model(other, tokenizer, tmp_path / "model")
    about = json.loads((export_onnx(other, tokenizer, folder / "onnx", quantize=False) / "export.json").read_text())
    assert (about["pad_token_id"], about["empty_text_id"]) == (tokenizer.mask_token_id, 0)
    assert about["made_from"] == digest_of_model(folder)
    assert not [path for path in (folder / "onnx").iterdir() if path.is_dir()]


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, 100_000])
def test_odd_numbers_of_threads_are_refused(exported, threads):
    with pytest.raises(SettingsError, match="number of threads"):
        OnnxClassifier(exported, threads=threads)


def test_what_is_no_text_is_refused_and_a_long_one_is_cut(exported):
    classifier = OnnxClassifier(exported)
    for texts in (["a", None], ["a", 3], "a\ud800"):
        with pytest.raises(DataError):
            classifier.predict_proba(texts)
    with pytest.warns(DataWarning, match="512 tokens"):
        cut = classifier.predict_proba(["short", "word " * 2000])
    with pytest.warns(DataWarning):
        pd.testing.assert_frame_equal(cut, classifier.predict_proba(["short", "word " * 600]))
