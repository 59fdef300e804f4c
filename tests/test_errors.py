import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from transformers import set_seed

from emotion_tutorial import confused_pairs, load_classifier, loss_frame, predict_proba
from emotion_tutorial.exceptions import DataError

NAMES = ["no", "yes", "maybe"]


def make(texts, labels, names=NAMES) -> Dataset:
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    return Dataset.from_dict({"text": texts, "label": labels}, features=features)


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    set_seed(0)
    return load_classifier(tiny_checkpoint, NAMES, "cpu")


def test_loss_is_minus_the_logarithm_of_the_labels_probability(model, tokenizer):
    texts = [f"text {'long ' * (i * 7 % 40)}" for i in range(80)]  # not in the order of their lengths
    losses = loss_frame(make(texts, [i % 3 for i in range(80)]), model, tokenizer)
    assert list(losses.columns) == ["text", "label", "predicted_label", "loss"]
    assert losses["text"].tolist() == texts
    assert losses["label"].tolist() == [NAMES[i % 3] for i in range(80)]
    probabilities = predict_proba(texts, model, tokenizer)
    assert losses["predicted_label"].tolist() == probabilities.idxmax(axis=1).tolist()
    expected = [-np.log(probabilities.loc[row, label]) for row, label in losses["label"].items()]
    np.testing.assert_allclose(losses["loss"], expected, atol=1e-9)


def test_empty_split_gives_an_empty_frame(model, tokenizer):
    losses = loss_frame(make([], []), model, tokenizer)
    assert losses.empty
    assert confused_pairs(losses).empty


@pytest.mark.parametrize("names", [["cat", "dog"], ["yes", "no", "maybe"]])
def test_a_model_of_other_labels_is_refused(model, tokenizer, names):
    with pytest.raises(DataError, match=f"data have the labels {', '.join(names)}, and the model no, yes, maybe"):
        loss_frame(make(["a"], [0], names), model, tokenizer)


def test_unlabelled_row_is_refused(model, tokenizer):
    with pytest.raises(DataError, match="Row 1 has the label id -1"):
        loss_frame(make(["a", "b"], [0, -1]), model, tokenizer)


def test_confused_pairs_are_counted_with_an_example():
    losses = pd.DataFrame(
        {
            "text": list("abcdefg"),
            "label": ["no", "no", "no", "no", "yes", "yes", "yes"],
            "predicted_label": ["yes", "yes", "yes", "no", "yes", "no", "maybe"],
            "loss": [3.0, 1.0, 2.0, 0.1, 0.2, 5.0, 4.0],
        },
        index=range(10, 17),
    )
    pairs = confused_pairs(losses)
    assert list(pairs.columns) == ["label", "predicted_label", "texts", "share", "example"]
    assert pairs.iloc[0].tolist() == ["no", "yes", 3, 0.75, "c"]  # of the losses 1, 2, 3 the middle one
    assert pairs.index[0] == 12
    assert pairs["texts"].tolist() == [3, 1, 1]


def test_confused_pairs_want_a_loss_frame():
    with pytest.raises(DataError, match="'loss'"):
        confused_pairs(pd.DataFrame({"text": [], "label": [], "predicted_label": []}))
