import numpy as np
import pandas as pd
import pytest
import torch
from transformers import set_seed

from emotion_tutorial import load_classifier, predict_proba
from emotion_tutorial.exceptions import DataWarning, NotATextError, OutOfMemoryError, OutOfMemoryWarning
from emotion_tutorial.inference import label_names_of, predict_logits

NAMES = ["no", "yes", "maybe", "never", "always", "often", "rarely", "seldom", "later", "now", "soon"]
TEXTS = ["i am glad", "", "a " * 40, "i saw a movie today and it was really good", "😀 ünïcode", "x"]


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    set_seed(0)
    return load_classifier(tiny_checkpoint, NAMES, "cpu")


def test_a_row_a_text_a_column_a_label(model, tokenizer):
    probabilities = predict_proba(TEXTS, model, tokenizer)
    assert list(probabilities.columns) == NAMES  # in id order, 10 after 9 and not after 1
    assert list(probabilities.index) == list(range(len(TEXTS)))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    assert probabilities.to_numpy().min() > 0


def test_order_is_that_of_the_texts_whatever_their_length(model, tokenizer):
    """Each text alone, straight through the model, is the truth."""
    texts = TEXTS * 30  # several batches
    together = predict_proba(texts, model, tokenizer)
    for row in (0, 1, 2, 65, 179):
        with torch.inference_mode():
            logits = model.eval()(**tokenizer(texts[row], return_tensors="pt")).logits
        np.testing.assert_allclose(together.loc[row], logits.softmax(dim=1)[0], atol=1e-6)


def test_one_text_and_no_text(model, tokenizer):
    one = predict_proba("i am glad", model, tokenizer)
    pd.testing.assert_frame_equal(one, predict_proba(["i am glad"], model, tokenizer))
    none = predict_proba([], model, tokenizer)
    assert none.shape == (0, len(NAMES))
    assert list(none.columns) == NAMES


def test_ten_thousand_words_are_cut_and_said(model, tokenizer):
    with pytest.warns(DataWarning, match=r"1 texts of the list are longer than the 512 tokens.*row 1 \(10002 tokens\)"):
        long = predict_proba(["short", "word " * 10_000], model, tokenizer)
    cut = predict_proba(["short", "word " * 510], model, tokenizer)
    pd.testing.assert_frame_equal(long, cut)


def test_warning_points_to_the_caller(model, tokenizer):
    with pytest.warns(DataWarning) as caught:
        predict_proba("word " * 600, model, tokenizer)
    assert caught[0].filename == __file__


def test_dropout_is_off_and_the_mode_is_kept(model, tokenizer):
    model.train()
    first = predict_logits(TEXTS, model, tokenizer)
    assert model.training
    np.testing.assert_array_equal(first, predict_logits(TEXTS, model.eval(), tokenizer))
    assert not model.training


@pytest.mark.parametrize("bad", [None, 3, float("nan"), ["nested"]])
def test_what_is_no_text_is_named(model, tokenizer, bad):
    with pytest.raises(NotATextError, match=r"texts\[1\] is"):
        predict_proba(["fine", bad], model, tokenizer)


def test_label_names_come_from_the_model(model):
    assert label_names_of(model) == NAMES


def limit_memory(model, monkeypatch, texts: int) -> None:
    forward = type(model).forward

    def limited(self, input_ids, **inputs):
        if len(input_ids) > texts:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(self, input_ids, **inputs)

    monkeypatch.setattr(type(model), "forward", limited)


def test_batches_are_halved_where_memory_is_short(model, tokenizer, monkeypatch):
    expected = predict_logits(TEXTS * 30, model, tokenizer)
    limit_memory(model, monkeypatch, 20)
    with pytest.warns(OutOfMemoryWarning, match="no memory for a batch of 64 texts") as caught:
        found = predict_logits(TEXTS * 30, model, tokenizer)
    assert len([warning for warning in caught if warning.category is OutOfMemoryWarning]) == 2  # then 32, then 16
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore::emotion_tutorial.exceptions.OutOfMemoryWarning")
def test_memory_for_not_one_text_is_said(model, tokenizer, monkeypatch):
    limit_memory(model, monkeypatch, 0)
    with pytest.raises(OutOfMemoryError, match=r"no memory for a single text: CUDA out of memory.*on the CPU"):
        predict_proba(TEXTS, model, tokenizer)


def test_other_errors_of_the_model_pass(model, tokenizer, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("device-side assert")

    monkeypatch.setattr(type(model), "forward", fail)
    with pytest.raises(RuntimeError, match="device-side assert"):
        predict_proba(TEXTS, model, tokenizer)
