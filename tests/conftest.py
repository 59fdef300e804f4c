"""Fixtures. Nothing here reaches a network, and everything that is written goes to temporary folders."""

import os
import tempfile
from pathlib import Path

# Before the libraries are imported: their caches go to a folder of this run, and the Hub is a
# port of this machine on which nothing listens.
_SCRATCH = tempfile.mkdtemp(prefix="emotion-tutorial-tests-")
os.environ["HF_HOME"] = _SCRATCH
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
os.environ["MPLBACKEND"] = "agg"
for name in ("PROFILE", "DATA", "CHECKPOINT", "ARTIFACTS"):
    os.environ.pop(f"EMOTION_TUTORIAL_{name}", None)

import atexit  # noqa: E402
import shutil  # noqa: E402

import matplotlib.pyplot as plt  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from datasets import DatasetDict  # noqa: E402
from transformers import BertConfig, BertModel, PreTrainedTokenizerBase  # noqa: E402

from emotion_tutorial import load_splits, load_tokenizer  # noqa: E402

atexit.register(shutil.rmtree, _SCRATCH, ignore_errors=True)


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
