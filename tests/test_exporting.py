"""Exports to ONNX, and the classifier that needs no torch."""

import copy
import json
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, ByT5Tokenizer
from transformers.exporters import OnnxExporter

from emotion_tutorial import OnnxClassifier, export_onnx, exporting, predict_proba, save_model
from emotion_tutorial.exceptions import CheckpointError, DataWarning, SettingsError, TutorialError
from emotion_tutorial.onnx_classifier import digest_of_model

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


def test_gives_the_probabilities_of_the_model_in_order_and_with_the_index_of_a_series(model, tokenizer, exported):
    with pytest.raises(SettingsError, match="threads"):
        OnnxClassifier(exported, threads=100_000)
    classifier = OnnxClassifier(exported, threads=1)
    expected = predict_proba(TEXTS, model, tokenizer)
    assert expected.std().min() > 0.01  # the texts do differ
    for texts, rows in ((TEXTS, expected), (TEXTS[0], expected[:1]), ("", expected[2:3]), ([], expected[:0])):
        found = classifier.predict_proba(texts)
        pd.testing.assert_frame_equal(found, rows.reset_index(drop=True), atol=1e-5)
    series = pd.Series(TEXTS[:3], index=[7, 5, 6])
    pd.testing.assert_frame_equal(classifier.predict_proba(series), expected[:3].set_index(series.index), atol=1e-5)


def test_quantized_is_smaller_and_nearly_the_same_and_other_things_stay_as_they_were(model, tokenizer, copied):
    size = (copied / "model.onnx").stat().st_size
    (copied / "thesis.txt").write_text("three years")
    before = {name: weight.clone() for name, weight in model.train().state_dict().items()}
    export_onnx(model, tokenizer, copied)
    assert model.training
    assert all(weight.equal(before[name]) for name, weight in model.eval().state_dict().items())
    assert (copied / "thesis.txt").read_text() == "three years"
    assert (copied / "model.onnx").stat().st_size < 0.35 * size
    difference = (OnnxClassifier(copied).predict_proba(TEXTS) - predict_proba(TEXTS, model, tokenizer)).abs()
    assert 0 < difference.to_numpy().mean() < 0.03


