"""Fixtures; where the tests write and what they reach is set in the conftest.py above."""

import time
from collections.abc import Iterator
from pathlib import Path

import datasets
import huggingface_hub
import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch
from datasets import DatasetDict
from huggingface_hub import constants, hf_api
from loopback_hub import LoopbackHub
from pets import build, make_splits
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel, DistilBertTokenizer, Trainer

from emotion_tutorial import load_splits, load_tokenizer

mpl.use("agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def corpus() -> DatasetDict:
    return load_splits("embedded")


@pytest.fixture
def small(corpus: DatasetDict) -> DatasetDict:
    """Return the first texts of each split."""
    return DatasetDict({split: dataset.select(range(120)) for split, dataset in corpus.items()})


@pytest.fixture(scope="session")
def tokenizer():
    return load_tokenizer("embedded")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory, tokenizer) -> Path:
    """Save a small random encoder with the real vocabulary."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    config = BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_distilbert(tmp_path_factory: pytest.TempPathFactory, tokenizer) -> Path:
    """Save a small random DistilBERT with the real vocabulary."""
    folder = tmp_path_factory.mktemp("tiny-distilbert")
    torch.manual_seed(0)
    config = DistilBertConfig(dim=32, n_layers=2, n_heads=2, hidden_dim=64)
    DistilBertModel(config).save_pretrained(folder)
    DistilBertTokenizer(vocab=tokenizer.get_vocab(), model_max_length=512).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def splits() -> DatasetDict:
    return make_splits()


@pytest.fixture(scope="session")
def trained(splits, tiny_checkpoint, tmp_path_factory) -> Trainer:
    trainer = build(splits, tiny_checkpoint, tmp_path_factory.mktemp("trained"))
    trainer.train()
    return trainer


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """Start an empty Hub and point the clients to it, those in new processes too, with caches of this test alone.

    Without this fixture connections to the Hub are refused. With it, what fails is tried again at once.
    """
    running = LoopbackHub()
    monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
    url = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, running.endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
    monkeypatch.setattr(constants, "ENDPOINT", running.endpoint)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(hf_api.api, "endpoint", running.endpoint)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", running.endpoint)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # else the clients try for half a minute
    yield running
    running.close()
    huggingface_hub.HfFileSystem.clear_instance_cache()  # a later Hub may have the same port
