"""Fixtures; where the tests write and what they reach is set in the conftest.py above."""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch
from datasets import DatasetDict
from transformers import BertConfig, BertModel, PreTrainedTokenizerBase

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
def tokenizer() -> PreTrainedTokenizerBase:
    return load_tokenizer("embedded")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """Save a small random encoder with the real vocabulary."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    config = BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