@pytest.mark.parametrize(
    ("quantize", "biases"),
    [
        (False, (40, 0, 0)),
        pytest.param(True, (0, 40, 0), marks=pytest.mark.slow),
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


def test_what_cannot_be_exported_is_refused_and_changes_nothing(model, tokenizer, tmp_path):
    several, diverged = (changed(model, 0, 0, 0) for _ in range(2))
    several.config.problem_type = "multi_label_classification"
    diverged.bert.embeddings.word_embeddings.weight.data[29999] = np.nan  # of a rare word
    folder = save_model(model, tokenizer, tmp_path / "model")
    before = digest_of_model(folder)
    calls = [(several, tokenizer, folder / "onnx"), (diverged, tokenizer, folder / "onnx"), (model, tokenizer, folder)]
    calls += [(model, ByT5Tokenizer(), folder / "onnx"), (None, tokenizer, tmp_path), (model, tokenizer, None)]
    for wrong in calls:
        with pytest.raises(TutorialError):
            export_onnx(*wrong)
    assert digest_of_model(folder) == before
    assert not {"onnx", "export.json"} & {path.name for path in folder.iterdir()}


def test_reads_no_more_than_the_model_can(model, tokenizer, tmp_path):
    short = BertForSequenceClassification(BertConfig(**model.config.to_diff_dict() | {"max_position_embeddings": 64}))
    classifier = OnnxClassifier(export_onnx(short.eval(), tokenizer, tmp_path, quantize=False))
    for predict in (classifier.predict_proba, lambda texts: predict_proba(texts, short, tokenizer)):
        with pytest.warns(DataWarning, match="64 tokens.*row 1"):
            found = predict(["short", "word " * 100])
        pd.testing.assert_frame_equal(found, predict(["short", "word " * 62]), atol=1e-5)


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
    damages = [whole[: len(whole) // 2], b"[]"]
    if name == "export.json":
        about = json.loads(whole)
        damages += [json.dumps(about | {"label_names": NAMES[:2]}).encode()]
        for part in ("label_names", "max_length", "pad_token_id"):
            damages.append(json.dumps({key: value for key, value in about.items() if key != part}).encode())
    for damaged in damages:
        (copied / name).write_bytes(damaged)
        with pytest.raises(CheckpointError, match="Export it again"):
            OnnxClassifier(copied)
    (copied / name).unlink()
    with pytest.raises(CheckpointError, match=f"has no {name}"):
        OnnxClassifier(copied)


def test_old_export_that_is_named_itself_is_refused(model, tokenizer, tmp_path, monkeypatch):
    folder = save_model(model, tokenizer, tmp_path)
    export = export_onnx(model, tokenizer, folder / "onnx", quantize=False)
    (link := tmp_path.with_name(f"{tmp_path.name}-link")).symlink_to(export, target_is_directory=True)
    monkeypatch.chdir(export)
    for place in (export, ".", link):
        assert OnnxClassifier(place).label_names == NAMES
    save_model(changed(model, 1, 0, 0), tokenizer, folder)
    for place in (export, ".", link):
        with pytest.raises(CheckpointError, match="no export of it as it is now"):
            OnnxClassifier(place)


def test_special_tokens_in_a_text_are_read_as_the_tokenizer_reads_them(model, tokenizer, copied, monkeypatch):
    """An export writes down whether they are words; one of an earlier version does not, and they are not."""
    monkeypatch.setattr(exporting, "_trace", lambda *_: None)
    monkeypatch.setattr(exporting, "_check", lambda *_: {})
    splitting = copy.deepcopy(tokenizer)
    splitting.split_special_tokens = True
    for given, said in ((splitting, True), (tokenizer, False), (tokenizer, None)):
        export_onnx(model, given, copied, quantize=False)
        about = json.loads((copied / "export.json").read_text())
        assert about.pop("split_special_tokens") == bool(said)
        if said is None:
            (copied / "export.json").write_text(json.dumps(about))
        found = OnnxClassifier(copied).predict_proba("a [SEP] b")
        pd.testing.assert_frame_equal(found, predict_proba("a [SEP] b", model, given), atol=1e-5)


def test_exports_in_threads_trace_one_at_a_time_and_say_what_cannot_be_traced(model, tokenizer, tmp_path, monkeypatch):
    running, most = [], []

    def trace(*given, **options):
        running.append(1)
        most.append(len(running))
        time.sleep(0.05)
        running.pop()
        raise RuntimeError("Could not guard on data-dependent expression")  # as with Longformer

    monkeypatch.setattr(OnnxExporter, "export", trace)
    with ThreadPoolExecutor(3) as pool:
        exports = [pool.submit(export_onnx, model, tokenizer, tmp_path / name) for name in "abc"]
    for export in exports:
        with pytest.raises(CheckpointError, match=r"BertFor.* cannot compute this: Could not guard"):
            export.result()
    assert most == [1, 1, 1]


def test_exports_in_threads_into_one_folder_do_not_mix(model, tokenizer, tmp_path, monkeypatch):
    def trace(copy, pad, scratch, path):
        path.write_text(copy.config.id2label[0])
        time.sleep(0.01)

    monkeypatch.setattr(exporting, "_trace", trace)
    monkeypatch.setattr(exporting, "_check", lambda *_: {})
    models = [changed(model, 0, 0, 0) for _ in range(4)]
    for number, other in enumerate(models):
        other.config.id2label = dict(enumerate([str(number), "b", "c"]))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda other: export_onnx(other, tokenizer, tmp_path, quantize=False), models))
    about = json.loads((tmp_path / "export.json").read_text())
    assert (tmp_path / "model.onnx").read_text() == about["label_names"][0]


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
