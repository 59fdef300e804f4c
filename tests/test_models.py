"""Checkpoints: which are taken, how their parts are loaded, and which are refused."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForTokenClassification

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


@pytest.mark.parametrize("name", ["vocab.txt", "config.json"])
@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes() + b"\n"), Path.unlink])
def test_damaged_embedded_encoder_is_refused(copied, damage, name):
    damage(copied / name)
    with pytest.raises(et.CheckpointError, match=rf"{name}.*reinstall"):
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


@pytest.fixture
def saved(tiny_checkpoint, tmp_path) -> Path:
    et.load_classifier(tiny_checkpoint, ["cat", "dog"], "cpu").save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def configure(folder: Path, **settings) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize("architectures", [["BertForSequenceClassification"], None])  # None: saved by other programs
@pytest.mark.parametrize("names", [["dog", "cat"], ["cat", "cow"], ["cat", "dog", "cow"]], ids=", ".join)
def test_saved_classifier_keeps_its_labels_and_refuses_others(saved, names, architectures):
    configure(saved, architectures=architectures)
    own = et.load_classifier(saved, device="cpu")
    assert own.config.id2label == {0: "cat", 1: "dog"}
    with pytest.raises(et.CheckpointError, match="cat, dog"):
        et.load_classifier(saved, names, "cpu")
    other = et.load_classifier(saved, names, "cpu", new_head=True)
    assert [*other.config.id2label.values()] == names
    for ours, theirs in zip(own.bert.parameters(), other.bert.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_labels_without_names_are_named(saved):
    """As a classifier is that was saved without names."""
    configure(saved, id2label={0: "LABEL_0", 1: "LABEL_1"}, label2id={"LABEL_0": 0, "LABEL_1": 1})
    named = et.load_classifier(saved, ["no", "yes"], "cpu")
    assert named.config.label2id == {"no": 0, "yes": 1}
    assert torch.equal(named.classifier.weight, et.load_classifier(saved, device="cpu").classifier.weight)


@pytest.mark.parametrize("changes", [{}, {"architectures": None, "id2label": {0: "LABEL_0", 1: "LABEL_1"}}])
@pytest.mark.parametrize("new_head", [True, False])
def test_head_of_another_task_is_not_taken_for_a_new_one(tiny_checkpoint, tmp_path, new_head, changes):
    tagger = AutoModelForTokenClassification.from_pretrained(tiny_checkpoint, id2label={0: "O", 1: "PER"})
    tagger.classifier.weight.data.fill_(7)
    tagger.save_pretrained(tmp_path)
    configure(tmp_path, **changes)
    classifier = et.load_classifier(tmp_path, ["cat", "dog"], "cpu", new_head=new_head)
    assert classifier.classifier.weight.abs().max() < 1
    assert torch.equal(classifier.get_input_embeddings().weight, tagger.get_input_embeddings().weight)


def test_configuration_with_fewer_layers_than_the_files_is_refused(saved):
    configure(saved, num_hidden_layers=1)
    for load in (et.load_classifier, et.load_encoder):
        with pytest.raises(et.CheckpointError, match=r"config\.json: .*layer\.1\."):
            load(saved, device="cpu")


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


@pytest.mark.parametrize("checkpoint", ["./nowhere", "a/b/c", Path("nowhere"), r"C:\models\mine", "~/nowhere", ".."])
def test_missing_folder_is_said(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((et.NotFoundError, et.CheckpointError), match=r"no folder|no config\.json"):
        et.load_tokenizer(checkpoint)


def test_tilde_is_the_home_folder(tiny_checkpoint, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny_checkpoint.parent))
    monkeypatch.setenv("USERPROFILE", str(tiny_checkpoint.parent))
    for checkpoint in (f"~/{tiny_checkpoint.name}", Path("~", tiny_checkpoint.name)):
        assert et.load_encoder(checkpoint, "cpu").config.hidden_size == 32


def rewrite(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


WEIGHTS = ["classifier.weight", "bert.encoder.layer.1.output.dense.bias", "bert.pooler.dense.bias"]


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("change", [dict.pop, lambda weights, name: weights.update({name: weights[name][:1].clone()})])
def test_weights_that_are_missing_or_of_another_shape_are_refused(saved, name, change):
    rewrite(saved, lambda weights: change(weights, name))
    for names in (None, ["cat", "dog"]):
        with pytest.raises(et.CheckpointError, match=name):
            et.load_classifier(saved, names, "cpu")
    for load in (lambda: et.load_encoder(saved), lambda: et.load_classifier(saved, ["a", "b"], new_head=True)):
        # Else the body is whole, but for a pooler that it may never have had.
        with pytest.raises(et.CheckpointError, match=r"1\.output") if "layer" in name else nullcontext():
            load()


NO_CHOICE = [{"problem_type": "multi_label_classification"}, {"id2label": {"0": "score"}}, {"id2label": ["cat", "dog"]}]
NO_CHOICE += [{"id2label": {"0": "cat", "2": "dog"}}, {"id2label": {"0": "cat", "1": "cat"}}]


@pytest.mark.parametrize("settings", NO_CHOICE, ids=str)
def test_other_heads_are_refused(saved, settings):
    configure(saved, **settings)
    for names in (None, ["cat", "dog"]):
        with pytest.raises(et.CheckpointError):
            et.load_classifier(saved, names, "cpu")


def test_other_heads_can_be_replaced(saved):
    configure(saved, problem_type="multi_label_classification")
    replaced = et.load_classifier(saved, ["cat", "dog"], "cpu", new_head=True)
    assert et.predict_proba("a", replaced, et.load_tokenizer("embedded")).shape == (1, 2)


@pytest.mark.parametrize("names", [None, ["only"], "ab", ["a", "a"], ["a", 1], {"a": 0, "b": 1}], ids=repr)
def test_label_names_are_two_different_strings_or_more(tiny_checkpoint, names):
    with pytest.raises(et.DataError if names else et.CheckpointError, match="label_names"):
        et.load_classifier(tiny_checkpoint, names, "cpu")


def test_diverged_classifier_is_not_loaded(saved):
    rewrite(saved, lambda weights: weights["classifier.weight"].fill_(torch.nan))
    with pytest.raises(et.CheckpointError, match="not finite"):
        et.load_classifier(saved, device="cpu")


def test_weights_in_memory_do_not_change_with_their_file(saved):
    model = et.load_classifier(saved, device="cpu")
    before = model.bert.embeddings.word_embeddings.weight.clone()
    with (saved / "model.safetensors").open("r+b") as file:  # as a copy over it does
        file.seek(10_000)
        file.write(b"?" * 1_000_000)
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, before)


def test_checkpoint_without_a_tokenizer_is_said(saved):
    """Transformers gives one to which each word is unknown."""
    with pytest.raises(et.CheckpointError, match="no tokenizer"):
        et.load_tokenizer(saved)


def test_unknown_device_is_said(tiny_checkpoint):
    with pytest.raises(et.SettingsError, match="device"):
        et.load_encoder(tiny_checkpoint, "cuda:99")
