"""Digests that cover content; that files are replaced as wholes is tested in test_sharing.py."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

import emotion_tutorial as et
from emotion_tutorial.caching import cached_array, digest


def dataset(texts="ab", labels=(0, 1), names="xy") -> Dataset:
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(names))})
    return Dataset.from_dict({"text": list(texts), "label": list(labels)}, features=features)


def model(weight: float = 1.0) -> torch.nn.Module:
    layer = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(layer.weight, weight)
    torch.nn.init.zeros_(layer.bias)
    return layer


def folder(path: Path, text: str) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(text)
    return path


DIFFERENT = {
    "Dataset": [dataset(), dataset("ac"), dataset(["ab", ""]), dataset(labels=(1, 1)), dataset(names="xz")],
    "model": [model(), model(2.0), model().half()],
    "settings": [{"rate": 0.1, "names": ["a", None]}, {"rate": 0.2, "names": ["a", None]}],
}


@pytest.mark.parametrize("things", DIFFERENT.values(), ids=DIFFERENT)
def test_digest_covers_the_content(things):
    assert len({digest(thing) for thing in things}) == len(things)
    assert [digest(copy.deepcopy(thing)) for thing in things] == [digest(thing) for thing in things]


def test_digest_covers_the_files_of_a_folder_wherever_it_is(tmp_path):
    one, same = folder(tmp_path / "one", "text"), folder(tmp_path / "two", "text")
    before = digest(one)
    assert before == digest(same)
    for name in ("README.md", "customers.json", "training_args.bin"):  # which nobody loads
        (one / name).write_text("text")
    assert digest(one) == before
    folder(one, "other")
    assert digest(one) != before


@pytest.mark.parametrize(
    "thing", [object(), DatasetDict(train=dataset()), {1, 2}, [model()], np.zeros(10_000), lambda: 0]
)
def test_digest_refuses_what_it_cannot_read(thing):
    with pytest.raises(TypeError):
        digest(thing)


def test_artifacts_are_in_the_working_folder_by_default(monkeypatch):
    monkeypatch.delenv("EMOTION_TUTORIAL_ARTIFACTS")
    assert et.artifacts_folder() == Path("artifacts")


def test_artifacts_may_be_in_the_home_folder(monkeypatch):
    monkeypatch.setenv("EMOTION_TUTORIAL_ARTIFACTS", "~/artifacts")
    assert et.artifacts_folder() == Path.home() / "artifacts"


def test_cached_array_is_that_of_this_version(monkeypatch, tmp_path):
    monkeypatch.setenv("EMOTION_TUTORIAL_ARTIFACTS", str(tmp_path))
    for version, computed, expected in (("1", 1, 1), ("1", 2, 1), ("2", 3, 3)):
        monkeypatch.setattr(et, "__version__", version)
        assert cached_array("numbers", "key", lambda value=computed: np.array([value])).item() == expected


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\3\4 no archive", b"\x93NUMPY\1\0\x20\0" + b"{" * 80, b"\x80\4K\1."]
)
def test_a_damaged_array_is_computed_again(monkeypatch, tmp_path, content):
    monkeypatch.setenv("EMOTION_TUTORIAL_ARTIFACTS", str(tmp_path))
    cached_array("numbers", "key", lambda: np.array([1]))
    [file] = tmp_path.glob("*.npy")
    file.write_bytes(content)
    assert cached_array("numbers", "key", lambda: np.array([2])).item() == 2
    assert cached_array("numbers", "key", lambda: np.array([3])).item() == 2


def test_an_error_in_the_computation_is_shown_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("EMOTION_TUTORIAL_ARTIFACTS", str(tmp_path))
    with pytest.raises(ZeroDivisionError) as failed:
        cached_array("numbers", "key", lambda: np.array([1 // 0]))
    assert failed.value.__context__ is None
