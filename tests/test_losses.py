"""Losses of single texts."""

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset
from torch.nn.functional import cross_entropy
from transformers import set_seed

import emotion_tutorial as et

NAMES = ["sun", "rain", "wind"]


def test_loss_is_the_cross_entropy(tiny_checkpoint, tokenizer):
    set_seed(0)
    model = et.load_classifier(tiny_checkpoint, NAMES, "cpu")
    texts = [f"text {'long ' * (i * 7 % 40)}" for i in range(80)]  # not in the order of their lengths
    labels = [i % 3 for i in range(80)]
    rows = Dataset.from_dict({"text": texts, "label": labels})
    losses = et.loss_frame(rows.cast_column("label", ClassLabel(names=NAMES)), model, tokenizer)
    with torch.no_grad():
        logits = torch.cat([model(**tokenizer(text, return_tensors="pt")).logits for text in texts])
    np.testing.assert_allclose(losses["loss"], cross_entropy(logits, torch.tensor(labels), reduction="none"), atol=1e-5)
    assert losses["text"].tolist() == texts
    assert losses["label"].tolist() == [NAMES[label] for label in labels]
    assert losses["predicted_label"].tolist() == [NAMES[i] for i in logits.argmax(dim=1)]
    with pytest.raises(et.DataError, match="rain, sun, wind, and the model sun, rain, wind"):
        et.loss_frame(rows.cast_column("label", ClassLabel(names=sorted(NAMES))), model, tokenizer)
