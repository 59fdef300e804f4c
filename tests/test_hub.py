"""What is loaded from the Hub when all is well; what goes wrong there is in test_faults.py."""

import os
import subprocess
import sys

import huggingface_hub
import pytest
import torch
from datasets import DatasetDict
from huggingface_hub import constants
from loopback_hub import LoopbackHub, add_checkpoint, add_emotion_data, status

from emotion_tutorial import hub_answers, load_classifier, load_encoder, load_splits, load_tokenizer
from emotion_tutorial.exceptions import CheckpointError, HubError, NotFoundError


def test_hub_that_is_not_there_does_not_answer():
    assert not hub_answers()


def test_hub_answers_or_not(hub: LoopbackHub, monkeypatch):
    assert hub_answers()
    hub.fail("/api/datasets", status(503))
    assert not hub_answers()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()  # the next one is made under the offline switch
    assert not hub_answers()


def test_dataset_comes_as_it_is(hub, small):
    add_emotion_data(hub, small)
    splits = load_splits("hub")
    assert splits["train"].features == small["train"].features
    for split in small:
        assert splits[split][:] == small[split][:]


def test_dataset_by_its_id_and_again_without_a_download(hub, small):
    add_emotion_data(hub, DatasetDict(train=small["train"]), "someone/texts")
    with pytest.warns(UserWarning, match="no validation and no test split"):
        load_splits("someone/texts")
    downloads = [request for request in hub.requests if request[0] == "GET" and ".parquet" in request[1]]
    with pytest.warns(UserWarning, match="no validation and no test split"):
        load_splits("someone/texts")
    assert [request for request in hub.requests if request[0] == "GET" and ".parquet" in request[1]] == downloads


def test_checkpoint_comes_as_it_is(hub, tiny_distilbert):
    add_checkpoint(hub, tiny_distilbert)
    there, here = load_encoder("distilbert-base-uncased", "cpu"), load_encoder(tiny_distilbert, "cpu")
    assert all(torch.equal(a, b) for a, b in zip(there.parameters(), here.parameters(), strict=True))
    tokenizer = load_tokenizer("distilbert-base-uncased")
    assert tokenizer("this is a test")["input_ids"] == [101, 2023, 2003, 1037, 3231, 102]
    assert load_classifier("distilbert-base-uncased", ["no", "yes"], "cpu").config.num_labels == 2


def test_only_what_is_needed_is_fetched(hub, tiny_distilbert):
    files = {path.name: path.read_bytes() for path in tiny_distilbert.iterdir()}
    extra = {"pytorch_model.bin": b"x", "modeling_own.py": b"x", "onnx/model.onnx": b"x", "tf_model.h5": b"x"}
    hub.add_repo("someone/model", files | extra)
    load_tokenizer("someone/model")
    assert not [path for _, path in hub.requests if "safetensors" in path]
    load_encoder("someone/model", "cpu")
    assert not [path for _, path in hub.requests if any(name in path for name in extra)]


def test_revision_is_the_one_asked_for(hub, tiny_distilbert):
    first = add_checkpoint(hub, tiny_distilbert)
    hub.add_repo("distilbert-base-uncased", {"README.md": b"emptied"})
    assert load_encoder(f"distilbert-base-uncased@{first}", "cpu").config.dim == 32
    with pytest.raises(CheckpointError, match=r"has no config.json|Could not load|no weights"):
        load_encoder("distilbert-base-uncased", "cpu")
    with pytest.raises(NotFoundError, match="has no such revision"):
        load_encoder("distilbert-base-uncased@v9", "cpu")


def test_offline_uses_what_was_downloaded(hub, tiny_distilbert, monkeypatch):
    add_checkpoint(hub, tiny_distilbert)
    load_encoder("distilbert-base-uncased", "cpu")
    asked = len(hub.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    assert load_encoder("distilbert-base-uncased", "cpu").config.dim == 32
    assert len(hub.requests) == asked
    with pytest.raises(HubError, match="Could not reach 'someone/other'"):
        load_encoder("someone/other", "cpu")


def test_folder_is_loaded_without_asking_the_hub(hub, tiny_distilbert):
    load_tokenizer(tiny_distilbert)
    load_classifier(tiny_distilbert, ["no", "yes"], "cpu")
    assert hub.requests == []


def test_name_that_does_not_resolve_is_said(tmp_path):
    """In a process of its own: the clients read the Hub's address when they are imported."""
    code = "import emotion_tutorial as et\n" + "\n".join(
        f"try: {call}\nexcept et.HubError as error: print(error)"
        for call in ("et.load_splits('hub')", "et.load_encoder('distilbert-base-uncased')")
    )
    environment = os.environ | {"HF_ENDPOINT": "http://no-such-hub.invalid", "HF_HOME": str(tmp_path)}
    lines = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True, timeout=120
    ).stdout.splitlines()
    assert len(lines) == 2
    assert all("Could not reach" in line and "ConnectError" in line for line in lines)
