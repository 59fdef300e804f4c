import numpy as np
import pandas as pd
import pytest
import torch
from transformers import set_seed

import emotion_tutorial as et

NAMES = ["no", "yes", "maybe", "never", "always", "often", "rarely", "seldom", "later", "now", "soon"]
TEXTS = ["i am glad", "", "a " * 40, "i saw a movie today and it was really good", "😀 ünïcode", "x"]


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    set_seed(0)
    return et.load_classifier(tiny_checkpoint, NAMES, "cpu")


def test_a_row_a_text_a_column_a_label(model, tokenizer):
    probabilities = et.predict_proba(TEXTS, model, tokenizer)
    assert list(probabilities.columns) == NAMES  # in id order, 10 after 9 and not after 1
    assert list(probabilities.index) == list(range(len(TEXTS)))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    assert probabilities.to_numpy().min() > 0


def test_order_is_that_of_the_texts_whatever_their_length(model, tokenizer):
    """Each text alone, straight through the model, is the truth."""
    texts = TEXTS * 30  # several batches
    together = et.predict_proba(texts, model, tokenizer)
    for row in (0, 1, 2, 65, 179):
        with torch.inference_mode():
            logits = model(**tokenizer(texts[row], return_tensors="pt")).logits
        np.testing.assert_allclose(together.loc[row], logits.softmax(dim=1)[0], atol=1e-6)


def test_one_text_and_no_text(model, tokenizer):
    one = et.predict_proba("i am glad", model, tokenizer)
    pd.testing.assert_frame_equal(one, et.predict_proba(["i am glad"], model, tokenizer))
    pd.testing.assert_frame_equal(et.predict_proba([], model, tokenizer), one[:0], check_index_type=False)


def test_ten_thousand_words_are_cut_and_said(model, tokenizer):
    with pytest.warns(et.DataWarning, match=r"row 1 \(10002 tokens\)") as caught:
        long = et.predict_proba(["short", "word " * 10_000], model, tokenizer)
    assert caught[0].filename == __file__
    pd.testing.assert_frame_equal(long, et.predict_proba(["short", "word " * 510], model, tokenizer))


def test_dropout_is_off_and_the_mode_is_kept(model, tokenizer):
    expected = et.predict_proba(TEXTS, model.eval(), tokenizer)
    assert not model.training
    pd.testing.assert_frame_equal(et.predict_proba(TEXTS, model.train(), tokenizer), expected, check_exact=True)
    assert model.training


@pytest.mark.parametrize("bad", [None, 3, float("nan"), ["nested"]])
def test_what_is_no_text_is_named(model, tokenizer, bad):
    with pytest.raises(et.DataError, match=r"texts\[1\]"):
        et.predict_proba(["fine", bad], model, tokenizer)
