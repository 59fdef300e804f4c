import numpy as np
import pytest
import torch
from datasets import DatasetDict

from emotion_tutorial import extract_hidden_states, feature_matrix, load_encoder, project_2d, tokenize
from emotion_tutorial.exceptions import MissingColumnError, MissingExtraError
from emotion_tutorial.features import has_bfloat16, pool


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


def test_feature_matrix_of_selected_rows(small, encoder, tokenizer):
    features = extract_hidden_states(small["test"], encoder, tokenizer)
    X, y = feature_matrix(features)
    some, labels = feature_matrix(features.select([5, 2]))
    np.testing.assert_array_equal(some, X[[5, 2]])
    assert labels.tolist() == y[[5, 2]].tolist()


def test_pool_ignores_padding():
    hidden = torch.tensor([[[1.0], [3.0], [100.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert pool(hidden, mask, "mean").item() == 2
    assert pool(hidden, mask, "cls").item() == 1


@pytest.mark.parametrize(("option", "value"), [("pooling", "max"), ("precision", "float8")])
def test_unknown_options_are_refused(small, encoder, tokenizer, option, value):
    with pytest.raises(ValueError, match=f"Unknown {option} '{value}'"):
        extract_hidden_states(small, encoder, tokenizer, **{option: value})


def test_feature_matrix_refuses_data_without_hidden_states(small):
    with pytest.raises(MissingColumnError, match=r"'hidden_state', only text, label"):
        feature_matrix(small["train"])


def test_has_bfloat16_is_false_where_unknown():
    assert not has_bfloat16(torch.device("meta"))


def test_projection_is_seeded():
    X = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    first = project_2d(X, seed=1)
    assert list(first.columns) == ["X", "Y"]
    assert len(first) == 60
    np.testing.assert_array_equal(first, project_2d(X, seed=1))
    assert not np.allclose(first, project_2d(X, seed=2))


def test_projection_names_the_extra_when_umap_is_absent(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(MissingExtraError, match=r"emotion-tutorial\[notebooks\]"):
        project_2d(np.zeros((3, 2)))
