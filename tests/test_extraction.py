from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import DatasetDict

from emotion_tutorial import extract_hidden_states, extraction, feature_matrix, load_encoder, tokenize
from emotion_tutorial.exceptions import (
    ArtifactWarning,
    DataWarning,
    OtherArtifactError,
    OutOfMemoryError,
    OutOfMemoryWarning,
)
from emotion_tutorial.extraction import pool


@pytest.fixture(scope="module")
def encoder(tiny_checkpoint):
    return load_encoder(tiny_checkpoint, "cpu")


def one_by_one(texts, encoder, tokenizer, pooling):
    """Return what a plain loop without padding gives."""
    vectors = []
    for text in texts:
        with torch.inference_mode():
            hidden = encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        vectors.append(hidden[0] if pooling == "cls" else hidden.mean(dim=0))
    return torch.stack(vectors).numpy()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_same_vectors_as_a_plain_loop_in_the_order_of_the_rows(small, encoder, tokenizer, pooling):
    features = extract_hidden_states(small, encoder, tokenizer, pooling=pooling, precision="float32")
    assert isinstance(features, DatasetDict)
    X, y = feature_matrix(features["train"])
    assert X.shape == (120, 32)
    assert (X.dtype, y.dtype) == (np.float32, np.int64)
    expected = one_by_one(small["train"]["text"], encoder, tokenizer, pooling)
    np.testing.assert_allclose(X, expected, atol=1e-5)
    assert y.tolist() == small["train"]["label"][:]


def test_one_split_tokenized_before_gives_the_same(small, encoder, tokenizer):
    plain = extract_hidden_states(small["test"], encoder, tokenizer)
    again = extract_hidden_states(tokenize(plain, tokenizer), encoder, tokenizer)
    np.testing.assert_array_equal(feature_matrix(plain)[0], feature_matrix(again)[0])


def test_bfloat16_is_close(small, encoder, tokenizer):
    exact, _ = feature_matrix(extract_hidden_states(small["test"], encoder, tokenizer, precision="float32"))
    rough, _ = feature_matrix(extract_hidden_states(small["test"], encoder, tokenizer, precision="bfloat16"))
    cosine = (exact * rough).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rough, axis=1)
    assert 0.99 < cosine.min() < 1
    assert not np.array_equal(exact, rough)


def test_hidden_states_survive_saving(small, encoder, tokenizer, tmp_path):
    from datasets import load_from_disk

    features = extract_hidden_states(small, encoder, tokenizer)
    features.save_to_disk(tmp_path / "f")
    loaded = load_from_disk(tmp_path / "f")
    np.testing.assert_array_equal(feature_matrix(features["test"])[0], feature_matrix(loaded["test"])[0])


