"""Checkpoints: which are taken, how their parts are loaded, and which are refused."""

import shutil
from pathlib import Path

import pytest
import torch

import emotion_tutorial as et
from emotion_tutorial import checkpoints, devices


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """Stand a copy of the encoder's package in for the real one."""
    package = tmp_path / "copied_encoder"
    shutil.copytree(checkpoints.embedded_encoder_folder(), package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(checkpoints, "EMBEDDED_PACKAGE", "copied_encoder")
    checkpoints.embedded_encoder_folder.cache_clear()
    yield package / "model"
    checkpoints.embedded_encoder_folder.cache_clear()


def test_embedded_encoder_is_found_without_importing_its_package(copied):
    assert checkpoints.embedded_encoder_folder() == copied
    assert et.load_encoder("embedded", "cpu").config.hidden_size == 384


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes() + b"\n"), Path.unlink])
def test_damaged_embedded_encoder_is_refused(copied, damage):
    damage(copied / "vocab.txt")
    with pytest.raises(et.CheckpointError, match=r"vocab\.txt.*reinstall"):
        et.load_tokenizer("embedded")


def test_absent_embedded_encoder_names_the_extra_and_the_pinned_revision(copied, monkeypatch):
    monkeypatch.setattr(checkpoints, "EMBEDDED_PACKAGE", "no_such_package")
    with pytest.raises(et.MissingExtraError, match=r"emotion-tutorial\[embedded\].*all-MiniLM-L6-v2@1110a243"):
        et.load_encoder("embedded")


def test_encoder_is_frozen_float32_and_in_evaluation_mode(tiny_checkpoint, tmp_path):
    et.load_encoder(tiny_checkpoint, "cpu").half().save_pretrained(tmp_path)
    encoder = et.load_encoder(tmp_path)
    assert not encoder.training
    assert not any(weight.requires_grad for weight in encoder.parameters())
    assert {weight.dtype for weight in encoder.parameters()} == {torch.float32}
    assert encoder.device.type == devices.best_device().type
    assert et.load_encoder(tmp_path, "cpu").device.type == "cpu"


def test_labels_without_names_are_named(tiny_checkpoint, tmp_path):
    """As a classifier is that was saved without names."""
    saved = et.load_classifier(tiny_checkpoint, ["LABEL_0", "LABEL_1"], "cpu")
    saved.save_pretrained(tmp_path)
    named = et.load_classifier(tmp_path, ["no", "yes"], "cpu")
    assert named.config.id2label == {0: "no", 1: "yes"}
    assert named.config.label2id == {"no": 0, "yes": 1}
    assert torch.equal(named.classifier.weight, saved.classifier.weight)


@pytest.fixture
def saved(tiny_checkpoint, tmp_path) -> Path:
    et.load_classifier(tiny_checkpoint, ["cat", "dog"], "cpu").save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize("names", [["dog", "cat"], ["cat", "cow"], ["cat", "dog", "cow"]], ids=", ".join)
def test_saved_classifier_keeps_its_labels_and_refuses_others(saved, names):
    assert et.load_classifier(saved, device="cpu").config.id2label == {0: "cat", 1: "dog"}
    with pytest.raises(et.CheckpointError, match="cat, dog"):
        et.load_classifier(saved, names, "cpu")


def test_saved_classifier_takes_a_new_head_when_asked(saved):
    own, other = et.load_classifier(saved, device="cpu"), et.load_classifier(saved, list("abc"), "cpu", new_head=True)
    assert other.classifier.weight.shape[0] == 3
    for ours, theirs in zip(own.bert.parameters(), other.bert.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_classifier_without_labels_is_refused(tiny_checkpoint):
    with pytest.raises(et.DataError, match="two labels"):
        et.load_classifier(tiny_checkpoint, ["only"])
    with pytest.raises(et.CheckpointError, match="label_names="):
        et.load_classifier(tiny_checkpoint)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_damaged_checkpoint_is_said(tiny_checkpoint, tmp_path, name):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "damaged")
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(et.CheckpointError, match="Could not load"):
        (et.load_tokenizer if name == "tokenizer.json" else et.load_encoder)(folder)


def test_pickled_weights_are_refused(tiny_checkpoint, tmp_path):
    encoder = et.load_encoder(tiny_checkpoint)
    encoder.config.save_pretrained(tmp_path)
    torch.save(encoder.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(et.CheckpointError, match="safetensors"):
        et.load_encoder(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(et.CheckpointError, match=r"config\.json"):
        et.load_encoder(tmp_path)


@pytest.mark.parametrize("checkpoint", ["./nowhere", "a/b/c", "/nowhere", Path("nowhere")])
def test_missing_folder_is_said(checkpoint):
    with pytest.raises(et.NotFoundError, match="no folder"):
        et.load_tokenizer(checkpoint)
