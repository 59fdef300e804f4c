import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from transformers import set_seed

from emotion_tutorial import confused_pairs, load_classifier, loss_frame, predict_proba
from emotion_tutorial.exceptions import MissingColumnError, UnknownLabelError

NAMES = ["no", "yes", "maybe"]


def make(texts, labels, names=NAMES) -> Dataset:
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    return Dataset.from_dict({"text": texts, "label": labels}, features=features)


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    set_seed(0)
    return load_classifier(tiny_checkpoint, NAMES, "cpu")


def test_loss_is_minus_the_logarithm_of_the_labels_probability(model, tokenizer):
    texts = ["one", "two words", "three words here " * 9, "<script>alert(1)</script>"]
    dataset = make(texts, [0, 1, 2, 1])
    losses = loss_frame(dataset, model, tokenizer)
    assert list(losses.columns) == ["text", "label", "predicted_label", "loss"]
    assert losses["text"].tolist() == texts
    assert losses["label"].tolist() == ["no", "yes", "maybe", "yes"]
    probabilities = predict_proba(texts, model, tokenizer)
    assert losses["predicted_label"].tolist() == probabilities.idxmax(axis=1).tolist()
    expected = [-np.log(probabilities.loc[row, label]) for row, label in enumerate(losses["label"])]
    np.testing.assert_allclose(losses["loss"], expected, atol=1e-9)


def test_index_is_the_row_and_survives_sorting(model, tokenizer):
    dataset = make([f"text {'long ' * i}" for i in range(80)], [i % 3 for i in range(80)])
    losses = loss_frame(dataset, model, tokenizer).sort_values("loss", ascending=False)
    for row in losses.index[:5]:
        assert losses.loc[row, "text"] == dataset[int(row)]["text"]


def test_empty_split_gives_an_empty_frame(model, tokenizer):
    losses = loss_frame(make([], []), model, tokenizer)
    assert losses.empty
    assert confused_pairs(losses).empty


def test_tables_show_html_as_text(model, tokenizer):
    losses = loss_frame(make(["<script>alert(1)</script> <b>bold</b> $x$"], [0]), model, tokenizer)
    with pd.option_context("display.max_colwidth", None):
        page = losses.to_html(notebook=True)
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &lt;b&gt;bold&lt;/b&gt;" in page


def test_a_model_of_other_labels_is_refused(model, tokenizer):
    with pytest.raises(UnknownLabelError, match="data have the labels cat, dog, and the model no, yes, maybe"):
        loss_frame(make(["a"], [0], ["cat", "dog"]), model, tokenizer)
    with pytest.raises(UnknownLabelError, match="data have the labels yes, no, maybe"):
        loss_frame(make(["a"], [0], ["yes", "no", "maybe"]), model, tokenizer)


def test_unlabelled_row_is_refused(model, tokenizer):
    with pytest.raises(UnknownLabelError, match="Row 1 has the label id -1"):
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
    assert confused_pairs(losses[losses["label"] == losses["predicted_label"]]).empty


def test_confused_pairs_want_a_loss_frame():
    with pytest.raises(MissingColumnError, match="'loss'"):
        confused_pairs(pd.DataFrame({"text": [], "label": [], "predicted_label": []}))
