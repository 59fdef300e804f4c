"""Digests that cover content; that files are replaced as wholes is tested in test_sharing.py."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

import emotion_tutorial as et
from emotion_tutorial.caching import cached_array, digest


@pytest.fixture(autouse=True)
def artifacts(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("EMOTION_TUTORIAL_ARTIFACTS", str(tmp_path))
    return tmp_path


def dataset(texts="ab", labels=(0, 1), names="xy") -> Dataset:
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(names))})
    return Dataset.from_dict({"text": list(texts), "label": list(labels)}, features=features)


def model(weight: float = 1.0) -> torch.nn.Module:
    layer = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(layer.weight, weight)
    torch.nn.init.zeros_(layer.bias)
    return layer


DIFFERENT = {
    "Dataset": [dataset(), dataset("ac"), dataset(["ab", ""]), dataset(labels=(1, 1)), dataset(names="xz")],
    "model": [model(), model(2.0), model().half()],
    "settings": [{"rate": 0.1, "names": ["a", None]}, {"rate": 0.2, "names": ["a", None]}],
}


@pytest.mark.parametrize("things", DIFFERENT.values(), ids=DIFFERENT)
def test_digest_covers_the_content(things):
    assert len({digest(thing) for thing in things}) == len(things)
    assert [digest(copy.deepcopy(thing)) for thing in things] == [digest(thing) for thing in things]


def test_digest_covers_the_files_of_a_folder_that_are_loaded(tmp_path):
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        folder.mkdir()
        (folder / "config.json").write_text("text")
    before = digest(folders[0])
    for name in ("README.md", "customers.json", "training_args.bin"):  # which nobody loads
        (folders[0] / name).write_text("text")
    assert digest(folders[0]) == digest(folders[1]) == before
    (folders[0] / "config.json").write_text("other")
    assert digest(folders[0]) != before


@pytest.mark.parametrize("thing", [object(), DatasetDict(train=dataset()), {1, 2}, np.zeros(10_000)])
def test_digest_refuses_what_it_cannot_read(thing):
    with pytest.raises(TypeError):
        digest(thing)


def test_artifacts_are_in_the_working_folder_or_where_the_environment_says(monkeypatch):
    monkeypatch.setenv("EMOTION_TUTORIAL_ARTIFACTS", "~/artifacts")
    assert et.artifacts_folder() == Path.home() / "artifacts"
    monkeypatch.delenv("EMOTION_TUTORIAL_ARTIFACTS")
    assert et.artifacts_folder() == Path("artifacts")


def test_cached_array_is_that_of_this_version(monkeypatch):
    for version, computed, expected in (("1", 1, 1), ("1", 2, 1), ("2", 3, 3)):
        monkeypatch.setattr(et, "__version__", version)
        assert cached_array("numbers", "key", lambda value=computed: np.array([value])).item() == expected


@pytest.mark.parametrize("content", [b"", b"PK\3\4 no archive", b"\x93NUMPY\1\0\x20\0" + b"{" * 80, b"\x80\4K\1."])
def test_a_damaged_array_is_computed_again(artifacts, content):
    cached_array("numbers", "key", lambda: np.array([1]))
    [file] = artifacts.glob("*.npy")
    file.write_bytes(content)
    assert cached_array("numbers", "key", lambda: np.array([2])).item() == 2
    assert cached_array("numbers", "key", lambda: np.array([3])).item() == 2
