"""Hidden states of texts, where they are kept, and their projection."""

import copy
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict

import emotion_tutorial as et
from emotion_tutorial.inference import TOKEN_BUDGET


@pytest.fixture(autouse=True)
def artifacts(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EMOTION_TUTORIAL_ARTIFACTS", str(tmp_path / "artifacts"))
    return tmp_path / "artifacts"


@pytest.fixture(scope="module")
def encoder(tiny_checkpoint):
    return et.load_encoder(tiny_checkpoint, "cpu")


@pytest.fixture
def batches(encoder):
    """Return the shapes of the batches that the encoder is given."""
    shapes: list[torch.Size] = []
    hook = encoder.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    yield shapes
    hook.remove()


def states(dataset, *arguments, **options) -> np.ndarray:
    return et.feature_matrix(et.extract_hidden_states(dataset, *arguments, **options))[0]


def one_by_one(texts, encoder, tokenizer, pooling) -> np.ndarray:
    """Return what a plain loop without padding gives."""
    vectors = []
    for text in texts:
        with torch.inference_mode():
            hidden = encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        vectors.append(hidden[0] if pooling == "cls" else hidden.mean(dim=0))
    return torch.stack(vectors).numpy()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("architecture", ["tiny_checkpoint", "tiny_distilbert"])
def test_same_vectors_as_a_plain_loop_in_the_order_of_the_rows(small, tokenizer, request, architecture, pooling):
    encoder = et.load_encoder(request.getfixturevalue(architecture), "cpu")
    features = et.extract_hidden_states(small, encoder, tokenizer, pooling=pooling, precision="float32")
    assert isinstance(features, DatasetDict)
    X, y = et.feature_matrix(features["train"])
    assert (X.dtype, y.dtype) == (np.float32, np.int64)
    np.testing.assert_allclose(X, one_by_one(small["train"]["text"], encoder, tokenizer, pooling), atol=1e-5)
    assert y.tolist() == small["train"]["label"][:]


def test_bfloat16_is_close(small, tokenizer):
    encoder, texts = et.load_encoder("embedded", "cpu"), small["test"].select(range(40))
    exact, rough = (states(texts, encoder, tokenizer, precision=each) for each in ("float32", "bfloat16"))
    cosine = (exact * rough).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rough, axis=1)
    assert 0.9998 <= cosine.min() < 1
    assert encoder.dtype == torch.float32


def test_batches_keep_to_the_token_budget_with_little_padding(small, encoder, tokenizer, batches, monkeypatch):
    monkeypatch.setitem(TOKEN_BUDGET, "cpu", 256)
    tokenized = et.tokenize(small["train"], tokenizer)
    states(small["train"], encoder, tokenizer, precision="float32")
    assert all(shape.numel() <= 256 for shape in batches)
    lengths = [len(ids) for ids in tokenized["input_ids"]]
    assert sum(shape.numel() for shape in batches) < 1.1 * sum(lengths)
    assert batches[0][1] == max(lengths)  # too little memory shows at once


def test_empty_split_has_the_same_columns(small, encoder, tokenizer):
    features = et.extract_hidden_states(small["test"].select([]), encoder, tokenizer)
    assert features.column_names == ["text", "label", "hidden_state"]
    assert features.num_rows == 0


def test_over_long_text_is_said(small, encoder, tokenizer):
    long = small["test"].select([0]).map(lambda row: {"text": "word " * 600})
    with pytest.warns(et.DataWarning, match=r"row 0 \(602 tokens\)") as caught:
        et.extract_hidden_states(long, encoder, tokenizer)
    assert caught[0].filename == __file__


def test_texts_are_read_and_not_the_ids_of_another_tokenizer(small, encoder, tokenizer):
    other = small["test"].map(lambda row: {"input_ids": [101, 7, 102], "attention_mask": [1] * 3})
    found, expected = (states(data, encoder, tokenizer, cache=False) for data in (other, small["test"]))
    np.testing.assert_array_equal(found, expected)


def test_missing_text_is_named(encoder, tokenizer):
    splits = DatasetDict(test=Dataset.from_dict({"text": ["a"] * 1500 + [None]}))
    for call in (lambda: et.tokenize(splits, tokenizer), lambda: et.extract_hidden_states(splits, encoder, tokenizer)):
        with pytest.raises(et.DataError, match=r"'test'.*\[1500\] is missing"):
            call()