def test_pool_ignores_padding():
    hidden = torch.tensor([[[1.0], [3.0], [100.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert pool(hidden, mask, "mean").item() == 2
    assert pool(hidden, mask, "cls").item() == 1


@pytest.mark.parametrize(("option", "value"), [("pooling", "max"), ("precision", "float8")])
def test_unknown_options_are_refused(small, encoder, tokenizer, option, value):
    with pytest.raises(ValueError, match=f"Unknown {option} '{value}'"):
        extract_hidden_states(small, encoder, tokenizer, **{option: value})


@pytest.fixture
def small_shards(monkeypatch) -> int:
    monkeypatch.setattr(extraction, "SHARD_ROWS", 50)
    return 50


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.arrow")}


def test_shards_are_kept_and_not_computed_again(small, encoder, tokenizer, tmp_path, small_shards, monkeypatch):
    first = extract_hidden_states(small, encoder, tokenizer, folder=tmp_path)
    assert sorted(files(tmp_path))[:3] == ["test-00000.arrow", "test-00001.arrow", "test-00002.arrow"]
    assert len(files(tmp_path)) == 9
    monkeypatch.setattr(extraction, "_hidden_states", lambda *args: pytest.fail("computed again"))
    again = extract_hidden_states(small, encoder, tokenizer, folder=tmp_path)
    for split in small:
        np.testing.assert_array_equal(feature_matrix(again[split])[0], feature_matrix(first[split])[0])
        assert again[split]["text"][:] == small[split]["text"][:]


def test_interrupted_run_goes_on_and_gives_the_same_bytes(
    small, encoder, tokenizer, tmp_path, small_shards, monkeypatch
):
    extract_hidden_states(small, encoder, tokenizer, folder=tmp_path / "whole")
    hidden_states, calls = extraction._hidden_states, []

    def interrupt(*args):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return hidden_states(*args)

    monkeypatch.setattr(extraction, "_hidden_states", interrupt)
    with pytest.raises(KeyboardInterrupt):
        extract_hidden_states(small, encoder, tokenizer, folder=tmp_path / "resumed")
    assert len(files(tmp_path / "resumed")) == 4
    extract_hidden_states(small, encoder, tokenizer, folder=tmp_path / "resumed")
    assert len(calls) == 5 + 5
    assert files(tmp_path / "resumed") == files(tmp_path / "whole")


def test_folder_of_other_things_is_refused(small, encoder, tokenizer, tiny_distilbert, tmp_path):
    extract_hidden_states(small, encoder, tokenizer, folder=tmp_path)
    with pytest.raises(OtherArtifactError, match="pooling differ; pooling 'cls' there, 'mean' here"):
        extract_hidden_states(small, encoder, tokenizer, pooling="mean", folder=tmp_path)
    with pytest.raises(OtherArtifactError, match="texts differ"):
        extract_hidden_states(small["train"], encoder, tokenizer, folder=tmp_path)
    with pytest.raises(OtherArtifactError, match="encoder differ"):
        extract_hidden_states(small, load_encoder(tiny_distilbert, "cpu"), tokenizer, folder=tmp_path)


def test_any_encoder_and_no_texts(small, tokenizer, tiny_distilbert):
    encoder = load_encoder(tiny_distilbert, "cpu")
    assert extract_hidden_states(small["test"].select([]), encoder, tokenizer).num_rows == 0
    X, _ = feature_matrix(extract_hidden_states(small["test"], encoder, tokenizer, precision="float32"))
    np.testing.assert_allclose(X, one_by_one(small["test"]["text"], encoder, tokenizer, "cls"), atol=1e-5)


def test_batches_keep_to_the_token_budget():
    lengths = np.random.default_rng(0).integers(2, 60, 500)
    batches = list(extraction._plan_batches(lengths.tolist(), 256))
    assert sorted(np.concatenate(batches)) == list(range(500))
    assert all(len(rows) * lengths[rows].max() <= 256 for rows in batches)
    padded = sum(len(rows) * lengths[rows].max() for rows in batches)
    assert padded < 1.05 * lengths.sum()
    assert [len(rows) for rows in extraction._plan_batches([300, 1], 256)] == [1, 1]  # one too long goes alone


def test_over_long_text_is_said(small, encoder, tokenizer):
    long = small["test"].select([0]).map(lambda row: {"text": "word " * 600})
    with pytest.warns(DataWarning, match=r"split 'data' from row 0 are longer.*row 0 \(602 tokens\)"):
        extract_hidden_states(long, encoder, tokenizer)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], lambda data: data[:300]]
)
def test_damaged_shard_is_computed_anew_and_said(small, encoder, tokenizer, tmp_path, small_shards, damage):
    extract_hidden_states(small, encoder, tokenizer, folder=tmp_path)
    whole = files(tmp_path)
    shard = tmp_path / "train-00001.arrow"
    assert (tmp_path / "train-00001.arrow.sha256").read_text().endswith("  train-00001.arrow\n")
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.warns(ArtifactWarning, match=r"train-00001\.arrow is damaged.*made anew"):
        extract_hidden_states(small, encoder, tokenizer, folder=tmp_path)
    assert files(tmp_path) == whole


def test_damaged_plan_makes_all_anew(small, encoder, tokenizer, tmp_path, small_shards):
    extract_hidden_states(small, encoder, tokenizer, folder=tmp_path)
    whole = files(tmp_path)
    for text in ("{", "[]", ""):
        (tmp_path / "plan.json").write_text(text)
        with pytest.warns(ArtifactWarning, match=r"plan\.json is damaged"):
            extract_hidden_states(small, encoder, tokenizer, folder=tmp_path)
        assert files(tmp_path) == whole


@pytest.fixture
def little_memory(encoder, monkeypatch) -> list[int]:
    """Let the encoder take 7 texts at most; return the sizes of the batches that it was given."""
    forward, sizes = type(encoder).forward, []

    def limited(self, input_ids, **inputs):
        sizes.append(len(input_ids))
        if len(input_ids) > 7:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(self, input_ids, **inputs)

    monkeypatch.setattr(type(encoder), "forward", limited)
    return sizes


def test_batches_are_halved_where_memory_is_short(small, encoder, tokenizer, little_memory, small_shards):
    with pytest.warns(OutOfMemoryWarning, match=r"no memory for a batch of \d+ texts: CUDA out of memory\. .*smaller"):
        features = extract_hidden_states(small, encoder, tokenizer, precision="float32")
    assert max(little_memory[-50:]) <= 7  # later shards begin with small ones
    for split in small:
        expected = one_by_one(small[split]["text"], encoder, tokenizer, "cls")
        np.testing.assert_allclose(feature_matrix(features[split])[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("raised", "expected", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried."), OutOfMemoryError, "no memory for a single text"),
        (RuntimeError("CUDA error: device-side assert"), RuntimeError, "device-side assert"),
    ],
)
@pytest.mark.filterwarnings("ignore::emotion_tutorial.exceptions.OutOfMemoryWarning")
def test_memory_for_not_one_text_and_other_errors_are_raised(
    small, encoder, tokenizer, monkeypatch, raised, expected, said
):
    def fail(self, *args, **kwargs):
        raise raised

    monkeypatch.setattr(type(encoder), "forward", fail)
    with pytest.raises(expected, match=said) as caught:
        extract_hidden_states(small, encoder, tokenizer)
    assert type(caught.value) is expected