def test_what_is_refused(small, encoder, tokenizer):
    for labels in (["a", "b"], [1, None], [0.5, 1.0]):
        with pytest.raises(et.DataError, match="label"):
            et.feature_matrix(Dataset.from_dict({"hidden_state": [[1.0], [2.0]], "label": labels}))
    with pytest.raises(et.DataError, match="hidden_state"):
        et.feature_matrix(small["train"])
    for option in ("pooling", "precision"):
        with pytest.raises(et.SettingsError, match=option):
            et.extract_hidden_states(small, encoder, tokenizer, **{option: "max"})


def test_vectors_are_computed_once(small, encoder, tokenizer, batches):
    first = states(small["test"], encoder, tokenizer, precision="float32")
    computed = len(batches)
    assert computed > 0
    np.testing.assert_array_equal(states(small["test"], encoder, tokenizer, precision="float32"), first)
    assert len(batches) == computed


def test_other_texts_orders_weights_and_options_have_vectors_of_their_own(small, encoder, tokenizer):
    other = copy.deepcopy(encoder)
    other.embeddings.word_embeddings.weight.mul_(2)
    texts = (small["test"], small["train"], small["test"].select(range(119, -1, -1)))
    cases = product(texts, (encoder, other), ("cls", "mean"), ("float32", "bfloat16"))
    for dataset, model, pooling, precision in cases:
        options = {"pooling": pooling, "precision": precision}
        kept, computed = (states(dataset, model, tokenizer, **options, cache=cache) for cache in (True, False))
        np.testing.assert_array_equal(kept, computed)


@pytest.mark.filterwarnings("ignore:torch:UserWarning", "ignore::DeprecationWarning")
@pytest.mark.skipif(torch.backends.quantized.engine == "none", reason="nothing computes in int8")
def test_quantized_encoder_is_not_cached(small, encoder, tokenizer, artifacts):
    quantized = torch.ao.quantization.quantize_dynamic(copy.deepcopy(encoder), {torch.nn.Linear})
    found = states(small["test"], quantized, tokenizer, precision="float32")
    exact = states(small["test"], encoder, tokenizer, precision="float32", cache=False)
    np.testing.assert_allclose(found, exact, atol=0.2)
    assert not artifacts.exists()


def test_dropout_is_off_and_the_mode_is_kept(small, tiny_checkpoint, tokenizer):
    encoder = et.load_encoder(tiny_checkpoint, "cpu")
    expected = states(small["test"], encoder, tokenizer, cache=False)
    np.testing.assert_array_equal(states(small["test"], encoder.train(), tokenizer, cache=False), expected)
    assert encoder.training


def test_folder_that_cannot_be_written_loses_no_result(small, encoder, tokenizer, artifacts):
    artifacts.write_text("a file, in which no folder can be made")
    with pytest.warns(et.DataWarning, match="could not be cached"):
        kept = states(small["test"], encoder, tokenizer)
    np.testing.assert_array_equal(kept, states(small["test"], encoder, tokenizer, cache=False))


@pytest.mark.slow  # UMAP is compiled
def test_projection_is_seeded():
    X = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    first = et.project_2d(X, seed=1)
    assert (list(first.columns), len(first)) == (["X", "Y"], 60)
    np.testing.assert_array_equal(first, et.project_2d(X, seed=1))
    assert not np.allclose(first, et.project_2d(X, seed=2))


def test_what_cannot_be_projected_is_refused():
    pytest.importorskip("umap")
    for X in (None, np.zeros(3), np.eye(3), np.full((12, 3), np.nan), [["a"] * 3] * 9):
        with pytest.raises(et.DataError, match="X"):
            et.project_2d(X)
    for seed in (-1, 1.5, None):
        with pytest.raises(et.SettingsError, match=r"seed= is .*a whole number from 0 to 4,294,967,295\.$"):
            et.project_2d(np.eye(9), seed=seed)


def test_projection_without_umap_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(et.MissingExtraError, match="notebooks"):
        et.project_2d(np.eye(3))
